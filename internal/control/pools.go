package control

import (
	"net/netip"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
	"crossfade.dev/internal/warmup"
)

// lookback is how far back the capacity before a newcomer is looked for, so that an old endpoint that left a
// moment before its successor came still counts.
const lookback = 10 * time.Second

type poolKey struct{ service, subset string }

// A capacity is what a pool's endpoints could carry in the last moments.
type capacity struct{ samples []sample }

type sample struct {
	at    time.Time
	value float64
}

func (c *capacity) add(value float64, now time.Time) {
	c.samples = slices.DeleteFunc(c.samples, func(s sample) bool { return now.Sub(s.at) > lookback })
	c.samples = append(c.samples, sample{now, value})
}

func (c *capacity) greatest() float64 {
	var most float64
	for _, s := range c.samples {
		most = max(most, s.value)
	}
	return most
}

// fill puts the endpoints of s that belong to p into it, each where it is on p's curve.
func (w *world) fill(s *fleet.Service, p *fleet.Pool) {
	before, policy := w.previous(s.Name, p.Subset)
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if !has(e.Labels, p.Labels) {
			continue
		}
		m, known := before[e.Incarnation]
		if known {
			m = warmup.Rebase(m, policy, p.Policy.Warmup, e.Age)
		}
		m.Endpoint = i
		p.Members = append(p.Members, m)
	}
}

// previous is who was in a pool at the newest snapshot, by incarnation, and the warm-up that was in force.
// Those who had not been offered yet are left out: they are as good as new.
func (w *world) previous(service, subset string) (map[string]fleet.Member, fleet.Warmup) {
	s := find(w.view.Services, service)
	if s == nil {
		return nil, fleet.Warmup{}
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		if p.Subset != subset {
			continue
		}
		members := make(map[string]fleet.Member, len(p.Members))
		for _, m := range p.Members {
			if e := &s.Endpoints[m.Endpoint]; e.Stage != fleet.Starting || e.Age > 0 {
				members[e.Incarnation] = m
			}
		}
		return members, p.Policy.Warmup
	}
	return nil, fleet.Warmup{}
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
				if e.Stage == fleet.Warming && progress(p, m, e.Age) < 1 {
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
	for i := range next.Services {
		for j := range next.Services[i].Endpoints {
			e := &next.Services[i].Endpoints[j]
			e.Stage = w.lives[e.Incarnation].Stage
		}
	}
	return done
}

func progress(p *fleet.Pool, m fleet.Member, age time.Duration) float64 {
	return warmup.Progress(p.Policy.Warmup, m, age)
}

// measure publishes, for every pool in which somebody warms, what its endpoints carried before the oldest of
// those came.
func (w *world) measure(next *fleet.Snapshot, now time.Time) {
	for i := range next.Services {
		s := &next.Services[i]
		for j := range s.Pools {
			w.measurePool(s, &s.Pools[j], now)
		}
	}
}

func (w *world) measurePool(s *fleet.Service, p *fleet.Pool, now time.Time) {
	k := poolKey{s.Name, p.Subset}
	c := w.capacity[k]
	if c == nil {
		c = &capacity{}
		w.capacity[k] = c
	}
	if old := find(w.view.Services, s.Name); old != nil { // as it was until now, before this change
		for i := range old.Pools {
			if old.Pools[i].Subset == p.Subset {
				c.add(effective(old, &old.Pools[i], now.Sub(w.view.Taken)), now)
			}
		}
	}
	var oldest *life
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		if e.Stage != fleet.Warming || progress(p, m, e.Age) >= 1 {
			continue
		}
		l := w.lives[e.Incarnation]
		if _, ok := l.before[k]; !ok {
			l.before[k] = c.greatest()
		}
		if oldest == nil || l.Offered.Before(oldest.Offered) {
			oldest = l
		}
	}
	p.Capacity = 0
	if oldest != nil {
		p.Capacity = oldest.before[k]
	}
	c.add(effective(s, p, 0), now)
}

// effective is the effective weight of a pool's endpoints when its snapshot is d old.
func effective(s *fleet.Service, p *fleet.Pool, d time.Duration) float64 {
	var sum float64
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		if !e.Stage.Offered() {
			continue
		}
		sum += float64(e.Weight) * warmup.Share(p.Policy.Warmup, progress(p, m, e.Age+d))
	}
	return sum
}

func addrPort(a netip.Addr, port uint32) netip.AddrPort {
	return netip.AddrPortFrom(a, uint16(port)) //nolint:gosec // configuration bounds ports to 1–65535.
}
