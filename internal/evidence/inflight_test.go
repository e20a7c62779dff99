package evidence

import (
	"fmt"
	"testing"
	"unsafe"

	"crossfade.dev/internal/meter"
)

func TestInFlightIsReadyAtZero(t *testing.T) {
	var f InFlight
	f.Add(2)
	if got := f.Add(-1); got != 1 || f.Load() != 1 || f.Gauge().Load() != 1 {
		t.Errorf("after two and one less: got %d, %d and %d, want 1", got, f.Load(), f.Gauge().Load())
	}
}

// However many endpoints a book has, each has a count of its own, which outlives the next books; of few endpoints
// each has it in a cache line of its own, of many they are close together.
func TestBookKeepsWhatIsInFlight(t *testing.T) {
	for _, n := range []int{1, 3, few, 3 * few} {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprint("i-", i))
		}
		book := Book(nil).Next(keys)
		seen := map[*meter.Gauge]bool{}
		for i, key := range keys {
			book[key].Active.Add(int64(i))
			seen[book[key].Active.Gauge()] = true
		}
		if len(seen) != n {
			t.Errorf("%d endpoints have %d counts", n, len(seen))
		}
		next := book.Next(append(keys, "new"))
		for i, key := range keys {
			if got := next[key].Active.Load(); got != int64(i) {
				t.Fatalf("%s of %d: got %d in flight, want %d", key, n, got, i)
			}
		}
		if got := next["new"].Active.Load(); got != 0 {
			t.Errorf("a newcomer has %d in flight", got)
		}
		if n < few {
			continue
		}
		a, b := book[keys[n-3]].Active.Gauge(), book[keys[n-2]].Active.Gauge() // of one piece of memory
		apart, want := uintptr(unsafe.Pointer(b))-uintptr(unsafe.Pointer(a)), uintptr(64)
		if n > few {
			want = 16
		}
		if apart != want {
			t.Errorf("of %d, two counts are %d bytes apart, want %d", n, apart, want)
		}
	}
}
