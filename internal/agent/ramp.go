package agent

import (
	"time"

	"crossfade.dev/internal/fleet"
)

// The ramp of an instance's weight in registries whose consumers know no warm-up. Each of its steps is a new registration
// to everybody who follows the registry, so there are few.
const (
	mostSteps = 20          // in a warm-up
	leastStep = time.Second // from one to the next: who follows a registry may hear of changes twice a second
)

// rampOf returns what part of its weight a registry is to have of an instance of an age, and after how long that
// changes. The window is divided into equal steps, and each has the share of its middle: what consumers send over some of
// them is what the curve says. After the window it is 0 for all of the weight, and changes no more.
func rampOf(w fleet.Warmup, age time.Duration) (part float64, lasts time.Duration) {
	if age >= w.Window {
		return 0, 0
	}
	steps := max(1, min(mostSteps, int(w.Window/leastStep)))
	step := w.Window / time.Duration(steps)
	at := min(int(max(age, 0)/step), steps-1)
	begin := time.Duration(at) * step
	end := begin + step
	if at == steps-1 {
		end = w.Window // and what rounding has left
	}
	return shareOf(w, fleet.Member{}, begin+step/2), end - age
}

// ramp is rampOf the life: its age begins when the registry has the instance, and stays as it is when that leaves, for
// one that goes needs no more than it had.
func (l *Life) ramp(s *Sight, now time.Time) (part float64, lasts time.Duration) {
	if !l.cycle.Ramp || !l.Foreign {
		return 0, 0
	}
	if !l.left.IsZero() {
		now = l.left
	}
	age := time.Duration(0)
	if !s.Since.IsZero() {
		age = now.Sub(s.Since)
	}
	part, lasts = rampOf(l.cycle.Warmup, age)
	if s.Since.IsZero() || !l.left.IsZero() {
		lasts = 0
	}
	return part, lasts
}
