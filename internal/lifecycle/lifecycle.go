// Package lifecycle is the life of one incarnation of an endpoint as a pure step: state, event and now in;
// state and what happened out. It is the only place where a stage changes.
//
//	Starting ─Ready─▶ Warming ─Matured─▶ Serving
//	   ▲                 │ ◀────Rewarm──────│
//	   └──── Unready ────┴──────────────────┤
//	                     └───── Leave ──────┴─▶ Draining ─Drained─▶ Gone
//
// Found is Ready for one that was offered before anybody looked. Vanished leads to Gone from everywhere; whoever leaves
// before it was offered is Gone at once.
package lifecycle

import (
	"fmt"
	"time"

	"crossfade.dev/internal/fleet"
)

// A State is what control knows of one incarnation's life. The zero State has just been seen.
type State struct {
	Stage   fleet.Stage
	Offered time.Time // when consumers could first send to it; zero before. Readiness blips do not move it.
}

// Age returns how long ago the incarnation was first offered; 0 before that.
func (s State) Age(now time.Time) time.Duration {
	if s.Offered.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.Offered))
}

// An Event is something that control learnt about an incarnation.
type Event uint8

// The events.
const (
	Ready    Event = iota // its runner says so, and its checks pass
	Found                 // it can serve, and was offered before anybody looked: since State.Offered
	Unready               // its runner says that it cannot serve for now
	Matured               // its warm-up is over in every pool
	Rewarm                // its warm-up begins anew: somebody wants that, or it has weight again
	Leave                 // it was asked to stop
	Drained               // every gateway stopped sending, and nothing is open
	Vanished              // its process is gone, or nobody reports it any more
)

var eventNames = [...]string{"Ready", "Found", "Unready", "Matured", "Rewarm", "Leave", "Drained", "Vanished"}

func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// Step returns the state after event e, and the kind of the fleet.Event that tells people about the change,
// or "" when e changes nothing in this stage. A warm-up that begins anew while it runs is told too.
func Step(s State, e Event, now time.Time) (State, string) {
	if s.Stage == fleet.Gone {
		return s, ""
	}
	switch e {
	case Ready:
		return ready(s, now)
	case Found:
		return found(s)
	case Unready:
		if s.Stage.Offered() {
			s.Stage = fleet.Starting
			return s, "readiness.lost"
		}
	case Matured:
		if s.Stage == fleet.Warming {
			s.Stage = fleet.Serving
			return s, "warmup.ended"
		}
	case Rewarm:
		if s.Stage.Offered() {
			s.Stage = fleet.Warming
			return s, "warmup.restarted"
		}
	case Leave:
		return leave(s)
	case Drained:
		if s.Stage == fleet.Draining {
			s.Stage = fleet.Gone
			return s, "drained"
		}
	case Vanished:
		s.Stage = fleet.Gone
		return s, "gone"
	}
	return s, ""
}

// ready offers an incarnation that waits. Its age starts when it is offered for the first time; one that was
// offered before goes on where it is.
func ready(s State, now time.Time) (State, string) {
	if s.Stage != fleet.Starting {
		return s, ""
	}
	s.Stage = fleet.Warming
	if !s.Offered.IsZero() {
		return s, "readiness.regained"
	}
	s.Offered = now
	return s, "warmup.started"
}

// found offers one that others had offered before; whoever finds it says since when.
func found(s State) (State, string) {
	if s.Stage != fleet.Starting || s.Offered.IsZero() {
		return s, ""
	}
	s.Stage = fleet.Warming
	return s, "registration.found"
}

// leave drains an incarnation that requests may have been sent to. One that lost readiness a moment ago may
// still have some open, so it drains too.
func leave(s State) (State, string) {
	switch {
	case s.Stage == fleet.Draining:
		return s, ""
	case s.Offered.IsZero():
		s.Stage = fleet.Gone
		return s, "gone"
	default:
		s.Stage = fleet.Draining
		return s, "drain.started"
	}
}
