package series_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/series"
)

// near says whether got is want to within one part in 2^12, or both are below what is told apart.
func near(got, want float64) bool {
	return math.Abs(got-want) <= want/4096+1.0/4096
}

// TestLaneIsARing holds a lane against a map: whatever is put in whatever order, the last quarter of an hour is what was put, and
// nothing that is old is shown as new.
func TestLaneIsARing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lane series.Lane
		want := map[int64]float64{}
		newest := rapid.Int64Range(0, 1<<33).Draw(t, "begin")
		for range rapid.IntRange(1, 60).Draw(t, "samples") {
			newest += rapid.Int64Range(0, 400).Draw(t, "later")
			at := max(0, newest-rapid.Int64Range(0, 30).Draw(t, "late"))
			if newest-at >= series.Seconds {
				continue
			}
			v := rapid.Float64Range(0, 1e6).Draw(t, "value")
			lane.Put(at, float32(v))
			want[at] = v
		}
		var sum float64
		for at := max(0, newest-series.Seconds+1); at <= newest; at++ {
			if got := float64(lane.At(at)); !near(got, want[at]) {
				t.Fatalf("second %d of %d: got %v, want %v", at, newest, got, want[at])
			}
			sum += float64(lane.At(at))
		}
		if got := lane.Sum(max(0, newest-series.Seconds+1), newest+1); math.Abs(got-sum) > sum*1e-9 {
			t.Errorf("sum: got %v, want %v", got, sum)
		}
	})
}

// TestLaneOfNothing takes no memory.
func TestLaneOfNothing(t *testing.T) {
	var lane series.Lane
	at := int64(1_700_000_000)
	if n := testing.AllocsPerRun(100, func() { at++; lane.Put(at, 0) }); n > 0 {
		t.Errorf("putting 0 allocates %v times, want none", n)
	}
	if got := lane.At(at); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

// TestQuantileIsMeters: the same durations have the same quantiles here and in meter, whatever way their buckets came.
func TestQuantileIsMeters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m meter.Histogram
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			exponent := rapid.Float64Range(-20, 9).Draw(t, "exponent")
			m.Observe(time.Duration(math.Exp2(exponent) * float64(time.Second)))
		}
		snapshot := m.Snapshot()
		var h series.Histogram
		var buckets []series.Bucket
		h.Add(meter.MinIndex-1, snapshot.Low())
		snapshot.Buckets(func(index int, n uint64) bool {
			buckets = append(buckets, series.Bucket{Index: int16(index), N: n})
			return true
		})
		for _, b := range rapid.Permutation(buckets).Draw(t, "order") {
			h.Add(int(b.Index), b.N)
		}
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want := float64(snapshot.Quantile(q)) / float64(time.Millisecond)
		if got := h.Quantile(q); math.Abs(got-want) > 1e-6+want*1e-9 {
			t.Errorf("quantile %v of %v: got %v ms, want %v ms", q, h, got, want)
		}
		if h.Count() != snapshot.Count {
			t.Errorf("count: got %d, want %d", h.Count(), snapshot.Count)
		}
		if coarse := h.Coarse(); coarse.Count() != h.Count() || len(coarse) > 1 && coarse.Quantile(q) < h.Quantile(q)*0.8 {
			t.Errorf("coarse: %v, of %v", coarse, h)
		}
		var back series.Histogram
		if err := back.TakeFrom(h.AppendTo(nil)); err != nil || !slices.Equal(back, h) {
			t.Errorf("packed and unpacked: got %v, %v, want %v", back, err, h)
		}
	})
}

// TestDayIsARing holds a day against a map, also for what comes late.
func TestDayIsARing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var day series.Day
		want := map[int64]uint64{}
		newest := rapid.Int64Range(series.Minutes, 1<<26).Draw(t, "begin")
		for range rapid.IntRange(1, 80).Draw(t, "minutes") {
			newest += rapid.Int64Range(0, 90).Draw(t, "later")
			at := newest - rapid.Int64Range(0, 70).Draw(t, "late")
			m := series.Minute{Requests: rapid.Uint64Range(1, 1e9).Draw(t, "requests"), Answers: series.Histogram{{Index: 3, N: 2}}}
			day.Add(at, &m)
			want[at] += m.Requests
		}
		for at := newest - series.Minutes + 1; at <= newest; at++ {
			var got series.Minute
			if known := day.At(at, &got); known != (want[at] > 0) || got.Requests != want[at] {
				t.Fatalf("minute %d of %d: got %d, %v, want %d", at, newest, got.Requests, known, want[at])
			}
		}
	})
}

// FuzzMinute: bytes that nobody packed are refused, or are some minute; nothing breaks.
func FuzzMinute(f *testing.F) {
	m := series.Minute{Requests: 5, Lost: 1, Due: 4.5, Active: 2, Answers: series.Histogram{{Index: -80, N: 4}, {Index: 3, N: 1}}}
	f.Add(m.AppendTo(nil))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again series.Minute
		if err := m.TakeFrom(data); err != nil {
			return
		}
		if err := again.TakeFrom(m.AppendTo(nil)); err != nil || again.Requests != m.Requests || !slices.Equal(again.Answers, m.Answers) {
			t.Errorf("%+v: packed again it is %+v, %v", m, again, err)
		}
	})
}

func TestHeatRowsHaveEverybody(t *testing.T) {
	edges := series.HeatEdges()
	if !slices.IsSorted(edges) {
		t.Fatalf("edges do not ascend: %v", edges)
	}
	for index := meter.MinIndex - 1; index <= meter.MaxIndex+1; index++ {
		h := series.Histogram{{Index: int16(index), N: 7}}
		row := h.HeatRow()
		if len(row) != len(edges)+1 {
			t.Fatalf("%d rows, want one more than %d edges", len(row), len(edges))
		}
		at := slices.Index(row, 7)
		upper := 1000 * meter.Edge(index)
		if at < 0 || at > 0 && at < len(edges) && (upper > edges[at]*1.001 || upper <= edges[at-1]*1.001) {
			t.Errorf("up to %.3f ms: row %d, whose edges are around %v", upper, at, edges[max(0, at-1):min(len(edges), at+1)])
		}
	}
}

func TestColumnsAreShort(t *testing.T) {
	got, err := json.Marshal(series.Column{0, 12.345678, float32(math.NaN()), 0.00012345, 123456})
	if err != nil || string(got) != "[0,12.35,null,0.0001234,1.235e+05]" {
		t.Errorf("got %s, %v", got, err)
	}
	if got, _ := json.Marshal(series.Column(nil)); string(got) != "[]" {
		t.Errorf("no column: got %s, want []", got)
	}
}

func TestQueriesAreChecked(t *testing.T) {
	for name, q := range map[string]series.Query{
		"no service":           {To: 5},
		"outside of a service": {Service: "a:1", Outside: true, To: 5},
		"no such way":          {Service: "a:1", By: "colour", To: 5},
		"backwards":            {Service: "a:1", From: 5, To: 5},
		"too many steps":       {Service: "a:1", To: 1 << 40},
		"no step":              {Service: "a:1", To: 5, Step: -1},
	} {
		if q.Check() == "" {
			t.Errorf("%s: nothing is wrong, it says", name)
		}
	}
	q := series.Query{Service: "a:1", From: 65, To: 121, Step: 60}
	if wrong := q.Check(); wrong != "" || q.From != 60 || q.To != 180 || q.Steps() != 2 || q.By != series.Whole {
		t.Errorf("%q, %+v: want 60 to 180 in 2 steps, whole", wrong, q)
	}
}
