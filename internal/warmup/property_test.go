package warmup_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

func drawPool(t *rapid.T) *pool {
	p := newPool(drawWarmup(t, ""))
	for i := range rapid.IntRange(1, 12).Draw(t, "endpoints") {
		e := fleet.Endpoint{
			Incarnation: fmt.Sprint("i", i),
			Weight:      rapid.SampledFrom([]uint32{0, 1, 1, 1, 3, 100}).Draw(t, "weight"),
			Stage:       fleet.Stage(rapid.SampledFrom([]uint8{0, 1, 1, 2, 2, 3, 4}).Draw(t, "stage")),
			Age:         time.Duration(rapid.Int64Range(-int64(time.Second), int64(2*time.Hour)).Draw(t, "age")),
		}
		if rapid.IntRange(0, 3).Draw(t, "marked") == 0 {
			p.overlay[e.Incarnation] = fleet.Mark{
				Ejected:  rapid.Bool().Draw(t, "ejected"),
				Progress: rapid.Float64Range(0, 2).Draw(t, "progress"),
				Returned: epoch.Add(-time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "returned"))),
			}
		}
		p.endpoints = append(p.endpoints, e)
	}
	p.capacity = rapid.Float64Range(0, 300).Draw(t, "capacity")
	p.policy.ShiftBudget = rapid.SampledFrom([]float64{0, 1, 1.3, 2, 10}).Draw(t, "lambda")
	return p
}

func TestDecideHoldsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		d := p.decide(0)
		var offered, got, most int
		var effective float64
		for i, o := range d.Outcomes {
			e := &p.endpoints[i]
			may := e.Stage.Offered() && e.Weight > 0
			switch {
			case !(o.Share >= 0 && o.Share <= 1):
				t.Fatalf("share of %d: got %v", i, o.Share)
			case o.Share > 0 && !may:
				t.Fatalf("%d is %v with weight %d, got a share of %v", i, e.Stage, e.Weight, o.Share)
			case o.Share > 0 && o.Share < d.Groups[0].Budget.Floor:
				t.Fatalf("share of %d: got %v below the floor %v", i, o.Share, d.Groups[0].Budget.Floor)
			}
			if may {
				offered++
			}
			if o.Share > 0 {
				got++
			}
			if o.Share == 1 {
				most++
			}
			effective += o.Share * float64(e.Weight)
		}
		if offered > 0 && (got == 0 || most == 0) {
			t.Fatalf("%d are offered, %d get something, %d a full share; want one full share at least", offered, got, most)
		}
		if b := d.Groups[0].Budget; b.Binds() && b.Floor < 1 && math.Abs(effective-b.Needed) > 1e-6*b.Needed {
			t.Fatalf("the floor %v gives %v, want exactly %v", b.Floor, effective, b.Needed)
		}
	})
}

// Nobody's part of the requests jumps while time passes, whoever arrives in the meantime.
func TestTimeAloneMakesNoSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.policy.Warmup.Window = time.Minute
		p.policy.Warmup.Aggression = rapid.Float64Range(0.5, 2).Draw(t, "gentle aggression")
		p.policy.Warmup.Minimum = rapid.Float64Range(0.01, 1).Draw(t, "a minimum")
		for i := range p.endpoints {
			p.endpoints[i].Age = time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "young age"))
		}
		at := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "at"))
		a, b := p.decide(at), p.decide(at+time.Microsecond)
		for i := range a.Outcomes {
			if x, y := a.Outcomes[i].Share, b.Outcomes[i].Share; math.Abs(x-y) > 0.01 {
				t.Fatalf("%d at %v: share %v becomes %v in a microsecond", i, at, x, y)
			}
		}
	})
}

// On its own the share of somebody who warms up only grows.
func TestShareNeverFallsWhileTheWorldStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.capacity = 0
		// Shares are relative to the warmest; with one that is warm they are the curve's own.
		p.endpoints = append(p.endpoints, fleet.Endpoint{Incarnation: "warm", Weight: 1, Stage: fleet.Serving, Age: 1000 * time.Hour})
		var last []warmup.Outcome
		for _, later := range []time.Duration{0, time.Second, time.Minute, 10 * time.Minute, 3 * time.Hour} {
			d := p.decide(later)
			for i := range last {
				if d.Outcomes[i].Share < last[i].Share {
					t.Fatalf("share of %d falls from %v to %v at %v", i, last[i].Share, d.Outcomes[i].Share, later)
				}
			}
			last = d.Outcomes
		}
	})
}
