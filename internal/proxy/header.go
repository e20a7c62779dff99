package proxy

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"net/http"

	"crossfade.dev/internal/http1"
)

// Fields that we write or look for.
const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
	requestID      = "X-Request-Id"
	revealName     = "X-Crossfade-Endpoint"
	clientCert     = "X-Forwarded-Client-Cert"
)

// edits are the changes that heads go through, made once for each exchange and filled in for each request: first
// ours, then those of configuration.
type edits struct {
	request http1.Edit
	answer  http1.Edit
	interim http1.Edit

	remote http1.Field // X-Forwarded-For
	via    http1.Field
	id     http1.Field    // X-Request-Id
	proto  [2]http1.Field // X-Forwarded-Proto: http, https
	reveal http1.Field    // X-Crossfade-Endpoint
	cert   []byte         // X-Forwarded-Client-Cert
	cookie http1.Field    // Set-Cookie
	server http1.Field
	place  http1.Field // Location, of our own answers
	sender http1.Field // crossfade-gateway

	random [36]byte      // the request's id, where we make it
	logged []byte        // the request's id, whoever made it
	text   []byte        // body of our own answers
	own    []http1.Field // fields of our own answers
}

func (e *edits) prepare(name, id string) {
	e.sender = http1.NewField(FieldGateway, cmp.Or(id, name))
	e.remote = http1.NewField(forwardedFor, "")
	e.via = http1.NewField("Via", "1.1 "+name)
	e.id = http1.NewField(requestID, "")
	for i, scheme := range []string{plaintext, secure} {
		e.proto[i] = http1.NewField(forwardedProto, scheme)
	}
	e.reveal = http1.NewField(revealName, "")
	e.cookie = http1.NewField("Set-Cookie", "")
	e.cert = []byte(clientCert)
	e.server = http1.NewField("Server", name)
	e.place = http1.NewField("Location", "")
	e.interim.Remove = append(e.interim.Remove, e.reveal.Name)
}

// ready fills in what is the same for every attempt and says whether the answer is to name its endpoint.
func (e *edits) ready(x *exchange) (reveal bool) {
	e.remote.Value = x.c.remote
	e.via.Value[0], e.via.Value[2] = '1', '0'+byte(x.req.Minor)
	if x.c.stream != nil {
		e.via.Value[0], e.via.Value[2] = '2', '0'
	}
	id, given := x.req.Lookup(requestID)
	if e.id.Value = nil; !given {
		newID(&e.random)
		e.id.Value, id = e.random[:], e.random[:]
	}
	e.logged = append(e.logged[:0], id...)
	switch x.c.p.o.Reveal {
	case RevealAlways:
		return true
	case RevealAsked:
		_, reveal = http1.Lookup(x.req.Fields, revealName)
	case RevealNever:
	}
	return reveal
}

// asked fills the request's edit in for the lane that it takes.
//
// X-Forwarded-For and Via grow by one, whoever asks. X-Forwarded-Proto is what we saw; only in the mesh, where
// a gateway of ours has come before, is an earlier one kept. X-Request-Id is made where there is none. What a client
// at the edge says about its own certificate is dropped: nobody has verified it. Then comes what configuration says, which has the last word on all of these.
func (e *edits) asked(x *exchange, l *lane) *http1.Edit {
	r := &e.request
	r.Remove = append(r.Remove[:0], e.reveal.Name)
	if x.c.listener.edge {
		r.Remove = append(r.Remove, e.cert)
	}
	r.Set, r.Join, r.Add = r.Set[:0], r.Join[:0], r.Add[:0]
	if !l.request.owns(ownForwardedFor) {
		r.Join = append(r.Join, e.remote)
	}
	if !l.request.owns(ownVia) {
		r.Join = append(r.Join, e.via)
	}
	if !l.request.owns(ownForwardedProto) && !x.told() {
		proto := &e.proto[0]
		if x.c.secure {
			proto = &e.proto[1]
		}
		r.Set = append(r.Set, *proto)
	}
	if !l.request.owns(ownRequestID) && e.id.Value != nil {
		r.Add = append(r.Add, e.id)
	}
	l.request.join(r)
	if x.endpoint.front {
		r.Set = append(r.Set, e.sender)
	}
	r.Upgrade = x.upgrade
	r.Host, r.Path = l.authority, nil
	if w := l.course.rewrite; w != nil {
		x.target = w.append(x.target[:0], x.path, x.prefix)
		r.Path = x.target
	}
	return r
}

// told says whether a gateway of ours has said before us what the client speaks.
func (x *exchange) told() bool {
	if !x.c.listener.Mesh {
		return false
	}
	_, told := x.req.Lookup(forwardedProto)
	return told
}

// answered fills the answer's edit in.
func (e *edits) answered(x *exchange) *http1.Edit {
	r := &e.answer
	r.Remove = append(r.Remove[:0], e.reveal.Name) // an endpoint does not name itself
	r.Set, r.Add = r.Set[:0], r.Add[:0]
	if x.reveal && !x.lane.answer.owns(ownReveal) {
		e.reveal.Value = x.endpoint.reveal
		r.Set = append(r.Set, e.reveal)
	}
	if x.given != nil && !x.lane.answer.owns(ownCookie) {
		token := x.token()
		e.cookie.Value = appendCookie(e.cookie.Value[:0], x.given, token[:])
		r.Add = append(r.Add, e.cookie)
	}
	x.lane.answer.join(r)
	r.Loads = x.pool.Service.Inbound || x.pool.Policy.LoadReports // a front's clients are gateways
	r.Close = x.close
	r.KeepAlive = !x.close && x.req.Minor == 0
	r.Upgrade = x.resp.Status == http.StatusSwitchingProtocols
	if f := x.c.p.o.Front; f != nil {
		f.mark(x, r)
	}
	return r
}

// fields returns those of an answer of our own, c's where it gives the answer, nil where it does not.
func (e *edits) fields(c *course) []http1.Field {
	e.own = e.own[:0]
	if c == nil || !c.answer.owns(ownServer) {
		e.own = append(e.own, e.server)
	}
	if len(e.place.Value) > 0 {
		e.own = append(e.own, e.place)
	}
	if c != nil && c.answer != nil {
		e.own = append(append(e.own, c.answer.set...), c.answer.add...)
	}
	return e.own
}

// explain writes the body of an answer of our own.
func (e *edits) explain(o *outcome) {
	e.text = append(append(e.text[:0], http.StatusText(o.status)...), ": "...)
	e.text = append(append(e.text, o.reason...), ".\n"...)
}

// newID writes a random UUID, version 4. It names requests; it guards nothing.
func newID(id *[36]byte) {
	hi, lo := rand.Uint64(), rand.Uint64()
	hi, lo = hi&^(0xf<<12)|4<<12, lo&^(3<<62)|2<<62 // version and variant (RFC 9562 section 5.4)
	first, second := hexOf(uint32(hi>>32)), hexOf(uint32(hi))
	third, last := hexOf(uint32(lo>>32)), hexOf(uint32(lo))
	binary.BigEndian.PutUint64(id[0:], first)
	binary.BigEndian.PutUint32(id[9:], uint32(second>>32))
	binary.BigEndian.PutUint32(id[14:], uint32(second))
	binary.BigEndian.PutUint32(id[19:], uint32(third>>32))
	binary.BigEndian.PutUint32(id[24:], uint32(third))
	binary.BigEndian.PutUint64(id[28:], last)
	id[8], id[13], id[18], id[23] = '-', '-', '-', '-'
}

// hexOf returns the eight hexadecimal digits of n as bytes, the first one highest, all of them worked out at a time.
func hexOf(n uint32) uint64 {
	const ones = 0x0101010101010101
	x := uint64(n)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f // a digit in each byte
	letters := (x + 6*ones) >> 4 & ones // 1 where it is above 9
	return x + '0'*ones + letters*('a'-10-'0')
}
