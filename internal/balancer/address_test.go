package balancer_test

import (
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
)

func address(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
}

func addressed(algorithm fleet.Algorithm, n int) balancer.Input {
	in := pool(algorithm, n, 0)
	for i := range in.Service.Endpoints {
		in.Service.Endpoints[i].Address = address(i)
	}
	return in
}

// A request that names an address goes there, however cold the endpoint is and whatever this data plane thinks of
// it: it would be no answer from another.
func TestPickAddressGoesWhereItIsAsked(t *testing.T) {
	in := addressed(fleet.Passthrough, 6)
	in.Service.Endpoints[1] = cold("e1")
	in.Service.Endpoints[1].Address = address(1)
	in.Service.Endpoints[3].Stage, in.Service.Endpoints[4].Weight = fleet.Draining, 0
	zero := 0.0
	in.Service.Endpoints[5].Factor = &zero
	in.Overlay = fleet.Overlay{"e2": {Ejected: true}}
	in.Pool.Policy.Locality = &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{From: "*", To: map[string]uint32{"eu": 1}}}}
	in.Service.Endpoints[0].Locality.Region = "eu" // the others are where nothing is distributed to
	b := balancer.Compile(nil, in, epoch)
	for i, want := range []int{0, 1, 2, -1, -1, -1} { // 3, 4 and 5 are drained
		for range 20 {
			if got := b.PickAddress(epoch, address(i), -1); got != want {
				t.Errorf("address %d: got %d, want %d", i, got, want)
			}
		}
	}
	if got := b.PickAddress(epoch, address(99), -1); got != 0 {
		t.Errorf("an address that nobody has: got %d, want 0", got)
	}
	if got := b.PickAddress(epoch, address(1), 1); got != 0 {
		t.Errorf("the one that is asked for is to be avoided: got %d, want 0", got)
	}
	if got := b.Shares(epoch)[2].Actual; got != 20 {
		t.Errorf("the ejected one was picked %d times, want 20", got)
	}
}

func TestPickAddressOfTwoAtOneAddress(t *testing.T) {
	in := addressed(fleet.Passthrough, 4)
	in.Service.Endpoints[2].Address = address(1)
	b := balancer.Compile(nil, in, epoch)
	if got := b.PickAddress(epoch, address(1), -1); got != 1 {
		t.Errorf("got %d, want the first", got)
	}
	if got := b.PickAddress(epoch, address(1), 1); got != 2 {
		t.Errorf("with the first to avoid: got %d, want the second", got)
	}
}

// Nobody else looks at addresses.
func TestPickAddressWithOtherAlgorithms(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		b := balancer.Compile(nil, addressed(algorithm, 5), epoch)
		seen := map[int]bool{}
		for range 300 {
			seen[b.PickAddress(epoch, address(3), -1)] = true
		}
		if want := algorithm == fleet.Passthrough; len(seen) == 1 != want {
			t.Errorf("%v: an address leads to %d endpoints", algorithm, len(seen))
		}
	}
}

// Without an address PASSTHROUGH draws as RANDOM does: the same seed, the same picks.
func TestPassthroughPicksAsRandomDoes(t *testing.T) {
	picks := func(algorithm fleet.Algorithm) (list []int) {
		in := pool(algorithm, 10, 3)
		state := uint64(1)
		in.Random = func() uint64 { state = state*6364136223846793005 + 1442695040888963407; return state }
		b := balancer.Compile(nil, in, epoch)
		for k := range 500 {
			list = append(list, b.Pick(epoch.Add(time.Duration(k)*10*time.Millisecond), -1))
		}
		return list
	}
	random := picks(fleet.Random)
	for k, got := range picks(fleet.Passthrough) {
		if got != random[k] {
			t.Fatalf("pick %d: got %d, want %d", k, got, random[k])
		}
	}
}

// One of ten thousand is found as one of ten is: everybody, and nobody who is not there, within a few slots of the
// table, however many there are.
func TestPickAddressAmongTenThousand(t *testing.T) {
	for _, n := range []int{1, 10, 1000, 10_000} {
		b := balancer.Compile(nil, addressed(fleet.Passthrough, n), epoch)
		for i := range n {
			if got := b.PickAddress(epoch, address(i), -1); got != i {
				t.Fatalf("of %d: got %d, want %d", n, got, i)
			}
		}
		if got := testing.AllocsPerRun(100, func() { b.PickAddress(epoch, address(n-1), -1) }); got != 0 {
			t.Errorf("of %d: %v allocations, want 0", n, got)
		}
	}
}

func BenchmarkPickAddress(b *testing.B) {
	p := balancer.Compile(nil, addressed(fleet.Passthrough, 10_000), epoch)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.PickAddress(epoch, address(i%10_000), -1)
	}
}
