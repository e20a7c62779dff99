package picker

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// A Stride is a round robin over weights. Its cursor visits one index after the other; each visit moves the
// index's position ahead by its weight over the greatest weight, and the index is chosen when its position
// passes a whole number. The heaviest are so chosen at every visit and one of a tenth of their weight at every
// tenth, evenly spaced, whatever the others do: nobody waits in a queue for a deadline that was set when its
// weight was smaller.
//
// A position is a fraction of a choice that is already earned, so it keeps its meaning when weights change and
// indices come and go: build the next Stride with the Positions of the last one. It is safe for concurrent use;
// the only thing that changes is one counter.
type Stride struct {
	entries []entry
	places  []int32 // of each index in entries; -1 when it has no weight
	visits  atomic.Uint64
}

type entry struct {
	index    int32
	step     uint64 // weight over the greatest weight, as a fraction of 2^64; the greatest is always
	position uint64 // before the visit of round 0, as a fraction of 2^64
}

// NewStride returns a round robin over weights whose cursor stands at index start. positions holds where each
// index stands on its way to the next choice, as fractions of 2^64; those that nobody knows should be random.
// Weights that are not above 0 are never chosen.
func NewStride(weights []float64, positions []uint64, start int) *Stride {
	s := &Stride{places: make([]int32, len(weights))}
	greatest, n := 0.0, 0
	for _, w := range weights {
		if w = positive(w); w > 0 {
			greatest = max(greatest, w)
			n++
		}
	}
	s.entries = make([]entry, 0, n)
	first := -1 // the place where the cursor starts: at start, or at the next index that has a weight
	for i, w := range weights {
		s.places[i] = -1
		if w = positive(w); w == 0 {
			continue
		}
		if i >= start && first < 0 {
			first = len(s.entries)
		}
		s.places[i] = int32(len(s.entries)) //nolint:gosec // an index of a slice in memory
		s.entries = append(s.entries, entry{
			index: int32(i), step: Fraction(w / greatest), position: positions[i], //nolint:gosec // likewise
		})
	}
	first = max(first, 0)
	for k := range first { // these are visited from round 1 on
		s.entries[k].position -= s.entries[k].step
	}
	s.visits.Store(uint64(first))
	return s
}

// Next returns the next index, -1 when nobody has a weight. It visits as many indices as there are at most.
func (s *Stride) Next() int {
	n := uint64(len(s.entries))
	if n == 0 {
		return -1
	}
	for {
		visit := s.visits.Add(1) - 1
		e := &s.entries[visit%n]
		_, passed := bits.Add64(e.position+visit/n*e.step, e.step, 0)
		if passed != 0 || e.step == math.MaxUint64 {
			return int(e.index)
		}
	}
}

// Position returns where index i stands on its way to its next choice, as a fraction of 2^64. An index that has
// no weight has no position here: ok is false.
func (s *Stride) Position(i int) (position uint64, ok bool) {
	place := s.places[i]
	if place < 0 {
		return 0, false
	}
	e, n := &s.entries[place], uint64(len(s.entries))
	rounds := (s.visits.Load() + n - 1 - uint64(place)) / n // this place's next visit
	return e.position + rounds*e.step, true
}

// Cursor returns the index that is visited next, -1 when nobody has a weight.
func (s *Stride) Cursor() int {
	if len(s.entries) == 0 {
		return -1
	}
	return int(s.entries[s.visits.Load()%uint64(len(s.entries))].index)
}
