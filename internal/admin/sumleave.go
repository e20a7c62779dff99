package admin

import "crossfade.dev/internal/drain"

// addLeave adds how far others are on their way out. Together data planes are as far as the one that is least far, and
// took as long as the longest in each stage.
func (s *Sum) addLeave(other *Sum) {
	s.Conns += other.Conns
	r := other.Drain
	if r == nil {
		return
	}
	if s.Drain == nil {
		s.Drain = &drain.Report{Stage: drain.Closed, Seconds: map[drain.Stage]float64{}, Protocols: map[drain.Protocol]drain.Requests{}}
	}
	all := s.Drain
	all.Stage = min(all.Stage, r.Stage)
	if !r.Began.IsZero() && (all.Began.IsZero() || r.Began.Before(all.Began)) {
		all.Began, all.Reason = r.Began, r.Reason
	}
	all.Accepted += r.Accepted
	all.AcceptedIn += r.AcceptedIn
	all.Connections += r.Connections
	all.Told += r.Told
	all.Cut += r.Cut
	all.Timers = r.Timers
	for stage, seconds := range r.Seconds {
		all.Seconds[stage] = max(all.Seconds[stage], seconds)
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
