package upstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds are what the pools under one Limits may come to together. Zero is no bound.
type Bounds struct {
	Conns    int // connections at once, idle ones included
	Pending  int // requests that wait for a connection: for a place, and while it is made
	Requests int // requests at once that have a connection
	Retries  int // requests at once that are sent another time
}

// Limits bound what the pools to several addresses have open together, as Envoy's circuit breakers do for a cluster.
// Requests that find no place wait in one queue. The zero value, and nil, bound nothing.
//
// No place is kept from somebody who waits: an idle connection, to whichever address, is closed for him, that first which
// has been idle longest. One that comes back is not closed but goes to somebody who waits for the same address, as long
// as who has waited longest of all was not passed over for that as often as there may be connections.
//
// While nobody waits, what a request costs is counting it; no lock is shared.
type Limits struct {
	b Bounds

	pending, requests, retries atomic.Int64
	waiting                    atomic.Int64 // len(queue), for those who do not hold mu

	mu     sync.Mutex    // may be held when a Pool's is taken, never the other way round
	open   int           // places taken; all of them while somebody waits
	held   map[*Pool]int // of these, by pool; never 0
	queue  []*waiter     // the first one has waited longest
	passed int           // how often that one was passed over
}

// NewLimits returns limits that nothing counts against yet.
func NewLimits(b Bounds) *Limits { return &Limits{b: b, held: map[*Pool]int{}} }

// Bounds returns what the limits are.
func (l *Limits) Bounds() Bounds {
	if l == nil {
		return Bounds{}
	}
	return l.b
}

// Retry counts a request as one that is sent another time, until Retried, and says whether it may be.
func (l *Limits) Retry() bool { return l == nil || enter(&l.retries, l.b.Retries) }

// Retried ends what Retry began.
func (l *Limits) Retried() {
	if l != nil {
		exit(&l.retries, l.b.Retries)
	}
}

// begin counts a request on c, until done, and says whether there may be one more.
func (l *Limits) begin(c *Conn) bool {
	if l == nil || l.b.Requests == 0 {
		return true
	}
	began := enter(&l.requests, l.b.Requests)
	c.counted.Store(began)
	return began
}

// done ends what begin began, if it did.
func (l *Limits) done(c *Conn) {
	if l != nil && c.counted.Load() && c.counted.Swap(false) {
		exit(&l.requests, l.b.Requests)
	}
}

// pend counts a request as one that waits, until unpend, and says whether there may be one more.
func (l *Limits) pend() bool { return l == nil || enter(&l.pending, l.b.Pending) }

// unpend ends what pend began.
func (l *Limits) unpend() {
	if l != nil {
		exit(&l.pending, l.b.Pending)
	}
}

// enter adds one to n where that leaves it within bound.
func enter(n *atomic.Int64, bound int) bool {
	for bound > 0 {
		now := n.Load()
		if now >= int64(bound) {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
	return true
}

func exit(n *atomic.Int64, bound int) {
	if bound > 0 {
		n.Add(-1)
	}
}

// admit takes a place for a connection of p, or waits for one until deadline (if not zero) or the end of ctx: then the
// error is ErrWait. Every place is given back with leave. Unless fresh, it may return a connection of p's instead, which
// has its place. A connection of HTTP/2 takes one place like any other, however many streams it carries, and asks with
// fresh.
func (l *Limits) admit(ctx context.Context, p *Pool, deadline time.Time, fresh bool) (*Conn, error) {
	if l == nil || l.b.Conns == 0 {
		return nil, nil
	}
	l.mu.Lock()
	if l.open < l.b.Conns {
		l.occupy(p)
		l.mu.Unlock()
		return nil, nil
	}
	w := &waiter{pool: p, fresh: fresh, ready: make(chan *Conn, 1)}
	l.queue = append(l.queue, w)
	l.waiting.Store(int64(len(l.queue))) // before idle ones are looked for: one that comes to rest after that is offered
	idle := l.idle()
	l.mu.Unlock()
	if idle != nil {
		idle.retire() // its place goes to the next, perhaps to w
	}
	if c, answered := w.wait(ctx, deadline); answered {
		return c, nil
	}
	l.mu.Lock()
	i := slices.Index(l.queue, w)
	if i >= 0 {
		l.remove(i)
	}
	l.mu.Unlock()
	if i >= 0 {
		return nil, ErrWait
	}
	return <-w.ready, nil // answered meanwhile
}

// leave gives a place of p's back, to the next in the queue if there is one.
func (l *Limits) leave(p *Pool) {
	if l == nil || l.b.Conns == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.held[p]--; l.held[p] == 0 {
		delete(l.held, p)
	}
	if len(l.queue) > 0 {
		w := l.remove(0)
		l.occupy(w.pool)
		w.ready <- nil
	}
}

// awaited says whether somebody waits for a place.
func (l *Limits) awaited() bool { return l != nil && l.waiting.Load() > 0 }

// offer is called when a connection of p has come to rest, and sees to it that it does not while somebody waits.
func (l *Limits) offer(p *Pool) {
	if l.awaited() {
		if idle := l.hand(p); idle != nil {
			idle.retire()
		}
	}
}

// hand hands an idle connection of p to somebody who waits for the address, or returns it to be closed for another.
func (l *Limits) hand(p *Pool) idler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	idle := p.yield()
	same := slices.IndexFunc(l.queue, func(w *waiter) bool { return w.pool == p && !w.fresh })
	c, ok := idle.(*Conn)
	if !ok || same < 0 || same > 0 && l.passed >= l.b.Conns {
		return idle
	}
	l.passed++
	l.remove(same).ready <- c
	return nil
}

// idle takes that idle connection out of its pool which has been idle longest, nil if there is none.
func (l *Limits) idle() idler {
	for {
		var of *Pool
		var longest time.Time
		for p := range l.held {
			if since, idle := p.resting(); idle && (of == nil || since.Before(longest)) {
				of, longest = p, since
			}
		}
		if of == nil {
			return nil
		}
		if c := of.yield(); c != nil {
			return c
		}
	}
}

func (l *Limits) occupy(p *Pool) {
	l.open++
	l.held[p]++
}

// remove takes the i-th waiter out of the queue.
func (l *Limits) remove(i int) *waiter {
	w := l.queue[i]
	if i == 0 {
		l.passed = 0
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	l.waiting.Store(int64(len(l.queue)))
	return w
}
