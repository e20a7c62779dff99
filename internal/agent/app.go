package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/fleet"
)

// look probes the application until it has ended, or is to leave.
func (r *runner) look(ctx context.Context) {
	verdicts := make(latest[verdict], 1)
	once := r.asker.probe(r.Probe)
	probing, stop := context.WithCancel(ctx)
	r.tasks.Go(func() {
		if r.Probe == nil {
			watchPort(probing, once, verdicts)
			return
		}
		watch(probing, *r.Probe, once, verdicts)
	})
	r.tasks.Go(func() {
		defer stop()
		for {
			select {
			case v := <-verdicts:
				r.do(func() { r.judge(v) })
			case <-r.app.Done():
				return
			case <-probing.Done():
				return
			}
		}
	})
}

// judge takes in a verdict. One of an application that is being stopped says nothing that people need to know.
func (r *runner) judge(v verdict) {
	if r.life.Stage() >= Offline {
		return
	}
	r.sight.Passing, r.sight.Why = v.passing, v.why
	exec := r.Probe != nil && len(r.Probe.Exec) > 0 // says nothing of where it listens
	switch {
	case v.passing:
		r.hint = ""
		r.tell("probe.passed", "")
	case v.early:
		r.tell("probe.failed", "not ready yet; "+v.why)
	case v.refused:
		r.tell("probe.failed", v.why+r.hint)
	default:
		r.tell("probe.failed", v.why)
	}
	if !v.passing && !v.refused && !exec {
		r.hint = ""
	}
}

// where says where the application must listen, to somebody whose application was never seen there: the public address,
// which a program that binds to everything would need, may belong to the front. Where the probe asks another port than
// the first, it says both.
func (r *runner) where() string {
	if r.First == 0 {
		return ""
	}
	probed := r.asker.at(0)
	if r.Probe != nil && len(r.Probe.Exec) == 0 {
		probed = r.asker.at(r.Probe.Port)
	}
	at := r.asker.at(0)
	hint := fmt.Sprintf("; it was never ready: it must listen on %v", at)
	if r.Front != nil {
		hint = fmt.Sprintf("; it was never ready: it must listen on $HOST:$PORT, here %v", at)
		if r.bind() != r.Instance.Address {
			hint += fmt.Sprintf(", not on all addresses: its agent has the port on %v", r.Instance.Address)
		}
	}
	if probed != at {
		hint += fmt.Sprintf("; its readiness probe asks %v", probed)
	}
	return hint
}

// ended takes in that the application has ended.
func (r *runner) ended() {
	exit := r.app.Exit()
	r.sight.Passing = false
	switch {
	case r.stopping: // stop says so, when it has said how
	case exit.Err != nil:
		r.sight.Exit = exit.String()
	case r.life.Stage().leaving():
		r.sight.Exit = exit.String() + ", while leaving"
	default:
		r.sight.Exit = exit.String() + r.hint
	}
}

// stop ends the data plane, when nothing comes any more, and then the application.
func (r *runner) stop(ctx, work context.Context, overdue bool) {
	if !overdue {
		r.closeFront(ctx)
	} // else what is open may still end while the application stops
	s := r.asker.stop(work, r.app, r.PreStop, r.grace())
	r.closeFront(ctx)
	r.do(func() {
		switch {
		case s.hooked && s.hook != nil:
			r.tell("prestop.failed", s.hook.Error())
		case s.hooked:
			r.tell("prestop.done", "")
		}
		r.sight.Exit = r.app.Exit().String()
		if s.killed {
			r.tell("instance.killed", fmt.Sprintf("did not end within %v", s.patient))
			return
		}
		r.tell("instance.stopped", r.sight.Exit)
	})
}

// front runs the data plane until stop ends it.
func (r *runner) front(ctx context.Context) {
	if r.DataPlane == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	r.orders.close = func(cause error) { cancel(cause); <-ended }
	r.tasks.Go(func() {
		defer func() { r.orders.closed = time.Now(); close(ended) }()
		if err := r.DataPlane(ctx); err != nil {
			r.do(func() { r.frontEnded(err) })
		}
	})
	r.tasks.Go(func() {
		select {
		case <-r.Opened:
			r.do(func() { r.sight.Open = true })
		case <-ctx.Done():
		}
	})
}

// frontEnded takes in that the data plane ended with an error: when it was told to, that something had to be cut.
func (r *runner) frontEnded(err error) {
	if r.stopping {
		r.tell("drain.overdue", err.Error())
		return
	}
	r.fail(fmt.Errorf("front: %w", err))
}

// errSafe is why the data plane ends.
var errSafe = errors.New("its instance has left")

// closeFront ends the data plane, and returns when it has ended.
func (r *runner) closeFront(ctx context.Context) {
	if r.orders.close == nil {
		return
	}
	cause := context.Cause(ctx)
	if cause == nil {
		cause = errSafe
	}
	r.orders.close(cause)
}

// share is what part of its weight the instance gets at now: as control says, or by its own clock.
func (r *runner) share(now time.Time) float64 {
	if r.link.following() == Linked {
		return r.link.share(r.Instance.Incarnation, now)
	}
	w := r.life.cycle.Warmup
	if w.Window <= 0 {
		return 1
	}
	if r.publish.since.IsZero() {
		return startShare(w)
	}
	return shareOf(w, fleet.Member{}, now.Sub(r.publish.since))
}
