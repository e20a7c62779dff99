package warmup_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

func TestPanicThreshold(t *testing.T) {
	const window = 2 * time.Minute
	e, p := warmup.Ejected, warmup.Panic
	for _, tt := range []struct {
		name      string
		threshold float64
		ages      []time.Duration
		ejected   []string
		want      []float64
		reasons   []warmup.Reason
	}{
		{"above", 0.5, []time.Duration{old, old, old, old}, []string{"i0"}, []float64{0, 1, 1, 1}, []warmup.Reason{e, "", "", ""}},
		{"at the threshold", 0.5, []time.Duration{old, old, old, old}, []string{"i0", "i1"}, []float64{0, 0, 1, 1}, []warmup.Reason{e, e, "", ""}},
		{"below", 0.5, []time.Duration{old, old, old, old}, []string{"i0", "i1", "i2"}, []float64{1, 1, 1, 1}, []warmup.Reason{p, p, p, ""}},
		{"never", 0, []time.Duration{old, old, old, old}, []string{"i0", "i1", "i2"}, []float64{0, 0, 0, 1}, []warmup.Reason{e, e, e, ""}},
		{"cold ones stay cold", 0.6, []time.Duration{young, old, young}, []string{"i0", "i2"}, []float64{0.25, 1, 0.25}, []warmup.Reason{p, "", p}},
		{"all cold", 1, []time.Duration{young, 2 * young}, []string{"i1"}, []float64{0.5, 1}, []warmup.Reason{warmup.BypassAllCold, p}},
		{"everybody ejected", 0.5, []time.Duration{young, old}, []string{"i0", "i1"}, []float64{1, 1}, []warmup.Reason{e, e}},
		{"one alone is everybody", 1, []time.Duration{old}, nil, []float64{1}, []warmup.Reason{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := newPool(fleet.Warmup{Window: window, Minimum: 0.1}, tt.ages...)
			pool.policy.Panic = tt.threshold
			for _, incarnation := range tt.ejected {
				pool.overlay[incarnation] = fleet.Mark{Ejected: true, Progress: 1}
			}
			d := pool.decide(0)
			if diff := cmp.Diff(tt.want, shares(d)); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.reasons, reasons(d)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

// Panic brings back the ejected; it does not bring back those who drain or whose weight is 0, and these do not
// count among those out of service.
func TestPanicLeavesTheDrainedAlone(t *testing.T) {
	pool := newPool(fleet.Warmup{}, old, old, old, old)
	pool.policy.Panic = 0.9
	pool.endpoints[1].Stage = fleet.Draining
	pool.endpoints[2].Weight = 0
	pool.endpoints[3].Stage = fleet.Starting
	if diff := cmp.Diff([]float64{1, 0, 0, 0}, shares(pool.decide(0))); diff != "" {
		t.Errorf("nobody ejected (-want +got):\n%s", diff)
	}
	pool.endpoints = append(pool.endpoints, fleet.Endpoint{Incarnation: "x", Weight: 1, Stage: fleet.Serving, Age: old})
	pool.overlay["x"] = fleet.Mark{Ejected: true}
	if diff := cmp.Diff([]float64{1, 0, 0, 0, 1}, shares(pool.decide(0))); diff != "" {
		t.Errorf("one of two ejected (-want +got):\n%s", diff)
	}
}
