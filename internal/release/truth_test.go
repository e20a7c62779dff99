package release_test

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/release"
)

// TestWhatServicesLostIsAGatewaysLoss: an application may hide from the outside that a call of its own was lost.
func TestWhatServicesLostIsAGatewaysLoss(t *testing.T) {
	for _, lost := range []uint64{0, 3} {
		h := bookinfo(t)
		h.ended[release.Mesh] = &ending.Sums{ending.Served: 100, ending.Parted: 5} // from before
		h.group.Revision, h.group.Restarted = "1+now", "now"
		h.steps(3)
		h.ended[release.Mesh][ending.Served] += 10
		h.ended[release.Mesh][ending.Parted] += lost
		h.steps(100)
		r, want := h.latest(), release.Lossless
		if lost > 0 {
			want = release.Lossy
		}
		if r.Verdict != want || !strings.Contains(r.Why, " between services)") || r.Requests[ending.Parted] != lost || len(r.Services) != 0 {
			t.Errorf("%d lost between services: got %s: %s, %v, services %v; want %s", lost, r.Verdict, r.Why, r.Requests, r.Services, want)
		}
	}
}

// TestAProcessThatEndedUnseenLeavesADoubt: nobody has missed its data plane, since another process took its name.
func TestAProcessThatEndedUnseenLeavesADoubt(t *testing.T) {
	for upto, want := range map[time.Duration]release.Verdict{-time.Second: release.Lossless, 2 * time.Second: release.Unproven} {
		h := bookinfo(t)
		h.workload("reviews-v1").Revision = "r2"
		h.step()
		began := h.latest().Began
		h.steps(5)
		for range 2 {
			h.rec.Broke("gw-a", began.Add(upto))
			h.rec.Broke("gw-b", began.Add(2*time.Second), "details:9080") // which passes something else
		}
		h.steps(100)
		if r := h.latest(); r.Verdict != want || strings.Count(r.Why, "gw-a ended without a last report") > 1 || strings.Contains(r.Why, "gw-b") {
			t.Errorf("ended %v after it began: got %s: %s; want %s", upto, r.Verdict, r.Why, want)
		}
	}
}

// TestAReleaseThatWasLostHalfEnds: what its counts are the difference of is not to be read any more.
func TestAReleaseThatWasLostHalfEnds(t *testing.T) {
	for _, losing := range []ending.Kind{ending.Served, ending.Reset} {
		h := bookinfo(t)
		h.workload("reviews-v1").Revision = "r2"
		h.losing = losing
		h.steps(8)
		h.rec = release.New(release.State{Releases: h.rec.State().Releases})
		want := release.Unproven
		if losing != ending.Served {
			want = release.Lossy
		}
		if r := h.latest(); r.Verdict != want || !strings.Contains(r.Why, "damaged") || r.Ended.Before(r.Began) || r.Counted.IsZero() {
			t.Errorf("got %s: %s, ended %v; want %s, since part of it is gone", r.Verdict, r.Why, r.Ended, want)
		}
		h.losing = ending.Served
		h.steps(100)
	}
}

// TestTheClockIsSetBack: releases that run come to their end, those that have ended are finished, and episodes are recorded.
func TestTheClockIsSetBack(t *testing.T) {
	for _, after := range []int{1, 8, 30, 45, 50, 53, 70} {
		h := bookinfo(t)
		h.workload("reviews-v1").Revision = "r2"
		h.steps(after)
		h.now = h.now.Add(-time.Hour)
		for _, a := range h.instances { // ages are counted by a clock that nobody sets
			a.since, a.offered = a.since.Add(-time.Hour), a.offered.Add(-time.Hour)
		}
		h.steps(150)
		r := h.latest()
		if n := len(h.rec.Rest().Open); r.Verdict != release.Lossless || n != 0 || r.Ended.Before(r.Began) {
			t.Errorf("set back after %d s: got %s: %s, from %v to %v, %d open", after, r.Verdict, r.Why, r.Began, r.Ended, n)
		}
		h.workload("reviews-v1").Revision = "r3"
		h.steps(150)
		for _, id := range h.latest().Went {
			points := h.rec.Episode(id).Points
			for i := 1; i < len(points); i++ {
				if points[i].At <= points[i-1].At {
					t.Fatalf("set back after %d s: %s has second %d after %d", after, id, points[i].At, points[i-1].At)
				}
			}
			if left := h.rec.Episode(id).Left.Unix(); len(points) == 0 || points[len(points)-1].At < left-2 { // nothing is sent to it from there on
				t.Errorf("set back after %d s: nothing of %s was recorded when it left, at %d", after, id, left)
			}
		}
	}
}

// TestARolloutThatNeverEndsIsBounded: its instances die and are started again for ever.
func TestARolloutThatNeverEndsIsBounded(t *testing.T) {
	h := bookinfo(t)
	h.slow = true
	h.workload("reviews-v1").Revision = "r2"
	for range 1300 {
		for _, a := range h.instances {
			if a.Revision == "r2" {
				h.kill(a)
			}
		}
		h.step()
	}
	if r := h.latest(); r.Verdict != release.Stalled || len(r.Came) > 1000 || len(r.Went) > 1000 || len(r.Came) < 900 {
		t.Errorf("got %s, %d came, %d went; want it stalled, and 1000 at most", r.Verdict, len(r.Came), len(r.Went))
	}
	h.slow = false
	h.steps(150)
	if r := h.latest(); r.Verdict != release.Lossless {
		t.Errorf("got %s: %s", r.Verdict, r.Why)
	}
}

// TestWhatIsLostAfterwardsIsSaid: a request that waited long may have been sent while the release ran; the verdict is given by then.
func TestWhatIsLostAfterwardsIsSaid(t *testing.T) {
	h := bookinfo(t)
	h.workload("ratings-v1").Revision = "r2"
	for !h.latestOver() {
		h.step()
	}
	h.losing = ending.Timeout
	h.steps(4)
	h.restart()
	h.losing = ending.Served
	h.steps(70)
	h.losing = ending.Timeout // later than a minute
	h.steps(4)
	if r := h.latest(); r.Verdict != release.Lossless || r.LostAfter != 4 || r.Requests.Lost() != 0 {
		t.Errorf("got %s, %d lost after it, want lossless and 4", r.Verdict, r.LostAfter)
	}
}

// latestOver says whether there is a release, and the newest is over.
func (h *theatre) latestOver() bool {
	r := h.rec.Release("latest")
	return r != nil && r.Verdict.Over()
}

// TestALossyOneSaysWhoDied, since that is where to look first.
func TestALossyOneSaysWhoDied(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(6)
	h.count("reviews:9080", ending.Refused)
	for _, a := range h.instances {
		if a.Workload == "reviews-v1" && a.Revision == "r2" {
			h.kill(a)
		}
	}
	h.steps(150)
	if r := h.latest(); r.Verdict != release.Lossy || !strings.Contains(r.Why, "; 2 instances ended without a leave") {
		t.Errorf("got %s: %s", r.Verdict, r.Why)
	}
}

// TestAReleaseTellsWhoDied, though that is told before the instance is missed; and tells nothing twice.
func TestAReleaseTellsWhoDied(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.step()
	old := h.instances[0]
	h.tell("instance.died", old)
	h.show() // it is still there
	h.kill(old)
	h.news = nil
	h.steps(150)
	told := map[string]int{}
	for i, e := range h.latest().Events {
		told[e.Kind+" "+e.Incarnation+" "+e.Time.String()]++
		if i > 0 && e.Time.Before(h.latest().Events[i-1].Time) {
			t.Errorf("%s is out of order", e.Kind)
		}
	}
	died := false
	for what, n := range told {
		died = died || strings.HasPrefix(what, "instance.died "+old.Incarnation)
		if n > 1 {
			t.Errorf("%s is told %d times", what, n)
		}
	}
	if !died {
		t.Errorf("nobody tells that %s died: %v", old.Incarnation, told)
	}
}
