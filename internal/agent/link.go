package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/warmer"
)

// Times of the link with control.
const (
	beat          = 10 * time.Second // control hears of an agent at least this often
	retry         = time.Second      // after a report that control has not heard
	reportTimeout = 5 * time.Second  // how long control may take to hear a report
	settle        = time.Second      // a view that was made when control heard a report arrives within this time
	patience      = 5 * time.Second  // that a Lifecycle is waited for, where the instance can serve already
	refused       = 30 * time.Second // until control is asked again that has refused
	goodbye       = time.Second      // that control has to hear the last report
	maxEvents     = 200              // kept while control is away
)

// A linking is what the runner knows of control.
type linking struct {
	view  fleet.View // its Snapshot is nil before the first, and while control is away
	away  bool       // people have been told that it is
	heard time.Time  // when control, on this link, had heard that the instance leaves; zero before

	// Of the report.
	events    []fleet.Event // that control has not heard
	dropped   int           // events that were in events before
	changed   bool          // since the last report
	reporting bool
	reported  time.Time
	again     time.Time // not before this, after one that control has not heard
	recorded  time.Time // when recorded requests were last sent
}

// following hands control's views to the runner until ctx ends, whatever happens to the link.
func (r *runner) following(ctx context.Context) {
	r.link.changed = true
	if r.Control == nil {
		return
	}
	r.tasks.Go(func() {
		for short := 0; ; {
			begun := time.Now()
			err := r.Control.Follow(ctx, feed.Hello{ID: r.ID(), Role: "agent", Incarnation: r.Instance.Incarnation}, func(v fleet.View) {
				r.do(func() { r.see(v) })
			})
			if ctx.Err() != nil {
				return
			}
			r.do(func() { r.lose(err) })
			var wait time.Duration
			short, wait = process.Redial().After(short, time.Since(begun))
			if errors.Is(err, feed.ErrRefused) { // it will say so again
				wait = refused
			}
			if !process.Pause(ctx, process.Jitter(wait)) {
				return
			}
		}
	})
}

func (r *runner) see(v fleet.View) {
	if r.link.view.Snapshot == nil {
		r.link.changed, r.link.again = true, time.Time{} // whoever is new must hear of us
	}
	if r.link.away {
		r.link.away = false
		r.Log.Info("control is back")
	}
	r.link.view = v
}

func (r *runner) lose(err error) {
	switch {
	case errors.Is(err, feed.ErrRefused):
		r.Log.Error("control does not let the agent follow it", "error", err)
	case !r.link.away: // also one that has never been there
		r.Log.Warn("control is away; it is called again", "error", err)
	}
	r.link.away = true
	r.link.view, r.link.heard = fleet.View{}, time.Time{}
}

func (l *linking) following() Following {
	if l.view.Snapshot == nil {
		return Lost
	}
	return Linked
}

// own returns what control knows of the instance; nil is nothing.
func (l *linking) own() *fleet.Instance {
	if l.view.Snapshot == nil || len(l.view.Instances) == 0 {
		return nil
	}
	return &l.view.Instances[0]
}

// offered says whether anybody may send to the instance, or has something open to it, as control knows.
func (l *linking) offered() bool {
	for i := range l.view.Services {
		for j := range l.view.Services[i].Endpoints {
			if stage := l.view.Services[i].Endpoints[j].Stage; stage.Offered() || stage == fleet.Draining {
				return true
			}
		}
	}
	return false
}

// drained says whether control knows that the instance leaves, and nobody sends to it or has anything open to it any
// more. What control knows nothing of, though it was told, is drained too: somebody told it that it died.
func (l *linking) drained(now time.Time) bool {
	switch own := l.own(); {
	case l.view.Snapshot == nil, l.offered():
		return false
	case own != nil:
		return own.Leaving
	}
	return !l.heard.IsZero() && now.Sub(l.heard) >= settle
}

// listing says what control, as a registry, has of the instance; heard is false where it cannot be told.
func (l *linking) listing(want wanted) (is Listing, heard bool) {
	own := l.own()
	switch {
	case l.view.Snapshot == nil:
		return Absent, false
	case own != nil && own.Leaving && want.listing != Absent:
		return Leaving, true
	case own != nil && own.Ready && !own.Leaving:
		return Listed, true
	case own != nil:
		return Listed, false // not any more, or not yet
	}
	return Absent, want.listing == Absent
}

// share is the smallest that the instance has in any service: 0 until somebody may send to it, 1 where nobody does.
func (l *linking) share(incarnation string, now time.Time) float64 {
	share, member := 1.0, false
	for i := range l.view.Services {
		s := &l.view.Services[i]
		for j := range s.Endpoints {
			e := &s.Endpoints[j]
			if e.Incarnation != incarnation {
				continue
			}
			member = true
			if !e.Stage.Offered() {
				return 0
			}
			for k := range s.Pools {
				share = min(share, shareIn(&s.Pools[k], e, j, l.view.Age(e, now)))
			}
		}
	}
	if own := l.own(); !member && (own == nil || !own.Ready) {
		return 0
	}
	return share
}

func shareIn(p *fleet.Pool, e *fleet.Endpoint, index int, age time.Duration) float64 {
	w := p.Policy.WarmupOf(e)
	for _, m := range p.Members {
		if m.Endpoint == index && w.Window > 0 {
			return shareOf(w, m, age)
		}
	}
	return 1
}

func (l *linking) tell(e fleet.Event) {
	l.events = append(l.events, e)
	l.drop(len(l.events) - maxEvents)
	l.changed = true
}

// drop forgets the oldest n events.
func (l *linking) drop(n int) {
	if n > 0 {
		l.events = slices.Delete(l.events, 0, n)
		l.dropped += n
	}
}

// next is when the next report is due, where one is so often though nothing has happened.
func (l *linking) next(often time.Duration) time.Time {
	switch {
	case l.reporting:
		return time.Time{}
	case l.changed:
		return l.again
	}
	return l.reported.Add(often)
}

// report tells control what is known, when that has changed or it is time to; one report at a time.
func (r *runner) report(ctx context.Context, now time.Time) {
	l := &r.link
	if r.Control == nil || l.reporting || now.Before(l.again) || !l.changed && now.Sub(l.reported) < r.often() {
		return
	}
	report := r.whole(now)
	events := l.dropped + len(l.events)
	l.changed, l.reporting, l.reported = false, true, now
	r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		err := r.Control.Report(ctx, report)
		r.do(func() { r.confirm(report, events, err) })
	})
}

// whole is everything that control is to know.
func (r *runner) whole(now time.Time) fleet.Report {
	l := &r.link
	report := fleet.Report{From: r.ID(), Role: "agent", Events: slices.Clone(l.events), Drain: r.drained(now), Traffic: r.traffic(now)}
	if l.view.Snapshot != nil {
		report.Applied = l.view.Number
	}
	in := r.publish.now.in // as it is registered
	if r.publish.now.listing == Absent {
		in = r.instance(now)
	}
	in.Ready, in.Ramp = in.Ready && r.Registrar == nil, 0
	if r.now.Listing != Absent || r.life.Stage() < Deregistering {
		report.Instances = []fleet.Instance{in}
	}
	if rec := r.recorder.Load(); rec != nil && now.Sub(l.recorded) >= beat {
		l.recorded = now
		report.Recorded = rec.Kept()
	}
	return report
}

// confirm takes in what became of the last report. What control has not heard goes into the next one.
func (r *runner) confirm(report fleet.Report, events int, err error) {
	l := &r.link
	l.reporting = false
	if err != nil {
		l.changed, l.again = true, time.Now().Add(retry)
		if errors.Is(err, feed.ErrRefused) {
			l.again = time.Now().Add(refused)
		}
		return
	}
	l.again = time.Time{}
	r.counting.taken = r.counting.made
	l.drop(events - l.dropped)
	if len(report.Instances) == 0 || report.Instances[0].Leaving {
		if l.heard.IsZero() {
			l.heard = time.Now()
		}
	}
}

// drained is what the leave has come to, as far as it is; nil before it began.
func (r *runner) drained(now time.Time) *drain.Report {
	report := r.life.Report(now)
	if report == nil {
		return nil
	}
	report.ID = r.ID()
	if r.before == nil {
		return report
	}
	open := report.Cut // when it had had its time
	report.Fill(r.before, &r.sight.Front.Tally)
	if r.life.Stage() != Ended {
		report.Cut = max(report.Cut, open)
	}
	return report
}

// farewell tells control the last that there is to tell, if it listens.
func (r *runner) farewell(ctx context.Context) {
	if r.Control == nil {
		return
	}
	now := time.Now()
	report := fleet.Report{From: r.ID(), Role: "agent", Events: r.link.events, Leaving: true, Drain: r.drained(now), Traffic: r.traffic(now)}
	if report.Traffic != nil {
		report.Traffic.StillCalled = r.stillCalled()
	}
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	for err := r.Control.Report(ctx, report); err != nil && process.Pause(ctx, goodbye/10); {
		err = r.Control.Report(ctx, report)
	}
}

// choose settles which Lifecycle holds, as soon as that can be known.
func (r *runner) choose() {
	if r.sight.Cycle != nil {
		return
	}
	var cycle fleet.Lifecycle
	var err error
	switch {
	case r.Lifecycle != nil:
		cycle, err = r.Lifecycle.For(r.labels())
	case r.Control != nil && r.link.own() == nil && time.Since(r.born) < patience:
		return
	case r.link.own() != nil && len(r.link.view.Lifecycles) > 0:
		cycle = r.link.view.Lifecycles[0]
	case r.Control == nil && r.Lifecycles != nil && !r.read:
		return
	default:
		cycle, err = fleet.LifecycleFor(r.cycles, r.Instance.Namespace, r.Services, r.labels())
	}
	if err != nil {
		r.Log.Warn("a label is not understood", "error", err)
	}
	cycle = r.settle(cycle)
	r.sight.Cycle = &cycle
	if cycle.Requests != nil && cycle.Requests.Record != nil && r.Front != nil {
		r.recorder.Store(warmer.NewRecorder(*cycle.Requests.Record))
	}
}
