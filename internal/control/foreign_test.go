package control

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// foreigner is an instance that registers itself: nobody of ours stands beside it.
func foreigner(incarnation, address string, port uint32) fleet.Instance {
	return fleet.Instance{
		Name: fmt.Sprintf("%s:%d", address, port), Namespace: "default", Incarnation: incarnation, Weight: 1, Foreign: true,
		Address: netip.MustParseAddr(address), Ports: map[string]uint32{"http": port}, Labels: map[string]string{"app": "reviews"},
	}
}

// started is a foreigner that says when its process started.
func started(in fleet.Instance, at time.Time) fleet.Instance {
	in.Published = &fleet.Published{Started: at, Registered: at}
	return in
}

func (s *stage) lists(name string, list ...fleet.Instance) {
	s.w.registered(name, registry.List{Instances: ready(list...)}, s.now)
	s.fold()
}

// offered is who gets requests, or is about to, by incarnation and address.
func (s *stage) offered() (all []string) {
	for _, e := range s.w.view.Services[0].Endpoints {
		if e.Stage.Offered() {
			all = append(all, e.Incarnation+" "+e.Address.String())
		}
	}
	slices.Sort(all)
	return all
}

func (s *stage) wantOffered(want ...string) {
	s.t.Helper()
	if got := s.offered(); !slices.Equal(got, want) {
		s.t.Errorf("offered are %q, want %q", got, want)
	}
}

// Whoever registers itself is an endpoint at the port that it has registered, which need not be that of the service.
func TestAForeignInstanceIsAnEndpoint(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.events = nil
	s.lists("nacos", foreigner("nacos/x", "10.0.0.1", 8123))
	s.wantStage("nacos/x", fleet.Starting)
	s.pass("nacos/x")
	s.wantOffered("nacos/x 10.0.0.1:8123")
	s.wantEvents("registration.completed", "check.passed", "warmup.started")
	if got := s.w.view.Instances[0].Registries; !slices.Equal(got, []string{"nacos"}) {
		t.Errorf("it is listed by %q, want nacos", got)
	}
}

func TestThePortOfAForeignInstance(t *testing.T) {
	for _, test := range []struct {
		name  string
		s     fleet.Service
		ports map[string]uint32
		want  uint32
	}{
		{"its only one", fleet.Service{Port: 80}, map[string]uint32{"dubbo": 20880}, 20880},
		{"that of the service's name", fleet.Service{Port: 80, PortName: "grpc"}, map[string]uint32{"http": 80, "grpc": 9000}, 9000},
		{"that of the service's number", fleet.Service{Port: 80}, map[string]uint32{"http": 80, "grpc": 9000}, 80},
		{"none of several", fleet.Service{Port: 81}, map[string]uint32{"http": 80, "grpc": 9000}, 0},
		{"what configuration says", fleet.Service{Port: 80, Target: "8080"}, map[string]uint32{"http": 9000}, 8080},
		{"the name that configuration says", fleet.Service{Port: 80, Target: "http"}, map[string]uint32{"http": 9000}, 9000},
	} {
		in := foreigner("nacos/x", "10.0.0.1", 1)
		in.Ports = test.ports
		got, ok := target(&test.s, &in)
		if ok != (test.want != 0) || ok && got != test.want {
			t.Errorf("%s: port %d, %t, want %d", test.name, got, ok, test.want)
		}
		in.Foreign = false // its agent registers it at the same port
		if got, _ := target(&test.s, &in); test.want != 0 && got != test.want {
			t.Errorf("%s: with an agent port %d, want %d", test.name, got, test.want)
		}
		in.Workload = "reviews-v1" // and here a Deployment says where it listens
		if got, _ := target(&test.s, &in); test.s.Target == "" && got != test.s.Port {
			t.Errorf("%s: in a Deployment port %d, want %d", test.name, got, test.s.Port)
		}
	}
}

// A registry that is well and has a stranger no more has taken it out: nothing is sent to it from then on, though its check
// would pass. Beside it, one with an agent, which did not say that it leaves, is kept.
func TestAForeignInstanceThatIsTakenOutIsGoneAtOnce(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x, y, ours := foreigner("nacos/x", "10.0.0.1", 80), foreigner("nacos/y", "10.0.0.2", 80), registrant("ours")
	s.lists("nacos", x, y, ours)
	for _, incarnation := range []string{"nacos/x", "nacos/y", "ours"} {
		s.pass(incarnation)
	}
	s.events = nil
	s.lists("nacos", y)
	s.wantStage("nacos/x", fleet.Gone)
	s.wantStage("ours", fleet.Warming)
	s.wantEvents("registration.lost", "gone")
	if got := s.w.view.Events[len(s.w.view.Events)-1].Reason; got != "nacos has it no more" {
		t.Errorf("gone for the reason %q", got)
	}
}

// A registry that goes on listing a stranger, and says that it takes nothing, takes nothing away: it may be put back.
func TestAForeignInstanceThatIsDisabledForAWhile(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	x := foreigner("nacos/x", "10.0.0.1", 80)
	s.lists("nacos", x, foreigner("nacos/y", "10.0.0.2", 80))
	s.pass("nacos/x")
	s.pass("nacos/y")
	s.after(30 * time.Second)
	s.events = nil
	s.w.registered("nacos", registry.List{Instances: []fleet.Instance{x, ready(foreigner("nacos/y", "10.0.0.2", 80))[0]}}, s.now)
	s.fold()
	s.wantStage("nacos/x", fleet.Starting)
	if got := s.w.view.Events[len(s.w.view.Events)-1].Reason; got != "its registry says that it takes no requests" {
		t.Errorf("it lost readiness for the reason %q", got)
	}
	s.after(10 * time.Second)
	s.lists("nacos", x, foreigner("nacos/y", "10.0.0.2", 80))
	s.pass("nacos/x")
	s.wantStage("nacos/x", fleet.Warming)
	if got, want := s.progress("", "nacos/x"), 40.0/120; got != want {
		t.Errorf("progress %v, want %v", got, want)
	}
	s.wantEvents("readiness.lost", "check.passed", "readiness.regained")
}

// One that says nothing of its start begins anew when it is back, as its process may have. One that does is the same.
func TestAForeignInstanceThatComesBack(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	other := foreigner("nacos/other", "10.0.0.9", 80)
	silent := foreigner("nacos/silent", "10.0.0.1", 80)
	says := started(foreigner("nacos/says/1", "10.0.0.2", 80), s.now)
	s.lists("nacos", other, silent, says)
	for _, in := range []fleet.Instance{other, silent, says} {
		s.pass(in.Incarnation)
	}
	s.after(time.Minute)
	s.lists("nacos", other)
	s.after(10 * time.Second)
	s.lists("nacos", other, silent, says)
	s.pass("nacos/silent")
	s.pass("nacos/says/1")
	if got := s.progress("", "nacos/silent"); got != 0 {
		t.Errorf("one that may have started anew is at %v of its way, want 0", got)
	}
	if got, want := s.progress("", "nacos/says/1"), 70.0/120; got != want {
		t.Errorf("one that says that it is the same run is at %v of its way, want %v", got, want)
	}
}

// After its registry was away, a stranger may be missing from it until its client has registered again.
func TestForeignInstancesStayWhileTheirRegistrySettles(t *testing.T) {
	for _, test := range []struct {
		name  string
		after time.Duration // since the registry is back
		want  fleet.Stage
	}{
		{"in its first list", -1, fleet.Warming},
		{"soon after", settling - time.Second, fleet.Warming},
		{"later, and it was taken out", settling, fleet.Gone},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.configure(reviews(linear))
			x, y := foreigner("nacos/x", "10.0.0.1", 80), foreigner("nacos/y", "10.0.0.2", 80)
			s.lists("nacos", x, y)
			s.pass("nacos/x")
			s.pass("nacos/y")
			s.after(30 * time.Second)
			s.w.registryAway("nacos", errors.New("connection refused"), s.now)
			s.after(10 * time.Second)
			s.wantStage("nacos/x", fleet.Warming)
			if test.after < 0 {
				s.lists("nacos", y)
			}
			s.w.registryAway("nacos", nil, s.now)
			if test.after >= 0 {
				s.after(test.after)
				s.lists("nacos", y)
			}
			s.wantStage("nacos/x", test.want)
			s.wantStage("nacos/y", fleet.Warming)
			if test.want == fleet.Gone {
				return
			}
			if !s.w.doubted()["nacos/x"] {
				t.Error("nobody looks whether it is there")
			}
			before := s.progress("", "nacos/x")
			s.lists("nacos", x, y)
			if got := s.progress("", "nacos/x"); got != before || len(s.w.lost) > 0 {
				t.Errorf("registered again it is at %v of its way, %d lost; want %v, 0", got, len(s.w.lost), before)
			}
			s.after(time.Hour)
			s.lists("nacos", y)
			s.wantStage("nacos/x", fleet.Gone)
		})
	}
}

// The last of a service stay while their checks pass, and no longer than they are the last: a registry that lists nobody is
// seldom right, and where it is, requests would find nobody anyway.
func TestTheLastOfAServiceStay(t *testing.T) {
	last := func(t *testing.T) *stage {
		t.Helper()
		s := newStage(t)
		s.configure(reviews(linear))
		s.lists("nacos", foreigner("nacos/x", "10.0.0.1", 80), foreigner("nacos/y", "10.0.0.2", 80))
		s.pass("nacos/x")
		s.pass("nacos/y")
		s.lists("nacos")
		s.wantOffered("nacos/x 10.0.0.1:80", "nacos/y 10.0.0.2:80")
		s.events = nil
		return s
	}
	t.Run("until their checks fail", func(t *testing.T) {
		s := last(t)
		s.w.verdict("nacos/x", false, "connect: connection refused", s.now)
		s.fold()
		s.wantOffered("nacos/y 10.0.0.2:80")
	})
	t.Run("until others have come", func(t *testing.T) {
		s := last(t)
		s.lists("nacos", foreigner("nacos/z", "10.0.0.3", 80))
		s.wantStage("nacos/x", fleet.Warming) // it does not get requests yet
		s.pass("nacos/z")
		s.after(time.Second)
		s.wantOffered("nacos/z 10.0.0.3:80")
	})
	t.Run("for a minute", func(t *testing.T) {
		s := last(t)
		s.after(keptLost)
		s.wantOffered()
	})
}

// One process that is in several registries, with an agent or without, is one endpoint.
func TestOneProcessInSeveralRegistries(t *testing.T) {
	in := func(name string) fleet.Instance { return foreigner(name+"/x", "10.0.0.1", 80) }
	t.Run("nobody of ours", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.lists("zookeeper", in("zookeeper"))
		s.pass("zookeeper/x")
		s.after(time.Minute)
		s.lists("nacos", in("nacos"))
		s.wantOffered("zookeeper/x 10.0.0.1:80")
		if got := s.w.view.Instances[0].Registries; !slices.Equal(got, []string{"nacos", "zookeeper"}) {
			t.Errorf("it is listed by %q, want both", got)
		}
		s.events = nil
		s.lists("zookeeper") // the other one still has it
		s.after(time.Second)
		s.wantOffered("zookeeper/x 10.0.0.1:80")
		if got, want := s.progress("", "zookeeper/x"), 61.0/120; got != want {
			t.Errorf("progress %v, want %v: it is the same process", got, want)
		}
		s.wantEvents()
		s.lists("nacos", foreigner("nacos/y", "10.0.0.2", 80))
		s.after(time.Second)
		s.wantStage("zookeeper/x", fleet.Warming) // the last of its service
		s.pass("nacos/y")
		s.after(time.Second)
		s.wantStage("zookeeper/x", fleet.Gone)
	})
	t.Run("its agent is linked, and marks nothing in the registry", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.join("gateway-1", "gateway")
		ours := registrant("ours")
		ours.Workload = ""
		ours.Address, ours.Ports, ours.Weight = netip.MustParseAddr("10.0.0.1"), map[string]uint32{"http": 80}, 7
		s.agent(ours)
		s.lists("nacos", in("nacos"))
		s.wantStage("nacos/x", fleet.Gone)
		s.pass("ours")
		s.wantStage("ours", fleet.Warming)
		if e := s.endpoint("ours"); e.Weight != 1 || e.Name != ours.Name {
			t.Errorf("it is %+v, want what its agent says of it, but for the weight that it has registered", e)
		}
		if in := s.w.view.Instances; len(in) != 1 || in[0].Foreign {
			t.Errorf("instances %+v, want ours alone", in)
		}
		ours.Leaving = true
		s.agent(ours)
		for range 2 {
			s.gateway("gateway-1", s.w.view.Number, nil)
		}
		s.w.report(fleet.Report{From: agentID("ours"), Role: agent, Leaving: true}, s.now)
		s.after(time.Second)
		if in := s.w.view.Instances; len(in) > 0 {
			t.Errorf("instances %+v, want none: what the registry still has of it is no new one", in)
		}
		s.after(2 * memory)
		s.after(time.Second)
		s.pass("ours")
		s.wantOffered("ours 10.0.0.1:80") // by now it can only be somebody who came without an agent
	})
	t.Run("its agent is heard of later", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.lists("nacos", in("nacos"))
		s.pass("nacos/x")
		s.after(30 * time.Second)
		s.events = nil
		ours := registrant("ours")
		ours.Address, ours.Ports, ours.Ready = netip.MustParseAddr("10.0.0.1"), map[string]uint32{"http": 80}, true
		s.agent(ours)
		s.wantStage("nacos/x", fleet.Gone)
		if got := s.progress("", "ours"); got != 0.25 {
			t.Errorf("progress %v, want 0.25: it is the same process", got)
		}
		s.wantEvents(registrationCompleted)
	})
	t.Run("in a second service", func(t *testing.T) {
		s := newStage(t)
		d := reviews(linear)
		other := d.Services[0]
		other.Name, other.Host, other.Selector = "ratings:9080", "ratings", map[string]string{"app": "ratings"}
		d.Services = append(d.Services, other)
		s.configure(d)
		s.join("gateway-1", "gateway")
		ours := registrant("ours")
		ours.Address, ours.Ports, ours.Ready = netip.MustParseAddr("10.0.0.1"), map[string]uint32{"http": 80}, true
		s.agent(ours)
		s.pass("ours")
		second := in("nacos")
		second.Labels = map[string]string{"app": "ratings"}
		s.lists("nacos", second)
		s.pass("ours@ratings")
		s.wantStage("ours@ratings", fleet.Warming)
		s.wantStage("ours", fleet.Warming)
		ours.Leaving = true
		s.agent(ours)
		s.wantStage("ours", fleet.Draining)
		s.wantStage("ours@ratings", fleet.Draining)
		s.w.report(fleet.Report{From: agentID("ours"), Role: agent, Leaving: true}, s.now)
		s.fold()
		s.wantStage("ours@ratings", fleet.Gone)
	})
	t.Run("after control was started again", func(t *testing.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		s.lists("zookeeper", in("zookeeper"))
		s.lists("nacos", in("nacos"))
		s.pass("zookeeper/x")
		s.after(time.Minute)
		for _, first := range []string{"nacos", "zookeeper"} {
			again := &stage{t: t, now: s.now, w: newWorld(s.w.view, s.now)}
			again.fold()
			for _, name := range []string{first, map[string]string{"nacos": "zookeeper", "zookeeper": "nacos"}[first]} {
				again.w.registered(name, registry.List{Instances: ready(in(name)), First: true}, again.now)
				again.fold()
			}
			again.wantOffered("zookeeper/x 10.0.0.1:80")
			if got := again.progress("", "zookeeper/x"); got != 0.5 {
				t.Errorf("%s is heard first: progress %v, want 0.5", first, got)
			}
		}
	})
}

// Two on one port in one registry cannot both be there: what a killed process has left behind, until its session runs out,
// gets nothing, and the newcomer comes up as one.
func TestWhatAKilledProcessLeavesBehind(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	other := foreigner("zookeeper/other", "10.0.0.9", 80)
	was := started(foreigner("zookeeper/x/1", "10.0.0.1", 80), s.now)
	s.lists("zookeeper", was, other)
	s.pass("zookeeper/x/1")
	s.pass("zookeeper/other")
	s.after(time.Minute)
	is := started(foreigner("zookeeper/x/2", "10.0.0.1", 80), s.now)
	s.events = nil
	for range 3 {
		s.lists("zookeeper", was, is, other)
	}
	s.wantStage("zookeeper/x/1", fleet.Gone)
	s.pass("zookeeper/x/2")
	s.wantOffered("zookeeper/other 10.0.0.9:80", "zookeeper/x/2 10.0.0.1:80")
	if got := s.progress("", "zookeeper/x/2"); got != 0 {
		t.Errorf("progress %v, want 0", got)
	}
	s.wantEvents("registration.superseded", "registration.completed", "gone", "check.passed", "warmup.started")
	s.lists("zookeeper", is, other)
	s.wantOffered("zookeeper/other 10.0.0.9:80", "zookeeper/x/2 10.0.0.1:80")
	s.wantEvents()

	// Where nobody says when it started, it is the one that control has not seen before; and it stays that.
	s.lists("zookeeper", other, is, foreigner("zookeeper/a", "10.0.0.2", 80))
	s.pass("zookeeper/a")
	for range 3 {
		s.lists("zookeeper", other, is, foreigner("zookeeper/a", "10.0.0.2", 80), foreigner("zookeeper/b", "10.0.0.2", 80))
		s.wantStage("zookeeper/a", fleet.Gone)
	}
	s.pass("zookeeper/b")
	s.lists("zookeeper", other, is, foreigner("zookeeper/a", "10.0.0.2", 80), foreigner("zookeeper/b", "10.0.0.2", 80))
	s.wantOffered("zookeeper/b 10.0.0.2:80", "zookeeper/other 10.0.0.9:80", "zookeeper/x/2 10.0.0.1:80")
}

// Where the newcomer is all that there is, who was there before it stays until it can be offered: requests go to the same
// address either way.
func TestTheOnlyOneThatWasKilledAndCameBack(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	was, is := started(foreigner("zookeeper/x/1", "10.0.0.1", 80), s.now), started(foreigner("zookeeper/x/2", "10.0.0.1", 80), s.now.Add(time.Second))
	silent := foreigner("nacos/x", "10.0.0.1", 80) // it is in another registry, too, which does not show that it was started anew
	s.lists("zookeeper", was)
	s.lists("nacos", silent)
	s.pass("zookeeper/x/1")
	s.lists("zookeeper", was, is)
	s.wantOffered("zookeeper/x/1 10.0.0.1:80")
	s.lists("nacos", silent)
	s.pass("zookeeper/x/2")
	s.pass("nacos/x")
	s.after(time.Second)
	s.after(time.Second)
	if got := s.offered(); len(got) != 1 || got[0] == "zookeeper/x/1 10.0.0.1:80" {
		t.Errorf("offered are %q, want the newcomer alone", got)
	}
}

// Two of ours, two ports of one machine, and groups of Dubbo's on one port are several, however near they are.
func TestWhoIsNotOne(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	a, b := registrant("a"), registrant("b")
	a.Ports, b.Ports = map[string]uint32{"http": 80}, map[string]uint32{"http": 80}
	first, second := foreigner("zookeeper/x/1", "10.0.0.1", 20880), foreigner("zookeeper/x/2", "10.0.0.1", 20880)
	first.Labels = map[string]string{"app": "reviews", "interface": "reviews", "version": "1"}
	second.Labels = map[string]string{"app": "reviews", "interface": "reviews", "version": "2"}
	s.lists("zookeeper", a, b, first, second, foreigner("zookeeper/y", "10.0.0.1", 80), foreigner("zookeeper/z", "10.0.0.1", 81))
	if got := len(s.w.view.Services[0].Endpoints); got != 6 {
		t.Errorf("%d endpoints, want 6: %+v", got, s.w.view.Services[0].Endpoints)
	}
}

// Nobody but a registry can say that an instance is somebody else.
func TestAnAgentCannotPassForAStranger(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	honest := registrant("honest")
	honest.Ports, honest.Ready = map[string]uint32{"http": 80}, true
	s.agent(honest)
	thief := honest
	thief.Incarnation, thief.Name, thief.Foreign, thief.Leaving = "thief", "thief", true, true
	s.agent(thief)
	s.pass("honest")
	s.wantStage("honest", fleet.Warming)
	for _, in := range s.w.view.Instances {
		if in.Foreign || in.Incarnation == "honest" && in.Leaving {
			t.Errorf("instance %+v", in)
		}
	}
}

// Whatever registries list, and whoever leaves: no process is two endpoints of one service, and nobody is forgotten for whom
// some registry vouches.
func TestStrangersAreEachOneEndpoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		addresses := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
		names := []string{"nacos", "zookeeper"}
		listed := map[string]map[string]fleet.Instance{"nacos": {}, "zookeeper": {}}
		for i := range rapid.IntRange(1, 20).Draw(rt, "steps") {
			name := rapid.SampledFrom(names).Draw(rt, "registry")
			address := rapid.SampledFrom(addresses).Draw(rt, "address")
			switch rapid.SampledFrom([]string{"come", "go", "restart", "pass", "wait"}).Draw(rt, "step") {
			case "come":
				if _, there := listed[name][address]; !there {
					listed[name][address] = foreigner(name+"/"+address, address, 80)
				}
			case "go":
				delete(listed[name], address)
			case "restart":
				for _, of := range names {
					if _, there := listed[of][address]; there {
						listed[of][address] = started(foreigner(fmt.Sprint(of, "/", address, "/", i), address, 80), s.now)
					}
				}
			case "pass":
				for _, e := range s.w.view.Services[0].Endpoints {
					s.pass(e.Incarnation)
				}
			case "wait":
				s.after(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
			}
			for _, of := range rapid.Permutation(names).Draw(rt, "which is heard first") {
				var list []fleet.Instance
				for _, at := range slices.Sorted(maps.Keys(listed[of])) {
					list = append(list, listed[of][at])
				}
				s.lists(of, list...)
			}
			s.after(time.Second) // whoever was kept until its successor could serve goes
			seen, offered := map[string]string{}, map[string]string{}
			for _, e := range s.w.view.Services[0].Endpoints {
				at := e.Address.String()
				if seen[at] = e.Incarnation; !e.Stage.Offered() {
					continue
				}
				if offered[at] != "" {
					rt.Fatalf("%s and %s are offered at %s", offered[at], e.Incarnation, at)
				}
				offered[at] = e.Incarnation
			}
			for _, of := range names {
				for address := range listed[of] {
					if seen[address+":80"] == "" {
						rt.Fatalf("%s lists %s, which is no endpoint: %v", of, address, strings.Join(s.offered(), ", "))
					}
				}
			}
		}
	})
}

// What there is of each registry is counted.
func TestStatesOfRegistries(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.lists("nacos", foreigner("nacos/x", "10.0.0.1", 80), registrant("ours"))
	s.pass("nacos/x")
	s.pass("ours")
	s.w.registered("nacos", registry.List{
		Instances: ready(foreigner("nacos/x", "10.0.0.1", 80)), Unread: []registry.Unread{{Key: "k", Err: errors.New("no address")}},
	}, s.now)
	s.w.registryAway("zookeeper", errors.New("connection refused"), s.now)
	want := []fleet.RegistryState{{Name: "nacos", Instances: 1, Foreign: 1, Unread: 1, Lost: 1}, {Name: "zookeeper", Away: true}}
	if got := s.w.states(); !slices.Equal(got, want) {
		t.Errorf("states %+v, want %+v", got, want)
	}
}

// What it costs control when one of 10,000 that register themselves flaps.
func BenchmarkForeign(b *testing.B) {
	s := newStage(b)
	s.configure(reviews(linear))
	list := make([]fleet.Instance, 10_000)
	for i := range list {
		list[i] = foreigner(fmt.Sprint("nacos/", i), fmt.Sprintf("10.0.%d.%d", i>>8, i&255), 80)
	}
	s.lists("nacos", list...)
	for _, in := range list {
		s.w.verdict(in.Incarnation, true, "", s.now)
	}
	s.after(time.Hour)
	for i := 0; b.Loop(); i++ {
		s.now = s.now.Add(10 * time.Millisecond)
		s.lists("nacos", list[i%2:]...)
	}
}
