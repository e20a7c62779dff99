package proxy

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/route"
	"crossfade.dev/internal/upstream"
	"crossfade.dev/internal/warmup"
)

// Compile makes the state of view and overlay at now from the previous one, nil the first time: connections,
// counts and balancers are carried over for everything that is in both. o.ID, o.Seed, o.Locality, o.Labels and
// o.Upstream are read, and must not change between states. It starts nothing and closes nothing; see [Proxy.Swap].
// An error names the listener whose routes are wrong.
//
// The work is in proportion to what is new: a service stays as it is, with its balancers, while its part of the
// snapshot says the same, nobody in it warms and nothing more was noted about its endpoints. Ages alone make no
// difference; those of [Service.Endpoints] may thus be of an older snapshot, true at its own moment.
func Compile(prev *State, view fleet.View, overlay fleet.Overlay, o Options, now time.Time) (*State, error) {
	if prev == nil {
		prev = &State{buffers: new(upstream.Buffers), memory: new(http2.Memory)}
	}
	c := compiler{
		prev: prev,
		next: &State{
			view: view, overlay: overlay, buffers: prev.buffers, memory: prev.memory,
			services:  make([]*Service, 0, len(view.Services)),
			listeners: make([]*Listener, 0, len(view.Listeners)),
			pools:     make(map[destinationKey]*Pool, len(prev.pools)),
		},
		// Balancers outlive snapshots. What they keep must not hold all the rest.
		view:     fleet.View{Snapshot: &fleet.Snapshot{Number: view.Number, Gateways: view.Gateways}, Taken: view.Taken},
		o:        o,
		now:      now,
		position: max(0, slices.Index(view.Gateways, o.ID)),
		later:    prev.view.Snapshot == view.Snapshot,
		steady:   prev.view.Snapshot != nil && slices.Equal(prev.view.Gateways, view.Gateways),
		noted:    differing(prev.overlay, overlay),
	}
	if c.o.Upstream.Buffers == nil {
		c.o.Upstream.Buffers = prev.buffers
	}
	if c.o.Upstream.HTTP2.Memory == nil {
		c.o.Upstream.HTTP2.Memory = prev.memory
	}
	if c.next.callers, c.next.names = prev.callers, prev.names; !c.later {
		c.next.callers = callers(view.Instances)
		c.next.names = number(c.next.callers, view.Instances, prev.names)
	}
	c.services()
	for i := range view.Listeners {
		if err := c.listener(&view.Listeners[i]); err != nil {
			return nil, err
		}
	}
	return c.next, nil
}

// differing lists the incarnations about which two overlays say different things.
func differing(a, b fleet.Overlay) []string {
	var list []string
	for incarnation, m := range a {
		if other, ok := b[incarnation]; !ok || other != m {
			list = append(list, incarnation)
		}
	}
	for incarnation := range b {
		if _, ok := a[incarnation]; !ok {
			list = append(list, incarnation)
		}
	}
	return list
}

// A compiler is one run of Compile.
type compiler struct {
	prev, next *State
	view       fleet.View
	o          Options
	now        time.Time
	position   int
	later      bool     // the same snapshot at a later moment
	steady     bool     // no gateway came or went: probes fall due as before
	noted      []string // incarnations about which the overlay says something else than before
}

func (c *compiler) services() {
	services := c.next.view.Services
	before := make(map[string]*Service, len(c.prev.services))
	for _, s := range c.prev.services {
		before[s.Name] = s
	}
	for i := range services {
		next := before[services[i].Name]
		switch {
		case next == nil:
			next = c.service(&Service{}, &services[i])
		case !c.stands(next, &services[i]):
			next = c.service(next, &services[i])
		}
		c.next.services = append(c.next.services, next)
		for _, p := range next.Pools {
			c.next.pools[destinationKey{next.Name, p.Subset}] = p
			c.keepTLS(p.way.tls)
		}
	}
}

// stands says whether prev is what would come out for s.
func (c *compiler) stands(prev *Service, s *fleet.Service) bool {
	if !c.steady {
		return false
	}
	for _, p := range prev.Pools {
		if p.Balancer.Warming() {
			return false
		}
	}
	for _, incarnation := range c.noted {
		if prev.traffic[incarnation] != nil {
			return false
		}
	}
	return c.later || unchanged(prev.Service, s)
}

func (c *compiler) service(prev *Service, s *fleet.Service) *Service {
	own := *s // of the snapshot's array of services, which would stay with all of them
	next := &Service{Service: &own}
	ways := c.ways(prev, s)
	next.ways = distinct(ways)
	c.endpoints(prev, next)
	subsets := make([]string, len(s.Pools))
	for i := range s.Pools {
		subsets[i] = s.Pools[i].Subset
	}
	next.pools, next.requests = prev.pools.Next(subsets), prev.requests.Next(subsets)
	if next.callers = prev.callers; next.callers == nil {
		next.callers = new(evidence.Callers)
	}
	if next.direct = prev.direct; next.direct == nil && s.Inbound {
		next.direct = new(evidence.Traffic)
	}
	for i := range s.Pools {
		c.pool(prev, next, i, ways[i])
	}
	return next
}

// endpoints compiles the endpoints of next. Most of the time they are those of prev, in the same order.
func (c *compiler) endpoints(prev, next *Service) {
	all := next.Service.Endpoints
	known := heirs(prev, all)
	if prev.traffic != nil && sameIncarnations(prev.Service.Endpoints, all) {
		next.traffic = prev.traffic
	} else {
		incarnations := make([]string, len(all))
		for i := range all {
			incarnations[i] = all[i].Incarnation
		}
		next.traffic = prev.traffic.Next(incarnations)
	}
	room := make([]Endpoint, len(all))
	books := make([]*evidence.Traffic, 2*len(all)) // its own, its service's
	next.Endpoints = make([]*Endpoint, len(all))
	for i := range all {
		e := &all[i]
		made := &room[i]
		next.Endpoints[i] = made
		made.Endpoint, made.Traffic = e, next.traffic[e.Incarnation]
		made.front = e.Front && !next.Service.Inbound
		made.books = append(books[2*i:2*i:2*i+2], made.Traffic)
		old := known(i)
		if old != nil && old.Name == e.Name {
			made.reveal = old.reveal
		} else {
			made.reveal = []byte(e.Name)
		}
		c.connect(made, old, next.ways, prev.ways)
	}
}

// heirs returns a function that finds, for the i-th of endpoints, the one of prev with the same incarnation and
// address, nil if there is none. While they stand in the same places nothing is looked up.
func heirs(prev *Service, endpoints []fleet.Endpoint) func(i int) *Endpoint {
	var by map[endpointKey]*Endpoint
	return func(i int) *Endpoint {
		e := &endpoints[i]
		if i < len(prev.Endpoints) {
			if old := prev.Endpoints[i]; old.Incarnation == e.Incarnation && old.Address == e.Address {
				return old
			}
		}
		if by == nil {
			by = make(map[endpointKey]*Endpoint, len(prev.Endpoints))
			for _, old := range prev.Endpoints {
				by[endpointKey{old.Incarnation, old.Address}] = old
			}
		}
		return by[endpointKey{e.Incarnation, e.Address}]
	}
}

// pool compiles the i-th pool of next, whose endpoints are spoken to in a way. Pools[0] is the whole service, so that its endpoints' books are complete when
// those of subsets are made from them.
func (c *compiler) pool(prev, next *Service, i int, w way) {
	p := &next.Service.Pools[i]
	pool := &Pool{
		Pool: p, Service: next, Traffic: next.pools[p.Subset], Requests: next.requests[p.Subset],
		hash: hashOf(p), named: namedIn(p, next.Service.Endpoints), way: w,
	}
	var before *balancer.Balancer
	if known := prev.pool(p.Subset); known != nil {
		before = known.Balancer
	}
	pool.Balancer = balancer.Compile(before, balancer.Input{
		View: c.view, Service: next.Service, Pool: p, Overlay: c.next.overlay,
		Traffic: next.traffic, Near: warmup.Near{Locality: c.o.Locality, Labels: c.o.Labels},
		Position: c.position, Seed: c.o.Seed,
	}, c.now)
	pool.also = slices.Index(next.ways, w)
	whole := next.Service.Pools[0].Subset
	pool.books, pool.requests = []*evidence.Traffic{next.pools[whole]}, []*evidence.Traffic{next.requests[whole]}
	if i > 0 {
		pool.books, pool.requests = append(pool.books, pool.Traffic), append(pool.requests, pool.Requests)
	}
	pool.Endpoints = make([]*Endpoint, len(p.Members))
	if i > 0 {
		pool.within(next)
	} else {
		for j, m := range p.Members {
			e := next.Endpoints[m.Endpoint]
			e.books = append(e.books, pool.Traffic)
			pool.Endpoints[j] = e
		}
	}
	next.Pools = append(next.Pools, pool)
}

// pool returns the pool of a subset, nil if there is none.
func (s *Service) pool(subset string) *Pool {
	for _, p := range s.Pools {
		if p.Subset == subset {
			return p
		}
	}
	return nil
}

// within makes the endpoints of a subset: those of the service, with a book more. What is sent to them by another way
// than the subset is not in it.
func (p *Pool) within(s *Service) {
	room, books := make([]Endpoint, len(p.Members)), make([]*evidence.Traffic, 3*len(p.Members))
	for j, m := range p.Members {
		e := &room[j]
		*e = *s.Endpoints[m.Endpoint]
		e.books = append(append(books[3*j:3*j:3*j+3], e.books...), p.Traffic)
		p.Endpoints[j] = e
	}
}

func (c *compiler) listener(l *fleet.Listener) error {
	next := &Listener{Listener: l, Traffic: new(evidence.Downstream)}
	prev := c.prev.Listener(l.Name)
	if prev != nil {
		next.Traffic = prev.Traffic
	}
	if prev != nil && (prev.Listener == l || reflect.DeepEqual(prev.Listener, l)) {
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
