package warmer

import (
	"fmt"
	"strings"
	"time"
)

// Progress is how far a warm-up has come.
type Progress struct {
	Sent, Failed int // requests that have ended, and those of them that failed
	Concurrency  int // at once, now
	Elapsed      time.Duration
	First, Last  time.Duration // median of a request, in the first window and in the last; 0: not yet known
	Settled      float64       // how near latency is to having converged, 0 to 1
	Count        int           // the plan's bounds
	Time         time.Duration
}

// String returns the figures that people want to see.
func (p Progress) String() string {
	return figures(p.Sent, p.Failed, p.Concurrency, p.First, p.Last)
}

// Part returns how far it is on the way to the end that is nearest, 0 to 1.
func (p Progress) Part() float64 {
	part := p.Settled
	if p.Count > 0 {
		part = float64(p.Sent) / float64(p.Count)
	}
	if p.Time > 0 {
		part = max(part, float64(p.Elapsed)/float64(p.Time))
	}
	return min(1, part)
}

// A Result is what a warm-up came to.
type Result struct {
	Ending       Ending
	Sent, Failed int // requests that have ended, and those of them that failed
	Took         time.Duration
	First, Last  time.Duration // median of a request, in the first window and in the last; 0: none was answered
	Concurrency  int           // at once, at most
	Causes       []string      // why requests failed and how often, most often first
}

// String returns the result in one line.
func (r Result) String() string {
	if r.Ending == None {
		return r.Ending.String()
	}
	text := fmt.Sprintf("%s after %s: %s", r.Ending, round(r.Took), figures(r.Sent, r.Failed, r.Concurrency, r.First, r.Last))
	if len(r.Causes) > 0 {
		text += " (" + strings.Join(r.Causes, ", ") + ")"
	}
	return text
}

func figures(sent, failed, concurrency int, first, last time.Duration) string {
	text := fmt.Sprintf("%d sent", sent)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	text += fmt.Sprintf(", %d at once", concurrency)
	if last > 0 {
		text += fmt.Sprintf(", median %s → %s", round(first), round(last))
	}
	return text
}

// round leaves two or three digits of a duration.
func round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}
