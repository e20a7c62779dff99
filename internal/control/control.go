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
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
)

// ErrStopped says that control is not running (any more).
var ErrStopped = errors.New("control is stopped")

// A Control is the writer of one fleet. Use New.
type Control struct {
	log   *slog.Logger
	calls chan func(w *world, now time.Time)
	done  chan struct{} // closed when Run has returned

	mu      sync.Mutex // guards the following
	view    fleet.View
	changed chan struct{} // closed when view is replaced
}

// New returns a control that goes on from last, the last good view, whose Snapshot is nil when there is none.
// It does nothing until Run.
func New(last fleet.View, log *slog.Logger) *Control {
	if last.Snapshot == nil {
		last = fleet.View{Snapshot: &fleet.Snapshot{}, Taken: time.Now()}
	}
	return &Control{
		log:     log,
		calls:   make(chan func(*world, time.Time)),
		done:    make(chan struct{}),
		view:    last,
		changed: make(chan struct{}),
	}
}

// Run folds until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	defer close(c.done)
	w := newWorld(c.View(), time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-c.calls:
			call(w, time.Now())
		case <-timer.C:
		}
		now := time.Now()
		for _, e := range w.fold(now) {
			c.log.InfoContext(ctx, "event", "kind", e.Kind, "service", e.Service, "endpoint", e.Endpoint, "from", e.From, "reason", e.Reason)
		}
		c.publish(w.view)
		timer.Reset(w.wake(now))
	}
}

// do runs f in the goroutine that owns the world, and returns when it has run.
func (c *Control) do(ctx context.Context, f func(w *world, now time.Time)) error {
	ran := make(chan struct{})
	call := func(w *world, now time.Time) {
		f(w, now)
		close(ran)
	}
	select {
	case c.calls <- call:
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
	view, _ := c.latest()
	return view
}

func (c *Control) latest() (fleet.View, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, c.changed
}

func (c *Control) publish(view fleet.View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if view.Snapshot == c.view.Snapshot {
		return
	}
	c.view = view
	close(c.changed)
	c.changed = make(chan struct{})
}

// Watch calls apply with the newest view at once and after every change until ctx ends, one call at a time.
// Views that were overtaken while apply ran are skipped, and so are those before there is any configuration: a
// control that lost its state must not take away what others still serve by.
func (c *Control) Watch(ctx context.Context, apply func(fleet.View)) error {
	for {
		view, changed := c.latest()
		if view.Config != "" {
			apply(view)
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

// Follow is Watch for a follower that reports; control knows how long it is there.
func (c *Control) Follow(ctx context.Context, who fleet.Hello, apply func(fleet.View)) error {
	if who.ID == "" {
		return errors.New("follow: the follower has no id")
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

// Report takes the whole of what a follower knows.
func (c *Control) Report(ctx context.Context, r fleet.Report) error {
	return c.do(ctx, func(w *world, now time.Time) { w.report(r, now) })
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

// Verdict takes the outcome of an active check of one incarnation.
func (c *Control) Verdict(ctx context.Context, incarnation string, healthy bool, reason string) error {
	return c.do(ctx, func(w *world, now time.Time) { w.verdict(incarnation, healthy, reason, now) })
}
