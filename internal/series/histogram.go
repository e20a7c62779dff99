package series

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"

	"crossfade.dev/internal/meter"
)

// The indexes of buckets are those of meter.Histogram: lowest holds everything up to meter.ZeroThreshold, highest what is longer
// than 128 s.
const (
	lowest  = meter.MinIndex - 1
	highest = meter.MaxIndex + 1
)

// A Bucket is how many durations lie within one bucket.
type Bucket struct {
	Index int16
	N     uint64
}

// A Histogram is the buckets that hold something, by ascending index.
type Histogram []Bucket

// Add adds n durations to a bucket. An index that there is not is the nearest that there is.
func (h *Histogram) Add(index int, n uint64) {
	if n == 0 {
		return
	}
	at := int16(min(max(index, lowest), highest))
	i := len(*h)
	if i > 0 && (*h)[i-1].Index >= at { // mostly they come in order
		i = sort.Search(len(*h), func(i int) bool { return (*h)[i].Index >= at })
	}
	if i < len(*h) && (*h)[i].Index == at {
		(*h)[i].N += n
		return
	}
	*h = slices.Insert(*h, i, Bucket{at, n})
}

// Merge adds what another holds.
func (h *Histogram) Merge(other Histogram) {
	for _, b := range other {
		h.Add(int(b.Index), b.N)
	}
}

// Count returns how many durations there are.
func (h *Histogram) Count() (n uint64) {
	for _, b := range *h {
		n += b.N
	}
	return n
}

// Quantile returns the duration in milliseconds that a part q of all were at most, q in 0..1, as meter.Snapshot.Quantile does; 0
// for an empty histogram.
func (h *Histogram) Quantile(q float64) float64 {
	rank := min(max(q, 0), 1) * float64(h.Count())
	var below float64
	for _, b := range *h {
		if below+float64(b.N) < rank {
			below += float64(b.N)
			continue
		}
		part := (rank - below) / float64(b.N)
		switch b.Index {
		case lowest:
			return 1000 * meter.ZeroThreshold * part
		case highest:
			return 1000 * meter.Edge(meter.MaxIndex)
		}
		return 1000 * meter.Edge(int(b.Index)-1) * math.Exp2(part/(1<<meter.Schema))
	}
	return 0
}

// Coarse returns h with half as many buckets, each the upper of two: as a native histogram of the next lower schema. Quantiles of
// it are to within 19 %.
func (h *Histogram) Coarse() (out Histogram) {
	for _, b := range *h {
		i := int(b.Index)
		if i > lowest && i < highest {
			i += i & 1
		}
		out.Add(i, b.N)
	}
	return out
}

// AppendTo appends h to data in a few bytes for each bucket, and how many there are before them.
func (h *Histogram) AppendTo(data []byte) []byte {
	data = binary.AppendUvarint(data, uint64(len(*h)))
	last := int64(lowest)
	for _, b := range *h {
		data = binary.AppendUvarint(data, uint64(int64(b.Index)-last))
		data = binary.AppendUvarint(data, b.N)
		last = int64(b.Index)
	}
	return data
}

// errPacked says that bytes are not what was appended.
var errPacked = errors.New("these are no samples")

// TakeFrom adds to h what AppendTo appended; no bytes are an empty histogram. Bytes that it did not append are an error.
func (h *Histogram) TakeFrom(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	n, data, err := uvarint(data)
	index := uint64(0)
	for ; err == nil && n > 0; n-- {
		var step, count uint64
		if step, data, err = uvarint(data); err != nil {
			break
		}
		if count, data, err = uvarint(data); err != nil {
			break
		}
		if index += step; step > highest-lowest || index > highest-lowest {
			return errPacked
		}
		h.Add(lowest+int(index), count)
	}
	if err == nil && len(data) > 0 {
		err = errPacked
	}
	return err
}

func uvarint(data []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, nil, errPacked
	}
	return v, data[n:], nil
}

// A Shelf holds a histogram for each of the last [Seconds] seconds. The zero value is empty.
type Shelf struct {
	chunks [chunks]*shelfChunk
}

type shelfChunk struct {
	index int64
	v     [chunkSeconds][]byte
}

// Put sets the histogram of a second. A second that is older than what is kept is left out.
func (s *Shelf) Put(second int64, h *Histogram) {
	index, i := second/chunkSeconds, second%chunkSeconds
	c := s.chunks[index%chunks]
	if c == nil || c.index < index {
		if len(*h) == 0 {
			return
		}
		if c == nil {
			c = &shelfChunk{}
			s.chunks[index%chunks] = c
		}
		c.index = index
		for i := range c.v {
			c.v[i] = c.v[i][:0]
		}
	}
	if c.index != index {
		return
	}
	c.v[i] = c.v[i][:0]
	if len(*h) > 0 {
		c.v[i] = h.AppendTo(c.v[i])
	}
}

// Merge adds the histogram of a second to one.
func (s *Shelf) Merge(second int64, into *Histogram) {
	index, i := second/chunkSeconds, second%chunkSeconds
	if c := s.chunks[index%chunks]; c != nil && c.index == index && len(c.v[i]) > 0 {
		_ = into.TakeFrom(c.v[i]) // nobody else writes there
	}
}
