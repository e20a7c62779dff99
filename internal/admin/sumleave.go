package admin

import (
	"time"

	"crossfade.dev/internal/drain"
)

// An Outcome is how a data plane ended that had served.
type Outcome string

// The outcomes.
const (
	LeftClean Outcome = "clean"  // it left, and cut nothing
	LeftCut   Outcome = "cut"    // it left, and had to cut requests
	Killed    Outcome = "killed" // it was killed, or ended without being told to: what it had open is lost
)

// outcomeTable are all of them.
var outcomeTable = []Outcome{LeftClean, LeftCut, Killed}

// Leaves are how data planes ended that run no more.
type Leaves struct {
	Ended    map[Outcome]uint64             `json:"ended,omitempty"`
	Requests map[drain.Protocol]drain.Count `json:"requests,omitempty"` // what became of them in their leaves, as far as they have told
}

func newLeaves() *Leaves {
	return &Leaves{Ended: map[Outcome]uint64{}, Requests: map[drain.Protocol]drain.Count{}}
}

// Ended counts one that ended.
func (s *Sum) Ended(how Outcome) { s.addLeaves(&Leaves{Ended: map[Outcome]uint64{how: 1}}) }

// addLeaves adds the leaves of more data planes.
func (s *Sum) addLeaves(more *Leaves) {
	if more == nil {
		return
	}
	if s.Leaves == nil {
		s.Leaves = newLeaves()
	}
	for how, n := range more.Ended {
		s.Leaves.Ended[how] += n
	}
	for protocol, n := range more.Requests {
		into := s.Leaves.Requests[protocol]
		addCount(&into, &n)
		s.Leaves.Requests[protocol] = into
	}
}

// buryLeave makes what the leave has come to of data planes that run no more one of those that are over.
func (s *Sum) buryLeave() {
	if s.Drain == nil {
		return
	}
	over := newLeaves()
	for protocol, requests := range s.Drain.Protocols {
		requests.Leave.Open = 0
		over.Requests[protocol] = requests.Leave
	}
	s.addLeaves(over)
	s.Drain = nil
}

// addLeave adds how far others are on their way out. Together data planes are as far as the one that is least far. As
// long as one serves they do not leave, whoever of them does; else they took as long as the longest in each stage.
func (s *Sum) addLeave(other *Sum) {
	s.Conns += other.Conns
	s.addLeaves(other.Leaves)
	r := other.Drain
	if r == nil {
		return
	}
	if s.Drain == nil {
		s.Drain = &drain.Report{Stage: drain.Closed, Seconds: map[drain.Stage]float64{}, Protocols: map[drain.Protocol]drain.Requests{}}
	}
	all := s.Drain
	all.Stage = min(all.Stage, r.Stage)
	switch {
	case all.Stage == drain.Serving:
		all.Began, all.Reason = time.Time{}, ""
		clear(all.Seconds)
	case !r.Began.IsZero() && (all.Began.IsZero() || r.Began.Before(all.Began)):
		all.Began, all.Reason = r.Began, r.Reason
	}
	all.Accepted += r.Accepted
	all.AcceptedIn += r.AcceptedIn
	all.Connections += r.Connections
	all.Told += r.Told
	all.Cut += r.Cut
	all.Timers = r.Timers
	for stage, seconds := range r.Seconds {
		if all.Stage != drain.Serving {
			all.Seconds[stage] = max(all.Seconds[stage], seconds)
		}
	}
	for protocol, requests := range r.Protocols {
		into := all.Protocols[protocol]
		into.Before += requests.Before
		addCount(&into.Leave, &requests.Leave)
		addCount(&into.Ever, &requests.Ever)
		all.Protocols[protocol] = into
	}
}

func addCount(into, from *drain.Count) {
	into.Open += from.Open
	into.Opened += from.Opened
	into.Completed += from.Completed
	into.Failed += from.Failed
	into.Told += from.Told
	into.Cut += from.Cut
}
