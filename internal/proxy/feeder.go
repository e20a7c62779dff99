package proxy

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/upstream"
)

// A feeder reads from the client while its answer is waited for or passed on: what is left of the request's
// body, which it sends to the endpoint; then nothing, to notice when the client leaves. It runs beside the
// exchange, in a goroutine of its own, only while there is such a thing to do.
//
// A client that has closed only its own half cannot be told from one that has left until something is written to
// it. It still gets its answer if that does not keep it waiting for longer than Options.HalfCloseTimeout; then it
// counts as one that has left. One that resets the connection has left.
type feeder struct {
	running bool
	ended   chan struct{} // has room for one
	halted  chan struct{} // has room for one

	lasting bool // the body may take its time; see patience

	// The goroutine's while it runs.
	body   body
	out    []byte
	first  []byte // what the endpoint has not taken yet of what came with the head
	why    stop
	kept   bool   // what it sends may have to be sent again, over HTTP/1.1 too
	replay []byte // what it has sent of the body, as it went out, where it may have to be sent again
	spilt  bool   // there is more than is kept
	fed    bool   // something was sent, or tried to
	thrown any    // what it panicked with

	// Everybody's.
	whole     atomic.Bool  // the body has been read to its end
	sent      atomic.Bool  // and has been written
	answering atomic.Bool  // the client is getting its answer
	progress  atomic.Int64 // when something of the body was last written, in Unix nanoseconds
	quiet     atomic.Int64 // since when the endpoint is waited for, in Unix nanoseconds; 0 while it is not
}

// A stop is why a feeder ended early.
type stop uint8

const (
	notStopped     stop = iota
	clientLeft          // or broke off its body
	clientStalled       // did not go on with its body
	clientBabbled       // its body is malformed
	endpointClosed      // the endpoint takes no more; it may have answered
)

func newFeeder() feeder {
	return feeder{ended: make(chan struct{}, 1), halted: make(chan struct{}, 1)}
}

// start makes f ready for a request whose body has been started, and passed as far as it had come.
func (f *feeder) start() {
	f.why, f.first, f.replay, f.spilt, f.fed = notStopped, nil, f.replay[:0], false, false
	f.whole.Store(f.body.done)
	lower(&f.sent)
	lower(&f.answering)
	if f.progress.Load() != 0 {
		f.progress.Store(0)
	}
	if f.quiet.Load() != 0 {
		f.quiet.Store(0)
	}
}

// lower sets b to false. Mostly it is: then to look costs next to nothing, where to store would hold the processor up.
func lower(b *atomic.Bool) {
	if b.Load() {
		b.Store(false)
	}
}

// readReady starts the body of a stream's request with what has come of it.
func (x *exchange) readReady() error {
	f, s := &x.feeder, x.c.stream
	h := s.Request()
	if h.End || h.Protocol != nil {
		f.body.start(http1.NoBody, plain, 0, false)
		if h.Protocol != nil {
			x.c.in = x.c.p.buffers.Get() // for the tunnel
		}
		return nil
	}
	f.body.start(http1.UntilClose, plain, 0, false)
	err := x.readMore()
	if !f.body.done {
		x.c.in = x.c.p.buffers.Get() // for the feeder
	}
	return err
}

// readMore takes what has come of the body of a stream's request.
func (x *exchange) readMore() error {
	const usual = 1 << 10
	f, s := &x.feeder, x.c.stream
	for have := len(x.piece); !f.body.done && have < window; have = len(x.piece) {
		x.piece = slices.Grow(x.piece, usual)
		n, err := http2.Ready{Stream: s}.Read(x.piece[have:min(cap(x.piece), window)])
		x.piece = x.piece[:have+n]
		switch {
		case errors.Is(err, io.EOF):
			f.body.close(&x.piece, s.Trailers())
		case n == 0:
			return err // nil: the rest is to come
		}
	}
	return nil
}

// feed starts the feeder. It reads over what the client's buffer still holds of the head, which may have to be sent again.
func (x *exchange) feed() {
	x.keep()
	x.enlist()
	x.feeder.running = true
	go x.feeder.run(x.c, x.conn)
}

func (f *feeder) run(c *Conn, conn *upstream.Conn) {
	defer func() {
		f.thrown = recover()
		if f.thrown != nil || f.why != notStopped && f.why != endpointClosed {
			_ = conn.Close() // the exchange reads from it: it shall look here
		}
		f.ended <- struct{}{}
	}()
	if f.feedAll(c, conn); f.why == notStopped && !c.hush.Load() {
		f.why = f.watch(c)
	}
}

// feedAll sends what is left of the body.
func (f *feeder) feedAll(c *Conn, conn *upstream.Conn) {
	if c.stream != nil && (len(f.first) > 0 || !f.body.done) {
		defer f.guard(c, conn)()
	}
	if len(f.first) > 0 {
		if f.why = f.pushFirst(c, conn); f.why != notStopped || c.hush.Load() {
			return
		}
	}
	for !f.body.done {
		if f.why = f.upload(c, conn); f.why != notStopped || c.hush.Load() {
			return
		}
	}
}

// upload reads and sends the next piece of the body.
func (f *feeder) upload(c *Conn, conn *upstream.Conn) stop {
	f.out = f.out[:0]
	switch err := c.fill(time.Now().Add(f.patience(c, c.p.o.StallTimeout)), window); {
	case err == nil:
	case c.stream != nil && errors.Is(err, io.EOF):
		f.body.close(&f.out, c.stream.Trailers())
	case errors.Is(err, errHushed):
		return notStopped
	case errors.Is(err, errTimeout) && f.answering.Load():
		return notStopped // both talk at once; the endpoint's silence has a bound of its own
	case errors.Is(err, errTimeout):
		return clientStalled
	default:
		return clientLeft
	}
	out, err := f.body.pass(&f.out, c.in)
	if err != nil {
		return clientBabbled
	}
	done := f.body.done
	f.fed = true
	if conn.Stream != nil || f.kept {
		f.keep(out)
	}
	if done {
		f.whole.Store(true) // first: the answer to the last byte may come at once
	}
	if _, err := writeAll(conn, &conn.Writing, out, patience{stall: c.p.o.StallTimeout, hush: &c.hush}); err != nil {
		return endpointClosed
	}
	if s := conn.Stream; s != nil && f.pushStream(s) != nil {
		return endpointClosed
	}
	f.progress.Store(time.Now().UnixNano())
	f.sent.Store(done)
	return notStopped
}

// watch waits until the client leaves, or is to be left alone.
func (f *feeder) watch(c *Conn) stop {
	if c.stream != nil {
		return f.attend(c)
	}
	for {
		err := c.fill(time.Now().Add(c.p.o.TunnelTimeout), c.p.o.MaxHead)
		switch {
		case err == nil, errors.Is(err, errTimeout): // its next request; it may still leave
		case errors.Is(err, errHushed), errors.Is(err, upstream.ErrTooLarge):
			return notStopped
		case errors.Is(err, io.EOF):
			return f.bear(c)
		default:
			return clientLeft
		}
	}
}

// bear waits until the endpoint has been waited for as long as a client does that has closed its half. While the
// client takes what it was sent, that time does not begin: if it has left, the connection says so.
func (f *feeder) bear(c *Conn) stop {
	patience := c.p.o.HalfCloseTimeout
	closed := time.Now()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-f.halted:
			return notStopped
		case now := <-timer.C:
			since := now
			if ns := f.quiet.Load(); ns > 0 {
				since = time.Unix(0, max(ns, closed.UnixNano()))
			}
			left := since.Add(patience).Sub(now)
			if left <= 0 {
				return clientLeft
			}
			timer.Reset(left)
		}
	}
}

// join ends the feeder and waits for it. If it panicked, so does join.
func (f *feeder) join(c *Conn, conn *upstream.Conn) {
	if !f.running {
		return
	}
	f.halt(c, conn)
	if f.thrown != nil {
		panic(f.thrown)
	}
}

// halt ends the feeder, which runs, and waits for it.
func (f *feeder) halt(c *Conn, conn *upstream.Conn) {
	c.hush.Store(true)
	f.halted <- struct{}{}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	_ = conn.SetWriteDeadline(time.Now().Add(grace))
	<-f.ended
	select {
	case <-f.halted: // it had no need to hear it
	default:
	}
	c.hush.Store(false)
	c.read, conn.Writing = upstream.Alarm{}, upstream.Alarm{}
	f.running = false
}

// join ends the feeder before the exchange's own connection is done with.
func (x *exchange) join() { x.feeder.join(x.c, x.conn) }

// blame is the outcome that the client caused, whole if none.
func (f *feeder) blame() outcome {
	switch f.why {
	case clientLeft:
		return outcome{verdict: gone, reason: "the client left before its answer was whole"}
	case clientStalled:
		return outcome{verdict: refused, status: 408, reason: "the request's body stalled"}
	case clientBabbled:
		return outcome{verdict: refused, status: 400, reason: "the request's body is malformed"}
	case notStopped, endpointClosed:
	}
	return outcome{}
}

// untouched says whether nothing of the request's body has been sent.
func (f *feeder) untouched(x *exchange) bool {
	return f.whole.Load() && !f.fed && len(x.piece) == 0 && x.req.Framing != http1.Chunked
}

// latest returns when something of the body was last sent, or t if that is later.
func (f *feeder) latest(t time.Time) time.Time {
	if ns := f.progress.Load(); ns > 0 {
		if p := time.Unix(0, ns); p.After(t) {
			return p
		}
	}
	return t
}
