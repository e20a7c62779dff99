package balancer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Crowd returns the input for one heavy warm endpoint and n that warm up and would hardly get anything.
func crowd(n, gateways, position int) Input {
	endpoints := []fleet.Endpoint{{Incarnation: "warm", Weight: 1_000_000, Stage: fleet.Serving, Age: 1000 * time.Hour}}
	for i := range n {
		endpoints = append(endpoints, fleet.Endpoint{Incarnation: fmt.Sprint("cold-", i), Weight: 1, Stage: fleet.Warming})
	}
	s := &fleet.Service{Endpoints: endpoints, Pools: []fleet.Pool{{Policy: fleet.Policy{
		Algorithm: fleet.RoundRobin, Warmup: fleet.Warmup{Window: 180 * time.Second, Minimum: 0.01},
	}}}}
	for i := range endpoints {
		s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: i})
	}
	v := fleet.View{Snapshot: &fleet.Snapshot{Gateways: make([]string, gateways)}, Taken: begin}
	return Input{View: v, Service: s, Pool: &s.Pools[0], Position: position, Seed: 7}
}

// Drive picks every gap until end, compiles at every tick, and returns when index got what it got.
func drive(in Input, gap, end time.Duration, index int) (times []time.Duration) {
	b := Compile(nil, in, begin)
	tick := time.Second
	for at := time.Duration(0); at < end; at += gap {
		if at >= tick {
			b = Compile(b, in, begin.Add(at))
			tick += time.Second
		}
		if b.Pick(begin.Add(at), -1) == index {
			times = append(times, at)
		}
	}
	return times
}

func TestProbeEveryPeriod(t *testing.T) {
	const gap = 10 * time.Millisecond
	first := time.Duration(turn("cold-0", 0, 1) * float64(18*time.Second))
	times := drive(crowd(1, 1, 0), gap, 100*time.Second, 1)
	for k := range 5 {
		want := first + time.Duration(k)*18*time.Second
		if len(times) <= k || times[k] < want || times[k] > want+gap {
			t.Fatalf("requests at %v, want the first at %v and one every 18 s", times, first)
		}
	}
}

func TestProbeIntervalIsThreeSecondsAtLeast(t *testing.T) {
	for _, tt := range []struct{ window, want time.Duration }{
		{time.Second, 3 * time.Second},
		{30 * time.Second, 3 * time.Second},
		{180 * time.Second, 18 * time.Second},
	} {
		if got := probeInterval(tt.window); got != tt.want {
			t.Errorf("window %v: got %v, want %v", tt.window, got, tt.want)
		}
	}
}

// With five gateways each waits five times as long, and together they probe once an interval.
func TestGatewaysTakeTurns(t *testing.T) {
	const gap, gateways = 10 * time.Millisecond, 5
	slots := map[int]int{}
	for j := range gateways {
		for _, at := range drive(crowd(1, gateways, j), gap, 90*time.Second, 1) {
			slots[int((at-gap)/(18*time.Second))]++
		}
	}
	for slot := range gateways {
		if slots[slot] != 1 {
			t.Errorf("interval %d: %d probes by all gateways together, want 1", slot, slots[slot])
		}
	}
}

func TestTurnsAreSharedOutWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		incarnation, n := rapid.String().Draw(t, "incarnation"), rapid.IntRange(1, 60).Draw(t, "gateways")
		taken := map[float64]bool{}
		_, fraction := math.Modf(turn(incarnation, 0, n))
		for j := range n {
			whole, f := math.Modf(turn(incarnation, j, n))
			if taken[whole] || whole < 0 || whole >= float64(n) || math.Abs(f-fraction) > 1e-9 {
				t.Fatalf("gateway %d of %d has turn %v", j, n, whole+f)
			}
			taken[whole] = true
		}
	})
}

func TestAtMostOnePickInTenIsAProbe(t *testing.T) {
	in := crowd(50, 1, 0)
	b := Compile(nil, in, begin)
	var probes []int
	for k := range 5000 {
		if b.Pick(begin.Add(time.Duration(k)*10*time.Millisecond), -1); b.pace.natural.Load() == 0 {
			probes = append(probes, k)
		}
	}
	if len(probes) < 100 {
		t.Fatalf("%d probes in 50 s, want more than 100: the test would show nothing", len(probes))
	}
	for i := 1; i < len(probes); i++ {
		if probes[i]-probes[i-1] < spacing {
			t.Fatalf("picks %d and %d are probes", probes[i-1], probes[i])
		}
	}
}

// A request that the rotation brought counts for its period: no other is forced.
func TestNaturalRequestCountsAsTheProbeOfItsPeriod(t *testing.T) {
	in := crowd(1, 1, 0)
	in.Service.Endpoints[0].Weight = 1
	b := Compile(nil, in, begin)
	forced := 0
	for at := time.Duration(0); at < 180*time.Second; at += 100 * time.Millisecond {
		if b.Pick(begin.Add(at), -1); b.pace.natural.Load() == 0 {
			forced++
		}
	}
	// A hundredth of ten requests a second is one in ten seconds, of its own accord: only the first period is
	// shorter than that.
	if got := b.cells[1].picks.Load(); got < 15 || forced > 1 {
		t.Errorf("of %d requests %d were forced, want at most the first", got, forced)
	}
}

func TestGatewayRestartDoesNotProbeAgain(t *testing.T) {
	in := crowd(20, 1, 0)
	forced := 0
	for life := range 60 { // it starts anew every second
		b := Compile(nil, in, begin.Add(20*time.Second+time.Duration(life)*time.Second))
		for k := range 100 {
			at := 20*time.Second + time.Duration(life)*time.Second + time.Duration(k)*10*time.Millisecond
			if b.Pick(begin.Add(at), -1); b.pace.natural.Load() == 0 {
				forced++
			}
		}
	}
	if forced != 0 {
		t.Errorf("a gateway that restarts every second sent %d probes, want 0", forced)
	}
}

// Ages come from control with a little jitter; it must neither double a probe nor skip one.
func TestProbesBearJitterOfAges(t *testing.T) {
	in := crowd(1, 1, 0)
	b := Compile(nil, in, begin)
	got := 0
	for k := range 9000 {
		at := time.Duration(k) * 10 * time.Millisecond
		if k%50 == 0 {
			in.View.Taken = begin.Add(time.Duration(k%7-3) * 5 * time.Millisecond)
			b = Compile(b, in, begin.Add(at))
		}
		if b.Pick(begin.Add(at), -1) == 1 {
			got++
		}
	}
	if got != 5 {
		t.Errorf("%d probes in 90 s, want 5", got)
	}
}

func TestAvoidedEndpointIsNotProbed(t *testing.T) {
	in := crowd(1, 1, 0)
	b := Compile(nil, in, begin)
	late := begin.Add(time.Minute)
	if got := b.Pick(late, 1); got != 0 {
		t.Errorf("Pick that avoids the one that is due: got %d, want 0", got)
	}
	if got := b.Pick(late, -1); got != 1 {
		t.Errorf("the next Pick: got %d, want the one that is due", got)
	}
}
