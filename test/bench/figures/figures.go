// Package figures is the arithmetic of a measurement: medians, quantiles, spread, and whether figures fall into two
// groups.
package figures

import (
	"cmp"
	"math"
	"slices"
)

// Number is what can be a figure.
type Number interface{ ~int | ~int64 | ~float64 }

// Quantile returns the value below which the part q of values lies, by linear interpolation between the closest
// ranks; 0 for no values. It does not change values.
func Quantile[N Number](values []N, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return float64(sorted[low]) + (at-float64(low))*(float64(sorted[high])-float64(sorted[low]))
}

// Median returns the middle value.
func Median[N Number](values []N) float64 { return Quantile(values, 0.5) }

// Spread returns how far apart the middle half of the values lies, as a part of their median.
func Spread[N Number](values []N) float64 {
	middle := Median(values)
	if middle == 0 {
		return 0
	}
	return (Quantile(values, 0.75) - Quantile(values, 0.25)) / middle
}

// Two groups are told apart when the gap between them is wide beside what is inside them, and wide enough to matter.
const (
	gapInside = 3.0  // times the larger width of the groups' middle
	gapApart  = 0.15 // of the lower group's median
	fewest    = 2    // members of a group
)

// Split says whether values fall into two groups, and returns which of them are in the upper one. Values that make
// one group, or too few values to tell, give nil and false.
func Split(values []float64) (upper []bool, two bool) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	sorted := make([]float64, len(values))
	for i, at := range order {
		sorted[i] = values[at]
	}
	cut, least := 0, math.Inf(1)
	for i := fewest; i <= len(sorted)-fewest; i++ {
		if sum := scatter(sorted[:i]) + scatter(sorted[i:]); sum < least {
			cut, least = i, sum
		}
	}
	if cut == 0 || !apart(sorted[:cut], sorted[cut:]) {
		return nil, false
	}
	upper = make([]bool, len(values))
	for _, at := range order[cut:] {
		upper[at] = true
	}
	return upper, true
}

func apart(low, high []float64) bool {
	gap := high[0] - low[len(low)-1]
	inside := max(deviation(low), deviation(high))
	return gap > gapInside*inside && gap > gapApart*Median(low)
}

// deviation is the standard deviation.
func deviation(values []float64) float64 {
	return math.Sqrt(scatter(values) / float64(len(values)))
}

// scatter is the sum of squared distances from the mean.
func scatter(values []float64) float64 {
	var sum, mean float64
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return sum
}
