package picker

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestPairsAreDifferentWhereTheyCanBe(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := NewPairs([]float64{1, 2, 3}, []float64{1, 1, 1})
	for range 1000 {
		if first, second := p.Draw(random.Uint64(), -1); first == second {
			t.Fatalf("got %d twice", first)
		}
	}
	if first, second := NewPairs([]float64{0, 1}, []float64{1, 1}).Draw(random.Uint64(), -1); first != 1 || second != 1 {
		t.Errorf("one alone: got %d, %d, want 1, 1", first, second)
	}
	if first, second := NewPairs(nil, nil).Draw(random.Uint64(), -1); first != -1 || second != -1 {
		t.Errorf("nobody: got %d, %d, want -1, -1", first, second)
	}
}

// Whoever is first comes up by weight; a cold second stays with its own probability, and is otherwise replaced
// by one that is warm.
func TestPairsFollowTheirOdds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	weights, stay := []float64{1, 1, 0.5}, []float64{1, 1, 0.0625}
	p := NewPairs(weights, stay)
	const n = 200_000
	var first [3]float64
	var coldSecond, warmFirst float64
	for range n {
		a, b := p.Draw(random.Uint64(), -1)
		first[a]++
		if a != 2 {
			warmFirst++
			if b == 2 {
				coldSecond++
			}
		}
		if a == b {
			t.Fatal("got the same twice, want another: two are warm")
		}
	}
	for i, w := range weights {
		if want := n * w / 2.5; math.Abs(first[i]-want) > 4.5*math.Sqrt(want) {
			t.Errorf("index %d was first %v times, want %v", i, first[i], want)
		}
	}
	// Among the others than the first, the cold one has a third of the weight.
	if want := warmFirst * 0.0625 / 3; math.Abs(coldSecond-want) > 4.5*math.Sqrt(want) {
		t.Errorf("the cold one was second %v times, want %v", coldSecond, want)
	}
}

func TestColdSecondWithoutAWarmOneYieldsToTheFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	p := NewPairs([]float64{1, 0.01}, []float64{1, 0})
	for range 10_000 {
		switch first, second := p.Draw(random.Uint64(), -1); {
		case first == 0 && second != 0:
			t.Fatal("the cold one was second")
		case first == 1 && second != 0:
			t.Fatal("the cold one has no warm one beside it")
		}
	}
}

// Weights at the edge of what a float64 holds are weights all the same.
func TestTinyWeights(t *testing.T) {
	for _, tiny := range []float64{5e-324, 1.1125369292536007e-308, 1e-300} {
		table := NewTable([]float64{0, tiny, 0})
		for random := range uint64(1000) {
			if got := table.Draw(Mix(random)); got != 1 {
				t.Fatalf("weight %g: got %d, want the only one that has any", tiny, got)
			}
		}
	}
}

func TestPairsExcept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		stay := make([]float64, len(weights))
		for i := range stay {
			stay[i] = rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "stay")
		}
		except := rapid.IntRange(-1, len(weights)-1).Draw(t, "except")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		p := NewPairs(weights, stay)
		for range 10 {
			first, second := p.Draw(random.Uint64(), except)
			for _, i := range []int{first, second} {
				switch {
				case i < 0 && sum(weights) > 0, i >= 0 && weights[i] == 0:
					t.Fatalf("got %d", i)
				case i >= 0 && i == except && !absorbed(p.all, weights, except):
					t.Fatalf("got %d, which was excepted", i)
				}
			}
		}
	})
}
