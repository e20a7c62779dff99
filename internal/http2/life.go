package http2

import (
	"sync"
	"time"
)

// What is kept of a stream that ended, for the next one.
const (
	keepStreams = 64  // by a server: of each client that was busy once
	keepOpened  = 256 // by a client: it has few connections, of many streams
	keepText    = 8 << 10
	keepFields  = 64
)

// take returns a stream that nobody uses. mu is held.
func (c *Conn) take(id uint32) *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s, c.free = c.free[n-1], c.free[:n-1]
	} else {
		s = &Stream{c: c}
		s.pile.memory = c.o.Memory
		s.wake = sync.Cond{L: &c.mu}
	}
	s.id, s.fresh = id, true
	s.recv, s.send, s.left = c.ours, c.peer.window, -1
	return s
}

// begin counts s as open.
func (c *Conn) begin(s *Stream) {
	s.live = true
	c.streams[s.id] = s
	c.open++
	c.o.Stats.Streams.Inc()
}

// settle ends s if both messages are whole.
func (c *Conn) settle(s *Stream) {
	if s.live && s.recvEnd && s.sendEnd {
		c.answered++
		c.ended.add(s.id)
		c.remove(s)
	}
}

// remove ends s on the wire. Who uses it may still read what came.
func (c *Conn) remove(s *Stream) {
	if !s.live {
		return
	}
	s.live = false
	delete(c.streams, s.id)
	if c.open--; c.open == 0 {
		c.idleSince = time.Now()
		c.rearm(c.idleSince)
	}
	c.complete()
}

// fail ends s for a reason that is the peer's.
func (c *Conn) fail(s *Stream, why *StreamError) {
	s.failure = why
	s.spoiled = !s.recvEnd
	s.tell()
	if s.spoiled {
		c.discard(s)
	}
	s.wake.Broadcast()
	c.remove(s)
}

// reset ends s for a reason of ours.
func (c *Conn) reset(s *Stream, code Code, reason string) {
	c.putReset(s.id, code)
	c.resets.add(s.id)
	s.failure = &StreamError{Code: code, Reason: reason}
	s.spoiled = true
	c.discard(s)
	s.wake.Broadcast()
	c.remove(s)
}

// discard drops what came and was not read. It is as good as read for the other streams.
func (c *Conn) discard(s *Stream) {
	n := s.pile.size
	s.pile.drop()
	if c.consumeConn(int64(n), 0) {
		c.flushSoon() // the peer may have nothing else to wait for
	}
}

// recycle takes a stream back whose user is done with it.
func (c *Conn) recycle(s *Stream) {
	c.discard(s)
	large := cap(s.text) > keepText || cap(s.memory) > keepFields || cap(s.trailers) > keepFields
	keep := keepStreams
	if c.client {
		keep = keepOpened
	}
	if large || len(c.free) >= keep || s.id == 0 || c.cause != nil {
		s.silence()
		return
	}
	s.state = state{text: s.text, memory: s.memory, trailers: s.trailers[:0], pile: s.pile}
	c.free = append(c.free, s)
}

// consume counts n bytes as read, and tells the peer when half a window is free again. It says whether there is
// something to be written.
func (c *Conn) consume(s *Stream, n int64) (told bool) {
	told = c.consumeConn(n, int64(s.pile.size))
	if s.recvEnd || !s.live {
		return told
	}
	if s.consumed += n; s.consumed*2 >= int64(c.o.StreamWindow) {
		_ = c.framer.WriteWindowUpdate(s.id, uint32(s.consumed))
		s.recv += s.consumed
		s.consumed = 0
		told = true
	}
	return told
}

// consumeConn counts n bytes as read, by somebody for whom own more are there, and tells the peer when that is half of
// the window that others have not filled: what they leave unread may stay there.
func (c *Conn) consumeConn(n, own int64) (told bool) {
	c.consumed += n
	if c.cause != nil || c.consumed*2 < c.recv+c.consumed+own {
		return false
	}
	_ = c.framer.WriteWindowUpdate(0, uint32(c.consumed))
	c.recv += c.consumed
	c.consumed = 0
	return true
}

// waitForConn has s woken when something was written, or the peer takes more on the whole connection.
func (c *Conn) waitForConn(s *Stream) {
	if !s.blocked {
		s.blocked = true
		c.blocked = append(c.blocked, s)
	}
}

func (c *Conn) wakeBlocked() {
	for i, s := range c.blocked {
		s.blocked = false
		s.wake.Broadcast()
		c.blocked[i] = nil
	}
	c.blocked = c.blocked[:0]
}
