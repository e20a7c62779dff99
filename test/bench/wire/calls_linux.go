package wire

import (
	"fmt"
	"syscall"

	"golang.org/x/net/http2/hpack"
)

// HTTP2 says that clients speak HTTP/2, in plaintext with prior knowledge, with TLS by ALPN, and what they ask for.
type HTTP2 struct {
	Streams int                 // calls at once on each connection
	Fields  []hpack.HeaderField // of each request
	Body    []byte              // likewise
	GRPC    bool                // the answer is a message, and trailers that say that all is well
}

// greet starts a client's session.
func (l *Loop) greet(c *conn) error {
	c.session = newSession(true)
	c.session.idle = l.job.HTTP2.Streams
	return l.flush(c)
}

// answered takes bytes of answers.
func (l *Loop) answered(c *conn, b []byte) error {
	s := c.session
	if err := s.take(b, func(f frame) error { return l.part(s, f) }); err != nil {
		return fmt.Errorf("an answer: %w", err)
	}
	return nil
}

// call makes the calls that are to be made, as far as there is room, and sends what there is to send.
func (l *Loop) call(c *conn) error {
	s, j := c.session, l.job
	for s.idle > 0 && s.begun && !j.ended {
		ok, err := s.fits(len(j.HTTP2.Body))
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		block, err := s.heads.block("", j.HTTP2.Fields)
		if err != nil {
			return err
		}
		s.calls = append(s.calls, exchange{stream: s.next})
		s.say(s.next, block, j.HTTP2.Body, true)
		s.next += 2
		s.idle--
		j.out++
	}
	c.waiting = len(s.calls) > 0
	return l.flush(c)
}

// part handles a frame of an answer.
func (l *Loop) part(s *session, f frame) error {
	j := l.job
	switch f.kind {
	case resetFrame:
		return fmt.Errorf("the stream %d is reset: % x", f.stream, f.payload)
	case goAwayFrame:
		return fmt.Errorf("the proxy leaves: %q", f.payload)
	}
	e := s.call(f.stream)
	if e == nil {
		return fmt.Errorf("a frame of the stream %d, on which nothing is out", f.stream)
	}
	if err := s.hear(e, f); err != nil {
		return err
	}
	if !e.ended {
		return nil
	}
	if err := j.HTTP2.check(e, j.Size); err != nil {
		return err
	}
	s.done(e)
	s.idle++
	j.out--
	j.count++
	j.last = l.now
	return nil
}

// check says what is wrong with an answer.
func (h *HTTP2) check(e *exchange, size int) error {
	switch {
	case e.head.status != "200" || e.head.length >= 0 && e.head.length != e.got:
		return fmt.Errorf("status %q with %d bytes, which says that it has %d: %s", e.head.status, e.got, e.head.length, e.head.grpcMessage)
	case !h.GRPC:
		if e.got != size {
			return fmt.Errorf("%d bytes, want %d", e.got, size)
		}
	case e.tail.grpcStatus != "0":
		return fmt.Errorf("grpc-status %q in trailers, and %q: %s%s", e.tail.grpcStatus, e.head.grpcStatus, e.head.grpcMessage, e.tail.grpcMessage)
	case !e.head.grpc || !e.whole() || e.got != len(e.prefix)+size:
		return fmt.Errorf("%d bytes that start with % x, want a message of %d", e.got, e.prefix, size)
	}
	return nil
}

// flush sends what a client's session has to send.
func (l *Loop) flush(c *conn) error {
	out := c.session.out
	c.session.out = out[:0]
	for len(out) > 0 {
		b := out
		if c.secret != nil {
			b = out[:min(len(out), recordMost)]
		}
		out = out[len(b):]
		if c.secret != nil {
			b = c.secret.seal(b)
		}
		n, failed := write(c.fd, b)
		if failed != 0 || n < len(b) {
			return fmt.Errorf("a client sends: wrote %d of %d bytes: %w", n, len(b), syscall.Errno(failed))
		}
	}
	return nil
}
