package balancer_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

// Seeds returns how many seeds a test runs: few in an ordinary run, ten times as many in a full one.
func seeds(few int) uint64 {
	if os.Getenv("CROSSFADE_FULL") != "" {
		few *= 10
	}
	return uint64(few) //nolint:gosec // it is not negative
}

// From one gateway to two hundred, from a request a second to a thousand, all together: in each tenth of the window
// what newcomers get follows the curve, to within what warmup.md allows each algorithm and four standard deviations
// of a draw. Where the curve gives less than a request in a tenth of the window, it is one: the guaranteed probe.
func TestEveryTenthWithGatewaysAndRatesOfEverySize(t *testing.T) {
	t.Parallel()
	const window, newcomers = 120 * time.Second, 2
	for _, tt := range []struct {
		algorithm fleet.Algorithm
		low, high float64
	}{{fleet.RoundRobin, 0.995, 1.005}, {fleet.Random, 0.98, 1.02}, {fleet.LeastRequest, 0.88, 1.2}} {
		for _, gateways := range []int{1, 10, 50, 200} {
			for rate, few := range map[float64]int{1: 5, 10: 3, 100: 2, 1000: 1} {
				t.Run(fmt.Sprintf("%v/gateways=%d/rate=%v", tt.algorithm, gateways, rate), func(t *testing.T) {
					t.Parallel()
					all := newTally(window/10, 11)
					n := seeds(few)
					for seed := range n {
						l := fleetOf(10, lab.Config{
							Policy:   fleet.Policy{Algorithm: tt.algorithm, Warmup: ramp(window, 0.1)},
							Gateways: gateways, Rate: rate, Seed: seed, Service: 5 * time.Millisecond,
						})
						l.Join("new-0")
						l.Join("new-1")
						all.watch(l, "new-0", "new-1")
						l.Run(l.Now() + 11*window/10)
					}
					for k := range all.sent {
						draw := 4 * math.Sqrt(all.spread[k])
						low, high := tt.low*all.expected[k]-draw, tt.high*all.expected[k]+draw
						if k < 10 {
							// A probe for each, less often when only one pick in ten may be one; of gateways that wait for
							// their first request, one may have to be made up for from the tenth before.
							high += min(2*newcomers*float64(n), all.sent[k]/10)
						}
						if got := all.got[k]; got < low || got > high {
							t.Errorf("tenth %d: got %.0f of %.0f requests, the curve says %.1f: want %.1f to %.1f", k, got, all.sent[k], all.expected[k], low, high)
						}
					}
				})
			}
		}
	}
}

// A load counts what each endpoint got in each stretch of a run.
type loads struct {
	stretch time.Duration
	sent    []float64
	got     []map[string]float64
}

func weigh(l *lab.Lab, stretch time.Duration) *loads {
	a, begin := &loads{stretch: stretch}, l.Now()
	l.Sent = func(r lab.Request) {
		for k := int((r.At - begin) / stretch); len(a.sent) <= k; {
			a.sent, a.got = append(a.sent, 0), append(a.got, map[string]float64{})
		}
		last := len(a.sent) - 1
		a.sent[last]++
		a.got[last][r.Endpoint]++
	}
	return a
}

// Whatever is replaced and at which pace, no endpoint gets more than λ times the requests that it got before, from
// one stretch of time to the next, for as long as there is capacity. What is counted is requests: a rotation keeps to
// that to within a few, the others to within four standard deviations of a draw and the fortieth that least request
// makes of it.
func TestNobodyGetsMoreRequestsThanTheShiftBudgetAllows(t *testing.T) {
	t.Parallel()
	const window, stretch, rate = 60 * time.Second, 6 * time.Second, 400.0
	replacements := map[string]struct {
		n     int
		do    func(*lab.Lab)
		takes time.Duration
	}{
		"9 of 10 at once":        {10, func(l *lab.Lab) { l.Restart(names(9)...) }, 0},
		"14 of 20 at once":       {20, func(l *lab.Lab) { l.Restart(names(14)...) }, 0},
		"one by one, every 2 s":  {10, rolling(2 * time.Second), 20 * time.Second},
		"one by one, every 10 s": {10, rolling(10 * time.Second), 100 * time.Second},
		"one by one, every 30 s": {10, rolling(30 * time.Second), 300 * time.Second},
		"one by one, every 60 s": {10, rolling(60 * time.Second), 600 * time.Second},
	}
	for _, algorithm := range algorithms {
		for _, lambda := range []float64{2, 1.3} {
			for _, name := range slices.Sorted(maps.Keys(replacements)) {
				t.Run(fmt.Sprintf("%v/λ=%v/%s", algorithm, lambda, name), func(t *testing.T) {
					t.Parallel()
					tt := replacements[name]
					for seed := range seeds(1) {
						l := fleetOf(tt.n, lab.Config{
							Policy: fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, 0.1), ShiftBudget: lambda},
							Rate:   rate, Seed: seed, Service: 20 * time.Millisecond,
						})
						a := weigh(l, stretch)
						tt.do(l)
						l.Run(l.Now() + tt.takes + window)
						for k := range a.sent {
							due := lambda * a.sent[k] / float64(tt.n)
							for name, got := range a.got[k] {
								most := 1.025*due + 4*math.Sqrt(due)
								if algorithm == fleet.RoundRobin {
									most = 1.005*due + 5
								}
								if got > most {
									t.Errorf("seed %d, stretch %d: %s gets %.0f requests, %.2f times what it did; want at most %.0f", seed, k, name, got, got/due*lambda, most)
								}
							}
						}
					}
				})
			}
		}
	}
}

// A gateway that starts finds every endpoint anywhere on its way to its next turn: what many of them send first, all
// together, is shared out as the rest is. If all began at the same place, whoever has half a share would get a quarter
// of the first requests instead of a third.
func TestGatewaysStartAnywhereInEveryTurn(t *testing.T) {
	const gateways = 400
	got := 0
	for seed := range uint64(gateways) {
		half := cold("half")
		half.Age = time.Minute
		in := input(fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: ramp(2*time.Minute, 0.1)}, warm("whole"), half)
		in.Seed = seed
		b := balancer.Compile(nil, in, epoch)
		got += b.Pick(epoch, -1) + b.Pick(epoch, -1)
	}
	if want := 2.0 * gateways / 3; math.Abs(float64(got)-want) > 45 {
		t.Errorf("of the first %d requests %d go to the endpoint with half a share, want about %.0f", 2*gateways, got, want)
	}
}
