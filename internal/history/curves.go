package history

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"crossfade.dev/internal/series"
)

const (
	perMinute  = 60
	prometheus = "prometheus"
	others     = "others"
)

// Series returns what passed a place over time. Steps of less than a minute are made of seconds, which are kept for a quarter
// of an hour; longer ones are whole minutes, and kept for a day. It ends with the last step that is whole. What is not known is
// NaN. The error wraps ErrQuery or ErrUnknown where who asks can mend it.
func (h *History) Series(ctx context.Context, q series.Query) (series.Curves, error) {
	if wrong := check(&q); wrong != nil {
		return series.Curves{}, wrong
	}
	h.mu.Lock()
	older := q.From < h.settled-series.Minutes*perMinute
	h.mu.Unlock()
	switch {
	case q.Source == prometheus && h.options.Longer == nil:
		return series.Curves{}, fmt.Errorf("%w: no Prometheus is known; start control with --prometheus URL", ErrQuery)
	case q.Source != prometheus && (h.options.Longer == nil || !older):
	case q.By == series.Version:
		return series.Curves{}, fmt.Errorf("%w: Prometheus knows no versions; ask for the whole service, by endpoint, or for the last day", ErrQuery)
	default:
		return h.options.Longer.Curves(ctx, q)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	places, err := h.places(&q)
	if err != nil {
		return series.Curves{}, err
	}
	c := series.Curves{From: q.From, Step: q.Step, Curves: make([]series.Curve, 0, len(places))}
	for _, p := range places {
		c.Curves = append(c.Curves, h.curve(p, &q))
	}
	if q.By != series.Whole {
		fractions(c.Curves)
	}
	return c, nil
}

// check completes a query.
func check(q *series.Query) error {
	wrong := q.Check()
	switch {
	case wrong != "":
	case q.Source != "" && q.Source != prometheus:
		wrong = fmt.Sprintf("source is %q; it is %q or left out", q.Source, prometheus)
	case q.Step >= perMinute && q.Step%perMinute != 0:
		wrong = fmt.Sprintf("step is %d; one of a minute or more is whole minutes", q.Step)
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s", ErrQuery, wrong)
	}
	return nil
}

// A source is what one curve is made of.
type source struct {
	name, of string
	places   []*place
	endpoint bool
	version  bool
}

// places returns what a query's curves are made of, and ends the query with the last whole step.
func (h *History) places(q *series.Query) ([]source, error) {
	step := int64(q.Step)
	q.To = max(q.From, min(q.To, (h.settled+1)/step*step))
	if q.Outside {
		return []source{{places: []*place{h.outside}}}, nil
	}
	s := h.services[q.Service]
	if s == nil {
		return nil, fmt.Errorf("service %q: %w", q.Service, ErrUnknown)
	}
	switch q.By {
	case series.Version:
		var list []source
		for _, name := range slices.Sorted(maps.Keys(s.versions)) {
			list = append(list, source{name: name, places: []*place{s.versions[name]}, version: true})
		}
		return list, nil
	case series.Endpoint:
		return s.busiest(q), nil
	default:
		return []source{{places: []*place{s.place}}}, nil
	}
}

// busiest are the endpoints that were sent most in the time that is asked for, by name, and all others together.
func (s *service) busiest(q *series.Query) []source {
	type sent struct {
		*endpoint
		n float64
	}
	var all []sent
	for _, e := range s.endpoints {
		n := e.requests.Sum(q.From, q.To)
		if n > 0 || e.gone.IsZero() {
			all = append(all, sent{e, n})
		}
	}
	slices.SortFunc(all, func(a, b sent) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name), cmp.Compare(a.incarnation, b.incarnation))
	})
	rest := source{name: others, version: true}
	if len(all) > series.MostCurves {
		for _, e := range all[series.MostCurves:] {
			rest.places = append(rest.places, &e.place)
		}
		all = all[:series.MostCurves]
	}
	slices.SortFunc(all, func(a, b sent) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.incarnation, b.incarnation))
	})
	var list []source
	for _, e := range all {
		list = append(list, source{name: e.name, of: e.incarnation, places: []*place{&e.place}, endpoint: true})
	}
	if len(rest.places) > 0 {
		list = append(list, rest)
	}
	return list
}

// curve makes a curve of a source.
func (h *History) curve(from source, q *series.Query) series.Curve {
	n := q.Steps()
	column := func() series.Column { return make(series.Column, n) }
	c := series.Curve{Name: from.name, Of: from.of, Requests: column(), Lost: column()}
	if len(from.places) == 1 {
		c.P50, c.P99 = column(), column()
	}
	if from.endpoint || from.version {
		c.Due = column()
	}
	if !from.version {
		c.Active = column()
	}
	if from.endpoint {
		c.Share = column()
		c.P50 = nil
	}
	for i := range n {
		at := q.From + int64(i)*int64(q.Step)
		var s sample
		if q.Step >= perMinute && !from.endpoint && from.places[0].day != nil {
			s = h.minutes(from, at/perMinute, q.Step/perMinute)
		} else {
			s = h.seconds(from, at, q.Step)
		}
		s.fill(&c, i)
	}
	return c
}

// A sample is one step of a curve.
type sample struct {
	known               float64 // seconds of it in which anything is known
	requests, lost, due float64
	active, share       float64
	p50, p99            float64
}

// fill sets a step of those columns that there are. A step of which nothing is known is NaN in all.
func (s *sample) fill(c *series.Curve, i int) {
	set := func(column series.Column, v float64) {
		if column != nil {
			column[i] = float32(v)
		}
	}
	if s.known == 0 {
		for _, column := range []series.Column{c.Requests, c.Lost, c.Due, c.Share, c.P50, c.P99, c.Active} {
			set(column, math.NaN())
		}
		return
	}
	set(c.Requests, s.requests/s.known)
	set(c.Lost, s.lost/s.known)
	set(c.Due, s.due/s.known)
	set(c.Active, s.active)
	set(c.Share, s.share)
	set(c.P50, orNaN(s.p50))
	set(c.P99, orNaN(s.p99))
}

func orNaN(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// seconds makes a step of seconds. Where several seconds have quantiles and no histogram, that of the step is the mean of theirs,
// each as heavy as the requests in it.
func (h *History) seconds(from source, at int64, step int) (s sample) {
	var answers series.Histogram
	var weight float64
	for second := at; second < at+int64(step); second++ {
		if h.heard.requests.At(second) == 0 || second <= h.settled-series.Seconds {
			continue
		}
		s.known++
		s.active, s.share = 0, 1
		for _, p := range from.places {
			requests := float64(p.requests.At(second))
			s.requests += requests
			s.lost += float64(p.lost.At(second))
			s.due += float64(p.due.At(second))
			s.active += float64(p.active.At(second))
			s.share = min(s.share, float64(p.share(second)))
			if p.answers != nil {
				p.answers.Merge(second, &answers)
			} else if p99 := float64(p.p99.At(second)); p99 > 0 {
				w := max(requests, 1)
				weight += w
				s.p50 += w * float64(p.p50.At(second))
				s.p99 += w * p99
			}
		}
	}
	if weight > 0 {
		s.p50, s.p99 = s.p50/weight, s.p99/weight
	}
	if len(answers) > 0 {
		s.p50, s.p99 = answers.Quantile(0.5), answers.Quantile(0.99)
	}
	return s
}

// minutes makes a step of minutes. A minute of which anything is known counts as a whole one.
func (h *History) minutes(from source, at int64, step int) (s sample) {
	var sum series.Minute
	for minute := at; minute < at+int64(step); minute++ {
		if known := h.heard.whole(minute); known.Requests == 0 {
			continue
		}
		s.known += perMinute
		for _, p := range from.places {
			m := p.whole(minute)
			s.active = float64(m.Active)
			m.Active = 0
			sum.Add(&m)
		}
	}
	s.requests, s.lost, s.due = float64(sum.Requests), float64(sum.Lost), sum.Due
	s.p50, s.p99 = sum.Answers.Quantile(0.5), sum.Answers.Quantile(0.99)
	return s
}

// fractions says what part of all requests each curve has in each step.
func fractions(curves []series.Curve) {
	for i := range curves {
		curves[i].Fraction = make(series.Column, len(curves[i].Requests))
	}
	for step := 0; len(curves) > 0 && step < len(curves[0].Requests); step++ {
		var sum float32
		for i := range curves {
			sum += curves[i].Requests[step]
		}
		for i := range curves {
			curves[i].Fraction[step] = curves[i].Requests[step] / sum // NaN of nothing
		}
	}
}

// Heat returns how long a service's answers took, over time. Its steps and errors are those of Series.
func (h *History) Heat(_ context.Context, q series.Query) (series.Heat, error) {
	q.By = series.Whole
	if wrong := check(&q); wrong != nil {
		return series.Heat{}, wrong
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	places, err := h.places(&q)
	if err != nil {
		return series.Heat{}, err
	}
	p := places[0].places[0]
	heat := series.Heat{From: q.From, Step: q.Step, Edges: series.HeatEdges(), Counts: make([][]uint32, q.Steps())}
	for i := range heat.Counts {
		at := q.From + int64(i)*int64(q.Step)
		var all series.Histogram
		known := false
		for second := at; q.Step < perMinute && second < at+int64(q.Step); second++ {
			known = known || h.heard.requests.At(second) > 0
			p.answers.Merge(second, &all)
		}
		for minute := at / perMinute; q.Step >= perMinute && minute < (at+int64(q.Step))/perMinute; minute++ {
			heard, m := h.heard.whole(minute), p.whole(minute)
			known = known || heard.Requests > 0
			all.Merge(m.Answers)
		}
		if known {
			heat.Counts[i] = all.HeatRow()
		}
	}
	return heat, nil
}
