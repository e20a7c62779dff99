package history

import (
	"time"

	"crossfade.dev/internal/series"
)

// A part is a step of time, and what part of an increase has come about when it is over, 0..1.
type part struct {
	at   int64
	upto float64
}

// A spread is the time over which sums have grown, in seconds and in minutes. What lies further back than samples are kept is
// not among its parts.
type spread struct {
	now     time.Time // when it ends
	seconds []part
	minutes []part
}

// over sets s to a span before now.
func (s *spread) over(now time.Time, span time.Duration) {
	s.now = now
	span = min(max(span, time.Millisecond), series.Minutes*time.Minute)
	end := float64(now.UnixNano()) / 1e9
	begin := end - span.Seconds()
	s.seconds = steps(s.seconds[:0], begin, end, 1, series.Seconds)
	s.minutes = steps(s.minutes[:0], begin, end, 60, series.Minutes)
}

// steps appends the steps of time between two moments, most of them at most.
func steps(parts []part, begin, end float64, step, most int64) []part {
	first, last := int64(begin)/step, int64(end)/step
	for at := max(first, last-most+1); at <= last; at++ {
		upto := 1.0
		if at < last {
			upto = (float64((at+1)*step) - begin) / (end - begin)
		}
		parts = append(parts, part{at, upto})
	}
	return parts
}

// by returns how many of n have come about when p is over: whole numbers, so that nothing of n is lost or counted twice.
func (p part) by(n uint64) uint64 {
	if p.upto >= 1 {
		return n
	}
	return uint64(float64(n) * p.upto)
}
