package evidence

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/meter"
)

func counts(t *Traffic) Counts { return t.Counts() }

var ignoreLatency = cmp.Transformer("count", func(s meter.Snapshot) uint64 { return s.Count })

func TestAnsweredCountsEveryStatus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statuses := rapid.SliceOf(rapid.IntRange(-1, 700)).Draw(t, "statuses")
		traffic, want := new(Traffic), map[int]uint64{}
		for _, s := range statuses {
			traffic.Answered(s, time.Millisecond)
			if s < 100 || s > 599 {
				s = 500
			}
			want[s]++
		}
		got, last := map[int]uint64{}, 0
		c := traffic.Counts()
		for _, code := range c.Codes {
			if code.Status <= last {
				t.Fatalf("status %d came after %d", code.Status, last)
			}
			last, got[code.Status] = code.Status, code.N
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("counts (-want +got):\n%s", diff)
		}
		var sum uint64
		for class := range 5 {
			sum += c.Class(class + 1)
		}
		n := uint64(len(statuses))
		if sum != n || c.Answered() != n || c.Latency.Count != n {
			t.Fatalf("classes hold %d, answered %d, latencies %d, want %d each", sum, c.Answered(), c.Latency.Count, n)
		}
	})
}

func TestResetKeepsWhatIsOpenAndNamesEveryStatus(t *testing.T) {
	traffic := new(Traffic)
	traffic.Active.Add(3)
	traffic.ActiveConnects.Add(2)
	for _, c := range []*meter.Counter{
		&traffic.Total, &traffic.Retry, &traffic.Timeout, &traffic.Cut, &traffic.Overflow,
		&traffic.NoEndpoint, &traffic.Connects, &traffic.ConnectFail,
	} {
		c.Add(7)
	}
	traffic.Answered(200, time.Second)
	traffic.Answered(503, time.Second)
	traffic.Reset()
	want := Counts{Active: 3, ActiveConnects: 2, Codes: []Code{{200, 0}, {503, 0}}}
	if diff := cmp.Diff(want, counts(traffic), ignoreLatency); diff != "" {
		t.Errorf("after Reset (-want +got):\n%s", diff)
	}
	traffic.Reset()
	traffic.Answered(200, time.Second)
	want.Codes[0].N = 1
	want.Latency.Count = 1
	if diff := cmp.Diff(want, counts(traffic), ignoreLatency); diff != "" {
		t.Errorf("after a second Reset and one answer (-want +got):\n%s", diff)
	}
}

func TestDownstreamReset(t *testing.T) {
	d := new(Downstream)
	d.ActiveConnects.Add(4)
	for _, c := range []*meter.Counter{&d.Connects, &d.Overflow, &d.Panics, &d.Malformed, &d.NoRoute, &d.Aborted, &d.Requests.Total} {
		c.Add(5)
	}
	d.Reset()
	left := d.Connects.Load() + d.Overflow.Load() + d.Panics.Load() + d.Malformed.Load() + d.NoRoute.Load() +
		d.Aborted.Load() + d.Requests.Total.Load()
	if left != 0 || d.ActiveConnects.Load() != 4 {
		t.Errorf("after Reset %d counted and %d connections open, want 0 and 4", left, d.ActiveConnects.Load())
	}
}

func TestMergeIsTheSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statuses := rapid.SliceOf(rapid.IntRange(100, 599))
		first, second := statuses.Draw(t, "first"), statuses.Draw(t, "second")
		a, b, both := new(Traffic), new(Traffic), new(Traffic)
		for _, s := range first {
			a.Answered(s, time.Duration(s)*time.Millisecond)
			a.Total.Inc()
			both.Answered(s, time.Duration(s)*time.Millisecond)
			both.Total.Inc()
		}
		for _, s := range second {
			b.Answered(s, time.Duration(s)*time.Millisecond)
			b.Retry.Inc()
			both.Answered(s, time.Duration(s)*time.Millisecond)
			both.Retry.Inc()
		}
		got, other, want := counts(a), counts(b), counts(both)
		before := len(got.Codes)
		kept := got
		got.Merge(&other)
		if len(kept.Codes) != before {
			t.Fatalf("Merge changed a copy")
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(meter.Snapshot{})); diff != "" {
			t.Fatalf("merged (-want +got):\n%s", diff)
		}
	})
}

func TestBookCarriesTrafficOver(t *testing.T) {
	var none Book
	first := none.Next([]string{"a", "b"})
	first["a"].Total.Add(3)
	next := first.Next([]string{"a", "c"})
	if next["a"] != first["a"] || next["c"] == nil || next["b"] != nil || len(next) != 2 {
		t.Errorf("next book is %v, want a kept, b gone, c new", next)
	}
	var nobody *Traffic
	if got := nobody.Counts(); got.Total != 0 || got.Codes != nil {
		t.Errorf("a nil Traffic counted %+v", got)
	}
}

func TestConcurrentAnswersAreAllCounted(t *testing.T) {
	const writers, each = 4, 2000
	traffic := new(Traffic)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				traffic.Answered((w+1)*100, time.Millisecond)
				traffic.Counts()
			}
		})
	}
	wg.Wait()
	c := traffic.Counts()
	if c.Answered() != writers*each {
		t.Errorf("counted %d, want %d", c.Answered(), writers*each)
	}
}

func TestAnsweredAllocatesOncePerClass(t *testing.T) {
	traffic := new(Traffic)
	traffic.Answered(200, 0)
	if got := testing.AllocsPerRun(1000, func() { traffic.Answered(204, time.Millisecond) }); got != 0 {
		t.Errorf("Answered allocates %v times, want 0", got)
	}
}

func BenchmarkAnswered(b *testing.B) {
	traffic := new(Traffic)
	for b.Loop() {
		traffic.Answered(200, 3*time.Millisecond)
	}
}
