package warmup_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// What people do to a warm-up: its progress is theirs, and the reason says so until the endpoint is whole.
func TestMovedByHand(t *testing.T) {
	for _, tt := range []struct {
		name    string
		member  fleet.Member
		age     time.Duration
		mark    fleet.Mark
		share   float64
		reason  warmup.Reason
		growing bool
	}{
		{"paused, however old", fleet.Member{Base: 0.3, At: young, Paused: true}, old, fleet.Mark{}, 0.3, warmup.Manual, false},
		{"paused at its beginning", fleet.Member{Paused: true}, young, fleet.Mark{}, 0.1, warmup.Manual, false},
		{"paused when it was whole", fleet.Member{Base: 1, At: young, Paused: true, Manual: true}, old, fleet.Mark{}, 1, warmup.Full, false},
		{"resumed", fleet.Member{Base: 0.3, At: young, Manual: true}, 2 * young, fleet.Mark{}, 0.55, warmup.Manual, true},
		{"skipped", fleet.Member{Base: 1, At: young, Manual: true}, young, fleet.Mark{}, 1, warmup.Full, false},
		{"begun anew", fleet.Member{At: old, Manual: true}, old + young, fleet.Mark{}, 0.25, warmup.Manual, true},
		{"begun anew, and whole", fleet.Member{At: old, Manual: true}, 2 * old, fleet.Mark{}, 1, warmup.Full, false},
		{"paused, and back from an ejection", fleet.Member{Base: 0.6, Paused: true}, old, fleet.Mark{Progress: 0.6, Returned: epoch}, 0.3, warmup.Recovered, true},
		{"back for long", fleet.Member{Base: 0.6, Paused: true}, old, fleet.Mark{Progress: 0.6, Returned: epoch.Add(-time.Hour)}, 0.6, warmup.Manual, false},
		{"ejected", fleet.Member{Base: 0.6, Paused: true}, old, fleet.Mark{Ejected: true}, 0, warmup.Ejected, false},
	} {
		p := newPool(linear, old, tt.age)
		p.members = map[int]fleet.Member{1: tt.member}
		p.overlay["i1"] = tt.mark
		got := p.decide(0).Outcomes[1]
		if math.Abs(got.Share-tt.share) > 1e-9 || got.Reason != tt.reason || got.Growing != tt.growing {
			t.Errorf("%s: got %+v, want a share of %v (%q), growing %v", tt.name, got, tt.share, tt.reason, tt.growing)
		}
	}
}

func TestRebaseKeepsWhatPeopleDid(t *testing.T) {
	paused := fleet.Member{Endpoint: 3, Base: 0.25, At: young, Paused: true, Manual: true}
	next := fleet.Warmup{Window: time.Hour, Minimum: 0.1, Aggression: 0.5}
	got := warmup.Rebase(paused, linear, next, old)
	want := fleet.Member{Endpoint: 3, Base: 0.5, At: old, Paused: true, Manual: true} // √0.25² is 0.25
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a quadratic curve (-want +got):\n%s", diff)
	}
	if s := warmup.Share(next, warmup.Progress(next, got, 2*old)); math.Abs(s-0.25) > 1e-9 {
		t.Errorf("a day later it has a share of %v, want 0.25: it is paused", s)
	}
	if got := warmup.Rebase(paused, linear, off, old); got.Base != 1 || !got.Paused {
		t.Errorf("switched off: got %+v, want it whole and paused", got)
	}
}

// The factor is weight, in every rule that looks at weight; one that is no weight does no harm.
func TestFactorIsWeight(t *testing.T) {
	factor := func(f float64) *float64 { return &f }
	for _, tt := range []struct {
		name    string
		factors [3]*float64
		want    []float64
		reason  warmup.Reason // of the third
	}{
		{"none", [3]*float64{}, []float64{44.4, 44.4, 11.1}, warmup.New},
		{"doubled", [3]*float64{nil, nil, factor(2)}, []float64{40, 40, 20}, warmup.New},
		{"drained", [3]*float64{nil, nil, factor(0)}, []float64{50, 50, 0}, warmup.Drained},
		{"negative", [3]*float64{nil, nil, factor(-1)}, []float64{50, 50, 0}, warmup.Drained},
		{"no number", [3]*float64{nil, nil, factor(math.NaN())}, []float64{44.4, 44.4, 11.1}, warmup.New},
		{"infinite", [3]*float64{factor(math.Inf(1)), factor(math.Inf(1)), factor(math.Inf(1))}, []float64{44.4, 44.4, 11.1}, warmup.New},
		{"the greatest", [3]*float64{factor(math.MaxFloat64), nil, nil}, []float64{100, 0, 0}, warmup.New},
		{"alone", [3]*float64{factor(0), factor(0), nil}, []float64{0, 0, 100}, warmup.BypassSingle},
	} {
		p := newPool(linear, old, old, young)
		all := 0.0
		for i, f := range tt.factors {
			p.endpoints[i].Factor = f
		}
		d := p.decide(0)
		var got []float64
		for i, o := range d.Outcomes {
			all += o.Share * p.endpoints[i].Full()
		}
		for i, o := range d.Outcomes {
			got = append(got, math.Round(1000*o.Share*p.endpoints[i].Full()/all)/10)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || d.Outcomes[2].Reason != tt.reason {
			t.Errorf("%s: reason %q, parts (-want +got):\n%s", tt.name, d.Outcomes[2].Reason, diff)
		}
	}
	// Of ten that stood, one of the weight of ten is left: that is what they all did.
	p := replaced(10, 1, 10)
	p.endpoints[0].Factor = factor(10)
	if d := p.decide(0); d.Groups[0].Budget.Binds() {
		t.Errorf("one of the weight of ten binds the budget: %+v", d.Groups[0].Budget)
	}
}
