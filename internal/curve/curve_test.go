package curve_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/curve"
)

const (
	window  = 120 * time.Second
	longest = time.Duration(math.MaxInt64)
)

func TestShareAtAgeZeroIsTheMinimum(t *testing.T) {
	for _, minimum := range []float64{0, 1e-9, 0.01, 0.1, 1} {
		for _, aggression := range []float64{0.5, 1, 2, 1e-30, 1e30} {
			p := curve.Progress(0, 0, 0, window)
			if got := curve.Share(p, minimum, aggression); got != minimum {
				t.Errorf("Share at age 0, minimum %v, aggression %v: got %v, want the minimum", minimum, aggression, got)
			}
		}
	}
}

func TestShareAtTheWindowIsWhole(t *testing.T) {
	for _, age := range []time.Duration{window, window + 1, 10 * window, longest} {
		for _, aggression := range []float64{0.5, 1, 2, 1e-30, 1e30} {
			p := curve.Progress(0, age, 0, window)
			if got := curve.Share(p, 0.1, aggression); got != 1 {
				t.Errorf("Share at age %v, aggression %v: got %v, want 1", age, aggression, got)
			}
		}
	}
}

func TestClockGoesBack(t *testing.T) {
	for _, age := range []time.Duration{-1, -window, -longest, math.MinInt64} {
		for _, aggression := range []float64{0.5, 1, 2, 3} { // a negative to the power of a fraction is NaN
			p := curve.Progress(0, age, 0, window)
			if got := curve.Share(p, 0.1, aggression); p != 0 || got != 0.1 {
				t.Errorf("age %v, aggression %v: got progress %v, share %v, want 0, 0.1", age, aggression, p, got)
			}
		}
	}
}

func TestClockJumpsForwardBySuspension(t *testing.T) {
	if got := curve.Progress(0.25, 30*24*time.Hour, 10*time.Second, window); got != 1 {
		t.Errorf("Progress after a month's sleep: got %v, want 1", got)
	}
}

func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		name        string
		age, window time.Duration
		want        float64
	}{
		{"off, at age 0", 0, 0, 1},
		{"off, before age 0", -time.Second, 0, 1},
		{"negative is off", 0, -time.Second, 1},
		{"below a second", 250 * time.Millisecond, 500 * time.Millisecond, 0.5},
		{"below a tick", 0, time.Nanosecond, 0},
		{"below a tick, over", 1, time.Nanosecond, 1},
		{"the longest there is", longest / 2, longest, 0.5},
		{"the longest there is, at its end", longest, longest, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := curve.Progress(0, tt.age, 0, tt.window); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestProgressDoesNotOverflow(t *testing.T) {
	// age − at is beyond an int64; wrapped around it would be negative, and the endpoint cold.
	if got := curve.Progress(0, longest, math.MinInt64, time.Hour); got != 1 {
		t.Errorf("got %v, want 1", got)
	}
	if got := curve.Progress(0.5, 0, longest, time.Hour); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

func TestMinimumsOutOfRange(t *testing.T) {
	for _, tt := range []struct{ minimum, want float64 }{
		{0, 0},
		{1e-9, 1e-9},
		{1, 1},
		{10, 1},  // a percentage where a fraction belongs: never above 1
		{100, 1}, // likewise
		{101, 1},
		{-0.5, 0},
		{math.NaN(), 0},
		{math.Inf(1), 1},
		{math.Inf(-1), 0},
	} {
		if got := curve.Share(0, tt.minimum, 1); got != tt.want {
			t.Errorf("Share(0, %v, 1): got %v, want %v", tt.minimum, got, tt.want)
		}
		if got := curve.Share(1, tt.minimum, 1); got != 1 {
			t.Errorf("Share(1, %v, 1): got %v, want 1", tt.minimum, got)
		}
	}
}

func TestAggressionsOutOfRange(t *testing.T) {
	for _, aggression := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := curve.Share(0.3, 0.1, aggression); got != 0.3 {
			t.Errorf("Share(0.3, 0.1, %v): got %v, want 0.3, as with 1", aggression, got)
		}
	}
	if got := curve.Share(0.5, 0.1, 1e-30); got != 0.1 {
		t.Errorf("Share(0.5, 0.1, 1e-30): got %v, want 0.1", got)
	}
	if got := curve.Share(0.5, 0.1, 1e30); got < 0.99 || got > 1 {
		t.Errorf("Share(0.5, 0.1, 1e30): got %v, want just below 1", got)
	}
}

func TestProgressOutOfRange(t *testing.T) {
	for _, tt := range []struct{ progress, want float64 }{
		{math.NaN(), 0.1},
		{math.Inf(-1), 0.1},
		{-1, 0.1},
		{2, 1},
		{math.Inf(1), 1},
	} {
		if got := curve.Share(tt.progress, 0.1, 2); got != tt.want {
			t.Errorf("Share(%v, 0.1, 2): got %v, want %v", tt.progress, got, tt.want)
		}
	}
	if got := curve.Progress(math.NaN(), time.Hour, 0, time.Minute); got != 0 {
		t.Errorf("Progress from NaN: got %v, want 0: what makes no sense is cold", got)
	}
}

// Envoy's documentation has these points; an aggression above 1 is the faster one at first.
func TestKnownPoints(t *testing.T) {
	for _, tt := range []struct{ progress, aggression, want float64 }{
		{0.25, 0.5, 0.1}, // 0.0625, below the minimum
		{0.25, 1, 0.25},
		{0.25, 2, 0.5},
		{0.25, 5, 0.7579},
		{0.5, 0.5, 0.25}, // quadratic
		{0.5, 1, 0.5},
	} {
		if got := curve.Share(tt.progress, 0.1, tt.aggression); math.Abs(got-tt.want) > 1e-4 {
			t.Errorf("Share(%v, 0.1, %v): got %.4f, want %.4f", tt.progress, tt.aggression, got, tt.want)
		}
	}
}

func TestScaleKeepsTheSmallAndTheDrained(t *testing.T) {
	for _, tt := range []struct {
		weight uint32
		share  float64
		want   uint32
	}{
		{1, 0.1, 1}, // not rounded away
		{1, 1e-12, 1},
		{1, 1, 1},
		{100, 0.1, 10},
		{100, 1, 100},
		{100, 0, 0},
		{0, 1, 0}, // drained stays drained, however warm
		{0, 0.1, 0},
		{math.MaxUint32, 1, math.MaxUint32},
		{math.MaxUint32, 7, math.MaxUint32},
		{100, math.NaN(), 0},
	} {
		if got := curve.Scale(tt.weight, tt.share); got != tt.want {
			t.Errorf("Scale(%d, %v): got %d, want %d", tt.weight, tt.share, got, tt.want)
		}
	}
}

func TestShareIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minimum, aggression := rapid.Float64().Draw(t, "minimum"), rapid.Float64().Draw(t, "aggression")
		early, late := rapid.Float64Range(0, 1).Draw(t, "early"), rapid.Float64Range(0, 1).Draw(t, "late")
		if early > late {
			early, late = late, early
		}
		before, after := curve.Share(early, minimum, aggression), curve.Share(late, minimum, aggression)
		if !(before >= 0 && before <= after && after <= 1) {
			t.Fatalf("Share(%v) = %v, then Share(%v) = %v", early, before, late, after)
		}
	})
}

func TestShareIsContinuous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minimum := rapid.Float64Range(0, 1).Draw(t, "minimum")
		aggression := rapid.Float64Range(0.05, 20).Draw(t, "aggression")
		at := rapid.Float64Range(0, 1).Draw(t, "progress")
		const step = 1e-9
		// The steepest that x^(1/a) gets in a step is at 0 for a > 1, where it rises by step^(1/a), and at 1
		// for a < 1, where it rises by step/a.
		most := math.Pow(step, 1/aggression) + 1.1*step/aggression + 1e-12
		for _, p := range []float64{0, at, 1 - step} {
			if jump := curve.Share(p+step, minimum, aggression) - curve.Share(p, minimum, aggression); jump > most {
				t.Fatalf("Share jumps by %v at %v, want at most %v", jump, p, most)
			}
		}
	})
}

func TestShareIsExactAtBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minimum := rapid.Float64Range(0, 1).Draw(t, "minimum")
		aggression := rapid.Float64().Draw(t, "aggression")
		if got := curve.Share(0, minimum, aggression); got != minimum {
			t.Fatalf("Share(0): got %v, want %v", got, minimum)
		}
		if got := curve.Share(1, minimum, aggression); got != 1 {
			t.Fatalf("Share(1): got %v, want 1", got)
		}
	})
}

func TestInverseFindsItsWayBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(1e-6, 1).Draw(t, "share")
		aggression := rapid.Float64Range(0.01, 50).Draw(t, "aggression")
		if got := curve.Share(curve.Inverse(share, aggression), 0, aggression); math.Abs(got-share) > 1e-9 {
			t.Fatalf("Share(Inverse(%v)) = %v", share, got)
		}
	})
}

func TestNothingIsEverNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := rapid.Float64().Draw(t, "x"), rapid.Float64().Draw(t, "y"), rapid.Float64().Draw(t, "z")
		age, at := time.Duration(rapid.Int64().Draw(t, "age")), time.Duration(rapid.Int64().Draw(t, "at"))
		window := time.Duration(rapid.Int64().Draw(t, "window"))
		odd := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), x}).Draw(t, "odd")
		for _, got := range []float64{
			curve.Share(odd, y, z), curve.Share(x, odd, z), curve.Share(x, y, odd),
			curve.Inverse(odd, y), curve.Inverse(x, odd), curve.Progress(odd, age, at, window),
		} {
			if !(got >= 0 && got <= 1) {
				t.Fatalf("got %v, want something between 0 and 1", got)
			}
		}
	})
}
