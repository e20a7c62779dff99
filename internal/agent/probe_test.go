package agent

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

// TestSlowStartIsNoFailureYet holds that a verdict after quick probes is early, and final after the probe's own time.
func TestSlowStartIsNoFailureYet(t *testing.T) {
	for name, tt := range map[string]struct {
		boots time.Duration // until it passes
		want  []verdict
		at    []time.Duration
	}{
		"slow": {
			5 * time.Second,
			[]verdict{{why: "no", early: true}, {passing: true}},
			[]time.Duration{2 * time.Second, 5 * time.Second},
		},
		"never": {
			time.Hour,
			[]verdict{{why: "no", early: true}, {why: "no"}},
			[]time.Duration{2 * time.Second, 6 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				p := fleet.Probe{Check: fleet.Check{Interval: 2 * time.Second, Unhealthy: 3}}
				out := make(latest[verdict], 1)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				go watch(ctx, p, func(context.Context) error {
					if time.Since(begun) < tt.boots {
						return errors.New("no")
					}
					return nil
				}, out)
				for i, want := range tt.want {
					if got := <-out; got != want || time.Since(begun) != tt.at[i] {
						t.Errorf("got %+v at %v, want %+v at %v", got, time.Since(begun), want, tt.at[i])
					}
				}
				select {
				case v := <-out:
					t.Errorf("got %+v as well, want nothing new", v)
				case <-ctx.Done():
				}
			})
		})
	}
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
