// Package curve says what part of its full weight an endpoint gets at a point of its warm-up.
//
// Progress runs from 0 to 1. The share is max(minimum, progress^(1/aggression)): the formula of Envoy's slow
// start and of Istio's warmup. Every function here is total: whatever comes in, what goes out is between 0 and
// 1 and never NaN, and what cannot be made sense of counts as cold.
package curve

import (
	"math"
	"time"
)

// The least and the greatest aggression. Those beyond differ from a step in name only, and their inverse would leave
// the range of a float64: what lies outside counts as the nearer one.
const (
	Flattest = 0.01
	Steepest = 100
)

// Progress returns base + (age − at) / window, within 0 and 1: how far a ramp has come that stood at base when
// its endpoint's age was at. A window of 0 or less is no ramp: progress is 1.
func Progress(base float64, age, at, window time.Duration) float64 {
	if window <= 0 {
		return 1
	}
	// In floating point, because the difference of two extreme durations overflows.
	return Unit(base + (float64(max(0, age))-float64(at))/float64(window))
}

// Share returns the part of its full weight that an endpoint gets at progress. It is continuous and never
// falls as progress grows; it is exactly minimum at 0 and exactly 1 at 1. An aggression above 1 is faster at
// first, below 1 slower; 0.5 is quadratic. An aggression that is no positive number counts as 1.
func Share(progress, minimum, aggression float64) float64 {
	p := Unit(progress)
	if a := exponent(aggression); a != 1 {
		p = math.Pow(p, 1/a)
	}
	return max(Unit(minimum), p)
}

// Inverse returns the progress at which a curve without a minimum reaches share: share^aggression. It places
// an endpoint on a new curve where its share does not jump.
func Inverse(share, aggression float64) float64 {
	return math.Pow(Unit(share), exponent(aggression))
}

// Scale returns an integer weight scaled by share, for places that know no fractions. It is at least 1 while
// both weight and share are above 0, and 0 when either is 0: a drained endpoint stays drained however warm.
func Scale(weight uint32, share float64) uint32 {
	s := Unit(share)
	if weight == 0 || s == 0 {
		return 0
	}
	return uint32(max(1, float64(weight)*s)) //nolint:gosec // s is at most 1, so that it fits
}

// Unit returns x within 0 and 1; NaN counts as 0.
func Unit(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

func exponent(aggression float64) float64 {
	if !(aggression > 0) || math.IsInf(aggression, 1) {
		return 1
	}
	return min(max(aggression, Flattest), Steepest)
}
