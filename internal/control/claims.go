package control

import (
	"cmp"
	"slices"
	"strings"
	"time"

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
	rank     rank
	from     string // of several of one rank
	stranger bool   // it is a registry's entry that names no incarnation of ours
}

func (c claim) before(d claim) int {
	if by := strings.Compare(c.Incarnation, d.Incarnation); by != 0 {
		return by
	}
	return cmp.Or(cmp.Compare(c.standing(), d.standing()), strings.Compare(c.from, d.from))
}

// standing is the order in which claims of one incarnation count. A stranger's entry says less than anybody of ours does.
func (c claim) standing() int {
	if c.stranger {
		return 2*int(byLastSnapshot) + int(c.rank)
	}
	return int(c.rank)
}

// foreign says whether nobody of ours gave the incarnation: a registry alone can say that.
func (c claim) foreign() bool {
	return c.Foreign && (c.rank == byRegistry || c.rank == byLostRegistry || c.rank == byLastSnapshot)
}

// registry is the one by which a stranger has its incarnation; "" is not known.
func (c claim) registry() string {
	if c.rank != byLastSnapshot {
		return c.from
	}
	for _, name := range c.Registries {
		if strings.HasPrefix(c.Incarnation, name+"/") {
			return name
		}
	}
	return ""
}

// instances is everything that runs, from all who know of it, each incarnation once. That it can serve, and that it
// leaves, is so once anybody says so.
func (w *world) instances(now time.Time) []fleet.Instance {
	w.identify(now)
	claims := w.claims()
	slices.SortStableFunc(claims, claim.before)
	all := make([]fleet.Instance, 0, len(claims))
	var first claim
	for _, c := range claims {
		n := len(all)
		if n == 0 || all[n-1].Incarnation != c.Incarnation {
			all, first = append(all, c.first()), c
			n++
		} else if first.rank != byConfiguration {
			agree(&all[n-1], c.Instance)
			all[n-1].Weight = first.weight(c)
		}
		if c.rank == byRegistry && first.rank != byConfiguration {
			all[n-1].Registries = with(all[n-1].Registries, c.from)
		}
	}
	leaveTogether(all)
	return all
}

// first is a claim as an instance.
func (c claim) first() fleet.Instance {
	in := *c.Instance
	in.Foreign = c.foreign()
	if c.rank != byLastSnapshot {
		in.Registries = nil
	}
	return in
}

// weight is that of an instance of which an agent, or who runs it, speaks first and another claim after that. What its
// application has registered itself is what the others of its service are weighed by, too.
func (c claim) weight(other claim) uint32 {
	if other.stranger && (c.rank == byAgent || c.rank == byRunner) && other.Weight > 0 {
		return other.Weight
	}
	return c.Weight
}

// with is a sorted list with one more name in it, if it is not there.
func with(names []string, name string) []string {
	i, found := slices.BinarySearch(names, name)
	if found {
		return names
	}
	return slices.Insert(slices.Clone(names), i, name)
}

// agree takes into an instance what somebody else says of it.
func agree(in, other *fleet.Instance) {
	in.Ready = in.Ready || other.Ready
	in.Leaving = in.Leaving || other.Leaving
	if in.Bound == 0 {
		in.Bound = other.Bound
	}
}

// leaveTogether has those that are one service of a process leave when the process does. What is sorted stays so.
func leaveTogether(all []fleet.Instance) {
	for i := range all {
		of := process(all[i].Incarnation)
		if of == all[i].Incarnation || all[i].Leaving {
			continue
		}
		first, found := slices.BinarySearchFunc(all, of, func(in fleet.Instance, want string) int { return strings.Compare(in.Incarnation, want) })
		if found && all[first].Leaving {
			all[i].Leaving, all[i].Bound = true, all[first].Bound
		}
	}
}

// claims is all that is said of instances, as it counts, in no order. Of those that are known to be dead nothing does.
func (w *world) claims() []claim {
	all := w.said()
	out := all[:0]
	for _, c := range all {
		if c.rank == byRegistry {
			in, counts := w.known(c.Instance)
			if !counts || w.died(in.Incarnation) {
				continue
			}
			c.Instance, c.stranger = in, c.Foreign
		}
		out = append(out, c)
	}
	return out
}

// died says whether somebody saw an incarnation, or the process that it is one service of, die.
func (w *world) died(incarnation string) bool {
	_, dead := w.dead[incarnation]
	if !dead {
		_, dead = w.dead[process(incarnation)]
	}
	return dead
}

// said is all that is said of instances, in no order; of those that are known to be dead nothing is listened to.
func (w *world) said() []claim {
	var all []claim
	add := func(in *fleet.Instance, by rank, from string) {
		if !w.died(in.Incarnation) && !w.reserved(in.Incarnation) {
			all = append(all, claim{Instance: in, rank: by, from: from})
		}
	}
	for i := range w.desired.Instances {
		all = append(all, claim{Instance: &w.desired.Instances[i], rank: byConfiguration})
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
