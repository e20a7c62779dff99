package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
	"crossfade.dev/internal/picker"
)

var hashing = []fleet.Algorithm{fleet.RingHash, fleet.Maglev}

func keyed(algorithm fleet.Algorithm, window time.Duration, minimum float64) fleet.Policy {
	return fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, minimum), Hash: &fleet.Hash{TableSize: 251}}
}

// Over a whole ramp a key goes over to a newcomer once, and never back. The others' keys stay where they are; of
// a Maglev's table the newcomer moves a few when it comes, and none while it warms up.
func TestKeyMovesToTheNewcomerOnceAndNeverBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window, keys = 20 * time.Second, 150
		algorithm := rapid.SampledFrom(hashing).Draw(t, "algorithm")
		l := lab.New(lab.Config{
			Policy: keyed(algorithm, window, rapid.SampledFrom([]float64{0, 0.01, 0.1}).Draw(t, "minimum")),
			Warm:   rapid.IntRange(1, 8).Draw(t, "warm"), Rate: 10, Seed: rapid.Uint64().Draw(t, "seed"),
		})
		before := whereabouts(l, keys)
		l.Join("new")
		last := whereabouts(l, keys)
		moved := 0
		for key := range last {
			if last[key] != before[key] && last[key] != "new" {
				moved++
			}
		}
		if algorithm == fleet.RingHash && moved > 0 || moved > keys*15/100 {
			t.Fatalf("when one joins, %d of %d keys move between the others", moved, keys)
		}
		for l.Now() < window+2*time.Second {
			l.Run(l.Now() + 500*time.Millisecond)
			for key, now := range whereabouts(l, keys) {
				if now != last[key] && now != "new" {
					t.Fatalf("at %v: key %d moved from %s to %s", l.Now(), key, last[key], now)
				}
				last[key] = now
			}
		}
	})
}

func whereabouts(l *lab.Lab, keys int) []string {
	names := make([]string, keys)
	for key := range names {
		names[key] = l.Where(0, uint64(key)) //nolint:gosec // an index
	}
	return names
}

// Two that warm up at once: a key may go to the one and then to the other, which is before it on its way, but it
// never returns to where it was. A Maglev's table moves a few keys of others when the one becomes warm before the
// other.
func TestKeyNeverReturnsWhileSeveralWarmUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window, keys = 20 * time.Second, 100
		algorithm := rapid.SampledFrom(hashing).Draw(t, "algorithm")
		returned, most := 0, 0
		if algorithm == fleet.Maglev {
			most = keys / 10
		}
		l := lab.New(lab.Config{
			Policy: keyed(algorithm, window, 0.05),
			Warm:   2, Rate: 10, Seed: rapid.Uint64().Draw(t, "seed"),
		})
		l.Join("new-0")
		l.Run(time.Duration(rapid.Int64Range(0, int64(window)).Draw(t, "second joins")))
		l.Join("new-1")
		last := whereabouts(l, keys)
		left := map[string]bool{}
		for end := l.Now() + window + 2*time.Second; l.Now() < end; {
			l.Run(l.Now() + 500*time.Millisecond)
			for key, now := range whereabouts(l, keys) {
				if now == last[key] {
					continue
				}
				left[fmt.Sprint(key, last[key])] = true
				last[key] = now
				if left[fmt.Sprint(key, now)] {
					returned++
				}
			}
		}
		if returned > most {
			t.Fatalf("%d of %d keys went back where they had been, want %d at most", returned, keys, most)
		}
	})
}

// Each tenth of the window holds the newcomer against what is its own when it is warm, as keys fall: a ring gives
// it more or less than its weight, for ever.
func TestKeysFollowTheCurveOfTheirOwnSteadyShare(t *testing.T) {
	t.Parallel()
	const window = 120 * time.Second
	for _, algorithm := range hashing {
		for _, aggression := range []float64{1, 0.5} {
			for seed := range uint64(3) {
				policy := keyed(algorithm, window, 0.1)
				policy.Warmup.Aggression = aggression
				l := fleetOf(4, lab.Config{
					Policy: policy, Gateways: 3, Rate: 400, Seed: seed, Keys: 1 << 40,
				})
				l.Join("new")
				var got, spread [11]float64
				var curves [11]float64
				l.Watch = "new"
				begin := l.Now()
				l.Sent = func(r lab.Request) {
					k := min(10, int((r.At-begin)*10/window))
					s := 4 * r.Ideal / (1 - r.Ideal) // the curve, from the part of one beside four
					curves[k] += s
					spread[k] += s * s
					if r.Endpoint == "new" {
						got[k]++
					}
				}
				l.Run(begin + 11*window/10)
				steady := 0.0
				const sample = 200_000
				for key := range uint64(sample) {
					if l.Where(0, key) == "new" {
						steady++
					}
				}
				steady /= sample
				if said := l.Share(1, "new").Fraction; math.Abs(said-steady) > 4*math.Sqrt(steady/sample) {
					t.Errorf("%v, seed %d: a fraction of %.4f is announced, %.4f of the keys are its own", algorithm, seed, said, steady)
				}
				for k := range got {
					want := steady * curves[k]
					z := (got[k] - want) / math.Sqrt(want-steady*steady*spread[k])
					if math.Abs(z) >= 4 {
						t.Errorf("%v, seed %d, tenth %d: %v requests, want %.0f of its own steady share (z %.1f)", algorithm, seed, k, got[k], want, z)
					}
				}
			}
		}
	}
}

// What Shares announces is how keys fall, however many warm up.
func TestFractionsAreHowKeysFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := keyed(rapid.SampledFrom(hashing).Draw(t, "algorithm"), 2*time.Minute, 0.1)
		policy.Hash = &fleet.Hash{TableSize: rapid.SampledFrom([]uint64{7, 101, 1000}).Draw(t, "size")}
		b := balancer.Compile(nil, input(policy, several(t)...), epoch)
		const keys = 5000
		for key := range uint64(keys) {
			b.PickKey(epoch, picker.Mix(key), -1)
		}
		for _, s := range b.Shares(epoch) {
			if off := math.Abs(float64(s.Actual) - s.Expected); off > 6*math.Sqrt(s.Expected)+2 {
				t.Fatalf("%s has %d of %d keys, want %.0f", s.Endpoint.Name, s.Actual, keys, s.Expected)
			}
		}
	})
}

// Every gateway sends a key to the same place, whatever its seed, its place among the gateways and its past.
func TestGatewaysAgreeAboutKeys(t *testing.T) {
	for _, algorithm := range hashing {
		l := fleetOf(5, lab.Config{Policy: keyed(algorithm, time.Minute, 0.1), Gateways: 3, Rate: 50, Seed: 3, Keys: 100})
		l.Join("new")
		l.Run(l.Now() + 20*time.Second)
		l.Leave("warm-2")
		l.RestartGateway(1)
		// Shares are taken at the middle of each gateway's own tick, of 0.6 s: a hundredth of the ramp.
		differ := 0
		for key := range uint64(2000) {
			if a, b := l.Where(0, key), l.Where(1, key); a != b {
				if a != "new" && b != "new" {
					t.Errorf("%v: key %d goes to %s and to %s", algorithm, key, a, b)
				}
				differ++
			}
		}
		if differ > 2000*2/100 {
			t.Errorf("%v: gateways disagree about %d of 2000 keys, want a tick's worth at most", algorithm, differ)
		}
		l.Run(l.Now() + time.Minute)
		for key := range uint64(2000) {
			if a, b := l.Where(0, key), l.Where(1, key); a != b {
				t.Errorf("%v: all are warm, and key %d goes to %s and to %s", algorithm, key, a, b)
			}
		}
	}
}

// An endpoint that starts again at the same address gets its own keys back, and nobody else's.
func TestRestartAtTheSameAddressKeepsItsKeys(t *testing.T) {
	for _, algorithm := range hashing {
		l := fleetOf(4, lab.Config{Policy: keyed(algorithm, 30*time.Second, 0.1), Rate: 10, Seed: 1, Keys: 100})
		before := map[uint64]string{}
		for key := range uint64(1000) {
			before[key] = l.Where(0, key)
		}
		l.Restart("warm-1")
		away := 0
		for key := range uint64(1000) {
			switch now := l.Where(0, key); {
			case before[key] == "warm-1" && now != "warm-1":
				away++
			case now != before[key]:
				t.Errorf("%v: key %d moved from %s to %s, neither of which started again", algorithm, key, before[key], now)
			}
		}
		if away < 150 || away > 350 {
			t.Errorf("%v: %d of 1000 keys are away from the one that starts, want about nine tenths of a quarter", algorithm, away)
		}
		l.Run(l.Now() + 31*time.Second)
		for key := range uint64(1000) {
			if now := l.Where(0, key); now != before[key] {
				t.Errorf("%v: key %d is at %s after the ramp, want %s", algorithm, key, now, before[key])
			}
		}
	}
}

// Time and ticks do not turn the wheel; only who comes, goes or changes weight does.
func TestKeysStayWhileTheWorldStands(t *testing.T) {
	for _, algorithm := range hashing {
		in := pool(algorithm, 50, 0)
		b := balancer.Compile(nil, in, epoch)
		want := make([]int, 1000)
		for key := range want {
			want[key] = b.PickKey(epoch, uint64(key), -1)
		}
		for k := range 5 {
			now := epoch.Add(time.Duration(k) * time.Hour)
			b = balancer.Compile(b, in, now)
			for key := range want {
				if got := b.PickKey(now, uint64(key), -1); got != want[key] {
					t.Fatalf("%v: key %d went to %d and goes to %d", algorithm, key, want[key], got)
				}
			}
		}
	}
}

func TestKeyIsSentElsewhereOnlyToAvoid(t *testing.T) {
	for _, algorithm := range hashing {
		b := balancer.Compile(nil, pool(algorithm, 5, 0), epoch)
		for key := range uint64(500) {
			home := b.PickKey(epoch, key, -1)
			other := b.PickKey(epoch, key, home)
			if other == home || other < 0 {
				t.Errorf("%v: key %d avoids %d and goes to %d", algorithm, key, home, other)
			}
			if again := b.PickKey(epoch, key, home); again != other {
				t.Errorf("%v: key %d avoids %d and goes to %d, then to %d", algorithm, key, home, other, again)
			}
			if got := b.PickKey(epoch, key, other); got != home {
				t.Errorf("%v: key %d avoids another than its own and goes to %d, want %d", algorithm, key, got, home)
			}
		}
		alone := balancer.Compile(nil, pool(algorithm, 1, 0), epoch)
		if got := alone.PickKey(epoch, 1, 0); got != 0 {
			t.Errorf("%v: one alone that is to be avoided: got %d, want 0", algorithm, got)
		}
		// A newcomer that would not admit the key is better than the one to avoid.
		two := balancer.Compile(nil, input(keyed(algorithm, time.Hour, 0), warm("a"), cold("b")), epoch)
		if got := two.PickKey(epoch, 1, 0); got != 1 {
			t.Errorf("%v: beside a newcomer: got %d, want the newcomer", algorithm, got)
		}
		if got := balancer.Compile(nil, pool(algorithm, 0, 0), epoch).PickKey(epoch, 1, -1); got != -1 {
			t.Errorf("%v: an empty pool: got %d, want -1", algorithm, got)
		}
	}
}

// Pools without a consistent hash draw as ever.
func TestOtherAlgorithmsPayNoAttentionToKeys(t *testing.T) {
	for _, algorithm := range algorithms {
		b := balancer.Compile(nil, pool(algorithm, 4, 0), epoch)
		seen := map[int]bool{}
		for range 200 {
			seen[b.PickKey(epoch, 1, -1)] = true
		}
		if len(seen) != 4 {
			t.Errorf("%v: one key went to %d of 4 endpoints, want all", algorithm, len(seen))
		}
	}
}

// Everything in flight is of one key: bounded load spreads it, so that nobody has more than the bound says while
// the rest have room.
func TestBoundedLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := keyed(rapid.SampledFrom(hashing).Draw(t, "algorithm"), 0, 0)
		policy.Hash = &fleet.Hash{Bound: rapid.SampledFrom([]float64{1, 1.25, 2}).Draw(t, "bound"), TableSize: 101}
		var endpoints []fleet.Endpoint
		var total float64
		for i := range rapid.IntRange(1, 16).Draw(t, "endpoints") {
			e := warm(fmt.Sprint("e", i))
			e.Weight = rapid.SampledFrom([]uint32{1, 1, 3}).Draw(t, "weight")
			total += float64(e.Weight)
			endpoints = append(endpoints, e)
		}
		in := input(policy, endpoints...)
		b := balancer.Compile(nil, in, epoch)
		keys := rapid.Uint64Range(1, 5).Draw(t, "keys")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for sent := 1.0; sent < 200; sent++ {
			i := b.PickKey(epoch, random.Uint64N(keys), -1)
			active := float64(in.Traffic[endpoints[i].Incarnation].Active.Add(1))
			if most := math.Ceil(policy.Hash.Bound * sent * float64(endpoints[i].Weight) / total); active > most {
				t.Fatalf("%v of %v requests are in flight at %d, want at most %v", active, sent, i, most)
			}
		}
	})
}

// With room everywhere a bound moves no key.
func TestBoundedLoadLeavesKeysWhereTheyAre(t *testing.T) {
	for _, algorithm := range hashing {
		in := pool(algorithm, 10, 0)
		free := balancer.Compile(nil, in, epoch)
		in.Pool.Policy.Hash = &fleet.Hash{Bound: 1.25}
		bound := balancer.Compile(nil, in, epoch)
		for key := range uint64(500) {
			if a, b := free.PickKey(epoch, key, -1), bound.PickKey(epoch, key, -1); a != b {
				t.Fatalf("%v: key %d goes to %d, with a bound to %d although nothing is in flight", algorithm, key, a, b)
			}
		}
	}
}

func TestPickKeyDoesNotAllocate(t *testing.T) {
	for _, algorithm := range hashing {
		in := pool(algorithm, 10, 3)
		in.Pool.Policy.Hash = &fleet.Hash{Bound: 1.25}
		b := balancer.Compile(nil, in, epoch)
		key := uint64(0)
		if got := testing.AllocsPerRun(1000, func() { key++; b.PickKey(epoch, key, b.PickKey(epoch, key, -1)) }); got != 0 {
			t.Errorf("%v: PickKey allocates %v times, want 0", algorithm, got)
		}
	}
}

func BenchmarkPickKey(b *testing.B) {
	for _, algorithm := range hashing {
		for _, n := range []int{10, 100, 10_000} {
			for _, warming := range []int{0, n / 10} {
				for _, bound := range []float64{0, 1.25} {
					b.Run(fmt.Sprintf("%v/endpoints=%d/warming=%d/bound=%v", algorithm, n, warming, bound), func(b *testing.B) {
						in := idle(algorithm, n, warming)
						in.Pool.Policy.Hash = &fleet.Hash{Bound: bound}
						p := balancer.Compile(nil, in, epoch)
						b.ReportAllocs()
						for key := uint64(0); b.Loop(); key++ {
							p.PickKey(epoch, key, -1)
						}
					})
				}
			}
		}
	}
}
