package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

const role = "gateway"

const (
	reportEvery   = time.Second           // when nothing happens
	reportClosely = 50 * time.Millisecond // while somebody drains: it waits for us
	reportTimeout = 2 * time.Second
	retryAfter    = 200 * time.Millisecond // to find control again
	insistFor     = 3 * time.Second        // that control takes the last report
)

// follow takes views from control for as long as ctx lasts. While control is away, the last view stays in force.
func (l *loop) follow(ctx context.Context) error {
	away, met := false, false
	for ctx.Err() == nil {
		first := true
		err := l.Control.Follow(ctx, feed.Hello{ID: l.ID, Role: role}, func(v fleet.View) {
			if away {
				l.Log.InfoContext(ctx, "control is back", "number", v.Number)
			}
			if away, met = false, true; first {
				first = false
				l.renewed.Store(true)
			}
			l.take(ctx, v)
		})
		switch {
		case ctx.Err() != nil || away:
		case met:
			l.Log.WarnContext(ctx, "control is away; serving on", "err", err)
			away = true
		default: // both start at the same time
			l.unreached.Store(true)
			l.Log.DebugContext(ctx, "control does not answer yet", "err", err)
		}
		pause(ctx, retryAfter)
	}
	return nil
}

// report tells control what is applied and open: after every change, and every now and then; and once a second, what was
// counted. Its last report has all of that, and is insisted on for a while.
func (l *loop) report(ctx context.Context) error {
	var said saying
	for {
		wait := reportEvery
		if state := l.proxy.State(); state != nil {
			wait = l.say(ctx, state, &said)
		}
		select {
		case <-ctx.Done(): // everything is drained
			l.sayGoodbye(context.WithoutCancel(ctx), said.events)
			return nil
		case <-l.applied:
			l.sums.look(l.proxy.State(), time.Now()) // what comes may be gone before the next second
		case <-time.After(wait):
		}
	}
}

// A saying is what reports go on from.
type saying struct {
	events  []fleet.Event // that control has not taken yet
	counted time.Time     // when it was last told of what was counted
}

// say reports once, and returns how soon it is to be done again though nothing has happened.
func (l *loop) say(ctx context.Context, state *proxy.State, said *saying) (again time.Duration) {
	again = reportEvery
	r := fleet.Report{From: l.ID, Role: role, Applied: state.View().Number, Open: draining(state), Drain: l.drained()}
	if len(r.Open) > 0 {
		again = reportClosely
	}
	said.events = l.gather(said.events)
	r.Events = said.events
	if now := time.Now(); now.Sub(said.counted) >= reportEvery {
		r.Traffic, said.counted = l.sums.traffic(state, l.renewed.Swap(false), now), now
	}
	taken := l.send(ctx, r)
	if taken {
		said.events = nil
	}
	if r.Traffic != nil {
		l.sums.told(taken)
	}
	return min(again, max(0, time.Until(said.counted.Add(reportEvery))))
}

// draining counts what is open to those who drain.
func draining(state *proxy.State) map[string]int {
	counts, open := map[string]int{}, state.Open()
	for _, s := range state.Services() {
		for i := range s.Service.Endpoints {
			if e := &s.Service.Endpoints[i]; e.Stage == fleet.Draining {
				counts[e.Incarnation] = open[e.Incarnation]
			}
		}
	}
	return counts
}

// sayGoodbye tells control everything for the last time.
func (l *loop) sayGoodbye(ctx context.Context, events []fleet.Event) {
	r := fleet.Report{From: l.ID, Role: role, Leaving: true, Events: l.gather(events), Drain: l.drained()}
	if state := l.proxy.State(); state != nil {
		r.Traffic = l.sums.traffic(state, true, time.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, insistFor)
	defer cancel()
	for !l.send(ctx, r) && ctx.Err() == nil {
		pause(ctx, retryAfter)
	}
}

// gather adds the events that wait.
func (l *loop) gather(events []fleet.Event) []fleet.Event {
	for {
		select {
		case e := <-l.notices:
			events = append(events, e)
		default:
			return events[max(0, len(events)-cap(l.notices)):]
		}
	}
}

func (l *loop) send(ctx context.Context, r fleet.Report) bool {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if err := l.Control.Report(ctx, r); err != nil {
		l.Log.DebugContext(ctx, "report", "err", err)
		return false
	}
	return true
}

// pause waits for about d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(float64(d) * (0.75 + rand.Float64()/2))):
	}
}
