package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// A slot is one request of a run and the moment it is due, counted from the run's start.
type slot struct {
	index uint64
	due   time.Duration
}

// A schedule yields the slots of an open loop in order. It depends on the plan alone, never on answers.
type schedule struct {
	rate     float64
	gaps     *rand.Rand // nil: equal gaps
	duration time.Duration
	requests uint64
	next     uint64
	at       float64 // seconds; of the last slot
}

func newSchedule(plan Plan) *schedule {
	s := &schedule{rate: plan.Rate, duration: plan.Duration, requests: plan.Requests}
	if plan.Poisson {
		s.gaps = rand.New(rand.NewPCG(plan.Seed, 0)) //nolint:gosec // Arrival times, not secrets.
	}
	return s
}

// step returns the next slot, or false when the schedule is over.
func (s *schedule) step() (slot, bool) {
	if s.requests > 0 && s.next >= s.requests {
		return slot{}, false
	}
	if s.gaps == nil {
		s.at = float64(s.next) / s.rate // not a sum: errors must not add up over hours
	} else {
		s.at += s.gaps.ExpFloat64() / s.rate
	}
	due := time.Duration(s.at * float64(time.Second))
	if s.duration > 0 && due >= s.duration {
		return slot{}, false
	}
	s.next++
	return slot{index: s.next - 1, due: due}, true
}

// dueBy counts the slots from here on that are due at or before t.
func (s *schedule) dueBy(t time.Duration) uint64 {
	var n uint64
	for next, ok := s.step(); ok && next.due <= t; next, ok = s.step() {
		n++
	}
	return n
}

// pause waits for d and returns true, or returns false when ctx ends first. Go's timers are a millisecond
// coarse when a program idles; the last stretch is therefore slept by the kernel, to about a tenth of that.
func pause(ctx context.Context, d time.Duration) bool {
	const coarse = 2 * time.Millisecond
	deadline := time.Now().Add(d)
	if d > coarse {
		timer := time.NewTimer(d - coarse)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	for rest := time.Until(deadline); rest > 0; rest = time.Until(deadline) {
		sleep(rest)
	}
	return ctx.Err() == nil
}
