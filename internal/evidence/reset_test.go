package evidence

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/meter"
)

// While some count and others reset what people see, what was ever counted never falls, and nothing of it is lost.
func TestNothingIsLostToResets(t *testing.T) {
	const writers, each = 2, 2000
	d := new(Downstream)
	r := &d.Requests
	var counting, resetting sync.WaitGroup
	over := make(chan struct{})
	for range writers {
		counting.Go(func() {
			for i := range each {
				d.Connects.Inc()
				d.Overflow.Inc()
				r.Total.Inc()
				r.Timeout.Inc()
				r.Answered(500+i%2, time.Millisecond)
				r.Called(i % 17)
				r.Ended(ending.Kind(i % ending.Kinds)) //nolint:gosec // there are twelve
			}
		})
	}
	for range 2 {
		resetting.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					d.Reset()
				}
			}
		})
	}
	var last Counts
	var lastFailed uint64
	for range 500 {
		c := r.Ever()
		_, failed := r.EverSent()
		if c.Total < last.Total || c.Ends.Ended() < last.Ends.Ended() || c.Latency.Count < last.Latency.Count || c.Answered() < last.Answered() || failed < lastFailed {
			t.Fatalf("got %+v after %+v", c, last)
		}
		if c.Open() < 0 {
			t.Fatalf("got %d requests, and %d that ended", c.Total, c.Ends.Ended())
		}
		last, lastFailed = c, failed
	}
	counting.Wait()
	close(over)
	resetting.Wait()
	d.Reset()
	const all = writers * each
	c := r.Ever()
	sent, failed := r.EverSent()
	if c.Total != all || c.Ends.Ended() != all || c.Latency.Count != all || c.Answered() != all || sent != all || failed != 2*all {
		t.Errorf("got %+v, %d sent and %d failed; want %d of each, twice as many failed", c, sent, failed, all)
	}
	var took uint64
	r.EverTook(func(_ int, n uint64) { took += n })
	if connects, refused := d.EverConnected(); connects != all || refused != all || took != all {
		t.Errorf("got %d connections, %d refused, %d times, want %d of each", connects, refused, took, all)
	}
	now := r.Counts()
	if now.Total != 0 || now.Ends != (ending.Sums{}) || now.Answered() != 0 || now.Latency != (meter.Snapshot{}) {
		t.Errorf("after a reset people see %+v", now)
	}
}

func TestEverOfNothing(t *testing.T) {
	var none *Traffic
	if got := none.Ever(); !cmp.Equal(got, Counts{}, cmp.AllowUnexported(meter.Snapshot{})) {
		t.Errorf("got %+v", got)
	}
}

func TestCallersBeyondTheLastAreOthers(t *testing.T) {
	c := new(Callers)
	c.Each(func(caller int, n uint64) { t.Errorf("got %d of %d before anybody has called", n, caller) })
	for _, caller := range []int{1, 1, MaxCallers, MaxCallers + 1, MaxCallers + 9, 0, -1} {
		c.Ended(caller)
	}
	got := map[int]uint64{}
	c.Each(func(caller int, n uint64) { got[caller] = n })
	if diff := cmp.Diff(map[int]uint64{1: 2, MaxCallers: 1, MaxCallers + 1: 4}, got); diff != "" {
		t.Errorf("callers (-want +got):\n%s", diff)
	}
	if n := testing.AllocsPerRun(100, func() { c.Ended(3) }); n != 0 {
		t.Errorf("to count one allocates %v times", n)
	}
}
