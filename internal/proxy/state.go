package proxy

import (
	"net/netip"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/route"
	"crossfade.dev/internal/upstream"
)

// A State is everything that requests go by at one moment. It is immutable, but for the counters it points to.
type State struct {
	view      fleet.View
	overlay   fleet.Overlay
	services  []*Service
	listeners []*Listener
	pools     map[destinationKey]*Pool
	callers   map[string]*caller // the instances that may call, by name
	names     []string           // of workloads that call, by caller.number − 1; it only grows
	buffers   *upstream.Buffers  // of all connections to endpoints
	memory    *http2.Memory      // likewise
	tls       outward            // how endpoints of TLS are spoken to
}

// A Service is one service with its pools: the whole first, then its subsets, as in fleet.Service.Pools.
type Service struct {
	*fleet.Service
	Pools     []*Pool
	Endpoints []*Endpoint   // parallel to fleet.Service.Endpoints
	ways      []way         // in which its endpoints are spoken to: Endpoint.conns first, then Endpoint.also
	traffic   evidence.Book // of endpoints, by incarnation
	pools     evidence.Book // of pools, by subset
	requests  evidence.Book // likewise, of what was routed to them
	callers   *evidence.Callers
	direct    *evidence.Traffic // what came past the gateways to the instance that a front stands before; nil where no sidecar is
}

// A Pool is a service or one of its subsets, ready to be picked from.
type Pool struct {
	*fleet.Pool
	Service   *Service
	Balancer  *balancer.Balancer
	Traffic   *evidence.Traffic         // what was sent
	Requests  *evidence.Traffic         // what was routed here, each once, with what clients were answered; Retry are those sent again, what is open is Total less Ends
	Endpoints []*Endpoint               // parallel to Balancer.Endpoints()
	requests  []*evidence.Traffic       // where a request that is routed here is counted: Requests, the whole service's first
	books     []*evidence.Traffic       // where a request that is routed here is counted before an endpoint is picked
	hash      *fleet.Hash               // what a request's key is made of; nil where keys make no difference
	named     map[string]netip.AddrPort // by authority: what a request may name; nil where that makes no difference
	way       way                       // how its endpoints are spoken to
	also      int                       // which of an endpoint's connections it takes: see Endpoint.also; 0: conns
}

// An Endpoint is one endpoint with the connections to it.
type Endpoint struct {
	*fleet.Endpoint
	Traffic *evidence.Traffic
	conns   *upstream.Pool
	also    []*upstream.Pool    // where subsets speak to it in other ways than the service does: by Pool.also − 1
	reveal  []byte              // its name, for X-Crossfade-Endpoint
	front   bool                // the front of an instance, which hears who we are and whose word is taken: see heed
	books   []*evidence.Traffic // its own, that of its service, and that of the subset whose pool it is in
}

// endpointKey is what makes an endpoint of a service the same over all states.
type endpointKey struct {
	incarnation string
	address     netip.AddrPort
}

type destinationKey struct{ service, subset string }

// A Listener is one listener with its routes.
type Listener struct {
	*fleet.Listener
	Traffic *evidence.Downstream
	table   *route.Table
	edge    bool      // its clients are strangers: neither the mesh nor a gateway before a sidecar
	courses []*course // by Rule.Number
	pools   [][]*Pool // by Rule.Number, then by destination; nil where the service does not exist
}

// Traffic returns what the service's endpoints counted, by incarnation. The caller must not change it.
func (s *Service) Traffic() evidence.Book { return s.traffic }

// Callers counts the requests that instances have sent to the service over the mesh port, by numbers that
// [State.CallerName] knows.
func (s *Service) Callers() *evidence.Callers { return s.callers }

// CallerName is the workload that a number of a caller stands for; "others" are all that there was no number for.
func (s *State) CallerName(caller int) string {
	if caller < 1 || caller > len(s.names) {
		return "others"
	}
	return s.names[caller-1]
}

// View returns what the state was compiled from.
func (s *State) View() fleet.View { return s.view }

// Overlay returns what the state was compiled from.
func (s *State) Overlay() fleet.Overlay { return s.overlay }

// Services returns every service, in the order of the snapshot. The caller must not change it.
func (s *State) Services() []*Service { return s.services }

// Listeners returns every listener, in the order of the snapshot. The caller must not change it.
func (s *State) Listeners() []*Listener { return s.listeners }

// Listener returns the listener of that name, nil if there is none.
func (s *State) Listener(name string) *Listener {
	for _, l := range s.listeners {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// lead finds the pools that the listener's rules lead to in s.
func (l *Listener) lead(s *State) {
	for _, c := range l.courses {
		pools := make([]*Pool, len(c.lanes))
		for i := range c.lanes {
			pools[i] = s.pools[c.lanes[i].to]
		}
		l.pools = append(l.pools, pools)
	}
}

// isEdge says whether clients come to the listener from outside: it is not the mesh's, and none of its rules leads
// to the instance that a sidecar stands before.
func (l *Listener) isEdge() bool {
	if l.Mesh {
		return false
	}
	for _, pools := range l.pools {
		for _, p := range pools {
			if p != nil && p.Service.Inbound {
				return false
			}
		}
	}
	return true
}

// outlive returns what a listener that s does not have is to its last connections: the same routes, leading to
// what s has.
func (l *Listener) outlive(s *State) *Listener {
	next := &Listener{Listener: l.Listener, Traffic: l.Traffic, table: l.table, edge: l.edge, courses: l.courses}
	next.lead(s)
	return next
}

// Open returns how many requests are open to each incarnation; those with none are left out.
//
// Once a state is swapped in, an incarnation that it does not offer gets no new request: when it is then
// missing here, it has none and never will.
func (s *State) Open() map[string]int {
	open := map[string]int{}
	for _, service := range s.services {
		for _, e := range service.Endpoints {
			if n := e.Traffic.Active.Load(); n > 0 {
				open[e.Incarnation] += int(n)
			}
		}
	}
	return open
}

// Warming says whether any endpoint's share is still growing, so that the state must be compiled again at the
// next tick.
func (s *State) Warming() bool {
	for _, service := range s.services {
		for _, pool := range service.Pools {
			if pool.Balancer.Warming() {
				return true
			}
		}
	}
	return false
}

func (s *State) sweep(now time.Time) {
	for _, service := range s.services {
		for _, e := range service.Endpoints {
			e.each(func(p *upstream.Pool) { p.Sweep(now) })
		}
	}
}

// begin counts a request as open: from before it is certain to be sent until after its answer's last byte.
func (e *Endpoint) begin() {
	for _, t := range e.books {
		t.Active.Add(1)
	}
}

func (e *Endpoint) end() {
	for _, t := range e.books {
		t.Active.Add(-1)
	}
}
