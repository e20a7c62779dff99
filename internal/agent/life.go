package agent

import (
	"cmp"
	"fmt"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// A Sight is what is seen of an instance at one moment.
type Sight struct {
	Running  bool             // its application has been started
	Exit     string           // how that ended; "" while it has not
	Passing  bool             // its probe: the latest verdict
	Why      string           // that it does not pass
	Open     bool             // its front listens, or there is none
	Cycle    *fleet.Lifecycle // that holds for it; nil is not known yet. It counts when the instance can serve
	Requests Outcome          // of the warm-up requests
	Listing  Listing          // what the registry has been read to have of it
	Since    time.Time        // when it was first read to have it; zero before
	Share    float64          // what part of its weight it gets; 1 is all
	Control  Following
	Drained  bool        // control says that nobody sends to it any more, and nothing is open to it
	Front    *proxy.Seen // nil: it has none
	Wish     Wish
	Reason   string // of the wish
	Hurry    bool   // nothing is waited for any more
}

// A Do is what is to be the case now.
type Do struct {
	Listing Listing // in the registry
	Ramp    float64 // what part of its weight is listed, for consumers that know no warm-up; 0 is all of it
	Gone    bool    // registries have it no more, though control still sees to it that nobody sends
	Serves  bool    // what is listed can serve now
	Warm    bool    // warm-up requests are sent, until their outcome is seen
	Mark    bool    // the front says with each answer that the instance leaves
	Refuse  bool    // and refuses what may be retried elsewhere
	Ready   bool    // readiness is answered with 200
	Stop    bool    // the application is stopped
	Tell    []Told  // what has happened, once
	Next    time.Time
}

// A Told is something that happened in an instance's life, for people.
type Told struct{ Kind, Reason string }

// A Life is one instance's life as a pure step: what is seen, and the time, go in; what is to be the case comes out.
// It is not safe for concurrent use.
type Life struct {
	// Patience is until when the first probe must have passed, from when it began; 0 is for ever.
	Patience time.Duration
	// Reachable says whether anybody can send to the instance: it has ports.
	Reachable bool
	// Followed says whether there is a registry, which others may follow.
	Followed bool
	// Foreign says whether some of them may know nothing of crossfade: they go by what is in the registry alone.
	Foreign bool

	stage Stage
	began time.Time             // the life; zero before the first Step
	since time.Time             // the stage
	spent [stages]time.Duration // in the stages before it
	cycle fleet.Lifecycle

	listed  bool   // it was to be in the registry, so somebody may have seen it there
	ready   bool   // readiness has passed once
	sole    bool   // it warms up, and nobody else tells people so
	overdue bool   // the leave took longer than it may
	failed  string // why the life is over before it began

	rung time.Duration // until its ramp changes; 0 is never

	left   time.Time // when the leave began
	marked time.Time // when the registry had been read to say that it leaves
	why    string
	cut    int       // that were open when they had had their time
	stop   time.Time // when one that is offline was told to stop
}

// Times that are not for people to choose.
const (
	look    = 50 * time.Millisecond  // between looks at an instance that leaves
	lull    = 100 * time.Millisecond // without a request, before what is open counts as none
	recount = time.Second            // between looks at the share of an instance that warms up
	forget  = 10 * time.Second       // that the registry has to take it out; then its lease does
	again   = time.Second            // likewise, one that did not take the mark
	heeded  = time.Second            // after which everybody who follows the registry has read a mark in it
	bury    = 3 * time.Second        // likewise, of one that died
)

// Stage returns the stage that the latest Step came to.
func (l *Life) Stage() Stage { return l.stage }

// Reason returns in a sentence what the instance waits for in its stage, or why it is there; "" where that is plain.
func (l *Life) Reason() string {
	switch {
	case l.failed != "":
		return l.failed
	case l.stage.leaving():
		return l.why
	case l.stage == Refused:
		return "its warm-up requests failed, and its Lifecycle says onFailure: refuse"
	case l.stage == Delayed:
		return fmt.Sprintf("its Lifecycle delays registration by %v", l.cycle.Delay)
	}
	return ""
}

// Failure returns why the life was over before anybody could send to the instance; "" if it was not.
func (l *Life) Failure() string { return l.failed }

// Step says what is to be the case at now, given what is seen. now must not go back.
func (l *Life) Step(s Sight, now time.Time) Do {
	if l.began.IsZero() {
		l.began, l.since, l.cycle = now, now, fleet.PlainLifecycle()
	}
	if l.marked.IsZero() && s.Listing == Leaving {
		l.marked = now
	}
	var do Do
	for l.advance(&s, &do, now) {
	}
	l.demand(&s, &do, now)
	do.Next = l.next(now)
	if rung := now.Add(l.rung); l.rung > 0 && l.stage <= Warm && (do.Next.IsZero() || rung.Before(do.Next)) {
		do.Next = rung
	}
	return do
}

// advance enters the next stage if it is time to, and says whether it was.
func (l *Life) advance(s *Sight, do *Do, now time.Time) bool {
	spent := now.Sub(l.since)
	switch {
	case l.stage == Ended:
		return false
	case s.Exit != "" && l.stage == Stopping:
		return l.enter(Ended, now)
	case s.Exit != "" && l.stage < Stopping:
		do.tell("instance.died", s.Exit)
		return l.enter(Died, now)
	case l.stage == Died:
		return (!l.listed || s.Listing == Absent || spent >= bury) && l.enter(Ended, now)
	case s.Wish != Stay && l.stage < Withdrawing:
		return l.leave(s, do, now)
	case l.stage >= Withdrawing:
		return l.withdraw(s, do, now)
	}
	return l.rise(s, do, now)
}

// rise is advance for an instance that comes up.
func (l *Life) rise(s *Sight, do *Do, now time.Time) bool {
	switch l.stage {
	case Starting:
		return s.Running && l.enter(Probing, now)
	case Probing:
		return l.probed(s, do, now)
	case Warming:
		return l.warmed(s, do, now)
	case Delayed:
		return now.Sub(l.since) >= l.cycle.Delay && l.enter(Registering, now)
	case Registering:
		if s.Listing == Listed {
			do.tell("registration.completed", fmt.Sprintf("%v after its start", now.Sub(l.began).Round(time.Millisecond)))
			l.sole = s.Control == Nobody && s.Share < 1
			l.solo(do, "warmup.started")
			return l.enter(Registered, now)
		}
	case Registered:
		if s.Share >= 1 {
			l.solo(do, "warmup.ended")
			return l.enter(Warm, now)
		}
	default: // Warm and Refused stay
	}
	return false
}

// solo tells what control would, where there is none.
func (l *Life) solo(do *Do, kind string) {
	if l.sole {
		do.tell(kind, "")
	}
}

// probed is rise for one that has not shown yet that it can serve.
func (l *Life) probed(s *Sight, do *Do, now time.Time) bool {
	if s.Passing && s.Open && s.Cycle != nil {
		l.cycle = *s.Cycle
		return l.enter(Warming, now)
	}
	if l.Patience <= 0 || now.Sub(l.since) < l.Patience {
		return false
	}
	l.failed = fmt.Sprintf("it could not serve within %v: %s", l.Patience, cmp.Or(s.Why, "its front does not listen"))
	do.tell("probe.failed", l.failed)
	return l.enter(Stopping, now)
}

// warmed is rise for one that is sent warm-up requests, if there are any.
func (l *Life) warmed(s *Sight, do *Do, now time.Time) bool {
	if r := l.cycle.Requests; r != nil && len(r.Requests) > 0 {
		switch {
		case s.Requests == Open:
			return false
		case s.Requests == Failed && r.Refuse:
			do.tell("registration.refused", "its warm-up requests failed, and its Lifecycle says onFailure: refuse")
			return l.enter(Refused, now)
		}
	}
	if l.cycle.Delay > 0 {
		do.tell("registration.delayed", fmt.Sprintf("by %v", l.cycle.Delay))
	}
	return l.enter(Delayed, now)
}

// demand says what is to be the case in the stage.
func (l *Life) demand(s *Sight, do *Do, now time.Time) {
	switch {
	case l.stage >= Registering && l.stage <= Warm && (s.Passing || l.listed):
		do.Listing, l.listed = Listed, true
	case l.stage == Withdrawing && l.listed:
		do.Listing = Leaving
		do.Gone = l.Foreign && l.heeded(now)
	}
	do.Ramp, l.rung = l.ramp(s, now)
	do.Serves = s.Passing && s.Exit == ""
	do.Warm = l.stage == Warming && s.Requests == Open
	do.Mark = l.stage >= Withdrawing
	do.Refuse = l.stage >= Finishing
	do.Ready = do.Serves && (l.stage == Warm || l.stage == Registered && l.cycle.Ready != fleet.ReadyWarm)
	do.Stop = l.stage == Stopping
	if do.Ready && !l.ready {
		l.ready = true
		do.tell("readiness.passed", "")
	}
}

// next is when to look again at the latest, if nothing happens; zero is never.
func (l *Life) next(now time.Time) time.Time {
	switch l.stage {
	case Probing:
		if l.Patience > 0 {
			return l.since.Add(l.Patience)
		}
	case Delayed:
		return l.since.Add(l.cycle.Delay)
	case Registered:
		return now.Add(recount)
	case Withdrawing, Deregistering, Lingering, Finishing, Died:
		return now.Add(look)
	case Offline:
		if !l.stop.IsZero() {
			return now.Add(look)
		}
	default:
	}
	return time.Time{}
}

func (l *Life) enter(next Stage, now time.Time) bool {
	l.spent[l.stage] += now.Sub(l.since)
	l.stage, l.since = next, now
	return true
}

func (do *Do) tell(kind, reason string) { do.Tell = append(do.Tell, Told{kind, reason}) }
