package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crossfade.dev/internal/evidence"
)

// A LoadStatus is what an endpoint last said of its load, in its own words: nobody has verified it, and nothing is decided
// by it.
type LoadStatus struct {
	evidence.Load

	Since  time.Duration `json:"since_ns"`         // it said so
	Unread uint64        `json:"unread,omitempty"` // reports that could not be read
}

// loadStatus returns what the endpoint that t counts for said of its load; nil if nothing.
func loadStatus(t *evidence.Traffic, now time.Time) *LoadStatus {
	if t == nil {
		return nil
	}
	last, unread := t.Reports.Last(), t.Reports.Unread.Load()
	if last == nil && unread == 0 {
		return nil
	}
	s := &LoadStatus{Unread: unread}
	if last != nil {
		s.Load, s.Since = last.Load, max(0, now.Sub(last.At))
	}
	return s
}

// A part of a load report that is shown everywhere.
type loadPart struct {
	name  string // as metrics have it
	words string // with its number
	value func(*evidence.Load) float64
}

// loadTable are the numbers that a report has places for.
var loadTable = []loadPart{
	{"application_utilization", "%.3g of what it can do is in use", func(l *evidence.Load) float64 { return l.Application }},
	{"cpu_utilization", "%.3g of its processors", func(l *evidence.Load) float64 { return l.CPU }},
	{"mem_utilization", "%.3g of its memory", func(l *evidence.Load) float64 { return l.Memory }},
	{"rps_fractional", "%.3g requests per second", func(l *evidence.Load) float64 { return l.Requests }},
	{"eps", "%.3g errors per second", func(l *evidence.Load) float64 { return l.Errors }},
}

const loadMetrics = 4 // named ones that a sentence has room for

// warmMetrics begins the names of what fronts measure of a warm-up: for programs, so that JSON has it, not the sentence.
const warmMetrics = "warm."

// sentence says it in words, such as " It says of its load: 0.5 of what it can do is in use, queue.length 12 (200 ms ago).".
func (s *LoadStatus) sentence() string {
	if s == nil {
		return ""
	}
	var parts []string
	for _, p := range loadTable {
		if v := p.value(&s.Load); v > 0 {
			parts = append(parts, fmt.Sprintf(p.words, v))
		}
	}
	named := 0
	for _, m := range s.Named {
		if strings.HasPrefix(m.Name, warmMetrics) {
			continue
		}
		if named++; named > loadMetrics {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%s %.4g", m.Name, m.Value))
	}
	text := ""
	if len(parts) > 0 {
		text = fmt.Sprintf(" It says of its load: %s (%s ago).", strings.Join(parts, ", "), Span(s.Since))
	}
	if s.Unread > 0 {
		text += fmt.Sprintf(" %s of its load could not be read.", plural(int(s.Unread), "report")) //nolint:gosec // far below
	}
	return text
}

// load sends what an endpoint says of its load, as far as a report has places for that: names that an endpoint makes up
// would be as many time series.
func (x exposition) load(d *prometheus.Desc, c *evidence.Counts, labels ...string) {
	if c.Reported == nil {
		return
	}
	for _, p := range loadTable {
		if v := p.value(&c.Reported.Load); v > 0 {
			x.gauge(d, v, append(slices.Clone(labels), p.name)...)
		}
	}
}
