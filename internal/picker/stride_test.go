package picker

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func randomPositions(n int, seed uint64) []uint64 {
	random := rand.New(rand.NewPCG(seed, 0))
	p := make([]uint64, n)
	for i := range p {
		p[i] = random.Uint64()
	}
	return p
}

func TestStrideIsARoundRobinForEquals(t *testing.T) {
	s := NewStride([]float64{2, 2, 2}, randomPositions(3, 1), 1)
	for i, want := range []int{1, 2, 0, 1, 2, 0} {
		if got := s.Next(); got != want {
			t.Fatalf("pick %d: got %d, want %d", i, got, want)
		}
	}
}

func TestStrideWithoutWeights(t *testing.T) {
	s := NewStride([]float64{0, math.NaN(), -1}, make([]uint64, 3), 0)
	if got := s.Next(); got != -1 {
		t.Errorf("Next: got %d, want -1", got)
	}
	if got := s.Cursor(); got != -1 {
		t.Errorf("Cursor: got %d, want -1", got)
	}
}

// Over whatever stretch of rounds, nobody is more than one choice away from its weight: that is what tells a
// round robin from a draw.
func TestStrideIsNeverOffByMoreThanOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		if sum(weights) == 0 {
			return
		}
		greatest := 0.0
		for _, w := range weights {
			greatest = max(greatest, w)
		}
		start := rapid.IntRange(0, len(weights)-1).Draw(t, "start")
		s := NewStride(weights, randomPositions(len(weights), rapid.Uint64().Draw(t, "seed")), start)
		rounds := uint64(rapid.IntRange(1, 100).Draw(t, "rounds"))
		got := make([]float64, len(weights))
		for end := uint64(len(s.entries))*rounds + s.visits.Load(); ; {
			i := s.Next()
			if s.visits.Load() > end {
				break
			}
			got[i]++
		}
		for i, w := range weights {
			if want := w / greatest * float64(rounds); math.Abs(got[i]-want) > 1+1e-6 {
				t.Fatalf("weight %v of %v in %d rounds: chosen %v times, want %v ± 1", w, greatest, rounds, got[i], want)
			}
		}
	})
}

// To build a stride again, from its positions and its cursor, changes nothing of what it chooses.
func TestStrideGoesOnWhereItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		seed := rapid.Uint64().Draw(t, "seed")
		whole := NewStride(weights, randomPositions(len(weights), seed), 0)
		part := NewStride(weights, randomPositions(len(weights), seed), 0)
		for range rapid.IntRange(1, 10).Draw(t, "rebuilds") {
			for range rapid.IntRange(0, 30).Draw(t, "picks") {
				if got, want := part.Next(), whole.Next(); got != want {
					t.Fatalf("got %d, want %d", got, want)
				}
			}
			positions := make([]uint64, len(weights))
			for i := range positions {
				positions[i], _ = part.Position(i)
			}
			part = NewStride(weights, positions, max(0, part.Cursor()))
		}
	})
}

// A share that grows at every rebuild gets what the sum of its weights says. A smooth weighted round robin that
// starts from zero at each rebuild gives it nothing at all for the first while.
func TestStrideRebuiltEverySoOftenFollowsAGrowingWeight(t *testing.T) {
	const picksPerRebuild, rebuilds = 7, 1000
	var got, want float64
	s := NewStride([]float64{1, 1, 1, 1, 0.01}, randomPositions(5, 3), 0)
	for k := range rebuilds {
		w := max(0.01, float64(k)/rebuilds)
		weights := []float64{1, 1, 1, 1, w}
		positions := make([]uint64, len(weights))
		for i := range positions {
			positions[i], _ = s.Position(i)
		}
		s = NewStride(weights, positions, s.Cursor())
		for range picksPerRebuild {
			if s.Next() == 4 {
				got++
			}
			want += w / (4 + w)
		}
	}
	if math.Abs(got-want) > 3 {
		t.Errorf("the growing one was chosen %v times, want %.1f ± 3", got, want)
	}
}

// Control: with its position forgotten at every rebuild the same endpoint starves or overflows.
func TestStrideWithoutPositionsDoesNotFollow(t *testing.T) {
	var got, want float64
	for range 1000 {
		s := NewStride([]float64{1, 1, 1, 1, 0.1}, make([]uint64, 5), 0)
		for range 7 {
			if s.Next() == 4 {
				got++
			}
			want += 0.1 / 4.1
		}
	}
	if math.Abs(got-want) < want/2 {
		t.Errorf("without positions: chosen %v times of %.1f; the test above would not notice", got, want)
	}
}

func TestStrideIsShared(t *testing.T) {
	weights := []float64{1, 0.5, 0.25, 0}
	s := NewStride(weights, randomPositions(4, 1), 0)
	const goroutines, picks = 4, 7000 // 28,000 picks are 16,000 rounds
	var counts [goroutines][4]int
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range picks {
				counts[g][s.Next()]++
			}
		})
	}
	wg.Wait()
	for i, w := range weights {
		var got int
		for g := range counts {
			got += counts[g][i]
		}
		if want := int(w * 16_000); got < want-1 || got > want+1 {
			t.Errorf("index %d: chosen %d times, want %d ± 1", i, got, want)
		}
	}
}

// A counter that reaches its end after some hundred years must not lead to an index that does not exist, nor
// break the rhythm for longer than a round.
func TestStrideSurvivesTheEndOfItsCounter(t *testing.T) {
	s := NewStride([]float64{1, 0.5, 1}, randomPositions(3, 1), 0)
	s.visits.Store(math.MaxUint64 - 10)
	for range 30 {
		if got := s.Next(); got < 0 || got > 2 {
			t.Fatalf("Next: got %d", got)
		}
	}
}

func TestTinyStepIsAboveZero(t *testing.T) {
	s := NewStride([]float64{math.MaxUint32, 1e-12}, make([]uint64, 2), 0)
	if s.entries[1].step == 0 {
		t.Error("a weight above 0 has a step of 0, want it to be chosen some day")
	}
	if _, carry := bits.Add64(math.MaxUint64, s.entries[1].step, 0); carry == 0 {
		t.Error("the tiny one is not chosen where its position is nearly whole, want it to be")
	}
}
