// Package control is the one writer: it folds configuration, reports, verdicts and commands into numbered
// snapshots, and owns membership, stage, age and weight.
//
// Everything that control knows is one plain value, the world; one goroutine changes it, with a function at a
// time. After each change the world folds itself into the next snapshot, which is made from the previous one
// and published when it differs.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/pace"
)

// ErrStopped says that control is not running (any more).
var ErrStopped = errors.New("control is stopped")

// Folding takes a fortieth of a processor at most, however often the world changes, unless one fold alone takes
// longer than a fortieth of slowest. So what changed is folded at most slowest later; what people command is folded
// at once. A world that folds within a millisecond, as one of some hundred endpoints does, never waits.
const (
	fortieth = 40
	slowest  = 2 * time.Second
)

// A world to which nothing new was said is folded as well, every second, so that what others stopped saying is noticed. That takes
// a two-hundredth of a processor at most: a large world is looked at less often, at least every rarest.
const (
	twoHundredth = 200
	rarest       = 4 * time.Second
)

// A Control is the writer of one fleet. Use New.
type Control struct {
	log   *slog.Logger
	calls chan call
	done  chan struct{} // closed when Run has returned
	await []string      // see Await
	told  func(snapshot uint64, events []fleet.Event)

	mu      sync.Mutex // guards the following
	now     published
	changed chan struct{} // closed when view is replaced

	indexing sync.Mutex // guards the following
	index    index
}

// New returns a control that goes on from last, the last good view, whose Snapshot is nil when there is none.
// It does nothing until Run.
func New(last fleet.View, log *slog.Logger) *Control {
	if last.Snapshot == nil {
		last = fleet.View{Snapshot: &fleet.Snapshot{}, Taken: time.Now()}
	}
	return &Control{
		log:     log,
		calls:   make(chan call),
		done:    make(chan struct{}),
		now:     published{view: last},
		changed: make(chan struct{}),
	}
}

// Await names the registries of which control is to have heard before it shows a first snapshot, for a while at most,
// should it know nothing when Run begins: it must not take away what others still serve by. Call it before Run.
func (c *Control) Await(registries ...string) { c.await = registries }

// Tells has f called with everything that has happened, in order, before the first view is shown that has it, and with the number of
// that view's snapshot: a view itself carries only the latest. f must not block. Call it before Run.
func (c *Control) Tells(f func(snapshot uint64, events []fleet.Event)) { c.told = f }

// A call is something to do with the world.
type call struct {
	f      func(w *world, now time.Time) (news bool) // without news, the next fold is when it would have been
	ran    chan<- struct{}                           // closed when f has run and, unless there is reason to wait, the world is folded
	urgent bool                                      // there is no reason to wait
}

// Run folds until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	defer close(c.done)
	w := newWorld(c.View(), time.Now())
	if w.view.Config == "" {
		for _, name := range c.await {
			w.awaited[name] = time.Now()
		}
	}
	folds := pace.Pace{Factor: fortieth, Most: slowest, Free: time.Millisecond}
	looks := pace.Pace{Factor: twoHundredth, Most: rarest, Free: time.Second / twoHundredth}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := call{ran: make(chan struct{}), urgent: true}
		select {
		case <-ctx.Done():
			return nil
		case next = <-c.calls:
			if !next.f(w, time.Now()) {
				close(next.ran)
				continue
			}
		case <-timer.C:
		}
		now := time.Now()
		if wait := folds.Wait(now); wait > 0 && !next.urgent {
			timer.Reset(wait)
		} else {
			c.fold(ctx, w, now)
			ended := time.Now()
			folds.Spent(now, ended)
			looks.Spent(now, ended)
			timer.Reset(max(w.wake(now, max(time.Second, looks.Wait(now))), folds.Wait(now)))
		}
		close(next.ran)
	}
}

// fold folds the world, and publishes it if anything is new.
func (c *Control) fold(ctx context.Context, w *world, now time.Time) {
	told := w.fold(now)
	if c.told != nil && len(told) > 0 {
		c.told(w.view.Number, told)
	}
	for _, e := range told {
		c.log.InfoContext(ctx, "event", "kind", e.Kind, "service", e.Service, "endpoint", e.Endpoint, "from", e.From, "reason", e.Reason)
	}
	if len(w.awaited) > 0 && w.view.Config != "" {
		return // what others serve by is better than a snapshot without what registries have
	}
	c.publish(published{w.view, w.doubted(), w.recorded, maps.Clone(w.counts), w.states()})
}

// do runs f in the goroutine that owns the world, and returns when it has run.
func (c *Control) do(ctx context.Context, f func(w *world, now time.Time)) error {
	return c.run(ctx, call{f: always(f)})
}

// command is do for what people ask for: it returns when what f did is published.
func (c *Control) command(ctx context.Context, f func(w *world, now time.Time)) error {
	return c.run(ctx, call{f: always(f), urgent: true})
}

// always is f where what it does is news each time.
func always(f func(w *world, now time.Time)) func(w *world, now time.Time) bool {
	return func(w *world, now time.Time) bool {
		f(w, now)
		return true
	}
}

func (c *Control) run(ctx context.Context, next call) error {
	ran := make(chan struct{})
	next.ran = ran
	select {
	case c.calls <- next:
	case <-c.done:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-ran
	return nil
}

// View returns the newest view.
func (c *Control) View() fleet.View {
	return c.latest().view
}

func (c *Control) latest() published {
	now, _ := c.watched()
	return now
}

func (c *Control) watched() (published, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.changed
}

func (c *Control) publish(next published) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.now
	c.now = next
	if next.view.Snapshot == last.view.Snapshot {
		return
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Watch calls apply with the newest view at once and after every change until ctx ends, one call at a time.
// Views that were overtaken while apply ran are skipped, and so are those before there is any configuration: a
// control that lost its state must not take away what others still serve by.
func (c *Control) Watch(ctx context.Context, apply func(fleet.View)) error {
	for {
		now, changed := c.watched()
		if now.view.Config != "" {
			apply(now.view)
		}
		select {
		case <-changed:
		case <-c.done:
			return ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Follow is Watch for a follower that reports; control knows how long it is there. An agent's views hold nothing but its
// own instance, and it is shown one when something in it is new.
func (c *Control) Follow(ctx context.Context, who fleet.Hello, apply func(fleet.View)) error {
	if err := properly(who); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	if who.Role == agent {
		apply = c.narrowed(who.Incarnation, apply)
	}
	err := c.do(ctx, func(w *world, now time.Time) { w.join(who, now) })
	if err != nil {
		return fmt.Errorf("follow %s: %w", who.ID, err)
	}
	err = c.Watch(ctx, apply)
	left := c.do(context.WithoutCancel(ctx), func(w *world, now time.Time) { w.part(who, now) })
	if left != nil && !errors.Is(left, ErrStopped) {
		err = errors.Join(err, left)
	}
	return err
}

// Report takes the whole of what a follower knows. The error wraps ErrForeign for an agent that speaks of others.
func (c *Control) Report(ctx context.Context, r fleet.Report) error {
	switch spoken := strings.HasPrefix(r.From, agent+"/"); {
	case spoken && r.Role != agent:
		return fmt.Errorf("report: %w: %q is no agent but %q", ErrForeign, r.From, r.Role)
	case r.Role == agent:
		own, err := owned(r)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		r = own
	}
	return c.run(ctx, call{f: func(w *world, now time.Time) bool { return w.report(r, now) }})
}

// Configure takes a new configuration, whole.
func (c *Control) Configure(ctx context.Context, d *fleet.Desired) error {
	return c.do(ctx, func(w *world, now time.Time) { w.configure(d, now) })
}

// Reject notes that configuration on disk is not usable; the last good one stays in force.
func (c *Control) Reject(ctx context.Context, reason string) error {
	return c.do(ctx, func(w *world, now time.Time) {
		w.rejected = true
		w.tell(fleet.Event{Kind: "config.rejected", Reason: reason}, now)
	})
}

// Warn notes something about the configuration that people should know though it is in force.
func (c *Control) Warn(ctx context.Context, reason string) error {
	return c.do(ctx, func(w *world, now time.Time) { w.tell(fleet.Event{Kind: "config.warning", Reason: reason}, now) })
}

// Tell writes down what somebody did that control does not do itself: a setting was changed, a gateway told to leave.
func (c *Control) Tell(ctx context.Context, e fleet.Event) error {
	e.By = printable(e.By)
	return c.command(ctx, func(w *world, now time.Time) { w.tell(e, now) })
}

// Verdict takes the outcome of an active check of one incarnation.
func (c *Control) Verdict(ctx context.Context, incarnation string, healthy bool, reason string) error {
	return c.do(ctx, func(w *world, now time.Time) { w.verdict(incarnation, healthy, reason, now) })
}
