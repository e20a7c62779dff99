package proxy

import (
	"fmt"
	"slices"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
	"crossfade.dev/internal/upstream"
	"crossfade.dev/internal/warmup"
)

// Compile makes the state of view and overlay at now from the previous one, nil the first time: connections,
// counts and balancers are carried over for everything that is in both. o.ID, o.Seed and o.Upstream are read.
// It starts nothing and closes nothing; see [Proxy.Swap]. An error names the listener whose routes are wrong.
func Compile(prev *State, view fleet.View, overlay fleet.Overlay, o Options, now time.Time) (*State, error) {
	if prev == nil {
		prev = &State{buffers: new(upstream.Buffers)}
	}
	c := compiler{
		prev: prev,
		next: &State{
			view: view, overlay: overlay, buffers: prev.buffers,
			services:  make([]*Service, 0, len(view.Services)),
			listeners: make([]*Listener, 0, len(view.Listeners)),
			endpoints: make(map[endpointKey]*Endpoint, len(prev.endpoints)),
			pools:     make(map[destinationKey]*Pool, len(prev.pools)),
		},
		o:        o,
		now:      now,
		position: max(0, slices.Index(view.Gateways, o.ID)),
	}
	if c.o.Upstream.Buffers == nil {
		c.o.Upstream.Buffers = prev.buffers
	}
	before := make(map[string]*Service, len(prev.services))
	for _, s := range prev.services {
		before[s.Name] = s
	}
	if c.next.callers = prev.callers; prev.view.Snapshot != view.Snapshot {
		c.next.callers = callers(view.Instances)
	}
	for i := range view.Services {
		c.service(before[view.Services[i].Name], &view.Services[i])
	}
	for i := range view.Listeners {
		if err := c.listener(&view.Listeners[i]); err != nil {
			return nil, err
		}
	}
	return c.next, nil
}

// A compiler is one run of Compile.
type compiler struct {
	prev, next *State
	o          Options
	now        time.Time
	position   int
}

func (c *compiler) service(prev *Service, s *fleet.Service) {
	if prev == nil {
		prev = &Service{}
	}
	next := &Service{Service: s}
	incarnations := make([]string, len(s.Endpoints))
	for i := range s.Endpoints {
		incarnations[i] = s.Endpoints[i].Incarnation
	}
	next.traffic = prev.traffic.Next(incarnations)
	subsets := make([]string, len(s.Pools))
	for i := range s.Pools {
		subsets[i] = s.Pools[i].Subset
	}
	next.pools = prev.pools.Next(subsets)

	for i := range s.Endpoints {
		next.Endpoints = append(next.Endpoints, c.endpoint(next, &s.Endpoints[i]))
	}
	for i := range s.Pools {
		c.pool(prev, next, i)
	}
	c.next.services = append(c.next.services, next)
}

func (c *compiler) endpoint(s *Service, e *fleet.Endpoint) *Endpoint {
	key := endpointKey{s.Name, e.Incarnation, e.Address}
	next := &Endpoint{Endpoint: e, Traffic: s.traffic[e.Incarnation], reveal: []byte(e.Name)}
	next.books = append(next.books, next.Traffic)
	if known := c.prev.endpoints[key]; known != nil {
		next.conns = known.conns
	} else {
		next.conns = upstream.New(e.Address, c.o.Upstream, next.Traffic)
	}
	c.next.endpoints[key] = next
	return next
}

// pool compiles the i-th pool of next. Pools[0] is the whole service, so that an endpoint's books list its
// service before its subsets.
func (c *compiler) pool(prev, next *Service, i int) {
	p := &next.Service.Pools[i]
	pool := &Pool{Pool: p, Service: next, Traffic: next.pools[p.Subset]}
	var before *balancer.Balancer
	for _, known := range prev.Pools {
		if known.Subset == p.Subset {
			before = known.Balancer
		}
	}
	pool.Balancer = balancer.Compile(before, balancer.Input{
		View: c.next.view, Service: next.Service, Pool: p, Overlay: c.next.overlay,
		Traffic: next.traffic, Near: warmup.Near{Locality: c.o.Locality, Labels: c.o.Labels},
		Position: c.position, Seed: c.o.Seed,
	}, c.now)
	pool.books = []*evidence.Traffic{next.pools[next.Service.Pools[0].Subset]}
	if i > 0 {
		pool.books = append(pool.books, pool.Traffic)
	}
	for _, m := range p.Members {
		e := next.Endpoints[m.Endpoint]
		e.books = append(e.books, pool.Traffic)
		pool.Endpoints = append(pool.Endpoints, e)
	}
	c.next.pools[destinationKey{next.Name, p.Subset}] = pool
	next.Pools = append(next.Pools, pool)
}

func (c *compiler) listener(l *fleet.Listener) error {
	next := &Listener{Listener: l, Traffic: new(evidence.Downstream)}
	prev := c.prev.Listener(l.Name)
	if prev != nil {
		next.Traffic = prev.Traffic
	}
	if prev != nil && prev.Listener == l { // the same snapshot at a later moment
		next.table, next.courses = prev.table, prev.courses
	} else {
		var err error
		if next.table, err = route.Compile(l); err == nil {
			next.courses, err = newCourses(next.table)
		}
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
	}
	next.lead(c.next)
	next.edge = next.isEdge()
	c.next.listeners = append(c.next.listeners, next)
	return nil
}
