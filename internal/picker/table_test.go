package picker

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// Probabilities works out from a table's slots how often each index is drawn.
func probabilities(t *Table) []float64 {
	p := make([]float64, len(t.slots))
	for i, s := range t.slots {
		keep := math.Ldexp(float64(s.keep()), -64)
		p[i] += keep / float64(len(t.slots))
		p[s.other()] += (1 - keep) / float64(len(t.slots))
	}
	return p
}

func sum(weights []float64) float64 {
	var total float64
	for _, w := range weights {
		total += w
	}
	return total
}

func drawWeights(t *rapid.T) []float64 {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.Just(0.0), rapid.Just(1.0), rapid.Float64Range(0, 1), rapid.Float64Range(1e-9, 1e9),
	), 1, 50).Draw(t, "weights")
}

func TestTableDrawsByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		total := sum(weights)
		table := NewTable(weights)
		if total == 0 {
			if got := table.Draw(rapid.Uint64().Draw(t, "random")); got != -1 {
				t.Fatalf("Draw without weights: got %d, want -1", got)
			}
			return
		}
		got := probabilities(table)
		if s := sum(got); math.Abs(s-1) > 1e-9 {
			t.Fatalf("probabilities sum to %v, want 1", s)
		}
		for i, w := range weights {
			if math.Abs(got[i]-w/total) > 1e-9 || (w == 0 && got[i] != 0) {
				t.Fatalf("probability of %d: got %v, want %v", i, got[i], w/total)
			}
		}
	})
}

// A scheduler that scales its weights to 16 bits never draws the last of these.
func TestTableKeepsATinyWeight(t *testing.T) {
	weights := []float64{1, 1, 1, 1e-6}
	if got, want := probabilities(NewTable(weights))[3], 1e-6/3.000001; math.Abs(got/want-1) > 1e-6 {
		t.Errorf("probability of the tiny one: got %v, want %v", got, want)
	}
}

func TestTableLeavesOutWhatIsNoWeight(t *testing.T) {
	table := NewTable([]float64{math.NaN(), 1, math.Inf(1), -1, math.Inf(-1), 0})
	for range 1000 {
		if got := table.Draw(rand.Uint64()); got != 1 {
			t.Fatalf("Draw: got %d, want 1", got)
		}
	}
	if !NewTable(nil).Empty() || !NewTable([]float64{0, math.NaN()}).Empty() {
		t.Error("a table without weights is not empty, want it to be")
	}
}

func TestDrawOtherDrawsTheOthersByWeight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, weights := range [][]float64{
		{1, 1},
		{1, 2, 3, 4},
		{1e6, 1, 2, 0, 3}, // nearly every plain draw is the one that is excepted
		{1, 2, 3, 1e6},
		{1, 2, 1e6, 4, 5},
	} {
		table := NewTable(weights)
		for except, own := range weights {
			rest := sum(weights) - own
			const n = 20_000
			got := make([]float64, len(weights))
			for range n {
				got[table.DrawOther(random.Uint64(), except)]++
			}
			for i, w := range weights {
				p := w / rest
				if i == except {
					p = 0
				}
				if z := (got[i] - n*p) / math.Sqrt(max(1, n*p*(1-p))); math.Abs(z) > 4.5 || p == 0 && got[i] > 0 {
					t.Errorf("weights %v without %d: %d drawn %v of %d times, want %v (z %.1f)", weights, except, i, got[i], n, n*p, z)
				}
			}
		}
	}
}

func TestDrawOtherNeverDrawsTheExcepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		except := rapid.IntRange(0, len(weights)-1).Draw(t, "except")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		others := 0
		for i, w := range weights {
			if i != except && w > 0 {
				others++
			}
		}
		table := NewTable(weights)
		for range 20 {
			got := table.DrawOther(random.Uint64(), except)
			switch {
			case others == 0 && got != -1:
				t.Fatalf("nobody else: got %d, want -1", got)
			case got == except, got >= 0 && weights[got] == 0:
				t.Fatalf("got %d, which must not be drawn", got)
			case got == -1 && others > 0 && !absorbed(table, weights, except):
				t.Fatalf("got -1, want one of %d others", others)
			}
		}
	})
}

// Absorbed says whether the other weights are so small that the sums round them away.
func absorbed(t *Table, weights []float64, except int) bool {
	return sum(weights)-weights[except] < 1e-9*weights[except] || t.only(except)
}
