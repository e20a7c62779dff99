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
	"crossfade.dev/internal/warmup"
)

var (
	home  = fleet.Locality{Region: "eu", Zone: "a"}
	next  = fleet.Locality{Region: "eu", Zone: "b"}
	far   = fleet.Locality{Region: "us", Zone: "c"}
	asked = warmup.Near{Locality: home}
)

// Zones starts a lab whose gateway stands at home, with warm endpoints at the places given.
func zones(t *testing.T, algorithm fleet.Algorithm, rate float64, places ...fleet.Locality) *story {
	t.Helper()
	s := tell(t, lab.Config{
		Warm: len(places), Rate: rate, Keys: 1 << 40, Seed: 7, Service: time.Millisecond,
		Policy: fleet.Policy{
			Algorithm: algorithm, Warmup: ramp(120*time.Second, 0.1), Hash: &fleet.Hash{TableSize: 101},
			Locality: &fleet.LocalityPolicy{},
		},
	})
	for i, place := range places {
		s.SetLocality(fmt.Sprint("warm-", i), place)
	}
	s.Stand(0, asked)
	s.after(15 * time.Second)
	return s
}

// WantPart wants a group to get a part of the requests, to within a tick of the window.
func (s *story) wantPart(level string, want float64) {
	s.t.Helper()
	for _, g := range s.Groups(0) {
		if g.Level == level {
			if math.Abs(g.Part-want) > 0.0101 {
				s.t.Errorf("at %v: %q gets %.3f of the requests, want %.3f", s.Now(), level, g.Part, want)
			}
			return
		}
	}
	s.t.Errorf("at %v: there is no group %q in %+v", s.Now(), level, s.Groups(0))
}

// Smooth lets time pass and wants nobody's part of the requests to change by more than a tick's worth at once, and
// that of newcomers never to fall.
func (s *story) smooth(d time.Duration) {
	s.t.Helper()
	fractions := func() map[string]float64 {
		m := map[string]float64{}
		for _, share := range s.Shares(0) {
			m[share.Endpoint.Name] = share.Fraction
		}
		return m
	}
	last := fractions()
	for end := s.Now() + d; s.Now() < end; {
		s.after(500 * time.Millisecond)
		now := fractions()
		for name := range now {
			if falls := name == "new" && now[name] < last[name]-1e-9; falls || math.Abs(now[name]-last[name]) > 0.021 {
				s.t.Fatalf("at %v: the part of %s goes from %.3f to %.3f", s.Now(), name, last[name], now[name])
			}
		}
		last = now
	}
}

// One cold endpoint alone in the gateway's zone, with three warm ones in the next: over its whole ramp it gets its
// share of the zone's requests, and the others get the rest.
func TestPitfall16LoneColdEndpointInAZoneTakesItsShareNotTheZones(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			const window = 120 * time.Second
			s := zones(t, algorithm, 200, next, next, next)
			s.JoinAt("new", home)
			if got := s.Share(0, "new"); got.Reason != warmup.New || got.Level != "zone" || math.Abs(got.Fraction-0.1) > 0.001 {
				t.Errorf("at age 0: got %+v, want a tenth of the requests (new)", got)
			}
			var got, want, spread [10]float64
			begin := s.Now()
			s.Sent = func(r lab.Request) {
				share := max(0.1, float64(r.At-begin)/float64(window))
				if k := int(10 * (r.At - begin) / window); k < 10 {
					want[k] += share
					spread[k] += share * (1 - share)
					if r.Endpoint == "new" {
						got[k]++
					}
				}
			}
			s.smooth(window)
			for k := range got {
				if z := (got[k] - want[k]) / math.Sqrt(spread[k]); !(math.Abs(z) < 4) {
					t.Errorf("tenth %d: %v requests, want %.0f (z %.1f)", k, got[k], want[k], z)
				}
			}
			s.Sent = func(r lab.Request) {
				if r.Endpoint != "new" {
					t.Errorf("at %v: a request leaves the zone, which is warm: it goes to %s", r.At, r.Endpoint)
				}
			}
			s.after(time.Second)
			s.Sent = nil
			s.after(5 * time.Second)
			s.wantShare("new", 1, warmup.Full)
		})
	}
}

// Growing a zone moves nothing out of it.
func TestZoneThatGrowsKeepsItsRequests(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		s := zones(t, algorithm, 50, home, home, home, next)
		s.JoinAt("new", home)
		s.wantShare("new", 0.1, warmup.New)
		s.Sent = func(r lab.Request) {
			if r.Endpoint == "warm-3" {
				t.Fatalf("%v: at %v a request leaves the zone", algorithm, r.At)
			}
		}
		s.smooth(125 * time.Second)
	}
}

// The zone is ejected: its requests fail over to the next level as far as that is warm, and from there to the last.
// It comes back: so do they, along its ramp.
func TestFailoverAndFailbackGoThroughTheRamp(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			s := zones(t, algorithm, 20, home, home, far, far)
			s.JoinAt("standby", next)
			s.wantPart("zone", 1)
			s.Eject(0, "warm-0")
			s.wantPart("zone", 0.7) // half of it, and Envoy's 1.4
			s.wantPart("region", 0.1)
			s.wantPart("others", 0.2)
			s.Eject(0, "warm-1")
			s.wantPart("zone", 0)
			s.wantPart("region", 0.1)
			s.wantPart("others", 0.9)
			s.smooth(60 * time.Second)
			s.wantPart("region", 0.5)
			s.wantPart("others", 0.5)
			s.smooth(65 * time.Second) // past the moment at which the level's only one is warm
			s.wantPart("region", 1)

			s.Readmit(0, "warm-0")
			s.Readmit(0, "warm-1")
			s.wantPart("zone", 0.5)
			s.wantPart("region", 0.5)
			s.wantShare("warm-0", 1, warmup.Recovered)
			s.smooth(65 * time.Second)
			s.wantPart("zone", 1)
			s.wantPart("region", 0)
			if got := s.Share(0, "standby").Fraction; got != 0 {
				t.Errorf("the standby should get %v of the requests, want nothing", got)
			}
		})
	}
}

// What is distributed arrives as distributed, and what is distributed to nowhere goes nowhere.
func TestDistribution(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		s := zones(t, algorithm, 500, home, home, next, far)
		policy := fleet.Policy{Algorithm: algorithm, Warmup: ramp(120*time.Second, 0.1), Hash: &fleet.Hash{TableSize: 101}}
		policy.Locality = &fleet.LocalityPolicy{Distribute: []fleet.Distribution{
			{From: "us/*", To: map[string]uint32{"us": 100}}, {From: "eu/a/*", To: map[string]uint32{"eu/a/*": 70, "eu/b/*": 30}},
		}}
		s.SetPolicy(policy)
		counts := map[string]float64{}
		s.Sent = func(r lab.Request) { counts[r.Endpoint]++ }
		s.after(20 * time.Second)
		sent := counts["warm-0"] + counts["warm-1"] + counts["warm-2"] + counts["warm-3"]
		if got, want := counts["warm-2"], 0.3*sent; math.Abs(got-want) > 4*math.Sqrt(0.7*want) {
			t.Errorf("%v: the next zone gets %v of %v requests, want three tenths", algorithm, got, sent)
		}
		s.wantShare("warm-3", 0, warmup.Elsewhere)
		if counts["warm-3"] > 0 {
			t.Errorf("%v: %v requests go where nothing is distributed to", algorithm, counts["warm-3"])
		}
		s.Leave("warm-0", "warm-1", "warm-2")
		s.after(time.Second)
		if counts["warm-3"] > 0 || counts[""] == 0 {
			t.Errorf("%v: nobody is left where requests are distributed to, and %v go elsewhere", algorithm, counts["warm-3"])
		}
	}
}

// A key goes to another group only when that gets more, and comes back only when it gets less.
func TestKeysKeepTheirGroup(t *testing.T) {
	for _, algorithm := range hashing {
		s := zones(t, algorithm, 5, next, next, far)
		before := whereabouts(s.Lab, 500)
		s.JoinAt("new", home)
		for s.Now() < 140*time.Second {
			s.after(2 * time.Second)
			for key, now := range whereabouts(s.Lab, 500) {
				if now != before[key] && now != "new" {
					t.Fatalf("%v: at %v key %d goes from %s to %s", algorithm, s.Now(), key, before[key], now)
				}
				before[key] = now
			}
		}
		for key, now := range before {
			if now != "new" {
				t.Errorf("%v: key %d is at %s, want it at home", algorithm, key, now)
			}
		}
	}
}

// Groups take turns as endpoints do, whatever is compiled in between: to compile is no turn of anybody's.
func TestGroupsTakeTurnsAcrossCompiles(t *testing.T) {
	for every := 1; every <= 7; every++ {
		in := placed(fleet.RoundRobin, home, next, far)
		in.Service.Endpoints[0].Age, in.Service.Endpoints[1].Age = 36*time.Second, 48*time.Second // 0.3, 0.4 and what is left
		var b *balancer.Balancer
		counts := make([]float64, 3)
		const n = 2000
		for k := range n {
			if k%every == 0 {
				b = balancer.Compile(b, in, epoch)
			}
			counts[b.Pick(epoch, -1)]++
		}
		for i, s := range b.Shares(epoch) {
			if want := n * s.Fraction; math.Abs(counts[i]-want) > 25 { // its probes among them
				t.Errorf("compiled every %d picks: %s gets %v of %d, want %.0f", every, s.Level, counts[i], n, want)
			}
		}
	}
}

// Who retries is sent to another group when the one that failed is alone in its own.
func TestAvoidingTheOnlyOneOfAGroup(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		in := placed(algorithm, home, next, next, far)
		b := balancer.Compile(nil, in, epoch)
		for key := range uint64(200) {
			if got := b.PickKey(epoch, key, -1); got != 0 {
				t.Fatalf("%v: got %d, want the one at home", algorithm, got)
			}
			if got := b.PickKey(epoch, key, 0); got != 1 && got != 2 {
				t.Fatalf("%v: with the one at home to avoid: got %d, want one in the next zone", algorithm, got)
			}
			if got := b.Pick(epoch, 0); got != 1 && got != 2 {
				t.Fatalf("%v: Pick with the one at home to avoid: got %d, want one in the next zone", algorithm, got)
			}
		}
	}
}

// Who belongs to a group that gets nothing is sent no probes.
func TestNoProbesWhereNothingGoes(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		s := zones(t, algorithm, 50, home)
		s.JoinAt("reserve", next)
		s.Sent = func(r lab.Request) {
			if r.Endpoint == "reserve" {
				t.Errorf("%v: at %v a request goes to the reserve", algorithm, r.At)
			}
		}
		s.after(130 * time.Second)
		if got := s.Share(0, "reserve"); got.Fraction != 0 || got.Part != 0 || got.Expected != 0 || got.Actual != 0 {
			t.Errorf("%v: the reserve: got %+v, want nothing", algorithm, got)
		}
	}
}

func TestPickAmongGroupsDoesNotAllocate(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		in := placed(algorithm, home, next, next, far)
		in.Service.Endpoints[0].Age = time.Minute
		b := balancer.Compile(nil, in, epoch)
		key := uint64(0)
		now := epoch
		if got := testing.AllocsPerRun(1000, func() {
			key++
			now = now.Add(50 * time.Millisecond)
			b.Pick(now, b.PickKey(now, key, -1))
		}); got != 0 {
			t.Errorf("%v: %v allocations, want 0", algorithm, got)
		}
	}
}

func placed(algorithm fleet.Algorithm, places ...fleet.Locality) balancer.Input {
	var endpoints []fleet.Endpoint
	for i, place := range places {
		e := warm(fmt.Sprint("e", i))
		e.Locality = place
		endpoints = append(endpoints, e)
	}
	in := input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(2*time.Minute, 0.1), Locality: &fleet.LocalityPolicy{}}, endpoints...)
	in.Near = asked
	return in
}

// What Shares announces is what arrives, in groups of every part, with and without keys.
func TestFractionsAcrossGroups(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		in := placed(algorithm, home, home, next, next, far)
		in.Service.Endpoints[0].Age, in.Service.Endpoints[1].Age = 30*time.Second, 60*time.Second
		in.Service.Endpoints[3].Age = 12 * time.Second
		in.Random = rand.New(rand.NewPCG(1, 1)).Uint64
		b := balancer.Compile(nil, in, epoch)
		const n = 50_000
		for key := range uint64(n) {
			b.PickKey(epoch, picker.Mix(key), -1)
		}
		for _, s := range b.Shares(epoch) {
			most := 5 * math.Sqrt(s.Expected)
			if algorithm == fleet.LeastRequest {
				most += 0.2 * s.Expected // two choices turn the cold down
			}
			if math.Abs(float64(s.Actual)-s.Expected) > most+10 {
				t.Errorf("%v: %s (%s, %.2f) got %d of %d requests, want %.0f", algorithm, s.Endpoint.Name, s.Level, s.Part, s.Actual, n, s.Expected)
			}
		}
	}
}

// While the world stands, time makes no steps: not where one of a group is warm, not where the last one is. Of a
// Maglev's table a few keys change hands when one of several newcomers is warm.
func TestTimeAloneMovesNoFractionAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := fleet.Policy{
			Algorithm: rapid.SampledFrom(everyAlgorithm).Draw(t, "algorithm"),
			Warmup:    ramp(time.Minute, rapid.SampledFrom([]float64{0.05, 0.1, 0.5}).Draw(t, "minimum")),
			Hash:      &fleet.Hash{TableSize: 251},
			Locality:  rapid.SampledFrom(localityPolicies).Draw(t, "locality"),
			Panic:     rapid.SampledFrom([]float64{0, 0.5}).Draw(t, "panic"),
		}
		in := input(policy, several(t)...)
		in.Near.Locality = rapid.SampledFrom(localities).Draw(t, "near")
		end := time.Minute // of somebody's ramp
		in.Overlay = fleet.Overlay{}
		for i := range in.Service.Endpoints {
			e := &in.Service.Endpoints[i]
			e.Locality = rapid.SampledFrom(localities).Draw(t, "place")
			in.Overlay[e.Incarnation] = fleet.Mark{Ejected: rapid.IntRange(0, 4).Draw(t, "ejected") == 0}
			if rapid.Bool().Draw(t, "at its end") {
				end = time.Minute - e.Age
			}
		}
		for _, place := range localities {
			in.Pool.Places = append(in.Pool.Places, fleet.Place{Locality: place, Capacity: rapid.SampledFrom([]float64{0, 0.1, 1, 5, 200}).Draw(t, "stood")})
			in.Pool.Capacity += in.Pool.Places[len(in.Pool.Places)-1].Capacity
		}
		middle := warmup.Tick(policy.Warmup) / 2 // where shares are taken
		before := epoch.Add(end - middle - time.Microsecond)
		after := epoch.Add(end - middle + time.Microsecond)
		b := balancer.Compile(nil, in, before)
		most := 1e-3
		if policy.Algorithm == fleet.Maglev {
			most = 0.1
		}
		last := b.Shares(before)
		for i, s := range balancer.Compile(b, in, after).Shares(after) {
			if math.Abs(s.Fraction-last[i].Fraction) > most {
				t.Fatalf("%s (%q): a fraction of %v becomes %v at once", s.Endpoint.Name, s.Level, last[i].Fraction, s.Fraction)
			}
		}
	})
}

func BenchmarkCompileInGroups(b *testing.B) {
	for _, algorithm := range everyAlgorithm {
		b.Run(algorithm.String(), func(b *testing.B) {
			in := pool(algorithm, 10_000, 1000)
			for i := range in.Service.Endpoints {
				in.Service.Endpoints[i].Locality = []fleet.Locality{home, next, far}[i%3]
			}
			in.Pool.Policy.Locality, in.Near = &fleet.LocalityPolicy{}, asked
			first := balancer.Compile(nil, in, epoch)
			b.ReportAllocs()
			for b.Loop() {
				balancer.Compile(first, in, epoch)
			}
		})
	}
}

func BenchmarkPickAmongGroups(b *testing.B) {
	for _, algorithm := range everyAlgorithm {
		b.Run(algorithm.String(), func(b *testing.B) {
			in := placed(algorithm, home, next, next, far)
			in.Service.Endpoints[0].Age = time.Minute
			p := balancer.Compile(nil, in, epoch)
			b.ReportAllocs()
			for key := uint64(0); b.Loop(); key++ {
				p.PickKey(epoch, key, -1)
			}
		})
	}
}
