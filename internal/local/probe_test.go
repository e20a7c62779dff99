package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
)

func TestTally(t *testing.T) {
	for _, tt := range []struct {
		healthy, unhealthy int
		probes             string // + passes, - fails
		want               string // U up, D down, . no new verdict
	}{
		{1, 3, "+++", "U.."},
		{1, 3, "-----", "..D.."},
		{1, 3, "--+", "..U"},
		{1, 3, "+--+--+---+", "U........DU"},
		{3, 1, "++-+++", "..D..U"},
		{2, 2, "+-+-+-", "......"},
		{2, 2, "++--++", ".U.D.U"},
	} {
		count := tally{healthy: tt.healthy, unhealthy: tt.unhealthy}
		var got strings.Builder
		for _, p := range tt.probes {
			switch changed := count.note(p == '+'); {
			case !changed:
				got.WriteByte('.')
			case count.passing:
				got.WriteByte('U')
			default:
				got.WriteByte('D')
			}
		}
		if got.String() != tt.want {
			t.Errorf("%d/%d %s: got %s, want %s", tt.healthy, tt.unhealthy, tt.probes, got.String(), tt.want)
		}
	}
}

func TestWatchKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := fleet.Probe{Check: fleet.Check{
			InitialDelay: 5 * time.Second, Interval: 10 * time.Second, Timeout: 2 * time.Second, Healthy: 2, Unhealthy: 1,
		}}
		out := make(latest[verdict], 1)
		watch(ctx, p, func(ctx context.Context) error {
			at = append(at, time.Since(begun))
			switch len(at) {
			case 1: // never answers
				<-ctx.Done()
				return ctx.Err()
			case 4:
				cancel()
			}
			return nil
		}, out)
		// The second pass of two in a row replaces the first verdict, which nobody has fetched.
		if got, want := <-out, (verdict{passing: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		want := []time.Duration{5 * time.Second, 17 * time.Second, 27 * time.Second, 37 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("got probes at %v, want %v", at, want)
		}
	})
}

func TestTimeoutIsSaidInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t.Context(), time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, errNoAnswer) || err.Error() != "no answer in time: 1s" {
			t.Errorf("got %v, want that no answer came within 1s", err)
		}
	})
}

func TestRulesAreKubernetes(t *testing.T) {
	got := rules(fleet.Probe{}).Check
	want := fleet.Check{Interval: 10 * time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
