package balancer

import (
	"math/bits"
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
)

// Addresses say who is at which address, in a pool with [fleet.Passthrough]. It is a hash table: whoever is at an
// address is in the slot that its hash says, or in one of those after it before the first that is free.
type addresses struct {
	slots []slot
}

// A slot of addresses holds one member.
type slot struct {
	address netip.AddrPort // not valid: the slot is free
	member  int32
}

// PrepareAddresses finds the addresses of all. Those who may be asked for come before those who may not.
func (b *Balancer) prepareAddresses() {
	if b.algorithm != fleet.Passthrough {
		return
	}
	b.addresses = &addresses{slots: make([]slot, 2<<bits.Len(uint(len(b.endpoints))))}
	for _, able := range []bool{true, false} {
		for i, e := range b.endpoints {
			if e.Address.IsValid() && reachable(e) == able {
				b.addresses.add(e.Address, int32(i)) //nolint:gosec // an index of a slice in memory
			}
		}
	}
}

// Reachable says whether an endpoint may be asked for by its address: who drains, or has no weight, may not.
func reachable(e *fleet.Endpoint) bool { return e.Stage.Offered() && e.Full() > 0 }

// Add puts a member at an address, where there are not two yet: the first has its requests, and one other those of
// which the first is to be avoided.
func (a *addresses) add(address netip.AddrPort, member int32) {
	here := 0
	for at := a.home(address); ; at = a.after(at) {
		switch s := &a.slots[at]; {
		case !s.address.IsValid():
			*s = slot{address, member}
			return
		case s.address == address:
			if here++; here == 2 {
				return
			}
		}
	}
}

// Find returns the first member at an address that is not the one to avoid, -1 when there is none.
func (a *addresses) find(address netip.AddrPort, avoid int) int {
	for at := a.home(address); a.slots[at].address.IsValid(); at = a.after(at) {
		if s := &a.slots[at]; s.address == address && int(s.member) != avoid {
			return int(s.member)
		}
	}
	return -1
}

func (a *addresses) home(address netip.AddrPort) int {
	return int(place(address)) & (len(a.slots) - 1) //nolint:gosec // its low bits
}

func (a *addresses) after(at int) int { return (at + 1) & (len(a.slots) - 1) }

// PickAddress returns the index into Endpoints of the endpoint that a request which names an address goes to, as
// [Balancer.Pick] does. In a pool with [fleet.Passthrough] that is whoever is offered to requests at this address,
// whatever its share and wherever it is, this data plane's ejection included: the request asks for this very one,
// and an answer from another would be none. Who is not offered, or whose weight is 0, gets nothing even so, and the
// result is -1. An address that is nobody's is that of a gateway or a balancer before it: it makes no difference, as in
// all other pools.
func (b *Balancer) PickAddress(now time.Time, address netip.AddrPort, avoid int) int {
	if b.addresses == nil || !address.IsValid() {
		return b.Pick(now, avoid)
	}
	i := b.addresses.find(address, avoid)
	switch {
	case i < 0:
		return b.Pick(now, avoid)
	case !reachable(b.endpoints[i]):
		return -1
	}
	if b.probes != nil {
		b.natural(i, b.pace.since(now))
	}
	b.cells[i].picks.Add(1)
	return i
}
