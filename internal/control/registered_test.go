package control

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// registrant is an instance as its agent registers it.
func registrant(incarnation string) fleet.Instance {
	return fleet.Instance{
		Name: "v2-" + incarnation, Namespace: "default", Workload: "reviews-v2", Incarnation: incarnation, Weight: 1,
		Address: netip.MustParseAddr("127.1.0.9"), Labels: map[string]string{"app": "reviews", "version": "v2"},
	}
}

// register has the registry "etcd" list these, as able to serve.
func (s *stage) register(list ...fleet.Instance) {
	s.w.registered("etcd", registry.List{Instances: ready(list...)}, s.now)
	s.fold()
}

func ready(list ...fleet.Instance) []fleet.Instance {
	list = slices.Clone(list)
	for i := range list {
		list[i].Ready = true
	}
	return list
}

// agent reports for the agent of an instance, which follows from then on.
func (s *stage) agent(in fleet.Instance) {
	s.t.Helper()
	r, err := owned(fleet.Report{From: agentID(in.Incarnation), Role: agent, Instances: []fleet.Instance{in}})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.w.followers[r.From] == nil {
		s.w.join(fleet.Hello{ID: r.From, Role: agent, Incarnation: in.Incarnation}, s.now)
	}
	s.w.report(r, s.now)
	s.fold()
}

// kinds are the events since the last look that have to do with registrations and ends.
func (s *stage) kinds(prefixes ...string) []string {
	var out []string
	for _, kind := range s.events {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(kind, p) }) {
			out = append(out, kind)
		}
	}
	s.events = nil
	return out
}

func TestAnInstanceOfARegistryComesUpAndLeaves(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.join("gateway-1", "gateway")
	x := registrant("x")
	s.agent(x)
	s.wantStage("x", fleet.Starting)
	s.pass("x")
	s.after(time.Minute)
	s.wantStage("x", fleet.Starting) // its checks pass, but it is not registered
	s.register(x)
	s.wantStage("x", fleet.Warming)
	if got := s.progress("", "x"); got != 0 {
		t.Errorf("progress when it is registered = %v, want 0: its age begins with the first offer", got)
	}
	s.after(time.Minute)

	x.Leaving, x.Bound = true, 30*time.Second
	s.agent(x) // the registry has not heard of it, or is away
	s.wantStage("x", fleet.Draining)
	if got := s.endpoint("x").Bound; got != 30*time.Second {
		t.Errorf("bound = %v, want 30s", got)
	}
	n := s.w.view.Number
	s.gateway("gateway-1", n, nil)
	s.gateway("gateway-1", n, nil)
	s.wantStage("x", fleet.Gone)
	s.events = nil
	s.register()
	s.w.report(fleet.Report{From: agentID("x"), Role: agent, Leaving: true}, s.now)
	s.fold()
	s.wantEvents() // whoever has left is not lost
	if got := s.w.view.Instances; len(got) > 0 {
		t.Errorf("instances %v, want none", got)
	}
}

// Who was registered a moment ago, and did not leave, stays while its check passes.
func TestALostRegistration(t *testing.T) {
	lost := func(t *testing.T) *stage {
		t.Helper()
		s := newStage(t)
		s.configure(reviews(linear))
		s.register(registrant("x"), registrant("y"))
		s.pass("x")
		s.pass("y")
		s.after(3 * time.Minute)
		s.events = nil
		s.register(registrant("y"))
		s.wantStage("x", fleet.Serving)
		s.wantEvents("registration.lost")
		if !s.w.doubted()["x"] || s.w.doubted()["y"] {
			t.Errorf("doubted %v, want x alone", s.w.doubted())
		}
		s.after(20 * time.Second)
		s.wantStage("x", fleet.Serving)
		return s
	}
	t.Run("it comes back at its age", func(t *testing.T) {
		s := lost(t)
		s.register(registrant("x"), registrant("y"))
		s.wantStage("x", fleet.Serving)
		s.wantEvents("registration.regained")
		s.after(2 * keptLost)
		s.wantStage("x", fleet.Serving)
		if got, want := s.w.view.Age(s.endpoint("x"), s.now), 3*time.Minute+20*time.Second+2*keptLost; got != want {
			t.Errorf("age %v, want %v", got, want)
		}
	})
	t.Run("its check fails", func(t *testing.T) {
		s := lost(t)
		s.w.verdict("x", false, "connect: connection refused", s.now)
		s.fold()
		s.wantStage("x", fleet.Gone)
		s.wantStage("y", fleet.Serving)
		s.wantEvents("check.failed", "gone")
		if got := s.w.view.Events[len(s.w.view.Events)-1].Reason; !strings.Contains(got, "refused") {
			t.Errorf("gone for the reason %q, want what its check saw", got)
		}
	})
	t.Run("nobody hears of it for too long", func(t *testing.T) {
		s := lost(t)
		s.after(keptLost - 21*time.Second)
		s.wantStage("x", fleet.Serving)
		s.after(time.Second)
		s.wantStage("x", fleet.Gone)
		s.wantEvents("gone")
	})
	t.Run("its agent says that it leaves", func(t *testing.T) {
		s := lost(t)
		s.join("gateway-1", "gateway")
		x := registrant("x")
		x.Leaving = true
		s.agent(x)
		s.wantStage("x", fleet.Draining)
		s.wantEvents("drain.started")
	})
	t.Run("somebody saw it die", func(t *testing.T) {
		s := lost(t)
		s.w.report(fleet.Report{From: "local", Role: "local", Dead: []string{"x"}}, s.now)
		s.fold()
		s.wantStage("x", fleet.Gone)
	})
}

// Where one process listens no other does: who vanishes and whose port another has is not kept beside it, and with the same
// port at another address, or another port at the same, it is.
func TestALossWithASuccessor(t *testing.T) {
	at := func(incarnation, address string, port uint32) fleet.Instance {
		in := registrant(incarnation)
		in.Address, in.Ports = netip.MustParseAddr(address), map[string]uint32{"http": port}
		return in
	}
	for name, c := range map[string]struct {
		next fleet.Instance
		want fleet.Stage
	}{
		"the same":        {at("y", "127.1.0.9", 9080), fleet.Gone},
		"another port":    {at("y", "127.1.0.9", 9081), fleet.Serving},
		"another address": {at("y", "127.1.0.8", 9080), fleet.Serving},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.configure(reviews(linear))
			s.register(at("x", "127.1.0.9", 9080))
			s.pass("x")
			s.after(3 * time.Minute)
			s.register(c.next)
			s.wantStage("x", c.want)
		})
	}
}

// A control for the test above: whoever was not offered, or said that it leaves, is not kept.
func TestWhatIsNoLoss(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.register(registrant("x"), registrant("y"))
	s.pass("y")
	y := registrant("y")
	y.Leaving = true
	s.join("gateway-1", "gateway")
	s.register(registrant("x"), y)
	s.register()
	s.wantStage("x", fleet.Gone)
	s.wantStage("y", fleet.Gone)
	if got := s.kinds("registration."); len(got) > 0 {
		t.Errorf("events %q, want none of a loss", got)
	}
}

func TestTheDeadAreGoneWhateverARegistryLists(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.register(registrant("x"))
	s.agent(registrant("x"))
	s.pass("x")
	s.wantStage("x", fleet.Warming)
	s.w.report(fleet.Report{From: "local", Role: "local", Dead: []string{"x"}}, s.now)
	s.fold()
	s.wantStage("x", fleet.Gone)
	s.report() // local says it once; the registry's lease still runs
	s.register(registrant("x"))
	s.agent(registrant("x"))
	s.after(2 * memory)
	s.wantStage("x", fleet.Gone)
	s.register()
	s.after(time.Second)
	if len(s.w.dead) > 0 {
		t.Errorf("%v are remembered though nobody lists them", s.w.dead)
	}
}

// A control that knows nothing takes ages from what instances say of themselves, and offers them at once: they have
// served all the time. Those that come later are new.
func TestAgesOfThoseWhoWereThereBefore(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := registrant("x")
	x.Published = &fleet.Published{Started: s.now.Add(-40 * time.Second), Registered: s.now.Add(-30 * time.Second)}
	s.events = nil
	s.w.registered("etcd", registry.List{Instances: ready(x), First: true}, s.now)
	s.fold()
	s.wantStage("x", fleet.Warming)
	s.wantEvents("registration.found")
	if got := s.progress("", "x"); got != 0.25 {
		t.Errorf("progress = %v, want 0.25: 30 s of 120 s", got)
	}
	y := x
	y.Incarnation, y.Name = "y", "y"
	s.register(x, y)
	s.wantStage("y", fleet.Starting)
	s.pass("y")
	if got := s.progress("", "y"); got != 0 {
		t.Errorf("progress of one that was seen to arrive = %v, want 0", got)
	}
	s.after(90 * time.Second)
	s.wantStage("x", fleet.Serving)
	s.wantStage("y", fleet.Warming)
}

// One that was there before and is warm already tells only that it was found.
func TestWhoIsFoundWarmServes(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := registrant("x")
	x.Published = &fleet.Published{Started: s.now.Add(-time.Hour), Registered: s.now.Add(-time.Hour)}
	s.events = nil
	s.w.registered("etcd", registry.List{Instances: ready(x), First: true}, s.now)
	s.fold()
	s.wantStage("x", fleet.Serving)
	s.wantEvents("registration.found")
}

// What control knows itself goes before what an instance says.
func TestOwnMemoryGoesBeforeWhatIsPublished(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := registrant("x")
	x.Published = &fleet.Published{Registered: s.now.Add(-time.Hour)}
	s.register(x)
	s.pass("x")
	s.after(30 * time.Second)
	again := &stage{t: t, now: s.now, w: newWorld(s.w.view, s.now)}
	again.fold()
	again.w.registered("etcd", registry.List{Instances: ready(x), First: true}, again.now)
	again.fold()
	if got := again.progress("", "x"); got != 0.25 {
		t.Errorf("progress = %v, want 0.25", got)
	}
	again.wantEvents()
}

func TestPublishedAge(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const s, m, h = time.Second, time.Minute, time.Hour
	for _, test := range []struct {
		name string
		p    fleet.Published
		want time.Duration
	}{
		{"registered once", fleet.Published{Started: ago(m), Registered: ago(40 * s)}, 40 * s},
		{"registered again", fleet.Published{Started: ago(h), Registered: ago(10 * s), Age: 50 * m}, 50*m + 10*s},
		{"older than its process", fleet.Published{Started: ago(m), Registered: ago(40 * s), Age: h}, m},
		{"less than nothing", fleet.Published{Started: ago(m), Registered: ago(40 * s), Age: -h}, 40 * s},
		{"its clock is ahead", fleet.Published{Started: ago(-50 * m), Registered: ago(-h), Age: 0}, 0},
		{"its clock is ahead, registered again an hour after its start", fleet.Published{Started: ago(-h), Registered: ago(-2 * h), Age: 20 * m}, 20 * m},
		{"it says no start", fleet.Published{Registered: ago(40 * s), Age: m}, m + 40*s},
		{"it says nothing", fleet.Published{Age: 1<<63 - 1}, 1<<63 - 1},
	} {
		if got := publishedAge(&test.p, now); got != test.want {
			t.Errorf("%s: age %v, want %v", test.name, got, test.want)
		}
	}
}

// Whoever ran before control was started stays while a registry that may know of it cannot be asked.
func TestInstancesOfBeforeStayWhileTheirRegistryIsAway(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.register(registrant("x"), registrant("y"))
	s.pass("x")
	s.pass("y")
	again := &stage{t: t, now: s.now, w: newWorld(s.w.view, s.now)}
	again.w.registryAway("etcd", errors.New("connection refused"), again.now)
	again.fold()
	again.wantEvents("registry.away")
	again.after(10 * absence)
	again.wantStage("x", fleet.Serving)
	again.events = nil
	again.w.registered("etcd", registry.List{Instances: ready(registrant("y")), First: true}, again.now)
	again.w.registryAway("etcd", nil, again.now)
	again.fold()
	again.wantStage("x", fleet.Gone)
	again.wantStage("y", fleet.Serving)
	again.wantEvents("registry.back", "gone")
}

func TestEntriesThatAreNoInstancesAreToldOnce(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.events = nil
	list := registry.List{Unread: []registry.Unread{{Key: "/i/x", Err: errors.New("no address")}}}
	for range 3 {
		s.w.registered("etcd", list, s.now)
		s.fold()
	}
	s.wantEvents("registry.unread")
	list.Unread = nil
	for range 30 {
		list.Unread = append(list.Unread, registry.Unread{Key: strings.Repeat("k", 1+len(list.Unread)), Err: errors.New("no address")})
	}
	s.w.registered("etcd", list, s.now)
	s.fold()
	if got := len(s.events); got != unreadTold+1 {
		t.Errorf("%d events of 30 entries, want %d", got, unreadTold+1)
	}
}

// That an instance is registered is told before what follows from it, and once: by control where it hears of it first.
func TestARegistrationIsToldBeforeWhatFollows(t *testing.T) {
	completed := fleet.Event{Kind: registrationCompleted}
	say := func(s *stage, in fleet.Instance, events ...fleet.Event) {
		s.agent(in)
		r, err := owned(fleet.Report{From: agentID(in.Incarnation), Role: agent, Instances: []fleet.Instance{in}, Events: events})
		if err != nil {
			s.t.Fatal(err)
		}
		s.w.report(r, s.now)
		s.fold()
	}
	t.Run("control hears of it first", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.agent(registrant("x"))
		s.pass("x")
		s.events = nil
		s.register(registrant("x"))
		say(s, registrant("x"), completed)
		s.register(registrant("x"))
		s.wantEvents(registrationCompleted, "warmup.started")
		if e := s.w.view.Events[len(s.w.view.Events)-2]; e.From != "etcd" || e.Service != "reviews:9080" {
			t.Errorf("told as %+v, want from etcd, of reviews:9080", e)
		}
	})
	t.Run("its agent hears of it first", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.agent(registrant("x"))
		s.pass("x")
		s.events = nil
		say(s, registrant("x"), completed)
		s.register(registrant("x"))
		s.wantEvents(registrationCompleted, "warmup.started")
	})
	t.Run("through control", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.agent(registrant("x"))
		s.pass("x")
		s.events = nil
		x := registrant("x")
		x.Ready = true
		say(s, x, completed)
		s.wantEvents(registrationCompleted, "warmup.started")
	})
}

// Events of an instance that has left name the service that it was in.
func TestEventsAfterTheEndNameTheService(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := registrant("x")
	x.Ready = true
	s.agent(x)
	s.pass("x")
	x.Leaving = true
	s.agent(x)
	s.after(time.Second)
	s.wantStage("x", fleet.Gone)
	s.after(time.Second)
	s.w.report(fleet.Report{From: agentID("x"), Role: agent, Leaving: true, Events: []fleet.Event{{Kind: "instance.stopped", Incarnation: "x"}}}, s.now)
	s.fold()
	last := s.w.view.Events[len(s.w.view.Events)-1]
	if last.Kind != "instance.stopped" || last.Service != "reviews:9080" {
		t.Errorf("the last event is %+v, want instance.stopped of reviews:9080", last)
	}
	s.after(2 * memory)
	if len(s.w.placed)+len(s.w.completed) > 0 {
		t.Errorf("%v, %v are remembered for ever", s.w.placed, s.w.completed)
	}
}

// Whoever drains goes on draining, though nobody says any more that it leaves.
func TestThereIsNoWayBackFromDraining(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.join("g", "gateway")
	x := registrant("x")
	s.register(x)
	s.pass("x")
	s.agent(func() fleet.Instance { in := x; in.Leaving = true; return in }())
	s.wantStage("x", fleet.Draining)
	s.w.part(fleet.Hello{ID: agentID("x")}, s.now)
	s.after(absence + time.Second) // its agent is forgotten, and the registry has it still
	s.wantStage("x", fleet.Draining)
	for range 2 {
		s.gateway("g", s.w.view.Number, nil)
	}
	s.wantStage("x", fleet.Gone)
	if wait := s.w.wake(s.now, time.Second); wait != time.Second {
		t.Errorf("control wakes in %v, want a second: there is nothing to do", wait)
	}
}

// A registered instance whose own probe fails gets nothing for a while, and goes on at its age.
func TestARegisteredInstanceThatCannotServeForAWhile(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := registrant("x")
	s.agent(x)
	s.register(x)
	s.pass("x")
	s.after(30 * time.Second)
	s.events = nil
	s.w.registered("etcd", registry.List{Instances: []fleet.Instance{x}}, s.now)
	s.fold()
	s.wantStage("x", fleet.Starting)
	s.after(10 * time.Second)
	s.register(x)
	s.pass("x")
	s.wantStage("x", fleet.Warming)
	s.wantEvents("readiness.lost", "check.passed", "readiness.regained")
	if got, want := s.progress("", "x"), 40.0/120; got != want {
		t.Errorf("progress = %v, want %v", got, want)
	}
}
