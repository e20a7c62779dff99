package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/net/http2"
)

// The bounds of what a report lists, so that a stranger's answers cannot fill this machine's memory.
const (
	maxEndpoints = 10_000
	maxDetails   = 16
	maxStatuses  = 32
	moreOfThem   = "…"
)

// An account is the books of a run while it runs. All offsets count from the run's start.
type account struct {
	mu       sync.Mutex
	totals   Report // the counts only; rates and percentiles are worked out at the end
	latency  *hdrhistogram.Histogram
	second   Second // the current one
	inSecond *hdrhistogram.Histogram
	inFlight uint64
}

func newAccount() *account {
	return &account{
		totals: Report{
			Statuses: map[int]uint64{}, Endpoints: map[string]uint64{}, OtherDetails: map[string]uint64{},
			GRPCStatuses: map[string]uint64{}, Resets: map[string]uint64{}, GoAways: map[string]uint64{},
			Seconds: []Second{},
		},
		latency: newHistogram(), inSecond: newHistogram(),
	}
}

// newHistogram holds nanoseconds from a microsecond to an hour, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(time.Hour), 3)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, time.Microsecond), time.Hour))) // within the bounds: cannot fail
}

// began books a request that goes out at offset at, behind the moment it was due.
func (a *account) began(at, behind, lateAfter time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	a.totals.Sent++
	a.second.Sent++
	a.inFlight++
	if behind > lateAfter {
		a.totals.Late++
		a.second.Late++
	}
	a.totals.LateMax = max(a.totals.LateMax, behind)
}

// ended books how a request ended at offset at.
func (a *account) ended(at, latency time.Duration, got result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	a.inFlight--
	switch got.outcome {
	case OK:
		a.totals.OK++
		a.second.OK++
		record(a.latency, latency)
		record(a.inSecond, latency)
		a.totals.Latency.Max = max(a.totals.Latency.Max, latency)
	case Abandoned:
		a.totals.Abandoned++
		a.second.Abandoned++
	default:
		*a.totals.Lost.of(got.outcome)++
		*a.second.Lost.of(got.outcome)++
	}
	if got.outcome == Other {
		bump(a.totals.OtherDetails, got.detail, maxDetails)
	}
	if got.reset != "" {
		bump(a.totals.Resets, got.reset, maxDetails)
	}
	if got.grpc != "" {
		bump(a.totals.GRPCStatuses, got.grpc, maxStatuses)
	}
	if got.status == 0 {
		return
	}
	a.totals.Statuses[got.status]++
	if got.endpoint == "" {
		a.totals.NoEndpoint++
	} else {
		bump(a.totals.Endpoints, got.endpoint, maxEndpoints)
	}
}

// bump counts key, or moreOfThem once the map has limit keys.
func bump(counts map[string]uint64, key string, limit int) {
	if _, known := counts[key]; !known && len(counts) >= limit {
		key = moreOfThem
	}
	counts[key]++
}

// turn closes the seconds that are over at offset at.
func (a *account) turn(at time.Duration) {
	for index := int(at / time.Second); a.second.Second < index; {
		a.closeSecond()
	}
}

func (a *account) closeSecond() {
	a.second.InFlight = a.inFlight
	if a.second.OK > 0 {
		a.second.P99 = quantile(a.inSecond, 99)
		a.inSecond.Reset()
	}
	a.totals.Seconds = append(a.totals.Seconds, a.second)
	a.second = Second{Second: a.second.Second + 1}
}

// seconds returns the seconds that are over at offset at, from the given one on.
func (a *account) seconds(at time.Duration, from int) []Second {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	return a.totals.Seconds[from:len(a.totals.Seconds):len(a.totals.Seconds)]
}

// neverSent books requests that were due and had no connection to go out on before the run ended.
func (a *account) neverSent(n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.totals.Unsent += n
}

// connecting books an attempt to open a connection.
func (a *account) connecting() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.totals.Connects++
}

// idleClosed books a connection that the peer closed between two requests.
func (a *account) idleClosed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.totals.IdleClosed++
}

// goAway books that the peer said that a connection takes no more streams.
func (a *account) goAway(code http2.ErrCode) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bump(a.totals.GoAways, code.String(), maxDetails)
}

// report closes the books. Nothing may be booked afterwards.
func (a *account) report(elapsed time.Duration) *Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(elapsed)
	if a.second.Sent+a.second.OK+a.second.Lost.Total()+a.second.Abandoned > 0 {
		a.closeSecond()
	}
	r := a.totals
	r.Elapsed = elapsed
	if seconds := elapsed.Seconds(); seconds > 0 {
		r.SentPerSecond = float64(r.Sent) / seconds
		r.OKPerSecond = float64(r.OK) / seconds
	}
	if r.OK > 0 {
		r.Latency.Mean = time.Duration(a.latency.Mean())
		r.Latency.P50 = quantile(a.latency, 50)
		r.Latency.P90 = quantile(a.latency, 90)
		r.Latency.P99 = quantile(a.latency, 99)
		r.Latency.P999 = quantile(a.latency, 99.9)
	}
	return &r
}

func quantile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(percent))
}
