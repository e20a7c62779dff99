package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// afterInterrupt is how long requests in flight may still be answered once the run was interrupted.
const afterInterrupt = time.Second

// A crew carries out one plan: workers, each with one request in flight at a time.
type crew struct {
	// Set once, before anything starts.
	plan     *Plan
	requests []request
	account  *account
	trace    *trace // nil without Plan.Trace
	start    time.Time
	hard     context.Context //nolint:containedctx // Lives as long as the crew: its end abandons what is in flight.
	release  func()          // ends hard and what waits for it

	lines [][]*line // HTTP/2: by connection, then by request as senders are

	working  sync.WaitGroup
	sessions sync.WaitGroup

	// Only openLoop's goroutine touches these.
	hired []*worker

	// The open loop's idle workers.
	mu   sync.Mutex
	idle []*worker     // last in, first out: connections grow only when all are busy
	bell chan struct{} // rings when one becomes idle
}

// A worker is one goroutine with a sender to each address.
type worker struct {
	senders []sender
	slots   chan slot // open loop only
}

// A sender carries out requests to one address, one at a time, each of them once.
type sender interface {
	exchange(hard context.Context, r *request, deadline time.Time) result
	close()
}

func newCrew(ctx context.Context, plan Plan, requests []request) *crew {
	hard, abandon := context.WithCancel(context.WithoutCancel(ctx))
	grace := min(afterInterrupt, plan.Timeout)
	unwatch := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			abandon()
		case <-hard.Done():
		}
	})
	c := &crew{
		plan: &plan, requests: requests, account: newAccount(), start: time.Now(), hard: hard,
		release: func() { unwatch(); abandon() },
		bell:    make(chan struct{}, 1),
	}
	if plan.Trace != nil {
		c.trace = newTrace(plan.Trace)
	}
	if plan.Protocol == HTTP1 {
		return c
	}
	for range plan.Connections {
		lines := make([]*line, len(requests))
		for i := range requests {
			lines[i] = newLine(c.plan, c.account, &c.sessions)
		}
		c.lines = append(c.lines, lines)
	}
	return c
}

// size is how many requests may be in flight at once.
func (c *crew) size() int { return c.plan.Connections * c.plan.Streams }

// newWorker returns the n-th worker. The first ones have a connection each, the next ones share them.
func (c *crew) newWorker(n int) *worker {
	w := &worker{senders: make([]sender, len(c.requests)), slots: make(chan slot, 1)}
	for i := range c.requests {
		switch {
		case c.requests[i].link != i: // shares another's
		case c.plan.Protocol == HTTP1:
			w.senders[i] = newLink(c.plan, c.account)
		default:
			w.senders[i] = newCaller(c.lines[n%c.plan.Connections][i])
		}
	}
	return w
}

func (w *worker) close() {
	for _, s := range w.senders {
		if s != nil {
			s.close()
		}
	}
}

// end closes what workers have shared, once they have done their work.
func (c *crew) end() {
	c.release()
	for _, lines := range c.lines {
		for _, l := range lines {
			l.close()
		}
	}
	c.sessions.Wait()
}

// openLoop sends every slot of the schedule as close to its moment as connections allow.
func (c *crew) openLoop(ctx context.Context) {
	slots := newSchedule(*c.plan)
	patience := ctx
	if c.plan.Duration > 0 {
		limit, cancel := context.WithDeadline(ctx, c.start.Add(c.plan.Duration+c.plan.Timeout))
		defer cancel()
		patience = limit
	}
	for next, ok := slots.step(); ok; next, ok = slots.step() {
		due := c.start.Add(next.due)
		if !c.plan.pause(patience, time.Until(due)) {
			if elapsed := time.Since(c.start); next.due <= elapsed {
				c.account.neverSent(1 + slots.dueBy(elapsed))
			}
			break
		}
		w := c.acquire(patience)
		if w == nil {
			c.account.neverSent(1 + slots.dueBy(time.Since(c.start)))
			break
		}
		w.slots <- next
	}
	c.dismiss()
}

// acquire returns a worker without work, or nil when ctx ends first.
func (c *crew) acquire(ctx context.Context) *worker {
	for {
		if w := c.popIdle(); w != nil {
			return w
		}
		if len(c.hired) < c.size() {
			w := c.newWorker(len(c.hired))
			c.hired = append(c.hired, w)
			c.working.Go(func() { c.serve(w) })
			return w
		}
		select {
		case <-c.bell:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *crew) popIdle() *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	w := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return w
}

// dismiss ends the open loop's workers when they have done what they were given.
func (c *crew) dismiss() {
	for _, w := range c.hired {
		close(w.slots)
	}
	c.working.Wait()
}

// serve is one worker of the open loop.
func (c *crew) serve(w *worker) {
	defer w.close()
	for s := range w.slots {
		c.send(w, s, true)
		c.mu.Lock()
		c.idle = append(c.idle, w)
		c.mu.Unlock()
		select {
		case c.bell <- struct{}{}:
		default:
		}
	}
}

// closedLoop lets every worker send as soon as it has its last answer.
func (c *crew) closedLoop(ctx context.Context) {
	var tickets atomic.Uint64
	for n := range c.size() {
		c.working.Go(func() {
			w := c.newWorker(n)
			defer w.close()
			for ctx.Err() == nil {
				now := time.Since(c.start)
				if c.plan.Duration > 0 && now >= c.plan.Duration {
					return
				}
				index := tickets.Add(1) - 1
				if c.plan.Requests > 0 && index >= c.plan.Requests {
					return
				}
				c.send(w, slot{index: index, due: now}, false)
			}
		})
	}
	c.working.Wait()
}

// send carries out one request and books it.
func (c *crew) send(w *worker, s slot, open bool) {
	r := &c.requests[s.index%uint64(len(c.requests))]
	began := time.Now()
	sent := began.Sub(c.start)
	if !open {
		s.due = sent
	}
	c.account.began(sent, sent-s.due, c.plan.LateAfter)
	got := w.senders[r.link].exchange(c.hard, r, began.Add(c.plan.Timeout))
	ended := time.Since(c.start)
	c.account.ended(ended, ended-s.due, got)
	if c.trace != nil {
		c.trace.add(s, sent, ended, got)
	}
}

// reportSeconds hands every second to Plan.Second once it is over; stop waits for the last one.
func (c *crew) reportSeconds() (stop func()) {
	if c.plan.Second == nil {
		return func() {}
	}
	done := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for told := 0; ; {
			select {
			case <-ticker.C:
			case <-done:
				return
			}
			for _, s := range c.account.seconds(time.Since(c.start), told) {
				c.plan.Second(s)
				told++
			}
		}
	})
	return func() { close(done); reporting.Wait() }
}
