package balancer_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

// Without traffic: what gateways give is looked at directly, each second.
func quiet(algorithm fleet.Algorithm, warm int, window time.Duration, lambda float64) *lab.Lab {
	return lab.New(lab.Config{Warm: warm, Seed: 1, Policy: fleet.Policy{
		Algorithm: algorithm, Warmup: ramp(window, 0.1), ShiftBudget: lambda, Hash: &fleet.Hash{TableSize: 1021},
	}})
}

// Names returns those of the first n that have been there for ever.
func names(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("warm-", i))
	}
	return names
}

// Heaviest runs a lab until end and returns the greatest part of all requests that anybody was given, over the
// part of one among n.
func heaviest(l *lab.Lab, n int, end time.Duration) float64 {
	most := 0.0
	for ; l.Now() < end; l.Run(l.Now() + time.Second) {
		for _, s := range l.Shares(0) {
			most = max(most, s.Fraction*float64(n))
		}
	}
	return most
}

// Whatever the replacement and its pace, nobody carries more than λ times what it did. Keys follow the budget
// in sum; how they fall among neighbours on a circle is a matter of its own.
func TestNobodyAboveTheShiftBudgetInAnyReplacement(t *testing.T) {
	const window = 60 * time.Second
	replacements := []struct {
		name string
		n    int
		do   func(*lab.Lab)
	}{
		{"9 of 10 at once", 10, func(l *lab.Lab) { l.Restart(names(9)...) }},
		{"14 of 20 at once", 20, func(l *lab.Lab) { l.Restart(names(14)...) }},
		{"one by one, every 2 s", 10, rolling(2 * time.Second)},
		{"one by one, every 10 s", 10, rolling(10 * time.Second)},
		{"one by one, every 30 s", 10, rolling(30 * time.Second)},
		{"one by one, every 60 s", 10, rolling(60 * time.Second)},
	}
	for _, algorithm := range everyAlgorithm {
		for _, lambda := range []float64{2, 1.3} {
			for _, tt := range replacements {
				t.Run(fmt.Sprintf("%v/λ=%v/%s", algorithm, lambda, tt.name), func(t *testing.T) {
					l := quiet(algorithm, tt.n, window, lambda)
					unevenness := heaviest(l, tt.n, time.Second) // 1, but for keys
					tt.do(l)
					got := heaviest(l, tt.n, l.Now()+12*window)
					most := lambda * unevenness
					if algorithm == fleet.RingHash || algorithm == fleet.Maglev {
						most *= 1.25
					}
					if got > most*1.0001 {
						t.Errorf("somebody carries %.3f times its part, want at most %.3f", got, most)
					}
				})
			}
		}
		l := quiet(algorithm, 10, window, 1e9) // control
		l.Restart(names(9)...)
		if got := heaviest(l, 10, 2*window); got < 4.5 {
			t.Errorf("%v without a budget: the last warm one carries %.2f times its part, want above 4.5", algorithm, got)
		}
	}
}

// Rolling starts ten anew, one after the other.
func rolling(pace time.Duration) func(*lab.Lab) {
	return func(l *lab.Lab) {
		for i := range 10 {
			l.At(l.Now()+time.Duration(i)*pace, func() { l.Restart(fmt.Sprint("warm-", i)) })
		}
	}
}

// A fleet that only grows, or loses one of two, has no use for the budget at λ = 2: newcomers begin at the
// minimum.
func TestShiftBudgetStaysOutOfOrdinaryChanges(t *testing.T) {
	const window = 60 * time.Second
	for _, algorithm := range everyAlgorithm {
		for _, tt := range []struct {
			name string
			warm int
			new  string
			do   func(*lab.Lab)
		}{
			{"1 → 2", 1, "new", func(l *lab.Lab) { l.Join("new") }},
			{"6 → 8", 6, "new", func(l *lab.Lab) { l.Join("new"); l.Join("other") }},
			{"restart of 1 of 2", 2, "warm-1", func(l *lab.Lab) { l.Restart("warm-1") }},
			{"1 → 0 → 1 beside one", 2, "warm-1", func(l *lab.Lab) {
				l.Leave("warm-1")
				l.Run(l.Now() + 3*time.Second)
				l.Join("warm-1")
			}},
		} {
			t.Run(fmt.Sprintf("%v/%s", algorithm, tt.name), func(t *testing.T) {
				l := quiet(algorithm, tt.warm, window, 0)
				tt.do(l)
				if s := l.Share(0, tt.new); s.Share != 0.1 || s.Reason != "new" {
					t.Errorf("the newcomer begins with %.3f (%q), want 0.1 (new)", s.Share, s.Reason)
				}
				for end := l.Now() + window + time.Second; l.Now() < end; l.Run(l.Now() + time.Second) {
					if l.Budget(0).Binds() {
						t.Fatalf("at %v the budget binds: %+v", l.Now(), l.Budget(0))
					}
				}
			})
		}
	}
}

// From one gateway to fifty, from a request a second to a thousand, all together: what newcomers get follows
// the curve. The whole ramp is one figure, because at a request a second a tenth of it says nothing.
func TestGatewaysAndRatesOfEverySize(t *testing.T) {
	t.Parallel()
	const window = 120 * time.Second
	for _, algorithm := range algorithms {
		for _, gateways := range []int{1, 10, 50} {
			for _, rate := range []float64{1, 30, 1000} {
				if gateways == 10 && rate != 30 {
					continue // what holds for one and for fifty
				}
				all := newTally(window, 1)
				for seed := range uint64(max(1, min(8, 200/rate))) {
					l := fleetOf(10, lab.Config{
						Policy:   fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, 0.1)},
						Gateways: gateways, Rate: rate, Seed: seed, Service: 5 * time.Millisecond,
					})
					l.Join("new-0")
					l.Join("new-1")
					all.watch(l, "new-0", "new-1")
					l.Run(l.Now() + window)
				}
				off := 0.05 + 4*math.Sqrt(all.spread[0])/all.expected[0]
				if algorithm == fleet.LeastRequest {
					off += 0.1
				}
				// Each of the two is guaranteed ten probes. At a request a second the curve alone gives six.
				probes := 20 * all.sent[0] / (rate * window.Seconds()) / all.expected[0]
				if r := all.ratio(0); r < 1-off || r > 1+off+probes {
					t.Errorf("%v, %d gateways, %v requests/s: %.3f × the curve, want 1 ± %.3f and %.3f of probes", algorithm, gateways, rate, r, off, probes)
				} else {
					t.Logf("%v, %d gateways, %v requests/s: %.3f × the curve", algorithm, gateways, rate, r)
				}
			}
		}
	}
}
