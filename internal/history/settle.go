package history

import (
	"slices"
	"time"

	"crossfade.dev/internal/series"
)

// silence is how long a data plane may say nothing before what it has open is not believed any more.
const silence = 10 * time.Second

// setBack is how many seconds the clock may go back before those that are yet to come are forgotten.
const setBack = 60

// settle settles every second that is whole at now.
func (h *History) settle(now time.Time) {
	to := whole(now)
	if to-h.settled > series.Seconds { // the machine slept: what was open has no second
		h.settled = to - series.Seconds
	}
	if h.settled-to > setBack {
		h.rewind(to, now)
	}
	if h.settled < to {
		h.broken(now)
		h.missFronts(now)
	}
	for h.settled < to {
		second := h.settled + 1
		h.each(func(p *place) { p.settle(second) }, func(e *endpoint) { e.settle(second) })
		h.settled = second
		h.recorder.Second(second, book{h}, now)
	}
	h.at = min(max(now.Unix(), h.settled+1), h.settled+ahead)
	for _, r := range h.runs {
		if !r.quiet && now.Sub(r.heard) > silence {
			h.quiet(r)
		}
	}
}

// rewind goes on from a second by a clock that was set back: what was counted for seconds to come has none.
func (h *History) rewind(to int64, now time.Time) {
	h.settled = to
	h.each((*place).forgetSeconds, func(e *endpoint) { e.forgetSeconds() })
	h.heard.forgetSeconds()
	h.daily(func(_ string, p *place) { p.day.Forget(now.Unix()/perMinute + 1) })
	for _, s := range h.services {
		for _, e := range s.all {
			e.from = min(e.from, to+1)
			e.reasons = slices.DeleteFunc(e.reasons, func(r reason) bool { return r.at > to })
		}
		for _, c := range s.callers {
			c.rate = series.Lane{}
		}
	}
	if h.since.After(now) { // who begins now was not counted before
		h.since = now.Round(0)
	}
}

// broken tells the recorder of runs that ended without a last word, while another goes on under their name: it may have begun
// before anybody missed them.
func (h *History) broken(now time.Time) {
	for key, r := range h.runs {
		if r.over || now.Sub(r.heard) <= lateness {
			continue
		}
		for other, s := range h.runs {
			if other.From == key.From && now.Sub(s.heard) <= lateness {
				upto := r.heard.Add(lateness)
				if s.began.After(upto) {
					upto = s.began
				}
				h.recorder.Broke(key.From, upto)
			}
		}
	}
}

// each calls f with every place that is no endpoint, and of with every endpoint.
func (h *History) each(f func(p *place), of func(e *endpoint)) {
	f(h.outside)
	for _, r := range h.runs {
		f(r.place)
	}
	for _, s := range h.services {
		f(s.place)
		for _, v := range s.versions {
			f(v)
		}
		for _, e := range s.all {
			of(e)
		}
	}
}

// settle notes what part of its weight an endpoint got when a second was over, and what it was sent.
func (e *endpoint) settle(second int64) {
	if open := &e.open[second%ahead]; open.shared {
		e.last = open.share
	}
	if e.last < 1 {
		e.lack.Put(second, 1-e.last)
	}
	e.place.settle(second)
}
