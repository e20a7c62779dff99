package serve

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/drain"
)

// Those who are told are told evenly over the time, all of them, each once; and nobody any more when it is called off.
func TestEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const n, over = 1000, 4 * time.Second
		began := time.Now()
		next := 0
		evenly(ctx, n, over, func(i int) {
			if i != next {
				t.Fatalf("got %d, want %d", i, next)
			}
			next++
			if due := float64(n) * float64(time.Since(began)+lookEvery) / float64(over); float64(i) > due {
				t.Fatalf("%d is told after %v, when %.0f are due", i, time.Since(began), due)
			}
		})
		if took := time.Since(began); next != n || took > over || took < over-2*lookEvery {
			t.Errorf("got %d told in %v, want %d in %v", next, took, n, over)
		}

		next = 0
		evenly(ctx, n, over, func(int) {
			if next++; next == n/2 {
				cancel()
			}
		})
		if next < n/2 || next > n/2+n/100 {
			t.Errorf("got %d told, want no more after half of %d", next, n)
		}

		next = 0
		evenly(t.Context(), n, 0, func(int) { next++ })
		if next != n {
			t.Errorf("got %d told in no time, want %d", next, n)
		}
	})
}

// Leaving twice, first from outside and then from the mesh, takes no longer than leaving may take.
func TestRestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, name))
		}
		timers := drain.Timers{Min: d("min"), Notice: d("notice"), Quiet: d("quiet"), Requests: d("requests"), Long: d("long"), Spread: d("spread")}
		spent := d("spent")
		rest := restOf(timers, spent)
		if whole := spent + rest.Longest() - drain.Last; whole > max(spent, timers.Longest()-drain.Last) {
			t.Fatalf("after %v there are %+v of %+v: %v in all, want at most %v", spent, rest, timers, whole, timers.Longest()-drain.Last)
		}
		if rest.Min != 0 || rest.Notice != 0 || min(rest.Requests, rest.Long, rest.Spread) < 0 {
			t.Fatalf("got %+v", rest)
		}
		if spent <= max(timers.Min, timers.Notice) && (rest.Requests != timers.Requests || rest.Long != timers.Long || rest.Spread != timers.Spread) {
			t.Fatalf("got %+v of %+v, want all of what was not needed", rest, timers)
		}
	})
}
