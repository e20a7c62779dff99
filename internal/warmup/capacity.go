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
type Capacity struct {
	whole     record
	places    map[fleet.Locality]*record // where the policy has a Locality
	newcomers map[string]load            // by incarnation: what stood before it, until it is warm or gone
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
		share := Share(p.Policy.Warmup, Progress(p.Policy.Warmup, m, e.Age+since))
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
	before := c.before()
	known := c.newcomers
	c.newcomers = map[string]load{}
	var force load
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		n, noted := known[e.Incarnation]
		warms := e.Stage.Offered() && e.Full() > 0
		if Progress(p.Policy.Warmup, m, e.Age) >= 1 || !noted && !warms {
			continue
		}
		if !noted {
			n = before
		}
		if m.Paused {
			n = c.bounded(n)
		}
		c.newcomers[e.Incarnation] = n
		if warms {
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
		if e.Stage == fleet.Warming && Progress(p.Policy.Warmup, m, e.Age+since) < 1 {
			c.newcomers[e.Incarnation] = published(p)
		}
	}
	c.Stood(s, p, since, now)
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
