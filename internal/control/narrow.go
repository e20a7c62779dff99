package control

import (
	"cmp"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// published is what whoever follows is shown.
type published struct {
	view     fleet.View
	doubted  map[string]bool                  // see world.doubted
	recorded map[string][]fleet.WarmupRequest // see world.record
	counts   map[string]uint64                // of agents' events, by kind

	registries []fleet.RegistryState
}

// narrowed calls apply with what of each view is about one incarnation, once that differs from what it was last called
// with: no agent hears of others.
func (c *Control) narrowed(incarnation string, apply func(fleet.View)) func(fleet.View) {
	var last *fleet.Snapshot
	return func(v fleet.View) {
		next := c.narrow(v, incarnation)
		if last != nil && same(last, next) {
			return
		}
		last = next
		apply(fleet.View{Snapshot: next, Taken: v.Taken})
	}
}

// narrow is what of a view is about one incarnation: itself, the services that it is an endpoint of, with nobody else in
// them, and its Lifecycle.
func (c *Control) narrow(v fleet.View, incarnation string) *fleet.Snapshot {
	next := &fleet.Snapshot{Number: v.Number, Config: v.Config}
	var names, keys []string
	its := func(s *fleet.Service) {
		if !slices.Contains(keys, key(s.Namespace, s.Host)) {
			// A Lifecycle names its service without the namespace; a host outside default has it: "reviews.prod".
			names, keys = append(names, strings.TrimSuffix(s.Host, "."+s.Namespace)), append(keys, key(s.Namespace, s.Host))
		}
	}
	for _, at := range c.positions(v.Snapshot)[incarnation] {
		its(&v.Services[at.service])
		next.Services = append(next.Services, alone(&v.Services[at.service], at.endpoint))
	}
	i, found := slices.BinarySearchFunc(v.Instances, incarnation, func(in fleet.Instance, want string) int {
		return cmp.Compare(in.Incarnation, want)
	})
	if !found {
		return next
	}
	in := v.Instances[i]
	next.Instances = []fleet.Instance{in}
	if len(names) == 0 { // it has left
		for i := range v.Services {
			if _, was := member(&v.Services[i], &in); was {
				its(&v.Services[i])
			}
		}
	}
	l, _ := fleet.LifecycleFor(v.Lifecycles, in.Namespace, names, in.Labels) // what is wrong with its labels has been told
	if !in.Ready {
		l = withRecorded(l, keys, c.latest().recorded)
	}
	next.Lifecycles = []fleet.Lifecycle{l}
	return next
}

// alone is a service with one of its endpoints.
func alone(s *fleet.Service, endpoint int) fleet.Service {
	own := *s
	own.Endpoints, own.Resolve = []fleet.Endpoint{s.Endpoints[endpoint]}, nil
	own.Pools = nil
	for i := range s.Pools {
		p := s.Pools[i]
		at := slices.IndexFunc(p.Members, func(m fleet.Member) bool { return m.Endpoint == endpoint })
		if at < 0 && i > 0 {
			continue
		}
		p.Capacity, p.Places, p.Members = 0, nil, slices.Clone(p.Members[max(0, at):at+1])
		for j := range p.Members {
			p.Members[j].Endpoint = 0
		}
		own.Pools = append(own.Pools, p)
	}
	return own
}

// A position is where an endpoint is in a snapshot.
type position struct{ service, endpoint int }

// index says where everybody is in one snapshot. It is made when the first agent asks, for all.
type index struct {
	snapshot *fleet.Snapshot
	at       map[string][]position // by incarnation
}

// positions returns where everybody is in a snapshot, for nobody to write to.
func (c *Control) positions(s *fleet.Snapshot) map[string][]position {
	c.indexing.Lock()
	defer c.indexing.Unlock()
	if c.index.snapshot == s {
		return c.index.at
	}
	at := map[string][]position{}
	for i := range s.Services {
		for j := range s.Services[i].Endpoints {
			incarnation := s.Services[i].Endpoints[j].Incarnation
			at[incarnation] = append(at[incarnation], position{i, j})
		}
	}
	c.index = index{s, at}
	return at
}

// Checks lists the endpoints whose active check control wants to hear of: those that wait to be offered, and those for
// which nobody else vouches. Each incarnation is in it once.
func (c *Control) Checks(v fleet.View) []*fleet.Endpoint {
	doubted := c.latest().doubted
	var list []*fleet.Endpoint
	seen := map[string]bool{}
	for i := range v.Services {
		for j := range v.Services[i].Endpoints {
			e := &v.Services[i].Endpoints[j]
			if (e.Stage == fleet.Starting || doubted[e.Incarnation]) && !seen[e.Incarnation] {
				seen[e.Incarnation] = true
				list = append(list, e)
			}
		}
	}
	return list
}
