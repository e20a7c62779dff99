package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/meter"
)

// A cell is what changes about one endpoint of a pool. Every balancer that knows the endpoint has the same one.
type cell struct {
	picks  atomic.Uint64
	served atomic.Int64 // see serve
}

// Serve notes when the endpoint last got a request that counts as a probe, in nanoseconds of the pool's pace, and
// whether that was a guaranteed one.
func (c *cell) serve(at int64, probe bool) {
	at &^= 1 // the last bit is for the probe
	if probe {
		at |= 1
	}
	c.served.Store(at)
}

func (c *cell) lastServed() int64 { return c.served.Load() &^ 1 }
func (c *cell) probed() bool      { return c.served.Load()&1 != 0 }

// Cells are those of newcomers. Of many endpoints, four share a cache line: the fewer lines there are, the more of
// them are near. Few endpoints have a line of their own, because processors would meet in it too often.
type cells struct {
	free  []cell
	block int // cells in the next piece of memory
}

// Next returns a cell that nobody has, for one of a number of members, of which so many are still to come.
func (f *cells) next(members, left int) *cell {
	const few, line = 1024, 64 / 16
	apart := 1
	if members <= few {
		apart = line
	}
	if len(f.free) == 0 {
		f.block = min(max(1, 2*f.block), left) // the newcomer of an ordinary day is alone
		f.free = make([]cell, f.block*apart)
	}
	c := &f.free[0]
	f.free = f.free[apart:]
	c.served.Store(math.MinInt64)
	return c
}

// A lane is what is compared of one endpoint, all in one place: four of them fill a cache line.
type lane struct {
	active *meter.Gauge // requests in flight, from all pools
	weight float32      // full, also while it warms up
	errors float32      // in requests: what recent errors count for; 0 until evidence says otherwise
}

// Takes says whether l is to take a request from o, who was drawn before it: when, with one request more, it has
// no more to do for its weight than o has now. So a request goes elsewhere only where it is better off, and ties
// stay with o; between equal weights that is who has less. Without the one more, an idle light endpoint would
// always have less than a heavy one that does its part, and get many times its own (decision 19).
func (l *lane) takes(o *lane) bool {
	return (l.load()+1)*float64(o.weight) <= o.load()*float64(l.weight)
}

func (l *lane) load() float64 { return float64(l.active.Load()) + float64(l.errors) }

// Pick returns the index into Endpoints of the endpoint that the next request goes to, or -1 when there is
// nobody to send to. avoid is the index of an endpoint that is returned only when there is nobody else, such as
// the one that a retried request failed on; -1 avoids nobody. It takes no lock and allocates nothing.
func (b *Balancer) Pick(now time.Time, avoid int) int {
	if b.probes == nil {
		i := b.choose(avoid)
		if i >= 0 {
			b.cells[i].picks.Add(1)
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
	b.cells[i].picks.Add(1)
	return i
}

func (b *Balancer) choose(avoid int) int {
	i := b.chooseIn(&b.sets[b.group()], avoid)
	if i < 0 || i != avoid {
		return i
	}
	return b.elsewhereThan(avoid)
}

// ChooseIn draws from one group. It returns the one to avoid when there is nobody else.
func (b *Balancer) chooseIn(s *set, avoid int) int {
	if s.pairs != nil {
		first, second := s.pairs.Draw(b.random(), avoid)
		if first < 0 {
			return first
		}
		// The line that will be written to comes while others are read; whose it is turns out too late to wait for it.
		b.cells[first].picks.Load()
		b.cells[second].picks.Load()
		i := first
		if b.lanes[second].takes(&b.lanes[first]) { // who is drawn twice does not take from itself
			i = second // a conditional move: nothing to predict
		}
		return i
	}
	var i int
	if s.stride != nil {
		i = s.stride.Next()
	} else {
		i = s.table.Draw(b.random())
	}
	if i >= 0 && i == avoid {
		if other := s.table.DrawOther(b.random(), avoid); other >= 0 {
			return other
		}
	}
	return i
}
