package drain

import (
	"math"
	"time"
)

// goodbye is what connections that are being ended have to end in; then they are closed at once.
const goodbye = 3 * time.Second

// A Leave is a data plane on its way out. It is not safe for concurrent use.
type Leave struct {
	timers Timers
	reason string
	stage  Stage
	held   bool // lame duck has no end
	hurry  bool // nothing is waited for any more
	told   bool

	began time.Time             // the leave
	since time.Time             // the stage
	spent [Stages]time.Duration // in the stages before it
	brief spread
	long  spread
	parts time.Time // since when everything that is open is being ended; zero while it is not
}

// NewLeave begins to leave at now. The reason is for the report.
func NewLeave(t Timers, reason string, now time.Time) *Leave {
	return &Leave{timers: t, reason: reason, stage: LameDuck, began: now, since: now}
}

// Hold has the lame duck last until Release: a data plane that only fails its health checks. It must be called before
// the first Step.
func (l *Leave) Hold() { l.held = true }

// Release ends a Hold, for another reason. The time that has passed since the leave began counts.
func (l *Leave) Release(reason string) { l.held, l.reason = false, reason }

// Hurry ends what is open from the next Step on, without waiting for it.
func (l *Leave) Hurry() { l.held, l.hurry = false, true }

// SetTimers changes the timers of what is to come.
func (l *Leave) SetTimers(t Timers) { l.timers = t }

// Stage returns the stage that the latest Step came to.
func (l *Leave) Stage() Stage { return l.stage }

// Reason returns why the leave goes on: what it was begun for, or released.
func (l *Leave) Reason() string { return l.reason }

// Report returns what a Leave knows for a report.
func (l *Leave) Report(now time.Time) Report {
	r := Report{Reason: l.reason, Began: l.began, Stage: l.stage, Timers: l.timers, Seconds: map[Stage]float64{}}
	for stage, spent := range l.spent {
		if Stage(stage) == l.stage && l.stage != Closed {
			spent += now.Sub(l.since)
		}
		if spent > 0 {
			r.Seconds[Stage(stage)] = spent.Seconds()
		}
	}
	return r
}

// Step says what is to be done at now, given what is seen. now must not go back. Sockets are left before anything is
// ended: that is for the next Step to see.
func (l *Leave) Step(s Sight, now time.Time) (do Do) {
	switch l.stage {
	case LameDuck:
		do.Tell = !l.told
		l.told = true
		if !l.lame(&s, now) {
			l.enter(Draining, now)
			do.Stop = true
		}
	case Draining, Forced:
		l.end(&s, &do, now)
	case Serving, Closed:
	}
	return do
}

// lame says whether lame duck goes on.
func (l *Leave) lame(s *Sight, now time.Time) bool {
	spent := now.Sub(l.began)
	switch {
	case l.held:
		return true
	case l.hurry, s.Shared, spent >= max(l.timers.Min, l.timers.Notice):
		return false
	case spent < l.timers.Min:
		return true
	}
	return now.Sub(latest(l.began, s.Accepted)) < l.timers.Quiet
}

// end ends what has to end, and the leave when nothing is open.
func (l *Leave) end(s *Sight, do *Do, now time.Time) {
	spent := now.Sub(l.since)
	if l.stage == Forced {
		spent += l.spent[Draining]
	}
	brief, long := l.hurry || spent >= l.timers.Requests, l.hurry || spent >= l.timers.Long
	switch forced := brief && s.brief() > 0 || long && s.Long > 0; {
	case forced:
		l.force(s, do, brief, long, now)
	case l.quiet(s, now):
		do.Brief = s.brief() // nothing is cut
	}
	switch {
	case s.Queued: // who waits there is served first, or heard; leaving a socket takes but a moment
	case s.Conns == 0, l.parted(s, do, now):
		l.enter(Closed, now)
		do.Close = true
	}
}

// force ends what is open and has had its time.
func (l *Leave) force(s *Sight, do *Do, brief, long bool, now time.Time) {
	if l.stage == Draining {
		l.enter(Forced, now)
	}
	if brief {
		do.Brief = l.brief.due(s.brief(), l.timers.Spread, now)
	}
	if long {
		do.Long = l.long.due(s.Long, l.timers.Spread, now)
	}
}

// quiet says whether nothing is open but connections on which nobody has asked for a while.
func (l *Leave) quiet(s *Sight, now time.Time) bool {
	return !s.Queued && s.Requests == 0 && s.Long == 0 && now.Sub(latest(l.began, s.Asked)) >= l.timers.Quiet
}

// parted says whether everything that is open has been ended, and had the time for that.
func (l *Leave) parted(s *Sight, do *Do, now time.Time) bool {
	switch {
	case s.Conns > do.Brief+do.Long+s.Parted:
		l.parts = time.Time{}
	case l.parts.IsZero():
		l.parts = now
	}
	return !l.parts.IsZero() && now.Sub(l.parts) >= goodbye
}

func (l *Leave) enter(next Stage, now time.Time) {
	l.spent[l.stage] += now.Sub(l.since)
	l.stage, l.since = next, now
}

// A spread ends a number of connections evenly over a time.
type spread struct {
	from  time.Time // zero before it begins
	total int       // there were when it began
	ended int       // so many have been
}

// due returns how many of those that are open are to be ended now: of those that there were at the beginning, as many as
// keep the pace; after the end, all.
func (p *spread) due(open int, over time.Duration, now time.Time) int {
	if p.from.IsZero() {
		p.from, p.total = now, open
	}
	spent := now.Sub(p.from)
	if spent >= over {
		return open
	}
	pace := int(math.Ceil(float64(p.total) * spent.Seconds() / over.Seconds()))
	n := min(max(0, pace-p.ended), open)
	p.ended += n
	return n
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
