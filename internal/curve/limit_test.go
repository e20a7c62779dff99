package curve_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/curve"
)

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		share             float64
		least, most, want int
	}{
		{0, 8, 512, 8},
		{0.5, 8, 512, 64},
		{0.1, 8, 512, 12},
		{0.999999, 8, 512, 512},
		{1, 8, 512, 0},
		{2, 8, 512, 0},
		{-1, 8, 512, 8},
		{math.NaN(), 8, 512, 8},
		{0, 0, 512, 1},
		{0.5, 8, 4, 8},
		{0.5, 0, 0, 1},
	} {
		if got := curve.Limit(tt.share, tt.least, tt.most); got != tt.want {
			t.Errorf("Limit(%v, %d, %d) = %d, want %d", tt.share, tt.least, tt.most, got, tt.want)
		}
	}
}

// It never falls as the share grows, and stays between its bounds until there is none.
func TestLimitGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least, most := rapid.IntRange(1, 1000).Draw(t, "least"), rapid.IntRange(1, 100_000).Draw(t, "most")
		a, b := rapid.Float64Range(0, 1).Draw(t, "a"), rapid.Float64Range(0, 1).Draw(t, "b")
		low, high := curve.Limit(min(a, b), least, most), curve.Limit(max(a, b), least, most)
		if high != 0 && low > high {
			t.Fatalf("got %d at %v and %d at %v", low, min(a, b), high, max(a, b))
		}
		if min(a, b) < 1 && (low < least || low > max(least, most)) {
			t.Fatalf("got %d at %v, want %d to %d", low, min(a, b), least, max(least, most))
		}
	})
}
