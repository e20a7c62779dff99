package release_test

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// bookinfo is a theatre that has run for a while.
func bookinfo(t *testing.T) *theatre {
	t.Helper()
	h := newTheatre(t)
	h.deploy("reviews-v1", "reviews", "v1", 2)
	h.deploy("ratings-v1", "ratings", "v1", 1)
	h.steps(60)
	if n := len(h.rec.Releases()); n != 0 {
		t.Fatalf("starting everything made %d releases: %+v", n, h.rec.Releases()[0])
	}
	return h
}

func TestRolloutIsRecognisedAndCounted(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	before := h.Ended("reviews:9080")
	h.step()
	r := h.latest()
	if r.Kind != release.Rollout || r.Verdict != release.Running || r.What != "revision r1 → r2, 2 replicas" {
		t.Errorf("got %s %s %q, want a rollout that runs from r1 to r2", r.Kind, r.Verdict, r.What)
	}
	h.steps(100)
	r = h.latest()
	if r.Verdict != release.Lossless || !strings.Contains(r.Why, "requests, none lost") {
		t.Errorf("got %s: %s, want lossless", r.Verdict, r.Why)
	}
	if len(r.Came) != 2 || len(r.Went) != 2 || r.Drains != (release.DrainSum{Instances: 2, Drained: 2}) {
		t.Errorf("came %v, went %v, drains %+v: want two of each, drained", r.Came, r.Went, r.Drains)
	}
	for _, w := range r.Warm {
		if w.Ready != starting*time.Second || w.Warm != warming*time.Second {
			t.Errorf("%s was ready in %v and warm in %v, want %v and %v", w.Name, w.Ready, w.Warm, starting*time.Second, warming*time.Second)
		}
	}
	// From the view that showed it, up to the second that closed it: nothing that ended before belongs to it.
	now := h.Ended("reviews:9080")
	if n := r.Requests.Ended(); n == 0 || n > now.Ended()-before.Ended() || r.ByService["reviews:9080"] != r.Requests {
		t.Errorf("counted %d requests of %d, by service %v", n, now.Ended()-before.Ended(), r.ByService)
	}
	if r.Before.Answers != 60 || r.After.Answers != 60 || r.During.Answers == 0 {
		t.Errorf("before %+v, during %+v, after %+v: want a minute, something and a minute", r.Before, r.During, r.After)
	}
	if n := len(h.rec.Releases()); n != 1 {
		t.Errorf("got %d releases, want 1", n)
	}
}

func TestLossesMakeItLossy(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(5)
	h.losing = ending.Reset
	h.steps(3)
	h.losing = ending.NoEndpoint
	h.step()
	h.losing = ending.Served
	h.steps(100)
	r := h.latest()
	want := []release.Loss{
		{Kind: "reset", Side: ending.Endpoint, Service: "reviews:9080", N: 3}, {Kind: "no-endpoint", Side: ending.Gateway, Service: "reviews:9080", N: 1},
	}
	if r.Verdict != release.Lossy || len(r.Losses) != 2 || r.Losses[0] != want[0] || r.Losses[1] != want[1] {
		t.Errorf("got %s, %+v; want lossy, %+v", r.Verdict, r.Losses, want)
	}
	for _, part := range []string{"4 of ", "3 × reset (reviews:9080, endpoint), 1 × no-endpoint (reviews:9080, gateway)", "attempts that failed: reviews-v1-"} {
		if !strings.Contains(r.Why, part) {
			t.Errorf("%q does not say %q", r.Why, part)
		}
	}
	if len(r.Failing) == 0 || r.Failing[0].Failed != 3 {
		t.Errorf("failing: got %+v, want 3 of somebody", r.Failing)
	}
}

func TestLossesOfOthersAndOfOtherTimesAreNotItsOwn(t *testing.T) {
	h := bookinfo(t)
	h.losing = ending.Fault
	h.steps(3) // before
	h.losing = ending.Served
	h.workload("ratings-v1").Revision = "r2"
	h.steps(5)
	for range 4 {
		h.count("reviews:9080", ending.Fault)
	}
	h.steps(100)
	h.losing = ending.Fault
	h.steps(3) // after
	if r := h.latest(); r.Name != "ratings-v1" || r.Verdict != release.Lossless || r.Requests.Lost() != 0 {
		t.Errorf("got %s of %s: %s; want lossless", r.Verdict, r.Name, r.Why)
	}
}

func TestNothingPassedProvesNothing(t *testing.T) {
	h := bookinfo(t)
	h.idle = true
	h.workload("reviews-v1").Revision = "r2"
	h.steps(100)
	if r := h.latest(); r.Verdict != release.Unproven || r.Why != "no request went to reviews:9080 while it ran" {
		t.Errorf("got %s: %s; want unproven", r.Verdict, r.Why)
	}
}

func TestScaling(t *testing.T) {
	h := newTheatre(t)
	h.deploy("reviews-v1", "reviews", "v1", 1)
	h.deploy("reviews-v2", "reviews", "v2", 0)
	h.steps(60)
	h.workload("reviews-v2").Replicas = 1
	h.steps(60)
	if r := h.latest(); r.Kind != release.Scale || r.What != "0 replicas → 1" || r.Verdict != release.Lossless || len(r.Came) != 1 || len(r.Went) != 0 {
		t.Errorf("0 → 1: got %s %q %s, came %v went %v", r.Kind, r.What, r.Verdict, r.Came, r.Went)
	}
	if e := h.rec.Episode(h.latest().Came[0]); e.Version != "v2" || !e.Running || e.Stage != fleet.Serving {
		t.Errorf("its episode is %+v", e)
	}
	h.workload("reviews-v2").Replicas = 0
	h.steps(60)
	if r := h.latest(); r.Kind != release.Scale || r.What != "1 replica → 0" || r.Verdict != release.Lossless || len(r.Went) != 1 {
		t.Errorf("1 → 0: got %s %q %s, went %v", r.Kind, r.What, r.Verdict, r.Went)
	}
	h.workload("reviews-v2").Revision = "r2" // of nobody
	h.steps(5)
	if n := len(h.rec.Releases()); n != 2 {
		t.Errorf("a template that nobody runs made a release: there are %d", n)
	}
}

func TestWorkloadsThatComeAndGo(t *testing.T) {
	h := bookinfo(t)
	h.deploy("details-v1", "details", "v1", 1)
	h.steps(60)
	if r := h.latest(); r.What != "new: 1 replica" || r.Verdict != release.Lossless {
		t.Errorf("new: got %q %s", r.What, r.Verdict)
	}
	h.workloads = h.workloads[:2]
	for _, a := range h.instances {
		if a.Workload == "details-v1" {
			h.leave(a)
		}
	}
	h.steps(60)
	if r := h.latest(); r.What != "removed: 1 replica → 0" || r.Verdict == release.Running || len(r.Went) != 1 {
		t.Errorf("removed: got %q %s, went %v", r.What, r.Verdict, r.Went)
	}
}

func TestReleaseDuringRelease(t *testing.T) {
	h := bookinfo(t)
	w := h.workload("reviews-v1")
	w.Revision = "r2"
	h.steps(12)
	w.Revision = "r3"
	h.workload("ratings-v1").Revision = "r2"
	h.steps(200)
	for _, r := range h.rec.Releases() {
		want := release.Lossless
		if r.What == "revision r1 → r2, 2 replicas" && r.Name == "reviews-v1" { // r3 was asked for before it was done
			want = release.Unproven
		}
		if r.Verdict != want {
			t.Errorf("%s (%s): %s, %s; want %s", r.ID, r.What, r.Verdict, r.Why, want)
		}
	}
	if n := len(h.rec.Releases()); n != 3 {
		t.Fatalf("got %d releases, want 3", n)
	}
	first, second := h.rec.Releases()[2], h.rec.Releases()[1]
	if second.Name == "ratings-v1" {
		second = h.rec.Releases()[0]
	}
	if !first.Ended.Before(second.Ended) || len(second.Came) != 2 {
		t.Errorf("first %v–%v, second %v–%v, came %v", first.Began, first.Ended, second.Began, second.Ended, second.Came)
	}
}

func TestKilledInstance(t *testing.T) {
	h := bookinfo(t)
	h.kill(h.instances[0])
	id := h.instances[0].Incarnation
	h.steps(40)
	if e := h.rec.Episode(id); e.Running || !e.Killed || e.Ended.IsZero() || !e.Left.IsZero() {
		t.Errorf("a killed instance's episode is %+v", e)
	}
	if n := len(h.rec.Releases()); n != 0 {
		t.Errorf("one that died and was replaced made a release: %+v", h.rec.Releases()[0])
	}
	h.workload("reviews-v1").Revision = "r2"
	h.steps(6)
	for _, a := range h.instances {
		if a.Workload == "reviews-v1" && a.Revision == "r2" {
			h.kill(a)
		}
	}
	h.steps(150)
	if r := h.latest(); r.Verdict != release.Lossless || r.Drains.Killed == 0 || !strings.Contains(r.Why, "ended without a leave") {
		t.Errorf("got %s: %s, drains %+v", r.Verdict, r.Why, r.Drains)
	}
}

func TestInstancesThatNobodyWasAskedFor(t *testing.T) {
	h := bookinfo(t)
	a := h.join("pay-a", "", "", "pay", "v1")
	h.steps(90)
	if r := h.latest(); r.Kind != release.Scale || r.Name != "pay:9080" || r.What != "0 instances → 1" || r.Verdict != release.Lossless {
		t.Errorf("first: got %s of %s, %q, %s", r.Kind, r.Name, r.What, r.Verdict)
	}
	b := h.join("pay-b", "", "", "pay", "v2")
	h.steps(10)
	h.leave(a)
	h.steps(90)
	r := h.latest()
	if r.Kind != release.Rollout || r.What != "version v1 → v2, 1 instance" || r.Verdict != release.Lossless || len(r.Went) != 1 {
		t.Errorf("another version: got %s, %q, %s: %s; went %v", r.Kind, r.What, r.Verdict, r.Why, r.Went)
	}
	if over := r.Ended; h.now.Sub(over) < 60*time.Second {
		t.Errorf("it is over since %v: want when the last was warm, not when that was sure", over)
	}
	h.kill(b)
	h.step()
	h.join("pay-b", "", "", "pay", "v2")
	h.steps(90)
	if r := h.latest(); r.What != "1 instance replaced" || len(r.Came) != 1 || len(r.Went) != 1 {
		t.Errorf("killed and replaced: got %q, came %v, went %v", r.What, r.Came, r.Went)
	}
	if n := len(h.rec.Releases()); n != 3 {
		t.Errorf("got %d releases, want 3", n)
	}
}

// TestEventsComeInOrder is MSE's order.
func TestEventsComeInOrder(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(120)
	kinds := func(id string) string {
		var kinds []string
		for _, m := range h.rec.Episode(id).Marks {
			kinds = append(kinds, m.Kind)
		}
		return strings.Join(kinds, " ")
	}
	up := "instance.started probe.passed registration.completed warmup.started readiness.passed warmup.ended"
	if got := kinds(h.latest().Came[0]); got != up {
		t.Errorf("up: got %s, want %s", got, up)
	}
	down := up + " offline.requested drain.started drained deregistered instance.stopped"
	if got := kinds(h.latest().Went[0]); got != down {
		t.Errorf("down: got %s, want %s", got, down)
	}
}

// TestRegistrationIsMarkedBeforeReadiness has control see late what the agent has seen.
func TestRegistrationIsMarkedBeforeReadiness(t *testing.T) {
	for _, first := range []string{"registration.completed", "readiness.passed"} {
		h := bookinfo(t)
		a := h.join("pay-a", "", "", "pay", "v1")
		h.show()
		at := map[string]time.Time{"readiness.passed": h.now, "registration.completed": h.now.Add(70 * time.Millisecond)}
		second := map[string]string{"registration.completed": "readiness.passed", "readiness.passed": "registration.completed"}[first]
		for _, kind := range []string{first, second} {
			h.news = append(h.news, fleet.Event{Time: at[kind], Kind: kind, Incarnation: a.Incarnation})
			h.show()
		}
		marks := h.rec.Episode(a.Incarnation).Marks
		if n := len(marks); n != 3 || marks[1].Kind != "registration.completed" || marks[2].Kind != "readiness.passed" || marks[1].At.After(marks[2].At) {
			t.Errorf("%s told first: got %+v", first, marks)
		}
	}
}

func TestPointsOfStartAndShutdown(t *testing.T) {
	h := bookinfo(t)
	h.workload("ratings-v1").Revision = "r2"
	h.steps(400)
	h.workload("ratings-v1").Revision = "r3"
	h.steps(120)
	e := h.rec.Episode(h.rec.Releases()[1].Came[0])
	if len(e.Points) == 0 || e.From != e.Points[0].At {
		t.Fatalf("it has %d points, from %d", len(e.Points), e.From)
	}
	start, gap := 0, int64(0)
	for i, p := range e.Points {
		if i > 0 {
			gap = max(gap, p.At-e.Points[i-1].At)
		}
		if p.At <= e.Warm.Add(60*time.Second).Unix() {
			start++
		}
		if at := time.Unix(p.At, 0); at.After(e.Warm.Add(61*time.Second)) && at.Before(e.Left.Add(-31*time.Second)) || at.After(e.Ended.Add(31*time.Second)) {
			t.Errorf("%v is neither in its start nor in its shutdown", at)
		}
	}
	if start != warming+60 || gap < 60 { // from its first request on: before that, nothing is known of it
		t.Errorf("%d points of its start, the greatest gap is %d s; want %d, and a gap between start and shutdown", start, gap, warming+60)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	h := newTheatre(t)
	h.deploy("reviews-v1", "reviews", "v1", 1)
	h.steps(30)
	for i := range 210 {
		h.join("pay", "", "", "pay", "v1")
		for range 5 {
			a := h.join("x", "", "", "x", "v1")
			h.steps(1)
			h.kill(a)
		}
		h.workload("reviews-v1").Revision = string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	h.steps(60)
	if n := len(h.rec.Releases()); n > 200 {
		t.Errorf("%d releases are kept", n)
	}
	ended := 0
	for _, e := range h.rec.Episodes() {
		if !e.Running {
			ended++
		}
	}
	if ended > 1000 {
		t.Errorf("%d ended episodes are kept", ended)
	}
}

// TestInstanceThatLeavesItsServiceFirst is gone from its service while its process still runs, and says that it is ready.
func TestInstanceThatLeavesItsServiceFirst(t *testing.T) {
	h := bookinfo(t)
	a := h.instances[0]
	h.leave(a)
	h.step()
	v := h.view()
	for i := range v.Services {
		v.Services[i].Endpoints, v.Services[i].Pools[0].Members = nil, nil
	}
	for i := range v.Instances {
		v.Instances[i].Leaving = false
	}
	h.rec.View(v, nil, h, h.now)
	e := h.rec.Episode(a.Incarnation)
	if e.Stage != fleet.Draining || len(e.Services) != 1 || e.Left.IsZero() {
		t.Errorf("got %+v; want one that drains, and was in a service", e)
	}
}
