package local

import (
	"context"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// A hearing is what became of a report.
type hearing struct {
	told int // events that control has heard of with it, since the beginning
	err  error
}

// report tells control what runs, when that has changed or it is time to; one report at a time.
func (r *runner) report(ctx context.Context, now time.Time) {
	due := now.Sub(r.reported) >= beat && (!r.stopping || len(r.records) > 0)
	if r.reporting || !due && !r.changed {
		return
	}
	report := fleet.Report{From: reporter, Role: reporter, Events: slices.Clone(r.events)}
	if r.picture.Snapshot != nil {
		report.Applied = r.picture.Number
	}
	for _, d := range r.dead {
		report.Dead = append(report.Dead, d.incarnation)
	}
	told := r.dropped + len(r.events)
	r.changed, r.reporting, r.reported = false, true, now
	r.others.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		r.heard <- hearing{told, r.Feed.Report(ctx, report)}
	})
}

// confirm takes in what became of the last report. What control has not heard goes into the next one, a beat
// later.
func (r *runner) confirm(h hearing) {
	r.reporting = false
	if h.err == nil {
		r.drop(h.told - r.dropped)
	}
}

// drop forgets the oldest n events.
func (r *runner) drop(n int) {
	if n > 0 {
		r.events = slices.Delete(r.events, 0, n)
		r.dropped += n
	}
}

// A death is the end of an incarnation. Control is told of it for a while, in each report: what a registry still has of
// it, for as long as its lease runs, is not to be believed.
type death struct {
	incarnation string
	at          time.Time
}

// What is told of the dead. Whoever had a lease has lost it long before.
const (
	maxDead = 1000
	mourned = 10 * time.Minute
)

// bury notes that an incarnation has ended.
func (r *runner) bury(incarnation string, now time.Time) {
	r.dead = append(r.dead, death{incarnation, now})
	r.dead = slices.Delete(r.dead, 0, max(0, len(r.dead)-maxDead))
	r.changed = true
}

// forget drops those who have been dead for long enough.
func (r *runner) forget(now time.Time) {
	r.dead = slices.DeleteFunc(r.dead, func(d death) bool { return now.Sub(d.at) > mourned })
}

// disown buries those whom the newest snapshot shows at our addresses and whom we do not run: they were those of a
// runtime before this one, and ended with it.
func (r *runner) disown(now time.Time) {
	known := map[string]bool{}
	for _, d := range r.dead {
		known[d.incarnation] = true
	}
	for _, rec := range r.records {
		known[rec.incarnation] = true
	}
	for i := range r.picture.Instances {
		if in := &r.picture.Instances[i]; in.Workload != "" && in.Origin.File == "" && isPublic(in.Address) && !known[in.Incarnation] {
			r.bury(in.Incarnation, now)
		}
	}
}
