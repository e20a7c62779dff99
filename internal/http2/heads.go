package http2

import (
	"encoding/binary"
	"errors"
	"time"

	frame "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"crossfade.dev/internal/http1"
)

func (c *Conn) headers(h frame.FrameHeader, p []byte) error {
	p, err := unpad(h.Flags, p)
	if err != nil {
		return err
	}
	selfDependent := false
	if h.Flags.Has(frame.FlagHeadersPriority) {
		if len(p) < 5 {
			return &ConnError{Code: FrameSizeError, Reason: "HEADERS is too short for its priority"}
		}
		selfDependent = binary.BigEndian.Uint32(p)&maxStreamID == h.StreamID
		p = p[5:]
	}
	c.block = block{id: h.StreamID, end: h.Flags.Has(frame.FlagHeadersEndStream), coming: true}
	c.mu.Lock()
	err = c.choose()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if selfDependent && c.block.fate == delivered {
		c.block.fate = selfish
	}
	c.decoder.SetEmitEnabled(c.parser.role != nobodys)
	return c.fragment(p, h.Flags.Has(frame.FlagHeadersEndHeaders))
}

func (c *Conn) continuation(h frame.FrameHeader, p []byte) error {
	if c.block.frames++; c.block.frames > maxContinuations {
		return c.flood(ContinuationFlood)
	}
	return c.fragment(p, h.Flags.Has(frame.FlagContinuationEndHeaders))
}

// fragment decodes a piece of a block.
func (c *Conn) fragment(p []byte, last bool) error {
	// What is compressed is hardly ever longer than what it says; one whole frame is always taken.
	if c.block.size += len(p); c.block.size > c.o.MaxHead+frameSize {
		return c.flood(ContinuationFlood)
	}
	_, err := c.decoder.Write(p)
	if err == nil && last {
		err = c.decoder.Close()
	}
	switch {
	case errors.Is(err, hpack.ErrStringLength): // the decoder cannot go on
		c.o.Stats.HeadTooLarge.Inc()
		return &ConnError{Code: EnhanceYourCalm, Reason: "one field is larger than a whole head may be"}
	case err != nil:
		return &ConnError{Code: CompressionError, Reason: err.Error()}
	case !last:
		return nil
	}
	c.block.coming = false
	c.mu.Lock()
	defer c.unlock()
	err = c.arrive()
	if c.arriving {
		c.arriving = false
		c.complete()
	}
	return err
}

// choose finds out whose the block is that begins.
func (c *Conn) choose() error {
	b := &c.block
	s := c.streams[b.id]
	b.stream = s
	switch {
	case s != nil && s.recvEnd:
		b.fate = late
	case s != nil:
		b.fate = delivered
		if s.fresh {
			s.text, s.fresh = s.text[:0], false
		}
		if c.client && !s.received {
			c.parser.start(answer, c.o.MaxHead, s.text, s.memory[:0])
		} else {
			c.parser.start(trailers, c.o.MaxHead, s.text, s.trailers[:0])
		}
		return nil
	case c.client:
		if c.idle(b.id) {
			return &ConnError{Code: ProtocolError, Reason: "an answer that nobody asked for"}
		}
		b.fate = ignored
	default:
		return c.admit()
	}
	c.parser.start(nobodys, c.o.MaxHead, nil, nil)
	return nil
}

// admit is about a block on a stream that is not open, at a server.
func (c *Conn) admit() error {
	b := &c.block
	switch {
	case b.id%2 == 0:
		return &ConnError{Code: ProtocolError, Reason: "a client's stream has an even number"}
	case b.id <= c.lastID && (c.resets.has(b.id) || c.resets.forgot && !c.ended.has(b.id)):
		b.fate = ignored
	case b.id <= c.lastID && c.ended.has(b.id):
		return &ConnError{Code: StreamClosed, Reason: "HEADERS on a closed stream"}
	case b.id <= c.lastID:
		return &ConnError{Code: ProtocolError, Reason: "a stream's number is lower than one before"}
	default:
		c.lastID = b.id
		// A handler whose stream was reset is still at work: it counts, or resetting would be a way around the bound.
		if c.leaving == decided || c.open >= c.o.MaxStreams || c.running >= 2*c.o.MaxStreams {
			b.fate = refusal
			break
		}
		b.fate, b.stream, c.arriving = delivered, c.take(b.id), true
		s := b.stream
		s.text, s.fresh = s.text[:0], false
		c.parser.start(request, c.o.MaxHead, s.text, s.memory[:0])
		return nil
	}
	c.parser.start(nobodys, c.o.MaxHead, nil, nil)
	return nil
}

// arrive does what is to be done with a block that is decoded.
func (c *Conn) arrive() error {
	b, p := &c.block, &c.parser
	s := b.stream
	b.stream = nil
	switch b.fate {
	case ignored:
		return c.spend(EmptyFlood)
	case late:
		if !s.live || s.id != b.id {
			return nil
		}
		return c.punish(s, StreamClosed, "HEADERS after the end of the message")
	case refusal:
		c.o.Stats.Streams.Inc()
		c.o.Stats.Refused.Inc()
		c.putReset(b.id, RefusedStream)
		c.resets.add(b.id)
		if c.leaving == decided {
			return c.owe() // it did not know yet
		}
		return c.excess()
	case delivered, selfish:
	}
	if p.role == request {
		c.begin(s)
		if c.leaving == expectant {
			c.announce(time.Now())
		}
	} else if c.streams[b.id] != s {
		return nil // it was reset meanwhile
	}
	if b.fate == selfish {
		return c.abandon(s, "a stream depends on itself")
	}
	if p.large {
		return c.tooLarge(s)
	}
	if bad := p.conclude(b.end); bad != "" {
		c.o.Stats.Malformed.Inc()
		return c.abandon(s, bad)
	}
	c.useful++
	return c.deliver(s)
}

// abandon resets a stream over its head. A request's never reached a handler.
func (c *Conn) abandon(s *Stream, reason string) error {
	err := c.punish(s, ProtocolError, reason)
	if c.parser.role == request {
		c.recycle(s)
	}
	return err
}

// excess is about a stream that had to be refused.
func (c *Conn) excess() error {
	if err := c.spend(RapidReset); err != nil {
		return err
	}
	return c.owe()
}

// tooLarge is about a head beyond MaxHead: RFC 6585 section 5, where we can answer.
func (c *Conn) tooLarge(s *Stream) error {
	c.o.Stats.HeadTooLarge.Inc()
	if c.parser.role != request {
		return c.punish(s, EnhanceYourCalm, "the head is too large")
	}
	c.putHead(s.id, &Head{Status: 431, Sized: true}, nil, true)
	s.sendEnd, s.recvEnd = true, c.block.end
	answered := c.answered
	c.settle(s)
	c.answered = answered // it earns nothing: such a head may be small on the wire
	if s.live {
		c.reset(s, NoError, "the head is too large")
	}
	c.recycle(s)
	return c.excess()
}

// deliver gives a stream its head or trailers.
func (c *Conn) deliver(s *Stream) error {
	p, end := &c.parser, c.block.end
	s.text = p.text
	switch {
	case p.role == trailers:
		s.trailers = p.head.Fields
		if s.left > 0 {
			return c.malformed(s, "the body is not as long as Content-Length")
		}
	case p.role == answer && p.head.Status < 200:
		if s.interims++; s.interims > maxInterim {
			return c.flood(InterimFlood)
		}
		h := p.head
		s.interim, s.memory = append(s.interim, &h), nil
	default:
		s.head = p.head
		s.memory = s.head.Fields
		s.received = true
		if bad := s.expectBody(p.role == answer); bad != "" {
			return c.malformed(s, bad)
		}
	}
	s.recvEnd = end
	if p.role == request {
		c.running++
		c.o.Memory.hands.serve(s)
		return nil
	}
	s.wake.Broadcast()
	c.settle(s)
	return nil
}

// expectBody prepares for the body that the head announces.
func (s *Stream) expectBody(answer bool) string {
	h := &s.head
	if answer {
		s.bodiless = s.bodiless || h.Status == 204 || h.Status == 304
	}
	if h.Sized && !s.bodiless {
		if s.left = h.ContentLength; s.left > 0 && h.End {
			return "no body, but a Content-Length"
		}
	}
	return ""
}

// serve runs the handler.
func (c *Conn) serve(s *Stream) {
	c.handle(s)
	c.mu.Lock()
	if s.live {
		code := InternalError // an answer that stops in the middle must not look whole
		if s.sendEnd {
			code = NoError // RFC 9113 section 8.1: the rest of the request is not needed
		}
		c.reset(s, code, "")
	}
	c.recycle(s)
	c.running--
	c.flush()
	if c.running == 0 {
		c.calm.Broadcast()
	}
	c.unlock()
}

// clone returns a head with memory of its own.
func (h *Head) clone() Head {
	own := *h
	for _, b := range []*[]byte{&own.Method, &own.Scheme, &own.Authority, &own.Path, &own.Protocol} {
		if *b != nil {
			*b = append([]byte{}, *b...)
		}
	}
	own.Fields = make([]http1.Field, 0, len(h.Fields))
	for i := range h.Fields {
		f := &h.Fields[i]
		own.Fields = append(own.Fields, http1.Field{Name: append([]byte(nil), f.Name...), Value: append([]byte(nil), f.Value...)})
	}
	return own
}
