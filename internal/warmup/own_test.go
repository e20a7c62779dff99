package warmup_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// Where all have one and the same warm-up of their own, everything is as if the pool had it.
func TestOwnIsAsThePools(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		want, wantCapacity := p.decide(0), p.measured()
		w := p.policy.Warmup
		p.policy.Warmup = fleet.Warmup{}
		for i := range p.endpoints {
			p.endpoints[i].Warmup = &w
		}
		if diff := cmp.Diff(want, p.decide(0)); diff != "" {
			t.Errorf("a decision (-the pool's +their own):\n%s", diff)
		}
		if got := p.measured(); got != wantCapacity {
			t.Errorf("capacity: got %v, want %v", got, wantCapacity)
		}
	})
}

// In a mixed pool everybody is on the curve that is in force for it, and the tick is that of somebody on the way.
func TestEverybodyIsOnTheCurveInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		if rapid.Bool().Draw(t, "the policy has none") {
			p.policy.Warmup = fleet.Warmup{}
		}
		for i := range p.endpoints {
			if rapid.Bool().Draw(t, "own") {
				w := drawWarmup(t, "own ")
				p.endpoints[i].Warmup = &w
			}
		}
		d := p.decide(0)
		shortest := time.Duration(0)
		for i, o := range d.Outcomes {
			e := &p.endpoints[i]
			w := p.policy.WarmupOf(e)
			progress := warmup.Reached(w, fleet.Member{}, max(0, e.Age), p.overlay[e.Incarnation], epoch)
			if o.Progress != progress || o.Curve != warmup.Share(w, progress) {
				t.Errorf("%d: progress %v, curve %v, want %v, %v by %+v", i, o.Progress, o.Curve, progress, warmup.Share(w, progress), w)
			}
			if e.Stage.Offered() && progress < 1 && (shortest == 0 || w.Window < shortest) {
				shortest = w.Window
			}
		}
		if p.policy.Warmup.Window > 0 {
			shortest = p.policy.Warmup.Window
		}
		s, v := p.service()
		if got := warmup.Pace(v, s, &s.Pools[0], p.overlay, epoch); got.Window != shortest {
			t.Errorf("the pool goes by a window of %v, want %v", got.Window, shortest)
		}
	})
}

// measured is the capacity that is in force after a moment in which nothing was.
func (p *pool) measured() float64 {
	s, _ := p.service()
	var c warmup.Capacity
	c.Stood(s, &s.Pools[0], 0, epoch)
	c.Measure(s, &s.Pools[0], epoch.Add(time.Second))
	return s.Pools[0].Capacity
}
