package proxy

import (
	"encoding/hex"
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
)

// edits are the changes that every head goes through, made once for each exchange and filled in for each request.
type edits struct {
	request http1.Edit
	answer  http1.Edit

	proto  [1]http1.Field
	join   [2]http1.Field // X-Forwarded-For, Via
	add    [1]http1.Field // X-Request-Id
	remove [1][]byte
	name   [1]http1.Field // X-Crossfade-Endpoint
	own    [1]http1.Field // of our own answers: Server
	id     [36]byte
	logged []byte // the request's id, whoever made it
	text   []byte // body of our own answers
}

func (e *edits) prepare(name string) {
	e.proto[0] = http1.Field{Name: []byte(forwardedProto), Value: []byte("http")}
	e.join[0].Name = []byte(forwardedFor)
	e.join[1] = http1.Field{Name: []byte("Via"), Value: []byte("1.1 " + name)}
	e.add[0] = http1.Field{Name: []byte(requestID), Value: e.id[:]}
	e.remove[0] = []byte(revealName)
	e.name[0].Name = []byte(revealName)
	e.own[0] = http1.Field{Name: []byte("Server"), Value: []byte(name)}
	e.request.Join = e.join[:]
	e.request.Remove = e.remove[:]
}

// ready fills the request's edit in and says whether the answer is to name its endpoint.
//
// X-Forwarded-For and Via grow by one, whoever asks. X-Forwarded-Proto is what we saw; only in the mesh, where
// a gateway of ours has come before, is an earlier one kept. X-Request-Id is made where there is none.
func (e *edits) ready(x *exchange) (reveal bool) {
	fields := x.req.Fields
	e.join[0].Value = x.c.remote
	e.join[1].Value[2] = '0' + byte(x.req.Minor)
	e.request.Set = e.proto[:]
	if x.c.listener.Mesh {
		if _, told := http1.Lookup(fields, forwardedProto); told {
			e.request.Set = nil
		}
	}
	e.request.Add = nil
	id, given := http1.Lookup(fields, requestID)
	if !given {
		newID(&e.id)
		e.request.Add, id = e.add[:], e.id[:]
	}
	e.logged = append(e.logged[:0], id...)
	e.request.Upgrade = x.upgrade

	switch x.c.p.o.Reveal {
	case RevealAlways:
		return true
	case RevealAsked:
		_, reveal = http1.Lookup(fields, revealName)
	case RevealNever:
	}
	return reveal
}

// answered fills the answer's edit in.
func (e *edits) answered(x *exchange) *http1.Edit {
	e.answer.Set = nil
	if x.reveal {
		e.name[0].Value = x.endpoint.reveal
		e.answer.Set = e.name[:]
	}
	e.answer.Close = x.close
	e.answer.KeepAlive = !x.close && x.req.Minor == 0
	e.answer.Upgrade = x.resp.Status == http.StatusSwitchingProtocols
	return &e.answer
}

// explain writes the body of an answer of our own.
func (e *edits) explain(o *outcome) {
	e.text = append(append(e.text[:0], http.StatusText(o.status)...), ": "...)
	e.text = append(append(e.text, o.reason...), ".\n"...)
}

// newID writes a random UUID, version 4. It names requests; it guards nothing.
func newID(id *[36]byte) {
	var raw [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		raw[i], raw[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	hex.Encode(id[0:8], raw[0:4])
	hex.Encode(id[9:13], raw[4:6])
	hex.Encode(id[14:18], raw[6:8])
	hex.Encode(id[19:23], raw[8:10])
	hex.Encode(id[24:36], raw[10:16])
	id[8], id[13], id[18], id[23] = '-', '-', '-', '-'
}
