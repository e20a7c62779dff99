package local

import (
	"context"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// A hearing is what became of a report.
type hearing struct {
	report fleet.Report
	told   int // events that control has heard of with it, since the beginning
	err    error
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
	for _, rec := range r.sorted() {
		if rec.incarnation != "" {
			report.Instances = append(report.Instances, rec.report())
		}
	}
	told := r.dropped + len(r.events)
	r.changed, r.reporting, r.reported = false, true, now
	r.others.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		r.heard <- hearing{report, told, r.Feed.Report(ctx, report)}
	})
}

// confirm takes in what became of the last report. What control has not heard goes into the next one, a beat
// later.
func (r *runner) confirm(h hearing) {
	r.reporting = false
	if h.err != nil {
		return
	}
	r.drop(h.told - r.dropped)
	now := time.Now()
	for _, told := range h.report.Instances {
		rec := r.records[told.Namespace+"/"+told.Name]
		if told.Leaving && rec != nil && rec.incarnation == told.Incarnation && rec.heard.IsZero() {
			rec.heard = now
		}
	}
}

// drop forgets the oldest n events.
func (r *runner) drop(n int) {
	if n > 0 {
		r.events = slices.Delete(r.events, 0, n)
		r.dropped += n
	}
}
