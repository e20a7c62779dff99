package warmup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// Overprovisioned is how much more than its part a group is taken to be able to carry: it keeps all of its
// requests until so much of it is ejected that this is used up. 1.4 is Envoy's factor
// (ClusterLoadAssignment.Policy.overprovisioning_factor).
const overprovisioned = 1.4

// A group is a Group in the making.
type group struct {
	Group

	members  []int   // indices into Pool.Members
	spread   bool    // it gets its steady part, not what nearer ones leave to it
	closed   bool    // it gets nothing, whoever else is there
	steady   float64 // part of the requests that is its own to have, when everybody is warm
	capacity float64 // effective weight that stood before the newcomers came; 0 when that was nothing, or nobody knows

	included, ejected int
	there, away       float64 // full weight of those in service, and of the ejected
	effective         float64 // Σ weight × curve of those in service
	warmest           float64 // the greatest curve of those in service
}

// Deal gives every group its part of the requests, and says whether all of them together are strained: not able
// to take everything, so that they get more than their warmth allows.
//
// The nearest group gets what it is able to take, the next what is left of what it is able to take, and so on;
// groups that requests are spread over get their weight times what they are able to take. Whatever that leaves
// is shared out in the same proportions.
func deal(groups []group) (strained bool) {
	left, taken := 1.0, 0.0
	for k := range groups {
		g := &groups[k]
		g.Able = g.able()
		if g.Part = g.steady * g.Able; !g.spread {
			g.Part = min(left, g.Able)
			left -= g.Part
		}
		taken += g.Part
	}
	// Nobody is able to take anything: any request is better sent to those in service, else to the ejected.
	for _, weight := range []func(*group) float64{nil, (*group).inService, (*group).offered} {
		var sum float64
		for k := range groups {
			if g := &groups[k]; weight != nil && !g.closed {
				g.Part = weight(g)
			}
			sum += groups[k].Part
		}
		if sum > 0 {
			for k := range groups {
				groups[k].Part /= sum
			}
			break
		}
	}
	const rounding = 1e-9 // steady parts sum to 1 but for that
	return taken < 1-rounding || len(groups) == 1
}

// Short says whether the groups together cannot take everything by who is in service, however warm. Only then the
// ejected of one of them are worth asking: Envoy, too, disregards panic thresholds while its total health is whole.
func short(groups []group) bool {
	var sum float64
	for k := range groups {
		sum += groups[k].healthy()
	}
	return sum < 1
}

// Healthy returns the part of all requests that a group could take if everybody in it were warm.
func (g *group) healthy() float64 {
	if !(g.there > 0) || g.closed {
		return 0
	}
	return min(1, overprovisioned*g.present())
}

// Present is the part of a group that is in service, by full weight.
func (g *group) present() float64 { return g.there / (g.there + g.away) }

func (g *group) inService() float64 { return g.by(g.there) }
func (g *group) offered() float64   { return g.by(g.away) }

// By is what a group counts for when its members weigh so much.
func (g *group) by(weight float64) float64 {
	if g.spread && weight > 0 {
		return g.steady
	}
	return weight
}

// Able returns the part of all requests that a group can take: by who is in service, as Envoy counts it, times
// how warm these are.
//
// They are as warm as the warmest, because shares are relative to it: what the relation lifts, the group gives
// back. And they are as warm as what is there of the weight that stood before the newcomers came, so that a group
// that merely grows keeps its requests, and one that is replaced lets go of what it cannot bear.
func (g *group) able() float64 {
	healthy := g.healthy()
	if healthy == 0 {
		return 0
	}
	warm := g.warmest
	if stood := min(g.capacity*g.present(), g.there); stood > 0 {
		warm = min(warm, g.effective/stood)
	}
	return healthy * warm
}

// Divide returns the groups into which the policy divides the members of p for a data plane at near, the nearest
// first, each with at least one member; one group without a level when where they are makes no difference.
func divide(s *fleet.Service, p *fleet.Pool, near Near) []group {
	by := newOrder(p.Policy.Locality, near)
	if by == nil || len(p.Members) == 0 {
		all := group{members: make([]int, len(p.Members)), steady: 1, capacity: p.Capacity}
		for i := range all.members {
			all.members[i] = i
		}
		return []group{all}
	}
	places := map[int]int{} // of each rank: index into groups
	var groups []group
	var ranks []int
	for i, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		rank := by.rank(e.Labels, e.Locality)
		k, ok := places[rank]
		if !ok {
			k = len(groups)
			places[rank] = k
			groups, ranks = append(groups, by.group(rank)), append(ranks, rank)
		}
		groups[k].members = append(groups[k].members, i)
	}
	for _, place := range p.Places {
		if k, ok := places[by.rank(nil, place.Locality)]; ok && by.places {
			groups[k].capacity += max(0, place.Capacity)
		}
	}
	if len(groups) == 1 {
		groups[0].capacity = p.Capacity
	}
	return arrange(groups, ranks)
}

// Arrange sorts groups by rank and makes the steady parts of those that requests are spread over sum to 1.
func arrange(groups []group, ranks []int) []group {
	indices := make([]int, len(groups))
	var sum float64
	for k := range groups {
		indices[k] = k
		sum += groups[k].steady
	}
	slices.SortFunc(indices, func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
	sorted := make([]group, 0, len(groups))
	for _, k := range indices {
		if groups[k].steady > 0 && groups[k].spread {
			groups[k].steady /= sum
		}
		sorted = append(sorted, groups[k])
	}
	return sorted
}

// An order ranks endpoints by how near they are to a data plane, as Istio's locality load balancing does; the
// nearest have rank 0.
type order struct {
	near     fleet.Locality
	labels   []labelled // of Priority
	regional bool       // localities count as well, after the labels
	failover string     // the region that stands in for ours; "" is any
	goals    []goal     // of the Distribution; then it alone decides
	places   bool       // a locality alone tells an endpoint's rank
}

// A labelled is a label that near endpoints have with this value; both may be "".
type labelled struct{ name, value string }

// A goal is a place that requests are distributed to.
type goal struct {
	pattern string
	weight  uint32
}

// NewOrder returns the order of a policy for a data plane at near; nil when all are alike.
func newOrder(p *fleet.LocalityPolicy, near Near) *order {
	switch {
	case p == nil:
		return nil
	case len(p.Distribute) > 0:
		return newDistribution(p.Distribute, near.Locality)
	}
	o := &order{near: near.Locality, places: true}
	for _, label := range p.Priority {
		name, value, written := strings.Cut(label, "=")
		if !written {
			value = labelOf(near.Labels, near.Locality, name)
		}
		o.labels = append(o.labels, labelled{name, value})
		o.places = o.places && isPlace(name)
	}
	o.regional = (len(p.Priority) == 0 || len(p.Failover) > 0) && near.Locality.Region != ""
	if len(o.labels) == 0 && !o.regional {
		return nil
	}
	i := slices.IndexFunc(p.Failover, func(f fleet.Failover) bool { return f.From == near.Locality.Region })
	if i >= 0 {
		o.failover = p.Failover[i].To
	}
	return o
}

func newDistribution(list []fleet.Distribution, from fleet.Locality) *order {
	i := slices.IndexFunc(list, func(d fleet.Distribution) bool { return holds(d.From, from) >= 0 })
	if i < 0 {
		return nil
	}
	o := &order{places: true}
	for pattern, weight := range list[i].To {
		o.goals = append(o.goals, goal{pattern, weight})
	}
	slices.SortFunc(o.goals, func(a, b goal) int { return cmp.Compare(a.pattern, b.pattern) })
	return o
}

// Ranks of endpoints by locality alone.
const (
	sameSubZone = iota
	sameZone
	sameRegion
	otherRegion // the one that stands in for ours, where there is one
	farRegion
	localities // how many there are
)

// Rank returns how near an endpoint is.
func (o *order) rank(labels map[string]string, l fleet.Locality) int {
	if o.goals != nil {
		return o.goalOf(l)
	}
	rank := 0
	for k, label := range o.labels {
		if labelOf(labels, l, label.name) != label.value {
			rank = len(o.labels) - k // the labels after it do not count
			break
		}
	}
	if !o.regional {
		return rank * localities
	}
	return rank*localities + o.distance(l)
}

func (o *order) distance(l fleet.Locality) int {
	switch {
	case l.Region != o.near.Region && o.failover != "" && l.Region != o.failover:
		return farRegion
	case l.Region != o.near.Region:
		return otherRegion
	case l.Zone != o.near.Zone:
		return sameRegion
	case l.SubZone != o.near.SubZone:
		return sameZone
	default:
		return sameSubZone
	}
}

// GoalOf returns the index of the goal that describes a place most closely; one above all of them when none does.
func (o *order) goalOf(l fleet.Locality) int {
	best, closest := len(o.goals), -1
	for k := range o.goals {
		if c := holds(o.goals[k].pattern, l); c > closest {
			best, closest = k, c
		}
	}
	return best
}

// Group returns a group of those with a rank, as yet without members.
func (o *order) group(rank int) group {
	switch {
	case o.goals != nil && rank == len(o.goals):
		return group{Group: Group{Level: "elsewhere"}, spread: true, closed: true}
	case o.goals != nil:
		g := o.goals[rank]
		return group{Group: Group{Level: g.pattern}, spread: true, closed: g.weight == 0, steady: float64(g.weight)}
	}
	var names []string
	if n := len(o.labels); n > 0 {
		names = append(names, fmt.Sprintf("%d of %d labels", n-rank/localities, n))
	}
	if o.regional {
		names = append(names, o.level(rank%localities))
	}
	return group{Group: Group{Level: strings.Join(names, ", ")}, steady: 1}
}

// Level names what endpoints at a distance have in common with the data plane, as far as it has that itself.
func (o *order) level(distance int) string {
	switch {
	case distance == otherRegion && o.failover != "":
		return "failover " + o.failover
	case distance >= otherRegion:
		return "others"
	case distance == sameSubZone && o.near.SubZone != "":
		return "sub-zone"
	case distance == sameSubZone && o.near.Zone != "", distance == sameZone && o.near.SubZone != "":
		return "zone"
	case distance == sameZone && o.near.Zone != "":
		return "zone, in sub-zones"
	case distance == sameRegion && o.near.Zone == "":
		return "region, in zones"
	default:
		return "region"
	}
}

// LabelOf returns the value of a label; those of localities have the locality's where they are not set.
func labelOf(labels map[string]string, l fleet.Locality, name string) string {
	if value, ok := labels[name]; ok {
		return value
	}
	switch name {
	case "topology.kubernetes.io/region":
		return l.Region
	case "topology.kubernetes.io/zone":
		return l.Zone
	case "topology.istio.io/subzone":
		return l.SubZone
	}
	return ""
}

// IsPlace says whether a label is one of those of localities.
func isPlace(name string) bool {
	return labelOf(nil, fleet.Locality{Region: "x", Zone: "x", SubZone: "x"}, name) != ""
}

// Holds says how closely a pattern of places describes l: the number of names in it; -1 when it does not hold.
// A name that is missing, or "*", holds for all.
func holds(pattern string, l fleet.Locality) int {
	closeness := 0
	rest := pattern
	for _, name := range [...]string{l.Region, l.Zone, l.SubZone} {
		var want string
		want, rest, _ = strings.Cut(rest, "/")
		switch want {
		case "", "*":
		case name:
			closeness++
		default:
			return -1
		}
	}
	return closeness
}
