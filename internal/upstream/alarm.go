package upstream

import "time"

// An Alarm is the deadline of one direction of a connection. Moving a deadline means moving a timer, which on a
// busy connection is most of what there is to do; so it is moved only when less than half of the time is left or
// when it lies too far out. It may ring early, never late: whoever hears it looks at the clock. The zero value is a
// deadline that nobody knows.
type Alarm struct{ at time.Time }

// Move says whether the deadline must be set to limit now; the caller then does so.
func (a *Alarm) Move(now, limit time.Time) bool {
	if !a.at.After(limit) && a.at.Sub(now) >= limit.Sub(now)/2 {
		return false
	}
	a.at = limit
	return true
}

// Rang says whether the deadline that was set has passed. If not, one that rings is another's.
func (a *Alarm) Rang(now time.Time) bool { return !now.Before(a.at) }
