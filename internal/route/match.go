package route

import (
	"bytes"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// A Request is what a rule is found by. Its slices and map are only read, and not kept.
type Request struct {
	Method []byte
	Host   []byte            // the authority as the request names it, in any case, with or without a port
	Path   []byte            // with the query
	Fields []http1.Field     // as they came
	HTTPS  bool              // the scheme is https, not http
	Port   uint32            // that the request addresses; 0 is the authority's, else the scheme's
	Labels map[string]string // of the instance that calls; nil when it is not known
}

// A Hit is what a request falls under. The zero Hit says that there is nothing.
type Hit struct {
	Rule   *Rule        // nil when HTTPS, or when nothing matches
	Match  *fleet.Match // that held; nil for a rule without matches
	Prefix int          // bytes of the path, the query left out, that the match accounts for: all, but for a prefix
	HTTPS  bool         // the virtual host wants https and the request came without
}

// maxHost is the longest host name that is looked up by name; a longer one can only fall under "*". DNS allows 253.
const maxHost = 255

// A domain holds the virtual hosts of one host pattern: one for any port, and one for each port named.
type domain struct {
	any   *place
	ports []place
}

// A place is where a domain leads.
type place struct {
	port   uint16
	domain string // as configuration writes it
	host   *virtualHost
}

type virtualHost struct {
	https bool // plaintext requests are sent to https
	rules []*Rule
}

// at returns the place for exactly this port, or nil.
func (d *domain) at(port uint16) *place {
	for i := range d.ports {
		if d.ports[i].port == port {
			return &d.ports[i]
		}
	}
	return nil
}

// find returns the place for an authority with this port (0: it names none), or nil. d may be nil.
func (d *domain) find(port uint16) *place {
	if d == nil {
		return nil
	}
	if port != 0 {
		if p := d.at(port); p != nil {
			return p
		}
	}
	return d.any
}

// Match returns what a request falls under. It allocates only where a regular expression is held against a
// header that stands on several lines.
func (t *Table) Match(q *Request) Hit {
	at, port := t.lookup(q.Host)
	if at == nil {
		return Hit{}
	}
	if at.host.https && !q.HTTPS {
		return Hit{HTTPS: true}
	}
	m := q.cut(port)
	for _, r := range at.host.rules {
		if held, ok := r.match(&m); ok {
			h := Hit{Rule: r, Prefix: held.prefix(&m)}
			if held != nil {
				h.Match = held.from
			}
			return h
		}
	}
	return Hit{}
}

// lookup returns where an authority leads, nil if nowhere, and its port, 0 if it names none.
func (t *Table) lookup(authority []byte) (*place, uint16) {
	name, port := splitAuthority(authority)
	if len(name) > maxHost {
		return t.catchAll.find(port), port
	}
	var buf [maxHost]byte
	lower := buf[:len(name)]
	for i, c := range name {
		lower[i] = toLower(c)
	}
	if p := t.exact[string(lower)].find(port); p != nil {
		return p, port
	}
	for _, n := range t.lengths {
		if n >= len(lower) { // the "*" stands for at least one character
			continue
		}
		if p := t.suffix[string(lower[len(lower)-n:])].find(port); p != nil {
			return p, port
		}
	}
	return t.catchAll.find(port), port
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// splitAuthority cuts "host:port" into its parts; the port is 0 if there is none that can be read. One dot at
// the end of the host, as in a fully qualified name, does not count.
func splitAuthority(authority []byte) (host []byte, port uint16) {
	host = authority
	if colon := portColon(host); colon >= 0 {
		port = parsePort(host[colon+1:])
		host = host[:colon]
	}
	return bytes.TrimSuffix(host, []byte(".")), port
}

// portColon returns the index of the colon before the port, or -1. Several colons outside brackets are an
// address without a port.
func portColon[T string | []byte](authority T) int {
	colon := -1
	for i := len(authority) - 1; i >= 0; i-- {
		switch authority[i] {
		case ']':
			return colon
		case ':':
			if colon >= 0 {
				return -1
			}
			colon = i
		}
	}
	return colon
}

// parsePort reads a decimal port; anything else is 0.
func parsePort(b []byte) uint16 {
	if len(b) > 5 {
		return 0
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n > 65535 {
		return 0
	}
	return uint16(n)
}
