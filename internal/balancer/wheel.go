package balancer

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/picker"
)

// Wheels says whether keys make a difference.
func (b *Balancer) wheels() bool {
	return b.algorithm == fleet.RingHash || b.algorithm == fleet.Maglev
}

// PrepareKeys builds what PickKey looks up.
func (b *Balancer) prepareKeys(prev *Balancer, from []int) {
	var policy fleet.Hash
	if b.policy.Hash != nil {
		policy = *b.policy.Hash
	}
	b.prepareDoors(prev, from)
	if policy.Bound > 0 {
		b.prepareLoad(max(1, policy.Bound))
	}
	ids := b.identify()
	for k := range b.sets {
		s := &b.sets[k]
		s.wheel = b.turn(prev, k, ids, policy, from)
		b.shareKeys(s.wheel, k)
	}
}

func (b *Balancer) prepareDoors(prev *Balancer, from []int) {
	n := len(b.members)
	b.doors = &doors{parts: make([]float64, n), admits: make([]uint64, n), salts: make([]uint64, n)}
	for i := range b.members {
		b.doors.set(i, b.members[i].Share)
		if old := from[i]; old >= 0 && prev.doors != nil {
			b.doors.salts[i] = prev.doors.salts[old]
		} else {
			b.doors.salts[i] = hash(b.members[i].endpoint.Incarnation)
		}
	}
}

func (b *Balancer) prepareLoad(bound float64) {
	const few = 16
	b.load = &load{limits: make([]float64, len(b.members))}
	for i := range b.members {
		m := &b.members[i]
		part := m.fraction * b.groups[m.Group].Part // of the pool's effective weight
		b.load.limits[i] = bound * part
		if part > 0 {
			b.load.active = append(b.load.active, b.lanes[i].active)
		}
	}
	if n := len(b.load.active); n > few {
		b.load.every = int64(n / 4)
	}
	b.load.count()
}

// Turn returns the wheel for the members of group k: that of prev, while it would come out the same.
func (b *Balancer) turn(prev *Balancer, k int, ids []uint64, policy fleet.Hash, from []int) *wheel {
	w := b.outline(k, ids, policy)
	var old *wheel
	if before := prev.set(b.sets[k].level); before != nil && prev.algorithm == b.algorithm {
		old = before.wheel
	}
	same := w.like(old)
	if same {
		b.keepOpen(prev, k, from)
	}
	for i := range b.members {
		if b.doors.open(i) {
			w.whole[i] = w.weights[i]
		}
	}
	switch {
	case same && slices.Equal(old.whole, w.whole):
		return old
	case same:
		w.ring, w.table, w.parts = old.ring, old.table, old.parts
	default:
		w.build(b.algorithm, old, from)
	}
	if b.algorithm == fleet.Maglev && !slices.Equal(w.whole, w.weights) {
		w.settled = picker.NewMaglev(w.ids, w.whole, w.len())
	}
	return w
}

// Outline returns the wheel of the members of group k before it is built.
func (b *Balancer) outline(k int, ids []uint64, policy fleet.Hash) *wheel {
	n := len(b.members)
	w := &wheel{policy: policy, ids: ids, weights: make([]float64, n), whole: make([]float64, n)}
	for i := range b.members {
		m := &b.members[i]
		if m.Group == k && m.in() {
			w.weights[i] = m.endpoint.Full()
		}
	}
	return w
}

// KeepOpen admits to each member of group k what prev did, unless it has fallen back on its curve. Shares may fall a
// little while everybody's progress grows, where they are relative to the greatest or held up by the shift budget;
// keys do not go back for that.
func (b *Balancer) keepOpen(prev *Balancer, k int, from []int) {
	const jitter = 0.01 // an age is as exact as the way from control is short
	for i := range b.members {
		m, old := &b.members[i], from[i]
		if old >= 0 && m.Group == k && m.Share > 0 && m.Progress >= prev.members[old].Progress-jitter {
			b.doors.set(i, max(m.Share, prev.doors.parts[old]))
		}
	}
}

// Like says whether o has the circle that w will have.
func (w *wheel) like(o *wheel) bool {
	return o != nil && o.policy.TableSize == w.policy.TableSize && slices.Equal(o.ids, w.ids) && slices.Equal(o.weights, w.weights)
}

// Build makes the circle: from that of old, where there is one, of whose members from says who was who.
func (w *wheel) build(algorithm fleet.Algorithm, old *wheel, from []int) {
	size := int(min(w.policy.TableSize, math.MaxInt32)) //nolint:gosec // it fits
	switch {
	case algorithm == fleet.Maglev:
		w.table = picker.NewMaglev(w.ids, w.weights, size)
		w.parts = w.table.Parts()
		return
	case old != nil:
		w.ring = old.ring.Next(w.ids, w.weights, size, from)
	default:
		w.ring = picker.NewRing(w.ids, w.weights, size)
	}
	w.parts = w.ring.Parts()
}

// Identify returns for each member what places it on the circle: its address, which outlives a restart, or its
// incarnation where it has none or shares it with another.
func (b *Balancer) identify() []uint64 {
	ids := make([]uint64, len(b.endpoints))
	taken := newHashes(len(ids))
	for _, in := range []bool{true, false} { // those who are left out do not take a place from another
		for i, e := range b.endpoints {
			if b.members[i].in() != in {
				continue
			}
			if e.Address.IsValid() {
				ids[i] = place(e.Address)
			}
			if !e.Address.IsValid() || !taken.add(ids[i]) {
				ids[i] = hash(e.Incarnation)
				taken.add(ids[i])
			}
		}
	}
	return ids
}

// Hashes are a set of numbers that are hashes already.
type hashes struct {
	slots []uint64 // 0 is free
	zero  bool     // 0 is in it
}

func newHashes(n int) *hashes { return &hashes{slots: make([]uint64, 2<<bits.Len(uint(n)))} }

// Add says whether h was not there before.
func (s *hashes) add(h uint64) bool {
	if h == 0 {
		fresh := !s.zero
		s.zero = true
		return fresh
	}
	for at := int(h) & (len(s.slots) - 1); ; at = (at + 1) & (len(s.slots) - 1) { //nolint:gosec // its low bits
		switch s.slots[at] {
		case 0:
			s.slots[at] = h
			return true
		case h:
			return false
		}
	}
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
	places := w.len()
	if slices.Equal(w.whole, w.weights) {
		places = 0 // nobody refuses any
	}
	for place := range places {
		if i := w.owner(place); !b.doors.open(i) {
			part := w.width(place)
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
	for places := w.len(); places > 0 && part > 0 && n < most; places-- {
		i := on.next()
		if slices.Contains(asked[:n], i) {
			continue // it has refused
		}
		asked[n] = i
		n++
		admitted := b.doors.parts[i]
		parts[i] += part * admitted
		part *= 1 - admitted
	}
	return part
}
