package supervisor

import (
	"context"
	"reflect"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/store/file"
)

// role is what the supervisor is to control: its reports say what runs, and nobody waits for them.
const role = "supervisor"

const (
	reportEvery   = time.Second // when nothing happens
	reportTimeout = 2 * time.Second
	retryAfter    = 200 * time.Millisecond // to find control again
)

// follow takes views from control for as long as ctx lasts. While control is away, everything stays as it is.
func (l *loop) follow(ctx context.Context) error {
	var last *fleet.Snapshot
	for ctx.Err() == nil {
		err := l.Control.Follow(ctx, feed.Hello{ID: l.ID, Role: role}, func(v fleet.View) {
			l.tell(func(ctx context.Context, _ time.Time) { l.take(ctx, v) })
			if l.State != "" && (last == nil || !sameOrders(last, v.Snapshot)) {
				if err := file.Save(l.path(), v, time.Now()); err != nil {
					l.Log.ErrorContext(ctx, "what is wanted is not kept", "err", err)
				}
			}
			last = v.Snapshot
		})
		if ctx.Err() == nil {
			l.Log.DebugContext(ctx, "control does not answer", "err", err)
		}
		pause(ctx, retryAfter)
	}
	return nil
}

// sameOrders says whether two snapshots want the same of a supervisor.
func sameOrders(a, b *fleet.Snapshot) bool {
	if len(a.Groups) != len(b.Groups) || len(a.Listeners) != len(b.Listeners) {
		return false
	}
	for i := range a.Groups {
		if !reflect.DeepEqual(a.Groups[i], b.Groups[i]) {
			return false
		}
	}
	for i := range a.Listeners {
		if a.Listeners[i].Address != b.Listeners[i].Address {
			return false
		}
	}
	return true
}

// report tells control what runs: after every change, and every now and then.
func (l *loop) report(ctx context.Context) error {
	for {
		shown := l.shown.Load()
		r := fleet.Report{From: l.ID, Role: role, Replicas: shown.replicas, Events: l.gather()}
		if shown.view.Snapshot != nil {
			r.Applied = shown.view.Number
		}
		if !l.send(ctx, r) {
			l.giveBack(r.Events)
		}
		select {
		case <-ctx.Done(): // nobody is left
			l.send(context.WithoutCancel(ctx), fleet.Report{From: l.ID, Role: role, Events: l.gather(), Leaving: true})
			return nil
		case <-l.bell:
		case <-time.After(reportEvery):
		}
	}
}

// gather takes the events that wait.
func (l *loop) gather() []fleet.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.notices
	l.notices = nil
	return events
}

// giveBack keeps events for the next report that this one did not bring to control.
func (l *loop) giveBack(events []fleet.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notices = append(events, l.notices...)
	l.notices = l.notices[:min(maxNotices, len(l.notices))]
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
	case <-time.After(process.Jitter(d)):
	}
}
