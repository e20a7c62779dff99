package balancer_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
)

// An answer is a request that ends.
type answer struct {
	at    float64
	index int
}

type answers []answer

func (a *answers) Len() int           { return len(*a) }
func (a *answers) Less(i, j int) bool { return (*a)[i].at < (*a)[j].at }
func (a *answers) Swap(i, j int)      { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }
func (a *answers) Push(x any)         { *a = append(*a, x.(answer)) }
func (a *answers) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// A weighing is a pool of endpoints of unequal weights, and what is sent to them.
type weighing struct {
	weights []uint32
	slow    int           // takes ten times as long as the others; -1 is nobody
	young   int           // warms up; -1 is nobody
	age     time.Duration // of it, in a window of a hundred seconds
	load    float64       // requests in flight for a weight of 1, were nobody slow
}

// Shares sends n requests, and returns what each got over what is due to its effective weight.
func (w weighing) shares(n int) []float64 {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // figures must repeat
	var endpoints []fleet.Endpoint
	var total float64
	for i, weight := range w.weights {
		e := warm(fmt.Sprint("e", i))
		if i == w.young {
			e = cold(e.Name)
			e.Age = w.age
		}
		e.Weight = weight
		total += float64(weight)
		endpoints = append(endpoints, e)
	}
	in := input(fleet.Policy{Warmup: ramp(100*time.Second, 0.1)}, endpoints...)
	in.Random = random.Uint64
	b := balancer.Compile(nil, in, epoch)
	var open answers
	now := 0.0
	for range n {
		now += random.ExpFloat64() / (w.load * total) // of a mean time that a request takes
		for len(open) > 0 && open[0].at <= now {
			in.Traffic[endpoints[open[0].index].Incarnation].Active.Add(-1)
			heap.Pop(&open)
		}
		i := b.Pick(epoch, -1)
		took := random.ExpFloat64()
		if i == w.slow {
			took *= 10
		}
		in.Traffic[endpoints[i].Incarnation].Active.Add(1)
		heap.Push(&open, answer{now + took, i})
	}
	var got []float64
	for _, s := range b.Shares(epoch) {
		got = append(got, float64(s.Actual)/(s.Fraction*float64(n)))
	}
	return got
}

// Mean returns the mean of what those of one weight got.
func (w weighing) mean(weight uint32, got []float64) float64 {
	var sum, n float64
	for i := range got {
		if w.weights[i] == weight {
			sum += got[i]
			n++
		}
	}
	return sum / n
}

// Every load from hardly anything to twenty in flight for a weight of 1.
var inFlight = []float64{0.02, 0.1, 0.3, 1, 3, 20}

// Whatever the weights and the load, each gets what is due to its weight: light ones are neither showered with
// requests because they are idle, nor starved because others could bear more.
func TestLeastRequestKeepsToUnequalWeights(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		weights []uint32
		low     float64
	}{
		{[]uint32{1, 2}, 0.9},
		{[]uint32{1, 10}, 0.73},
		{[]uint32{1, 100}, 0.7},
		{append(slices.Repeat([]uint32{1}, 5), slices.Repeat([]uint32{10}, 5)...), 0.75},
		{append(slices.Repeat([]uint32{1}, 9), 10), 0.83},
	} {
		for _, load := range inFlight {
			w := weighing{weights: tt.weights, slow: -1, young: -1, load: load}
			got := w.mean(1, w.shares(60_000))
			if t.Logf("%v at %v in flight: %.3f × what is due to the light ones", tt.weights, load, got); got < tt.low || got > 1.15 {
				t.Errorf("%v at %v in flight: the light ones get %.3f × what is due, want %v to 1.15", tt.weights, load, got, tt.low)
			}
		}
	}
}

// Who takes ten times as long gets less than by weight, be it light or heavy, and the less the more there is to do.
func TestLeastRequestRelievesTheSlowOneOfAnyWeight(t *testing.T) {
	t.Parallel()
	mixed := append(slices.Repeat([]uint32{1}, 5), slices.Repeat([]uint32{10}, 5)...)
	for _, tt := range []struct {
		name    string
		weights []uint32
		slow    int
		most    []float64 // at 0.3, 1, 3 and 20 in flight
	}{
		{"one of two equals", []uint32{1, 1}, 1, []float64{0.46, 0.34, 0.28, 0.22}},
		{"a light one", mixed, 0, []float64{0.32, 0.24, 0.18, 0.15}},
		{"a heavy one", mixed, 9, []float64{0.27, 0.2, 0.17, 0.15}},
		{"the only heavy one", append(slices.Repeat([]uint32{1}, 9), 10), 9, []float64{0.53, 0.38, 0.3, 0.24}},
	} {
		for k, load := range inFlight[2:] {
			w := weighing{weights: tt.weights, slow: tt.slow, young: -1, load: load}
			got := w.shares(60_000)[tt.slow]
			if t.Logf("%s, at %v in flight: %.3f × its part", tt.name, load, got); got > tt.most[k] {
				t.Errorf("%s, at %v in flight: the slow one gets %.3f × its part, want at most %v", tt.name, load, got, tt.most[k])
			}
		}
	}
}

// Who warms up among others of unequal weights stays near its weighted share, light or heavy.
func TestLeastRequestWarmsUpAmongUnequalWeights(t *testing.T) {
	t.Parallel()
	for _, young := range []int{0, 9} {
		for _, age := range []time.Duration{10 * time.Second, 50 * time.Second, 90 * time.Second} {
			for _, load := range inFlight {
				w := weighing{
					weights: append(slices.Repeat([]uint32{1}, 5), slices.Repeat([]uint32{10}, 5)...),
					slow:    -1, young: young, age: age, load: load,
				}
				got := w.shares(60_000)[young]
				low := 0.75
				if young == 9 {
					low = 0.88
				}
				if t.Logf("weight %d at %v, %v in flight: %.3f × its part", w.weights[young], age, load, got); got < low || got > 1.3 {
					t.Errorf("weight %d at %v, %v in flight: got %.3f × its part, want %v to 1.3", w.weights[young], age, load, got, low)
				}
			}
		}
	}
}
