package history

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// A big fleet has 500 services of 20 endpoints, all of which get requests each second.
const (
	bigServices  = 500
	bigEndpoints = 20
)

func bigFleet(services int) (names []string) {
	for i := range services {
		names = append(names, fmt.Sprintf("service-%03d", i))
	}
	return names
}

// busy has everybody get requests of a dozen latencies.
func busy(p *plane, services []string, endpoints, second int) {
	for i, name := range services {
		for j := range endpoints {
			took := time.Duration(2+(i+j*3+second)%40) * time.Millisecond
			p.serve(name+":80", fmt.Sprintf("%s-%d", name, j), ending.Served, 1+(i+j)%5, took)
		}
	}
}

// BenchmarkSecond is one second of a big fleet: its one data plane's report, in which everything has grown, what is settled, and
// what is written. Its time is a part of a second of one core.
func BenchmarkSecond(b *testing.B) {
	h, reports, now := bigHistory(b, b.TempDir(), bigServices)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		grown(&reports[0])
		rows := reports[0].Traffic.Endpoints // they come in no order
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		h.report(&reports[0], now)
		h.Tick(now)
	}
}

// grown has everything in a report grow.
func grown(r *fleet.Report) {
	for i := range r.Traffic.Endpoints {
		row := &r.Traffic.Endpoints[i]
		row.Requests += 3
		row.Got += 3
		row.Due += 3.1
		for j := range min(3, len(row.Latency)) {
			row.Latency[j][1]++
		}
	}
	for i := range r.Traffic.Services {
		row := &r.Traffic.Services[i]
		row.Ended[ending.Served] += 60
		row.Callers[""] += 60
		for j := range row.Latency {
			row.Latency[j][1]++
		}
	}
}

// BenchmarkOverview is what is made once a second while anybody looks.
func BenchmarkOverview(b *testing.B) {
	h, reports, now := bigHistory(b, "", bigServices)
	for i := range reports {
		h.report(&reports[i], now.Add(time.Duration(i+1)*time.Second))
	}
	for b.Loop() {
		if o := h.Overview(); len(o.Services) != bigServices {
			b.Fatal(len(o.Services))
		}
	}
}

// BenchmarkView is one change of a big fleet.
func BenchmarkView(b *testing.B) {
	h, _, now := bigHistory(b, "", bigServices)
	v := fleetOf(2, now, bigEndpoints, bigFleet(bigServices)...)
	for b.Loop() {
		h.look(v, now)
	}
}

// bigHistory is a history that has seen a fleet, and reports of the seconds to come.
func bigHistory(t testing.TB, dir string, services int) (*History, []fleet.Report, time.Time) {
	t.Helper()
	now := epoch
	h := opened(t, dir, now)
	names := bigFleet(services)
	h.look(fleetOf(1, now, bigEndpoints, names...), now)
	p := newPlane("gw-1", "r", now)
	var reports []fleet.Report
	for second := range 20 {
		busy(p, names, bigEndpoints, second)
		r := p.report(now.Add(time.Second), false, false)
		r.Traffic.Span = time.Second
		reports = append(reports, r)
	}
	return h, reports, now
}

// TestMemoryIsBounded: a twenty-fifth of a big fleet, busy for longer than seconds are kept, takes a twenty-fifth of 200 MB at most,
// and no more when it goes on.
func TestMemoryIsBounded(t *testing.T) {
	const services = bigServices / 25
	now := epoch
	h := opened(t, "", now)
	names := bigFleet(services)
	p := newPlane("gw-1", "r", now)
	for second := range 10 {
		busy(p, names, bigEndpoints, second)
	}
	r := p.report(now, false, false)
	r.Traffic.Span = time.Second
	before := heap()
	h.look(fleetOf(1, now, bigEndpoints, names...), now)
	run := func(seconds int) uint64 {
		for second := range seconds {
			grown(&r)
			now = now.Add(time.Second)
			h.report(&r, now)
			if second%60 == 0 {
				h.mu.Lock()
				h.overMinutes(now)
				h.mu.Unlock()
			}
		}
		return heap() - before
	}
	first := run(1100)
	const bound = 200 << 20 / 25
	if first > bound {
		t.Errorf("%d endpoints take %d kB after %d s, want %d kB at most", services*bigEndpoints, first>>10, 1100, bound>>10)
	}
	t.Logf("%d endpoints take %d kB: 10000 take %d MB", services*bigEndpoints, first>>10, first*25>>20)
	if second := run(300); second > first+first/10 {
		t.Errorf("it grows: %d kB, and %d kB some minutes later", first>>10, second>>10)
	}
	runtime.KeepAlive(h)
	runtime.KeepAlive(r)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestReportAllocatesLittle: a report of what is known already takes no memory but for the samples of a new chunk of time.
func TestReportAllocatesLittle(t *testing.T) {
	h, reports, now := bigHistory(t, "", 5)
	p := reports[0]
	for range series.Seconds + 200 { // every chunk has been taken
		now = now.Add(time.Second)
		grown(&p)
		h.report(&p, now)
	}
	perReport := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		grown(&p)
		h.report(&p, now)
	})
	if perReport > float64(len(p.Traffic.Endpoints)/5) {
		t.Errorf("a report of %d endpoints allocates %v times, want one for each service at most", len(p.Traffic.Endpoints), perReport)
	}
	t.Logf("%v allocations for %d endpoints", perReport, len(p.Traffic.Endpoints))
}
