package meter

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCountersAreNumbersInJSON(t *testing.T) {
	var from, to struct {
		Total Counter
		Open  Gauge
	}
	from.Total.Add(1 << 63)
	from.Open.Add(-3)
	to.Total.Add(5)
	to.Open.Add(5)
	text, err := json.Marshal(&from)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(text), `{"Total":9223372036854775808,"Open":-3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := json.Unmarshal(text, &to); err != nil || to.Total.Load() != 1<<63 || to.Open.Load() != -3 {
		t.Errorf("got %d and %d, %v", to.Total.Load(), to.Open.Load(), err)
	}
	for _, text := range []string{`{"Total":-1}`, `{"Total":"many"}`, `{"Open":1e3}`} {
		if err := json.Unmarshal([]byte(text), &to); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

// A histogram that was written, read and added is the one that saw everything.
func TestHistogramsTravelAndAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all, sum Histogram
		for range rapid.IntRange(0, 4).Draw(rt, "histograms") {
			var one Histogram
			for _, d := range rapid.SliceOfN(durations(), 0, 20).Draw(rt, "durations") {
				one.Observe(d)
				all.Observe(d)
			}
			seen := one.Snapshot()
			text, err := json.Marshal(&seen)
			if err != nil {
				rt.Fatal(err)
			}
			var read Snapshot
			if err := json.Unmarshal(text, &read); err != nil {
				rt.Fatal(err)
			}
			sum.Add(&read)
		}
		if diff := cmp.Diff(all.Snapshot(), sum.Snapshot(), cmp.AllowUnexported(Snapshot{})); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzSnapshotFromJSON(f *testing.F) {
	var h Histogram
	h.Observe(time.Millisecond)
	seen := h.Snapshot()
	text, err := json.Marshal(&seen)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"slots":[[999999,1]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Snapshot
		if json.Unmarshal(text, &s) != nil {
			return
		}
		var n uint64
		for _, in := range s.slots {
			n += in
		}
		if n != s.Count {
			t.Errorf("%d are in slots, and %d are counted", n, s.Count)
		}
	})
}
