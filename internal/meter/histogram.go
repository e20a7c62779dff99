package meter

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets are those of a Prometheus native histogram of schema 3, in seconds: bucket i holds the values in
// (2^((i-1)/8), 2^(i/8)], so that each is 9 % wider than the one before.
const (
	Schema = 3

	// MinIndex is the lowest bucket. Everything up to its lower edge, [ZeroThreshold], is counted together.
	MinIndex = -135
	// MaxIndex is the highest bucket; it ends at 128 s. Whatever is longer is counted in MaxIndex+1.
	MaxIndex = 56

	// ZeroThreshold is 2^-17 s, about 7.6 µs. Durations up to it are below what is resolved.
	ZeroThreshold = 1.0 / (1 << 17)

	perOctave = 1 << Schema
	edges     = MaxIndex - MinIndex + 2 // edge n is the upper edge of slot n; the last slot has none
	slots     = edges + 1               // slot 0 is everything up to ZeroThreshold, the last one everything beyond MaxIndex
	minOctave = 12                      // 2^12 ns is below the first edge
	maxOctave = 36                      // 2^37 ns is above the last one
	mantissa  = 4                       // bits looked at after the leading one: sixteenths of an octave are narrower than a bucket
)

// limitTable holds the upper edge of each slot, in whole nanoseconds: the longest duration that the slot holds.
var limitTable = makeLimitTable()

// startTable holds, for each sixteenth of an octave of nanoseconds, the slot of its shortest duration. A sixteenth
// is narrower than any bucket, so that a duration in it belongs to that slot or to the next.
var startTable = makeStartTable()

func makeLimitTable() (l [edges]uint64) {
	for n := range l {
		l[n] = uint64(Edge(MinIndex-1+n) * float64(time.Second))
	}
	return l
}

func makeStartTable() (s [(maxOctave - minOctave + 1) << mantissa]uint8) {
	slot := 0
	for i := range s {
		octave := minOctave + i>>mantissa
		shortest := (uint64(1)<<mantissa | uint64(i)&(1<<mantissa-1)) << (octave - mantissa)
		for slot < edges && shortest > limitTable[slot] {
			slot++
		}
		s[i] = uint8(slot)
	}
	return s
}

// Edge returns the upper edge of bucket i, in seconds: 2^(i/8).
func Edge(i int) float64 {
	octave, eighth := i>>Schema, i&(perOctave-1)
	return math.Ldexp(math.Exp2(float64(eighth)/perOctave), octave)
}

// slotOf returns the slot that counts a duration of ns nanoseconds.
func slotOf(ns uint64) int {
	if ns <= limitTable[0] {
		return 0
	}
	if ns > limitTable[edges-1] {
		return slots - 1
	}
	octave := bits.Len64(ns) - 1
	sixteenth := ns >> (octave - mantissa) & (1<<mantissa - 1)
	slot := int(startTable[(octave-minOctave)<<mantissa|int(sixteenth)])
	if ns > limitTable[slot] {
		slot++
	}
	return slot
}

// A Histogram counts durations in exponential buckets from 7.6 µs to 128 s, each 9 % wide. The zero value is
// empty. It must not be copied; its [Histogram.Snapshot] may be.
type Histogram struct {
	sum    atomic.Uint64
	held   [(slots + 63) / 64]atomic.Uint64 // a bit for each slot in which there was ever something: most are empty for ever
	counts [slots]atomic.Uint64
}

// Observe adds one duration; a negative one counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	ns := uint64(max(0, d))
	slot := slotOf(ns)
	h.hold(slot)
	h.counts[slot].Add(1)
	h.sum.Add(ns)
}

// hold notes that there is something in a slot.
func (h *Histogram) hold(slot int) {
	if word, bit := &h.held[slot/64], uint64(1)<<(slot%64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// each calls yield with every slot in which there was ever something, in order.
func (h *Histogram) each(yield func(slot int) bool) {
	for i := range h.held {
		for left := h.held[i].Load(); left != 0; left &= left - 1 {
			if !yield(64*i + bits.TrailingZeros64(left)) {
				return
			}
		}
	}
}

// Snapshot returns what was observed until now. Its Count is the sum of its buckets; while others observe, its
// Sum may be a few observations ahead or behind.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load())}
	for slot := range h.each {
		n := h.counts[slot].Load()
		s.slots[slot] = n
		s.Count += n
	}
	return s
}

// Each calls yield with the index and the count of every bucket that holds something, lowest first. Everything up to
// [ZeroThreshold] is of MinIndex-1, what is beyond MaxIndex of MaxIndex+1.
func (h *Histogram) Each(yield func(index int, n uint64)) {
	for slot := range h.each {
		if n := h.counts[slot].Load(); n > 0 {
			yield(MinIndex-1+slot, n)
		}
	}
}

// Each is [Histogram.Each].
func (s *Snapshot) Each(yield func(index int, n uint64)) {
	for slot, n := range s.slots {
		if n > 0 {
			yield(MinIndex-1+slot, n)
		}
	}
}

// Add adds what a snapshot holds, of this histogram or another.
func (h *Histogram) Add(s *Snapshot) {
	for i, n := range s.slots {
		if n > 0 {
			h.hold(i)
			h.counts[i].Add(n)
		}
	}
	h.sum.Add(uint64(max(0, s.Sum)))
}

// Reset forgets everything observed until now, and returns it: nothing that is observed meanwhile is lost between the two.
func (h *Histogram) Reset() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Swap(0))}
	for slot := range h.each {
		n := h.counts[slot].Swap(0)
		s.slots[slot] = n
		s.Count += n
	}
	return s
}

// A Snapshot is a histogram at one moment, as a plain value. The zero value is empty.
type Snapshot struct {
	Count uint64
	Sum   time.Duration
	slots [slots]uint64
}

// Low returns how many durations were at most [ZeroThreshold].
func (s *Snapshot) Low() uint64 { return s.slots[0] }

// Buckets calls yield with the index and the count of every bucket that holds something, lowest first, the
// one beyond MaxIndex included, until yield returns false.
func (s *Snapshot) Buckets(yield func(index int, n uint64) bool) {
	for slot := 1; slot < slots; slot++ {
		if n := s.slots[slot]; n > 0 && !yield(MinIndex-1+slot, n) {
			return
		}
	}
}

// AtMost returns how many durations were at most the upper edge of bucket i; it is exact.
func (s *Snapshot) AtMost(i int) uint64 {
	var n uint64
	for slot := 0; slot < slots && MinIndex-1+slot <= i; slot++ {
		n += s.slots[slot]
	}
	return n
}

// Merge adds what other holds.
func (s *Snapshot) Merge(other *Snapshot) {
	s.Count += other.Count
	s.Sum += other.Sum
	for i, n := range other.slots {
		s.slots[i] += n
	}
}

// Sub takes away what earlier holds, a snapshot of the same histogram: what is left was observed since. Where
// the histogram was reset in between, nothing is taken away.
func (s *Snapshot) Sub(earlier *Snapshot) {
	for i, n := range earlier.slots {
		if s.slots[i] < n {
			return
		}
	}
	for i, n := range earlier.slots {
		s.slots[i] -= n
	}
	s.Count -= earlier.Count
	s.Sum = max(0, s.Sum-earlier.Sum)
}

// Mean returns the average, 0 when the snapshot is empty.
func (s *Snapshot) Mean() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return time.Duration(float64(s.Sum) / float64(s.Count))
}

// Quantile returns the duration that a part q of all were at most, q in 0..1, to within one bucket. Inside a
// bucket it interpolates as Prometheus does for native histograms: on a logarithmic scale. It is 0 for an empty
// snapshot, and 128 s where the answer lies beyond.
func (s *Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 || math.IsNaN(q) {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(s.Count)
	var below float64
	for slot, n := range s.slots {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		part := (rank - below) / float64(n)
		var seconds float64
		switch slot {
		case 0:
			seconds = ZeroThreshold * part
		case slots - 1:
			seconds = Edge(MaxIndex)
		default:
			seconds = Edge(MinIndex-2+slot) * math.Exp2(part/perOctave)
		}
		return time.Duration(seconds * float64(time.Second))
	}
	return time.Duration(Edge(MaxIndex) * float64(time.Second))
}
