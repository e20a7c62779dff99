package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/process"
)

// Run runs the application until it has ended, and says how it did. When ctx ends, the instance leaves, with the cause of
// that as the reason, and then the application is stopped. An error says that the application could not be run, or that
// the agent cannot go on; then the application has been stopped all the same.
func (a *Agent) Run(ctx context.Context) (process.Exit, error) {
	r := newRunner(a)
	exit, err := r.run(ctx)
	if err != nil {
		return exit, fmt.Errorf("agent of %s: %w", a.Instance.Name, err)
	}
	return exit, nil
}

// A runner is one call of Run. One goroutine, that of loop, touches its fields; others hand it functions to call.
type runner struct {
	*Agent
	asker *asker
	born  time.Time
	tasks sync.WaitGroup
	calls chan func()
	done  chan struct{} // closed when loop has ended

	life  Life
	sight Sight
	now   Do     // what is to be the case
	hint  string // where it must listen, until it has been heard of
	app   *process.Child
	err   error // why the agent cannot go on

	registrars registrars // all whom it asks to have the instance; control is told besides
	publish    publishing
	cycles     []fleet.Lifecycle // that people have put into the registry
	read       bool              // they are known
	link       linking
	counting   counting
	orders     ordering
	warming    bool                  // warm-up requests have begun
	settled    context.CancelFunc    // ends them; nil: they have not begun
	stopping   bool                  // the application is being stopped
	waiters    []chan<- drain.Report // who wait until it is safe to stop
	before     *drain.Tally          // what its front had seen when the leave began; nil before
}

func newRunner(a *Agent) *runner {
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	r := &runner{
		Agent: a, asker: newAsker(a), born: time.Now(), calls: make(chan func()), done: make(chan struct{}),
	}
	if a.Gate != nil {
		r.registrars = append(r.registrars, a.Gate)
	}
	if a.Registrar != nil {
		r.registrars = append(r.registrars, a.Registrar)
	}
	r.life = Life{Patience: a.Patience, Reachable: a.First != 0, Followed: len(r.registrars) > 0, Foreign: a.Foreign || a.Gate != nil}
	r.publish.wants, r.publish.lost = make(latest[wanted], 1), map[string]bool{}
	r.sight.Open = a.DataPlane == nil
	r.hint = r.where()
	r.counting = newCounting(r.born)
	return r
}

// do has loop's goroutine call f, unless it has ended.
func (r *runner) do(f func()) {
	select {
	case r.calls <- f:
	case <-r.done:
	}
}

func (r *runner) run(ctx context.Context) (process.Exit, error) {
	ready, offline, err := r.listen(ctx)
	if err != nil {
		return process.Exit{Code: 1}, err
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // who leaves still needs all of it
	defer r.tasks.Wait()
	defer cancel()
	doors := doors{status: r.status, leave: r.goOffline, token: r.Token}
	if ready != nil {
		r.keep(work, "readiness", (&admin.Server{Listener: ready, Handler: doors.readiness(), Log: r.Log}).Run)
	}
	if offline != nil {
		r.keep(work, "offline", (&admin.Server{Listener: offline, Handler: doors.offline(), Log: r.Log}).Run)
	}
	if err := r.begin(ctx, work); err != nil {
		close(r.done)
		return process.Exit{Code: 1, Err: err}, err
	}
	r.loop(ctx, work)
	close(r.done)
	r.closeFront(work) // of one that died it still answers, and what it counts is told with the rest
	r.farewell(work)
	switch {
	case r.err != nil:
		return r.app.Exit(), r.err
	case r.life.Failure() != "":
		return r.app.Exit(), fmt.Errorf("%w: %s", ErrNotReady, r.life.Failure())
	}
	return r.app.Exit(), nil
}

// listen binds what the agent answers at: before its application begins, so that two agents in one place are noticed.
func (r *runner) listen(ctx context.Context) (ready, offline net.Listener, err error) {
	if r.Readiness != "" {
		if ready, err = listen(ctx, r.Readiness, false); err != nil {
			return nil, nil, fmt.Errorf("listen for readiness: %w", err)
		}
	}
	if r.Offline == "" {
		return ready, nil, nil
	}
	if offline, err = listen(ctx, r.Offline, true); err != nil {
		err = fmt.Errorf("listen for /offline: %w", err)
		if ready != nil {
			err = errors.Join(err, ready.Close())
		}
		return nil, nil, err
	}
	return ready, offline, nil
}

// begin starts the application and everything beside it.
func (r *runner) begin(ctx, work context.Context) error {
	r.order(time.Now())
	r.choose()
	r.holding(work)
	spec := r.App
	spec.Inherit = true
	app, err := process.Start(spec)
	if err != nil {
		return err
	}
	r.app, r.sight.Running = app, true
	r.tell("instance.started", "")
	r.tasks.Go(func() { <-app.Done(); r.do(r.ended) })
	r.look(work)
	r.front(work)
	r.publishing(work)
	r.reading(work)
	r.following(work)
	r.tasks.Go(func() { r.hear(ctx) })
	return nil
}

// keep runs what the agent cannot be without.
func (r *runner) keep(ctx context.Context, what string, run func(context.Context) error) {
	r.tasks.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			r.do(func() { r.fail(fmt.Errorf("%s: %w", what, err)) })
		}
	})
}

// fail ends the agent for a reason that no application can mend.
func (r *runner) fail(err error) {
	r.err = errors.Join(r.err, err)
	r.wish(Stop, err.Error())
}

// wish asks for something that is not taken back.
func (r *runner) wish(w Wish, reason string) {
	if w > r.sight.Wish {
		if r.sight.Wish == Stay {
			r.sight.Reason = reason
		}
		r.sight.Wish = w
	}
}

// hear passes on what the agent is told from outside.
func (r *runner) hear(ctx context.Context) {
	asked, hurry := ctx.Done(), r.Hurry
	for {
		select {
		case <-asked:
			asked = nil
			r.do(func() { r.wish(Stop, context.Cause(ctx).Error()) })
		case <-hurry:
			hurry = nil
			r.do(func() { r.sight.Hurry = true })
		case s := <-r.Signals:
			if sig, ok := s.(syscall.Signal); ok {
				_ = r.app.Signal(sig) // it fails when the application has ended
			}
		case <-r.done:
			return
		}
	}
}

// loop takes in what happens and acts on it until nothing is left of the instance.
func (r *runner) loop(ctx, work context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !r.over() {
		select {
		case f := <-r.calls:
			f()
		case <-timer.C:
		}
		now := time.Now()
		r.step(ctx, work, now)
		if next := r.next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(now))
		}
	}
}

// over says whether nothing is left of the instance, and what control is being told has been heard or takes too long.
func (r *runner) over() bool {
	return r.life.Stage() == Ended && (!r.link.reporting || time.Since(r.life.since) >= goodbye)
}

// step lets the life go on, and does what it wants.
func (r *runner) step(ctx, work context.Context, now time.Time) {
	was := r.life.Stage()
	for listing := Listing(stages); listing != r.sight.Listing; { // a registry that is nobody has everything at once
		listing = r.sight.Listing
		r.sense(now)
		r.now = r.life.Step(r.sight, now)
		for _, t := range r.now.Tell {
			r.tell(t.Kind, t.Reason)
		}
		r.enlist(now)
	}
	if r.life.Stage() != was {
		r.link.changed = true
	}
	if r.before == nil && r.sight.Front != nil && r.life.Stage() >= Withdrawing {
		r.before = &r.sight.Front.Tally
	}
	r.order(now)
	if r.now.Warm && !r.warming {
		r.warming = true
		plan := *r.sight.Cycle.Requests
		r.tell("warmup.requests.started", kinds(len(plan.Requests)))
		r.tasks.Go(func() { r.warm(r.until(work), plan) })
	}
	if r.now.Stop && !r.stopping {
		r.stopping = true
		overdue := r.life.overdue
		r.tasks.Go(func() { r.stop(ctx, work, overdue) })
	}
	if r.settled != nil && !r.now.Warm {
		r.settled()
	}
	r.release(now)
	r.report(work, now)
}

// next is when to step again at the latest; zero is when something happens.
func (r *runner) next() time.Time {
	if r.life.Stage() == Ended {
		return r.life.since.Add(goodbye)
	}
	next := r.now.Next
	others := []time.Time{r.orders.again}
	if r.Control != nil {
		others = append(others, r.link.next(r.often()), r.lookAgain())
	}
	if r.sight.Cycle == nil && r.Control != nil {
		others = append(others, r.born.Add(patience))
	}
	for _, other := range others {
		if next.IsZero() || !other.IsZero() && other.Before(next) {
			next = other
		}
	}
	return next
}

// until returns a context that ends when the instance is to leave, or its application has ended.
func (r *runner) until(ctx context.Context) context.Context {
	ctx, r.settled = context.WithCancel(ctx)
	return ctx
}

// status is what is answered about the instance.
func (r *runner) status() (s Status) {
	heard := make(chan struct{})
	r.do(func() {
		s = Status{Ready: r.now.Ready, Stage: r.life.Stage(), Reason: r.life.Reason(), Incarnation: r.Instance.Incarnation}
		if s.Reason == "" && !s.Ready {
			s.Reason = cmp.Or(r.sight.Why, r.publish.away)
		}
		if s.Reason == "" && s.Stage == Registering {
			s.Reason = r.lacking()
		}
		close(heard)
	})
	select {
	case <-heard:
	case <-r.done:
		s = Status{Stage: Ended, Incarnation: r.Instance.Incarnation}
	}
	return s
}

// lacking is what registering waits for, where nobody has said so yet.
func (r *runner) lacking() string {
	switch {
	case r.Gate != nil && r.Gate.Count() == (hold.Count{}):
		return hold.ErrNothing.Error()
	case r.sight.Control == Lost:
		return "control is away"
	}
	return ""
}

// goOffline has the instance leave, and returns when it is safe to stop it.
func (r *runner) goOffline(ctx context.Context, reason string) (drain.Report, error) {
	safe := make(chan drain.Report, 1)
	r.do(func() {
		r.wish(Leave, reason)
		r.waiters = append(r.waiters, safe)
	})
	select {
	case report := <-safe:
		return report, nil
	case <-r.done:
		select {
		case report := <-safe:
			return report, nil
		default:
			return drain.Report{}, errors.New("the application has ended")
		}
	case <-ctx.Done():
		r.do(func() {
			r.waiters = slices.DeleteFunc(r.waiters, func(w chan<- drain.Report) bool { return w == safe })
		})
		return drain.Report{}, context.Cause(ctx)
	}
}

// release answers those who wait until it is safe to stop.
func (r *runner) release(now time.Time) {
	stage := r.life.Stage()
	if len(r.waiters) == 0 || stage < Offline {
		return
	}
	report := r.drained(now)
	if report == nil { // it died before it could leave
		report = &drain.Report{ID: r.ID(), Reason: r.sight.Reason, Began: now, Stage: drain.Closed}
	}
	for _, w := range r.waiters {
		w <- *report
	}
	r.waiters = nil
}

// badNews are the kinds of events that people may have to do something about.
func badNews() []string {
	return []string{
		"instance.died", "instance.killed", "probe.failed", "prestop.failed", "drain.overdue", "registration.failed", "registration.refused", "registry.away",
		"hold.refused", "hold.unread",
	}
}

// tell tells people and control that something has happened.
func (r *runner) tell(kind, reason string) {
	bad := slices.Contains(badNews(), kind)
	if bad {
		r.Log.Warn("instance", "event", kind, "reason", reason)
	} else {
		r.Log.Info("instance", "event", kind, "reason", reason)
	}
	r.link.tell(fleet.Event{
		Time: time.Now(), Kind: kind, Endpoint: r.Instance.Name, Incarnation: r.Instance.Incarnation, From: r.ID(), Reason: reason,
	})
}
