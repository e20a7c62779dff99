package balancer

import (
	"math"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/picker"
)

// A set is what requests are drawn from in one group of a pool: as many as the pool has groups. All that is in it
// is indexed as Pool.Members; who is in another group has no weight here.
type set struct {
	level  string
	part   float64        // of the pool's requests
	pairs  *picker.Pairs  // LEAST_REQUEST
	stride *picker.Stride // ROUND_ROBIN
	table  *picker.Table  // all others; for ROUND_ROBIN: who else, when the one to avoid has its turn
	wheel  *wheel         // RING_HASH, MAGLEV
	salt   uint64         // of the level: by it a key chooses among groups
}

// Several says how requests choose among groups. It is nil where only one group gets any.
type several struct {
	table  *picker.Table  // by part
	stride *picker.Stride // ROUND_ROBIN: groups take turns as well
}

// Prepare builds what Pick draws from.
func (b *Balancer) prepare(prev *Balancer, from []int, seed uint64) {
	b.sets = make([]set, len(b.groups))
	weights := make([]float64, len(b.members))
	for k := range b.groups {
		clear(weights)
		for i := range b.members {
			if b.members[i].Group == k {
				weights[i] = b.members[i].effective()
			}
		}
		level := b.groups[k].Level
		b.sets[k] = set{level: level, part: b.groups[k].Part, salt: hash(level)}
		b.prepareSet(k, weights, prev.set(level), prev, from, seed)
	}
	b.prepareGroups(prev, seed)
	if b.wheels() {
		b.prepareKeys(prev, from)
	}
	for i := range b.members {
		b.members[i].fraction *= b.sets[b.members[i].Group].part
	}
}

func (b *Balancer) prepareSet(k int, weights []float64, before *set, prev *Balancer, from []int, seed uint64) {
	s := &b.sets[k]
	switch b.algorithm {
	case fleet.RoundRobin:
		positions := make([]uint64, len(b.members))
		for i := range positions {
			positions[i] = b.members[i].position
		}
		s.table = picker.NewTable(weights)
		s.stride = picker.NewStride(weights, positions, b.start(prev, before, from, seed))
	case fleet.Random, fleet.Passthrough, fleet.RingHash, fleet.Maglev:
		s.table = picker.NewTable(weights)
	case fleet.LeastRequest:
		fallthrough
	default:
		stay := make([]float64, len(b.members))
		for i := range stay {
			stay[i] = b.groups[k].Budget.Stay(b.members[i].Share)
		}
		s.pairs = picker.NewPairs(weights, stay)
	}
}

// Draws says whether the less loaded of two gets a request.
func (b *Balancer) draws() bool {
	switch b.algorithm {
	case fleet.RoundRobin, fleet.Random, fleet.Passthrough, fleet.RingHash, fleet.Maglev:
		return false
	case fleet.LeastRequest:
	}
	return true
}

// PrepareGroups builds what chooses a group.
func (b *Balancer) prepareGroups(prev *Balancer, seed uint64) {
	parts, positions := make([]float64, len(b.sets)), make([]uint64, len(b.sets))
	b.home = -1
	getting, turn := 0, 0 // whose turn it is
	var rounds *picker.Stride
	if prev != nil && prev.several != nil {
		rounds = prev.several.stride
	}
	for k := range b.sets {
		s := &b.sets[k]
		parts[k] = s.part
		positions[k] = picker.Mix(seed ^ s.salt)
		if old := prev.index(s.level); old >= 0 && rounds != nil {
			if p, ok := rounds.Position(old); ok {
				positions[k] = p
			}
			if rounds.Cursor() == old {
				turn = k
			}
		}
		if s.part > 0 {
			b.home = k
			getting++
		}
	}
	switch {
	case getting <= 1:
		b.home = max(0, b.home)
	case b.algorithm == fleet.RoundRobin:
		b.home, b.several = -1, &several{stride: picker.NewStride(parts, positions, turn)}
	default:
		b.home, b.several = -1, &several{table: picker.NewTable(parts)}
	}
}

// Index returns the index of the group at a level, -1 when there is none.
func (b *Balancer) index(level string) int {
	if b != nil {
		for k := range b.sets {
			if b.sets[k].level == level {
				return k
			}
		}
	}
	return -1
}

// Set returns the set at a level; nil when there is none.
func (b *Balancer) set(level string) *set {
	if k := b.index(level); k >= 0 {
		return &b.sets[k]
	}
	return nil
}

// Group returns the index of the group that the next request goes to.
func (b *Balancer) group() int {
	if b.home >= 0 {
		return b.home
	}
	return b.several.next(b.random)
}

func (s *several) next(random func() uint64) int {
	if s.stride != nil {
		return s.stride.Next()
	}
	return s.table.Draw(random())
}

// GroupOf returns the index of the group that a key belongs to: of all groups the one that its own hash of the
// key, as long as its part is great, comes out first for (rendezvous hashing with weights). Keys move only to
// groups whose part grows, and only from those whose part shrinks.
func (b *Balancer) groupOf(key uint64) int {
	if b.home >= 0 {
		return b.home
	}
	best, latest := 0, math.Inf(-1)
	for k := range b.sets {
		s := &b.sets[k]
		if s.part <= 0 {
			continue
		}
		uniform := (float64(picker.Mix(key^s.salt)>>11) + 0.5) / (1 << 53)
		if when := math.Log(uniform) / s.part; when > latest {
			best, latest = k, when
		}
	}
	return best
}

// ElsewhereThan returns whom a request goes to that came to somebody who is to be avoided, alone in its group:
// the nearest other group, whatever its part, else somebody whose share is still 0, else the one to avoid.
func (b *Balancer) elsewhereThan(avoid int) int {
	for k := range b.sets {
		if k == b.members[avoid].Group {
			continue
		}
		if i := b.chooseIn(&b.sets[k], avoid); i >= 0 {
			return i
		}
	}
	for i := range b.members {
		if i != avoid && b.members[i].Warming {
			return i
		}
	}
	return avoid
}
