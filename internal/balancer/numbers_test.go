package balancer_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

// These tests run the whole of a warm-up on virtual time and hold what arrived against the curve. Every run is
// seeded: it gives the same figures on every machine.

var algorithms = []fleet.Algorithm{fleet.RoundRobin, fleet.LeastRequest, fleet.Random}

func ramp(window time.Duration, minimum float64) fleet.Warmup {
	return fleet.Warmup{Window: window, Minimum: minimum}
}

// A tally counts what one endpoint got in each stretch of a run, and what it should have got.
type tally struct {
	stretch  time.Duration
	sent     []float64
	got      []float64
	expected []float64 // Σ share(tᵢ) / Σ shares over the actual send times
	spread   []float64 // Σ p(1−p): the variance of what a draw would give
}

func newTally(stretch time.Duration, n int) *tally {
	return &tally{stretch, make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)}
}

// Watch counts from now on what the endpoints of these names get, which are equals.
func (a *tally) watch(l *lab.Lab, names ...string) {
	l.Watch = names[0]
	begin := l.Now()
	l.Sent = func(r lab.Request) {
		k := int((r.At - begin) / a.stretch)
		if k >= len(a.sent) {
			return
		}
		a.sent[k]++
		if slices.Contains(names, r.Endpoint) {
			a.got[k]++
		}
		p := r.Ideal * float64(len(names))
		a.expected[k] += p
		a.spread[k] += p * (1 - p)
	}
}

func (a *tally) ratio(k int) float64  { return a.got[k] / a.expected[k] }
func (a *tally) points(k int) float64 { return 100 * a.got[k] / a.sent[k] }
func (a *tally) z() float64           { return (a.got[0] - a.expected[0]) / math.Sqrt(a.spread[0]) }

// fleetOf starts a lab with n warm endpoints and lets it run for some seconds.
func fleetOf(n int, c lab.Config) *lab.Lab {
	c.Warm = n
	l := lab.New(c)
	l.Run(5 * time.Second)
	return l
}

// Alibaba Cloud's documentation of ASM shows 333 of 3,260 requests in the first 20 s; the integral of the curve
// is 10.15 %.
func TestASMTable(t *testing.T) {
	t.Parallel()
	for _, algorithm := range algorithms {
		for seed := range uint64(20) {
			l := fleetOf(1, lab.Config{
				Policy: fleet.Policy{Algorithm: algorithm, Warmup: ramp(120*time.Second, 0.1)},
				Rate:   163, Seed: seed, Service: 5 * time.Millisecond,
			})
			l.Join("v2")
			first := newTally(20*time.Second, 1)
			first.watch(l, "v2")
			l.Run(l.Now() + 125*time.Second)
			after := newTally(20*time.Second, 1)
			after.watch(l, "v2")
			l.Run(l.Now() + 21*time.Second)
			switch got := first.points(0); {
			case algorithm == fleet.RoundRobin && math.Abs(got-10.2) > 1:
				t.Errorf("%v, seed %d: the newcomer got %.2f points in the first 20 s, want 10.2 ± 1.0", algorithm, seed, got)
			case math.Abs(first.z()) >= 4:
				t.Errorf("%v, seed %d: %.2f points in the first 20 s, z %.1f", algorithm, seed, got, first.z())
			}
			switch got := after.points(0); {
			case algorithm == fleet.RoundRobin && math.Abs(got-50) > 0.5:
				t.Errorf("%v, seed %d: %.2f points after the window, want 50 ± 0.5", algorithm, seed, got)
			case math.Abs(after.z()) >= 4:
				t.Errorf("%v, seed %d: %.2f points after the window, z %.1f", algorithm, seed, got, after.z())
			}
		}
	}
}

func TestWithoutWarmupTheNewcomerIsBalancedAtOnce(t *testing.T) {
	l := fleetOf(1, lab.Config{Policy: fleet.Policy{Algorithm: fleet.RoundRobin}, Rate: 163, Seed: 1})
	l.Join("v2")
	a := newTally(20*time.Second, 1)
	a.watch(l, "v2")
	l.Run(l.Now() + 21*time.Second)
	if got := a.points(0); math.Abs(got-50) > 0.1 {
		t.Errorf("got %.2f points, want 50", got)
	}
}

func TestEachTenthOfTheWindowFollowsTheCurve(t *testing.T) {
	t.Parallel()
	const seeds, window = 20, 120 * time.Second
	for _, tt := range []struct {
		name       string
		algorithm  fleet.Algorithm
		warm       int
		aggression float64
		rate       float64
		service    time.Duration
		low, high  float64
	}{
		{"round robin, 1 + 1, linear", fleet.RoundRobin, 1, 1, 163, 0, 0.995, 1.005},
		{"round robin, 1 + 1, quadratic", fleet.RoundRobin, 1, 0.5, 163, 0, 0.995, 1.005},
		{"round robin, 10 + 1, linear", fleet.RoundRobin, 10, 1, 500, 0, 0.995, 1.005},
		{"random, 1 + 1, linear", fleet.Random, 1, 1, 163, 0, 0.98, 1.02},
		{"random, 1 + 1, quadratic", fleet.Random, 1, 0.5, 163, 0, 0.98, 1.02},
		{"random, 10 + 1, linear", fleet.Random, 10, 1, 1000, 0, 0.98, 1.02},
		{"least request, 1 + 1, idle", fleet.LeastRequest, 1, 1, 163, time.Millisecond, 0.88, 1.2},
		{"least request, 1 + 1, busy", fleet.LeastRequest, 1, 1, 163, 100 * time.Millisecond, 0.88, 1.2},
		{"least request, 10 + 1, idle", fleet.LeastRequest, 10, 1, 300, time.Millisecond, 0.88, 1.2},
		{"least request, 10 + 1, some in flight", fleet.LeastRequest, 10, 1, 300, 30 * time.Millisecond, 0.88, 1.2},
		{"least request, 10 + 1, busy", fleet.LeastRequest, 10, 1, 300, 200 * time.Millisecond, 0.88, 1.2},
		{"least request, 10 + 1, quadratic", fleet.LeastRequest, 10, 0.5, 300, 100 * time.Millisecond, 0.88, 1.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := newTally(window/10, 11)
			w := ramp(window, 0.1)
			w.Aggression = tt.aggression
			for seed := range uint64(seeds) {
				l := fleetOf(tt.warm, lab.Config{
					Policy: fleet.Policy{Algorithm: tt.algorithm, Warmup: w},
					Rate:   tt.rate, Service: tt.service, Seed: seed,
				})
				l.Join("new")
				all.watch(l, "new")
				l.Run(l.Now() + 11*window/10)
			}
			for k := range all.sent {
				t.Logf("tenth %d: %.0f of %.0f, %.4f × the curve", k, all.got[k], all.expected[k], all.ratio(k))
				if r := all.ratio(k); r < tt.low || r > tt.high {
					t.Errorf("tenth %d: %.4f × the curve, want %v to %v", k, r, tt.low, tt.high)
				}
			}
		})
	}
}

// envoy#29259: two newcomers beside 130, a minimum of 1 %, 100 requests a second, a window of 180 s.
func TestPitfall08StarvationAmongManyOthers(t *testing.T) {
	t.Parallel()
	const (
		seeds = 100
		bound = 18*time.Second + 3*10*time.Millisecond
	)
	for _, algorithm := range algorithms {
		for _, churn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, churn %v", algorithm, churn), func(t *testing.T) {
				var sum, worst time.Duration
				for seed := range uint64(seeds) {
					for _, wait := range firstRequests(algorithm, churn, seed) {
						sum += wait
						worst = max(worst, wait)
						if wait > bound {
							t.Errorf("seed %d: a newcomer waited %v for its first request, want at most %v", seed, wait, bound)
						}
					}
				}
				mean := sum / (2 * seeds)
				t.Logf("first request after %v on average, %v at worst", mean, worst)
				if mean > 15*time.Second {
					t.Errorf("first request after %v on average, want at most 15 s", mean)
				}
			})
		}
	}
}

func firstRequests(algorithm fleet.Algorithm, churn bool, seed uint64) map[string]time.Duration {
	const never = time.Hour
	l := lab.New(lab.Config{
		Policy: fleet.Policy{Algorithm: algorithm, Warmup: ramp(180*time.Second, 0.01)},
		Warm:   130, Rate: 100, Seed: seed, Service: 10 * time.Millisecond,
	})
	l.Run(time.Second)
	begin := l.Now()
	waits := map[string]time.Duration{"new-0": never, "new-1": never}
	l.Sent = func(r lab.Request) {
		if wait, ok := waits[r.Endpoint]; ok && wait == never {
			waits[r.Endpoint] = r.At - begin
		}
	}
	l.Join("new-0")
	l.Join("new-1")
	if churn {
		count := 0
		l.Every(time.Second, func() {
			l.Leave(fmt.Sprint("warm-", count))
			l.JoinWarm(fmt.Sprint("warm-", 130+count))
			count++
		})
	}
	l.Run(begin + 25*time.Second)
	return waits
}

// Control: a scheduler by deadlines, as others have it, makes the same newcomer wait for more than 100 s: the
// deadline was set when its weight was a hundredth, and is not moved as the weight grows.
func TestDeadlineSchedulerStarvesTheNewcomer(t *testing.T) {
	const (
		warm, rate = 130, 100.0
		window     = 180.0
	)
	deadlines := make([]float64, warm+1)
	weight := func(i int, at float64) float64 {
		if i < warm {
			return 1
		}
		return max(0.01, at/window)
	}
	for i := range deadlines {
		deadlines[i] = 1 / weight(i, 0)
	}
	for n := 0; ; n++ {
		next := 0
		for i, d := range deadlines {
			if d < deadlines[next] {
				next = i
			}
		}
		at := float64(n) / rate
		if next == warm {
			t.Logf("first request after %.1f s", at)
			if at < 100 {
				t.Errorf("first request after %.1f s, want more than 100: the control must fail", at)
			}
			return
		}
		deadlines[next] += 1 / weight(next, at)
	}
}

// What many gateways with little traffic each send adds up to the curve.
func TestPitfall12ManyGatewaysTogetherFollowTheCurve(t *testing.T) {
	t.Parallel()
	const seeds, window = 24, 120 * time.Second
	for _, algorithm := range []fleet.Algorithm{fleet.RoundRobin, fleet.LeastRequest} {
		all := newTally(window/10, 11)
		for seed := range uint64(seeds) {
			l := fleetOf(10, lab.Config{
				Policy:   fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, 0.1)},
				Gateways: 50, Rate: 100, Seed: seed, Service: 20 * time.Millisecond,
			})
			l.Join("new-0")
			l.Join("new-1")
			all.watch(l, "new-0", "new-1")
			l.Run(l.Now() + 11*window/10)
		}
		for k := range all.sent {
			t.Logf("%v, tenth %d: %.0f of %.0f, %.3f × the curve", algorithm, k, all.got[k], all.expected[k], all.ratio(k))
			if r := all.ratio(k); r < 0.9 || r > 1.1 {
				t.Errorf("%v, tenth %d: %.3f × the curve, want 0.9 to 1.1", algorithm, k, r)
			}
		}
	}
}

// Nine of ten are replaced at once: the tenth carries at most twice what it did, from the first moment to the
// last; without the budget 5.3 times as much.
func TestShiftBudgetWhenNineOfTenAreReplaced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		algorithm fleet.Algorithm
		lambda    float64
		low, high float64 // × what it carried, in the first tenth
	}{
		{fleet.RoundRobin, 2, 1.95, 2.02},
		{fleet.RoundRobin, 1e9, 5.2, 5.4}, // control
		{fleet.Random, 2, 1.9, 2.1},
		{fleet.Random, 1e9, 5.1, 5.5}, // control
		{fleet.LeastRequest, 2, 1.3, 2.02},
		{fleet.LeastRequest, 1e9, 4.5, 5.5}, // control
	} {
		t.Run(fmt.Sprintf("%v, λ %v", tt.algorithm, tt.lambda), func(t *testing.T) {
			const window = 60 * time.Second
			before, after := newTally(20*time.Second, 1), newTally(window/10, 11)
			for seed := range uint64(10) {
				l := fleetOf(10, lab.Config{
					Policy: fleet.Policy{Algorithm: tt.algorithm, Warmup: ramp(window, 0.1), ShiftBudget: tt.lambda},
					Rate:   500, Seed: seed, Service: 20 * time.Millisecond,
				})
				before.watch(l, "warm-9")
				l.Run(l.Now() + 20*time.Second)
				l.Restart("warm-0", "warm-1", "warm-2", "warm-3", "warm-4", "warm-5", "warm-6", "warm-7", "warm-8")
				after.watch(l, "warm-9")
				l.Run(l.Now() + 11*window/10)
			}
			carried := before.points(0)
			if r := after.points(0) / carried; r < tt.low || r > tt.high {
				t.Errorf("the last warm one carries %.2f times what it did, want %v to %v", r, tt.low, tt.high)
			}
			for k := range after.sent {
				if r := after.points(k) / carried; tt.lambda == 2 && r > tt.high {
					t.Errorf("tenth %d: the last warm one carries %.2f times what it did, want at most %v", k, r, tt.high)
				}
			}
		})
	}
}

func TestScalingOutDoesNotTouchTheShiftBudget(t *testing.T) {
	policy := fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: ramp(120*time.Second, 0.1)}
	l := fleetOf(1, lab.Config{Policy: policy, Rate: 100, Seed: 1})
	step := func(what string) {
		t.Helper()
		if s := l.Share(0, "v2"); l.Budget(0).Binds() || s.Share != 0.1 || s.Reason != "new" {
			t.Errorf("%s: got a share of %v (%s) and %+v, want 0.1 (new) and no budget", what, s.Share, s.Reason, l.Budget(0))
		}
	}
	l.Join("v2")
	step("1 → 2")
	l.Run(l.Now() + 200*time.Second)
	l.Leave("v2")
	l.Run(l.Now() + 2*time.Second)
	l.Join("v2")
	step("1 → 0 → 1, at once")
	l.Run(l.Now() + 200*time.Second)
	l.Leave("v2")
	l.Run(l.Now() + time.Minute)
	l.Join("v2")
	step("1 → 0 → 1, after a while")
}

// What each endpoint expected and got is kept through every change, and agrees.
func TestExpectedAndActualAgree(t *testing.T) {
	for _, algorithm := range algorithms {
		l := fleetOf(3, lab.Config{
			Policy: fleet.Policy{Algorithm: algorithm, Warmup: ramp(60*time.Second, 0.1)},
			Rate:   200, Seed: 5, Service: time.Millisecond,
		})
		l.Join("new")
		got := map[string]uint64{}
		begin := l.Shares(0)
		l.Sent = func(r lab.Request) { got[r.Endpoint]++ }
		l.At(20*time.Second, func() { l.Join("later"); l.SetWeight("warm-1", 3) })
		l.At(40*time.Second, func() { l.Drain("warm-0") })
		l.Run(l.Now() + 90*time.Second)
		for i, s := range l.Shares(0) {
			actual := s.Actual
			if i < len(begin) {
				actual -= begin[i].Actual
			}
			if actual != got[s.Endpoint.Name] {
				t.Errorf("%v: %s counts %d picks, want %d", algorithm, s.Endpoint.Name, actual, got[s.Endpoint.Name])
			}
			most := 5.0                          // round robin: one for each change, and a probe
			if algorithm == fleet.LeastRequest { // which takes load into account as well
				most = s.Expected / 10
			}
			if algorithm == fleet.Random {
				most = 4 * math.Sqrt(s.Expected)
			}
			if math.Abs(s.Expected-float64(s.Actual)) > most {
				t.Errorf("%v: %s expected %.1f and got %d, want them to agree to %.0f", algorithm, s.Endpoint.Name, s.Expected, s.Actual, most)
			}
		}
	}
}
