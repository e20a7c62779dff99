package picker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A circle is what a ring and a Maglev's table have in common.
type circle interface {
	Len() int
	Seek(key uint64) int
	Owner(place int) int
	Width(place int) float64
	Parts() []float64
}

var circles = map[string]func(ids []uint64, weights []float64, size int) circle{
	"ring":   func(ids []uint64, weights []float64, size int) circle { return NewRing(ids, weights, size) },
	"maglev": func(ids []uint64, weights []float64, size int) circle { return NewMaglev(ids, weights, size) },
}

func manyIDs(n int) []uint64 {
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = Key(fmt.Sprint("endpoint-", i))
	}
	return ids
}

func equals(n int) []float64 { return slices.Repeat([]float64{1}, n) }

// Owners returns who has each of n keys.
func owners(c circle, n int) []int {
	random := rand.New(rand.NewPCG(7, 7))
	owners := make([]int, n)
	for k := range owners {
		owners[k] = c.Owner(c.Seek(random.Uint64()))
	}
	return owners
}

func TestCircleWithoutWeightsIsEmpty(t *testing.T) {
	for name, build := range circles {
		if got := build(manyIDs(2), []float64{0, math.NaN()}, 0).Len(); got != 0 {
			t.Errorf("%s: %d places, want 0", name, got)
		}
		if got := build(nil, nil, 0).Len(); got != 0 {
			t.Errorf("%s of nobody: %d places, want 0", name, got)
		}
	}
}

// Widths say how keys fall, they sum to one, and they follow the weights: those of a table to a place or so,
// those of a ring as evenly as its points are many.
func TestCircleRespectsWeights(t *testing.T) {
	for name, build := range circles {
		for _, weights := range [][]float64{{1}, {1, 1}, {1, 2, 3, 0, 4}, {100, 100, 50}, equals(10), equals(300)} {
			c := build(manyIDs(len(weights)), weights, 0)
			widths := make([]float64, len(weights))
			points := make([]float64, len(weights))
			for place := range c.Len() {
				widths[c.Owner(place)] += c.Width(place)
				points[c.Owner(place)]++
			}
			for i, part := range c.Parts() {
				if math.Abs(part-widths[i]) > 1e-9 {
					t.Errorf("%s %v: %d has a part of %v, its places are %v wide", name, weights, i, part, widths[i])
				}
			}
			if s := sum(widths); math.Abs(s-1) > 1e-9 {
				t.Errorf("%s %v: widths sum to %v, want 1", name, weights, s)
			}
			const keys = 200_000
			got := make([]float64, len(weights))
			for _, i := range owners(c, keys) {
				got[i]++
			}
			for i, w := range weights {
				want := w / sum(weights)
				off := 2 / float64(c.Len()) // of a Maglev
				if name == "ring" && points[i] > 0 {
					off = 4.5 * want / math.Sqrt(points[i])
				}
				if math.Abs(widths[i]-want) > off {
					t.Errorf("%s %v: %d has %.4f of the keys, want %.4f ± %.4f", name, weights, i, widths[i], want, off)
				}
				if math.Abs(got[i]/keys-widths[i]) > 4.5*math.Sqrt(max(widths[i], 1e-9)/keys) {
					t.Errorf("%s %v: %d got %.4f of the keys, its places are %.4f wide", name, weights, i, got[i]/keys, widths[i])
				}
			}
		}
	}
}

// Who comes takes keys, and nobody else does; who leaves is missed by its own keys only. A ring keeps that to the
// letter, a Maglev's table moves a few more.
func TestCircleMovesFewKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "indices")
		weights := make([]float64, n)
		for i := range weights {
			weights[i] = rapid.SampledFrom([]float64{1, 1, 1.5}).Draw(t, "weight")
		}
		changed := rapid.IntRange(0, n-1).Draw(t, "changed")
		before := slices.Clone(weights)
		before[changed] = rapid.SampledFrom([]float64{0, 0.5}).Draw(t, "before")
		for name, build := range circles {
			const keys = 4000
			a, b := owners(build(manyIDs(n), before, 0), keys), owners(build(manyIDs(n), weights, 0), keys)
			others := 0.0
			for k := range a {
				if a[k] != b[k] && b[k] != changed {
					others++
				}
			}
			most := 0.0
			if name == "maglev" {
				most = keys * 0.06
			}
			if others > most {
				t.Fatalf("%s: %v of %d keys moved between those that did not change, want at most %v", name, others, keys, most)
			}
		}
	})
}

// The order in which endpoints are listed is of no account, and neither is the process.
func TestCircleIsTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "indices")
		order := rapid.Permutation(slices.Collect(func(yield func(int) bool) {
			for i := range n {
				if !yield(i) {
					return
				}
			}
		})).Draw(t, "order")
		ids := manyIDs(n)
		weights, shuffledIDs, shuffled := make([]float64, n), make([]uint64, n), make([]float64, n)
		for i, from := range order {
			weights[from] = float64(1 + from%3)
			shuffledIDs[i], shuffled[i] = ids[from], weights[from]
		}
		for name, build := range circles {
			a, b := owners(build(ids, weights, 0), 500), owners(build(shuffledIDs, shuffled, 0), 500)
			for k := range a {
				if a[k] != order[b[k]] {
					t.Fatalf("%s: key %d belongs to %d, listed in another order to %d", name, k, a[k], order[b[k]])
				}
			}
		}
	})
	for name, want := range map[string][]int{"ring": {2, 0, 2, 6, 6, 1, 6, 5}, "maglev": {2, 1, 0, 3, 2, 4, 1, 3}} {
		if got := owners(circles[name](manyIDs(7), equals(7), 0), 8); !slices.Equal(got, want) {
			t.Errorf("%s: keys belong to %v, in earlier releases to %v: gateways would disagree during an update", name, got, want)
		}
	}
}

func TestMaglevSizes(t *testing.T) {
	for _, tt := range []struct{ size, indices, want int }{
		{0, 3, 65537},
		{7, 3, 7},
		{8, 3, 11},
		{1, 1, 3},
		{2, 100, 101}, // everybody has a place
		{251, 3, 251},
	} {
		m := NewMaglev(manyIDs(tt.indices), equals(tt.indices), tt.size)
		if m.Len() != tt.want {
			t.Errorf("size %d, %d indices: %d places, want %d", tt.size, tt.indices, m.Len(), tt.want)
		}
		if got := slices.Max(owners(m, 1000)); got >= tt.indices {
			t.Errorf("size %d: a key belongs to %d of %d", tt.size, got, tt.indices)
		}
	}
}

func TestRingSizes(t *testing.T) {
	for _, tt := range []struct {
		size      int
		weights   []float64
		low, high int
	}{
		{0, equals(2), 2048, 2048},
		{100, equals(2), 200, 200},
		{0, []float64{1, 4}, 5120, 5120},
		{0, equals(1000), 64_000, 66_000},
		{0, slices.Repeat([]float64{4e9}, 10), 65_000, 66_000},
		{1 << 40, equals(1), 1 << 23, 1 << 23},
		{0, append(equals(2), 1e-9), 2049, 2049}, // however light, it is there
	} {
		if got := NewRing(manyIDs(len(tt.weights)), tt.weights, tt.size).Len(); got < tt.low || got > tt.high {
			t.Errorf("size %d, %d indices: %d points, want %d to %d", tt.size, len(tt.weights), got, tt.low, tt.high)
		}
	}
}

// Seek finds what a search through all points finds, at the ends of the circle as well.
func TestRingSeek(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "indices")
		r := NewRing(manyIDs(n), equals(n), rapid.IntRange(1, 20).Draw(t, "size"))
		key := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, math.MaxUint64})).Draw(t, "key")
		if rapid.Bool().Draw(t, "at a point") {
			key = rapid.SampledFrom(r.points).Draw(t, "point")
		}
		want := slices.IndexFunc(r.points, func(p uint64) bool { return p>>indexBits >= key>>indexBits })
		if got := r.Seek(key); got != max(0, want) {
			t.Fatalf("Seek(%#x): got %d, want %d of %#x", key, got, max(0, want), r.points)
		}
	})
}

func TestKeySpreadsWhatIsAlike(t *testing.T) {
	seen := map[uint64]string{}
	var bits [64]int
	const n = 20_000
	for i := range n {
		for _, s := range []string{fmt.Sprint("user-", i), fmt.Sprint(i, "@"), fmt.Sprintf("10.0.%d.%d", i/256, i%256)} {
			k := Key(s)
			if other, ok := seen[k]; ok && other != s {
				t.Fatalf("%q and %q have one key", s, other)
			}
			seen[k] = s
		}
		for b, k := 0, Key(fmt.Sprint("user-", i)); b < 64; b++ {
			bits[b] += int(k >> b & 1)
		}
	}
	for b, ones := range bits {
		if math.Abs(float64(ones)-n/2) > 4.5*math.Sqrt(n)/2 {
			t.Errorf("bit %d is set in %d of %d keys, want half", b, ones, n)
		}
	}
}

func TestKeyOfStringAndBytesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if Key(b) != Key(string(b)) {
			t.Fatalf("Key(%q) depends on its type", b)
		}
		if Key(append(b, 0)) == Key(b) {
			t.Fatalf("Key(%q) does not change with a zero at its end", b)
		}
	})
}

// Gateways of two releases must send a client to the same place.
func TestKeyIsTheSameForEver(t *testing.T) {
	for s, want := range map[string]uint64{
		"":                      0x1ac046dda8e86e2a,
		"a":                     0x2939b3f726936d4e,
		"session":               0xd3cd62cf9fdf4f15,
		"01234567":              0x49c7d9810ab359fe,
		"2001:db8::1, 10.0.0.1": 0xb81f58b227d23aca,
	} {
		if got := Key(s); got != want {
			t.Errorf("Key(%q) = %#x, want %#x", s, got, want)
		}
	}
}

func TestKeyDoesNotAllocate(t *testing.T) {
	b := []byte("a cookie of ordinary length, 40 bytes or so")
	if got := testing.AllocsPerRun(100, func() { Key(b) }); got != 0 {
		t.Errorf("Key allocates %v times, want 0", got)
	}
}

func BenchmarkKey(b *testing.B) {
	s := []byte("a cookie of ordinary length, 40 bytes or so")
	for b.Loop() {
		Key(s)
	}
}

func BenchmarkCircle(b *testing.B) {
	for name, build := range circles {
		for _, n := range []int{10, 100, 10_000} {
			ids, weights := manyIDs(n), equals(n)
			b.Run(fmt.Sprintf("%s/endpoints=%d/build", name, n), func(b *testing.B) {
				for b.Loop() {
					build(ids, weights, 0)
				}
			})
			b.Run(fmt.Sprintf("%s/endpoints=%d/look-up", name, n), func(b *testing.B) {
				c, key := build(ids, weights, 0), uint64(1)
				for b.Loop() {
					key = Mix(key)
					c.Owner(c.Seek(key))
				}
			})
		}
	}
}

// A ring that is made from another is the one that is made of nothing, point for point, whatever happened.
func TestRingThatIsMadeFromAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := manyIDs(60)
		size := rapid.SampledFrom([]int{0, 1, 50}).Draw(t, "size")
		pick := func(label string) (ids []uint64, weights []float64, names []int) {
			names = rapid.Permutation(rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, 60, rapid.ID).Draw(t, label)).Draw(t, label)
			for _, name := range names {
				ids = append(ids, all[name])
				weights = append(weights, rapid.SampledFrom([]float64{1, 1, 1, 1, 0, 0.3, 100}).Draw(t, "weight"))
			}
			return ids, weights, names
		}
		ids, weights, names := pick("before")
		ring := NewRing(ids, weights, size)
		changed, from := slices.Clone(names), []int{}
		switch {
		case rapid.Bool().Draw(t, "all else"):
			ids, weights, changed = pick("after")
		case len(names) > 1:
			ids, weights, changed = slices.Clone(ids[1:]), slices.Clone(weights[1:]), changed[1:]
		}
		for _, name := range changed {
			from = append(from, slices.Index(names, name))
		}
		got, want := ring.Next(ids, weights, size, from), NewRing(ids, weights, size)
		if !slices.Equal(got.points, want.points) || !slices.Equal(got.starts, want.starts) || got.shift != want.shift {
			t.Fatalf("%d points of %d from %d, want %d", len(got.points), len(ids), len(ring.points), len(want.points))
		}
		if !slices.Equal(got.counts, want.counts) {
			t.Fatalf("counts %v, want %v", got.counts, want.counts)
		}
	})
}

// Points at one place are in the order of their indices, which may turn round.
func TestRingOfPointsThatMeet(t *testing.T) {
	const one, other, second = 3 << indexBits, 9 << indexBits, 1
	r := &Ring{ids: []uint64{1, 2}, counts: []uint32{1, 1}}
	r.arrange([]uint64{one | second, other, other | second, one})
	next := r.Next([]uint64{2, 1}, []float64{1, 1}, 1, []int{1, 0})
	if !slices.IsSorted(next.points) {
		t.Errorf("points are out of order: %x", next.points)
	}
}

// A key's point is found without a walk: of a large ring at most a few points are looked at.
func TestSeekLooksAtFewPoints(t *testing.T) {
	r := NewRing(manyIDs(10_000), equals(10_000), 0)
	most := uint32(0)
	for part := range len(r.starts) - 1 {
		most = max(most, r.starts[part+1]-r.starts[part])
	}
	if average := float64(r.Len()) / float64(len(r.starts)-1); average > 8 || most > 40 {
		t.Errorf("a part of the ring has %.1f points on average and %d at most, want 8 and 40", average, most)
	}
}

// Whatever part of the circle it is in, a key's place is that of the first point at or after it.
func TestSeekFindsTheFirstPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "indices")
		r := NewRing(manyIDs(n), equals(n), rapid.IntRange(1, 9).Draw(t, "size"))
		key := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom(r.points), rapid.Just(uint64(math.MaxUint64))).Draw(t, "key")
		want := slices.IndexFunc(r.points, func(p uint64) bool { return p>>indexBits >= key>>indexBits })
		if got := r.Seek(key); got != max(0, want) {
			t.Fatalf("key %x: place %d, want %d", key, got, max(0, want))
		}
	})
}

// A table is filled as the paper says, turn by turn and place by place, however that is worked out.
func TestMaglevIsFilledInTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "indices")
		weights := make([]float64, n)
		for i := range weights {
			weights[i] = rapid.SampledFrom([]float64{1, 1, 0.01, 0.5}).Draw(t, "weight")
		}
		ids := manyIDs(n)
		m := NewMaglev(ids, weights, rapid.IntRange(1, 3000).Draw(t, "size"))
		places := uint64(m.Len())
		want := slices.Repeat([]int32{-1}, m.Len())
		order, credits, next := inOrder(ids), make([]float64, n), slices.Clone(ids)
		for i, greatest := 0, slices.Max(weights); i < n; i++ {
			weights[i] /= greatest
		}
		for left, first := m.Len(), true; left > 0; first = false {
			for _, i := range order {
				if credits[i] += weights[i]; first {
					credits[i] = 1
				}
				if credits[i] < 1 || left == 0 {
					continue
				}
				credits[i]--
				for want[next[i]%places] >= 0 {
					next[i] = next[i]%places + Mix(ids[i])%(places-1) + 1
				}
				want[next[i]%places] = i
				left--
			}
		}
		if !slices.Equal(m.owners, want) {
			t.Fatalf("got %v, want %v", m.owners, want)
		}
	})
}
