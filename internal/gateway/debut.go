package gateway

import (
	"context"
	"math"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

// A replica accepts from sockets that others accept from too, so it must not be behind those: a client that meets it
// would miss an endpoint that everybody else has heard of. It accepts nothing, and connections wait or go to others,
// before it goes by what control has when it is asked once more after the first view. Only where control turns out to be
// away does it go by the snapshot that was kept.
const (
	askFirst = time.Second     // control is waited for, though it cannot be reached: it may begin at the same time
	askMost  = 5 * time.Second // likewise where it can be reached and says nothing, and then again for the newest
	askAgain = 2 * time.Second // for the number of the newest
)

// A debut is what comes before a replica's first connection. The channels are for everybody, the rest for run's goroutine.
type debut struct {
	began time.Time
	late  <-chan time.Time // when something is decided though nothing was heard; nil: never
	need  uint64           // the snapshot to come to; there is none that is enough before control has been asked
	met   chan struct{}    // closed when control has told its first view
	told  chan uint64      // which snapshot is control's newest; 0 where it does not say
}

func newDebut() debut {
	return debut{need: math.MaxUint64, met: make(chan struct{}), told: make(chan uint64)}
}

func (d *debut) begin(now time.Time) { d.began, d.late = now, time.After(askFirst) }

// hear goes by a view of control's.
func (l *loop) hear(ctx context.Context, a arrival) error {
	defer close(a.done)
	err := l.apply(ctx, a.view, time.Now())
	if err != nil || l.admits.Load() {
		return err
	}
	if !isClosed(l.debut.met) {
		close(l.debut.met)
		l.debut.late = time.After(askMost)
	}
	return l.admit(ctx, time.Now())
}

// overdue decides what to go by while nothing is heard of control. One that can be reached is given more time: what was
// kept is older than what it will say.
func (l *loop) overdue(ctx context.Context, now time.Time) error {
	if l.view.Snapshot == nil {
		if !l.unreached.Load() && now.Sub(l.debut.began) < askMost {
			l.debut.late = time.After(askFirst)
			return nil
		}
		if err := l.boot(ctx, now); err != nil || l.view.Snapshot == nil {
			return err
		}
	}
	l.debut.need = 0
	return l.admit(ctx, now)
}

// admit begins to accept connections, for good, once everything is in force that they may rely on.
func (l *loop) admit(ctx context.Context, now time.Time) error {
	if l.admits.Load() || l.view.Snapshot == nil || l.view.Number < l.debut.need {
		return nil
	}
	l.admits.Store(true)
	state, err := l.compile(l.view, now)
	if err == nil {
		l.bind(ctx, state, now)
	}
	return err
}

// inquire asks control, after its first view, for the newest.
func (l *loop) inquire(ctx context.Context) error {
	select {
	case <-l.debut.met:
	case <-ctx.Done():
		return nil
	}
	asking, enough := context.WithTimeout(ctx, askAgain)
	defer enough()
	newest := uint64(0)
	err := l.Control.Follow(asking, feed.Hello{ID: l.ID, Role: "gateway"}, func(v fleet.View) {
		newest = v.Number
		enough()
	})
	if newest == 0 {
		l.Log.WarnContext(ctx, "control does not say whether anything is newer", "err", err)
	}
	select {
	case l.debut.told <- newest:
	case <-ctx.Done():
	}
	return nil
}
