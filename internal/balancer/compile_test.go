package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Input returns what a balancer of these endpoints is made from.
func input(policy fleet.Policy, endpoints ...fleet.Endpoint) balancer.Input {
	s := &fleet.Service{Name: "s:80", Endpoints: endpoints, Pools: []fleet.Pool{{Policy: policy}}}
	book := evidence.Book{}
	for i := range endpoints {
		s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: i})
		book[endpoints[i].Incarnation] = new(evidence.Traffic)
	}
	return balancer.Input{
		View:    fleet.View{Snapshot: &fleet.Snapshot{}, Taken: epoch},
		Service: s, Pool: &s.Pools[0], Traffic: book, Seed: 1,
	}
}

func warm(name string) fleet.Endpoint {
	return fleet.Endpoint{Name: name, Incarnation: name, Weight: 1, Stage: fleet.Serving, Age: 24 * time.Hour}
}

func cold(name string) fleet.Endpoint {
	return fleet.Endpoint{Name: name, Incarnation: name, Weight: 1, Stage: fleet.Warming}
}

// Several draws n endpoints in whatever state.
func several(t *rapid.T) []fleet.Endpoint {
	var endpoints []fleet.Endpoint
	for i := range rapid.IntRange(1, 8).Draw(t, "endpoints") {
		endpoints = append(endpoints, fleet.Endpoint{
			Name:        fmt.Sprint("e", i),
			Incarnation: fmt.Sprint("e", i),
			Weight:      rapid.SampledFrom([]uint32{0, 1, 1, 2, 100}).Draw(t, "weight"),
			Stage:       fleet.Stage(rapid.SampledFrom([]uint8{0, 1, 1, 2, 2, 3, 4}).Draw(t, "stage")),
			Age:         time.Duration(rapid.Int64Range(0, int64(4*time.Minute)).Draw(t, "age")),
		})
	}
	return endpoints
}

func drawPolicy(t *rapid.T) fleet.Policy {
	return fleet.Policy{
		Algorithm: rapid.SampledFrom(algorithms).Draw(t, "algorithm"),
		Warmup: fleet.Warmup{
			Window:     time.Duration(rapid.Int64Range(0, int64(3*time.Minute)).Draw(t, "window")),
			Minimum:    rapid.SampledFrom([]float64{0, 0.01, 0.1, 1}).Draw(t, "minimum"),
			Aggression: rapid.SampledFrom([]float64{0, 0.5, 1, 3}).Draw(t, "aggression"),
		},
	}
}

func TestPickSendsOnlyToThoseWhoMayServe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		endpoints := several(t)
		in := input(drawPolicy(t), endpoints...)
		in.Overlay = fleet.Overlay{"e0": {Ejected: rapid.Bool().Draw(t, "ejected")}}
		in.Random = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Uint64
		b := balancer.Compile(nil, in, epoch)
		now := epoch.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "later")))
		avoid := rapid.IntRange(-1, len(endpoints)-1).Draw(t, "avoid")

		able := map[int]bool{}
		for i, e := range endpoints {
			if e.Stage.Offered() && e.Weight > 0 && !in.Overlay[e.Incarnation].Ejected {
				able[i] = true
			}
		}
		if e := endpoints[0]; len(able) == 0 && e.Stage.Offered() && e.Weight > 0 {
			able[0] = true // better one that may answer than none
		}
		for range 50 {
			got := b.Pick(now, avoid)
			switch {
			case len(able) == 0 && got != -1:
				t.Fatalf("nobody may serve: got %d", got)
			case len(able) > 0 && !able[got]:
				t.Fatalf("got %d, want one of %v", got, able)
			case got == avoid && len(able) > 1:
				t.Fatalf("got %d, which was to be avoided: %v may serve", got, able)
			}
		}
	})
}

func TestFractionsSumToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := balancer.Compile(nil, input(drawPolicy(t), several(t)...), epoch)
		var sum float64
		for _, s := range b.Shares(epoch) {
			if s.Fraction < 0 || (s.Fraction > 0) != (s.Effective > 0) {
				t.Fatalf("%s: a fraction of %v with an effective weight of %v", s.Endpoint.Name, s.Fraction, s.Effective)
			}
			sum += s.Fraction
		}
		if able := b.Pick(epoch, -1) >= 0; able && math.Abs(sum-1) > 1e-9 || !able && sum != 0 {
			t.Fatalf("fractions sum to %v", sum)
		}
	})
}

// To compile again when nothing has changed changes nothing: not what is said, and not who is next.
func TestCompileOfNothingNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		endpoints, policy := several(t), drawPolicy(t)
		seed := rapid.Uint64().Draw(t, "seed")
		before := rapid.IntRange(0, 30).Draw(t, "picks before")
		again := rapid.IntRange(1, 3).Draw(t, "compiles")
		run := func(compiles int) (shares []balancer.Share, picks []int) {
			in := input(policy, endpoints...)
			in.Random = rand.New(rand.NewPCG(seed, 0)).Uint64
			b := balancer.Compile(nil, in, epoch)
			for range before {
				b.Pick(epoch, -1)
			}
			now := epoch.Add(time.Second)
			for range compiles {
				b = balancer.Compile(b, in, now)
			}
			shares = b.Shares(now)
			for i := range shares {
				shares[i].Expected = math.Round(shares[i].Expected * 1e6)
			}
			for range 50 {
				picks = append(picks, b.Pick(now, -1))
			}
			return shares, picks
		}
		shares, picks := run(1)
		gotShares, gotPicks := run(1 + again)
		if diff := cmp.Diff(shares, gotShares, cmp.AllowUnexported(fleet.Endpoint{}), cmp.Comparer(func(a, b *fleet.Endpoint) bool {
			return a.Incarnation == b.Incarnation
		})); diff != "" {
			t.Fatalf("shares change (-once +again):\n%s", diff)
		}
		if diff := cmp.Diff(picks, gotPicks); diff != "" {
			t.Fatalf("picks change (-once +again):\n%s", diff)
		}
	})
}

// The order in which control lists endpoints is of no account: each keeps what it has.
func TestMembersInAnotherOrderKeepTheirAccounts(t *testing.T) {
	policy := fleet.Policy{Algorithm: fleet.RoundRobin}
	b := balancer.Compile(nil, input(policy, warm("a"), warm("b"), warm("c")), epoch)
	first := b.Endpoints()[b.Pick(epoch, -1)].Name
	second := b.Endpoints()[b.Pick(epoch, -1)].Name
	b = balancer.Compile(b, input(policy, warm("c"), warm("x"), warm("b"), warm("a")), epoch)
	for _, s := range b.Shares(epoch) {
		want := uint64(0)
		if s.Endpoint.Name == first || s.Endpoint.Name == second {
			want = 1
		}
		if s.Actual != want {
			t.Errorf("%s: got %d picks, want %d", s.Endpoint.Name, s.Actual, want)
		}
	}
	// The rotation goes on with the one whose turn it was.
	third := map[string]string{"ab": "c", "bc": "a", "ca": "b"}[first+second]
	if got := b.Endpoints()[b.Pick(epoch, -1)].Name; got != third {
		t.Errorf("after %s and %s: got %s, want %s", first, second, got, third)
	}
}

func TestRotationGoesOnAfterTheOneWhoLeft(t *testing.T) {
	policy := fleet.Policy{Algorithm: fleet.RoundRobin}
	b := balancer.Compile(nil, input(policy, warm("a"), warm("b"), warm("c"), warm("d")), epoch)
	names := []string{"a", "b", "c", "d", "a", "b", "c"}
	next := b.Pick(epoch, -1) + 1 // whose turn it is
	var rest []fleet.Endpoint
	for _, name := range names[:4] {
		if name != names[next] {
			rest = append(rest, warm(name))
		}
	}
	b = balancer.Compile(b, input(policy, rest...), epoch)
	if got := b.Endpoints()[b.Pick(epoch, -1)].Name; got != names[next+1] {
		t.Errorf("%s left when it was its turn: got %s, want %s", names[next], got, names[next+1])
	}
}

// A fleet of gateways that start together must not all begin with the same endpoint.
func TestGatewaysStartAnywhere(t *testing.T) {
	counts := make([]int, 4)
	for seed := range uint64(400) {
		in := input(fleet.Policy{Algorithm: fleet.RoundRobin}, warm("a"), warm("b"), warm("c"), warm("d"))
		in.Seed = seed
		counts[balancer.Compile(nil, in, epoch).Pick(epoch, -1)]++
	}
	for i, n := range counts {
		if n < 60 || n > 140 {
			t.Errorf("%d of 400 gateways start with endpoint %d, want about 100", n, i)
		}
	}
}

// An account needs no book, and two endpoints may by mistake have one incarnation.
func TestCompileOfOddInput(t *testing.T) {
	in := input(fleet.Policy{}, warm("a"), warm("a"))
	in.Traffic = nil
	b := balancer.Compile(nil, in, epoch)
	b = balancer.Compile(b, in, epoch)
	b = balancer.Compile(b, input(fleet.Policy{}, warm("x"), warm("a"), warm("a")), epoch)
	for range 100 {
		b.Pick(epoch, -1)
	}
	var sum uint64
	for _, s := range b.Shares(epoch) {
		sum += s.Actual
	}
	if sum != 100 {
		t.Errorf("got %d picks in all, want 100", sum)
	}
	empty := balancer.Compile(b, input(fleet.Policy{Algorithm: fleet.RoundRobin}), epoch)
	if got := empty.Pick(epoch, 0); got != -1 {
		t.Errorf("an empty pool: got %d, want -1", got)
	}
}

func TestLeastRequestPrefersTheLessLoaded(t *testing.T) {
	in := input(fleet.Policy{}, warm("a"), warm("b"))
	in.Traffic["a"].Active.Add(3)
	b := balancer.Compile(nil, in, epoch)
	for range 100 {
		if got := b.Pick(epoch, -1); got != 1 {
			t.Fatalf("got the loaded one")
		}
	}
	in.Service.Endpoints[0].Weight = 4 // three of four is less than one of one
	in.Traffic["b"].Active.Add(1)
	b = balancer.Compile(b, in, epoch)
	for range 100 {
		if got := b.Pick(epoch, -1); got != 0 {
			t.Fatalf("got the one that is more loaded for its weight")
		}
	}
}
