package control

import (
	"cmp"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A rank says who speaks of an instance. Of several who do, what the first says of it holds.
type rank uint8

const (
	byConfiguration rank = iota // nobody else has a say in these
	byRegistry
	byLostRegistry // what it listed until a moment ago
	byRunner       // the program that runs it
	byAgent        // the agent beside it
	byLastSnapshot // from before control was started
)

// A claim is what one source says of an instance.
type claim struct {
	*fleet.Instance
	rank rank
	from string // of several of one rank
}

func (c claim) before(d claim) int {
	if by := strings.Compare(c.Incarnation, d.Incarnation); by != 0 {
		return by
	}
	return cmp.Or(cmp.Compare(c.rank, d.rank), strings.Compare(c.from, d.from))
}

// instances is everything that runs, from all who know of it, each incarnation once. That it can serve, and that it
// leaves, is so once anybody says so.
func (w *world) instances() []fleet.Instance {
	claims := w.claims()
	slices.SortStableFunc(claims, claim.before)
	all := make([]fleet.Instance, 0, len(claims))
	first := byConfiguration
	for _, c := range claims {
		if n := len(all); n > 0 && all[n-1].Incarnation == c.Incarnation {
			if first != byConfiguration {
				agree(&all[n-1], c.Instance)
			}
			continue
		}
		all, first = append(all, *c.Instance), c.rank
	}
	return all
}

// agree takes into an instance what somebody else says of it.
func agree(in, other *fleet.Instance) {
	in.Ready = in.Ready || other.Ready
	in.Leaving = in.Leaving || other.Leaving
	if in.Bound == 0 {
		in.Bound = other.Bound
	}
}

// claims is all that is said of instances, in no order. Of those that are known to be dead nothing counts.
func (w *world) claims() []claim {
	var all []claim
	add := func(in *fleet.Instance, by rank, from string) {
		if _, dead := w.dead[in.Incarnation]; !dead && !w.reserved(in.Incarnation) {
			all = append(all, claim{in, by, from})
		}
	}
	for i := range w.desired.Instances {
		all = append(all, claim{&w.desired.Instances[i], byConfiguration, ""})
	}
	for name, c := range w.registries {
		for i := range c.list {
			add(&c.list[i], byRegistry, name)
		}
	}
	for _, l := range w.lost {
		add(&l.last, byLostRegistry, l.registry)
	}
	for id, f := range w.followers {
		by := byRunner
		if f.role() == agent {
			by = byAgent
		}
		for i := range f.report.Instances {
			add(&f.report.Instances[i], by, id)
		}
	}
	for _, in := range w.restored {
		add(&in, byLastSnapshot, "")
	}
	return all
}

// reserved says whether an incarnation is that of an endpoint which configuration names, or which the DNS has: no
// report is about one.
func (w *world) reserved(incarnation string) bool {
	return w.named[incarnation] || strings.HasPrefix(incarnation, resolvedPrefix)
}

// name notes the incarnations of endpoints that configuration names.
func (w *world) name(d *fleet.Desired) {
	w.named = map[string]bool{}
	for i := range d.Services {
		for j := range d.Services[i].Endpoints {
			w.named[d.Services[i].Endpoints[j].Incarnation] = true
		}
	}
}
