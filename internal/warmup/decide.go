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

// A Decision is what every member of a pool gets at one moment.
type Decision struct {
	Outcomes []Outcome // as Pool.Members
	Budget   ShiftBudget
}

// Decide says what every member of pool p of service s gets at now.
//
// A member is left out when its stage is not offered to requests, its weight is 0 or this data plane has
// ejected it. If that leaves nobody, ejection is overruled and those who are offered get their full weight: a
// request that may be answered is better than one that cannot be. If it leaves less than the part of them that
// is the policy's panic threshold, the ejected get what their curve gives them: those that are left could not
// bear it all.
//
// Shares are relative to the warmest member that is not left out. One endpoint alone so gets everything, and of
// several cold ones the oldest gets its full weight, without a rule or a jump of its own.
func Decide(v fleet.View, s *fleet.Service, p *fleet.Pool, o fleet.Overlay, now time.Time) Decision {
	d := decision{Decision: Decision{Outcomes: make([]Outcome, len(p.Members))}, weights: make([]float64, len(p.Members))}
	ejected := 0
	for i, m := range p.Members {
		e, mark := &s.Endpoints[m.Endpoint], o[s.Endpoints[m.Endpoint].Incarnation]
		out := &d.Outcomes[i]
		published := Progress(p.Policy.Warmup, m, v.Age(e, now))
		out.Progress = Reentry(p.Policy.Warmup, published, mark, now)
		out.Curve = Share(p.Policy.Warmup, out.Progress)
		switch {
		case e.Stage == fleet.Starting:
			out.Reason = New
		case !e.Stage.Offered() || e.Weight == 0:
			out.Reason = Drained
		case mark.Ejected:
			out.Reason = Ejected
			ejected++
		default:
			d.include(i, float64(e.Weight))
			out.Reason = why(p.Policy.Warmup, out, published, v.Age(e, now))
		}
	}
	if d.included > 0 && float64(d.included) < p.Policy.Panic*float64(d.included+ejected) {
		d.recall(s, p)
	}
	switch {
	case d.included > 0:
		d.relate()
		d.balance(p)
	case ejected > 0:
		d.overrule(s, p)
	}
	return d.Decision
}

// Why names the reason of a member's place on the curve.
func why(w fleet.Warmup, out *Outcome, published float64, age time.Duration) Reason {
	switch {
	case out.Curve < 1 && out.Progress < published:
		return Recovered
	case out.Curve < 1:
		return New
	case w.Window > 0 && age < w.Window:
		return Baseline
	default:
		return Full
	}
}

// A decision is a Decision in the making.
type decision struct {
	Decision
	weights  []float64 // of those that are not left out; 0 for the others
	included int
}

func (d *decision) include(i int, weight float64) {
	d.weights[i] = weight
	d.included++
	out := &d.Outcomes[i]
	out.Share, out.Warming = out.Curve, out.Curve < 1
}

// Relate makes shares relative to the greatest.
func (d *decision) relate() {
	var greatest float64
	for i := range d.Outcomes {
		if d.weights[i] > 0 {
			greatest = max(greatest, d.Outcomes[i].Curve)
		}
	}
	if greatest == 1 {
		return
	}
	for i := range d.Outcomes {
		if d.weights[i] == 0 {
			continue
		}
		out := &d.Outcomes[i]
		if out.Share = 1; greatest > 0 {
			out.Share = out.Curve / greatest
		}
		switch {
		case out.Reason == Panic:
		case d.included == 1:
			out.Reason = BypassSingle
		default:
			out.Reason = BypassAllCold
		}
	}
}

// Balance keeps warm endpoints within the shift budget: it finds the smallest floor F under all shares with
// Σ weight · max(share, F) ≥ capacity / λ, at most 1, as water fills a basin from its lowest place.
func (d *decision) balance(p *fleet.Pool) {
	warming := slices.ContainsFunc(d.Outcomes, func(o Outcome) bool { return o.Warming })
	if !warming || !(p.Capacity > 0) || math.IsInf(p.Capacity, 1) {
		return
	}
	lambda := p.Policy.ShiftBudget
	if !(lambda > 0) {
		lambda = fleet.DefaultShiftBudget
	}
	d.Budget.Needed = p.Capacity / lambda
	d.Budget.Have = d.effective()
	for i := range d.Outcomes {
		if d.Outcomes[i].Share == 1 {
			d.Budget.Warm += d.weights[i]
		}
	}
	if d.Budget.Have >= d.Budget.Needed {
		return
	}
	d.Budget.Floor = d.floor(d.Budget.Needed)
	for i := range d.Outcomes {
		if out := &d.Outcomes[i]; d.weights[i] > 0 && out.Share < d.Budget.Floor {
			out.Share, out.Reason = d.Budget.Floor, Budget
		}
	}
	d.Budget.Have = d.effective()
}

func (d *decision) effective() float64 {
	var sum float64
	for i := range d.Outcomes {
		sum += d.weights[i] * d.Outcomes[i].Share
	}
	return sum
}

// Floor returns the level to which shares must be filled up so that the effective weight is needed, at most 1.
func (d *decision) floor(needed float64) float64 {
	lowest := make([]int, 0, d.included)
	for i := range d.Outcomes {
		if d.weights[i] > 0 {
			lowest = append(lowest, i)
		}
	}
	slices.SortFunc(lowest, func(a, b int) int { return cmp.Compare(d.Outcomes[a].Share, d.Outcomes[b].Share) })
	above := d.effective() // of those that the water has not reached
	var under float64      // weight of those that it has
	for k, i := range lowest {
		under += d.weights[i]
		above -= d.weights[i] * d.Outcomes[i].Share
		level := (needed - above) / under
		if k+1 == len(lowest) || level <= d.Outcomes[lowest[k+1]].Share {
			return min(1, max(level, d.Outcomes[i].Share))
		}
	}
	return 1
}

// Recall takes the ejected back in.
func (d *decision) recall(s *fleet.Service, p *fleet.Pool) {
	for i, m := range p.Members {
		if d.Outcomes[i].Reason == Ejected {
			d.include(i, float64(s.Endpoints[m.Endpoint].Weight))
			d.Outcomes[i].Reason = Panic
		}
	}
}

// Overrule gives those who are offered their full weight, ejected or not.
func (d *decision) overrule(s *fleet.Service, p *fleet.Pool) {
	for i, m := range p.Members {
		if e := &s.Endpoints[m.Endpoint]; e.Stage.Offered() && e.Weight > 0 {
			d.Outcomes[i].Share = 1
		}
	}
}
