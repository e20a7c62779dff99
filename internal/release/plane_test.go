package release_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/release"
)

func TestGatewayRollout(t *testing.T) {
	h := bookinfo(t)
	h.group.Revision, h.group.Restarted = "1+now", "now"
	h.steps(100)
	r := h.latest()
	if r.Kind != release.Gateway || r.What != "restart, 1 replica" || r.Verdict != release.Lossless || len(r.Came) != 1 || len(r.Went) != 1 {
		t.Errorf("got %s %q %s: %s; came %v went %v", r.Kind, r.What, r.Verdict, r.Why, r.Came, r.Went)
	}
	if r.Drains.Drained != 1 || r.Drains.Killed != 0 {
		t.Errorf("drains: got %+v", r.Drains)
	}
	h.group.Replicas = 3
	h.steps(100)
	if r := h.latest(); r.What != "1 replica → 3" || r.Verdict != release.Lossless || len(r.Came) != 2 {
		t.Errorf("got %q %s: %s; came %v", r.What, r.Verdict, r.Why, r.Came)
	}
}

func TestGatewayThatIsKilledLeavesADoubt(t *testing.T) {
	h := bookinfo(t)
	h.group.Replicas = 2
	h.steps(100)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(5)
	h.replicas = h.replicas[1:] // its supervisor starts another
	h.steps(100)
	if r := h.latest(); r.Verdict != release.Unproven || !strings.Contains(r.Why, "ingressgateway-1 ended without a last report") {
		t.Errorf("got %s: %s; want unproven", r.Verdict, r.Why)
	}
}

// TestGatewayThatSomebodyDrains is replaced by its supervisor at once: nobody sees it drained and not leaving.
func TestGatewayThatSomebodyDrains(t *testing.T) {
	h := bookinfo(t)
	h.group.Replicas = 2
	h.steps(100)
	h.replicas[0].Drained = true
	h.steps(100)
	r := h.latest()
	if r.What != "ingressgateway-1 drained" || r.Verdict != release.Lossless || r.Drains != (release.DrainSum{Instances: 1, Drained: 1}) {
		t.Errorf("got %q %s: %s, drains %+v", r.What, r.Verdict, r.Why, r.Drains)
	}
	if diff := cmp.Diff([][]string{{"ingressgateway-3"}, {"ingressgateway-1"}}, [][]string{r.Came, r.Went}); diff != "" {
		t.Errorf("who came and who went (-want +got):\n%s", diff)
	}
}

// TestGatewayThatIsKilledAndReplacedAtOnce has its successor take its name before anybody has looked.
func TestGatewayThatIsKilledAndReplacedAtOnce(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(5)
	h.replicas[0].PID++
	h.steps(100)
	if r := h.latest(); r.Verdict != release.Unproven || !strings.Contains(r.Why, "ingressgateway-1 ended without a last report") {
		t.Errorf("got %s: %s; want unproven", r.Verdict, r.Why)
	}
}

func TestGatewayThatSaysNothingIsWaitedFor(t *testing.T) {
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.silent = []string{"ingressgateway-1"}
	h.steps(50)
	if r := h.latest(); r.Verdict != release.Running || r.Came == nil || h.rec.Rest().Open[0].Over.IsZero() {
		t.Errorf("got %s before its gateway has reported, want running", r.Verdict)
	}
	h.steps(40)
	if r := h.latest(); r.Verdict != release.Unproven || !strings.Contains(r.Why, "has reported nothing") {
		t.Errorf("got %s: %s; want unproven", r.Verdict, r.Why)
	}
}

func TestGatewaysWithoutSupervisor(t *testing.T) {
	h := newTheatre(t)
	h.replicas, h.group.Replicas, h.loose = nil, 0, []string{"gw-a", "gw-b"}
	h.deploy("reviews-v1", "reviews", "v1", 1)
	h.steps(60)
	for i, id := range []string{"gw-a", "gw-b"} {
		h.drains = append(h.drains, drain.Report{ID: id, Began: h.now, Stage: drain.LameDuck})
		h.steps(3)
		h.drains[i].Stage = drain.Closed
		h.loose = []string{"gw-a", "gw-b"}[1-i : 2-i]
		h.steps(8)
		h.loose = []string{"gw-a", "gw-b"}
		h.steps(8)
	}
	h.steps(100)
	r := h.latest()
	if n := len(h.rec.Releases()); n != 1 || r.What != "2 of 2 gateways replaced" || r.Verdict != release.Lossless || r.Drains.Killed != 0 {
		t.Errorf("got %d releases, the latest %q %s: %s, drains %+v", n, r.What, r.Verdict, r.Why, r.Drains)
	}
}

func TestControlThatKnowsNoGatewaysForAMoment(t *testing.T) {
	h := newTheatre(t)
	h.replicas, h.group.Replicas, h.loose = nil, 0, []string{"gw-a"}
	h.deploy("reviews-v1", "reviews", "v1", 1)
	h.steps(60)
	h.loose = nil
	h.restart()
	h.steps(2)
	h.loose = []string{"gw-a"}
	h.steps(60)
	if n := len(h.rec.Releases()); n != 0 {
		t.Errorf("got %d releases: %+v", n, h.rec.Releases()[0])
	}
}
