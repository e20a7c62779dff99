package control

import (
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
	"crossfade.dev/internal/warmup"
)

type poolKey struct{ service, subset string }

// A pool is what control remembers of one from snapshot to snapshot.
type pool struct {
	warmup   fleet.Warmup // that was in force
	capacity warmup.Capacity
}

// pool returns what is remembered of a pool; nothing when it is new.
func (w *world) pool(service string, p *fleet.Pool) *pool {
	k := poolKey{service, p.Subset}
	known := w.pools[k]
	if known == nil {
		known = &pool{warmup: p.Policy.Warmup}
		w.pools[k] = known
	}
	return known
}

// restorePools remembers the pools of a service of the last snapshot.
func (w *world) restorePools(s *fleet.Service, now time.Time) {
	for i := range s.Pools {
		p := &s.Pools[i]
		known := w.pool(s.Name, p)
		known.capacity.Resume(s, p, now.Sub(w.view.Taken), now)
		for _, m := range p.Members {
			if l := w.lives[s.Endpoints[m.Endpoint].Incarnation]; !l.Offered.IsZero() || m.Manual {
				l.at[known] = m
			}
		}
	}
}

// fill puts the endpoints of s that belong to p into it, each where it is on p's curve. Those who have not been
// offered yet are as good as new, unless somebody has moved them.
func (w *world) fill(s *fleet.Service, p *fleet.Pool) {
	known := w.pool(s.Name, p)
	p.Members = make([]fleet.Member, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if !has(e.Labels, p.Labels) {
			continue
		}
		l := w.lives[e.Incarnation]
		m, placed := l.at[known]
		if placed {
			m = warmup.Rebase(m, known.warmup, p.Policy.Warmup, e.Age)
		}
		m.Endpoint = i
		m = l.moved(m, e, p.Policy.Warmup)
		if !l.Offered.IsZero() || m.Manual {
			l.at[known] = m
		}
		p.Members = append(p.Members, m)
	}
	known.warmup = p.Policy.Warmup
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
		m.Paused = false
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

func find(services []fleet.Service, name string) *fleet.Service {
	for i := range services {
		if services[i].Name == name {
			return &services[i]
		}
	}
	return nil
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
				if e.Stage == fleet.Warming && warmup.Progress(p.Policy.Warmup, m, e.Age) < 1 {
					warming[e.Incarnation] = true
				}
			}
		}
	}
	var done bool
	for incarnation, l := range w.lives {
		if l.Stage == fleet.Warming && !warming[incarnation] {
			w.advance(l, incarnation, lifecycle.Matured, "", now)
			done = true
		}
	}
	if !done {
		return false
	}
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			e.Stage = w.lives[e.Incarnation].Stage
		}
	}
	return true
}

// measure publishes the capacity that is in force in every pool.
func (w *world) measure(next *fleet.Snapshot, now time.Time) {
	for i := range next.Services {
		s := &next.Services[i]
		old := find(w.view.Services, s.Name)
		for j := range s.Pools {
			p := &s.Pools[j]
			known := w.pool(s.Name, p)
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
