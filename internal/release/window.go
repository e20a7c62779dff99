package release

import (
	"slices"
	"time"
)

// How much is recorded around what happens, and in how many points.
const (
	before     = 30 * time.Second // its start, and its leave
	afterWarm  = 60 * time.Second
	afterEnd   = 30 * time.Second
	maxPoints  = 900  // of a start: then every second one goes, and from there on every second one is kept
	maxEpisode = 1800 // of an episode
)

// window has l recorded from a little before a moment on.
func (r *Recorder) window(l *life, at time.Time) {
	if len(r.windows) >= maxWindows && r.windows[l.ID] == nil {
		return
	}
	r.windows[l.ID] = l
	l.next = at.Add(-before).Unix() // seconds that were over, and of no interest then, may be of some now
	if n := len(l.Points); n > 0 {
		l.next = max(l.next, l.Points[n-1].At+1)
	}
}

// within says whether a second belongs to l's start or to its shutdown.
func (l *life) within(at int64) bool {
	start, shutdown := l.parts(at)
	return start || shutdown
}

// parts says which of the two it belongs to. One that was killed has a shutdown as if it had left in the moment of its end.
func (l *life) parts(at int64) (start, shutdown bool) {
	t := time.Unix(at, 0)
	from := func(moment time.Time) bool { return t.Add(time.Second).After(moment.Add(-before)) }
	left := l.Left
	if left.IsZero() {
		left = l.Ended
	}
	if left.IsZero() {
		return !l.Partial && !l.Offered.IsZero() && from(l.Offered) && (l.Warm.IsZero() || t.Before(l.Warm.Add(afterWarm))), false
	}
	return false, from(left) && (l.Ended.IsZero() || t.Before(l.Ended.Add(afterEnd)))
}

// record takes what l got up to a second, that included.
func (r *Recorder) record(l *life, at int64, b Book) {
	if l.next > at {
		return
	}
	for _, p := range b.Points(l.ID, max(l.next, at-int64(maxPoints)), at+1) {
		start, shutdown := l.parts(p.At)
		if p.At < l.next || !start && !shutdown || len(l.Points) >= maxEpisode {
			continue
		}
		if start && p.At%l.stride != 0 {
			continue
		}
		if len(l.Points) == 0 {
			l.From = p.At
			r.pointed = append(r.pointed, l)
			r.newsOf[l.ID] = true
		}
		l.Points = append(l.Points, p)
		if start && len(l.Points) > maxPoints {
			l.stride *= 2
			l.Points = slices.DeleteFunc(slices.Clone(l.Points), func(p Point) bool { return p.At%l.stride != 0 })
			l.From = l.Points[0].At
			r.newsOf[l.ID] = true
		}
		if _, changed := r.newsOf[l.ID]; !changed {
			r.newsOf[l.ID] = false
		}
	}
	l.next = at + 1
	if !l.within(at) {
		delete(r.windows, l.ID)
	}
}

// forgetPoints keeps points of the newest only.
func (r *Recorder) forgetPoints() {
	for len(r.pointed) > maxPointed {
		l := r.pointed[0]
		l.Points = nil
		r.pointed = r.pointed[1:]
		r.newsOf[l.ID] = true
	}
}

// rewind goes on from a second that is over by a clock that was set back: what was to come by the old one is now, and what was
// recorded of seconds that come again is forgotten.
func (r *Recorder) rewind(at int64, now time.Time) {
	r.at = at - 1
	back := func(moments ...*time.Time) {
		for _, m := range moments {
			if m.After(now) {
				*m = now
			}
		}
	}
	for _, o := range r.open {
		back(&o.Changed, &o.Over, &o.Moved)
	}
	for _, p := range r.planes {
		back(&p.Since, &p.Gone)
	}
	for _, l := range r.pointed {
		if n := len(l.Points); n > 0 && l.Points[n-1].At >= at {
			l.Points = slices.DeleteFunc(slices.Clone(l.Points), func(p Point) bool { return p.At >= at })
			r.newsOf[l.ID] = true
		}
	}
	r.pointed = slices.DeleteFunc(r.pointed, func(l *life) bool { return len(l.Points) == 0 })
	for _, l := range r.windows {
		l.next = min(l.next, at)
	}
}
