package meter

import (
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bucket is the definition, slowly: the smallest i whose upper edge 2^(i/8) s holds d.
func bucket(d time.Duration) int {
	for i := MinIndex - 1; i <= MaxIndex; i++ {
		if d.Seconds() <= math.Exp2(float64(i)/8) {
			return i
		}
	}
	return MaxIndex + 1
}

// durations draws over the whole range and beyond, as likely near a bucket's edge as anywhere.
func durations() *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		if rapid.Bool().Draw(t, "edge") {
			edge := Edge(rapid.IntRange(MinIndex-3, MaxIndex+3).Draw(t, "bucket"))
			return time.Duration(edge*1e9) + time.Duration(rapid.IntRange(-1, 1).Draw(t, "off"))
		}
		octave := rapid.IntRange(0, 45).Draw(t, "octave")
		return time.Duration(rapid.Int64Range(0, 1<<octave).Draw(t, "ns"))
	})
}

func TestSlotAgreesWithDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := durations().Draw(t, "d")
		if got, want := slotOf(uint64(d))+MinIndex-1, bucket(d); got != want {
			t.Fatalf("%v (%d ns) is in bucket %d, want %d", d, d, got, want)
		}
	})
}

func TestEveryEdge(t *testing.T) {
	for i := MinIndex - 1; i <= MaxIndex; i++ {
		last := uint64(Edge(i) * 1e9)
		if got, want := slotOf(last), i-MinIndex+1; got != want {
			t.Errorf("slot of the last nanosecond of bucket %d: got %d, want %d", i, got, want)
		}
		if got, want := slotOf(last+1), i-MinIndex+2; got != want {
			t.Errorf("slot of the first nanosecond after bucket %d: got %d, want %d", i, got, want)
		}
	}
	for _, extreme := range []time.Duration{math.MinInt64, -1, 0} {
		h := new(Histogram)
		h.Observe(extreme)
		if s := h.Snapshot(); s.Low() != 1 || s.Sum != 0 {
			t.Errorf("after observing %d: %d low, sum %d, want 1 and 0", extreme, s.Low(), s.Sum)
		}
	}
	if got := slotOf(math.MaxInt64); got != slots-1 {
		t.Errorf("slot of the longest duration: got %d, want %d", got, slots-1)
	}
}

func TestQuantileWithinOneBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(durations(), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		h := new(Histogram)
		for _, d := range values {
			h.Observe(d)
		}
		slices.Sort(values)
		exact := values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
		s := h.Snapshot()
		got := s.Quantile(q)
		if exact > 128*time.Second {
			exact = 128 * time.Second
		}
		if diff := bucket(got) - bucket(exact); diff < -1 || diff > 1 {
			t.Fatalf("quantile %v of %v: got %v, exact %v: %d buckets apart", q, values, got, exact, diff)
		}
	})
}

func TestQuantileOfNothing(t *testing.T) {
	var empty Snapshot
	for _, q := range []float64{0, 0.5, 1, math.NaN()} {
		if got := empty.Quantile(q); got != 0 {
			t.Errorf("Quantile(%v) of nothing: got %v, want 0", q, got)
		}
	}
	if got := empty.Mean(); got != 0 {
		t.Errorf("Mean of nothing: got %v, want 0", got)
	}
}

func TestQuantileIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshotOf(rapid.SliceOfN(durations(), 1, 50).Draw(t, "values"))
		p, q := rapid.Float64Range(-1, 2).Draw(t, "p"), rapid.Float64Range(-1, 2).Draw(t, "q")
		if p > q {
			p, q = q, p
		}
		if low, high := s.Quantile(p), s.Quantile(q); low > high {
			t.Fatalf("Quantile(%v) = %v is above Quantile(%v) = %v", p, low, q, high)
		}
	})
}

func snapshotOf(values []time.Duration) Snapshot {
	h := new(Histogram)
	for _, d := range values {
		h.Observe(d)
	}
	return h.Snapshot()
}

func TestMergeAndSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SliceOf(durations()).Draw(t, "first")
		second := rapid.SliceOf(durations()).Draw(t, "second")
		a, b, both := snapshotOf(first), snapshotOf(second), snapshotOf(append(slices.Clone(first), second...))
		merged := a
		merged.Merge(&b)
		if diff := cmp.Diff(both, merged, cmp.AllowUnexported(Snapshot{})); diff != "" {
			t.Fatalf("merge of two is not the whole (-want +got):\n%s", diff)
		}
		since := both
		since.Sub(&a)
		if diff := cmp.Diff(b, since, cmp.AllowUnexported(Snapshot{})); diff != "" {
			t.Fatalf("the whole less the first is not the second (-want +got):\n%s", diff)
		}
	})
}

func TestSubAfterReset(t *testing.T) {
	earlier := snapshotOf([]time.Duration{time.Second, time.Second})
	now := snapshotOf([]time.Duration{time.Second, time.Minute})
	want := now
	now.Sub(&earlier)
	if diff := cmp.Diff(want, now, cmp.AllowUnexported(Snapshot{})); diff != "" {
		t.Errorf("after a reset everything is new (-want +got):\n%s", diff)
	}
}

func TestBucketsAndAtMostAccountForAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshotOf(rapid.SliceOf(durations()).Draw(t, "values"))
		sum := s.Low()
		for i, n := range s.Buckets {
			sum += n
			if got := s.AtMost(i); got != sum {
				t.Fatalf("AtMost(%d) = %d, want %d", i, got, sum)
			}
		}
		if sum != s.Count {
			t.Fatalf("buckets hold %d, Count is %d", sum, s.Count)
		}
	})
}

func TestConcurrentObserveLosesNothing(t *testing.T) {
	const writers, each = 4, 5000
	h := new(Histogram)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				h.Observe(time.Duration(w*each+i) * time.Microsecond)
			}
		})
	}
	wg.Wait()
	s := h.Snapshot()
	const n = writers * each
	if want := time.Duration(n*(n-1)/2) * time.Microsecond; s.Count != n || s.Sum != want {
		t.Errorf("count %d, sum %v, want %d, %v", s.Count, s.Sum, n, want)
	}
	h.Reset()
	if s := h.Snapshot(); s != (Snapshot{}) {
		t.Errorf("after Reset %d remain with sum %v", s.Count, s.Sum)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	h := new(Histogram)
	if got := testing.AllocsPerRun(1000, func() { h.Observe(3 * time.Millisecond) }); got != 0 {
		t.Errorf("Observe allocates %v times, want 0", got)
	}
}

// What is added, reset and read slot by slot is all that was observed, wherever it falls.
func TestEachAddAndResetMissNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, from := new(Histogram), new(Histogram)
		values := rapid.SliceOf(durations()).Draw(t, "values")
		for _, d := range values {
			from.Observe(d)
		}
		all := from.Snapshot()
		h.Add(&all)
		own, of := map[int]uint64{}, map[int]uint64{}
		h.Each(func(index int, n uint64) { own[index] = n })
		all.Each(func(index int, n uint64) { of[index] = n })
		want := map[int]uint64{}
		for _, d := range values {
			want[bucket(d)]++
		}
		if diff := cmp.Diff(want, own); diff != "" || !maps.Equal(own, of) {
			t.Fatalf("buckets (-want +got):\n%s", diff)
		}
		taken := h.Reset()
		if diff := cmp.Diff(all, taken, cmp.AllowUnexported(Snapshot{})); diff != "" {
			t.Fatalf("what a reset takes (-want +got):\n%s", diff)
		}
		if left := h.Snapshot(); left != (Snapshot{}) {
			t.Fatalf("a reset leaves %+v", left)
		}
	})
}

func TestCounterResetReturnsAll(t *testing.T) {
	const writers, each = 4, 10000
	var (
		c  Counter
		wg sync.WaitGroup
	)
	for range writers {
		wg.Go(func() {
			for range each {
				c.Inc()
			}
		})
	}
	var taken uint64
	for range 1000 {
		taken += c.Reset()
	}
	wg.Wait()
	if taken += c.Reset(); taken != writers*each {
		t.Errorf("resets returned %d in all, want %d", taken, writers*each)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := new(Histogram)
	d := time.Duration(12345)
	for b.Loop() {
		h.Observe(d)
		d = (d*1103515245 + 12345) & (1<<34 - 1) // up to 17 s, spread over the buckets
	}
}

func BenchmarkObserveParallel(b *testing.B) {
	h := new(Histogram)
	b.RunParallel(func(pb *testing.PB) {
		d := time.Duration(12345)
		for pb.Next() {
			h.Observe(d)
			d = (d*1103515245 + 12345) & (1<<34 - 1)
		}
	})
}
