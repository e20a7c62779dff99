package control

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
	"crossfade.dev/internal/warmup"
)

type poolKey struct{ service, subset string }

// A pool is what control remembers of one from snapshot to snapshot.
type pool struct{ capacity warmup.Capacity }

// pool returns what is remembered of a pool; nothing when it is new.
func (w *world) pool(service, subset string) *pool {
	k := poolKey{service, subset}
	known := w.pools[k]
	if known == nil {
		known = &pool{}
		w.pools[k] = known
	}
	return known
}

// restorePools remembers the pools of a service of the last snapshot.
func (w *world) restorePools(s *fleet.Service, now time.Time) {
	for i := range s.Pools {
		p := &s.Pools[i]
		known := w.pool(s.Name, p.Subset)
		known.capacity.Resume(s, p, now.Sub(w.view.Taken), now)
		for _, m := range p.Members {
			l := w.lives[s.Endpoints[m.Endpoint].Incarnation]
			l.resting = l.resting || m.Drained
			if !l.Offered.IsZero() || m.Manual {
				l.at[known] = spot{m, p.Policy.WarmupOf(&s.Endpoints[m.Endpoint])}
			}
		}
	}
}

// fill puts into each pool the endpoints that belong to it, each where it is on the pool's curve.
func (w *world) fill(next *fleet.Snapshot) {
	for i := range next.Services {
		s := &next.Services[i]
		for j := range s.Pools {
			w.fillPool(s, &s.Pools[j])
		}
	}
}

func (w *world) fillPool(s *fleet.Service, p *fleet.Pool) {
	known, whole := w.pool(s.Name, p.Subset), w.pool(s.Name, "")
	p.Members = make([]fleet.Member, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if !fleet.Carries(e.Labels, p.Labels) {
			continue
		}
		l, curve := w.lives[e.Incarnation], p.Policy.WarmupOf(e)
		m := l.on(known, whole, curve, e.Age)
		m.Endpoint = i
		m = l.moved(m, e, curve)
		if !l.Offered.IsZero() || m.Manual {
			l.at[known] = spot{m, curve}
		}
		p.Members = append(p.Members, m)
	}
}

// on is where a life of this age is on the curve of pool p, of the service whose endpoints are all in whole. Whoever
// comes into a pool after it was offered, because the pool is new or its labels are, has there the share that it
// has already. Those who have not been offered yet are as good as new, unless somebody has moved them.
func (l *life) on(p, whole *pool, curve fleet.Warmup, age time.Duration) fleet.Member {
	at, there := l.at[p]
	if !there {
		at, there = l.at[whole]
		if !there {
			at, there = l.least(age)
		}
		there = there && (age > 0 || at.Manual)
	}
	if !there {
		return fleet.Member{Drained: l.resting}
	}
	return warmup.Rebase(at.Member, at.curve, curve, age)
}

// least is the spot at which a life of this age has its least share; false when it is nowhere.
func (l *life) least(age time.Duration) (spot, bool) {
	var least spot
	lowest := math.Inf(1)
	for _, at := range l.at {
		share := warmup.Share(at.curve, warmup.Progress(at.curve, at.Member, age))
		if share < lowest || share == lowest && at.Paused {
			least, lowest = at, share
		}
	}
	return least, len(l.at) > 0
}

// rest keeps whoever has no weight where it is on its curves. Once it has weight, it comes back: at half of what it
// had reached, warming.
func (w *world) rest(next *fleet.Snapshot, now time.Time) {
	if !w.weighed(next) {
		return
	}
	full := map[string]float64{} // the greatest in any service
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			full[e.Incarnation] = max(full[e.Incarnation], e.Full())
		}
	}
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			switch l := w.lives[e.Incarnation]; {
			case l.resting == (full[e.Incarnation] == 0):
			case l.resting:
				w.comeBack(l, e, now)
			default:
				l.resting = true
				for p, at := range l.at {
					l.at[p] = spot{warmup.Rest(at.Member, at.curve, e.Age), at.curve}
				}
			}
		}
	}
	w.restage(next)
}

// weighed says whether somebody may have got weight, or lost it.
func (w *world) weighed(next *fleet.Snapshot) bool {
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			if w.lives[e.Incarnation].resting == (e.Full() > 0) {
				return true
			}
		}
	}
	return false
}

func (w *world) comeBack(l *life, e *fleet.Endpoint, now time.Time) {
	l.resting = false
	least := 1.0
	for p, at := range l.at {
		at.Member = warmup.Return(at.Member, e.Age)
		l.at[p] = at
		least = min(least, warmup.Progress(at.curve, at.Member, e.Age))
	}
	if least < 1 && !optedOut(e) {
		l.skipped = ""
		w.advance(l, e.Incarnation, lifecycle.Rewarm, fmt.Sprintf("its weight is no longer 0; from %v %% of the way", math.Floor(1000*least)/10), now)
	}
}

// restage shows everybody in the stage that it is in now.
func (w *world) restage(next *fleet.Snapshot) {
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			e.Stage = w.lives[e.Incarnation].Stage
		}
	}
}

// moved is where an endpoint is whose label says that it has no warm-up, or that has come to the end of one that
// somebody moved. Who was moved to the end stays marked until it would have come there by itself: until then its age
// alone does not say why its share is whole.
func (l *life) moved(m fleet.Member, e *fleet.Endpoint, w fleet.Warmup) fleet.Member {
	whole := warmup.Progress(w, m, e.Age) >= 1
	switch {
	case !whole && optedOut(e):
		m = warmup.Skip.Apply(m, w, e.Age)
		l.skipped = "its label " + fleet.WarmupLabel + " is off"
	case whole:
		m.Paused, m.Recovered = false, false
		m.Manual = m.Manual && e.Age < w.Window
	}
	return m
}

// optedOut says whether an endpoint's own label says that it needs no warm-up.
func optedOut(e *fleet.Endpoint) bool { return e.Labels[fleet.WarmupLabel] == "off" }

// prune forgets pools that there are no more.
func (w *world) prune(next *fleet.Snapshot) {
	there := map[poolKey]bool{}
	for i := range next.Services {
		for j := range next.Services[i].Pools {
			there[poolKey{next.Services[i].Name, next.Services[i].Pools[j].Subset}] = true
		}
	}
	for k, gone := range w.pools {
		if there[k] {
			continue
		}
		delete(w.pools, k)
		for _, l := range w.lives {
			delete(l.at, gone)
		}
		for _, m := range w.past {
			delete(m.at, gone)
		}
	}
}

// find returns the service of a name in a snapshot, whose services are sorted.
func find(services []fleet.Service, name string) *fleet.Service {
	i, found := slices.BinarySearchFunc(services, name, func(s fleet.Service, name string) int { return strings.Compare(s.Name, name) })
	if !found {
		return nil
	}
	return &services[i]
}

// mature ends the warm-up of everyone whose progress is whole in every pool of every service, and says whether
// it did anything.
func (w *world) mature(next *fleet.Snapshot, now time.Time) bool {
	warming := map[string]bool{}
	for i := range next.Services {
		s := &next.Services[i]
		for j := range s.Pools {
			p := &s.Pools[j]
			for _, m := range p.Members {
				e := &s.Endpoints[m.Endpoint]
				if e.Stage == fleet.Warming && warmup.Progress(p.Policy.WarmupOf(e), m, e.Age) < 1 {
					warming[e.Incarnation] = true
				}
			}
		}
	}
	var done []string
	for incarnation, l := range w.lives {
		if l.Stage == fleet.Warming && !warming[incarnation] {
			done = append(done, incarnation)
		}
	}
	if len(done) == 0 {
		return false
	}
	slices.Sort(done) // so that it is told in the same order each time
	for _, incarnation := range done {
		w.advance(w.lives[incarnation], incarnation, lifecycle.Matured, "", now)
	}
	w.restage(next)
	return true
}

// wake is how long the world may sleep: not at all where somebody has drained, until somebody matures, or for as long as
// that others stopped saying something need not be noticed.
func (w *world) wake(now time.Time, most time.Duration) time.Duration {
	last := map[string]time.Duration{} // of those who warm up: until the last of their ramps is over
	for i := range w.view.Services {
		s := &w.view.Services[i]
		for j := range s.Pools {
			p := &s.Pools[j]
			for _, m := range p.Members {
				e := &s.Endpoints[m.Endpoint]
				if e.Stage == fleet.Warming {
					last[e.Incarnation] = max(last[e.Incarnation], left(p.Policy.WarmupOf(e), m, w.view.Age(e, now)))
				}
			}
		}
	}
	wait := most
	for _, l := range w.lives {
		if l.Stage == fleet.Draining && w.clearOf(l) { // there is no gateway to wait for
			wait = time.Millisecond
		}
	}
	for _, d := range last {
		wait = min(wait, max(d, time.Millisecond))
	}
	return wait
}

// left is how long a ramp goes on: for ever where it stands still.
func left(w fleet.Warmup, m fleet.Member, age time.Duration) time.Duration {
	switch p := warmup.Progress(w, m, age); {
	case p >= 1:
		return 0
	case m.Paused || m.Drained:
		return math.MaxInt64
	default:
		return time.Duration(math.Ceil((1 - p) * float64(w.Window)))
	}
}

// measure publishes the capacity that is in force in every pool.
func (w *world) measure(next *fleet.Snapshot, now time.Time) {
	for i := range next.Services {
		s := &next.Services[i]
		old := find(w.view.Services, s.Name)
		for j := range s.Pools {
			p := &s.Pools[j]
			known := w.pool(s.Name, p.Subset)
			if before := subset(old, p.Subset); before != nil { // as it was until now, before this change
				known.capacity.Stood(old, before, now.Sub(w.view.Taken), now)
			}
			known.capacity.Measure(s, p, now)
		}
	}
}

// subset finds a pool of s, which may be nil.
func subset(s *fleet.Service, name string) *fleet.Pool {
	if s == nil {
		return nil
	}
	for i := range s.Pools {
		if s.Pools[i].Subset == name {
			return &s.Pools[i]
		}
	}
	return nil
}

func addrPort(a netip.Addr, port uint32) netip.AddrPort {
	return netip.AddrPortFrom(a, uint16(port)) //nolint:gosec // configuration bounds ports to 1–65535.
}
