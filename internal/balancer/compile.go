package balancer

import (
	"math"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/picker"
	"crossfade.dev/internal/warmup"
)

// A member is what a balancer knows about one endpoint of its pool. It does not change.
type member struct {
	warmup.Outcome

	endpoint *fleet.Endpoint
	fraction float64 // of the pool's requests; until the groups are there, of its group's
	expected float64 // at the compile
	picks    uint64  // likewise
	position uint64  // of the rotation, likewise; see picker.Stride
}

func (m *member) effective() float64 { return m.endpoint.Full() * m.Share }

// Compile makes the balancer for in at now. What must outlive a change of the world is carried over from prev by
// incarnation: positions of the rotation, probes, and what each endpoint expected and got. prev is nil the first
// time, and may go on picking while requests still hold it.
//
// A share stands until the next tick. It is taken at the middle of the tick, where it is right on average; at
// its beginning it would lag behind the curve, by a fortieth in the second tenth of a window.
func Compile(prev *Balancer, in Input, now time.Time) *Balancer {
	n := len(in.Pool.Members)
	b := &Balancer{
		algorithm: in.Pool.Policy.Algorithm,
		policy:    in.Pool.Policy,
		view:      in.View,
		random:    in.Random,
		endpoints: make([]*fleet.Endpoint, n),
		members:   make([]member, n),
		lanes:     make([]lane, n),
	}
	if b.random == nil {
		b.random = rand.Uint64
	}
	b.decide(&in, now)
	from := b.ancestry(prev)
	b.inherit(prev, from, &in)
	b.prepare(prev, from, in.Seed)
	b.prepareAddresses()
	b.scheduleProbes(prev, from, &in, now)
	return b
}

// Decide asks the warm-up what every member gets.
func (b *Balancer) decide(in *Input, now time.Time) {
	middle := now.Add(warmup.Tick(b.policy.Warmup) / 2)
	d := warmup.Decide(in.View, in.Service, in.Pool, in.Overlay, in.Near, middle)
	b.groups = d.Groups
	sums := make([]float64, len(d.Groups))
	for i, m := range in.Pool.Members {
		b.endpoints[i] = &in.Service.Endpoints[m.Endpoint]
		b.members[i] = member{Outcome: d.Outcomes[i], endpoint: b.endpoints[i]}
		b.warming = b.warming || d.Outcomes[i].Growing
		sums[d.Outcomes[i].Group] += b.members[i].effective()
	}
	for i := range b.members {
		if m := &b.members[i]; sums[m.Group] > 0 {
			m.fraction = m.effective() / sums[m.Group]
		}
	}
}

// Ancestry returns for each member its index in prev, -1 for those that prev did not have.
func (b *Balancer) ancestry(prev *Balancer) []int {
	from := make([]int, len(b.endpoints))
	if prev.same(b) {
		for i := range from {
			from[i] = i
		}
		return from
	}
	known := map[string]int{}
	if prev != nil {
		for i, e := range prev.endpoints {
			known[e.Incarnation] = i
		}
	}
	for i, e := range b.endpoints {
		from[i] = -1
		if old, ok := known[e.Incarnation]; ok {
			from[i] = old
			delete(known, e.Incarnation) // one heir each
		}
	}
	return from
}

// Same says whether next has the same incarnations in the same order.
func (b *Balancer) same(next *Balancer) bool {
	if b == nil || len(b.endpoints) != len(next.endpoints) {
		return false
	}
	for i, e := range b.endpoints {
		if e.Incarnation != next.endpoints[i].Incarnation {
			return false
		}
	}
	return true
}

// Inherit gives every member its cell, its account and its position.
func (b *Balancer) inherit(prev *Balancer, from []int, in *Input) {
	var picks float64 // of the pool, since prev was compiled
	b.pace = &pace{}
	if prev != nil {
		b.pace = prev.pace
		for i := range prev.lanes {
			picks += float64(prev.lanes[i].cell.picks.Load() - prev.members[i].picks)
		}
	}
	var fresh []cell
	block := 1
	for i, e := range b.endpoints {
		m, l := &b.members[i], &b.lanes[i]
		l.weight, l.warming = e.Full(), m.Warming
		if t := in.Traffic[e.Incarnation]; t != nil {
			l.active = t.Active.Gauge()
		} else {
			l.active = new(meter.Gauge)
		}
		if old := from[i]; old >= 0 {
			l.cell = prev.lanes[old].cell
			m.picks = l.cell.picks.Load()
			m.expected = prev.members[old].expected + prev.members[old].fraction*picks
			m.position = prev.position(old)
			continue
		}
		if len(fresh) == 0 { // the newcomer of an ordinary day is alone
			fresh = make([]cell, block)
			block = min(2*block, len(b.members)-i)
		}
		l.cell, fresh = &fresh[0], fresh[1:]
		l.cell.served.Store(math.MinInt64)
		m.position = picker.Mix(in.Seed ^ hash(e.Incarnation))
	}
}

// Position is where member i's rotation stands now. It stands still while the member is left out.
func (b *Balancer) position(i int) uint64 {
	if s := b.sets[b.members[i].Group].stride; s != nil {
		if p, ok := s.Position(i); ok {
			return p
		}
	}
	return b.members[i].position
}

// Start returns the index at which the rotation goes on: that of the endpoint whose turn it was, or of the
// first after it that is still here. A rotation without a past starts anywhere.
func (b *Balancer) start(prev *Balancer, before *set, from []int, seed uint64) int {
	n := len(b.members)
	if n == 0 {
		return 0
	}
	anywhere := int(picker.Mix(seed) % uint64(n)) //nolint:gosec // below n
	if before == nil || before.stride == nil {
		return anywhere
	}
	cursor := before.stride.Cursor()
	best, distance := anywhere, len(prev.members)
	for i, old := range from {
		if old < 0 || cursor < 0 {
			continue
		}
		if d := (old - cursor + len(prev.members)) % len(prev.members); d < distance {
			best, distance = i, d
		}
	}
	return best
}
