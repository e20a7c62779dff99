package agent

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// A ramp has few steps, far enough apart; none is less than the curve begins with nor than the one before; the last is
// all of the weight, exactly, when the window is over.
func TestRamps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := fleet.Warmup{
			Window:     time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "window")),
			Minimum:    rapid.Float64Range(0, 1).Draw(t, "minimum"),
			Aggression: rapid.Float64Range(0.01, 100).Draw(t, "aggression"),
		}
		was, age := 0.0, time.Duration(0)
		for steps := 0; ; steps++ {
			part, lasts := rampOf(w, age)
			if lasts == 0 {
				if part != 0 || age != w.Window {
					t.Fatalf("at %v: got %v for good, want all of it, at the end of the window", age, part)
				}
				return
			}
			switch again, left := rampOf(w, age+lasts-1); {
			case again != part || left != 1:
				t.Fatalf("at %v: got %v for %v, and %v before that is over", age, part, lasts, again)
			case part < w.Minimum || part < was || part > 1:
				t.Fatalf("at %v: got %v, want no less than %v and %v", age, part, w.Minimum, was)
			case steps >= mostSteps:
				t.Fatalf("at %v: there are more than %d steps", age, mostSteps)
			case lasts < leastStep && w.Window > leastStep:
				t.Fatalf("at %v: got a step of %v", age, lasts)
			}
			was, age = part, age+lasts
		}
	})
}

// What consumers send over a tenth of the window is what the curve says, within a hundredth of the weight.
func TestARampIsItsCurve(t *testing.T) {
	for _, w := range []fleet.Warmup{
		{Window: 120 * second, Minimum: 0.1, Aggression: 0.5}, {Window: 20 * second, Aggression: 1}, {Window: time.Hour, Minimum: 0.05, Aggression: 0.25},
	} {
		const looks = 1000 // in a tenth
		for tenth := range 10 {
			ramp, curve := 0.0, 0.0
			for i := range looks {
				age := w.Window * time.Duration(tenth*looks+i) / (10 * looks)
				part, _ := rampOf(w, age)
				ramp, curve = ramp+part/looks, curve+shareOf(w, fleet.Member{}, age)/looks
			}
			if math.Abs(ramp-curve) > 0.01 {
				t.Errorf("window %v, tenth %d: got %.3f of the weight on average, want the curve's %.3f", w.Window, tenth, ramp, curve)
			}
		}
	}
}

// ramps is a Lifecycle by which the registry's weight grows.
func ramps() fleet.Lifecycle {
	c := fleet.DefaultLifecycle()
	c.Ramp = true
	return c
}

// The weight in the registry grows from when that has the instance, whatever control makes of it, and stays where it is
// when the instance leaves.
func TestALifeRamps(t *testing.T) {
	s := begin(ramps())
	s.life.Foreign, s.life.Followed, s.slow = true, true, true
	s.sight.Control = Linked // where its share is whole at once
	s.step()
	first := s.do.Ramp
	s.pass(100 * second)
	if s.want(t, Registering); s.do.Ramp != first || first < 0.1 || first > 0.12 || !s.do.Next.IsZero() {
		t.Errorf("before the registry has it: got %v, then %v, next %v, want a tenth or a little more, for as long as that takes", first, s.do.Ramp, s.do.Next)
	}
	s.slow = false
	s.step()
	s.sight.Since = s.now
	s.step()
	s.want(t, Warm)
	if next := s.do.Next.Sub(s.now); next != 6*second {
		t.Errorf("got the next look after %v, want the next step: a twentieth of 120 s", next)
	}
	s.pass(60 * second)
	half := s.do.Ramp
	if want := shareOf(s.life.cycle.Warmup, fleet.Member{}, 63*second); half != want {
		t.Errorf("after half the window: got %v, want %v", half, want)
	}
	s.sight.Wish = Leave
	s.pass(20 * second)
	if s.do.Ramp != half || s.do.Listing != Leaving {
		t.Errorf("when it leaves: got %v, listing %v, want %v, marked", s.do.Ramp, s.do.Listing, half)
	}
}

func TestALifeEndsItsRamp(t *testing.T) {
	s := begin(ramps())
	s.life.Foreign = true
	s.sight.Since = s.now
	s.step()
	s.pass(119900 * time.Millisecond)
	if s.do.Ramp == 0 {
		t.Error("it has all of its weight before its window is over")
	}
	s.pass(100 * time.Millisecond)
	if s.do.Ramp != 0 || !s.do.Next.IsZero() {
		t.Errorf("got %v, next %v, want all of its weight, and nothing to wait for", s.do.Ramp, s.do.Next)
	}
}

// Who follows the registry through crossfade, and whose Lifecycle does not say so, sees the whole weight at once.
func TestALifeDoesNotRamp(t *testing.T) {
	off := ramps()
	off.Warmup.Window = 0
	for name, tt := range map[string]struct {
		cycle   fleet.Lifecycle
		foreign bool
	}{
		"crossfade's own registry": {ramps(), false}, "not said": {fleet.DefaultLifecycle(), true}, "no window": {off, true},
	} {
		s := begin(tt.cycle)
		s.life.Foreign, s.sight.Since = tt.foreign, s.now
		s.step()
		if s.do.Ramp != 0 {
			t.Errorf("%s: got %v, want all of it", name, s.do.Ramp)
		}
	}
}

// The registry gets each step, with the full weight beside it, and control does not hear of any.
func TestARampIsPublished(t *testing.T) {
	warmup := fleet.Warmup{Window: 2 * second, Aggression: 1}
	r := beside(t, "server", func(r *run) {
		r.Foreign, r.Instance.Weight = true, 3
		r.Lifecycle = &fleet.Lifecycle{Name: "web", Warmup: warmup, Ramp: true}
	})
	r.memory.await(t, "all of its weight", func(all map[string]fleet.Instance) bool { return one(all) && all["web-1-0"].Ramp == 0 })
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	var got []float64
	for i, in := range r.memory.puts {
		got = append(got, in.Ramp)
		if in.Weight != 3 || !in.Ready || i > 0 && in.Published.Age < time.Duration(i)*second {
			t.Errorf("update %d: got weight %d, ready %v, age %v", i, in.Weight, in.Ready, in.Published.Age)
		}
	}
	if len(got) != 3 || got[0] != 0.25 || got[1] != 0.75 {
		t.Errorf("got the parts %v, want 0.25, 0.75 and all", got)
	}
}
