package picker

import (
	"math/bits"
	"slices"
)

// A Ring is a consistent hash: every index has points on a circle in proportion to its weight, and a key belongs
// to the first point at or after it. Who comes or goes takes keys from others, or leaves its own to them, and
// moves no other key. It is immutable and safe for concurrent use; the same ids and weights give the same ring
// everywhere, in whatever order they are listed.
//
// A place is the number of a point. From a key's place, the places after it name who else may take the key, in
// an order of the key's own.
type Ring struct {
	points []uint64 // on the circle, in the high 40 bits; whose it is, in the low 24
	starts []uint32 // of each of 2^k equal parts of the circle: its first point; then how many points there are
	shift  uint     // 64 − k
}

const (
	// RingSize is how many points there are for a weight of 1 unless something else is asked for.
	RingSize = 1024
	// IndexBits is how much of a point says whose it is.
	indexBits = 24
	ringLimit = 1 << 23 // points that may be asked for
	// RingMost is how many points there are in all, at most: beyond, a weight of 1 has fewer, down to
	// ringFew for an index of average weight. More points share out more evenly, and take longer to sort.
	ringMost = 1 << 16
	ringFew  = 16
)

// NewRing returns a ring of the indices whose weight is above 0. ids places them: each is a hash of what an index
// stands for, uniform over all 64 bits, and all are different. A weight of 1 has size points, 0 means [RingSize],
// as long as that makes 65,536 points or fewer in all; how many points an index has then does not depend on the
// others. There may be 2^24 indices.
func NewRing(ids []uint64, weights []float64, size int) *Ring {
	if size <= 0 {
		size = RingSize
	}
	var total float64
	n := 0
	for _, w := range weights {
		if w = positive(w); w > 0 {
			total += w
			n++
		}
	}
	size = min(size, ringLimit)
	unit := min(float64(size), float64(max(ringMost, ringFew*n, size))/total)
	points := make([]uint64, 0, int(unit*total)+n)
	for i, w := range weights {
		if w = positive(w); w == 0 {
			continue
		}
		for k := range max(1, uint64(unit*w)) {
			points = append(points, Mix(ids[i]+k)&^(1<<indexBits-1)|uint64(i)) //nolint:gosec // an index
		}
	}
	return arrange(points)
}

// Arrange sorts points. They are spread evenly, so that it is enough to count how many there are in each of as
// many equal parts of the circle, and to sort the one or two in each.
func arrange(points []uint64) *Ring {
	k := bits.Len(uint(len(points)))
	r := &Ring{points: make([]uint64, len(points)), starts: make([]uint32, 1<<k+1), shift: uint(64 - k)} //nolint:gosec // k is 64 at most
	for _, p := range points {
		r.starts[p>>r.shift+1]++
	}
	for part := range 1 << k {
		r.starts[part+1] += r.starts[part]
	}
	for _, p := range points { // from here on a start is where the next of its part belongs: the end, when all are in
		at := r.starts[p>>r.shift]
		r.starts[p>>r.shift]++
		r.points[at] = p
	}
	copy(r.starts[1:], r.starts)
	r.starts[0] = 0
	for part := range 1 << k {
		slices.Sort(r.points[r.starts[part]:r.starts[part+1]])
	}
	return r
}

// Len returns how many places there are; 0 when nobody has a weight.
func (r *Ring) Len() int { return len(r.points) }

// Seek returns the place of a key. There must be one.
func (r *Ring) Seek(key uint64) int {
	key &^= 1<<indexBits - 1 // a point is at or after the key whoever's it is
	for at := int(r.starts[key>>r.shift]); at < len(r.points); at++ {
		if r.points[at] >= key {
			return at
		}
	}
	return 0
}

// Owner returns the index to whom a place belongs.
func (r *Ring) Owner(place int) int { return int(r.points[place] & (1<<indexBits - 1)) }

// Width returns the part of all keys, 0 to 1, whose place this is.
func (r *Ring) Width(place int) float64 {
	before := r.points[(place+len(r.points)-1)%len(r.points)] >> indexBits
	const whole = 1 << (64 - indexBits)
	if len(r.points) == 1 {
		return 1
	}
	return float64((r.points[place]>>indexBits-before)&(whole-1)) / whole
}
