package figures_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/test/bench/figures"
)

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []int64
		q      float64
		want   float64
	}{
		{nil, 0.5, 0},
		{[]int64{7}, 0.99, 7},
		{[]int64{3, 1, 2}, 0, 1},
		{[]int64{3, 1, 2}, 0.5, 2},
		{[]int64{4, 1, 3, 2}, 0.5, 2.5},
		{[]int64{3, 1, 2}, 1, 3},
		{[]int64{0, 100}, 0.99, 99},
	} {
		if got := figures.Quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("Quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
		}
	}
}

func TestQuantileLeavesValuesAlone(t *testing.T) {
	values := []float64{3, 1, 2}
	figures.Quantile(values, 0.5)
	if want := []float64{3, 1, 2}; !slices.Equal(values, want) {
		t.Errorf("values are %v afterwards, want %v", values, want)
	}
}

// A quantile lies between the smallest and the largest value, and rises with q.
func TestQuantileIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 50).Draw(t, "values")
		p, q := rapid.Float64Range(0, 1).Draw(t, "p"), rapid.Float64Range(0, 1).Draw(t, "q")
		low, high := figures.Quantile(values, min(p, q)), figures.Quantile(values, max(p, q))
		if low > high*(1+1e-12) {
			t.Errorf("quantiles %v and %v are %v and %v: they fall", min(p, q), max(p, q), low, high)
		}
		if low < slices.Min(values)*(1-1e-12) || high > slices.Max(values)*(1+1e-12) {
			t.Errorf("quantiles %v and %v are outside of the values", low, high)
		}
	})
}

func TestSpread(t *testing.T) {
	if got := figures.Spread([]float64{8, 9, 10, 11, 12}); math.Abs(got-0.2) > 1e-12 {
		t.Errorf("Spread = %v, want 0.2: from 9 to 11 beside 10", got)
	}
	if got := figures.Spread([]float64{0, 0}); got != 0 {
		t.Errorf("Spread of zeros = %v, want 0", got)
	}
}

func TestSplit(t *testing.T) {
	for name, tt := range map[string]struct {
		values []float64
		upper  []bool
	}{
		"two regimes":                  {[]float64{4.0, 7.1, 3.9, 7.0, 4.1, 6.9}, []bool{false, true, false, true, false, true}},
		"one regime, noisy":            {[]float64{4.0, 4.4, 3.7, 4.2, 4.6, 3.9}, nil},
		"one regime, spread evenly":    {[]float64{4, 5, 6, 7, 8, 9}, nil},
		"apart, but not so it matters": {[]float64{4.00, 4.01, 4.00, 4.10, 4.11, 4.10}, nil},
		"an outlier is no regime":      {[]float64{4.0, 4.1, 3.9, 4.0, 9.0}, nil},
		"too few to tell":              {[]float64{4, 8, 4}, nil},
		"none":                         {nil, nil},
		"all equal":                    {[]float64{4, 4, 4, 4}, nil},
	} {
		upper, two := figures.Split(tt.values)
		if !slices.Equal(upper, tt.upper) || two != (tt.upper != nil) {
			t.Errorf("%s: Split(%v) = %v, %v, want %v", name, tt.values, upper, two, tt.upper)
		}
	}
}

// What is drawn from two regimes that lie far apart comes out as it was drawn, in whatever order.
func TestSplitFindsWhatWasMixed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var values []float64
		var want []bool
		for i := range rapid.IntRange(4, 30).Draw(t, "n") {
			upper := rapid.Bool().Draw(t, "upper")
			if i < 4 {
				upper = i%2 == 1 // two of each at least
			}
			base := 4.0
			if upper {
				base = 8
			}
			values = append(values, base*rapid.Float64Range(0.97, 1.03).Draw(t, "noise"))
			want = append(want, upper)
		}
		if got, two := figures.Split(values); !two || !slices.Equal(got, want) {
			t.Errorf("Split(%v) = %v, %v, want %v", values, got, two, want)
		}
	})
}
