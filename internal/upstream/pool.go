package upstream

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/evidence"
)

// A Pool holds the connections to one address.
type Pool struct {
	addr    netip.AddrPort
	o       Options
	traffic *evidence.Traffic

	mu      sync.Mutex
	idle    []*Conn   // the last one was used last
	waiters []*waiter // the first one has waited longest; empty unless open == MaxConns and idle is empty
	open    int       // places taken: connections in use, idle, and being made
	closed  bool

	sessions [protocols]atomic.Pointer[sessions] // of TLS

	streams streams
}

// A waiter is a request that waits for a place. It is answered once: with a connection, or with nil for a
// place in which it makes its own.
type waiter struct {
	pool  *Pool
	fresh bool
	ready chan *Conn
}

// Addr returns the endpoint's address.
func (p *Pool) Addr() netip.AddrPort { return p.addr }

// TLS returns how the endpoint is spoken to; nil is plaintext.
func (p *Pool) TLS() *TLS { return p.o.TLS }

// Get returns a live connection: the last one put back, else a new one, else one waited for. fresh asks for one
// that never served. Connecting and waiting end at deadline (if not zero) or with ctx. The caller gives it back
// with Put, or ends it with Close. An error is ErrConnect, ErrOverflow, of which ErrLimited is one, or ErrWait.
func (p *Pool) Get(ctx context.Context, now, deadline time.Time, fresh bool) (*Conn, error) {
	for {
		c, w, err := p.take(now, fresh)
		if err == nil && c == nil {
			c, err = p.await(ctx, w, deadline, fresh)
		}
		switch made := c != nil && c.since.IsZero(); {
		case err != nil:
			return nil, err
		case !made && !c.alive():
			_ = c.Close()
		case p.use(c, now):
			return c, nil
		default:
			p.traffic.Overflow.Inc()
			return nil, ErrRequests
		}
	}
}

// Idle returns the connection that was put back last, nil if none can be had without waiting. It is looked at, as in
// Get: what an endpoint sent after its answer would be the answer to the next request.
func (p *Pool) Idle(now time.Time) *Conn {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 || now.Sub(p.idle[last].since) >= p.o.IdleTimeout || p.tooOld(p.idle[last], now) {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		switch {
		case !c.alive():
			c.retire()
		case p.use(c, now):
			return c
		default:
			return nil
		}
	}
}

// use begins a request on c; or the connection rests, where the limits let no more of them begin.
func (p *Pool) use(c *Conn, now time.Time) bool {
	if !p.o.Limits.begin(c) {
		p.rest(c, now)
		return false
	}
	c.Buffer = p.o.Buffers.Get()
	return true
}

// take finds a connection to try, a place for a new one (all nil), or a turn in the queue. Without a connection and
// an error, the request counts as one that waits until await returns.
func (p *Pool) take(now time.Time, fresh bool) (*Conn, *waiter, error) {
	p.mu.Lock()
	expired := p.expire(now)
	var c *Conn
	if last := len(p.idle) - 1; last >= 0 && !fresh {
		c, p.idle = p.idle[last], p.idle[:last]
	}
	var w *waiter
	var err error
	switch {
	case c != nil:
	case !p.o.Limits.pend():
		err = ErrLimited
	default:
		if w, expired, err = p.claim(fresh, expired); err != nil {
			p.o.Limits.unpend()
		}
	}
	p.mu.Unlock()
	closeAll(expired)
	if w != nil {
		p.makeRoom()
	}
	if err != nil {
		p.traffic.Overflow.Inc()
	}
	return c, w, err
}

// claim takes a place for a connection, or a turn in the queue for one, and adds to the expired connections that which
// makes room. mu is held.
func (p *Pool) claim(fresh bool, expired []*Conn) (*waiter, []*Conn, error) {
	switch {
	case p.open < p.o.MaxConns || len(expired) > 0: // or in the place of one that is about to be closed
		p.open++
	case len(p.idle) > 0: // fresh: the oldest idle connection makes room and leaves its place
		expired = append(expired, p.idle[0])
		p.idle = slices.Delete(p.idle, 0, 1)
		p.open++
	case len(p.waiters) < p.o.MaxPending:
		w := &waiter{pool: p, fresh: fresh, ready: make(chan *Conn, 1)}
		p.waiters = append(p.waiters, w)
		return w, expired, nil
	default:
		return nil, expired, ErrOverflow
	}
	return nil, expired, nil
}

// await brings a request that took no connection to one: it waits for a place of the pool's, where w stands in the
// queue for it, then for one under the limits, and makes a connection there; unless it is handed one meanwhile.
func (p *Pool) await(ctx context.Context, w *waiter, deadline time.Time, fresh bool) (*Conn, error) {
	defer p.o.Limits.unpend()
	return p.place(ctx, w, deadline, fresh, protoHTTP1)
}

// place is await for somebody who does not count as one that waits.
func (p *Pool) place(ctx context.Context, w *waiter, deadline time.Time, fresh bool, speak protocol) (*Conn, error) {
	if w != nil {
		if c, err := p.wait(ctx, w, deadline); c != nil || err != nil {
			return c, err
		}
	}
	if c, err := p.o.Limits.admit(ctx, p, deadline, fresh); c != nil || err != nil {
		p.vacate()
		return c, err
	}
	return p.connect(ctx, deadline, speak)
}

// wait blocks until somebody answers w.
func (p *Pool) wait(ctx context.Context, w *waiter, deadline time.Time) (*Conn, error) {
	if c, answered := w.wait(ctx, deadline); answered {
		return c, nil
	}
	p.mu.Lock()
	i := slices.Index(p.waiters, w)
	if i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		return nil, ErrWait
	}
	return <-w.ready, nil // answered meanwhile
}

// wait blocks until w is answered, which it says, the deadline passes, or ctx ends.
func (w *waiter) wait(ctx context.Context, deadline time.Time) (c *Conn, answered bool) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case c = <-w.ready:
		return c, true
	case <-late:
	case <-ctx.Done():
	}
	return nil, false
}

// Put gives back a connection whose last response has been read whole, and only such a one. Its deadlines stay, for the
// next user to move; over TLS they are cleared. With unread bytes in its buffer, past its lifetime, or after Pool.Close it is closed instead. A
// connection that was closed already may be put back too: that saves its buffer.
func (p *Pool) Put(c *Conn, now time.Time) {
	if c.link != nil {
		p.putStream(c, now)
		return
	}
	whole := len(c.Buffer.Bytes()) == 0
	p.o.Buffers.Put(c.Buffer)
	c.Buffer = nil
	c.served++
	p.o.Limits.done(c)
	if !whole || c.wire != nil && c.clear() != nil {
		c.retire()
		return
	}
	p.rest(c, now)
}

// rest keeps c for the next request, hands it to one that waits, or closes it.
func (p *Pool) rest(c *Conn, now time.Time) {
	c.since = now
	if p.tooOld(c, now) || p.o.MaxRequests > 0 && c.served >= p.o.MaxRequests {
		c.retire()
		return
	}
	awaited := p.o.Limits.awaited() // then places are scarce: whose turn it is, the limits say
	p.mu.Lock()
	expired := p.expire(now)
	keep := !p.closed && len(p.idle) < p.o.MaxIdle && !c.ended.Load()
	switch {
	case p.closed || c.ended.Load():
		expired = append(expired, c)
	case len(p.waiters) > 0 && !p.waiters[0].fresh && !awaited:
		p.next().ready <- c
	case len(p.waiters) > 0 || !keep:
		expired = append(expired, c) // its place goes to the next
	default:
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	closeAll(expired)
	p.o.Limits.offer(p)
}

// next takes the first waiter out of the queue.
func (p *Pool) next() *waiter {
	w := p.waiters[0]
	p.waiters = slices.Delete(p.waiters, 0, 1)
	return w
}

// leave gives back a place, that under the limits too.
func (p *Pool) leave() {
	p.vacate()
	p.o.Limits.leave(p)
}

// vacate gives a place of the pool's back, to the first waiter if there is one. While a connection that made room for
// another is being closed, one place too many is taken: that one goes to nobody.
func (p *Pool) vacate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) > 0 && p.open <= p.o.MaxConns {
		p.next().ready <- nil
		return
	}
	p.open--
}

// An idler is a connection that is idle, and out of its pool's hands.
type idler interface{ retire() }

// resting says whether a connection is idle, and since when the longest.
func (p *Pool) resting() (since time.Time, idle bool) {
	since, idle = p.streams.resting()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) > 0 && (!idle || p.idle[0].since.Before(since)) {
		return p.idle[0].since, true
	}
	return since, idle
}

// yield takes a connection out that is idle, the one that has been so longest of its version of HTTP; nil if none is.
func (p *Pool) yield() idler {
	if l := p.streams.yield(); l != nil {
		return l
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		if !c.ended.Load() { // by somebody else, who gave its place back
			return c
		}
	}
	return nil
}

// Sweep closes idle connections that have expired.
func (p *Pool) Sweep(now time.Time) {
	p.mu.Lock()
	expired := p.expire(now)
	p.mu.Unlock()
	closeAll(expired)
	p.sweepLinks(now)
}

// Close closes the idle connections; those in use are closed when they come back. Get still works, so that a
// request that was routed by an older view is not lost, but nothing is kept any more.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	closeAll(idle)
	p.closeLinks()
}

// expire takes the idle connections that may not be used again out of the list. Those idle for too long stand
// at its front; lifetimes are looked at for all of them.
func (p *Pool) expire(now time.Time) (expired []*Conn) {
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.o.IdleTimeout {
		n++
	}
	if n > 0 {
		expired = append(expired, p.idle[:n]...)
		p.idle = slices.Delete(p.idle, 0, n)
	}
	if p.o.MaxLifetime == 0 {
		return expired
	}
	p.idle = slices.DeleteFunc(p.idle, func(c *Conn) bool {
		old := p.tooOld(c, now)
		if old {
			expired = append(expired, c)
		}
		return old
	})
	return expired
}

func (p *Pool) tooOld(c *Conn, now time.Time) bool {
	return p.o.MaxLifetime > 0 && now.Sub(c.born) >= p.o.MaxLifetime
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		c.retire()
	}
}
