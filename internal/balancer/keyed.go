package balancer

import (
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/picker"
)

// A circle is a consistent hash: a key has a place on it, and the places after it say who else may take the key.
type circle interface {
	Len() int
	Seek(key uint64) int
	Owner(place int) int
	Width(place int) float64
}

// A wheel is the circle of those who are not left out, by full weight. Shares do not turn it: it is built when
// endpoints come, go or change their weight, and handed on from balancer to balancer in between.
type wheel struct {
	circle  circle
	policy  fleet.Hash
	ids     []uint64  // of each member: its place; see identify
	weights []float64 // of each member: full weight, 0 for those that are left out
	parts   []float64 // of each member: of all keys, those that are its own

	// Of a Maglev's table, where the next place tells nothing of who had a key before: a table of those alone
	// who admit every key, and who they are. Where such a one is met on the way, the one of this table takes the
	// key: so whom a newcomer refuses stays where it was. On a ring that is the next point anyway.
	settled *picker.Maglev
	whole   []float64
}

// A door is what a key meets at a member.
type door struct {
	admits uint64 // keys whose hash is below this, as a fraction of 2^64
	salt   uint64 // of the incarnation: who is admitted by one endpoint may be refused by another
}

// A load bounds how much is in flight at one endpoint, for bounded load.
type load struct {
	bound float64
	parts []float64    // of each member: of the pool's effective weight, 0..1
	total atomic.Int64 // in flight at all members, a few picks ago
	picks atomic.Int64 // until it is counted again
	every int64
}

// PickKey returns the index into Endpoints of the endpoint that the request with this key goes to, as
// [Balancer.Pick] does. In a pool with a consistent hash one key goes to one endpoint for as long as the world
// stands; other pools pay no attention to keys. [picker.Key] makes a key of bytes.
//
// A key belongs to the first endpoint on its way round the circle that admits it. An endpoint admits the part of
// all keys that its share is, each by a hash of the key and its incarnation: as the share grows, keys come to it
// one after the other, and none goes back. (When one of several newcomers becomes warm, a Maglev's table moves a
// few keys of others, as it does whenever somebody comes.) That is also why keys are no probes: a probe would send one key of
// many to a stranger for one request.
//
// Endpoints have their places by address, so that one that starts again at the same address gets its own keys
// back, along its ramp.
func (b *Balancer) PickKey(now time.Time, key uint64, avoid int) int {
	if !b.wheels() {
		return b.Pick(now, avoid)
	}
	if b.load != nil {
		b.load.count(b.lanes)
	}
	key = picker.Mix(key)
	k := b.groupOf(key)
	i := b.keep(&b.sets[k], key, avoid)
	for other := 0; other < len(b.sets) && i == avoid; other++ {
		if j := b.keep(&b.sets[other], key, avoid); other != k && j >= 0 {
			i = j
		}
	}
	if i < 0 {
		return i
	}
	if b.probes != nil {
		b.natural(i, b.pace.since(now))
	}
	b.lanes[i].cell.picks.Add(1)
	return i
}

// A way is that of one key round the circle, from place to place.
type way struct {
	wheel *wheel
	doors []door
	home  int // the key's place
	place int // the next to be asked
	met   bool
}

func (b *Balancer) way(w *wheel, home int) way {
	return way{wheel: w, doors: b.doors, home: home, place: home}
}

// Next returns whom to ask next.
func (w *way) next() int {
	here := w.place
	i := w.wheel.circle.Owner(here)
	if w.place++; w.place == w.wheel.circle.Len() {
		w.place = 0
	}
	if !w.met && w.doors[i].admits == math.MaxUint64 {
		w.met = true
		if here != w.home && w.wheel.settled != nil {
			return w.wheel.settled.Owner(w.home)
		}
	}
	return i
}

// Keep returns who has key in one group: the one to avoid when there is nobody else, -1 when there is nobody.
func (b *Balancer) keep(s *set, key uint64, avoid int) int {
	places := s.wheel.circle.Len()
	if places == 0 {
		return -1
	}
	on := b.way(s.wheel, s.wheel.circle.Seek(key))
	full, refused, last := -1, -1, avoid // the first that is full, the first that does not admit the key
	for range places {
		i := on.next()
		switch {
		case i == last || i == avoid:
		case picker.Mix(key^b.doors[i].salt) >= b.doors[i].admits && b.doors[i].admits != math.MaxUint64:
			if refused < 0 {
				refused = i
			}
		case b.load != nil && b.load.full(i, b.lanes[i].active.Load()):
			if full < 0 {
				full = i
			}
		default:
			return i
		}
		last = i
	}
	switch {
	case full >= 0:
		return full
	case refused >= 0:
		return refused
	default:
		return avoid
	}
}

// Count counts what is in flight, once in a while: it costs a sixteenth of a pick per endpoint.
func (l *load) count(lanes []lane) {
	if l.picks.Add(-1) > 0 {
		return
	}
	l.picks.Store(l.every)
	var total int64
	for i := range lanes {
		if l.parts[i] > 0 {
			total += max(0, lanes[i].active.Load())
		}
	}
	l.total.Store(total)
}

// Full says whether one more request would be more than member i may have: its part of all that is in flight,
// times the bound, rounded up.
func (l *load) full(i int, active int64) bool {
	return float64(active) >= math.Ceil(l.bound*l.parts[i]*float64(l.total.Load()+1)-1e-9)
}

// PrepareKeys builds what PickKey looks up.
func (b *Balancer) prepareKeys(prev *Balancer) {
	var policy fleet.Hash
	if b.policy.Hash != nil {
		policy = *b.policy.Hash
	}
	b.doors = make([]door, len(b.members))
	for i := range b.members {
		b.doors[i] = door{admits: picker.Fraction(b.members[i].Share), salt: hash(b.members[i].endpoint.Incarnation)}
	}
	if policy.Bound > 0 {
		b.load = &load{bound: max(1, policy.Bound), parts: make([]float64, len(b.members)), every: int64(max(1, len(b.members)/16))}
		for i := range b.members {
			b.load.parts[i] = b.members[i].fraction * b.groups[b.members[i].Group].Part
		}
		b.load.count(b.lanes)
	}
	ids := b.identify()
	for k := range b.sets {
		s := &b.sets[k]
		s.wheel = b.turn(prev, k, ids, policy)
		b.shareKeys(s.wheel, k)
	}
}

// Wheels says whether keys make a difference.
func (b *Balancer) wheels() bool {
	return b.algorithm == fleet.RingHash || b.algorithm == fleet.Maglev
}

// Turn returns the wheel for the members of group k: that of prev, while it would come out the same.
func (b *Balancer) turn(prev *Balancer, k int, ids []uint64, policy fleet.Hash) *wheel {
	w := b.outline(k, ids, policy)
	var old *wheel
	if before := prev.set(b.sets[k].level); before != nil && prev.algorithm == b.algorithm && w.like(before.wheel) {
		old = before.wheel
	}
	if old != nil && slices.Equal(old.whole, w.whole) {
		return old
	}
	if old != nil {
		w.circle, w.parts = old.circle, old.parts
	} else {
		w.build(b.algorithm)
	}
	if b.algorithm == fleet.Maglev && !slices.Equal(w.whole, w.weights) {
		w.settled = picker.NewMaglev(w.ids, w.whole, w.circle.Len())
	}
	return w
}

// Outline returns the wheel of the members of group k before it is built.
func (b *Balancer) outline(k int, ids []uint64, policy fleet.Hash) *wheel {
	n := len(b.members)
	w := &wheel{policy: policy, ids: ids, weights: make([]float64, n), whole: make([]float64, n)}
	for i := range b.members {
		m := &b.members[i]
		if m.Group == k && (m.Warming || m.Share > 0) {
			w.weights[i] = m.endpoint.Full()
		}
		if m.Share == 1 {
			w.whole[i] = w.weights[i]
		}
	}
	return w
}

// Like says whether o has the circle that w will have.
func (w *wheel) like(o *wheel) bool {
	return o != nil && o.policy.TableSize == w.policy.TableSize && slices.Equal(o.ids, w.ids) && slices.Equal(o.weights, w.weights)
}

func (w *wheel) build(algorithm fleet.Algorithm) {
	size := int(min(w.policy.TableSize, math.MaxInt32)) //nolint:gosec // it fits
	if algorithm == fleet.Maglev {
		w.circle = picker.NewMaglev(w.ids, w.weights, size)
	} else {
		w.circle = picker.NewRing(w.ids, w.weights, size)
	}
	w.parts = make([]float64, len(w.ids))
	for place := range w.circle.Len() {
		w.parts[w.circle.Owner(place)] += w.circle.Width(place)
	}
}

// Identify returns for each member what places it on the circle: its address, which outlives a restart, or its
// incarnation where it has none or shares it with another.
func (b *Balancer) identify() []uint64 {
	ids := make([]uint64, len(b.endpoints))
	taken := make(map[uint64]bool, len(ids))
	for i, e := range b.endpoints {
		if e.Address.IsValid() {
			ids[i] = place(e.Address)
		}
		if !e.Address.IsValid() || taken[ids[i]] {
			ids[i] = hash(e.Incarnation)
		}
		taken[ids[i]] = true
	}
	return ids
}

func place(a netip.AddrPort) uint64 {
	b := a.Addr().As16()
	return picker.Mix(picker.Key(b[:]) ^ uint64(a.Port()))
}

// ShareKeys works out what part of all keys each member has: of its own keys those that it admits, and of those
// that others refuse what comes its way.
func (b *Balancer) shareKeys(w *wheel, k int) {
	parts := slices.Clone(w.parts)
	rest := 0.0 // of those whose way is long
	c := w.circle
	for place := range c.Len() {
		if i := c.Owner(place); b.members[i].Share < 1 {
			part := c.Width(place)
			parts[i] -= part
			rest += b.shareOut(w, parts, place, part)
		}
	}
	for i := range parts {
		if m := &b.members[i]; m.Group == k {
			m.fraction = parts[i] + rest*m.fraction
		}
	}
}

// ShareOut adds to parts what those have who are on the way from home of a part of all keys. It returns what is
// left when so many have been asked: that is shared out by effective weight, which is how it falls.
func (b *Balancer) shareOut(w *wheel, parts []float64, home int, part float64) float64 {
	const most = 16
	var asked [most]int
	n := 0
	on := b.way(w, home)
	for places := w.circle.Len(); places > 0 && part > 0 && n < most; places-- {
		i := on.next()
		if slices.Contains(asked[:n], i) {
			continue // it has refused
		}
		asked[n] = i
		n++
		share := b.members[i].Share
		parts[i] += part * share
		part *= 1 - share
	}
	return part
}
