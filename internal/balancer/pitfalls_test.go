package balancer_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
	"crossfade.dev/internal/warmup"
)

// What goes wrong in the slow starts of other balancers, one test each, for every algorithm. Numbers 4 and 22 are
// matters of configuration.

// Each tells a story with every algorithm: a window of 120 s from a tenth.
func each(t *testing.T, c lab.Config, f func(*story)) {
	t.Helper()
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			c.Policy.Algorithm, c.Policy.Hash = algorithm, &fleet.Hash{TableSize: 101}
			if c.Policy.Warmup.Window == 0 {
				c.Policy.Warmup = ramp(120*time.Second, 0.1)
			}
			c.Rate, c.Keys, c.Seed = 20, 1<<40, 1
			f(tell(t, c))
		})
	}
}

func TestPitfall01NewcomerBeginsAtTheMinimum(t *testing.T) {
	each(t, lab.Config{Warm: 3}, func(s *story) {
		s.Join("new")
		s.wantShare("new", 0.1, warmup.New)
		if got := s.Share(0, "new").Fraction; !(got > 0 && got < 0.08) {
			s.t.Errorf("the newcomer is given %v of the requests at age 0, want about a tenth of a quarter", got)
		}
	})
}

func TestPitfall02ClockGoesBack(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		in := input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(2*time.Minute, 0.1)}, warm("a"), cold("b"))
		in.Service.Endpoints[1].Age = -time.Hour
		for _, now := range []time.Time{epoch, epoch.Add(-time.Hour)} {
			b := balancer.Compile(nil, in, now)
			if s := b.Shares(now)[1]; math.Abs(s.Share-0.1) > 0.01 {
				t.Errorf("%v: a share of %v before its time, want 0.1", algorithm, s.Share)
			}
			if got := b.Pick(now, -1); got < 0 {
				t.Errorf("%v: Pick: got %d", algorithm, got)
			}
		}
		b := balancer.Compile(nil, in, epoch.Add(30*24*time.Hour)) // the machine slept
		if s := b.Shares(epoch)[1]; s.Share != 1 || b.Warming() {
			t.Errorf("%v: a share of %v after a month, want 1", algorithm, s.Share)
		}
	}
}

func TestPitfall03WindowsOfEveryLength(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		for window, want := range map[time.Duration]float64{0: 1, 1: 1, time.Millisecond: 0.1, math.MaxInt64: 0.1} {
			in := input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, 0.1)}, warm("a"), cold("b"))
			in.Service.Endpoints[0].Age = math.MaxInt64
			in.Service.Endpoints[1].Age = time.Duration(min(1, int64(window)))
			b := balancer.Compile(nil, in, epoch)
			if got := b.Shares(epoch)[1].Share; math.Abs(got-want) > 1e-2 {
				t.Errorf("%v, window %v: a share of %v at the beginning, want %v", algorithm, window, got, want)
			}
			if got := b.Pick(epoch, 0); got != 1 {
				t.Errorf("%v, window %v: Pick: got %d, want 1", algorithm, window, got)
			}
		}
	}
}

func TestPitfall05DrainedStaysDrained(t *testing.T) {
	each(t, lab.Config{Warm: 2}, func(s *story) {
		s.Join("new")
		s.after(30 * time.Second)
		s.SetWeight("new", 0)
		s.Sent = func(r lab.Request) {
			if r.Endpoint == "new" {
				s.t.Errorf("at %v: a request to one whose weight is 0", r.At)
			}
		}
		s.after(20 * time.Second)
		s.RestartGateway(0)
		s.after(100 * time.Second)
		s.wantShare("new", 0, warmup.Drained)
	})
}

func TestPitfall06And24NoStepAtTheEnd(t *testing.T) {
	each(t, lab.Config{Warm: 3}, func(s *story) {
		s.Join("new")
		last := s.Share(0, "new").Fraction
		for s.Now() < 125*time.Second {
			s.after(500 * time.Millisecond)
			now := s.Share(0, "new").Fraction
			if step := now - last; step < -1e-9 || step > 0.006 {
				s.t.Fatalf("at %v: the newcomer's part goes from %.4f to %.4f", s.Now(), last, now)
			}
			last = now
		}
		s.wantShare("new", 1, warmup.Full)
	})
}

func TestPitfall07TinyWeightIsNotRoundedAway(t *testing.T) {
	each(t, lab.Config{Warm: 1}, func(s *story) {
		s.SetWeight("warm-0", math.MaxUint32)
		s.Join("new")
		s.after(time.Second)
		if got := s.Share(0, "new"); !(got.Fraction > 0) || got.Effective < 0.1 {
			s.t.Errorf("one beside four thousand million: got %+v, want something", got)
		}
	})
}

// Somebody leaves and somebody comes in every second of a ramp, while the newcomer's weight grows: it gets its share
// all the same, in each quarter of its window.
func TestPitfall09ChurnNeitherResetsNorFavours(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		const window = 120 * time.Second
		a := newTally(window/4, 4)
		for seed := range uint64(3) {
			l := lab.New(lab.Config{
				Policy: fleet.Policy{Algorithm: algorithm, Warmup: ramp(window, 0.1), Hash: &fleet.Hash{TableSize: 1021}},
				Warm:   10, Rate: 200, Keys: 1 << 40, Seed: seed, Service: time.Millisecond,
			})
			count := 0
			l.Every(time.Second, func() {
				l.Leave(fmt.Sprint("warm-", count))
				l.JoinWarm(fmt.Sprint("warm-", 10+count))
				count++
			})
			l.Join("new")
			a.watch(l, "new")
			l.Run(window)
		}
		for k := range a.sent {
			off := 4 * math.Sqrt(a.spread[k]) / a.expected[k]
			switch algorithm {
			case fleet.RoundRobin:
				off = 0.03
			case fleet.LeastRequest:
				off += 0.15
			case fleet.RingHash, fleet.Maglev:
				off += 0.25 // a key's part of the circle is not its weight
			case fleet.Random, fleet.Passthrough:
			}
			if r := a.ratio(k); math.Abs(r-1) > off {
				t.Errorf("%v, quarter %d: %.3f × the curve, want 1 ± %.3f", algorithm, k, r, off)
			}
		}
	}
}

// A newcomer changes nothing about how the others are balanced among themselves.
func TestPitfall10OthersKeepTheirAlgorithm(t *testing.T) {
	in := input(fleet.Policy{Warmup: ramp(time.Hour, 0.1)}, warm("a"), warm("b"), cold("c"))
	in.Traffic["a"].Active.Add(5)
	b := balancer.Compile(nil, in, epoch)
	counts := make([]int, 3)
	for range 3000 {
		counts[b.Pick(epoch, -1)]++
	}
	// a is chosen only beside nobody: never, because b is always there to be drawn second.
	if counts[0] > 0 || counts[2] > 300 {
		t.Errorf("least request beside a newcomer: got %v, want nothing to the loaded one and little to the newcomer", counts)
	}
}

func TestPitfall11IdleNewcomerIsNotPreferred(t *testing.T) {
	in := input(fleet.Policy{Warmup: ramp(time.Hour, 0.1)}, warm("a"), warm("b"), cold("c"))
	in.Traffic["a"].Active.Add(50)
	in.Traffic["b"].Active.Add(50)
	b := balancer.Compile(nil, in, epoch)
	const n = 20_000
	got := 0.0
	for range n {
		if b.Pick(epoch, -1) == 2 {
			got++
		}
	}
	if want := n * 0.1 / 2.1; got > 1.01*want+4.5*math.Sqrt(want) {
		t.Errorf("an idle newcomer beside busy others got %v of %d requests, want %.0f", got, n, want)
	}
}

func TestPitfall13OneThenTwo(t *testing.T) {
	each(t, lab.Config{}, func(s *story) {
		s.Join("first")
		s.wantShare("first", 1, warmup.BypassSingle)
		s.after(150 * time.Second)
		s.wantShare("first", 1, warmup.Full)
		s.Join("second")
		s.wantShare("second", 0.1, warmup.New)
	})
}

func TestPitfall14AllOfOneAgeAreEqual(t *testing.T) {
	each(t, lab.Config{Warm: 4}, func(s *story) {
		s.Restart(names(4)...)
		for range 5 {
			for _, name := range names(4) {
				if got := s.Share(0, name).Share; math.Abs(got-1) > 1e-9 {
					s.t.Errorf("at %v: %s has a share of %v, want what all have", s.Now(), name, got)
				}
			}
			s.after(10 * time.Second)
		}
	})
}

// The last warm one drains while the others are cold: their ramp is compressed, without a cliff between them.
func TestPitfall15LastWarmOneLeaves(t *testing.T) {
	each(t, lab.Config{Warm: 1}, func(s *story) {
		s.Join("a")
		s.after(49 * time.Second)
		s.Join("b")
		s.after(time.Second)
		s.Drain("warm-0")
		s.wantShare("warm-0", 0, warmup.Drained)
		s.wantShare("a", 1, warmup.BypassAllCold)
		s.wantShare("b", 0.1/(50.6/120), warmup.BypassAllCold)
		last := s.Share(0, "b").Share
		for range 60 {
			s.after(time.Second)
			now := s.Share(0, "b").Share
			if math.Abs(now-last) > 0.05 {
				s.t.Fatalf("at %v: the younger one's share goes from %.3f to %.3f", s.Now(), last, now)
			}
			last = now
		}
	})
}

// In panic the ejected come back, and the cold stay cold.
func TestPitfall16PanicKeepsTheRamp(t *testing.T) {
	each(t, lab.Config{Warm: 3, Policy: fleet.Policy{Panic: 0.6, ShiftBudget: 1e9, Warmup: ramp(120*time.Second, 0.1)}}, func(s *story) {
		s.Join("new")
		s.after(30 * time.Second)
		s.Eject(0, "warm-0")
		s.wantShare("warm-0", 0, warmup.Ejected)
		s.Eject(0, "warm-1")
		s.wantShare("warm-0", 1, warmup.Panic)
		s.wantShare("warm-1", 1, warmup.Panic)
		s.wantShare("new", 0.25, warmup.New)
		s.Readmit(0, "warm-1")
		s.wantShare("warm-0", 0, warmup.Ejected)
		s.wantShare("warm-1", 0.5, warmup.Recovered)
	})
}

func TestPitfall17GatewayRestartKnowsWhoIsWarm(t *testing.T) {
	each(t, lab.Config{Warm: 3, Gateways: 2}, func(s *story) {
		s.Join("new")
		s.after(60 * time.Second)
		s.RestartGateway(0)
		s.wantShare("warm-0", 1, warmup.Full)
		s.wantShare("new", 0.5, warmup.New)
		s.Join("newer")
		s.wantShare("newer", 0.1, warmup.New)
	})
}

func TestPitfall18BlipRestartAndReuse(t *testing.T) {
	each(t, lab.Config{Warm: 2, Policy: fleet.Policy{ShiftBudget: 1e9}}, func(s *story) {
		s.Join("new")
		s.after(50 * time.Second)
		s.Hide("new")
		s.after(10 * time.Second)
		s.Show("new")
		s.wantShare("new", 0.5, warmup.New) // a blip: it goes on
		s.Restart("new")                    // the same name and address
		s.wantShare("new", 0.1, warmup.New)
		s.Leave("warm-1")
		s.Join("other") // at the address that has become free
		s.wantShare("other", 0.1, warmup.New)
	})
	for _, algorithm := range everyAlgorithm { // the same process at another address
		in := input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(2*time.Minute, 0.1)}, warm("a"), cold("b"))
		b := balancer.Compile(nil, in, epoch)
		for range 50 {
			b.PickKey(epoch, 1, 0)
		}
		in.Service.Endpoints[1].Address = netip.MustParseAddrPort("127.1.0.9:80")
		if got := balancer.Compile(b, in, epoch.Add(time.Minute)).Shares(epoch.Add(time.Minute))[1]; got.Actual != 50 || math.Abs(got.Share-0.5) > 0.01 {
			t.Errorf("%v: moved: got a share of %v and %d picks, want 0.5 and 50", algorithm, got.Share, got.Actual)
		}
	}
}

func TestPitfall19ReentryIsHalfOfWhatItWas(t *testing.T) {
	each(t, lab.Config{Warm: 3}, func(s *story) {
		s.Eject(0, "warm-0")
		s.wantShare("warm-0", 0, warmup.Ejected)
		s.after(time.Minute)
		s.Readmit(0, "warm-0")
		s.wantShare("warm-0", 0.5, warmup.Recovered)
		s.after(61 * time.Second)
		s.wantShare("warm-0", 1, warmup.Full)
	})
}

// Whatever is changed in the middle of a ramp, the algorithm too, the share goes on from where it is.
func TestPitfall20ConfigurationChangesMidRamp(t *testing.T) {
	each(t, lab.Config{Warm: 2}, func(s *story) {
		s.Join("new")
		s.after(60 * time.Second)
		for _, next := range everyAlgorithm {
			policy := fleet.Policy{Algorithm: next, Warmup: ramp(120*time.Second, 0.1)}
			s.SetPolicy(policy)
			s.wantShare("new", 0.5, warmup.New)
			policy.Warmup.Window = 240 * time.Second
			s.SetPolicy(policy)
			s.wantShare("new", 0.5, warmup.New)
		}
		s.SetPolicy(fleet.Policy{})
		s.wantShare("new", 1, warmup.Full)
		s.SetPolicy(fleet.Policy{Warmup: ramp(time.Hour, 0.1)})
		s.wantShare("new", 1, warmup.Baseline)
	})
}

func TestPitfall21OutMidRamp(t *testing.T) {
	each(t, lab.Config{Warm: 2}, func(s *story) {
		s.Join("a")
		s.Join("b")
		s.after(72 * time.Second)
		s.Eject(0, "a")
		s.Drain("b")
		s.wantShare("a", 0, warmup.Ejected)
		s.wantShare("b", 0, warmup.Drained)
		s.after(time.Second)
		s.Readmit(0, "a")
		s.wantShare("a", 0.3, warmup.Recovered)
		s.Leave("b")
		s.Join("b") // registered again inside the window
		s.wantShare("b", 0.1, warmup.New)
	})
}

// A thousand come and go; nothing of them is left.
func TestPitfall23MemoryIsBoundedOnChurn(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		policy := fleet.Policy{Algorithm: algorithm, Warmup: ramp(time.Minute, 0.1), Hash: &fleet.Hash{TableSize: 101}}
		var b *balancer.Balancer
		for k := range 1000 {
			now := epoch.Add(time.Duration(k) * time.Second)
			b = balancer.Compile(b, input(policy, warm("a"), cold(fmt.Sprint("e", k)), cold(fmt.Sprint("e", k+1))), now)
			b.PickKey(now, uint64(k), -1)
		}
		if n := len(b.Shares(epoch)); n != 3 || len(b.Endpoints()) != 3 {
			t.Errorf("%v: %d endpoints are known after a thousand came and went, want 3", algorithm, n)
		}
	}
}
