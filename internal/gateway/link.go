package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

const (
	reportEvery   = time.Second           // when nothing happens
	reportClosely = 50 * time.Millisecond // while somebody drains: it waits for us
	reportTimeout = 2 * time.Second
	retryAfter    = 200 * time.Millisecond // to find control again
)

// follow takes views from control for as long as ctx lasts. While control is away, the last view stays in force.
func (l *loop) follow(ctx context.Context) error {
	away, met := false, false
	for ctx.Err() == nil {
		err := l.Control.Follow(ctx, feed.Hello{ID: l.ID, Role: "gateway"}, func(v fleet.View) {
			if away {
				l.Log.InfoContext(ctx, "control is back", "number", v.Number)
			}
			away, met = false, true
			l.take(ctx, v)
		})
		switch {
		case ctx.Err() != nil || away:
		case met:
			l.Log.WarnContext(ctx, "control is away; serving on", "err", err)
			away = true
		default: // both start at the same time
			l.Log.DebugContext(ctx, "control does not answer yet", "err", err)
		}
		pause(ctx, retryAfter)
	}
	return nil
}

// report tells control what is applied and open: after every change, and every now and then.
func (l *loop) report(ctx context.Context) error {
	var events []fleet.Event
	for {
		wait := reportEvery
		if state := l.proxy.State(); state != nil {
			r := fleet.Report{From: l.ID, Role: "gateway", Applied: state.View().Number, Open: map[string]int{}}
			open := state.Open()
			for _, s := range state.Services() {
				for i := range s.Service.Endpoints {
					if e := &s.Service.Endpoints[i]; e.Stage == fleet.Draining {
						wait = reportClosely
						r.Open[e.Incarnation] = open[e.Incarnation]
					}
				}
			}
			events = l.gather(events)
			r.Events, r.Drain = events, l.drained()
			if l.send(ctx, r) {
				events = nil
			}
		}
		select {
		case <-ctx.Done(): // everything is drained
			l.send(context.WithoutCancel(ctx), fleet.Report{
				From: l.ID, Role: "gateway", Leaving: true, Events: l.gather(events), Drain: l.drained(),
			})
			return nil
		case <-l.applied:
		case <-time.After(wait):
		}
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
