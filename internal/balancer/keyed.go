package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/picker"
)

// A wheel is the circle of those who are not left out, by full weight: a key has a place on it, and the places after
// it say who else may take the key. Shares do not turn it: it is built when endpoints come, go or change their
// weight, and handed on from balancer to balancer in between.
type wheel struct {
	ring    *picker.Ring   // RING_HASH
	table   *picker.Maglev // MAGLEV
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

func (w *wheel) len() int {
	if w.ring != nil {
		return w.ring.Len()
	}
	return w.table.Len()
}

func (w *wheel) seek(key uint64) int {
	if w.ring != nil {
		return w.ring.Seek(key)
	}
	return w.table.Seek(key)
}

func (w *wheel) owner(place int) int {
	if w.ring != nil {
		return w.ring.Owner(place)
	}
	return w.table.Owner(place)
}

func (w *wheel) width(place int) float64 {
	if w.ring != nil {
		return w.ring.Width(place)
	}
	return w.table.Width(place)
}

// Doors are what a key meets at each member.
type doors struct {
	parts  []float64 // of all keys that come, those that are admitted: the share, or what it was until now if that is more
	admits []uint64  // keys whose hash is below this, as a fraction of 2^64; the greatest is all of them
	salts  []uint64  // of the incarnation: who is admitted by one endpoint may be refused by another
}

// Set lets a part of all keys in.
func (d *doors) set(i int, part float64) { d.parts[i], d.admits[i] = part, picker.Fraction(part) }

// Open says whether member i admits every key.
func (d *doors) open(i int) bool { return d.admits[i] == math.MaxUint64 }

// Refuses says whether member i does not admit key.
func (d *doors) refuses(i int, key uint64) bool {
	return !d.open(i) && picker.Mix(key^d.salts[i]) >= d.admits[i]
}

// A load bounds how much is in flight at one endpoint, for bounded load.
type load struct {
	limits []float64      // of each member: of all that is in flight, what it may have
	active []*meter.Gauge // of those who get anything
	total  atomic.Int64   // in flight at all of them, a few picks ago
	picks  atomic.Int64   // until it is counted again
	every  int64          // 0: it is counted for every pick
}

// PickKey returns the index into Endpoints of the endpoint that the request with this key goes to, as
// [Balancer.Pick] does. In a pool with a consistent hash one key goes to one endpoint for as long as the world
// stands; other pools pay no attention to keys. [picker.Key] makes a key of bytes.
//
// A key belongs to the first endpoint on its way round the circle that admits it. An endpoint admits the part of
// all keys that its share is, each by a hash of the key and its incarnation: as the share grows, keys come to it
// one after the other, and none goes back, also where the share becomes less while nobody comes or goes. (When one of
// several newcomers becomes warm, a Maglev's table moves a few keys of others, as it does whenever somebody comes.)
// That is also why keys are no probes: a probe would send one key of many to a stranger for one request.
//
// Endpoints have their places by address, so that one that starts again at the same address gets its own keys
// back, along its ramp.
func (b *Balancer) PickKey(now time.Time, key uint64, avoid int) int {
	if !b.wheels() {
		return b.Pick(now, avoid)
	}
	var total int64 // in flight
	if b.load != nil {
		total = b.load.count()
	}
	key = picker.Mix(key)
	k := b.groupOf(key)
	i := b.keep(&b.sets[k], key, total, avoid)
	for other := 0; other < len(b.sets) && i == avoid; other++ {
		if j := b.keep(&b.sets[other], key, total, avoid); other != k && j >= 0 {
			i = j
		}
	}
	if i < 0 {
		return i
	}
	if b.probes != nil {
		b.natural(i, b.pace.since(now))
	}
	b.cells[i].picks.Add(1)
	return i
}

// A way is that of one key round the circle, from place to place.
type way struct {
	wheel *wheel
	doors *doors
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
	i := w.wheel.owner(here)
	if w.place++; w.place == w.wheel.len() {
		w.place = 0
	}
	if !w.met && w.doors.open(i) {
		w.met = true
		if here != w.home && w.wheel.settled != nil {
			return w.wheel.settled.Owner(w.home)
		}
	}
	return i
}

// Keep returns who has key in one group: the one to avoid when there is nobody else, -1 when there is nobody.
func (b *Balancer) keep(s *set, key uint64, total int64, avoid int) int {
	if s.wheel.len() == 0 {
		return -1
	}
	home := s.wheel.seek(key)
	// The first who is asked takes nearly every key.
	if i := s.wheel.owner(home); i != avoid && !b.doors.refuses(i, key) && !b.full(i, total) {
		return i
	}
	return b.keepElsewhere(s, key, home, total, avoid)
}

// KeepElsewhere goes all the way of a key.
func (b *Balancer) keepElsewhere(s *set, key uint64, home int, total int64, avoid int) int {
	on := b.way(s.wheel, home)
	full, refused, last := -1, -1, avoid // the first that is full, the first that does not admit the key
	for range s.wheel.len() {
		i := on.next()
		switch {
		case i == last || i == avoid:
		case b.doors.refuses(i, key):
			if refused < 0 {
				refused = i
			}
		case b.full(i, total):
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

// Count returns what is in flight. In a large pool it is counted once in a while: that costs a look at four endpoints
// for each pick.
func (l *load) count() int64 {
	if l.every > 0 && l.picks.Add(-1) > 0 {
		return l.total.Load()
	}
	var total int64
	for _, active := range l.active {
		total += max(0, active.Load())
	}
	if l.every > 0 {
		l.picks.Store(l.every)
		l.total.Store(total)
	}
	return total
}

// Full says whether one more request would be more than member i may have: its part of all that is in flight,
// times the bound, rounded up.
func (b *Balancer) full(i int, total int64) bool {
	return b.load != nil && float64(b.lanes[i].active.Load()) >= b.load.limits[i]*float64(total+1)-1e-9
}
