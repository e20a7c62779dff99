// Package warmer sends an instance requests before anybody else can, so that its code is compiled and its caches are
// filled when it is registered; and it keeps a sample of live requests of one instance that may warm up another.
//
// A [Warmer] begins with one request at a time and doubles that while the instance keeps up. It ends when latency has
// stopped improving, after so many requests, or when its time is over. It speaks HTTP/1.1, HTTP/2 in plaintext, and
// gRPC, by net/http: what an instance sees is a client as there are many.
package warmer

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
)

// Marker is the field that every warm-up request carries, with the value 1: an application may tell them from others,
// and they are not recorded.
const Marker = "crossfade-warmup"

// ErrFailed says that of some kind of request more failed than were answered, or that none was answered at all.
var ErrFailed = errors.New("warm-up requests fail")

// A Warmer sends one instance its warm-up requests.
type Warmer struct {
	Plan    fleet.WarmupRequests
	Address func(port uint32) netip.AddrPort // where the application takes what is sent to that port; 0 is its first
	// Progress is called every half second and once at the end, one call at a time; nil is nobody.
	Progress func(Progress)
	// Dial opens a connection; nil is TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// An Ending is why a warm-up by requests ended.
type Ending uint8

// The endings.
const (
	None      Ending = iota // there was nothing to send
	Converged               // latency has stopped improving
	Counted                 // the plan's number of requests was sent
	TimeUp                  // the plan's time was over
	Stopped                 // the context ended
)

// String returns the ending in a word or two.
func (e Ending) String() string {
	return [...]string{"nothing to send", "converged", "count reached", "time up", "stopped"}[e]
}

// Run sends requests until one of its ends, waits for what is open as long as the plan's time lasts, and says how it
// went. The error wraps [ErrFailed], or it is the context's. The result holds in either case.
func (w *Warmer) Run(ctx context.Context) (Result, error) {
	plan := w.Plan
	if len(plan.Requests) == 0 {
		return Result{}, nil
	}
	plan.Time = cmp.Or(max(plan.Time, 0), fleet.DefaultRequestTime)
	plan.Concurrency = cmp.Or(max(plan.Concurrency, 0), fleet.DefaultRequestConcurrency)
	bounded, cancel := context.WithTimeout(ctx, plan.Time)
	defer cancel()
	s := newSender(w, plan)
	defer s.close()
	r := &run{
		plan: plan, deck: newDeck(plan.Requests), account: newAccount(plan.Requests),
		course: course{most: plan.Concurrency, concurrency: 1},
		send:   s.send, told: w.Progress, began: time.Now(), outcomes: make(chan outcome),
	}
	r.loop(bounded)
	result := r.result()
	if ctx.Err() != nil {
		result.Ending = Stopped
		return result, ctx.Err()
	}
	return result, r.account.failure()
}

// tick is how often a window may end, and how often progress is told.
const tick = 500 * time.Millisecond

// A run is one Run. Everything is its loop's own; requests are sent by goroutines that know only of outcomes.
type run struct {
	plan     fleet.WarmupRequests
	deck     *deck
	course   course
	account  *account
	send     func(ctx context.Context, kind int) outcome
	told     func(Progress)
	began    time.Time
	outcomes chan outcome

	dealt, open, highest int
	ending               Ending // None: it goes on
}

// loop deals requests and takes their outcomes until nothing is to be dealt and nothing is open.
func (r *run) loop(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	over := ctx.Done()
	for r.deal(ctx); r.open > 0; r.deal(ctx) {
		select {
		case o := <-r.outcomes:
			r.open--
			r.account.add(o)
		case <-ticker.C:
			r.turn()
			r.tell()
		case <-over:
			over = nil
			if r.ending == None {
				r.ending = TimeUp
			}
		}
	}
	r.account.close(1)
	r.tell()
}

// deal sends as many requests as may be open at once.
func (r *run) deal(ctx context.Context) {
	for r.ending == None && r.open < r.course.concurrency {
		if r.plan.Count > 0 && r.dealt == r.plan.Count {
			r.ending = Counted
			return
		}
		kind := r.deck.next()
		r.dealt++
		r.open++
		r.highest = max(r.highest, r.open)
		go func() { r.outcomes <- r.send(ctx, kind) }()
	}
}

// turn ends the window, if there is enough in it, and draws the conclusions.
func (r *run) turn() {
	w, enough := r.account.close(windowRequests)
	if !enough || r.ending != None {
		return
	}
	if r.course.next(w) && r.plan.Count == 0 && r.account.complete() {
		r.ending = Converged
	}
}

func (r *run) tell() {
	if r.told == nil {
		return
	}
	r.told(Progress{
		Sent: r.account.sent, Failed: r.account.failed, Concurrency: r.course.concurrency, Elapsed: time.Since(r.began),
		First: r.account.first, Last: r.account.last, Settled: r.course.settled(),
		Count: r.plan.Count, Time: r.plan.Time,
	})
}

func (r *run) result() Result {
	return Result{
		Ending: r.ending, Sent: r.account.sent, Failed: r.account.failed, Took: time.Since(r.began),
		First: r.account.first, Last: r.account.last, Concurrency: r.highest, Causes: r.account.causes(),
	}
}
