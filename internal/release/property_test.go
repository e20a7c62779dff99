package release_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// TestAnyHistory has people and bad luck do anything to a small fleet, and looks at what holds of releases whatever happens.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newTheatre(t)
		h.deploy("reviews-v1", "reviews", "v1", rapid.IntRange(0, 3).Draw(rt, "replicas"))
		h.deploy("reviews-v2", "reviews", "v2", rapid.IntRange(0, 2).Draw(rt, "replicas"))
		h.steps(40)
		h.twins = []*release.Recorder{restarted(t, h.rec)}
		asked, revision := 0, 1
		for range rapid.IntRange(1, 12).Draw(rt, "acts") {
			w := &h.workloads[rapid.IntRange(0, 1).Draw(rt, "workload")]
			switch act := rapid.SampledFrom([]string{"scale", "roll", "kill", "lose", "stop", "twin", "gateway", "stranger", "slow"}).Draw(rt, "act"); act {
			case "scale":
				if n := rapid.IntRange(0, 4).Draw(rt, "to"); n != w.Replicas {
					w.Replicas = n
					asked++
				}
			case "roll":
				revision++
				if w.Revision = fmt.Sprint("r", revision); w.Replicas > 0 {
					asked++
				}
			case "kill":
				if len(h.instances) > 0 {
					h.kill(rapid.SampledFrom(h.instances).Draw(rt, "who"))
				}
			case "lose":
				h.losing = ending.Kind(rapid.IntRange(0, ending.Kinds-1).Draw(rt, "kind")) //nolint:gosec // there are twelve
			case "stop":
				h.idle = !h.idle
			case "twin":
				h.twins[0] = restarted(t, h.twins[0])
			case "gateway":
				h.group.Revision += "+"
				asked++
			case "stranger":
				h.join("pay", "", "", "pay", "v1")
			case "slow":
				h.slow = !h.slow
			}
			for range rapid.IntRange(1, 45).Draw(rt, "seconds") {
				h.step()
				holds(rt, h)
			}
		}
		h.slow = false
		h.steps(330) // a rollout of four takes a while
		holds(rt, h)
		found := 0
		for _, r := range h.rec.Releases() {
			if r.Name != "pay:9080" {
				found++
			}
			if !r.Verdict.Over() {
				rt.Errorf("%s (%s) is not over: %s; came %v, went %v", r.ID, r.What, r.Why, r.Came, r.Went)
			}
		}
		if found != asked {
			rt.Errorf("%d changes were asked for, %d releases were recognised", asked, found)
		}
		if diff := cmp.Diff(h.rec.State(), h.twins[0].State()); diff != "" {
			rt.Errorf("a recorder that was restarted knows something else (-never +restarted):\n%s", diff)
		}
	})
}

// holds checks what is true of releases and episodes at any time.
func holds(t *rapid.T, h *theatre) {
	for _, r := range h.rec.Releases() {
		var sum ending.Sums
		var lost uint64
		for _, by := range r.ByService {
			sum.Add(&by)
		}
		for _, l := range r.Losses {
			lost += l.N
		}
		switch {
		case sum != r.Requests || lost != r.Requests.Lost():
			t.Fatalf("%s: requests %v, by service %v, losses %v", r.ID, r.Requests, r.ByService, r.Losses)
		case r.Verdict.Over() == r.Ended.IsZero():
			t.Fatalf("%s: %s, and ended %v", r.ID, r.Verdict, r.Ended)
		case r.Verdict == release.Lossless && (lost > 0 || r.Requests[ending.Served] == 0 || len(r.Doubts) > 0):
			t.Fatalf("%s: lossless with %v, %v", r.ID, r.Requests, r.Doubts)
		case r.Verdict == release.Lossy && lost == 0, r.Verdict == release.Unproven && lost > 0:
			t.Fatalf("%s: %s with %d lost", r.ID, r.Verdict, lost)
		}
		for _, id := range slices.Concat(r.Came, r.Went) {
			e := h.rec.Episode(id)
			if r.Kind != release.Gateway && (e == nil || !r.Ended.IsZero() && e.Stage == fleet.Starting) {
				t.Fatalf("%s is over with %+v", r.ID, e)
			}
		}
	}
	for _, e := range h.rec.Episodes() {
		if e.Running == !e.Ended.IsZero() || !e.Warm.IsZero() && e.Warm.Before(e.Offered) || !e.Ended.IsZero() && e.Ended.Before(e.Began) {
			t.Fatalf("no life is like that: %+v", e)
		}
		if !slices.IsSortedFunc(e.Marks, func(a, b release.Mark) int { return a.At.Compare(b.At) }) ||
			!slices.IsSortedFunc(e.Points, func(a, b release.Point) int { return int(a.At - b.At) }) {
			t.Fatalf("%s: marks or points are out of order", e.ID)
		}
	}
}

// TestRequestsAreThoseOfItsTime compares a release's count with what was counted at its first view and at its verdict.
func TestRequestsAreThoseOfItsTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newTheatre(t)
		h.deploy("reviews-v1", "reviews", "v1", 2)
		h.steps(rapid.IntRange(40, 60).Draw(rt, "before"))
		h.workload("reviews-v1").Replicas = 3
		var first, last ending.Sums
		for range 120 {
			h.losing = ending.Kind(rapid.IntRange(0, ending.Kinds-1).Draw(rt, "kind")) //nolint:gosec // there are twelve
			running := len(h.rec.Releases()) == 0 || h.latest().Verdict == release.Running
			h.step()
			switch {
			case first == (ending.Sums{}):
				first = h.Ended("reviews:9080")
			case running && h.latest().Verdict != release.Running:
				last = h.Ended("reviews:9080")
			}
		}
		if got, want := h.latest().Requests, last.Since(&first); got != want || want.Ended() == 0 {
			rt.Errorf("got %v, want %v", got, want)
		}
		if wait := h.now.Sub(h.latest().Ended); wait < 60*time.Second {
			rt.Errorf("it ended %v ago", wait)
		}
	})
}
