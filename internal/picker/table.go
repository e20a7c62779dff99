// Package picker chooses among weighted things by their index. What it needs to choose is worked out once,
// when the weights are known; a choice is then a few loads, without a lock or an allocation.
package picker

import (
	"math"
	"math/bits"
)

// Always is a probability of 1 as a fraction of 2^64; it misses by less than one in 10^19.
const always = math.MaxUint64

// A Table draws an index with a probability in proportion to its weight, in constant time (Walker's alias
// method, as laid out by Vose). It is immutable and safe for concurrent use.
type Table struct {
	slots []slot
	sums  []float64 // sums[i] is the sum of the weights before i; one longer than slots
}

// A slot is hit as often as any other. It stands for itself while the rest of the draw is below what it keeps, in
// its high 40 bits, and for another index, in the low 24, above. In one word, so that of a large table as much as
// can be is near the processor.
type slot uint64

func newSlot(keep uint64, other uint32) slot {
	const step = 1 << indexBits
	if 0 < keep && keep < step {
		keep = step // what is little is not nothing
	}
	return slot(keep&^(step-1) | uint64(other))
}

func (s slot) keep() uint64 { return uint64(s) &^ (1<<indexBits - 1) }
func (s slot) other() int   { return int(s & (1<<indexBits - 1)) }

// NewTable returns a table for weights, 2^24 of them at most. Weights that are not above 0 are never drawn.
func NewTable(weights []float64) *Table {
	n := len(weights)
	t := &Table{slots: make([]slot, n), sums: make([]float64, n+1)}
	for i, w := range weights {
		t.sums[i+1] = t.sums[i] + positive(w)
	}
	if !(t.total() > 0) {
		return &Table{sums: make([]float64, 1)}
	}
	part := make([]float64, n) // of its slot, that is left to place
	queue := make([]uint32, n) // slots with room to fill at the front, with too much at the back
	low, high := 0, n
	for i, w := range weights {
		part[i] = positive(w) / t.sums[n] * float64(n) // in this order: n over a sum near zero would be infinite
		if part[i] < 1 {
			queue[low] = uint32(i) //nolint:gosec // an index of a slice in memory
			low++
		} else {
			high--
			queue[high] = uint32(i) //nolint:gosec // likewise
		}
	}
	t.fill(part, queue, low, high)
	return t
}

// Fill pairs every slot that has room with one that has too much. queue[:low] have room, queue[high:] too much.
func (t *Table) fill(part []float64, queue []uint32, low, high int) {
	n := len(queue)
	largest := t.largest()
	for low > 0 && high < n {
		low--
		from, to := queue[high], queue[low]
		t.slots[to] = newSlot(Fraction(part[to]), from)
		part[from] -= 1 - part[to]
		if part[from] < 1 {
			high++
			queue[low] = from
			low++
		}
	}
	for ; high < n; high++ {
		t.slots[queue[high]] = newSlot(always, queue[high])
	}
	// Rounding leaves some with room and nobody to fill it: what misses is far below one in a million million.
	// Those without a weight must not be drawn even then.
	for _, i := range queue[:low] {
		if t.weight(int(i)) > 0 {
			t.slots[i] = newSlot(always, i)
		} else {
			t.slots[i] = newSlot(0, largest)
		}
	}
}

// Empty says whether there is nothing to draw.
func (t *Table) Empty() bool { return len(t.slots) == 0 }

// Draw returns the index that belongs to random, which is uniform over all 64 bits; -1 when the table is empty.
func (t *Table) Draw(random uint64) int {
	if t.Empty() {
		return -1
	}
	i, rest := bits.Mul64(random, uint64(len(t.slots)))
	s := t.slots[i]
	drawn := s.other()
	if rest < s.keep() { // no branch to predict: a conditional move
		drawn = int(i) //nolint:gosec // below len(t.slots)
	}
	return drawn
}

// DrawOther returns an index other than except, with probabilities in proportion to the other weights; -1 when
// there is none. random is uniform over all 64 bits; it takes a few steps from there with [Mix], however much of
// the weight is on except.
func (t *Table) DrawOther(random uint64, except int) int {
	for range 3 {
		if i := t.Draw(random); i != except {
			return i
		}
		random = Mix(random)
	}
	if except < 0 || t.only(except) {
		return -1
	}
	own := t.weight(except)
	rest := t.total() - own
	// Most of the weight is on except: walk past it in the sums. The draws before were rejected without a look at
	// what else there is, so that the odds among the others are not touched by them.
	at := float64(random>>11) / (1 << 53) * rest
	if at >= t.sums[except] {
		at += own
	}
	return t.search(at, except)
}

// Search returns the index whose part of the sums holds at, never except and never one without a weight.
func (t *Table) search(at float64, except int) int {
	lo, hi := 0, len(t.slots)-1
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); t.sums[mid+1] > at { //nolint:gosec // both are indices
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo != except && t.weight(lo) > 0 {
		return lo
	}
	// Rounding put the point on a border: take the nearest that may be drawn.
	for step := 1; step < len(t.slots); step++ {
		for _, i := range [2]int{lo - step, lo + step} {
			if i >= 0 && i < len(t.slots) && i != except && t.weight(i) > 0 {
				return i
			}
		}
	}
	return -1
}

// Only says whether nobody but i has a weight. Sums round, so that the rest of the total does not tell.
func (t *Table) only(i int) bool {
	return t.sums[i] == 0 && t.sums[i+1] == t.total()
}

func (t *Table) total() float64 { return t.sums[len(t.sums)-1] }

func (t *Table) weight(i int) float64 { return t.sums[i+1] - t.sums[i] }

func (t *Table) largest() uint32 {
	best := 0
	for i := range t.slots {
		if t.weight(i) > t.weight(best) {
			best = i
		}
	}
	return uint32(best) //nolint:gosec // an index of a slice in memory
}

// Positive returns w, or 0 when w is no finite number above 0.
func positive(w float64) float64 {
	if !(w > 0) || math.IsInf(w, 1) {
		return 0
	}
	return w
}

// Fraction returns p, a probability, as a fraction of 2^64. It is above 0 when p is:
// a uniform number is below it with that probability.
func Fraction(p float64) uint64 {
	switch {
	case !(p > 0):
		return 0
	case p >= 1:
		return always
	}
	return max(1, uint64(math.Ldexp(p, 64)))
}

// Mix returns a number that looks unrelated to x: one step of the generator splitmix64. A uniform x so becomes as
// many uniform numbers as a choice needs, at a fraction of what it costs to ask the runtime for each.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
