package release_test

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/release"
)

// die has everybody of a revision die who is not ready yet.
func (h *theatre) die(revision string) {
	for _, a := range h.instances {
		if a.Revision == revision && !a.stage.Offered() {
			h.kill(a)
		}
	}
}

// TestARolloutThatComesNoNearerStalls has instances that die and are started again for ever, and ones that live and never become ready.
func TestARolloutThatComesNoNearerStalls(t *testing.T) {
	for _, dies := range []bool{true, false} {
		h := bookinfo(t)
		h.slow = true
		w := h.workload("reviews-v1")
		w.Revision, w.Deadline = "r2", 90*time.Second
		look := func(seconds int) release.Verdict {
			for range seconds {
				if h.step(); dies {
					h.die("r2")
				}
			}
			return h.latest().Verdict
		}
		if got := look(80); got != release.Running {
			t.Errorf("dies %t: after 80 s of 90 it is %s", dies, got)
		}
		h.restart() // time in which nobody looked does not count
		if got := look(80); got != release.Running {
			t.Errorf("dies %t: 80 s after a restart it is %s", dies, got)
		}
		got := look(20)
		r := h.latest()
		want := "it has come no nearer for 90s: 0 of 2 replicas ready"
		if dies {
			want += "; reviews-v1-"
		}
		if got != release.Stalled || got.Over() || !strings.HasPrefix(r.Why, want) || dies && !strings.Contains(r.Why, ": instance.died; ") || !r.Ended.IsZero() {
			t.Errorf("dies %t: after 100 s it is %s: %s; want it stalled: %s", dies, got, r.Why, want)
		}
		h.restart()
		h.losing = ending.Reset
		look(1) // it is counted on
		h.slow, h.losing, dies = false, ending.Served, false
		if got := look(10); got != release.Running {
			t.Errorf("mended it is %s", got)
		}
		if look(150); h.latest().Verdict != release.Lossy || h.latest().Requests.Lost() != 1 {
			t.Errorf("in the end it is %s: %s; want the loss that came while it had stalled", h.latest().Verdict, h.latest().Why)
		}
	}
}

// TestWhatTakesLongHasNotStalled: a warm-up and a leave that take longer than the deadline, and nobody's deadline is a default one.
func TestWhatTakesLongHasNotStalled(t *testing.T) {
	h := bookinfo(t)
	w := h.workload("reviews-v1")
	w.Revision, w.Deadline = "r2", 5*time.Second // starting takes 2 s, warming 20, leaving 3
	for range 100 {
		if h.step(); h.latest().Verdict == release.Stalled {
			t.Fatalf("%s: %s", h.latest().Verdict, h.latest().Why)
		}
	}
	if r := h.latest(); r.Verdict != release.Lossless {
		t.Errorf("%s: %s", r.Verdict, r.Why)
	}
	h.slow = true
	w.Revision, w.Deadline = "r3", 0
	for at := range 700 {
		if h.step(); at < 600 && h.latest().Verdict == release.Stalled || at > 605 && h.latest().Verdict != release.Stalled {
			t.Fatalf("after %d s without a deadline it is %s", at, h.latest().Verdict)
		}
	}
}

// TestAGatewayThatIsNeverReadyStalls, and nothing that has stalled is over.
func TestAGatewayThatIsNeverReadyStalls(t *testing.T) {
	h := bookinfo(t)
	h.group.Revision, h.group.Binary, h.stuck = "2", "/opt/new", true
	h.steps(700)
	if r := h.latest(); r.Verdict != release.Stalled || !strings.Contains(r.Why, "0 of 1 replica ready") {
		t.Errorf("%s: %s", r.Verdict, r.Why)
	}
	h.stuck = false
	if h.steps(30); h.latest().Verdict != release.Lossless {
		t.Errorf("%s: %s", h.latest().Verdict, h.latest().Why)
	}
}

// TestWhatNeverCameToBeIsNotLossless: a rollout that is taken back has lost nothing, and is nothing to be proud of.
func TestWhatNeverCameToBeIsNotLossless(t *testing.T) {
	for _, c := range []struct {
		name    string
		broken  bool // nobody of the new revision becomes ready
		losing  ending.Kind
		next    func(h *theatre)
		first   release.Verdict
		because string
	}{
		{"crash loop, rolled back", true, ending.Served, func(h *theatre) { h.workload("reviews-v1").Revision = "r1" }, release.Unproven, "it never came to be as it was asked for: reviews-v1-"},
		{"rolled back halfway", false, ending.Served, func(h *theatre) { h.workload("reviews-v1").Revision = "r1" }, release.Unproven, "requests, none lost"},
		{"crash loop, scaled", true, ending.Served, func(h *theatre) { h.workload("reviews-v1").Replicas = 3 }, release.Unproven, "it never came to be"},
		{"scaled meanwhile", false, ending.Served, func(h *theatre) { h.workload("reviews-v1").Replicas = 3 }, release.Lossless, "none lost"},
		{"rolled back with a loss", false, ending.Reset, func(h *theatre) { h.workload("reviews-v1").Revision = "r1" }, release.Lossy, "; it never came to be as it was asked for"},
		{"removed", true, ending.Served, func(h *theatre) { h.workloads = h.workloads[1:] }, release.Unproven, "it never came to be"},
	} {
		h := bookinfo(t)
		h.slow, h.losing = c.broken, c.losing
		h.workload("reviews-v1").Revision = "r2"
		for range 12 {
			if h.step(); c.broken {
				h.die("r2")
			}
		}
		c.next(h)
		h.slow = false
		for range 250 {
			if h.step(); c.broken && len(h.workloads) > 1 && h.workload("reviews-v1").Revision == "r1" {
				h.die("r2")
			}
		}
		all := h.rec.Releases()
		first, next := all[len(all)-1], all[len(all)-2]
		if first.Verdict != c.first || !strings.Contains(first.Why, c.because) || first.Overtaken != next.ID || next.Overtaken != "" {
			t.Errorf("%s: the first is %s: %s, overtaken by %q; want %s: %s", c.name, first.Verdict, first.Why, first.Overtaken, c.first, c.because)
		}
		if want := map[bool]release.Verdict{true: release.Lossy, false: release.Lossless}[c.losing != ending.Served]; next.Verdict != want && c.name != "removed" {
			t.Errorf("%s: the next is %s: %s; want %s", c.name, next.Verdict, next.Why, want)
		}
		if strings.Count(first.Why, "never came to be") > 1 {
			t.Errorf("%s: it is said twice: %s", c.name, first.Why)
		}
	}
}

// TestARolloutThatIsOvertakenBeforeAnybodyCame is no success, though what is asked for next is of the same revision.
func TestARolloutThatIsOvertakenBeforeAnybodyCame(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.show()
	h.workload("reviews-v1").Replicas = 3
	h.steps(150)
	all := h.rec.Releases()
	if first := all[len(all)-1]; first.Kind != release.Rollout || len(first.Came) > 0 || first.Verdict != release.Unproven || !strings.Contains(first.Why, "it never came to be") {
		t.Errorf("got %s, %v came: %s: %s; want it unproven", first.Kind, first.Came, first.Verdict, first.Why)
	}
	if next := all[0]; next.Verdict != release.Lossless || len(next.Came) != 3 {
		t.Errorf("the next is %s: %s; %v came", next.Verdict, next.Why, next.Came)
	}
}
