package history

import (
	"slices"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/release"
	"crossfade.dev/internal/series"
)

// lateness is how old a data plane's latest report may be before it counts as silent.
const lateness = 3 * time.Second

// A book answers the recorder's questions, while the lock is held.
type book struct{ h *History }

// Ended is release.Book's.
func (b book) Ended(service string) (sums ending.Sums) {
	if service != "" && service != release.Mesh {
		if s := b.h.services[service]; s != nil {
			sums = s.ended
		}
		return sums
	}
	for _, l := range b.h.gates {
		if l.mesh == (service == release.Mesh) {
			sums.Add(&l.ended)
			sums[ending.Overflow] += l.rejected // who is turned away has lost a request
		}
	}
	return sums
}

// Sent is release.Book's.
func (b book) Sent(incarnation string) (attempts, failed uint64) {
	for _, e := range b.h.lives[incarnation] {
		attempts += e.sent
		failed += e.failed
	}
	return attempts, failed
}

// Answers is release.Book's.
func (b book) Answers(services []string, from, to int64) release.Quantiles {
	var all series.Histogram
	for _, name := range services {
		if name == "" {
			b.h.answers(b.h.outside, from, to, &all)
		} else if s := b.h.services[name]; s != nil {
			b.h.answers(s.place, from, to, &all)
		}
	}
	return release.Quantiles{Answers: all.Count(), P50: all.Quantile(0.5), P99: all.Quantile(0.99)}
}

// answers merges the latencies of a place from one second to another, which is not included: by seconds as far back as there
// are any, by whole minutes before.
func (h *History) answers(p *place, from, to int64, into *series.Histogram) {
	oldest := h.settled - series.Seconds + 1
	if from < oldest {
		minutes := (min(to, oldest) + 59) / 60 // the minute in which seconds begin is taken by minutes
		for at := max((from+59)/60, minutes-series.Minutes); at < minutes; at++ {
			m := p.whole(at)
			into.Merge(m.Answers)
		}
		from = minutes * 60
	}
	for at := from; at < to; at++ {
		p.answers.Merge(at, into)
	}
}

// whole returns what is known of a minute.
func (p *place) whole(at int64) (m series.Minute) {
	p.day.At(at, &m)
	for i := range p.minutes {
		if p.minutes[i].at == at {
			m.Add(&p.minutes[i].Minute)
		}
	}
	return m
}

// Points is release.Book's.
func (b book) Points(incarnation string, from, to int64) []release.Point {
	lives := b.h.lives[incarnation]
	var points []release.Point
	for at := from; at < to && len(lives) > 0; at++ {
		if b.h.heard.requests.At(at) == 0 {
			continue
		}
		p := release.Point{At: at, Share: 1}
		for _, e := range lives {
			p.Requests += e.requests.At(at)
			p.Failed += e.lost.At(at)
			p.Due += e.due.At(at)
			p.Share = min(p.Share, e.share(at))
			p.P99 = max(p.P99, e.p99.At(at))
			for _, r := range e.reasons {
				if r.at == at {
					p.Reason = r.text
				}
			}
		}
		points = append(points, p)
	}
	return points
}

// Doubts is release.Book's.
func (b book) Doubts(services []string, now time.Time) []string {
	var doubts []string
	for _, id := range b.silent(now) {
		doubts = append(doubts, id+" has reported nothing for a while: what passed it is not counted")
	}
	doubts = append(doubts, b.h.frontDoubts(services, now)...)
	slices.Sort(doubts)
	return doubts
}

// silent are those data planes that serve and have not reported for some seconds.
func (b book) silent(now time.Time) []string {
	latest := map[string]time.Time{}
	for key, r := range b.h.runs {
		if r.heard.After(latest[key.From]) {
			latest[key.From] = r.heard
		}
	}
	var silent []string
	for id, joined := range b.h.joined {
		if now.Sub(latest[id]) > lateness && now.Sub(joined) > lateness {
			silent = append(silent, id)
		}
	}
	return silent
}
