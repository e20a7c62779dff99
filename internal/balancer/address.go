package balancer

import (
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
)

// Addresses say who is at which address, in a pool with [fleet.Passthrough].
type addresses struct {
	first map[netip.AddrPort]int32
	next  []int32 // of each member: the next at the same address, -1 when there is none
}

// PrepareAddresses finds the addresses of those who may be asked for: who drains, or has no weight, may not.
func (b *Balancer) prepareAddresses() {
	if b.algorithm != fleet.Passthrough {
		return
	}
	n := len(b.endpoints)
	b.addresses = &addresses{first: make(map[netip.AddrPort]int32, n), next: make([]int32, n)}
	for i := n - 1; i >= 0; i-- {
		e := b.endpoints[i]
		b.addresses.next[i] = -1
		if !e.Stage.Offered() || e.Full() == 0 {
			continue
		}
		if other, ok := b.addresses.first[e.Address]; ok {
			b.addresses.next[i] = other
		}
		b.addresses.first[e.Address] = int32(i) //nolint:gosec // an index of a slice in memory
	}
}

// PickAddress returns the index into Endpoints of the endpoint that a request which names an address goes to, as
// [Balancer.Pick] does. In a pool with [fleet.Passthrough] that is whoever is offered to requests at this address,
// whatever its share and wherever it is, this data plane's ejection included: the request asks for this very one,
// and an answer from another would be none. Who drains, or whose weight is 0, gets nothing even so. Where there is
// nobody, and in all other pools, the address makes no difference.
func (b *Balancer) PickAddress(now time.Time, address netip.AddrPort, avoid int) int {
	if b.addresses == nil {
		return b.Pick(now, avoid)
	}
	at, ok := b.addresses.first[address]
	i := int(at)
	if ok && i == avoid {
		i = int(b.addresses.next[i])
	}
	if !ok || i < 0 {
		return b.Pick(now, avoid)
	}
	if b.probes != nil {
		b.natural(i, b.pace.since(now))
	}
	b.lanes[i].cell.picks.Add(1)
	return i
}
