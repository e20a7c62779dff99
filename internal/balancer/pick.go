package balancer

import (
	"net/netip"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
)

// A cell is what changes about one endpoint of a pool. Every balancer that knows the endpoint has the same one.
type cell struct {
	picks  atomic.Uint64
	served atomic.Int64 // when it last got a request that counts as a probe; see probes
	probed atomic.Bool  // its last request was a guaranteed probe
	_      [40]byte     // a cache line of its own
}

// A lane is what Pick looks at of one endpoint, all in one place: two of them fill a cache line.
type lane struct {
	cell   *cell
	active *meter.Gauge // requests in flight, from all pools
	errors float64      // in requests: what recent errors count for; 0 until evidence says otherwise
	weight float64
}

// Less says whether l has less to do for its weight than o. Equals are not less.
func (l *lane) less(o *lane) bool {
	return (float64(l.active.Load())+l.errors)*o.weight < (float64(o.active.Load())+o.errors)*l.weight
}

// Pick returns the index into Endpoints of the endpoint that the next request goes to, or -1 when there is
// nobody to send to. avoid is the index of an endpoint that is returned only when there is nobody else, such as
// the one that a retried request failed on; -1 avoids nobody. It takes no lock and allocates nothing.
func (b *Balancer) Pick(now time.Time, avoid int) int {
	if b.probes == nil {
		i := b.choose(avoid)
		if i >= 0 {
			b.lanes[i].cell.picks.Add(1)
		}
		return i
	}
	at := b.pace.since(now)
	i := b.probe(at, avoid)
	if i < 0 {
		if i = b.choose(avoid); i < 0 {
			return i
		}
		b.natural(i, at)
	}
	b.lanes[i].cell.picks.Add(1)
	return i
}

func (b *Balancer) choose(avoid int) int {
	if b.pairs != nil {
		first, second := b.pairs.Draw(b.random(), avoid)
		if first != second && b.lanes[second].less(&b.lanes[first]) {
			first = second
		}
		return b.unless(first, avoid)
	}
	var i int
	if b.stride != nil {
		i = b.stride.Next()
	} else {
		i = b.table.Draw(b.random())
	}
	if i >= 0 && i == avoid {
		if other := b.table.DrawOther(b.random(), avoid); other >= 0 {
			return other
		}
	}
	return b.unless(i, avoid)
}

// Unless returns i, or, when i is to be avoided although it was the only one to draw, somebody whose share is
// still 0 but who may be sent to.
func (b *Balancer) unless(i, avoid int) int {
	if i < 0 || i != avoid {
		return i
	}
	for other := range b.members {
		if other != avoid && b.members[other].Warming {
			return other
		}
	}
	return i
}

// PickAddress returns the index into Endpoints of the endpoint that a request which names an address goes to, as
// [Balancer.Pick] does. In a pool with [fleet.Passthrough] that is whoever is offered to requests at this address,
// whatever its share; where there is none, and in all other pools, the address makes no difference.
func (b *Balancer) PickAddress(now time.Time, address netip.AddrPort, avoid int) int {
	if b.algorithm == fleet.Passthrough {
		for i, e := range b.endpoints {
			if i != avoid && e.Address == address && e.Stage.Offered() {
				b.lanes[i].cell.picks.Add(1)
				return i
			}
		}
	}
	return b.Pick(now, avoid)
}
