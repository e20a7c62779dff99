package series

import "math"

// A short is a number from 0 to about a million in 16 bits: a binary exponent of 32 octaves, and eleven digits behind it, which
// is to within 0.03 %. What is below 2^-12 is 0.
type short uint16

const (
	digits    = 11
	dropped   = 23 - digits                // of a float32's mantissa
	smallest  = (127 - 12) << digits       // 2^-12, as the upper bits of a float32
	largest   = math.MaxUint16             // about 2^20
	roundHalf = uint32(1) << (dropped - 1) // to the nearest
)

func shorten(v float32) short {
	if !(v > 0) { // NaN, too
		return 0
	}
	code := int64((uint64(math.Float32bits(v))+uint64(roundHalf))>>dropped) - smallest + 1
	return short(min(max(code, 0), largest))
}

func (s short) float() float32 {
	if s == 0 {
		return 0
	}
	return math.Float32frombits((uint32(s) - 1 + smallest) << dropped)
}

// Samples of one place are kept in chunks, which are taken where there is something to keep and used again when they are old.
const (
	chunkSeconds = 100
	chunks       = Seconds/chunkSeconds + 1 // the newest is not full
)

// A Lane is one number for each of the last [Seconds] seconds. The zero value is 0 everywhere, and takes no memory for zeroes.
type Lane struct {
	chunks [chunks]*chunk
}

type chunk struct {
	index int64 // second / chunkSeconds
	v     [chunkSeconds]short
}

// At returns the number of a second; 0 where none was put, and where it is forgotten.
func (l *Lane) At(second int64) float32 {
	index, i := second/chunkSeconds, second%chunkSeconds
	if c := l.chunks[index%chunks]; c != nil && c.index == index {
		return c.v[i].float()
	}
	return 0
}

// Put sets the number of a second, to within 0.03 %: from 0 to about a million. A second that is older than what is kept is left
// out.
func (l *Lane) Put(second int64, v float32) {
	index, i := second/chunkSeconds, second%chunkSeconds
	c := l.chunks[index%chunks]
	if c == nil || c.index < index {
		if shorten(v) == 0 {
			return
		}
		if c == nil {
			c = &chunk{}
			l.chunks[index%chunks] = c
		}
		*c = chunk{index: index}
	}
	if c.index == index {
		c.v[i] = shorten(v)
	}
}

// Add adds to the number of a second.
func (l *Lane) Add(second int64, v float32) {
	if v != 0 {
		l.Put(second, l.At(second)+v)
	}
}

// Sum returns the sum of seconds, from one to another, which is not included.
func (l *Lane) Sum(from, to int64) (sum float64) {
	for at := from; at < to; {
		index := at / chunkSeconds
		end := min(to, (index+1)*chunkSeconds)
		if c := l.chunks[index%chunks]; c != nil && c.index == index {
			for ; at < end; at++ {
				sum += float64(c.v[at%chunkSeconds].float())
			}
		}
		at = end
	}
	return sum
}
