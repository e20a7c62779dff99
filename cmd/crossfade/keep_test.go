package main

import (
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

func TestSameOrders(t *testing.T) {
	world := func(edit func(s *fleet.Snapshot)) *fleet.Snapshot {
		s := &fleet.Snapshot{
			Workloads: []fleet.Workload{{Name: "web", Replicas: 2}},
			Groups:    []fleet.GatewayGroup{{Name: "ingressgateway"}},
			Services: []fleet.Service{{
				Name: "web:80", Endpoints: []fleet.Endpoint{{Incarnation: "a"}, {Incarnation: "b"}},
				Pools: []fleet.Pool{{Members: []fleet.Member{{Endpoint: 0}, {Endpoint: 1}}}},
			}},
		}
		if edit != nil {
			edit(s)
		}
		return s
	}
	none := 0.0
	for _, tt := range []struct {
		name string
		edit func(s *fleet.Snapshot)
		same bool
	}{
		{"nothing", nil, true},
		{"older", func(s *fleet.Snapshot) { s.Number, s.Services[0].Endpoints[0].Age = 9, time.Minute }, true},
		{"somebody came", func(s *fleet.Snapshot) { s.Services[0].Endpoints[1].Stage = fleet.Serving }, true},
		{"scaled", func(s *fleet.Snapshot) { s.Workloads[0].Replicas = 1 }, false},
		{"restarted", func(s *fleet.Snapshot) { s.Workloads[0].Restarted = "now" }, false},
		{"gateway scaled", func(s *fleet.Snapshot) { s.Groups[0].Replicas = 3 }, false},
		{"drained by weight", func(s *fleet.Snapshot) { s.Services[0].Endpoints[1].Factor = &none }, false},
		{"warm-up skipped", func(s *fleet.Snapshot) { s.Services[0].Pools[0].Members[1].Moved = time.Second }, false},
		{"warm-up paused", func(s *fleet.Snapshot) { s.Services[0].Pools[0].Members[0].Paused = true }, false},
	} {
		if got := sameOrders(world(nil), world(tt.edit)); got != tt.same {
			t.Errorf("%s: the same orders: %v, want %v", tt.name, got, tt.same)
		}
	}
	if sameOrders(nil, world(nil)) || !sameOrders(nil, nil) {
		t.Error("nothing kept is not the same as something")
	}
}
