package proxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// town returns a view of some services with as many endpoints together, all warm, one route to each. Every call
// makes it anew, as a gateway gets it.
func town(services, endpoints int, number uint64) fleet.View {
	s := &fleet.Snapshot{Number: number}
	l := fleet.Listener{Name: "mesh", Mesh: true}
	for i := range services {
		host := fmt.Sprintf("s-%d", i)
		service := fleet.Service{Name: host + ":80", Host: host, Port: 80, Names: []string{host}, Pools: []fleet.Pool{{}}}
		for j := range endpoints / services {
			n := i*(endpoints/services) + j
			service.Endpoints = append(service.Endpoints, fleet.Endpoint{
				Name: fmt.Sprintf("%s-%d", host, j), Incarnation: fmt.Sprintf("i-%d", n), Labels: map[string]string{"app": host},
				Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 80),
				Weight:  1, Stage: fleet.Serving, Age: time.Hour,
			})
			service.Pools[0].Members = append(service.Pools[0].Members, fleet.Member{Endpoint: j, Base: 1})
		}
		s.Services = append(s.Services, service)
		l.Hosts = append(l.Hosts, fleet.VirtualHost{
			Domains: []string{host}, Routes: []fleet.Route{{Destinations: []fleet.Destination{{Service: service.Name, Weight: 1}}}},
		})
	}
	s.Listeners = []fleet.Listener{l}
	return fleet.View{Snapshot: s, Taken: time.Now()}
}

// BenchmarkCompile compiles snapshots of 10,000 endpoints in which one has another weight than in the one before.
func BenchmarkCompile(b *testing.B) {
	for _, services := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			const endpoints = 10_000
			views := []fleet.View{town(services, endpoints, 1), town(services, endpoints, 2)}
			views[1].Services[0].Endpoints[0].Weight = 2
			var state *State
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				next, err := Compile(state, views[n%2], nil, Options{}, time.Now())
				if err != nil {
					b.Fatal(err)
				}
				state = next
				n++
			}
		})
	}
}
