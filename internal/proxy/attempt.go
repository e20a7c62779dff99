package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/upstream"
)

// attempt picks an endpoint, sends it the request and passes its answer on; or it goes on with that where it paused.
func (x *exchange) attempt(ctx context.Context) outcome {
	if x.endpoint == nil {
		now := x.start
		if x.attempts > 0 || x.waited {
			now = time.Now()
		}
		x.attempts++
		if o := x.choose(now); o.verdict != whole {
			return o
		}
		x.write()
		x.sentAt = now
	}
	if x.conn == nil {
		if err := x.connect(ctx); errors.Is(err, errInside) {
			return outcome{verdict: paused}
		} else if err != nil {
			o := x.unconnected(err)
			x.release()
			return o
		}
	}
	o := x.talk()
	if o.verdict == paused {
		return o
	}
	// A connection that had been idle failed: another of its age may too.
	x.fresh = o.verdict == again && x.conn.Reused() && !x.declined
	x.part(o.verdict)
	x.release()
	return o
}

// connect takes a connection to the endpoint. The error is errInside where none is idle and that is no place to wait
// for one.
func (x *exchange) connect(ctx context.Context) (err error) {
	if err = x.enter(ctx); err != nil {
		return err
	}
	conns, conn := x.endpoint.connsOf(x.pool), (*upstream.Conn)(nil)
	multiplexed := x.multiplexed()
	if !x.fresh && !multiplexed {
		conn = conns.Idle(x.sentAt)
	}
	switch {
	case conn != nil:
	case x.c.inside:
		return errInside
	case multiplexed:
		conn, err = x.call(ctx, conns)
		if err != nil {
			return err
		}
	default:
		conn, err = x.await(ctx, func(ctx context.Context, until time.Time) (*upstream.Conn, error) {
			return conns.Get(ctx, x.sentAt, until, x.fresh)
		})
		if err != nil {
			return err
		}
	}
	x.conn, x.step, x.asked = conn, sending, time.Time{}
	x.heard, x.interims, x.closing, x.skipped, x.said = false, 0, false, false, x.said[:0]
	x.feeder.kept = x.endpoint.front
	if x.feeder.body.to = x.req.Framing; multiplexed {
		x.feeder.body.to = plain
	}
	x.endpoint.sent(conn.Reused(), x.attempts > 1)
	if x.attempts > 1 {
		for _, t := range x.routed.requests {
			t.Retry.Inc()
		}
	}
	return nil
}

// choose finds the endpoint that the request goes to now and counts the request as open there. The outcome is
// whole when there is one.
//
// Once a new state is in force, nobody must be sent to by an old one: whoever reads [State.Open] then would
// miss it. So a pick counts only if, after it was counted as open, the state it came from is still in force.
func (x *exchange) choose(now time.Time) outcome {
	c := x.c
	for {
		s := c.p.state.Load()
		c.look(s)
		pool, o := x.find(s)
		if pool == nil {
			return o
		}
		x.pool = pool
		if x.routed == nil {
			x.routed = pool
			for _, t := range pool.requests {
				t.Total.Inc()
			}
		}
		i := x.pick(pool, now)
		if i < 0 {
			for _, t := range pool.books {
				t.NoEndpoint.Inc()
			}
			return outcome{verdict: refused, kind: ending.NoEndpoint, status: 503, reason: "no endpoint of the service can take the request"}
		}
		e := pool.Endpoints[i]
		e.begin()
		if c.p.state.Load() == s {
			x.endpoint, x.ousters = e, x.c.p.ousted.calls.Load()
			return outcome{}
		}
		e.end()
	}
}

// release ends what choose began.
func (x *exchange) release() {
	if e := x.endpoint; e != nil {
		x.failed = e.Incarnation
		x.endpoint = nil
		lower(&x.ousted) // the next one may be another
		e.end()
	}
}

// talk sends the request and passes the answer on, from the step on that it has come to.
func (x *exchange) talk() outcome {
	switch x.step {
	case sending:
		if o := x.send(); o.verdict != whole {
			return o
		}
		x.step = hearing
		return x.hear()
	case hearing:
		return x.hear()
	case delivering:
	}
	return x.deliver()
}

// send sends the request. The outcome is whole when an answer may come.
func (x *exchange) send() outcome {
	if x.conn.Stream != nil {
		return x.sendStream()
	}
	n, err := x.ask()
	if errors.Is(err, upstream.ErrLater) {
		var more int
		more, err = writeAll(x.conn, &x.conn.Writing, x.head[n:], patience{stall: x.c.p.o.StallTimeout, by: x.deadline})
		n += more
	}
	switch {
	case err == nil:
		x.feeder.sent.Store(x.feeder.whole.Load())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, upstream.ErrStalled):
		x.endpoint.timedOut()
		return outcome{verdict: refused, kind: ending.Timeout, status: 504, reason: "the endpoint did not take the request in time"}
	case n == 0 || n <= x.headLen && x.idempotent() && x.conn.Reused():
		x.endpoint.cut()
		return outcome{verdict: again, kind: ending.Reset, status: 502, reason: "the endpoint cut the connection"}
	default:
		return outcome{} // it may have answered before it stopped listening
	}
	if !x.feeder.whole.Load() {
		x.feed()
	}
	return outcome{}
}

// ask sends the request and waits for the first of its answer in one go, where the connection can do that; until a
// feeder is due at the longest. It returns how much was sent, and ErrLater when the rest is still to be. What became
// of the answer, [exchange.fill] hears.
func (x *exchange) ask() (sent int, err error) {
	if x.c.p.o.Plain || !x.conn.Asks() || !x.feeder.whole.Load() {
		return 0, upstream.ErrLater
	}
	now := x.sentAt
	if !x.conn.Reused() { // it took its time to be made
		now = time.Now()
	}
	ring := x.sooner(now.Add(min(x.c.p.o.WatchAfter, x.c.p.o.AnswerTimeout)))
	if x.conn.Reading.Move(now, ring) {
		_ = x.conn.SetReadDeadline(ring) // a closed connection says so when it is read
	}
	sent, err = x.conn.Ask(x.head, x.c.p.o.MaxHead)
	switch {
	case sent == len(x.head):
		x.asked, x.heard = now, len(x.conn.Buffer.Bytes()) > 0
		return sent, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return sent, upstream.ErrLater
	default:
		return sent, err
	}
}

// hear waits for the answer, passing interim ones on.
func (x *exchange) hear() outcome {
	const most = 32 // interim answers
	for ; x.interims < most; x.interims++ {
		if err := x.hearHead(); errors.Is(err, errInside) {
			return outcome{verdict: paused}
		} else if err != nil {
			return x.unheard(err)
		}
		x.closing = x.closing || x.resp.Close
		x.resp.Close = x.closing // whichever of its heads says so
		if x.resp.House {
			if o := x.heed(); o.verdict != whole {
				return o
			}
		}
		switch status := x.resp.Status; {
		case status >= 200 && status < 300 && x.c.stream != nil && x.upgrade:
			return x.unheard(&http1.Error{Status: 502, Reason: "it did not switch protocols"}) // a 200 would say that it had (RFC 8441 section 5)
		case status >= 200:
			return x.deliver()
		case status == 101:
			return x.switchOver()
		}
		x.heard = true
		if err := x.passInterim(); err != nil {
			return outcome{verdict: gone, reason: "the client left before its answer"}
		}
	}
	return x.unheard(&http1.Error{Status: 502, Reason: "too many interim answers"})
}

// hearHead reads one head from the endpoint. Its time begins once, however many pieces it comes in.
func (x *exchange) hearHead() error {
	var guard headGuard
	for {
		b := x.conn.Buffer.Bytes()
		if x.conn.Stream != nil {
			b = x.said
		}
		if guard.due(b) {
			n, err := x.resp.Parse(b, x.method)
			if err != nil {
				return err
			}
			if n > 0 {
				x.headHeard(n)
				x.asked = time.Time{}
				return nil
			}
		}
		began, err := x.fill(x.feeder.patience(x.c, x.c.p.o.AnswerTimeout), x.c.p.o.MaxHead)
		if err != nil {
			return err
		}
		x.asked, x.heard = began, true
	}
}

// unheard is the outcome of an attempt that brought no answer.
func (x *exchange) unheard(err error) outcome {
	x.join()
	if o := x.feeder.blame(); o.verdict != whole {
		return o
	}
	var bad *http1.Error
	switch {
	case x.c.isCut():
		return outcome{verdict: gone, reason: "the connection was cut before its answer"}
	case errors.Is(err, errParted):
		return x.parted(503)
	case errors.As(err, &bad) && speaksStreams(x.conn.Buffer.Bytes()):
		x.endpoint.cut()
		return outcome{verdict: refused, kind: ending.Reset, status: 502, reason: "the endpoint speaks HTTP/2 and was asked in HTTP/1.1: name its Service's port grpc or http2"}
	case errors.As(err, &bad):
		x.endpoint.cut()
		return outcome{verdict: refused, kind: ending.Reset, status: 502, reason: "the endpoint answered badly: " + bad.Reason}
	case errors.Is(err, upstream.ErrTooLarge):
		x.endpoint.cut()
		return outcome{verdict: refused, kind: ending.Reset, status: 502, reason: "the endpoint answered badly: its head is too large"}
	case errors.Is(err, errTimeout):
		x.endpoint.timedOut()
		return outcome{verdict: refused, kind: ending.Timeout, status: 504, reason: "the endpoint did not answer in time"}
	}
	if o, did := x.callReset(err); did {
		return o
	}
	x.endpoint.cut()
	x.cause = err
	if x.unprocessed(err) {
		return outcome{verdict: again, kind: ending.Refused, status: 503, reason: "the endpoint takes no more streams"}
	}
	x.doubt()
	if !x.heard && x.conn.Reused() && x.idempotent() && x.feeder.untouched(x) {
		return outcome{verdict: again, kind: ending.Reset, status: 502, reason: "the endpoint cut the connection"}
	}
	return outcome{verdict: refused, kind: ending.Reset, status: 502, reason: "the endpoint cut the connection"}
}

// fill reads once from the endpoint, waiting no longer than wait after it or the client last did something, and
// returns since when. The error is errTimeout, errInside, upstream.ErrTooLarge or the connection's. A client that waits
// long is watched meanwhile.
func (x *exchange) fill(wait time.Duration, most int) (began time.Time, err error) {
	now := time.Now()
	began = now
	if !x.asked.IsZero() {
		began, x.asked = x.asked, time.Time{}
	}
	x.feeder.quiet.Store(began.UnixNano())
	defer x.feeder.quiet.Store(0)
	for ; ; now = time.Now() {
		if err := x.over(); err != nil {
			return began, err
		}
		limit := x.hearBy(began, wait)
		if !now.Before(limit) {
			return began, errTimeout
		}
		watch := began.Add(x.c.p.o.WatchAfter)
		if !x.feeder.running && !now.Before(watch) {
			if x.c.inside {
				x.asked = began
				return began, errInside
			}
			x.feed()
		}
		ring := x.spare(limit)
		if !x.feeder.running && watch.Before(ring) {
			ring = watch
		}
		if x.conn.Reading.Move(now, ring) {
			_ = x.conn.SetReadDeadline(ring) // a closed connection says so when it is read
		}
		if err := x.over(); err != nil { // again: whoever parts says so, then sets another deadline
			return began, err
		}
		n, err := x.listen(most)
		if n > 0 {
			return began, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return began, err
		}
		x.conn.Reading = upstream.Alarm{} // it may be another's deadline that has passed
	}
}

// over says why nothing more is waited for, nil while it is.
func (x *exchange) over() error {
	switch {
	case x.c.isCut():
		return net.ErrClosed
	case !x.ending && x.parts():
		return errParted
	}
	return nil
}

// hearBy is until when the endpoint is waited for, since began or whatever was done after that.
func (x *exchange) hearBy(began time.Time, wait time.Duration) time.Time {
	limit := x.sooner(x.feeder.latest(began).Add(wait))
	if x.ending && x.partBy.Before(limit) {
		return x.partBy
	}
	return limit
}

// part gives the connection back, or ends it when another request could not follow on it.
func (x *exchange) part(v verdict) {
	conn := x.conn
	reuse := (v == whole || x.skipped) && (conn.Stream != nil || !x.resp.Close) && x.feeder.whole.Load()
	if !reuse {
		_ = conn.Close() // before the feeder is waited for: it may be writing
	}
	x.feeder.join(x.c, conn)
	x.delist()
	x.conn = nil // not before: if the feeder has panicked, it is still to be put back
	if reuse && !x.feeder.sent.Load() {
		_ = conn.Close()
	}
	x.endpoint.connsOf(x.pool).Put(conn, x.ended()) // one that is closed gives its buffer back
}
