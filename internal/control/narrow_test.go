package control

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// An audience is what one agent was shown.
type audience struct {
	mu    sync.Mutex
	views []fleet.View
}

func (a *audience) look(v fleet.View) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.views = append(a.views, v)
}

// last returns the newest view, and how many there were.
func (a *audience) last() (fleet.View, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.views) == 0 {
		return fleet.View{Snapshot: &fleet.Snapshot{}}, 0
	}
	return a.views[len(a.views)-1], len(a.views)
}

// follow follows c as the agent of an incarnation until the returned function is called.
func follow(t *testing.T, c *Control, incarnation string) (*audience, func()) {
	t.Helper()
	a := &audience{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, fleet.Hello{ID: agentID(incarnation), Role: agent, Incarnation: incarnation}, a.look)
	}()
	return a, func() { cancel(); <-ended }
}

// say reports for the agent of an instance.
func say(t *testing.T, c *Control, in fleet.Instance) {
	t.Helper()
	if err := c.Report(t.Context(), fleet.Report{From: agentID(in.Incarnation), Role: agent, Instances: []fleet.Instance{in}}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func stageOf(v fleet.View) fleet.Stage {
	if len(v.Services) == 0 {
		return fleet.Gone
	}
	return v.Services[0].Endpoints[0].Stage
}

// An agent sees its own instance from its start to its end, nobody else, and hears nothing when nothing of that changes.
func TestAnAgentSeesItsOwnInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx := t.Context()
		d := reviews(linear)
		d.Lifecycles = []fleet.Lifecycle{
			{Name: "ratings", Namespace: "default", Service: "ratings", Delay: time.Hour},
			{Name: "reviews", Namespace: "default", Service: "reviews", Delay: time.Second},
		}
		if err := c.Configure(ctx, d); err != nil {
			t.Fatal(err)
		}
		a, leave := follow(t, c, "x")
		defer leave()
		synctest.Wait()
		if v, _ := a.last(); len(v.Instances) > 0 || len(v.Lifecycles) > 0 {
			t.Errorf("before its report it sees %+v", v.Snapshot)
		}
		x := registrant("x")
		say(t, c, x)
		v, _ := a.last()
		if len(v.Instances) != 1 || stageOf(v) != fleet.Starting || len(v.Lifecycles) != 1 || v.Lifecycles[0].Delay != time.Second {
			t.Errorf("when control has heard of it, it sees %+v", v.Snapshot)
		}

		_, before := a.last()
		list := []fleet.Instance{registrant("y"), registrant("z")}
		err := errors.Join(c.Registered(ctx, "etcd", registry.List{Instances: ready(list...)}), c.Verdict(ctx, "y", true, ""), c.Verdict(ctx, "z", true, ""))
		synctest.Wait()
		if v, n := a.last(); err != nil || n != before || len(v.Services[0].Endpoints) != 1 {
			t.Errorf("%d views while others came and x did nothing, want %d (%v)", n, before, err)
		}

		err = errors.Join(c.Registered(ctx, "etcd", registry.List{Instances: ready(append([]fleet.Instance{x}, list...)...)}), c.Verdict(ctx, "x", true, ""))
		synctest.Wait()
		v, _ = a.last()
		p := v.Services[0].Pools
		if err != nil || stageOf(v) != fleet.Warming || len(p) != 2 || len(p[1].Members) != 1 || p[1].Members[0].Endpoint != 0 {
			t.Errorf("when it is registered, it sees %+v (%v)", v.Snapshot, err)
		}

		x.Leaving = true
		say(t, c, x)
		time.Sleep(2 * time.Millisecond) // there is no gateway to wait for
		synctest.Wait()
		if v, _ := a.last(); !v.Instances[0].Leaving || len(v.Services) > 0 {
			t.Errorf("when it has drained, it sees %+v", v.Snapshot)
		}
	})
}

// A Lifecycle names its service without the namespace, in which the service's host has it behind its name.
func TestALifecycleHoldsInEveryNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		d := reviews(linear)
		d.Services[0].Namespace, d.Services[0].Host = "prod", "reviews.prod"
		d.Lifecycles = []fleet.Lifecycle{{Name: "reviews", Namespace: "prod", Service: "reviews", Delay: time.Second}}
		if err := c.Configure(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		a, leave := follow(t, c, "x")
		defer leave()
		x := registrant("x")
		x.Namespace = "prod"
		say(t, c, x)
		if v, _ := a.last(); len(v.Lifecycles) != 1 || v.Lifecycles[0].Delay != time.Second {
			t.Errorf("got %+v, want the delay of a second", v.Lifecycles)
		}
	})
}

// Control says that an instance has drained when the last gateway has, though nothing else of it changes.
func TestDrainedReachesALeavingAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx := t.Context()
		x := registrant("x")
		x.Ready = true // through control, no other registry
		err := errors.Join(c.Configure(ctx, reviews(linear)), c.Report(ctx, fleet.Report{From: "g", Role: "gateway", Open: map[string]int{"x": 1}}))
		if err != nil {
			t.Fatal(err)
		}
		a, leave := follow(t, c, "x")
		defer leave()
		say(t, c, x)
		if err := c.Verdict(ctx, "x", true, ""); err != nil {
			t.Fatal(err)
		}
		x.Leaving = true
		say(t, c, x)
		v, _ := a.last()
		if !v.Instances[0].Leaving || stageOf(v) != fleet.Draining {
			t.Fatalf("while a gateway sends to it, it sees %+v", v.Snapshot)
		}
		number := v.Number
		for _, open := range []map[string]int{{"x": 1}, nil, nil} {
			if v, _ := a.last(); stageOf(v) != fleet.Draining {
				t.Errorf("drained before the gateway said so twice")
			}
			if err := c.Report(ctx, fleet.Report{From: "g", Role: "gateway", Applied: number, Open: open}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if v, _ := a.last(); len(v.Services) > 0 || !v.Instances[0].Leaving {
			t.Errorf("when nothing is open, it sees %+v", v.Snapshot)
		}
	})
}

// What live instances recorded is in the Lifecycle of one that starts, as far as that wants it, and of no other.
func TestRecordedRequestsGoToThoseWhoStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx := t.Context()
		d := reviews(linear)
		own := fleet.WarmupRequest{Protocol: "http", Method: "GET", Path: "/own", Weight: 1}
		d.Lifecycles = []fleet.Lifecycle{{Name: "r", Namespace: "default", Requests: &fleet.WarmupRequests{
			Requests: []fleet.WarmupRequest{own}, Record: &fleet.Record{Paths: []string{"/reviews/"}, Keep: 2},
		}}}
		if err := c.Configure(ctx, d); err != nil {
			t.Fatal(err)
		}
		get := func(path string, weight uint32) fleet.WarmupRequest {
			return fleet.WarmupRequest{Protocol: "http", Method: "GET", Path: path, Weight: weight}
		}
		secret := get("/reviews/secret", 100)
		secret.Headers = []fleet.Header{{Name: "Cookie", Value: "s=1"}}
		unsafe := get("/reviews/unsafe", 100)
		unsafe.Method = "POST"
		for name, list := range map[string][]fleet.WarmupRequest{
			"a": {get("/reviews/1", 3), get("/reviews/2", 4), get("/admin", 9), secret, unsafe},
			"b": {get("/reviews/1", 3), get("/reviews/3", 1)},
		} {
			in := registrant(name)
			in.Ready = true
			say(t, c, in)
			for range 2 { // what it says again counts once
				err := c.Report(ctx, fleet.Report{From: agentID(name), Role: agent, Instances: []fleet.Instance{in}, Recorded: list})
				if err != nil {
					t.Fatal(err)
				}
			}
			say(t, c, in) // nothing is no news
		}
		a, leave := follow(t, c, "x")
		defer leave()
		x := registrant("x")
		say(t, c, x)
		paths := func() (out []string) {
			v, _ := a.last()
			for _, r := range v.Lifecycles[0].Requests.Requests {
				out = append(out, r.Path)
			}
			return out
		}
		if got, want := paths(), []string{"/own", "/reviews/1", "/reviews/2"}; !slices.Equal(got, want) {
			t.Errorf("it warms up with %q, want %q", got, want)
		}
		x.Ready = true
		say(t, c, x)
		if got, want := paths(), []string{"/own"}; !slices.Equal(got, want) {
			t.Errorf("once it serves, its Lifecycle has %q, want %q", got, want)
		}
	})
}

// What is kept of recorded requests is bounded, whatever agents send.
func TestRecordedRequestsAreBounded(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	for i := range 3 * recorders {
		in := registrant(string(rune('a' + i)))
		in.Ready = true
		s.agent(in)
		var many []fleet.WarmupRequest
		for j := range 1000 {
			many = append(many, fleet.WarmupRequest{Protocol: "http", Method: "GET", Path: "/" + string(rune('a'+i)) + string(rune(j+0x100))})
		}
		s.w.record(in.Incarnation, many)
	}
	if got := len(s.w.recorded["default/reviews"]); got != recordedRequests {
		t.Errorf("%d kinds of requests, want %d", got, recordedRequests)
	}
	if got := len(s.w.recordings["default/reviews"]); got != recorders {
		t.Errorf("%d instances are remembered, want %d", got, recorders)
	}
	long := fleet.WarmupRequest{Protocol: "http", Method: "GET", Path: "/" + string(make([]byte, recordedBytes/2))}
	if got := len(recordable([]fleet.WarmupRequest{long, long, long})); got != 1 {
		t.Errorf("%d long requests are kept, want 1", got)
	}
	gone := reviews(linear)
	gone.Digest, gone.Services = "gone", nil
	s.configure(gone)
	s.w.record("a", []fleet.WarmupRequest{{Protocol: "http", Method: "GET", Path: "/"}})
	if len(s.w.recorded) > 0 || len(s.w.recordings) > 0 {
		t.Error("requests of a service that is no more are kept")
	}
}

// A control without a memory shows nothing until its registry has spoken: who serves would be missing. It does not wait
// for ever.
func TestAControlThatKnowsNothingAwaitsItsRegistry(t *testing.T) {
	for _, speaks := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, stop := running(t, "etcd")
			defer stop()
			ctx, cancel := context.WithCancel(t.Context())
			a := &audience{}
			ended := make(chan error, 1)
			go func() { ended <- c.Watch(ctx, a.look) }()
			defer func() { cancel(); <-ended }()
			if err := c.Configure(ctx, reviews(linear)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(awaiting / 2)
			if _, n := a.last(); n > 0 {
				t.Error("a snapshot without what the registry has")
			}
			want := 0
			if speaks {
				x := registrant("x")
				x.Published = &fleet.Published{Registered: time.Now().Add(-time.Hour)}
				if err := c.Registered(ctx, "etcd", registry.List{Instances: ready(x), First: true}); err != nil {
					t.Fatal(err)
				}
				want = 1
			}
			time.Sleep(awaiting)
			if v, n := a.last(); n == 0 || len(v.Services) != 1 || len(v.Services[0].Endpoints) != want {
				t.Errorf("after %d views it shows %+v, want %d endpoints", n, v.Services, want)
			}
		})
	}
}

// The active checks that control asks for: those who start, and those for whom nobody else vouches.
func TestWhoIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx := t.Context()
		checked := func() (out []string) {
			for _, e := range c.Checks(c.View()) {
				out = append(out, e.Incarnation)
			}
			return out
		}
		want := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := checked(); !slices.Equal(got, want) {
				t.Errorf("%s: checks %q, want %q", when, got, want)
			}
		}
		list := []fleet.Instance{registrant("x"), registrant("y")}
		err := errors.Join(c.Configure(ctx, reviews(linear)), c.Registered(ctx, "etcd", registry.List{Instances: ready(list...)}))
		want("they start", "x", "y")
		err = errors.Join(err, c.Verdict(ctx, "x", true, ""), c.Verdict(ctx, "y", true, ""))
		want("they are offered")
		err = errors.Join(err, c.Registered(ctx, "etcd", registry.List{Instances: ready(list[1:]...)}))
		want("x is lost", "x")
		err = errors.Join(err, c.Verdict(ctx, "x", false, "refused"))
		want("x is dead")

		z := registrant("z")
		z.Ready = true
		_, leave := follow(t, c, "z")
		say(t, c, z)
		if err := errors.Join(err, c.Verdict(ctx, "z", true, "")); err != nil {
			t.Fatal(err)
		}
		want("z is there through its agent")
		leave()
		want("its agent is away", "z")
		_, leave = follow(t, c, "z")
		want("its agent is back")
		leave()
		synctest.Wait()
		if err := c.Verdict(ctx, "z", false, "refused"); err != nil {
			t.Fatal(err)
		}
		want("z is dead")
		synctest.Wait()
		if v := c.View(); len(v.Instances) != 1 {
			t.Errorf("instances %+v, want y alone", v.Instances)
		}
	})
}

// The leave of an agent's instance is one row under the instance's name, also when the last report comes after its end.
func TestALeaveOfAnInstanceHasOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		x := registrant("x")
		x.Ready = true
		if err := c.Configure(t.Context(), reviews(linear)); err != nil {
			t.Fatal(err)
		}
		_, leave := follow(t, c, "x")
		say(t, c, x)
		began := time.Now()
		report := func(stage drain.Stage, instances ...fleet.Instance) {
			t.Helper()
			err := c.Report(t.Context(), fleet.Report{
				From: agentID("x"), Role: agent, Instances: instances, Leaving: len(instances) == 0, Drain: &drain.Report{Began: began, Stage: stage},
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		x.Leaving = true
		report(drain.LameDuck, x)
		leave()
		if err := c.Report(t.Context(), fleet.Report{From: "local", Role: "local", Dead: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		report(drain.Closed)
		drains := c.Drains()
		if len(drains) != 1 || drains[0].ID != agentID(x.Name) || drains[0].Stage != drain.Closed {
			t.Errorf("got %+v, want one leave of %s, closed", drains, x.Name)
		}
	})
}
