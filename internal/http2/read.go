package http2

import (
	"encoding/binary"
	"time"

	frame "golang.org/x/net/http2"
)

// A block is the header block that is coming.
type block struct {
	id     uint32
	stream *Stream // whose it is, if anybody's
	fate   fate
	end    bool // nothing follows it on the stream
	size   int
	frames int // CONTINUATION
	coming bool
}

// A fate is what becomes of a block once it is decoded.
type fate uint8

const (
	ignored   fate = iota
	delivered      // to its stream
	refusal        // its stream is refused
	late           // its stream has ended
	selfish        // it made its stream depend on itself
)

// beforeRead is called before a read that may block.
func (c *Conn) beforeRead() {
	now := time.Now()
	c.heard.Store(now.UnixNano())
	midway := c.block.coming || c.in.buffered() > 0
	c.mu.Lock()
	c.flushSoon()
	if midway && c.partial.Load() == 0 {
		c.partial.Store(now.UnixNano())
		c.rearm(now)
	}
	c.mu.Unlock()
}

// readFrames reads until the connection ends. The error is a *ConnError, or that of the socket.
func (c *Conn) readFrames() error {
	for {
		h, err := c.nextFrame()
		if err != nil {
			return err
		}
		if !c.greeted && h.Type != frame.FrameSettings {
			return &ConnError{Code: ProtocolError, Reason: "the first frame is not SETTINGS"}
		}
		if err := c.frame(h); err != nil {
			return err
		}
		if !c.block.coming && c.partial.Load() != 0 {
			c.partial.Store(0)
		}
	}
}

// nextFrame returns the header of the next frame. It is not taken before the frame is there, so that beforeRead knows of a
// frame that is not whole.
func (c *Conn) nextFrame() (h frame.FrameHeader, err error) {
	b, err := c.in.peek(frameHead)
	if err != nil {
		return h, err
	}
	h.Length, h.Type, h.Flags = uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]), frame.FrameType(b[3]), frame.Flags(b[4])
	h.StreamID = binary.BigEndian.Uint32(b[5:]) & maxStreamID
	continues := h.Type == frame.FrameContinuation
	switch {
	case h.Length > frameSize:
		err = &ConnError{Code: FrameSizeError, Reason: "a frame is larger than allowed"}
	case c.block.coming && (!continues || h.StreamID != c.block.id), continues && !c.block.coming:
		err = &ConnError{Code: ProtocolError, Reason: "a header block is not in one piece"}
	}
	return h, err
}

// frame reads and handles the frame whose header is h. Those that come often are read in place.
func (c *Conn) frame(h frame.FrameHeader) error {
	n := frameHead + int(h.Length)
	p, err := c.in.peek(n)
	if err != nil {
		return err
	}
	p = p[frameHead:]
	if h.StreamID == 0 && (h.Type <= frame.FrameRSTStream || h.Type == frame.FrameContinuation) {
		return &ConnError{Code: ProtocolError, Reason: h.Type.String() + " on stream 0"}
	}
	switch h.Type {
	case frame.FrameData:
		err = c.data(h, p)
	case frame.FrameHeaders:
		err = c.headers(h, p)
	case frame.FrameContinuation:
		err = c.continuation(h, p)
	case frame.FrameWindowUpdate:
		err = c.windowUpdate(h, p)
	case frame.FrameRSTStream:
		err = c.rstStream(h, p)
	default:
		return c.rare()
	}
	c.in.skip(n)
	return err
}

// unpad returns what is between the padding of p, whose frame has the flags.
func unpad(flags frame.Flags, p []byte) ([]byte, error) {
	if !flags.Has(frame.FlagDataPadded) { // the same bit in HEADERS
		return p, nil
	}
	if len(p) == 0 {
		return nil, &ConnError{Code: FrameSizeError, Reason: "a padded frame without a length of its padding"}
	}
	n := int(p[0])
	if n > len(p)-1 {
		return nil, &ConnError{Code: ProtocolError, Reason: "more padding than frame"}
	}
	return p[1 : len(p)-n], nil
}

func (c *Conn) data(h frame.FrameHeader, p []byte) error {
	body, err := unpad(h.Flags, p)
	if err != nil {
		return err
	}
	end, size := h.Flags.Has(frame.FlagDataEndStream), int64(len(p))
	c.mu.Lock()
	defer c.unlock()
	if c.recv -= size; c.recv < 0 {
		return &ConnError{Code: FlowControlError, Reason: "more DATA than the connection's window"}
	}
	s := c.streams[h.StreamID]
	if s == nil || s.recvEnd {
		c.consumeConn(size, 0)
		if err := c.stray(h.StreamID, s); err != nil || len(body) > 0 {
			return err
		}
		return c.spend(EmptyFlood)
	}
	if len(body) > 0 {
		c.useful++
	} else if !end {
		if err := c.spend(EmptyFlood); err != nil {
			return err
		}
	}
	n := int64(len(body))
	s.recv -= size
	bad := c.wrongData(s, n, end)
	if s.recv < 0 || bad != "" {
		c.consumeConn(size, 0)
		if s.recv < 0 {
			return c.punish(s, FlowControlError, "more DATA than the stream's window")
		}
		return c.malformed(s, bad)
	}
	s.pile.put(body)
	s.recvEnd = end
	c.consume(s, size-n)
	s.wake.Broadcast()
	c.settle(s)
	return nil
}

// wrongData counts n more bytes of a body and says what is wrong with them.
func (c *Conn) wrongData(s *Stream, n int64, end bool) string {
	switch {
	case c.client && !s.received:
		return "DATA before the answer's head"
	case n > 0 && s.bodiless:
		return "an answer that has no body has one"
	case s.left >= 0:
		if s.left -= n; s.left < 0 || end && s.left > 0 {
			return "the body is not as long as Content-Length"
		}
	}
	return ""
}

// stray is about DATA and header blocks on a stream whose message is over, and DATA before it began. s is nil unless
// it is still open in the other direction.
func (c *Conn) stray(id uint32, s *Stream) error {
	switch {
	case s != nil:
		return c.punish(s, StreamClosed, "a frame after the end of the message")
	case c.idle(id):
		return &ConnError{Code: ProtocolError, Reason: "a frame on an idle stream"}
	case c.resets.has(id):
		return nil
	default:
		c.putReset(id, StreamClosed)
		c.resets.add(id) // the next one is ignored
		return c.spend(RapidReset)
	}
}

// idle says whether nobody has opened the stream yet. Nobody ever opens an even one: we do not push, and do not let
// others.
func (c *Conn) idle(id uint32) bool { return id%2 == 0 || id > c.lastID }

// punish resets a stream for what the peer did. A peer that has us reset many is as bad as one that does it itself.
func (c *Conn) punish(s *Stream, code Code, reason string) error {
	c.reset(s, code, reason)
	s.failure.Remote = true
	s.tell()
	if err := c.spend(RapidReset); err != nil {
		return err
	}
	return c.owe()
}

func (c *Conn) malformed(s *Stream, reason string) error {
	c.o.Stats.Malformed.Inc()
	return c.punish(s, ProtocolError, reason)
}

func (c *Conn) windowUpdate(h frame.FrameHeader, p []byte) error {
	if len(p) != 4 {
		return &ConnError{Code: FrameSizeError, Reason: "WINDOW_UPDATE is not four bytes"}
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c.mu.Lock()
	defer c.unlock()
	if err := c.spend(WindowFlood); err != nil {
		return err
	}
	if h.StreamID == 0 {
		switch c.send += n; {
		case n == 0:
			return &ConnError{Code: ProtocolError, Reason: "WINDOW_UPDATE by 0"}
		case c.send > maxWindow:
			return &ConnError{Code: FlowControlError, Reason: "the connection's window is too large"}
		}
		c.wakeBlocked()
		return nil
	}
	s := c.streams[h.StreamID]
	if s == nil {
		if c.idle(h.StreamID) {
			return &ConnError{Code: ProtocolError, Reason: "a frame on an idle stream"}
		}
		return nil
	}
	switch s.send += n; {
	case n == 0:
		return c.punish(s, ProtocolError, "WINDOW_UPDATE by 0")
	case s.send > maxWindow:
		return c.punish(s, FlowControlError, "the stream's window is too large")
	}
	s.wake.Broadcast()
	return nil
}

func (c *Conn) rstStream(h frame.FrameHeader, p []byte) error {
	if len(p) != 4 {
		return &ConnError{Code: FrameSizeError, Reason: "RST_STREAM is not four bytes"}
	}
	code := Code(binary.BigEndian.Uint32(p))
	c.mu.Lock()
	defer c.unlock()
	if c.idle(h.StreamID) {
		return &ConnError{Code: ProtocolError, Reason: "a frame on an idle stream"}
	}
	s := c.streams[h.StreamID]
	if s == nil { // it crossed with our end of the stream; from here on the peer knows that it is closed
		c.resets.drop(h.StreamID)
		c.ended.add(h.StreamID)
		return nil
	}
	c.o.Stats.ResetsIn.Inc()
	c.ended.add(s.id)
	c.fail(s, &StreamError{Code: code, Remote: true, Unprocessed: c.client && code == RefusedStream && !s.received})
	return c.spend(RapidReset)
}
