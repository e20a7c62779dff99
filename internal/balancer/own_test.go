package balancer_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

// An endpoint's own warm-up is followed in every tenth of its window where its pool has none, whatever the algorithm,
// beside others that have another or none; and it says nothing where the pool has one.
func TestOwnWarmupInEveryTenth(t *testing.T) {
	t.Parallel()
	const seeds, window = 20, 120 * time.Second
	quadratic := fleet.Warmup{Window: window, Minimum: 0.1, Aggression: 0.5}
	linear := fleet.Warmup{Window: window, Minimum: 0.1, Aggression: 1}
	short := fleet.Warmup{Window: window / 4, Minimum: 0.2, Aggression: 2}
	for _, tt := range []struct {
		name      string
		algorithm fleet.Algorithm
		policy    fleet.Warmup // of the pool
		own       fleet.Warmup // of the newcomer
		beside    *fleet.Warmup
		aside     float64 // how far from the curve a tenth may be, as part of it, besides what chance does
	}{
		{name: "round robin", algorithm: fleet.RoundRobin, own: quadratic},
		{name: "random", algorithm: fleet.Random, own: quadratic},
		{name: "random, linear", algorithm: fleet.Random, own: linear},
		{name: "random, beside a shorter one", algorithm: fleet.Random, own: quadratic, beside: &short},
		{name: "random, beside a longer one", algorithm: fleet.Random, own: short, beside: &quadratic},
		{name: "round robin, beside a shorter one", algorithm: fleet.RoundRobin, own: quadratic, beside: &short},
		{name: "random, of the pool", algorithm: fleet.Random, policy: linear, own: quadratic},
		{name: "random, of the pool, beside another", algorithm: fleet.Random, policy: quadratic, own: short, beside: &linear},
		{name: "least request", algorithm: fleet.LeastRequest, own: quadratic, aside: 0.2},
		{name: "passthrough", algorithm: fleet.Passthrough, own: quadratic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := newTally(window/10, 11)
			for seed := range uint64(seeds) {
				l := fleetOf(2, lab.Config{
					Policy: fleet.Policy{Algorithm: tt.algorithm, Warmup: tt.policy, ShiftBudget: 100},
					Rate:   163, Seed: seed,
				})
				if tt.beside != nil {
					l.JoinBy("beside", *tt.beside)
				}
				l.JoinBy("new", tt.own)
				all.watch(l, "new")
				l.Run(l.Now() + 11*window/10)
			}
			for k := range all.sent {
				z := (all.got[k] - all.expected[k]) / math.Sqrt(all.spread[k])
				t.Logf("tenth %d: %.0f of %.0f, %.4f × the curve, z %.2f", k, all.got[k], all.expected[k], all.ratio(k), z)
				if math.Abs(z) >= 4 && math.Abs(all.ratio(k)-1) > tt.aside {
					t.Errorf("tenth %d: %.4f × the curve, z %.2f, want |z| below 4 or within %v", k, all.ratio(k), z, tt.aside)
				}
			}
		})
	}
}

// A newcomer that warms up by its own is sent the very requests, one by one, that it is sent by a pool that has the same
// warm-up: every algorithm, with several gateways, while people move it, and through a gateway's restart.
func TestOwnWarmupIsAsGoodAsThePools(t *testing.T) {
	t.Parallel()
	w := fleet.Warmup{Window: 40 * time.Second, Minimum: 0.05, Aggression: 0.5}
	run := func(policy fleet.Policy, join func(*lab.Lab)) (sent []lab.Request) {
		l := lab.New(lab.Config{
			Policy: policy, Warm: 3, Gateways: 2, Rate: 50, Keys: 1 << 40, Service: 20 * time.Millisecond, Seed: 7,
		})
		l.Sent = func(r lab.Request) { sent = append(sent, r) }
		l.Watch = "new"
		l.At(2*time.Second, func() { join(l) })
		l.At(10*time.Second, func() { l.Pause("new") })
		l.At(15*time.Second, func() { l.Resume("new") })
		l.At(20*time.Second, func() { l.Leave("warm-0", "warm-1") })
		l.At(25*time.Second, func() { l.RestartGateway(1) })
		l.At(30*time.Second, func() { l.Eject(0, "new") })
		l.At(32*time.Second, func() { l.Readmit(0, "new") })
		l.At(35*time.Second, func() { l.SetWeight("new", 0) })
		l.At(37*time.Second, func() { l.SetWeight("new", 1) })
		l.Run(90 * time.Second)
		return sent
	}
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			none := fleet.Policy{Algorithm: algorithm, Hash: &fleet.Hash{TableSize: 1021}}
			its := none
			its.Warmup = w
			want := run(its, func(l *lab.Lab) { l.Join("new") })
			if got := run(none, func(l *lab.Lab) { l.JoinBy("new", w) }); !slices.Equal(got, want) {
				t.Errorf("%d requests are sent otherwise than by a pool with the same warm-up, which sends %d", len(got), len(want))
			}
			if got := run(none, func(l *lab.Lab) { l.Join("new") }); slices.Equal(got, want) {
				t.Error("without any warm-up the same requests are sent: this test shows nothing")
			}
		})
	}
}

// TestOwnWarmupIsTheCurve holds what the lab itself expects against the formula: the square of progress, from a tenth.
func TestOwnWarmupIsTheCurve(t *testing.T) {
	l := fleetOf(1, lab.Config{Policy: fleet.Policy{Algorithm: fleet.RoundRobin, ShiftBudget: 100}, Rate: 10})
	l.JoinBy("new", fleet.Warmup{Window: 120 * time.Second, Minimum: 0.1, Aggression: 0.5})
	born := l.Now()
	for k := range 13 {
		l.Run(born + time.Duration(k)*10*time.Second)
		share := max(0.1, math.Pow(float64(k)/12, 2))
		if got, want := l.Ideal("new"), share/(1+share); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %v: %v of the requests, want %v", l.Now()-born, got, want)
		}
	}
}

// The pool's warm-up goes before an endpoint's own: whatever that is, nothing changes. Where the pool has none, it does.
func TestOwnWarmupYieldsToThePolicys(t *testing.T) {
	pool := fleet.Warmup{Window: time.Minute, Minimum: 0.1}
	own := fleet.Warmup{Window: 10 * time.Minute, Minimum: 0.5}
	share := func(p, e fleet.Warmup) float64 {
		newcomer := cold("new")
		newcomer.Age = 30 * time.Second
		if e.Window > 0 {
			newcomer.Warmup = &e
		}
		in := input(fleet.Policy{Algorithm: fleet.Random, Warmup: p}, warm("old"), newcomer)
		return balancer.Compile(nil, in, epoch).Shares(epoch)[1].Share
	}
	with, without := share(pool, own), share(pool, fleet.Warmup{})
	if with != without {
		t.Errorf("a pool with a warm-up gives an endpoint with one of its own %v, one without %v", with, without)
	}
	if got := share(fleet.Warmup{}, own); math.Abs(got-0.5) > 0.01 {
		t.Errorf("a pool without a warm-up gives an endpoint with one of its own %v, want 0.5", got)
	}
	if got := share(fleet.Warmup{}, fleet.Warmup{}); got != 1 {
		t.Errorf("without any warm-up the newcomer has %v, want 1", got)
	}
}

// The tick is that of the shortest window that somebody is in, and there is none when nobody is in any.
func TestTickIsThatOfTheShortestOnTheWay(t *testing.T) {
	by := func(name string, window, age time.Duration) fleet.Endpoint {
		e := cold(name)
		e.Warmup, e.Age = &fleet.Warmup{Window: window}, age
		return e
	}
	for _, tt := range []struct {
		name      string
		policy    time.Duration
		endpoints []fleet.Endpoint
		tick      time.Duration
		warming   bool
	}{
		{"nobody", 0, []fleet.Endpoint{warm("a")}, 0, false},
		{"the policy", 50 * time.Second, []fleet.Endpoint{by("a", time.Second, 0), warm("b")}, 500 * time.Millisecond, true},
		{"the shorter", 0, []fleet.Endpoint{by("a", 80*time.Second, 0), by("b", 20*time.Second, 0), warm("c")}, 200 * time.Millisecond, true},
		{"the shorter is over", 0, []fleet.Endpoint{by("a", 80*time.Second, 30*time.Second), by("b", 20*time.Second, 30*time.Second)}, 800 * time.Millisecond, true},
		{"all are over", 0, []fleet.Endpoint{by("a", 80*time.Second, 80*time.Second), by("b", 20*time.Second, 80*time.Second)}, 0, false},
		{"long", 0, []fleet.Endpoint{by("a", 500*time.Second, 0), warm("b")}, time.Second, true},
	} {
		b := balancer.Compile(nil, input(fleet.Policy{Algorithm: fleet.Random, Warmup: fleet.Warmup{Window: tt.policy}}, tt.endpoints...), epoch)
		if b.Tick() != tt.tick || b.Warming() != tt.warming {
			t.Errorf("%s: tick %v, warming %v, want %v, %v", tt.name, b.Tick(), b.Warming(), tt.tick, tt.warming)
		}
	}
}
