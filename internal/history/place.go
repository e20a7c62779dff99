package history

import (
	"time"

	"crossfade.dev/internal/series"
)

// ahead is how many seconds may be open: they are not whole yet.
const ahead = 8

// An instant is one second of a place that is not whole yet.
type instant struct {
	requests uint64
	lost     uint64
	due      float64
	answers  series.Histogram
	active   int64 // open when it was over, if told
	told     bool
	share    float32 // when it was over, if shared
	shared   bool
}

// A place is where requests pass: all of a service, those of its endpoints that have one version, one endpoint, one data
// plane, the way in from outside.
type place struct {
	open     [ahead]instant // by second
	requests series.Lane
	lost     series.Lane
	due      series.Lane
	lack     series.Lane // 1 − share: mostly 0
	active   series.Lane
	p50, p99 series.Lane   // where there are no shelves
	median   bool          // p50 is kept
	answers  *series.Shelf // latency by second; nil where quantiles must do
	day      *series.Day   // nil where seconds must do
	minutes  []minute      // of the day, that are not over
	now      int64         // open now
	level    int64         // open when the last second that is whole was over
	from     int64         // of an endpoint: the first second of its life here; its share is 0 before
	idle     time.Time     // of a version: since when nobody has it
}

// A minute is one that is not over.
type minute struct {
	at int64
	series.Minute
}

func newPlace(daily, histograms bool) *place {
	p := &place{median: true}
	if daily {
		p.day = &series.Day{}
	}
	if histograms {
		p.answers = &series.Shelf{}
	}
	return p
}

// count spreads an increase.
func (p *place) count(s *spread, settled int64, requests, lost uint64, due float64) {
	if requests == 0 && lost == 0 && due == 0 {
		return
	}
	var r, l uint64
	var d float64
	for _, part := range s.seconds {
		r0, l0, d0 := r, l, d
		r, l, d = part.by(requests), part.by(lost), part.upto*due
		if part.at > settled {
			open := &p.open[part.at%ahead]
			open.requests += r - r0
			open.lost += l - l0
			open.due += d - d0
			continue
		}
		p.requests.Add(part.at, float32(r-r0))
		p.lost.Add(part.at, float32(l-l0))
		p.due.Add(part.at, float32(d-d0))
	}
	if p.day == nil {
		return
	}
	r, l, d = 0, 0, 0
	for _, part := range s.minutes {
		m := p.minute(part.at)
		r0, l0, d0 := r, l, d
		r, l, d = part.by(requests), part.by(lost), part.upto*due
		m.Requests += r - r0
		m.Lost += l - l0
		m.Due += d - d0
	}
}

// answer spreads answers by their latency.
func (p *place) answer(s *spread, settled int64, delta series.Histogram) {
	if len(delta) == 0 {
		return
	}
	last := part{}
	for _, part := range s.seconds {
		if part.at > settled {
			between(&p.open[part.at%ahead].answers, delta, last, part)
		} else {
			p.answerLate(part.at, delta, last, part)
		}
		last = part
	}
	if p.day == nil {
		return
	}
	last = part{}
	for _, part := range s.minutes {
		between(&p.minute(part.at).Answers, delta, last, part)
		last = part
	}
}

// between adds to h what of delta has come about between two moments.
func between(h *series.Histogram, delta series.Histogram, from, to part) {
	for _, b := range delta {
		h.Add(int(b.Index), to.by(b.N)-from.by(b.N))
	}
}

// answerLate adds to a second that was whole: data planes have not been heard for some time. Where only quantiles are kept
// they are those of all the time.
func (p *place) answerLate(second int64, delta series.Histogram, from, to part) {
	switch {
	case p.answers != nil:
		var sum series.Histogram
		p.answers.Merge(second, &sum)
		between(&sum, delta, from, to)
		p.answers.Put(second, &sum)
	case p.p99.At(second) == 0:
		p.quantiles(second, delta)
	}
}

func (p *place) quantiles(second int64, of series.Histogram) {
	p.p99.Put(second, float32(of.Quantile(0.99)))
	if p.median {
		p.p50.Put(second, float32(of.Quantile(0.5)))
	}
}

// minute returns one that is not over, or what is late for one that is.
func (p *place) minute(at int64) *minute {
	for i := range p.minutes {
		if p.minutes[i].at == at {
			return &p.minutes[i]
		}
	}
	p.minutes = append(p.minutes, minute{at: at})
	return &p.minutes[len(p.minutes)-1]
}

// forgetSeconds forgets all of them.
func (p *place) forgetSeconds() {
	p.open = [ahead]instant{}
	for _, l := range []*series.Lane{&p.requests, &p.lost, &p.due, &p.lack, &p.active, &p.p50, &p.p99} {
		*l = series.Lane{}
	}
	if p.answers != nil {
		*p.answers = series.Shelf{}
	}
}

// opens takes that so many more are open, from a second on that is not whole.
func (p *place) opens(second, more int64) {
	if more != 0 {
		p.now += more
		open := &p.open[second%ahead]
		open.active, open.told = p.now, true
	}
}

// share is what part of its weight an endpoint got in a second that is whole.
func (p *place) share(second int64) float32 {
	if second < p.from {
		return 0
	}
	return 1 - p.lack.At(second)
}

// settle moves a second that is whole to where whole ones are.
func (p *place) settle(second int64) {
	open := &p.open[second%ahead]
	if open.requests > 0 || open.lost > 0 || open.due > 0 { // a second of which nothing is put is 0
		p.requests.Put(second, float32(open.requests))
		p.lost.Put(second, float32(open.lost))
		p.due.Put(second, float32(open.due))
	}
	if open.told {
		p.level = open.active
	}
	if p.level > 0 {
		p.active.Put(second, float32(p.level))
	}
	if len(open.answers) > 0 {
		if p.answers != nil {
			p.answers.Put(second, &open.answers)
		} else {
			p.quantiles(second, open.answers)
		}
	}
	*open = instant{answers: open.answers[:0]}
}

// over takes from p's minutes those that are over before one, and puts them into its day.
func (p *place) over(before int64) (over []minute) {
	rest := p.minutes[:0]
	for _, m := range p.minutes {
		if m.at >= before {
			rest = append(rest, m)
			continue
		}
		m.Active = uint64(max(0, p.level))
		m.Answers = m.Answers.Coarse()
		p.day.Add(m.at, &m.Minute)
		over = append(over, m)
	}
	p.minutes = rest
	return over
}

// last10 describes the last ten whole seconds.
func (p *place) last10(settled int64) Rates {
	from, to := settled-9, settled+1
	r := Rates{Requests: p.requests.Sum(from, to) / 10, Lost: p.lost.Sum(from, to) / 10}
	if r.Requests == 0 && r.Lost == 0 {
		return r
	}
	if p.answers == nil {
		for at := from; at < to; at++ {
			r.P50 = max(r.P50, float64(p.p50.At(at)))
			r.P99 = max(r.P99, float64(p.p99.At(at)))
		}
		return r
	}
	var all series.Histogram
	for at := from; at < to; at++ {
		p.answers.Merge(at, &all)
	}
	r.P50, r.P99 = all.Quantile(0.5), all.Quantile(0.99)
	return r
}
