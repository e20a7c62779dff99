package http1

import (
	"bytes"
	"errors"
)

// A passage is what becomes of the first message in a stream of bytes, as a proxy would have it: what its other
// side gets to see, and what is left for the next message.
type passage struct {
	bad  *Error // why it was refused
	part bool   // it is not whole
	out  []byte // head and body, as they go out
	body []byte // the body's data
	rest []byte // what follows the message
}

// passRequest passes a request on.
func passRequest(in []byte, r *Request) (p passage) {
	n, err := r.Parse(in)
	if n == 0 {
		p.bad = asError(err)
		if p.bad == nil && len(in) > goldenHead {
			p.bad = TooLarge(in)
		}
		p.part = p.bad == nil
		return p
	}
	p.out = AppendRequest(nil, r, &Edit{Upgrade: true})
	p.pass(in[n:], r.Framing, r.Framing, r.ContentLength, r.Nominates())
	return p
}

// goldenHead is where the proxies of the tests give a head up.
const goldenHead = 64 << 10

// passResponse passes a response on, and what interim ones come before it, to a client of HTTP/1.minor.
func passResponse(in []byte, r *Response, method string, minor int) (p passage) {
	for {
		n, err := r.Parse(in, []byte(method))
		if n == 0 {
			p.bad = asError(err)
			p.part = p.bad == nil
			return p
		}
		in = in[n:]
		from, length := r.Framing, r.ContentLength
		switch {
		case from == UntilClose && minor == 1:
			r.Framing = Chunked
		case from == Chunked && minor == 0:
			r.Framing = UntilClose
		}
		if r.Status >= 200 || minor == 1 {
			p.out = AppendResponse(p.out, r, &Edit{Upgrade: true})
		}
		if r.Status < 200 && r.Status != 101 {
			continue
		}
		p.pass(in, from, r.Framing, length, r.Nominates())
		r.Framing = from
		return p
	}
}

// asError is the codec's error, if err is not nil.
func asError(err error) (bad *Error) {
	errors.As(err, &bad)
	return bad
}

// pass passes a body on.
func (p *passage) pass(in []byte, from, to Framing, length int64, bare bool) {
	p.part = true
	var c Chunks
	switch from {
	case NoBody:
		p.part = false
	case Length:
		take := min(length, int64(len(in)))
		p.body, in, p.part = in[:take], in[take:], take < length
		p.out = append(p.out, p.body...)
	case UntilClose:
		p.body, in, p.part = in, nil, false
	case Chunked:
		for len(in) > 0 && !c.Done() && p.bad == nil {
			data, n, err := c.Next(in)
			p.bad = asError(err)
			p.body, in = append(p.body, data...), in[n:]
		}
		p.part = !c.Done()
	}
	p.rest = in
	switch {
	case from == Length || from == NoBody:
	case to != Chunked:
		p.out = append(p.out, p.body...)
	default:
		p.out = AppendChunk(p.out, p.body)
		if !p.part {
			trailers := c.Trailers()
			if bare {
				trailers = nil
			}
			p.out = AppendLastChunk(p.out, trailers)
		}
	}
	p.out = bytes.Clone(p.out)
}
