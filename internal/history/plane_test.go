package history

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
)

// A plane is a data plane as history hears of it: whole sums, and in a report only what has changed since the last that was
// taken.
type plane struct {
	id, run   string
	listeners map[string]*fleet.ListenerTraffic
	services  map[string]*fleet.ServiceTraffic
	endpoints map[endpointKey]*fleet.EndpointTraffic
	latency   map[string]*meter.Histogram // by place
	changed   map[string]bool             // places that have since the last report that was taken
	taken     time.Time
}

func newPlane(id, run string, now time.Time) *plane {
	return &plane{
		id: id, run: run, listeners: map[string]*fleet.ListenerTraffic{}, services: map[string]*fleet.ServiceTraffic{},
		endpoints: map[endpointKey]*fleet.EndpointTraffic{}, latency: map[string]*meter.Histogram{}, changed: map[string]bool{}, taken: now,
	}
}

// took observes a latency at a place and returns all of that place.
func (p *plane) took(place string, d time.Duration, n int) fleet.Buckets {
	h := p.latency[place]
	if h == nil {
		h = &meter.Histogram{}
		p.latency[place] = h
	}
	for range n {
		h.Observe(d)
	}
	s := h.Snapshot()
	var list fleet.Buckets
	if s.Low() > 0 {
		list = append(list, [2]int64{meter.MinIndex - 1, int64(s.Low())})
	}
	s.Buckets(func(i int, n uint64) bool {
		list = append(list, [2]int64{int64(i), int64(n)})
		return true
	})
	return list
}

// serve counts n requests that came in from outside, and were sent to one endpoint of a service.
func (p *plane) serve(service, incarnation string, kind ending.Kind, n int, took time.Duration) {
	l := p.listeners["http"]
	if l == nil {
		l = &fleet.ListenerTraffic{Name: "http"}
		p.listeners["http"] = l
	}
	s := p.services[service]
	if s == nil {
		s = &fleet.ServiceTraffic{Service: service, Callers: map[string]uint64{}}
		p.services[service] = s
	}
	key := endpointKey{service, incarnation}
	e := p.endpoints[key]
	if e == nil {
		e = &fleet.EndpointTraffic{Service: service, Incarnation: incarnation, Share: 1}
		p.endpoints[key] = e
	}
	l.Requests += uint64(n)
	l.Ended[kind] += uint64(n)
	s.Ended[kind] += uint64(n)
	s.Callers[""] += uint64(n)
	e.Requests += uint64(n)
	e.Due += float64(n)
	e.Got += uint64(n)
	if kind.Lost() {
		e.Failed += uint64(n)
	} else {
		l.Latency, s.Latency = p.took("l", took, n), p.took("s/"+service, took, n)
		e.Latency = p.took("e/"+service+incarnation, took, n)
		l.Codes = []fleet.Code{{Status: 200, N: l.Ended[ending.Served]}}
		s.Codes = []fleet.Code{{Status: 200, N: s.Ended[ending.Served]}}
	}
	p.changed["l"], p.changed["s/"+service], p.changed["e/"+service+incarnation] = true, true, true
}

// report is what has changed since the last that was taken, or everything.
func (p *plane) report(now time.Time, everything, leaving bool) fleet.Report {
	t := &fleet.Traffic{Run: p.run, Span: now.Sub(p.taken)}
	for _, name := range slices.Sorted(maps.Keys(p.listeners)) {
		if everything || p.changed["l"] {
			t.Listeners = append(t.Listeners, *p.listeners[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.services)) {
		if everything || p.changed["s/"+name] {
			row := *p.services[name]
			row.Callers = maps.Clone(row.Callers)
			t.Services = append(t.Services, row)
		}
	}
	for key, e := range p.endpoints {
		if everything || p.changed["e/"+key.service+key.incarnation] {
			t.Endpoints = append(t.Endpoints, *e)
		}
	}
	return fleet.Report{From: p.id, Role: "gateway", Traffic: t, Leaving: leaving}
}

func (p *plane) wasTaken(now time.Time) {
	clear(p.changed)
	p.taken = now
}

func opened(t rapid.TB, dir string, now time.Time) *History {
	t.Helper()
	h, err := start(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}, now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fleetOf is a view of services with endpoints, "name:80" and "name-0" on, half of them of version v1 and half of v2.
func fleetOf(number uint64, now time.Time, endpoints int, services ...string) fleet.View {
	s := &fleet.Snapshot{Number: number, Config: "c1", Gateways: []string{"gw-1", "gw-2"}}
	for _, name := range services {
		service := fleet.Service{Name: name + ":80", Host: name, Namespace: "shop", Port: 80, Protocol: "http", Pools: []fleet.Pool{{}}}
		for i := range endpoints {
			id := fmt.Sprintf("%s-%d", name, i)
			version := "v1"
			if 2*i >= endpoints && i > 0 {
				version = "v2"
			}
			service.Endpoints = append(service.Endpoints, fleet.Endpoint{
				Name: id, Incarnation: id, Address: netip.MustParseAddrPort("127.1.0.1:80"), Labels: map[string]string{"version": version},
				Weight: 1, Stage: fleet.Serving, Age: time.Hour,
			})
			service.Pools[0].Members = append(service.Pools[0].Members, fleet.Member{Endpoint: i, Base: 1})
			s.Instances = append(s.Instances, fleet.Instance{Name: id, Namespace: "shop", Workload: name, Revision: version, Incarnation: id, Ready: true})
		}
		s.Services = append(s.Services, service)
	}
	slices.SortFunc(s.Instances, func(a, b fleet.Instance) int {
		if a.Incarnation < b.Incarnation {
			return -1
		}
		return 1
	})
	return fleet.View{Snapshot: s, Taken: now}
}

// epoch is a moment to begin at: nine tenths into a second, so that reports straddle seconds.
var epoch = time.Unix(1_790_000_000, 900_000_000)
