package picker

import (
	"cmp"
	"math/bits"
	"slices"
)

// MaglevSize is how many places a [Maglev] has unless something else is asked for.
const MaglevSize = 65537

// maglevMost is how many places a Maglev has at most.
const maglevMost = 1 << 23

// A Maglev is a consistent hash by the table of Eisenbud et al., "Maglev: A Fast and Reliable Software Network
// Load Balancer" (NSDI 2016), section 3.4: each index fills places of a table in an order of its own, and they
// take turns, by weight. Keys are shared out more evenly than on a [Ring], to within a place or so; who comes or
// goes moves a few keys of others as well. It is immutable and safe for concurrent use; the same ids and weights
// give the same table everywhere, in whatever order they are listed.
type Maglev struct {
	owners []int32
}

// NewMaglev returns a table for the indices whose weight is above 0. ids gives them their orders: each is a hash
// of what an index stands for, uniform over all 64 bits, and all are different. size is how many places there
// are, 0 means [MaglevSize]; the next prime is taken, and as many as there are indices at least.
func NewMaglev(ids []uint64, weights []float64, size int) *Maglev {
	if size <= 0 {
		size = MaglevSize
	}
	var fillers []filler
	var greatest float64
	for i, w := range weights {
		if w = positive(w); w > 0 {
			greatest = max(greatest, w)
			fillers = append(fillers, filler{index: int32(i), id: ids[i], weight: w}) //nolint:gosec // an index
		}
	}
	if len(fillers) == 0 {
		return &Maglev{}
	}
	slices.SortFunc(fillers, func(a, b filler) int { return cmp.Compare(a.id, b.id) })
	places := uint64(prime(min(max(size, len(fillers)), maglevMost))) //nolint:gosec // a prime
	for i := range fillers {
		f := &fillers[i]
		f.next = f.id % places
		f.skip = Mix(f.id)%(places-1) + 1
		f.weight /= greatest
		f.credit = 1 - f.weight // a place for everybody in the first round, however light
	}
	m := &Maglev{owners: make([]int32, places)}
	for i := range m.owners {
		m.owners[i] = -1
	}
	m.fill(fillers)
	return m
}

// A filler is an index that fills a table. Its order is next, next + skip, next + 2·skip and so on.
type filler struct {
	index  int32
	id     uint64
	next   uint64
	skip   uint64
	weight float64 // over the greatest
	credit float64 // turns that it has earned
}

func (m *Maglev) fill(fillers []filler) {
	places := uint64(len(m.owners))
	left := places
	for {
		for i := range fillers {
			f := &fillers[i]
			if f.credit += f.weight; f.credit < 1 {
				continue
			}
			f.credit--
			for m.owners[f.next] >= 0 {
				f.step(places)
			}
			m.owners[f.next] = f.index
			if left--; left == 0 {
				return
			}
		}
	}
}

func (f *filler) step(places uint64) {
	if f.next += f.skip; f.next >= places {
		f.next -= places
	}
}

// Len returns how many places there are; 0 when nobody has a weight.
func (m *Maglev) Len() int { return len(m.owners) }

// Seek returns the place of a key. There must be one.
func (m *Maglev) Seek(key uint64) int {
	place, _ := bits.Mul64(key, uint64(len(m.owners)))
	return int(place) //nolint:gosec // below len(m.owners)
}

// Owner returns the index to whom a place belongs.
func (m *Maglev) Owner(place int) int { return int(m.owners[place]) }

// Width returns the part of all keys, 0 to 1, whose place this is.
func (m *Maglev) Width(int) float64 { return 1 / float64(len(m.owners)) }

// Prime returns the first prime from n on, 3 at least.
func prime(n int) int {
	for n = max(n, 3) | 1; ; n += 2 {
		composite := false
		for d := 3; d*d <= n && !composite; d += 2 {
			composite = n%d == 0
		}
		if !composite {
			return n
		}
	}
}
