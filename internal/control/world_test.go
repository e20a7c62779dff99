package control

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// A stage is a world with a clock, and words for what happens in it.
type stage struct {
	t      testing.TB
	w      *world
	now    time.Time
	runs   []fleet.Instance
	events []string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &stage{t: t, now: start}
	s.w = newWorld(fleet.View{Snapshot: &fleet.Snapshot{}, Taken: start}, start)
	s.join("local", "local")
	return s
}

func (s *stage) fold() {
	for _, e := range s.w.fold(s.now) {
		s.events = append(s.events, e.Kind)
	}
}

func (s *stage) join(id, role string) {
	s.w.join(fleet.Hello{ID: id, Role: role}, s.now)
	s.fold()
	s.events = nil
}

func (s *stage) after(d time.Duration) {
	s.now = s.now.Add(d)
	s.fold()
}

// reviews is a configuration with one service, one subset and one deployment.
func reviews(warmup fleet.Warmup) *fleet.Desired {
	policy := fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: warmup}
	return &fleet.Desired{
		Digest: fmt.Sprint(warmup),
		Services: []fleet.Service{{
			Name: "reviews:9080", Host: "reviews", Namespace: "default", Port: 9080,
			Selector: map[string]string{"app": "reviews"},
			Pools: []fleet.Pool{
				{Policy: policy},
				{Subset: "v2", Labels: map[string]string{"version": "v2"}, Policy: policy},
			},
		}},
		Workloads: []fleet.Workload{{Namespace: "default", Name: "reviews-v2", Replicas: 1, Revision: "a"}},
	}
}

func (s *stage) configure(d *fleet.Desired) {
	s.w.configure(d, s.now)
	s.fold()
}

func (s *stage) run(name, incarnation, version string) {
	s.runs = append(s.runs, fleet.Instance{
		Name: name, Namespace: "default", Workload: "reviews-" + version, Incarnation: incarnation, Weight: 1, Ready: true,
		Address: netip.AddrFrom4([4]byte{127, 1, 0, byte(len(s.runs) + 1)}),
		Labels:  map[string]string{"app": "reviews", "version": version},
	})
	s.report()
}

func (s *stage) report() {
	s.w.report(fleet.Report{From: "local", Role: "local", Instances: slices.Clone(s.runs)}, s.now)
	s.fold()
}

// change changes the instance x.
func (s *stage) change(f func(*fleet.Instance)) {
	for i := range s.runs {
		if s.runs[i].Incarnation == "x" {
			f(&s.runs[i])
		}
	}
	s.report()
}

func (s *stage) stop(incarnation string) {
	s.runs = slices.DeleteFunc(s.runs, func(i fleet.Instance) bool { return i.Incarnation == incarnation })
	s.report()
}

func (s *stage) pass(incarnation string) {
	s.w.verdict(incarnation, true, "HTTP 200", s.now)
	s.fold()
}

func (s *stage) gateway(id string, applied uint64, open map[string]int) {
	s.w.report(fleet.Report{From: id, Role: "gateway", Applied: applied, Open: open}, s.now)
	s.fold()
}

func (s *stage) endpoint(incarnation string) *fleet.Endpoint {
	for i := range s.w.view.Services {
		for j := range s.w.view.Services[i].Endpoints {
			if e := &s.w.view.Services[i].Endpoints[j]; e.Incarnation == incarnation {
				return e
			}
		}
	}
	return nil
}

func (s *stage) wantStage(incarnation string, want fleet.Stage) {
	s.t.Helper()
	e := s.endpoint(incarnation)
	switch {
	case e == nil && want != fleet.Gone:
		s.t.Errorf("%s is in no service, want %v", incarnation, want)
	case e != nil && e.Stage != want:
		s.t.Errorf("%s is %v, want %v", incarnation, e.Stage, want)
	}
}

// pool returns the pool and what its only member with that incarnation has reached in it.
func (s *stage) progress(subset, incarnation string) float64 {
	s.t.Helper()
	svc := &s.w.view.Services[0]
	for i := range svc.Pools {
		p := &svc.Pools[i]
		for _, m := range p.Members {
			if e := &svc.Endpoints[m.Endpoint]; p.Subset == subset && e.Incarnation == incarnation {
				return warmup.Progress(p.Policy.Warmup, m, s.w.view.Age(e, s.now))
			}
		}
	}
	s.t.Fatalf("%s is not in pool %q", incarnation, subset)
	return 0
}

func (s *stage) wantEvents(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.events, want) {
		s.t.Errorf("events %q, want %q", s.events, want)
	}
	s.events = nil
}

var linear = fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 1}

func TestAnInstanceComesUpAndLeaves(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.wantEvents("config.applied")
	s.join("gateway-1", "gateway")
	s.run("v2-1", "x", "v2")
	s.wantStage("x", fleet.Starting)
	s.events = nil

	s.after(5 * time.Second)
	s.pass("x")
	s.wantStage("x", fleet.Warming)
	s.wantEvents("check.passed", "warmup.started")

	s.after(60 * time.Second)
	if got := s.progress("v2", "x"); got != 0.5 {
		t.Errorf("progress after half the window = %v, want 0.5: the clock starts when it is offered", got)
	}
	s.after(60 * time.Second)
	s.wantStage("x", fleet.Serving)
	s.wantEvents("warmup.ended")

	s.change(func(i *fleet.Instance) { i.Leaving = true })
	s.wantStage("x", fleet.Draining)
	s.wantEvents("drain.started")
	n := s.w.view.Number
	s.gateway("gateway-1", n-1, nil) // has not heard yet
	s.gateway("gateway-1", n, map[string]int{"x": 1})
	s.gateway("gateway-1", n, nil)
	s.wantStage("x", fleet.Draining) // a request that chose it just before the swap may still come
	s.gateway("gateway-1", n, nil)
	s.wantStage("x", fleet.Gone)
	s.wantEvents("drained")
	s.stop("x")
	s.wantEvents()
}

// Gateways are told how long whoever runs an instance waits for what is open to it: what lasts is ended before.
func TestGatewaysKnowHowLongAnInstanceWaits(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	if got := s.w.view.Services[0].Endpoints[0].Bound; got != 0 {
		t.Errorf("got a bound of %v for one that serves, want none", got)
	}
	s.change(func(i *fleet.Instance) { i.Leaving, i.Bound = true, 30*time.Second })
	if got := s.w.view.Services[0].Endpoints[0].Bound; got != 30*time.Second {
		t.Errorf("got a bound of %v for one that leaves, want 30s", got)
	}
}

func TestNobodyDrainsBeforeEveryGatewayHasLetGo(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	for _, id := range []string{"a", "b"} {
		s.join(id, "gateway")
	}
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.change(func(i *fleet.Instance) { i.Leaving = true })
	n := s.w.view.Number
	s.gateway("a", n, nil)
	s.gateway("a", n, nil)
	s.w.part(fleet.Hello{ID: "b"}, s.now)
	s.after(time.Second)
	s.wantStage("x", fleet.Draining) // b is away, but may still be sending
	s.after(absence)
	s.wantStage("x", fleet.Gone) // b has been away for too long to wait for
}

// A control that is killed in the middle of a drain comes back knowing no follower; the gateways of its last
// snapshot may be sending still.
func TestARestartInTheMiddleOfADrainWaitsForTheGateways(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.join("gateway-1", "gateway")
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.change(func(i *fleet.Instance) { i.Leaving = true })

	again := &stage{t: t, now: s.now, runs: s.runs, w: newWorld(s.w.view, s.now)}
	again.fold()
	again.join("local", "local")
	again.report()
	again.after(time.Second)
	again.wantStage("x", fleet.Draining)
	again.join("gateway-1", "gateway")
	n := again.w.view.Number
	again.gateway("gateway-1", n, map[string]int{"x": 1})
	again.gateway("gateway-1", n, nil)
	again.wantStage("x", fleet.Draining)
	again.gateway("gateway-1", n, nil)
	again.wantStage("x", fleet.Gone)
}

func TestABlipAcrossARestartOfControlResumes(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.after(time.Minute)
	s.change(func(i *fleet.Instance) { i.Ready = false })
	again := &stage{t: t, now: s.now, runs: s.runs, w: newWorld(s.w.view, s.now)}
	again.fold()
	again.wantStage("x", fleet.Starting)
	again.join("local", "local")
	again.change(func(i *fleet.Instance) { i.Ready = true })
	again.pass("x")
	if got := again.progress("", "x"); got != 0.5 {
		t.Errorf("progress after the blip = %v, want 0.5", got)
	}
}

func TestMendingIsTold(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.events = nil
	s.configure(reviews(linear))
	s.wantEvents() // nothing was wrong
	s.w.rejected = true
	s.configure(reviews(linear))
	s.wantEvents("config.applied")
}

func TestCommandsEndWithTheirWorkload(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.w.scaled["default/reviews-v2"], s.w.restarted["default/reviews-v2"] = 5, "now"
	s.fold()
	gone := reviews(linear)
	gone.Digest, gone.Workloads = "gone", nil
	s.configure(gone)
	s.configure(reviews(linear))
	if got := s.w.view.Workloads[0]; got.Replicas != 1 || got.Revision != "a" {
		t.Errorf("the deployment that came back has %d replicas at revision %q, want 1 at a: as configured", got.Replicas, got.Revision)
	}
}

func TestAGatewayThatDrainedIsNotWaitedFor(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.join("a", "gateway")
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.change(func(i *fleet.Instance) { i.Leaving = true })
	s.events = nil
	s.w.report(fleet.Report{From: "a", Role: "gateway", Leaving: true}, s.now)
	s.fold()
	s.wantStage("x", fleet.Gone)
	s.wantEvents("follower.left", "drained")
}

func TestNumbersOfAnotherLifeSayNothing(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.join("a", "gateway")
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.change(func(i *fleet.Instance) { i.Leaving = true })
	s.gateway("a", 9999, nil)
	s.gateway("a", 9999, nil)
	s.wantStage("x", fleet.Draining)
}

func TestABlipResumesAndARestartRamps(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.after(30 * time.Second)
	s.change(func(i *fleet.Instance) { i.Ready = false })
	s.wantStage("x", fleet.Starting)
	s.after(10 * time.Second)
	s.change(func(i *fleet.Instance) { i.Ready = true })
	s.wantStage("x", fleet.Starting) // its check must pass anew
	s.pass("x")
	s.wantStage("x", fleet.Warming)
	if got, want := s.progress("", "x"), 40.0/120; got != want {
		t.Errorf("progress after a blip = %v, want %v", got, want)
	}

	s.stop("x")
	s.run("v2-1", "y", "v2") // the same address, another process
	s.pass("y")
	if got := s.progress("", "y"); got != 0 {
		t.Errorf("progress of a new incarnation = %v, want 0", got)
	}

	s.stop("y")
	s.after(time.Minute)
	s.run("v2-1", "y", "v2") // reported again: the same process
	s.pass("y")
	if got := s.progress("", "y"); got != 0.5 {
		t.Errorf("progress of one that was not reported for a minute = %v, want 0.5", got)
	}
}

func TestAgesGoOnWhenControlRestarts(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.w.scaled["default/reviews-v2"] = 3
	s.after(30 * time.Second)

	last := s.w.view
	last.Taken = last.Taken.Add(-10 * time.Second) // it was away for 10 s
	again := &stage{t: t, now: s.now, runs: s.runs, w: newWorld(last, s.now)}
	again.fold()
	again.wantStage("x", fleet.Warming)
	if got, want := again.progress("", "x"), 40.0/120; got != want {
		t.Errorf("progress after the restart = %v, want %v", got, want)
	}
	if got := again.w.view.Workloads[0].Replicas; got != 3 {
		t.Errorf("replicas after the restart = %d, want 3: a scale command holds", got)
	}
	again.wantEvents() // nothing happened
	again.join("local", "local")
	again.report()
	again.configure(reviews(linear))
	again.wantEvents()
	again.after(absence + time.Second)
	again.wantStage("x", fleet.Warming) // local reports it
	if again.w.view.Number < last.Number {
		t.Errorf("number went back from %d to %d", last.Number, again.w.view.Number)
	}
}

func TestInstancesThatNobodyReportsAfterARestartGo(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	again := &stage{t: t, now: s.now, w: newWorld(s.w.view, s.now)}
	again.after(absence)
	again.wantStage("x", fleet.Warming)
	again.after(time.Second)
	again.wantStage("x", fleet.Gone)
}

func TestConfigurationMidRampDoesNotJump(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	s.after(60 * time.Second)
	longer := linear
	longer.Window = 4 * time.Minute
	s.configure(reviews(longer))
	if got := s.progress("", "x"); got != 0.5 {
		t.Errorf("progress after the window changed = %v, want 0.5", got)
	}
	s.after(60 * time.Second)
	if got := s.progress("", "x"); got != 0.75 {
		t.Errorf("progress a quarter of the new window later = %v, want 0.75", got)
	}
	s.configure(reviews(fleet.Warmup{}))
	s.wantStage("x", fleet.Serving)
	s.configure(reviews(linear))
	s.wantStage("x", fleet.Serving) // switched on for a living fleet: mature
	s.run("v2-2", "y", "v2")
	s.pass("y")
	s.wantStage("y", fleet.Warming)
}

func TestCapacityIsWhatWarmSiblingsCarried(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	for i := range 10 {
		s.run(fmt.Sprint("old-", i), fmt.Sprint("old", i), "v1")
		s.pass(fmt.Sprint("old", i))
	}
	s.after(5 * time.Minute)
	capacity := func() float64 { return s.w.view.Services[0].Pools[0].Capacity }
	if got := capacity(); got != 0 {
		t.Errorf("capacity while nobody warms = %v, want 0", got)
	}
	for i := range 9 {
		s.stop(fmt.Sprint("old", i))
	}
	s.after(3 * time.Second)
	for i := range 9 {
		s.run(fmt.Sprint("new-", i), fmt.Sprint("new", i), "v1")
		s.pass(fmt.Sprint("new", i))
	}
	if got := capacity(); got != 10 {
		t.Errorf("capacity = %v, want 10: what stood in the 10 s before the newcomers", got)
	}
	s.after(time.Minute)
	s.run("late", "late", "v1")
	s.pass("late")
	if got := capacity(); got != 10 {
		t.Errorf("capacity while the oldest newcomer still warms = %v, want 10", got)
	}
	s.after(time.Minute)
	if got := capacity(); got != 10 { // it came while the others warmed
		t.Errorf("capacity when only the late one warms = %v, want still 10", got)
	}
	s.after(time.Minute)
	if got := capacity(); got != 0 {
		t.Errorf("capacity after everybody is warm = %v, want 0", got)
	}
}

func TestScaleHoldsUntilConfigurationSaysSomethingNew(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.w.scaled["default/reviews-v2"] = 5
	s.fold()
	other := reviews(linear)
	other.Digest = "other"
	s.configure(other)
	if got := s.w.view.Workloads[0].Replicas; got != 5 {
		t.Errorf("replicas after an unrelated change = %d, want 5", got)
	}
	other = reviews(linear)
	other.Digest, other.Workloads[0].Replicas = "third", 2
	s.configure(other)
	if got := s.w.view.Workloads[0].Replicas; got != 2 {
		t.Errorf("replicas after configuration changed them = %d, want 2", got)
	}
}

func TestWithoutAWarmUpThereIsNoneToTellOf(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(fleet.Warmup{}))
	s.run("v2-1", "x", "v2")
	s.events = nil
	s.pass("x")
	s.wantStage("x", fleet.Serving)
	s.wantEvents("check.passed", "offered")
}

func TestNamesAreEndpointsForAsLongAsTheyHaveAddresses(t *testing.T) {
	s := newStage(t)
	d := reviews(linear)
	d.Services[0].Resolve = []fleet.ResolveName{{Name: "pay", Host: "pay.example.com", Port: 80, Weight: 1}}
	s.configure(d)
	s.events = nil
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	answer := func(reason string, addresses ...netip.Addr) {
		s.w.resolve(Resolved{Host: "pay.example.com", Addresses: addresses, Reason: reason}, s.now)
		s.fold()
	}
	first, second := "dns/reviews:9080/pay/10.0.0.1", "dns/reviews:9080/pay/10.0.0.2"
	answer("", one)
	s.wantEvents("dns.resolved")
	s.wantStage(first, fleet.Starting) // it must pass a check, as everybody
	s.pass(first)
	s.wantStage(first, fleet.Warming)
	s.after(time.Minute)
	answer("", one, two)
	s.wantStage(second, fleet.Starting)
	s.events = nil
	answer("servers fail", one, two)
	s.wantEvents("dns.failed")
	s.wantStage(first, fleet.Warming)

	again := &stage{t: t, now: s.now, w: newWorld(s.w.view, s.now)}
	again.fold()
	again.wantStage(first, fleet.Warming) // a restart of control forgets nobody
	if got := again.progress("", first); got != 0.5 {
		t.Errorf("progress after a restart of control = %v, want 0.5", got)
	}
	s.after(time.Second)
	answer("", two)
	s.wantStage(first, fleet.Gone)
}

func TestNothingNewIsNoSnapshot(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("v2-1", "x", "v2")
	s.pass("x")
	n := s.w.view.Number
	s.after(time.Second)
	s.report()
	s.configure(reviews(linear))
	if got := s.w.view.Number; got != n {
		t.Errorf("snapshot %d, want still %d: only time passed", got, n)
	}
}
