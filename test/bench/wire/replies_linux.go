package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A reply is how an endpoint answers one path over HTTP/2.
type reply struct {
	name       string // of its head, among the blocks that are written
	head, tail []hpack.HeaderField
	body       []byte
}

// asked takes bytes of requests over HTTP/2.
func (l *Loop) asked(c *conn, b []byte) error {
	s := c.session
	if !s.begun {
		rest, ok, err := s.greeted(b)
		if err != nil || !ok {
			return err
		}
		b = rest
	}
	if err := s.take(b, func(f frame) error { return l.request(s, f) }); err != nil {
		return fmt.Errorf("an endpoint reads a request: %w", err)
	}
	if err := l.answer(c); err != nil {
		return err
	}
	out := s.out
	if len(c.unsent) > 0 {
		c.unsent, s.out = append(c.unsent, out...), out[:0]
		return nil
	}
	if len(out) == 0 {
		return nil
	}
	s.out = out[:0]
	err := l.reply(c, out)
	if len(c.unsent) > 0 {
		s.out = nil // these bytes are still to be sent
	}
	return err
}

// request handles a frame of a request.
func (l *Loop) request(s *session, f frame) error {
	e := s.call(f.stream)
	switch {
	case f.kind == goAwayFrame: // the proxy leaves, as it may
		return nil
	case f.kind == resetFrame:
		if e != nil {
			s.done(e)
		}
		s.owed = slices.DeleteFunc(s.owed, func(o exchange) bool { return o.stream == f.stream })
		return nil
	case e == nil && f.kind == headersFrame:
		s.calls = append(s.calls, exchange{stream: f.stream})
		e = &s.calls[len(s.calls)-1]
	case e == nil:
		return fmt.Errorf("DATA of the stream %d, which is not open", f.stream)
	}
	if err := s.hear(e, f); err != nil {
		return err
	}
	if !e.ended {
		return nil
	}
	if e.head.grpc && !e.whole() {
		return fmt.Errorf("%d bytes that start with % x, which is not one message", e.got, e.prefix)
	}
	s.owed = append(s.owed, *e)
	s.done(e)
	return nil
}

// answer answers the requests that are complete, as far as there is room.
func (l *Loop) answer(c *conn) error {
	s, done := c.session, 0
	for ; done < len(s.owed); done++ {
		e := &s.owed[done]
		r, err := l.replyTo(e.head)
		if err != nil {
			return err
		}
		ok, err := s.fits(len(r.body))
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		block, err := s.heads.block(r.name, r.head)
		if err != nil {
			return err
		}
		s.say(e.stream, block, r.body, len(r.tail) == 0)
		if len(r.tail) > 0 {
			if block, err = s.heads.block("", r.tail); err != nil {
				return err
			}
			s.say(e.stream, block, nil, true)
		}
	}
	s.owed = slices.Delete(s.owed, 0, done)
	l.Served[c.endpoint] += done
	return nil
}

var errPath = errors.New("want a path that ends with the size of the answer")

// replyTo returns the answer to a request for a path that ends with /SIZE: 200 with a body of that size, or a gRPC
// message of it and the status 0.
func (l *Loop) replyTo(s section) (*reply, error) {
	if r, known := l.replies[s.path]; known && s.grpc == (len(r.tail) > 0) {
		return r, nil
	}
	size, err := strconv.Atoi(s.path[strings.LastIndexByte(s.path, '/')+1:])
	if err != nil || size < 0 || size > frameMost {
		return nil, fmt.Errorf("an endpoint was asked for %q: %w", s.path, errPath)
	}
	r := &reply{name: strconv.Itoa(size), body: Body(size), head: []hpack.HeaderField{
		{Name: ":status", Value: "200"},
		{Name: "content-type", Value: "application/octet-stream"},
		{Name: "server", Value: "endpoint"},
		{Name: "date", Value: "Sun, 22 Nov 2026 00:00:00 GMT"},
		{Name: "cache-control", Value: "no-store"},
		{Name: "content-length", Value: strconv.Itoa(size)},
	}}
	if s.grpc {
		r.name = "grpc"
		r.body = Message(r.body)
		r.head = []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "application/grpc"}}
		r.tail = []hpack.HeaderField{{Name: "grpc-status", Value: "0"}, {Name: "grpc-message", Value: ""}}
	}
	l.replies[s.path] = r
	return r, nil
}
