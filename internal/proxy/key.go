package proxy

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/picker"
)

// What a request says about where it goes: its key, in a pool with a consistent hash, and its address, in one that
// passes through. Keys are taken as Envoy takes them, each by the rule beside it below.

// pick picks the endpoint of p for the request, -1 for none.
func (x *exchange) pick(p *Pool, now time.Time) int {
	x.given = nil
	if p.hash != nil {
		if key, ok := x.key(p.hash); ok {
			return p.Balancer.PickKey(now, key, p.index(x.failed))
		}
	}
	if address, ok := p.named[string(x.host)]; ok {
		return p.Balancer.PickAddress(now, address, -1) // nobody else has that address: a second attempt goes there too
	}
	return p.Balancer.Pick(now, p.index(x.failed))
}

// key returns the request's key, the same in every attempt. A request that has none goes to anyone.
func (x *exchange) key(h *fleet.Hash) (key uint64, ok bool) {
	switch {
	case h.Header != "":
		return x.headerKey(h.Header)
	case h.Cookie != nil:
		return x.cookieKey(h.Cookie)
	case h.Query != "":
		value, ok := parameter(x.path, h.Query)
		return picker.Key(value), ok
	case h.SourceIP:
		return picker.Key(x.source()), true
	default:
		return 0, false
	}
}

// headerKey is the key of a header. Several lines of a name make one key, in whatever order they come.
func (x *exchange) headerKey(name string) (key uint64, ok bool) {
	switch name {
	case "host", ":authority":
		return picker.Key(x.host), len(x.host) > 0
	case ":path":
		return picker.Key(x.path), true
	case ":method":
		return picker.Key(x.method), true
	}
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; http1.EqualFold(f.Name, name) {
			key += picker.Key(f.Value)
			ok = true
		}
	}
	return key, ok
}

// parameter returns the value of the first parameter of that name in a path's query. Neither names nor values are
// decoded, and one without "=" has the empty value.
func parameter(path []byte, name string) (value []byte, ok bool) {
	_, rest, _ := bytes.Cut(path, []byte{'?'})
	for len(rest) > 0 {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte{'&'})
		if have, value, _ := bytes.Cut(pair, []byte{'='}); string(have) == name {
			return value, true
		}
	}
	return nil, false
}

// source returns the address of who sends, as text: the other end of the connection. X-Forwarded-For is not
// believed: anybody can write one, and could choose an endpoint by it. In the mesh, where all connections come from
// this machine, it is the address of the instance that calls, if it says who it is.
func (x *exchange) source() []byte {
	if x.from != nil && x.from.address != nil {
		return x.from.address
	}
	return x.c.remote
}

// cookieKey is the key of a cookie. A client that has none, or an empty one, is given one with its answer, unless
// that is configured not to be; its request already goes where the next ones will. Its value is random and stays
// through all attempts, for it is made of the request's draw.
func (x *exchange) cookieKey(h *fleet.HashCookie) (key uint64, ok bool) {
	if value := cookie(x.req.Fields, h.Name); len(value) > 0 {
		return picker.Key(value), true
	}
	if h.TTL < 0 {
		return 0, false
	}
	x.given = h
	value := x.token()
	return picker.Key(value[:]), true
}

// token returns the value of the cookie that the client is given.
func (x *exchange) token() (token [16]byte) {
	const digits = "0123456789abcdef"
	for i, v := 0, picker.Mix(x.draw); i < len(token); i, v = i+1, v>>4 {
		token[i] = digits[v&15]
	}
	return token
}

// cookie returns the value of the first cookie of that name, without the quotes that it may stand in.
func cookie(fields []http1.Field, name string) []byte {
	for i := range fields {
		if !http1.EqualFold(fields[i].Name, "Cookie") {
			continue
		}
		for rest := fields[i].Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			have, value, _ := bytes.Cut(pair, []byte{'='})
			if string(bytes.TrimSpace(have)) != name {
				continue
			}
			if value = bytes.TrimSpace(value); len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value
		}
	}
	return nil
}

// appendCookie appends what Set-Cookie says of a cookie with that value. A lifetime is in whole seconds, none makes
// it end with the client's session; programs in pages do not see it.
func appendCookie(dst []byte, h *fleet.HashCookie, value []byte) []byte {
	dst = append(append(append(dst, h.Name...), '='), value...)
	if h.TTL > 0 {
		dst = strconv.AppendInt(append(dst, "; Max-Age="...), int64((h.TTL+time.Second-1)/time.Second), 10)
	}
	if h.Path != "" {
		dst = append(append(dst, "; Path="...), h.Path...)
	}
	for i := range h.Attributes {
		a := &h.Attributes[i]
		dst = append(append(dst, "; "...), a.Name...)
		if a.Value != "" {
			dst = append(append(dst, '='), a.Value...)
		}
	}
	return append(dst, "; HttpOnly"...)
}

// hashOf returns what keys of requests to p are made of, nil where it has none.
func hashOf(p *fleet.Pool) *fleet.Hash {
	if a := p.Policy.Algorithm; a == fleet.RingHash || a == fleet.Maglev {
		return p.Policy.Hash
	}
	return nil
}

// namedIn returns the addresses of p's endpoints by the authorities that name them, nil where requests name none.
func namedIn(p *fleet.Pool, endpoints []fleet.Endpoint) map[string]netip.AddrPort {
	if p.Policy.Algorithm != fleet.Passthrough {
		return nil
	}
	named := make(map[string]netip.AddrPort, len(p.Members))
	for _, m := range p.Members {
		address := endpoints[m.Endpoint].Address
		named[address.String()] = address
		if address.Port() != 80 {
			continue
		}
		if ip := address.Addr(); ip.Is6() && !ip.Is4In6() {
			named["["+ip.String()+"]"] = address
		} else {
			named[ip.String()] = address
		}
	}
	return named
}
