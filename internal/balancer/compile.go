package balancer

import (
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/picker"
	"crossfade.dev/internal/warmup"
)

// A member is what a balancer knows about one endpoint of its pool. It does not change.
type member struct {
	*warmup.Outcome

	endpoint *fleet.Endpoint
	fraction float64 // of the pool's requests; until the groups are there, of its group's
	expected float64 // at the compile
	picks    uint64  // likewise
	position uint64  // of the rotation, likewise; see picker.Stride
}

// In says whether it is not left out.
func (m *member) in() bool { return m.Warming || m.Share > 0 }

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
		cells:     make([]*cell, n),
	}
	if b.random == nil {
		b.random = rand.Uint64
	}
	b.decide(&in, now)
	from := b.ancestry(prev)
	b.inherit(prev, from, &in)
	b.prepareLanes(prev, from, in.Traffic)
	b.prepare(prev, from, in.Seed)
	b.prepareAddresses()
	b.scheduleProbes(prev, from, &in, now)
	return b
}

// Decide asks the warm-up what every member gets.
func (b *Balancer) decide(in *Input, now time.Time) {
	b.warmup = warmup.Pace(in.View, in.Service, in.Pool, in.Overlay, now)
	middle := now.Add(warmup.Tick(b.warmup) / 2)
	d := warmup.Decide(in.View, in.Service, in.Pool, in.Overlay, in.Near, middle)
	b.groups = d.Groups
	sums := make([]float64, len(d.Groups))
	for i, m := range in.Pool.Members {
		b.endpoints[i] = &in.Service.Endpoints[m.Endpoint]
		b.members[i] = member{Outcome: &d.Outcomes[i], endpoint: b.endpoints[i]}
		b.warming = b.warming || d.Outcomes[i].Growing
		sums[d.Outcomes[i].Group] += b.members[i].effective()
	}
	for i := range b.members {
		if m := &b.members[i]; sums[m.Group] > 0 {
			m.fraction = m.effective() / sums[m.Group]
		}
	}
}

// Ancestry returns for each member its index in prev, -1 for those that prev did not have. From one moment to the
// next most are the same in the same order: both lists are walked in step, and only who is not met on the way is
// looked up.
func (b *Balancer) ancestry(prev *Balancer) []int {
	from := make([]int, len(b.endpoints))
	var missing []int // of this, and of prev: those that were not met
	left := map[string]int{}
	there := 0 // in prev
	for i, e := range b.endpoints {
		from[i] = prev.find(e.Incarnation, there)
		if from[i] < 0 {
			missing = append(missing, i)
			continue
		}
		for ; there < from[i]; there++ {
			left[prev.endpoints[there].Incarnation] = there
		}
		there++ // one heir each
	}
	for ; prev != nil && there < len(prev.endpoints) && len(missing) > 0; there++ {
		left[prev.endpoints[there].Incarnation] = there
	}
	for _, i := range missing {
		incarnation := b.endpoints[i].Incarnation
		if old, ok := left[incarnation]; ok {
			from[i] = old
			delete(left, incarnation) // one heir each
		}
	}
	return from
}

// Find returns the index of an incarnation among a few members from one on, -1 when it is not there.
func (b *Balancer) find(incarnation string, from int) int {
	const few = 4
	for i := from; b != nil && i < min(from+few, len(b.endpoints)); i++ {
		if b.endpoints[i].Incarnation == incarnation {
			return i
		}
	}
	return -1
}

// Inherit gives every member its cell, its account and its position.
func (b *Balancer) inherit(prev *Balancer, from []int, in *Input) {
	var picks float64 // of the pool, since prev was compiled
	b.pace = &pace{}
	if prev != nil {
		b.pace = prev.pace
		for i, c := range prev.cells {
			picks += float64(c.picks.Load() - prev.members[i].picks)
		}
	}
	var fresh cells
	for i, e := range b.endpoints {
		m := &b.members[i]
		if old := from[i]; old >= 0 {
			b.cells[i] = prev.cells[old]
			m.picks = b.cells[i].picks.Load()
			m.expected = prev.members[old].expected + prev.members[old].fraction*picks
			m.position = prev.position(old)
		} else {
			b.cells[i] = fresh.next(len(b.members), len(b.members)-i)
			m.position = picker.Mix(in.Seed ^ hash(e.Incarnation))
		}
		if m.Warming {
			if b.warm == nil {
				b.warm = make([]uint64, (len(b.members)+63)/64)
			}
			b.warm[i/64] |= 1 << (i % 64)
		}
	}
}

// PrepareLanes lines up what is compared between endpoints, where anything is.
func (b *Balancer) prepareLanes(prev *Balancer, from []int, book evidence.Book) {
	bound := b.wheels() && b.policy.Hash != nil && b.policy.Hash.Bound > 0
	if !bound && !b.draws() {
		return
	}
	b.lanes = make([]lane, len(b.members))
	for i := range b.lanes {
		l, e := &b.lanes[i], b.endpoints[i]
		l.weight = float32(e.Full())
		if from[i] >= 0 && prev.lanes != nil {
			l.active = prev.lanes[from[i]].active
		} else if t := book[e.Incarnation]; t != nil {
			l.active = t.Active.Gauge()
		} else {
			l.active = new(meter.Gauge)
		}
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
