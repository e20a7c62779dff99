package upstream

import (
	"context"
	"fmt"
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

	sessions atomic.Pointer[sessions] // of TLS
}

// A waiter is a request that waits for a place. It is answered once: with a connection, or with nil for a
// place in which it makes its own.
type waiter struct {
	fresh bool
	ready chan *Conn
}

// Addr returns the endpoint's address.
func (p *Pool) Addr() netip.AddrPort { return p.addr }

// TLS returns how the endpoint is spoken to; nil is plaintext.
func (p *Pool) TLS() *TLS { return p.o.TLS }

// Get returns a live connection: the last one put back, else a new one, else one waited for. fresh asks for one
// that never served. Connecting and waiting end at deadline (if not zero) or with ctx. The caller gives it back
// with Put, or ends it with Close. An error is ErrConnect, ErrOverflow or ErrWait.
func (p *Pool) Get(ctx context.Context, now, deadline time.Time, fresh bool) (*Conn, error) {
	for {
		c, w, err := p.take(now, fresh)
		if err != nil {
			return nil, err
		}
		if w != nil {
			if c, err = p.wait(ctx, w, deadline); err != nil {
				return nil, err
			}
		}
		if c == nil {
			return p.connect(ctx, deadline)
		}
		if c.alive() {
			c.Buffer = p.o.Buffers.Get()
			return c, nil
		}
		_ = c.Close()
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
		if c.alive() {
			c.Buffer = p.o.Buffers.Get()
			return c
		}
		c.retire()
	}
}

// take finds a connection to try, a place for a new one (all nil), or a turn in the queue.
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
	case p.open < p.o.MaxConns || len(expired) > 0: // or in the place of one that is about to be closed
		p.open++
	case len(p.idle) > 0: // fresh: the oldest idle connection makes room and leaves its place
		expired = append(expired, p.idle[0])
		p.idle = slices.Delete(p.idle, 0, 1)
		p.open++
	case len(p.waiters) < p.o.MaxPending:
		w = &waiter{fresh: fresh, ready: make(chan *Conn, 1)}
		p.waiters = append(p.waiters, w)
	default:
		err = ErrOverflow
	}
	p.mu.Unlock()
	closeAll(expired)
	if err != nil {
		p.traffic.Overflow.Inc()
	}
	return c, w, err
}

// wait blocks until somebody answers w.
func (p *Pool) wait(ctx context.Context, w *waiter, deadline time.Time) (*Conn, error) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case c := <-w.ready:
		return c, nil
	case <-late:
	case <-ctx.Done():
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

// connect makes a connection in a place that was taken.
func (p *Pool) connect(ctx context.Context, deadline time.Time) (*Conn, error) {
	bound := p.o.ConnectTimeout
	if !deadline.IsZero() {
		bound = min(bound, time.Until(deadline))
	}
	if bound <= 0 || ctx.Err() != nil {
		p.leave()
		return nil, ErrWait
	}
	dialing, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	raw, err := p.o.Dial(dialing, p.addr)
	if err != nil {
		return nil, p.unconnected(ctx, err)
	}
	inner, w := raw, (*wire)(nil)
	if p.o.TLS != nil {
		if inner, w, err = p.shake(dialing, raw); err != nil {
			_ = raw.Close()
			return nil, p.unconnected(ctx, err)
		}
	}
	p.traffic.Connects.Inc()
	p.traffic.ActiveConnects.Add(1)
	return newConn(p, inner, w, time.Now()), nil
}

// unconnected gives the place of a connection back that could not be made.
func (p *Pool) unconnected(ctx context.Context, err error) error {
	p.leave()
	if ctx.Err() == nil { // a caller that went away says nothing about the endpoint
		p.traffic.ConnectFail.Inc()
	}
	return fmt.Errorf("%w: %w", ErrConnect, err)
}

// Put gives back a connection whose last response has been read whole, and only such a one. Its deadlines stay, for the
// next user to move; over TLS they are cleared. With unread bytes in its buffer, past its lifetime, or after Pool.Close it is closed instead. A
// connection that was closed already may be put back too: that saves its buffer.
func (p *Pool) Put(c *Conn, now time.Time) {
	whole := len(c.Buffer.Bytes()) == 0
	p.o.Buffers.Put(c.Buffer)
	c.Buffer = nil
	c.served++
	c.since = now
	if !whole || p.tooOld(c, now) || c.wire != nil && c.clear() != nil {
		c.retire()
		return
	}
	p.mu.Lock()
	expired := p.expire(now)
	keep := !p.closed && len(p.idle) < p.o.MaxIdle && !c.ended.Load()
	switch {
	case p.closed || c.ended.Load():
		expired = append(expired, c)
	case len(p.waiters) > 0 && !p.waiters[0].fresh:
		p.next().ready <- c
	case len(p.waiters) > 0 || !keep:
		expired = append(expired, c) // its place goes to the next
	default:
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	closeAll(expired)
}

// next takes the first waiter out of the queue.
func (p *Pool) next() *waiter {
	w := p.waiters[0]
	p.waiters = slices.Delete(p.waiters, 0, 1)
	return w
}

// leave gives a place back, to the first waiter if there is one. While a connection that made room for another
// is being closed, one place too many is taken: that one goes to nobody.
func (p *Pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) > 0 && p.open <= p.o.MaxConns {
		p.next().ready <- nil
		return
	}
	p.open--
}

// Sweep closes idle connections that have expired.
func (p *Pool) Sweep(now time.Time) {
	p.mu.Lock()
	expired := p.expire(now)
	p.mu.Unlock()
	closeAll(expired)
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
