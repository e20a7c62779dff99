package series

import (
	"encoding/binary"
	"math"
)

const thousand = 1000

// A Minute is what passed one place in one minute.
type Minute struct {
	Requests uint64
	Lost     uint64
	Due      float64   // to within a thousandth
	Active   uint64    // open at its end
	Answers  Histogram // of latencies, coarse: see Histogram.Coarse
}

// Add adds what others counted of the same minute.
func (m *Minute) Add(other *Minute) {
	m.Requests += other.Requests
	m.Lost += other.Lost
	m.Due += other.Due
	m.Active = max(m.Active, other.Active)
	m.Answers.Merge(other.Answers)
}

// AppendTo appends m to data in few bytes.
func (m *Minute) AppendTo(data []byte) []byte {
	for _, n := range []uint64{m.Requests, m.Lost, uint64(math.Round(m.Due * thousand)), m.Active} {
		data = binary.AppendUvarint(data, n)
	}
	return m.Answers.AppendTo(data)
}

// TakeFrom sets m to what AppendTo appended. Bytes that it did not append are an error.
func (m *Minute) TakeFrom(data []byte) error {
	*m = Minute{}
	var due uint64
	var err error
	for _, n := range []*uint64{&m.Requests, &m.Lost, &due, &m.Active} {
		if *n, data, err = uvarint(data); err != nil {
			return err
		}
	}
	m.Due = float64(due) / thousand
	return m.Answers.TakeFrom(data)
}

// hours is how many hours have to be kept so that there are always [Minutes] minutes.
const hours = Minutes/60 + 1

// A Day holds the last [Minutes] minutes. The zero value is empty.
type Day struct {
	hours [hours]*hour
}

// An hour is packed: what is appended lies in data by minute.
type hour struct {
	index int64 // minute / 60
	data  []byte
	ends  [60]uint32 // of each minute's part of data
	last  int64      // the latest minute that data has, within the hour
}

// Add adds to a minute; minutes are numbered from 1970 on. One that is older than what is kept is left out.
func (d *Day) Add(minute int64, m *Minute) {
	index, i := minute/60, minute%60
	h := d.hours[index%hours]
	if h == nil || h.index < index {
		h = &hour{index: index, last: -1}
		d.hours[index%hours] = h
	}
	switch {
	case h.index > index:
	case i > h.last:
		h.append(i, m)
	default:
		var sum Minute
		h.at(i, &sum)
		sum.Add(m)
		h.replace(i, &sum)
	}
}

// Forget drops the hours that begin at a minute or after it: the clock was set back, and they are yet to come.
func (d *Day) Forget(minute int64) {
	for i, h := range d.hours {
		if h != nil && h.index*60 >= minute {
			d.hours[i] = nil
		}
	}
}

// At adds what is known of a minute to m, and says whether anything is.
func (d *Day) At(minute int64, m *Minute) bool {
	index, i := minute/60, minute%60
	h := d.hours[index%hours]
	if h == nil || h.index != index || i > h.last {
		return false
	}
	return h.at(i, m)
}

func (h *hour) at(i int64, m *Minute) bool {
	begin := uint32(0)
	if i > 0 {
		begin = h.ends[i-1]
	}
	if begin == h.ends[i] {
		return false
	}
	var found Minute
	if err := found.TakeFrom(h.data[begin:h.ends[i]]); err != nil {
		return false // nobody else writes there
	}
	m.Add(&found)
	return true
}

func (h *hour) append(i int64, m *Minute) {
	for ; h.last < i-1; h.last++ {
		h.ends[h.last+1] = uint32(len(h.data))
	}
	h.data = m.AppendTo(h.data)
	h.ends[i] = uint32(len(h.data))
	h.last = i
}

// replace writes an hour anew in which one minute is another.
func (h *hour) replace(i int64, m *Minute) {
	next := hour{index: h.index, last: -1}
	for j := int64(0); j <= h.last; j++ {
		var had Minute
		switch known := h.at(j, &had); {
		case j == i:
			next.append(j, m)
		case known:
			next.append(j, &had)
		}
	}
	*h = next
}
