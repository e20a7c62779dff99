package agent

import (
	"cmp"
	"fmt"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// leave begins the leave. An instance that nobody could see has nobody to tell.
func (l *Life) leave(s *Sight, do *Do, now time.Time) bool {
	l.left, l.why = now, s.Reason
	if s.Cycle != nil && l.stage <= Probing {
		l.cycle.Leave = s.Cycle.Leave
	}
	do.tell("offline.requested", s.Reason)
	return l.enter(Withdrawing, now)
}

// withdraw is advance for an instance that leaves.
func (l *Life) withdraw(s *Sight, do *Do, now time.Time) bool {
	if l.stage < Offline && (s.Hurry || now.Sub(l.left) >= l.bound()) {
		return l.giveUp(s, do, now)
	}
	switch l.stage {
	case Withdrawing:
		if !l.listed {
			return l.enter(Lingering, now)
		}
		return l.withdrawn(s, now) && l.enter(Deregistering, now)
	case Deregistering:
		return l.deregistered(s, do, now) && l.enter(Lingering, now)
	case Lingering:
		return !l.lingers(s, now) && l.enter(Finishing, now)
	case Finishing:
		if !l.calm(s, now) {
			return false
		}
		do.tell("drained", fmt.Sprintf("%v after it was told to leave", now.Sub(l.left).Round(time.Millisecond)))
		return l.enter(Offline, now)
	case Offline:
		return l.mayStop(s, now) && l.enter(Stopping, now)
	default: // Stopping ends with the application
	}
	return false
}

// deregistered says whether the registry has the instance no more, or may be left to forget it. One that did not take the mark
// has been away for as long already.
func (l *Life) deregistered(s *Sight, do *Do, now time.Time) bool {
	switch {
	case s.Listing == Absent:
		do.tell("deregistered", "")
	case now.Sub(l.since) >= forget, s.Listing == Asked && now.Sub(l.left) >= forget,
		l.marked.IsZero() && now.Sub(l.since) >= again && now.Sub(l.left) >= forget:
		do.tell("registration.failed", fmt.Sprintf("the registry was away for %v; it forgets the instance by itself", forget))
	default:
		return false
	}
	return true
}

// calm says whether nothing is open, nor was a moment ago.
func (l *Life) calm(s *Sight, now time.Time) bool {
	return s.Front == nil || s.Front.Open == 0 && now.Sub(s.Front.Last) >= lull
}

// mayStop says whether one that is offline is to be stopped. What may not be refused may have come since; it has as long
// as the leave had.
func (l *Life) mayStop(s *Sight, now time.Time) bool {
	if s.Wish != Stop {
		return false
	}
	if l.stop.IsZero() {
		l.stop = now
	}
	return l.overdue || s.Hurry || l.calm(s, now) || now.Sub(l.stop) >= l.bound()
}

// withdrawn says whether those who follow the registry or control send nothing any more, as far as they hear of it.
// Others than control must see the registration go for that.
func (l *Life) withdrawn(s *Sight, now time.Time) bool {
	switch {
	case s.Control == Linked:
		return s.Drained
	case s.Control == Lost && !l.Foreign:
		return now.Sub(l.left) >= l.times().Callers
	case !l.Followed:
		return true
	}
	return l.heeded(now)
}

// heeded says whether those who follow the registry have had time to read there that the instance leaves: an entry that
// goes without a mark looks like a lease that ran out, and its instance is offered on.
func (l *Life) heeded(now time.Time) bool {
	if l.marked.IsZero() {
		return now.Sub(l.left) >= forget
	}
	return now.Sub(l.marked) >= heeded
}

// lingers says whether callers that hear of nothing may still come. Behind a front they are seen: nobody waits for those
// who have not come for as long as the slowest of them may take. Without one, they are unknown; where control has seen
// to it that its gateways stopped, they are taken to be all, unless others follow the registry.
func (l *Life) lingers(s *Sight, now time.Time) bool {
	times := l.times()
	if !l.Reachable || now.Sub(l.since) >= times.Callers {
		return false
	}
	if s.Front == nil {
		return l.listed && (s.Control != Linked || l.Foreign)
	}
	last := s.Front.LastForeign
	if s.Control != Linked { // then gateways are callers like others
		last = s.Front.Last
	}
	if last.IsZero() || l.left.Sub(last) >= times.Callers {
		return false
	}
	return now.Sub(later(last, l.since)) < times.Quiet
}

// giveUp goes on although requests may be open, or may come.
func (l *Life) giveUp(s *Sight, do *Do, now time.Time) bool {
	if s.Front != nil {
		l.cut = s.Front.Open
	}
	l.overdue = true
	why := "told to hurry"
	if !s.Hurry {
		why = fmt.Sprintf("requests may be open after %v", l.bound())
	}
	do.tell("drain.overdue", why+"; stops all the same")
	return l.enter(Offline, now)
}

// times are how the instance leaves.
func (l *Life) times() fleet.Leave {
	usual := fleet.DefaultLeave()
	return fleet.Leave{
		Quiet:   cmp.Or(l.cycle.Leave.Quiet, usual.Quiet),
		Callers: cmp.Or(l.cycle.Leave.Callers, usual.Callers),
		Timeout: cmp.Or(l.cycle.Leave.Timeout, usual.Timeout),
	}
}

// bound is how long the leave may take until it is safe, or not, to stop.
func (l *Life) bound() time.Duration { return l.times().Timeout }

// Bound returns after how long, from now on, an instance that leaves is stopped, whatever is open.
func (l *Life) Bound(now time.Time) time.Duration {
	if l.left.IsZero() {
		return 0
	}
	return max(0, l.left.Add(l.bound()).Sub(now))
}

// Report returns what a leave has come to: nil before it began.
func (l *Life) Report(now time.Time) *drain.Report {
	if l.left.IsZero() {
		return nil
	}
	times := l.times()
	r := &drain.Report{
		Reason: l.why, Began: l.left, Stage: stageOfDrain(l.stage), Cut: uint64(l.cut),
		Seconds: map[drain.Stage]float64{},
		Timers:  drain.Timers{Quiet: times.Quiet, Notice: times.Callers, Requests: times.Timeout, Long: times.Timeout},
	}
	for stage := Withdrawing; stage < Offline; stage++ {
		spent := l.spent[stage]
		if stage == l.stage {
			spent += now.Sub(l.since)
		}
		if spent > 0 {
			r.Seconds[stageOfDrain(stage)] += spent.Seconds()
		}
	}
	return r
}

// stageOfDrain says the stage of a leave in the words of a data plane's: while others are told it serves as before, then
// it ends what is open.
func stageOfDrain(s Stage) drain.Stage {
	switch {
	case s < Withdrawing:
		return drain.Serving
	case s <= Lingering:
		return drain.LameDuck
	case s == Finishing:
		return drain.Draining
	}
	return drain.Closed
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
