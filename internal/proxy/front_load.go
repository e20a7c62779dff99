package proxy

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/evidence"
)

// A gauge measures what an application does, for load reports: how long it took to the head of each answer, without what
// was waited for a place, and what part of them failed. Whatever is older than a few seconds counts for less.
type gauge struct {
	answers, failures atomic.Int64 // since the front began
	logs, squares     atomic.Int64 // of the answers that did not fail: ln of their times in seconds, and its square, in millionths

	latest atomic.Pointer[report]

	mu   sync.Mutex // who writes the next report has what follows
	seen sums       // what had been measured when the last one was written
	sums sums       // decayed
	span float64    // likewise: seconds in which that was measured
}

// sums are what was measured over a time.
type sums struct{ answers, failures, logs, squares float64 }

// A report is a load report, written.
type report struct {
	header, trailer []byte
	when            time.Time
	of              *orders
}

const (
	reportEvery = 100 * time.Millisecond
	gaugeMemory = 5 * time.Second // after which what was measured counts for 1/e
	millionth   = 1e-6
)

// note counts an answer that took so long.
func (g *gauge) note(status int, took time.Duration) {
	if status >= 500 {
		g.fail()
		return
	}
	ln := math.Log(max(took, time.Microsecond).Seconds())
	g.answers.Add(1)
	g.logs.Add(int64(ln / millionth))
	g.squares.Add(int64(ln * ln / millionth))
}

// fail counts an answer that was an error, or never came.
func (g *gauge) fail() {
	g.answers.Add(1)
	g.failures.Add(1)
}

// load returns a report that is at most reportEvery old. While somebody writes the next one, others go on with the last.
func (f *Front) load(o *orders, now time.Time) *report {
	g := &f.gauge
	last := g.latest.Load()
	switch {
	case last != nil && last.of == o && now.Sub(last.when) < reportEvery:
		return last
	case last == nil:
		g.mu.Lock()
	case !g.mu.TryLock():
		return last
	}
	defer g.mu.Unlock()
	since := f.began
	if last = g.latest.Load(); last != nil {
		since = last.when
	}
	g.decay(now.Sub(since))
	load := f.measure(o, now)
	next := &report{header: load.AppendHeader(nil, evidence.LoadText), trailer: load.AppendTrailer(nil), when: now, of: o}
	g.latest.Store(next)
	return next
}

// decay takes in what was measured in a time that has passed. The caller holds mu.
func (g *gauge) decay(dt time.Duration) {
	now := sums{
		float64(g.answers.Load()), float64(g.failures.Load()),
		float64(g.logs.Load()) * millionth, float64(g.squares.Load()) * millionth,
	}
	keep := math.Exp(-max(0, dt.Seconds()) / gaugeMemory.Seconds())
	g.sums = sums{
		g.sums.answers*keep + now.answers - g.seen.answers, g.sums.failures*keep + now.failures - g.seen.failures,
		g.sums.logs*keep + now.logs - g.seen.logs, g.sums.squares*keep + now.squares - g.seen.squares,
	}
	g.span = g.span*keep + max(0, dt.Seconds())
	g.seen = now
}

// measure says what is known of the application. Without a limit, nobody knows how much it could bear: then nothing is
// said of its own utilisation. The caller holds the gauge's mu.
func (f *Front) measure(o *orders, now time.Time) *evidence.Load {
	s := &f.gauge.sums
	l := &evidence.Load{CPU: o.CPU}
	if o.Limit > 0 {
		l.Application = float64(f.line.taken.Load()+f.line.waiting.Load()) / float64(o.Limit)
	}
	if f.gauge.span > 0 {
		l.Requests, l.Errors = brief(s.answers/f.gauge.span), brief(s.failures/f.gauge.span)
	}
	if !o.Born.IsZero() {
		l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmAge, Value: brief(max(0, now.Sub(o.Born)).Seconds())})
	}
	l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmBoot, Value: o.boot})
	if s.answers > 0 {
		l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmErrors, Value: brief(min(1, max(0, s.failures/s.answers)))})
	}
	n := s.answers - s.failures
	mean, some := s.logs/n, n > millionth
	if some {
		l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmMean, Value: brief(mean)})
	}
	l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmCount, Value: brief(max(0, n))}, evidence.Metric{Name: evidence.WarmShare, Value: o.Warm})
	if some {
		l.Named = append(l.Named, evidence.Metric{Name: evidence.WarmVariance, Value: brief(max(0, s.squares/n-mean*mean))})
	}
	return l
}

// brief is v in six digits: a report is in every answer.
func brief(v float64) float64 {
	const digits = 6
	whole := math.Floor(math.Log10(math.Abs(v))) + 1
	scale := math.Pow(10, digits-whole)
	if r := math.Round(v*scale) / scale; !math.IsNaN(r) && !math.IsInf(r, 0) {
		return r
	}
	return v
}
