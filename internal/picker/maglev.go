package picker

import "math/bits"

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
	ids    int // how many indices there are, those without a weight included
}

// NewMaglev returns a table for the indices whose weight is above 0. ids gives them their orders: each is a hash
// of what an index stands for, uniform over all 64 bits, and all are different. size is how many places there
// are, 0 means [MaglevSize]; the next prime is taken, and as many as there are indices at least.
func NewMaglev(ids []uint64, weights []float64, size int) *Maglev {
	if size <= 0 {
		size = MaglevSize
	}
	m := &Maglev{ids: len(ids)}
	var greatest float64
	n := 0
	for _, w := range weights {
		if w = positive(w); w > 0 {
			greatest = max(greatest, w)
			n++
		}
	}
	if n == 0 {
		return m
	}
	places := uint64(prime(min(max(size, n), maglevMost))) //nolint:gosec // a prime
	fillers := make([]filler, 0, n)
	for _, i := range inOrder(ids) {
		w := positive(weights[i]) / greatest
		if w == 0 {
			continue
		}
		fillers = append(fillers, filler{
			index:  i,
			next:   uint32(ids[i] % places),            //nolint:gosec // there are no more than 2^23
			skip:   uint32(Mix(ids[i])%(places-1) + 1), //nolint:gosec // likewise
			weight: w,
			credit: 1 - w, // a place for everybody in the first round, however light
		})
	}
	m.owners = make([]int32, places)
	m.fill(fillers)
	return m
}

// InOrder returns the indices of ids in the order of these. They are uniform: as on a [Ring], it is enough to count
// how many there are in each of many equal parts of all numbers, and to sort the one or two in each.
func inOrder(ids []uint64) []int32 {
	k := bits.Len(uint(len(ids)))
	starts := make([]int32, 1<<k+1)
	for _, id := range ids {
		starts[id>>(64-k)+1]++
	}
	for part := range 1 << k {
		starts[part+1] += starts[part]
	}
	order := make([]int32, len(ids))
	for i, id := range ids {
		at := &starts[id>>(64-k)]
		order[*at] = int32(i) //nolint:gosec // an index
		*at++
	}
	for i := range order {
		for at := i; at > 0 && ids[order[at-1]] > ids[order[at]]; at-- {
			order[at-1], order[at] = order[at], order[at-1]
		}
	}
	return order
}

// A filler is an index that fills a table. Its order is next, next + skip, next + 2·skip and so on.
type filler struct {
	weight float64 // over the greatest
	credit float64 // turns that it has earned
	index  int32
	next   uint32
	skip   uint32
}

// Fill lets the fillers take turns until every place is filled.
func (m *Maglev) fill(fillers []filler) {
	places := uint32(len(m.owners))         //nolint:gosec // 2^23 at most
	taken := make([]uint64, (places+63)/64) // a bit for each place: who looks for one near the end looks at many
	left := places
	for {
		for i := range fillers {
			f := &fillers[i]
			if f.credit += f.weight; f.credit < 1 {
				continue
			}
			f.credit--
			at, skip := f.next, f.skip
			for taken[at/64]>>(at%64)&1 != 0 {
				if at += skip; at >= places {
					at -= places
				}
			}
			taken[at/64] |= 1 << (at % 64)
			m.owners[at] = f.index
			f.next = at
			if left--; left == 0 {
				return
			}
		}
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

// Parts returns for each index what part of all keys, 0 to 1, has a place of its own.
func (m *Maglev) Parts() []float64 {
	parts := make([]float64, m.ids)
	for _, i := range m.owners {
		parts[i]++
	}
	for i := range parts {
		parts[i] /= float64(max(1, len(m.owners)))
	}
	return parts
}

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
