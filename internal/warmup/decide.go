package warmup

import (
	"cmp"
	"math"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// An Outcome is what one member of a pool gets.
type Outcome struct {
	Progress float64 // on the curve, 0..1
	Curve    float64 // what the curve alone gives, 0..1
	Share    float64 // what it gets of its full weight, 0..1; 0 when it is left out
	Warming  bool    // it is not left out, and its curve has not reached 1
	Growing  bool    // it warms, and nobody has paused it: time alone lifts its share
	Group    int     // index into Decision.Groups
	Reason   Reason
}

// A ShiftBudget says how far warm endpoints are kept from carrying the load of those that left. The zero value binds
// nobody.
type ShiftBudget struct {
	Floor  float64 // no share is below this, 0..1; 0 when the curve alone stays within the budget
	Needed float64 // effective weight that must be there: capacity before the change / λ
	Have   float64 // effective weight that is there; below Needed when there is no more to have
	Warm   float64 // weight of those whose share is whole
}

// Binds says whether the budget raises anybody's share above the curve.
func (b ShiftBudget) Binds() bool { return b.Floor > 0 }

// Stay returns the probability with which an endpoint of this share may be drawn second, when the less loaded of
// two gets a request; otherwise a warm one takes its place. It is share⁴, so that an idle cold endpoint is not
// drawn in for being idle, and it is continuous where a ramp ends.
//
// What cold ones turn down comes to the warm, so that these may be too few for it: of all requests they take at
// most the part that the budget lets them carry, and while it binds nobody is turned down.
func (b ShiftBudget) Stay(share float64) float64 {
	switch square := share * share; {
	case b.Binds():
		return 1
	case b.Needed > 0:
		return max(square*square, 1-b.Warm/b.Needed)
	default:
		return square * square
	}
}

// Near is where a data plane stands: what "near" means to a [fleet.LocalityPolicy].
type Near struct {
	Locality fleet.Locality
	Labels   map[string]string
}

// A Group is the part of a pool among which a request is balanced: all of it, or those who are equally near.
type Group struct {
	Level  string      // what its members have in common: "zone", "eu/a/*"; "" when where they are makes no difference
	Part   float64     // of the pool's requests, 0..1
	Able   float64     // part of the pool's requests that it could take, by who is in service and how warm they are, 0..1
	Budget ShiftBudget // of its members among themselves
}

// A Decision is what every member of a pool gets at one moment.
type Decision struct {
	Outcomes []Outcome // as Pool.Members
	Groups   []Group   // the nearest first; one at least. Their parts sum to 1 unless there is nobody to send to
}

// Decide says what every member of pool p of service s gets at now, from a data plane that stands at near.
//
// A member is left out when its stage is not offered to requests, its weight is 0, the policy sends nothing to
// where it is, or this data plane has ejected it. If that leaves nobody, ejection is overruled and those who are
// offered get their full weight: a request that may be answered is better than one that cannot be. If it leaves
// less of them than the part that is the policy's panic threshold, and all groups together could not take everything
// even if they were warm, the ejected get what their curve gives them: those that are left could not bear it all.
//
// Where the policy has a Locality the members fall into groups, each with its part of the requests; see [Group].
// All that follows is decided in each group for itself.
//
// Shares are relative to the warmest member that is not left out. One endpoint alone so gets everything that
// comes to its group, and of several cold ones the oldest gets its full weight, without a rule or a jump of its
// own. In return a group of cold ones gets less, while there are others to take the rest: one cold endpoint alone
// in its zone begins with the minimum of the zone's requests, not with the zone's.
func Decide(v fleet.View, s *fleet.Service, p *fleet.Pool, o fleet.Overlay, near Near, now time.Time) Decision {
	d := decision{
		outcomes: make([]Outcome, len(p.Members)), weights: make([]float64, len(p.Members)),
		included: make([]bool, len(p.Members)), groups: divide(s, p, near), policy: &p.Policy,
	}
	for k := range d.groups {
		g := &d.groups[k]
		for _, i := range g.members {
			e := &s.Endpoints[p.Members[i].Endpoint]
			d.outcomes[i].Group = k
			d.place(g, i, p.Members[i], e, v.Age(e, now), o[e.Incarnation], now)
		}
	}
	strained := deal(d.groups)
	panics := short(d.groups)
	out := Decision{Outcomes: d.outcomes, Groups: make([]Group, len(d.groups))}
	for k := range d.groups {
		g := &d.groups[k]
		if panics && g.included > 0 && float64(g.included) < d.policy.Panic*float64(g.included+g.ejected) {
			d.recall(g)
		}
		d.settle(g, strained)
		out.Groups[k] = g.Group
	}
	return out
}

// Place finds member m of group g on its curve, and whether it is left out.
func (d *decision) place(g *group, i int, m fleet.Member, e *fleet.Endpoint, age time.Duration, mark fleet.Mark, now time.Time) {
	out, w := &d.outcomes[i], d.policy.WarmupOf(e)
	published := Progress(w, m, age)
	out.Progress = Reached(w, m, age, mark, now)
	out.Curve = Share(w, out.Progress)
	d.weights[i] = e.Full()
	switch {
	case e.Stage == fleet.Starting && e.Age > 0:
		out.Reason = NotReady
	case e.Stage == fleet.Starting:
		out.Reason = New
	case !e.Stage.Offered() || d.weights[i] == 0:
		out.Reason = Drained
	case g.closed:
		out.Reason = Elsewhere
	case mark.Ejected:
		out.Reason = Ejected
		g.ejected++
		g.away += d.weights[i]
	default:
		d.include(g, i)
		g.there += d.weights[i]
		g.effective += d.weights[i] * out.Curve
		g.warmest = max(g.warmest, out.Curve)
		if out.Reason = why(w, m, out, published, age); out.Reason == Full && d.weights[i] != float64(e.Weight) {
			out.Reason = Weighed
		}
		out.Growing = out.Warming && (!m.Paused || out.Progress < published)
	}
}

// Settle decides what the members of a group get among themselves. The pool is strained when there is nobody who
// could take what is too much for those who warm up.
func (d *decision) settle(g *group, strained bool) {
	switch {
	case g.included > 0:
		d.relate(g, strained)
		d.balance(g)
	case g.ejected > 0 && g.Part > 0:
		d.overrule(g)
	}
}

// Why names the reason of a member's place on the curve.
func why(w fleet.Warmup, m fleet.Member, out *Outcome, published float64, age time.Duration) Reason {
	switch {
	case out.Curve < 1 && out.Progress < published:
		return Recovered
	case out.Curve < 1 && (m.Manual || m.Paused):
		return Manual
	case out.Curve < 1 && m.Recovered:
		return Recovered
	case out.Curve < 1:
		return New
	case w.Window > 0 && age < w.Window && !m.Manual:
		return Baseline
	default:
		return Full
	}
}

// A decision is a Decision in the making.
type decision struct {
	outcomes []Outcome
	weights  []float64 // full weights
	included []bool    // those that are not left out
	groups   []group
	policy   *fleet.Policy
}

// Include sends requests to member i of g, as its curve says.
func (d *decision) include(g *group, i int) {
	g.included++
	out := &d.outcomes[i]
	d.included[i], out.Share, out.Warming = true, out.Curve, out.Curve < 1
}

// Relate makes shares relative to the greatest of their group.
func (d *decision) relate(g *group, strained bool) {
	var greatest float64
	for _, i := range g.members {
		if d.included[i] {
			greatest = max(greatest, d.outcomes[i].Curve)
		}
	}
	if greatest == 1 {
		return
	}
	for _, i := range g.members {
		out := &d.outcomes[i]
		if !d.included[i] {
			continue
		}
		if out.Share = 1; greatest > 0 {
			out.Share = out.Curve / greatest
		}
		switch {
		case out.Reason == Panic || !strained:
		case g.included == 1:
			out.Reason = BypassSingle
		default:
			out.Reason = BypassAllCold
		}
	}
}

// Balance keeps warm endpoints within the shift budget: it finds the smallest floor F under all shares with
// Σ weight · max(share, F) ≥ capacity / λ, at most 1, as water fills a basin from its lowest place. Of the
// capacity only that part counts whose requests still come to the group.
func (d *decision) balance(g *group) {
	warming := slices.ContainsFunc(g.members, func(i int) bool { return d.outcomes[i].Warming })
	if !warming || !(g.capacity > 0) || math.IsInf(g.capacity, 1) {
		return
	}
	lambda := d.policy.ShiftBudget
	if !(lambda > 0) {
		lambda = fleet.DefaultShiftBudget
	}
	b := &g.Budget
	b.Needed = g.capacity / lambda
	if g.Part < g.steady {
		b.Needed *= g.Part / g.steady
	}
	b.Have = d.effective(g)
	for _, i := range g.members {
		if d.outcomes[i].Share == 1 {
			b.Warm += d.weights[i]
		}
	}
	if b.Have >= b.Needed {
		return
	}
	b.Floor = d.floor(g, b.Needed)
	for _, i := range g.members {
		if out := &d.outcomes[i]; d.included[i] && out.Share < b.Floor {
			out.Share, out.Reason = b.Floor, Budget
		}
	}
	b.Have = d.effective(g)
}

func (d *decision) effective(g *group) float64 {
	var sum float64
	for _, i := range g.members {
		sum += d.weights[i] * d.outcomes[i].Share
	}
	return sum
}

// Floor returns the level to which shares must be filled up so that the effective weight is needed, at most 1.
func (d *decision) floor(g *group, needed float64) float64 {
	lowest := make([]int, 0, g.included)
	for _, i := range g.members {
		if d.included[i] {
			lowest = append(lowest, i)
		}
	}
	slices.SortFunc(lowest, func(a, b int) int { return cmp.Compare(d.outcomes[a].Share, d.outcomes[b].Share) })
	above := d.effective(g) // of those that the water has not reached
	var under float64       // weight of those that it has
	for k, i := range lowest {
		under += d.weights[i]
		above -= d.weights[i] * d.outcomes[i].Share
		level := (needed - above) / under
		if k+1 == len(lowest) || level <= d.outcomes[lowest[k+1]].Share {
			return min(1, max(level, d.outcomes[i].Share))
		}
	}
	return 1
}

// Recall takes the ejected back in.
func (d *decision) recall(g *group) {
	for _, i := range g.members {
		if out := &d.outcomes[i]; out.Reason == Ejected {
			d.include(g, i)
			out.Reason, out.Growing = Panic, out.Warming
		}
	}
}

// Overrule gives those who are ejected their full weight.
func (d *decision) overrule(g *group) {
	for _, i := range g.members {
		if out := &d.outcomes[i]; out.Reason == Ejected {
			out.Share = 1
		}
	}
}
