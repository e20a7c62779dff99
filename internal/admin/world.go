package admin

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/warmup"
)

// A World is everything that a program knows at one moment. What it points to may go on counting; nothing in it
// may otherwise change once it was handed out.
type World struct {
	View        fleet.View
	Overlay     fleet.Overlay                   // what this program knows on top; may be nil
	Pools       []Pool                          // none where the program does not balance: all of View's are shown, without traffic
	Listeners   map[string]*evidence.Downstream // by name
	Streams     *http2.Stats                    // of all clients' connections of HTTP/2; nil where the program serves none
	Drain       *drain.Report                   // what its leave has come to, Serving while it stays; nil where the program serves nobody
	Conns       int                             // clients' connections that are open
	AgentEvents map[string]uint64               // what agents told this program, by kind; nil where they tell it nothing
	Registries  []fleet.RegistryState           // that this program follows, sorted by name
	Leaves      *Leaves                         // of the data planes that this program runs; nil where it runs none
	Locality    fleet.Locality                  // where this program stands
	Ready       bool
	ReadyReason string // why it is not ready
}

// A Pool is one pool of a service, with what passed it.
type Pool struct {
	Service   *fleet.Service
	Pool      *fleet.Pool       // one of Service.Pools
	Traffic   *evidence.Traffic // what was sent; may be nil
	Requests  *evidence.Traffic // what was routed here, each once; may be nil
	Endpoints evidence.Book     // of the service's endpoints, by incarnation; may be shared between its pools
	Shares    []balancer.Share  // of the pool's endpoints; nil where the program does not balance
	Groups    []warmup.Group    // likewise
}

// counts returns what the pool counted. Connections are its endpoints': whichever pool a request came by, it may use
// any that is open.
func (p Pool) counts() evidence.Counts {
	c := p.Traffic.Counts()
	c.ActiveConnects = 0
	for _, e := range p.members() {
		if t := p.Endpoints[e.Incarnation]; t != nil {
			c.ActiveConnects += t.ActiveConnects.Load()
		}
	}
	return c
}

// normal returns the world with nothing nil where others would trip: a program that has no snapshot yet, or
// no pools.
func (w World) normal() World {
	if w.View.Snapshot == nil {
		w.View.Snapshot = new(fleet.Snapshot)
	}
	if len(w.Pools) > 0 {
		return w
	}
	for i := range w.View.Services {
		s := &w.View.Services[i]
		for j := range s.Pools {
			w.Pools = append(w.Pools, Pool{Service: s, Pool: &s.Pools[j]})
		}
	}
	return w
}

// viewAge returns how old the view is: since its ages were true.
func (w World) viewAge(now time.Time) time.Duration {
	if w.View.Taken.IsZero() {
		return 0
	}
	return max(0, now.Sub(w.View.Taken))
}

// envoyName returns the pool's name as Istio gives it to Envoy: "outbound|9080|v2|reviews", "inbound|9080||".
func (p Pool) envoyName() string {
	direction, host := "outbound", p.Service.Host
	if p.Service.Inbound {
		direction, host = "inbound", ""
	}
	return direction + "|" + strconv.FormatUint(uint64(p.Service.Port), 10) + "|" + p.Pool.Subset + "|" + host
}

// members returns the pool's endpoints in the order of their names and addresses.
func (p Pool) members() []*fleet.Endpoint {
	members := make([]*fleet.Endpoint, 0, len(p.Pool.Members))
	for _, m := range p.Pool.Members {
		if m.Endpoint >= 0 && m.Endpoint < len(p.Service.Endpoints) {
			members = append(members, &p.Service.Endpoints[m.Endpoint])
		}
	}
	slices.SortStableFunc(members, func(x, y *fleet.Endpoint) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), x.Address.Compare(y.Address), cmp.Compare(x.Incarnation, y.Incarnation))
	})
	return members
}

// places returns where the pool's endpoints are on its curve.
func (p Pool) places() map[*fleet.Endpoint]fleet.Member {
	places := make(map[*fleet.Endpoint]fleet.Member, len(p.Pool.Members))
	for _, m := range p.Pool.Members {
		if m.Endpoint >= 0 && m.Endpoint < len(p.Service.Endpoints) {
			places[&p.Service.Endpoints[m.Endpoint]] = m
		}
	}
	return places
}

// shares returns the pool's shares by incarnation.
func (p Pool) shares() map[string]*balancer.Share {
	shares := make(map[string]*balancer.Share, len(p.Shares))
	for i := range p.Shares {
		if s := &p.Shares[i]; s.Endpoint != nil {
			shares[s.Endpoint.Incarnation] = s
		}
	}
	return shares
}

// An address gathers what one address counted: usually one incarnation, while one follows another on the same
// address both. Stats and metrics are named by address, so that a restart goes on where its predecessor was.
type address struct {
	Youngest *fleet.Endpoint // there
	Counts   evidence.Counts // of all that are there
	Share    *balancer.Share // of the youngest; nil where the program does not balance
}

// addresses returns what the pool's endpoints counted, one entry per address, in the order of [Pool.members].
func (p Pool) addresses() []address {
	members := p.members()
	all, where := make([]address, 0, len(members)), make(map[netip.AddrPort]int, len(members))
	for _, e := range members {
		i, there := where[e.Address]
		if !there {
			i, all = len(all), append(all, address{Youngest: e})
			where[e.Address] = i
		}
		at := &all[i]
		counts := p.Endpoints[e.Incarnation].Counts()
		at.Counts.Merge(&counts)
		if e.Age < at.Youngest.Age {
			at.Youngest = e
		}
	}
	shares := p.shares()
	for i := range all {
		all[i].Share = shares[all[i].Youngest.Incarnation]
	}
	return all
}

// find returns the services that a person means by name: "reviews:9080" is one, "reviews" all of its ports, any
// other name that a service answers to, and "" is everything.
func (w World) find(name string) []*fleet.Service {
	var found []*fleet.Service
	for i := range w.View.Services {
		s := &w.View.Services[i]
		if name == "" || strings.EqualFold(name, s.Name) || strings.EqualFold(name, s.Host) || slices.Contains(s.Names, name) {
			found = append(found, s)
		}
	}
	return found
}

// poolsOf returns the pools of the services that name means; see [World.find].
func (w World) poolsOf(name string) []Pool {
	found := map[string]bool{}
	for _, s := range w.find(name) {
		found[s.Name] = true
	}
	var pools []Pool
	for _, p := range w.Pools {
		if found[p.Service.Name] {
			pools = append(pools, p)
		}
	}
	return pools
}
