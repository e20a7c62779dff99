package http2

import (
	"io"
	"os"
	"sync"
	"time"

	"crossfade.dev/internal/http1"
)

// A Stream is one request with its answer. One goroutine may read from it while another writes; Reset, Flush and the
// deadlines may be called from any. A server's stream is done with when its function returns; a client's when Close
// was called. After that neither the stream nor anything that it returned may be used.
//
// What is written waits for more to go with it. It leaves with the end of the message, with an interim answer, when a
// good deal has gathered, when Flush is called, and when a goroutine waits to read from the stream. Who waits for
// anything else in mid-message calls Flush first.
type Stream struct {
	c *Conn

	// The connection's mutex guards what follows.
	wake    sync.Cond // something changed
	timer   *time.Timer
	timerAt time.Time // when that goes off; zero for never
	blocked bool      // it is in c.blocked
	state
}

// A state is what a stream forgets before it is used again.
type state struct {
	id       uint32
	text     []byte        // what the heads point into
	memory   []http1.Field // for the next head
	fresh    bool          // text and memory are of the stream before
	live     bool          // it counts as open
	received bool          // the head came; of a client's stream, the final one
	head     Head
	interim  []*Head // heads of interim answers that nobody read yet
	interims int
	trailers []http1.Field
	pile     pile
	recv     int64 // what the peer may still send
	consumed int64 // bytes that were read since the peer was last told
	left     int64 // bytes that must follow for Content-Length; -1: any number
	send     int64 // what the peer takes
	recvEnd  bool  // the peer's message is whole
	sendEnd  bool  // ours is
	spoiled  bool  // there is nothing more to be read, after a failure
	failure  *StreamError
	bodiless bool   // a client's: the answer has no body, whatever it announces
	headAt   uint64 // where in all that is written the head begins
	readBy   time.Time
	writeBy  time.Time
	onGone   func()
}

// ID returns the stream's number on its connection.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the connection that the stream is on.
func (s *Stream) Conn() *Conn { return s.c }

// Request returns the head of a server's stream.
func (s *Stream) Request() *Head { return &s.head }

// SetReadDeadline sets until when ReadHead and ReadBody wait: then they return os.ErrDeadlineExceeded, and may be
// called again. The zero time is never.
func (s *Stream) SetReadDeadline(t time.Time) { s.setDeadline(&s.readBy, t) }

// SetWriteDeadline sets until when WriteBody waits. With the zero time it waits for as long as the peer takes some
// within every StallTimeout, and else resets the stream. No deadline of a stream bounds how long the socket itself takes
// what several streams say: that is StallTimeout too.
func (s *Stream) SetWriteDeadline(t time.Time) { s.setDeadline(&s.writeBy, t) }

func (s *Stream) setDeadline(d *time.Time, t time.Time) {
	s.c.mu.Lock()
	if sooner := !t.IsZero() && (d.IsZero() || t.Before(*d)); sooner {
		s.wake.Broadcast() // who waits by the old one
	}
	*d = t
	s.c.mu.Unlock()
}

// OnGone has f called, in a goroutine of its own, when the stream ends before both messages are whole, for a reason
// that is not ours: the peer reset it, or the connection broke. If it has, that is now. It is not called once the
// stream is done with.
func (s *Stream) OnGone(f func()) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.onGone = f; s.failure != nil && s.failure.Remote {
		s.tell()
	}
}

func (s *Stream) tell() {
	if s.onGone != nil {
		go s.onGone()
		s.onGone = nil
	}
}

// wait waits for wake, and says whether by has passed. mu is held before and after.
//
// The clock is only looked at where the timer would go off too late. One that goes off too early does no harm: so it is
// left to the next stream as it stands.
func (s *Stream) wait(by time.Time) (late bool) {
	if !by.IsZero() && (s.timerAt.IsZero() || by.Before(s.timerAt)) {
		left := time.Until(by)
		switch {
		case left <= 0:
			return true
		case s.timer == nil:
			s.timer = time.AfterFunc(left, s.ring)
		default:
			s.timer.Reset(left)
		}
		s.timerAt = by
	}
	s.wake.Wait()
	return false
}

// silence stops the timer of a stream that is not used again: the timer would keep it.
func (s *Stream) silence() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *Stream) ring() {
	s.c.mu.Lock()
	s.timerAt = time.Time{}
	s.wake.Broadcast()
	s.c.mu.Unlock()
}

// ReadHead waits for the answer on a client's stream and returns its head: first those of interim answers, one by one,
// then the final one, for ever. The error is a *StreamError or os.ErrDeadlineExceeded.
func (s *Stream) ReadHead() (*Head, error) {
	c := s.c
	c.mu.Lock()
	defer c.unlock()
	for {
		switch {
		case len(s.interim) > 0:
			h := s.interim[0]
			s.interim = s.interim[1:]
			return h, nil
		case s.received && !s.spoiled:
			return &s.head, nil
		case s.failure != nil:
			return nil, s.failure
		}
		if c.flush(); s.received || len(s.interim) > 0 || s.failure != nil {
			continue // while it was written
		}
		if s.wait(s.readBy) {
			return nil, os.ErrDeadlineExceeded
		}
	}
}

// ReadBody reads what has come of the peer's body, and waits for the first byte. After the last it returns io.EOF.
// Other errors are a *StreamError, and os.ErrDeadlineExceeded. What is read is what the peer is allowed to send.
func (s *Stream) ReadBody(p []byte) (n int, err error) { return s.read(p, true) }

// read is ReadBody, which waits, or takes what there is.
func (s *Stream) read(p []byte, waits bool) (n int, err error) {
	c := s.c
	c.mu.Lock()
	defer c.unlock()
	for {
		switch {
		case s.spoiled:
			return 0, s.failure
		case s.pile.size > 0:
			n = s.pile.take(p)
			if c.consume(s, int64(n)) {
				c.flush()
			}
			if !waits && s.recvEnd && s.pile.size == 0 {
				return n, io.EOF
			}
			return n, nil
		case s.recvEnd:
			return 0, io.EOF
		case !waits:
			return 0, nil
		}
		if c.flush(); s.pile.size > 0 || s.recvEnd || s.spoiled {
			continue
		}
		if s.wait(s.readBy) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// Ready says whether ReadBody would return at once.
func (s *Stream) Ready() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.pile.size > 0 || s.recvEnd || s.spoiled
}

// Answered says whether the head of the final answer has come, on a client's stream.
func (s *Stream) Answered() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.received
}

// Whole says whether all of the peer's message has come, read or not.
func (s *Stream) Whole() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.recvEnd && !s.spoiled
}

// Trailers returns the peer's, once ReadBody has returned io.EOF; nil if there are none.
func (s *Stream) Trailers() []http1.Field {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.recvEnd || len(s.trailers) == 0 {
		return nil
	}
	return s.trailers
}

// Err returns why the stream ended before both messages were whole, or nil.
func (s *Stream) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.failure == nil {
		return nil
	}
	return s.failure
}

// mayWrite returns why nothing may be written, or nil.
func (s *Stream) mayWrite() error {
	switch {
	case s.failure != nil:
		return s.failure
	case s.sendEnd:
		return ErrEnded
	default:
		return nil
	}
}

// WriteHead writes a server's answer, or an interim one (status below 200). end says that nothing follows. The error
// is a *StreamError, ErrEnded or ErrField.
func (s *Stream) WriteHead(h *Head, end bool) error {
	if h.Status < 100 || h.Status > 999 || h.Status == 101 || h.Status < 200 && end || !writable(h.Fields) {
		return ErrField
	}
	return s.put(h, nil, end, end || h.Status < 200)
}

// WriteTrailers ends the message with fields after its body. The errors are those of WriteHead.
func (s *Stream) WriteTrailers(fields []http1.Field) error {
	if !writable(fields) {
		return ErrField
	}
	return s.put(nil, fields, true, true)
}

func (s *Stream) put(h *Head, fields []http1.Field, end, now bool) error {
	c := s.c
	c.mu.Lock()
	defer c.unlock()
	if err := s.mayWrite(); err != nil {
		return err
	}
	c.putHead(s.id, h, fields, end)
	if end {
		s.sendEnd = true
		c.settle(s)
	}
	if now {
		c.flush()
	}
	return nil
}

// WriteBody writes p, waiting for the peer to take it, and ends the message if end. n is what was taken. The error is
// a *StreamError, ErrEnded, ErrStalled (the stream is reset then) or os.ErrDeadlineExceeded.
func (s *Stream) WriteBody(p []byte, end bool) (n int, err error) { return s.write(p, end, true) }

// write is WriteBody, which waits, or writes what the peer takes.
func (s *Stream) write(p []byte, end, waits bool) (n int, err error) {
	c := s.c
	c.mu.Lock()
	defer c.unlock()
	var stalled time.Time // since when nothing was taken
	for {
		if err := s.mayWrite(); err != nil {
			return n, err
		}
		if k, ok := s.offer(p, end); ok {
			n, p, stalled = n+k, p[k:], time.Time{}
			if len(p) == 0 {
				if end || c.out.len() >= outUsual {
					c.flush()
				}
				return n, nil
			}
			continue
		}
		if !c.flushing && c.out.len() > 0 {
			c.flush() // much may have changed meanwhile
			continue
		}
		if !waits {
			return n, os.ErrDeadlineExceeded
		}
		if stalled.IsZero() {
			stalled = time.Now()
		}
		if err := s.waitToWrite(stalled); err != nil {
			return n, err
		}
	}
}

// offer appends one frame of p, if there is room for any, and the end of the message with the last.
func (s *Stream) offer(p []byte, end bool) (n int, ok bool) {
	c := s.c
	full := c.out.len() >= outBound
	n = int(max(0, min(int64(len(p)), frameSize, s.send, c.send)))
	if full || n == 0 && len(p) > 0 {
		if full || s.send > 0 {
			c.waitForConn(s)
		}
		return 0, false
	}
	last := end && n == len(p)
	if n > 0 || last {
		c.putData(s.id, p[:n], last)
	}
	s.send -= int64(n)
	c.send -= int64(n)
	if last {
		s.sendEnd = true
		c.settle(s)
	}
	return n, true
}

func (s *Stream) waitToWrite(since time.Time) error {
	if !s.writeBy.IsZero() {
		if s.wait(s.writeBy) {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	if !s.wait(since.Add(s.c.o.StallTimeout)) {
		return nil
	}
	s.c.o.Stats.Stalled.Inc()
	s.c.reset(s, EnhanceYourCalm, "the peer takes nothing")
	s.c.flush()
	return ErrStalled
}

// Flush writes what waits.
func (s *Stream) Flush() {
	s.c.mu.Lock()
	s.c.flush()
	s.c.unlock()
}

// Reset ends the stream at once. It does nothing to one that has ended.
func (s *Stream) Reset(code Code) {
	c := s.c
	c.mu.Lock()
	if s.live {
		c.reset(s, code, "")
		c.flush()
	}
	c.unlock()
}

// Close is called when a client is done with the stream. One whose messages are not whole is reset.
func (s *Stream) Close() {
	c := s.c
	c.mu.Lock()
	if s.live {
		c.reset(s, Cancel, "")
		c.flush()
	}
	c.recycle(s)
	c.unlock()
}
