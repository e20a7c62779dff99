package warmup

import (
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// Lookback is how long before a newcomer something counts as having stood before it, so that an endpoint that
// left a moment before its successor came still counts.
const Lookback = 10 * time.Second

// A Capacity remembers what one pool could carry, so that the shift budget knows what stood before those came who
// warm up. The zero value remembers nothing.
//
// What stood before a newcomer is the greatest effective weight of the last Lookback. Where others were warming in
// that time it is what stood before them, if that is more, but at most the greatest full weight of the last
// Lookback: a fleet that is replaced one by one keeps its capacity until the last newcomer is warm, and a fleet
// that becomes smaller meanwhile lets it go.
//
// The capacity in force is the greatest that stood before anyone who now warms. Somebody whose warm-up is paused
// holds on to what stood before it for as long as the pause lasts, but never to more than the greatest full weight
// of the last Lookback.
//
// Weights are in units that people may change: when those of everybody are multiplied, so is what is remembered.
type Capacity struct {
	whole     record
	places    map[fleet.Locality]*record // where the policy has a Locality
	newcomers map[string]load            // by incarnation: what stood before it, until it is warm or gone
	measured  []weighed                  // everybody, in units of whom the above is
}

// Weighed is what somebody weighed when it was warm.
type weighed struct {
	incarnation string
	place       fleet.Locality
	weight      float64
}

// A load is the weight of a pool and, where the policy has a Locality, of each of its places.
type load struct {
	whole  float64
	places map[fleet.Locality]float64
}

// Stood notes what pool p of service s, whose ages are those of since ago, carries at now. It is to be called
// before a change and, by Measure, after it.
func (c *Capacity) Stood(s *fleet.Service, p *fleet.Pool, since time.Duration, now time.Time) {
	var effective, full load
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		if !e.Stage.Offered() {
			continue
		}
		weight := e.Full()
		w := p.Policy.WarmupOf(e)
		share := Share(w, Progress(w, m, e.Age+since))
		full.add(p, e.Locality, weight)
		effective.add(p, e.Locality, weight*share)
	}
	c.whole.note(effective.whole, full.whole, p.Capacity, now)
	c.notePlaces(effective, full, p, now)
}

// notePlaces notes what stands in each place, also where there is nothing any more.
func (c *Capacity) notePlaces(effective, full load, p *fleet.Pool, now time.Time) {
	if p.Policy.Locality == nil {
		c.places = nil
		return
	}
	if c.places == nil {
		c.places = map[fleet.Locality]*record{}
	}
	for place := range full.places {
		if c.places[place] == nil {
			c.places[place] = &record{}
		}
	}
	force := published(p)
	for place, r := range c.places {
		r.note(effective.places[place], full.places[place], force.places[place], now)
		if r.before() == 0 && r.full.greatest() == 0 {
			delete(c.places, place) // nothing has stood there for a while
		}
	}
}

// Measure sets the Capacity and Places of p, a pool of s that is to be published at now: what is in force, and 0
// where nobody warms. Those who warm for the first time are newcomers.
func (c *Capacity) Measure(s *fleet.Service, p *fleet.Pool, now time.Time) {
	c.weigh(s, p)
	before := c.before()
	known := c.newcomers
	c.newcomers = map[string]load{}
	var force load
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		n, noted := known[e.Incarnation]
		offered := e.Stage.Offered()
		if Progress(p.Policy.WarmupOf(e), m, e.Age) >= 1 || !(e.Full() > 0) || !noted && !offered {
			continue
		}
		if !noted {
			n = before
		}
		if m.Paused {
			n = c.bounded(n)
		}
		c.newcomers[e.Incarnation] = n
		if offered {
			force.raise(n)
		}
	}
	p.Capacity, p.Places = force.whole, nil
	if p.Policy.Locality != nil {
		p.Places = force.sorted()
	}
	c.Stood(s, p, 0, now)
}

// Resume takes over from a pool that another published, since ago: whoever warms in it holds the capacity that was
// in force.
func (c *Capacity) Resume(s *fleet.Service, p *fleet.Pool, since time.Duration, now time.Time) {
	c.newcomers = map[string]load{}
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		if e.Stage == fleet.Warming && Progress(p.Policy.WarmupOf(e), m, e.Age+since) < 1 {
			c.newcomers[e.Incarnation] = published(p)
		}
	}
	c.weigh(s, p)
	c.Stood(s, p, since, now)
}

// Weigh takes over the units in which p's members are weighed now.
func (c *Capacity) weigh(s *fleet.Service, p *fleet.Pool) {
	last := c.measured
	c.measured = make([]weighed, len(p.Members))
	same := len(last) == len(p.Members)
	for k, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		c.measured[k] = weighed{e.Incarnation, e.Locality, e.Full()}
		same = same && last[k] == c.measured[k]
	}
	if !same {
		c.rescale(s, p, last)
	}
}

// Rescale multiplies what is remembered by what the weight of those has become who are still here and warm: it is of
// their kind. Where nobody is warm, everybody's counts; for a place without any, that of the whole pool. Who has or
// had no weight says nothing of units: it came or went.
func (c *Capacity) rescale(s *fleet.Service, p *fleet.Pool, last []weighed) {
	known := make(map[string]float64, len(last))
	for _, one := range last {
		known[one.incarnation] = one.weight
	}
	var was, is [2]load // of everybody, and of the warm
	for k, m := range p.Members {
		one := c.measured[k]
		weight := known[one.incarnation]
		if !(weight > 0) || !(one.weight > 0) {
			continue
		}
		was[0].add(p, one.place, weight)
		is[0].add(p, one.place, one.weight)
		if e := &s.Endpoints[m.Endpoint]; Progress(p.Policy.WarmupOf(e), m, e.Age) >= 1 {
			was[1].add(p, one.place, weight)
			is[1].add(p, one.place, one.weight)
		}
	}
	from, to := was[1], is[1]
	if from.whole == 0 {
		from, to = was[0], is[0]
	}
	if from.whole > 0 {
		c.multiply(func(place fleet.Locality) float64 {
			if weight := from.places[place]; weight > 0 {
				return to.places[place] / weight
			}
			return to.whole / from.whole
		}, to.whole/from.whole)
	}
}

func (c *Capacity) multiply(factor func(fleet.Locality) float64, whole float64) {
	c.whole.multiply(whole)
	for place, r := range c.places {
		r.multiply(factor(place))
	}
	for incarnation, n := range c.newcomers {
		scaled := load{whole: n.whole * whole} // those who came at once have their places in common
		for place, value := range n.places {
			scaled.put(place, value*factor(place))
		}
		c.newcomers[incarnation] = scaled
	}
}

// Forget makes an incarnation, should it warm again, a newcomer.
func (c *Capacity) Forget(incarnation string) { delete(c.newcomers, incarnation) }

// before is what stands before those who come now.
func (c *Capacity) before() load {
	l := load{whole: c.whole.before()}
	for place, r := range c.places {
		l.put(place, r.before())
	}
	return l
}

// bounded returns l, but no more of it than stood here with full weight in the last Lookback.
func (c *Capacity) bounded(l load) load {
	b := load{whole: min(l.whole, c.whole.full.greatest())}
	for place, value := range l.places {
		if r := c.places[place]; r != nil {
			b.put(place, min(value, r.full.greatest()))
		}
	}
	return b
}

// published is what p says is in force.
func published(p *fleet.Pool) load {
	l := load{whole: p.Capacity}
	for _, place := range p.Places {
		l.put(place.Locality, place.Capacity)
	}
	return l
}

func (l *load) put(place fleet.Locality, value float64) {
	if l.places == nil {
		l.places = map[fleet.Locality]float64{}
	}
	l.places[place] = value
}

// add adds weight that stands at a place, of which note is taken where p's policy asks.
func (l *load) add(p *fleet.Pool, place fleet.Locality, weight float64) {
	l.whole += weight
	if p.Policy.Locality != nil {
		l.put(place, l.places[place]+weight)
	}
}

// raise makes l at least other, everywhere.
func (l *load) raise(other load) {
	l.whole = max(l.whole, other.whole)
	for place, value := range other.places {
		l.put(place, max(l.places[place], value))
	}
}

// sorted lists the places in which anything stood, in the order of their names.
func (l *load) sorted() []fleet.Place {
	var list []fleet.Place
	for place, value := range l.places {
		if value > 0 {
			list = append(list, fleet.Place{Locality: place, Capacity: value})
		}
	}
	slices.SortFunc(list, func(a, b fleet.Place) int { return strings.Compare(a.Locality.String(), b.Locality.String()) })
	return list
}

// A record is what a pool, or one of its places, carried in the last Lookback.
type record struct {
	effective peak // weight × share
	full      peak // weight
	force     peak // the capacity in force
}

func (r *record) note(effective, full, force float64, now time.Time) {
	r.effective.note(effective, now)
	r.full.note(full, now)
	r.force.note(force, now)
}

func (r *record) multiply(by float64) {
	for _, p := range []peak{r.effective, r.full, r.force} {
		for i := range p {
			p[i].value *= by
		}
	}
}

func (r *record) before() float64 {
	return max(r.effective.greatest(), min(r.force.greatest(), r.full.greatest()))
}

// A peak is the greatest of the values that were noted in the last Lookback. It keeps those that may be the
// greatest some time: each is less than the one before it.
type peak []moment

type moment struct {
	at    time.Time
	value float64
}

func (p *peak) note(value float64, now time.Time) {
	q := *p
	for len(q) > 0 && now.Sub(q[0].at) > Lookback {
		q = q[1:]
	}
	for len(q) > 0 && q[len(q)-1].value <= value {
		q = q[:len(q)-1]
	}
	*p = append(q, moment{now, value})
}

// greatest is as of the last note; 0 when there was none.
func (p *peak) greatest() float64 {
	if len(*p) == 0 {
		return 0
	}
	return (*p)[0].value
}
