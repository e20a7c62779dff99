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
	ids    []uint64 // as NewRing had them
	counts []uint32 // of each index: its points
}

const (
	// RingSize is how many points there are for a weight of 1 unless something else is asked for.
	RingSize = 1024
	// IndexBits is how much of a point, or of a Table's slot, says whose it is.
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
// others. There may be 2^24 indices. The ring keeps ids, which must not change any more.
func NewRing(ids []uint64, weights []float64, size int) *Ring {
	r := &Ring{ids: ids, counts: pointsOf(weights, size)}
	total := 0
	for _, count := range r.counts {
		total += int(count)
	}
	points := make([]uint64, 0, total)
	for i := range r.counts {
		points = r.appendPoints(points, i, 0, r.counts[i])
	}
	r.arrange(points)
	return r
}

// PointsOf returns how many points each index has.
func pointsOf(weights []float64, size int) []uint32 {
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
	counts := make([]uint32, len(weights))
	for i, w := range weights {
		if w = positive(w); w > 0 {
			counts[i] = uint32(max(1, uint64(unit*w))) //nolint:gosec // not many more than ringLimit
		}
	}
	return counts
}

// AppendPoints appends the points of index i from one number up to another.
func (r *Ring) appendPoints(points []uint64, i int, from, to uint32) []uint64 {
	for k := from; k < to; k++ {
		points = append(points, Mix(r.ids[i]+uint64(k))&^(1<<indexBits-1)|uint64(i)) //nolint:gosec // an index
	}
	return points
}

// Next returns what NewRing does, made from r: the points that r has are not sorted again. from holds for each index
// which one it was in r, -1 for those that are new; no two were the same.
func (r *Ring) Next(ids []uint64, weights []float64, size int, from []int) *Ring {
	next := &Ring{ids: ids, counts: pointsOf(weights, size)}
	became := slices.Repeat([]int32{-1}, len(r.counts)) // of each index of r: its index
	var fresh, gone []uint64
	for i, count := range next.counts {
		had := uint32(0)
		if old := from[i]; old >= 0 && r.ids[old] == ids[i] {
			had = r.counts[old]
			became[old] = int32(i) //nolint:gosec // an index
			gone = r.appendPoints(gone, old, min(had, count), had)
		}
		fresh = next.appendPoints(fresh, i, min(had, count), count)
	}
	if len(fresh)+len(gone) > len(r.points)/8 {
		return NewRing(ids, weights, size)
	}
	slices.Sort(fresh)
	slices.Sort(gone)
	next.points = make([]uint64, 0, len(r.points)+len(fresh))
	for _, p := range r.points {
		if len(gone) > 0 && gone[0] == p {
			gone = gone[1:]
			continue
		}
		i := became[p&(1<<indexBits-1)]
		if i < 0 {
			continue
		}
		p = p&^(1<<indexBits-1) | uint64(i) //nolint:gosec // not negative
		for ; len(fresh) > 0 && fresh[0] < p; fresh = fresh[1:] {
			next.points = append(next.points, fresh[0])
		}
		next.points = append(next.points, p)
		// Of two points at one place the first is that of the lesser index, which may have been the greater.
		for at := len(next.points) - 1; at > 0 && next.points[at] < next.points[at-1]; at-- {
			next.points[at], next.points[at-1] = next.points[at-1], next.points[at]
		}
	}
	next.points = append(next.points, fresh...)
	next.index()
	return next
}

// Divide makes room to know, for each of equal parts of the circle, a few points long on average, its first point.
func (r *Ring) divide(points int) {
	k := max(0, bits.Len(uint(points))-2)
	r.starts, r.shift = make([]uint32, 1<<k+1), uint(64-k) //nolint:gosec // k is 64 at most
}

// Index finds the starts of points that are in order.
func (r *Ring) index() {
	r.divide(len(r.points))
	part := uint64(0)
	for at, p := range r.points {
		for ; part <= p>>r.shift; part++ {
			r.starts[part] = uint32(at) //nolint:gosec // there are fewer than 2^32
		}
	}
	for ; part < uint64(len(r.starts)); part++ {
		r.starts[part] = uint32(len(r.points)) //nolint:gosec // likewise
	}
}

// Arrange sorts points. They are spread evenly, so that it is enough to count how many there are in each of many
// equal parts of the circle, and to sort the few in each.
func (r *Ring) arrange(points []uint64) {
	r.divide(len(points))
	r.points = make([]uint64, len(points))
	for _, p := range points {
		r.starts[p>>r.shift+1]++
	}
	for part := range len(r.starts) - 1 {
		r.starts[part+1] += r.starts[part]
	}
	for _, p := range points { // from here on a start is where the next of its part belongs: the end, when all are in
		at := r.starts[p>>r.shift]
		r.starts[p>>r.shift]++
		r.points[at] = p
	}
	copy(r.starts[1:], r.starts)
	r.starts[0] = 0
	for i := range r.points {
		for at := i; at > 0 && r.points[at-1] > r.points[at]; at-- { // within its part
			r.points[at-1], r.points[at] = r.points[at], r.points[at-1]
		}
	}
}

// Len returns how many places there are; 0 when nobody has a weight.
func (r *Ring) Len() int { return len(r.points) }

// Seek returns the place of a key. There must be one.
func (r *Ring) Seek(key uint64) int {
	key &^= 1<<indexBits - 1 // a point is at or after the key whoever's it is
	at := int(r.starts[key>>r.shift])
	for ; at+4 <= len(r.points); at += 4 { // of four at a time nothing is to be predicted
		p := r.points[at : at+4 : at+4]
		_, a := bits.Sub64(p[0], key, 0)
		_, b := bits.Sub64(p[1], key, 0)
		_, c := bits.Sub64(p[2], key, 0)
		_, d := bits.Sub64(p[3], key, 0)
		if before := a + b + c + d; before < 4 {
			return at + int(before) //nolint:gosec // below 4
		}
	}
	for ; at < len(r.points); at++ {
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
	if len(r.points) == 1 {
		return 1
	}
	return float64((r.points[place]>>indexBits-before)&(wholeRing-1)) / wholeRing
}

const wholeRing = 1 << (64 - indexBits)

// Parts returns for each index what part of all keys, 0 to 1, has a place of its own.
func (r *Ring) Parts() []float64 {
	parts := make([]float64, len(r.ids))
	if len(r.points) == 1 {
		parts[r.Owner(0)] = 1
		return parts
	}
	widths := make([]uint64, len(r.ids))
	if n := len(r.points); n > 0 {
		before := r.points[n-1] >> indexBits
		for _, p := range r.points {
			widths[p&(1<<indexBits-1)] += (p>>indexBits - before) & (wholeRing - 1)
			before = p >> indexBits
		}
	}
	for i, width := range widths {
		parts[i] = float64(width) / wholeRing
	}
	return parts
}
