package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// ruled starts a control with a service web, whose instances come up as cycle says. What it wants checked passes.
func ruled(t *testing.T, cycle fleet.Lifecycle) *control.Control {
	t.Helper()
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 2)
	go func() { done <- c.Run(ctx) }()
	err := c.Configure(ctx, &fleet.Desired{
		Digest: "one", Lifecycles: []fleet.Lifecycle{cycle},
		Services: []fleet.Service{{
			Name: "web:80", Host: "web", Namespace: "default", Port: 80, Selector: map[string]string{"app": "web"}, Pools: []fleet.Pool{{}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Watch(ctx, func(v fleet.View) { // until ctx ends
			for _, e := range c.Checks(v) {
				_ = c.Verdict(ctx, e.Incarnation, true, "test")
			}
		})
		done <- nil
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
	})
	return c
}

// until waits until a view of control is as it is wanted.
func until(t *testing.T, c *control.Control, what string, ok func(fleet.View) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	found := false
	_ = c.Watch(ctx, func(v fleet.View) { // it ends when ctx does
		if ok(v) {
			found = true
			cancel()
		}
	})
	if !found {
		t.Fatalf("control never had %s: %+v", what, c.View().Services)
	}
}

func stageIs(stage fleet.Stage) func(fleet.View) bool {
	return func(v fleet.View) bool {
		return len(v.Services) == 1 && len(v.Services[0].Endpoints) == 1 && v.Services[0].Endpoints[0].Stage == stage
	}
}

// With control as its registry, an instance comes up as its Lifecycle there says, and is stopped only when control has
// seen that nobody sends to it any more.
func TestControlIsTheRegistry(t *testing.T) {
	cycle := fleet.DefaultLifecycle()
	cycle.Name, cycle.Namespace, cycle.Service = "web", "default", "web"
	c := ruled(t, cycle)
	r := beside(t, "server", func(r *run) { r.Registrar, r.Control, r.Adjust = nil, c, nil })
	until(t, c, "it warming up", stageIs(fleet.Warming))
	r.diary.await(t, "readiness.passed")
	e := c.View().Services[0].Endpoints[0]
	if e.Incarnation != "web-1-0" || e.Warmup == nil || e.Warmup.Window != cycle.Warmup.Window {
		t.Errorf("got the endpoint %+v, want that of the instance, with its Lifecycle's warm-up", e)
	}
	r.stop(errTold)
	r.wait(t)
	if !r.exit.OK() {
		t.Errorf("got %v, want that it ended well", r.exit)
	}
	until(t, c, "it gone, and what happened", func(v fleet.View) bool {
		return len(v.Services[0].Endpoints) == 0 && slices.ContainsFunc(v.Events, func(e fleet.Event) bool { return e.Kind == "instance.stopped" })
	})
	order := []string{}
	for _, e := range c.View().Events {
		if slices.Contains([]string{"registration.completed", "offline.requested", "drain.started", "deregistered", "instance.stopped"}, e.Kind) {
			order = append(order, e.Kind)
		}
	}
	if want := []string{"registration.completed", "offline.requested", "drain.started", "deregistered", "instance.stopped"}; !slices.Equal(order, want) {
		t.Errorf("got the events %v, want %v", order, want)
	}
}

// A registry has the instance, and control only follows: the agent's own report does not offer it to anybody.
func TestControlFollowsARegistry(t *testing.T) {
	cycle := fleet.PlainLifecycle()
	cycle.Name, cycle.Namespace, cycle.Service = "web", "default", "web"
	c := ruled(t, cycle)
	r := beside(t, "server", func(r *run) { r.Control = c })
	r.memory.await(t, "the instance", one)
	until(t, c, "it starting", stageIs(fleet.Starting))
	if e := c.View().Services[0].Endpoints[0]; e.Stage != fleet.Starting {
		t.Errorf("got it %v, want it to start until the registry's list says more", e.Stage)
	}
	r.stop(errTold)
	r.wait(t)
	if n := r.memory.listed(); n != 0 || !r.exit.OK() {
		t.Errorf("got %d listed, %v, want none, and that it ended well", n, r.exit)
	}
}

// Control may be away from the beginning to the end: the instance comes up as what it says of itself, a while later.
func TestControlIsAway(t *testing.T) {
	var away awayControl
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	r := beside(t, "server", func(r *run) {
		r.Control = &away
		r.Adjust = func(l *fleet.Lifecycle) { l.Leave.Callers = time.Millisecond }
	})
	r.memory.await(t, "the instance", one)
	r.stop(errTold)
	r.wait(t)
	if !r.exit.OK() || ctx.Err() != nil {
		t.Errorf("got %v, want that it ended well", r.exit)
	}
	if n := r.diary.count("control is away; it is called again"); n != 1 {
		t.Errorf("people were told %d times that control is away, want once", n)
	}
	if n := away.reports.Load(); n < 2 || n > 100 {
		t.Errorf("control was told %d times while it was away, want it tried now and then", n)
	}
}

// An awayControl cannot be reached.
type awayControl struct{ reports atomic.Int64 }

func (*awayControl) Follow(context.Context, fleet.Hello, func(fleet.View)) error {
	return control.ErrStopped
}

func (a *awayControl) Report(context.Context, fleet.Report) error {
	a.reports.Add(1)
	return control.ErrStopped
}
