package admin

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// spread is a world of one pool with a policy, whose endpoints stand in three places.
func spread(p fleet.Policy, near fleet.Locality, change func(*fleet.Service)) World {
	now := time.Now()
	s := fleet.Service{Name: "stock:80", Host: "stock", Port: 80, Pools: []fleet.Pool{{Policy: p}}}
	for i, place := range []fleet.Locality{{Region: "eu", Zone: "a"}, {Region: "eu", Zone: "b"}, {Region: "us", Zone: "c"}} {
		s.Endpoints = append(s.Endpoints, fleet.Endpoint{
			Name: "stock-" + string(rune('1'+i)), Incarnation: string(rune('1' + i)), Locality: place, Weight: 4,
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, 0, byte(i + 1)}), 80), Stage: fleet.Serving, Age: time.Hour,
		})
		s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: i})
	}
	if change != nil {
		change(&s)
	}
	snapshot := &fleet.Snapshot{Number: 1, Services: []fleet.Service{s}, Gateways: []string{"gateway-1"}}
	w := World{View: fleet.View{Snapshot: snapshot, Taken: now}, Locality: near, Ready: true}
	b := balancer.Compile(nil, balancer.Input{
		View: w.View, Service: &snapshot.Services[0], Pool: &snapshot.Services[0].Pools[0], Near: warmup.Near{Locality: near},
	}, now)
	w.Pools = []Pool{{
		Service: &snapshot.Services[0], Pool: &snapshot.Services[0].Pools[0], Shares: b.Shares(now), Groups: b.Groups(),
	}}
	return w
}

// TestEveryPolicyIsSaid looks for what is said of each policy, wherever it is to be seen.
func TestEveryPolicyIsSaid(t *testing.T) {
	factor, none := 0.5, 0.0
	eu := fleet.Locality{Region: "eu", Zone: "a"}
	ring := func(h fleet.Hash) fleet.Policy { return fleet.Policy{Algorithm: fleet.RingHash, Hash: &h} }
	slow := fleet.Policy{Warmup: fleet.Warmup{Window: time.Minute, Minimum: 0.1}}
	for name, tc := range map[string]struct {
		policy fleet.Policy
		change func(*fleet.Service)
		want   map[string]string // by path
	}{
		"header": {ring(fleet.Hash{Header: "x-user"}), nil, map[string]string{
			"/api/v1/explain": "Requests with the same header x-user go to one endpoint, those without it to anyone.",
			"/clusters":       "::hash_key::header x-user\n",
		}},
		"HTTP/2": {fleet.Policy{HTTP: fleet.HTTP2}, nil, map[string]string{
			"/api/v1/explain":  "Endpoints are spoken to in HTTP/2: each request is balanced by itself, on whatever connection it comes.",
			"/api/v1/services": `"http": "HTTP/2"`,
		}},
		"same HTTP": {fleet.Policy{HTTP: fleet.HTTPSame}, nil, map[string]string{
			"/api/v1/explain": "Endpoints are spoken to in the version of HTTP in which the request came.",
		}},
		"limits": {fleet.Policy{Connections: &fleet.Connections{Max: 100, Requests: 7, PerConnection: 3}}, nil, map[string]string{
			"/api/v1/explain":  "To all endpoints together there are at most 100 connections, 7 requests that have one.",
			"/api/v1/services": `"max": 100`,
			"/clusters":        "::default_priority::max_connections::100\n",
		}},
		"streams": {fleet.Policy{Connections: &fleet.Connections{Max: 100, Streams: 5}}, nil, map[string]string{
			"/api/v1/explain":  "at most 100 connections. A connection of HTTP/2 carries at most 5 requests at a time.",
			"/api/v1/services": `"streams": 5`,
		}},
		"requests of a connection": {fleet.Policy{Connections: &fleet.Connections{PerConnection: 3}}, nil, map[string]string{
			"/api/v1/explain": "A connection carries at most 3 requests in its life.",
		}},
		"cookie": {ring(fleet.Hash{Cookie: &fleet.HashCookie{Name: "sid", TTL: time.Minute}}), nil, map[string]string{
			"/api/v1/explain": "Requests with the same cookie sid go to one endpoint; a client without it is given one, for 1 m.",
		}},
		"session": {ring(fleet.Hash{Cookie: &fleet.HashCookie{Name: "sid"}, Bound: 1.5}), nil, map[string]string{
			"/api/v1/explain": "is given one, for its session; one that has more than 1.5 times its part of what is in flight is passed over.",
		}},
		"query":       {ring(fleet.Hash{Query: "user"}), nil, map[string]string{"/api/v1/explain": "the same query parameter user go"}},
		"source":      {ring(fleet.Hash{SourceIP: true}), nil, map[string]string{"/api/v1/explain": "All requests from one source address go to one endpoint."}},
		"passthrough": {fleet.Policy{Algorithm: fleet.Passthrough}, nil, map[string]string{"/api/v1/explain": "names the address of an endpoint goes there"}},
		"panic":       {fleet.Policy{Panic: 0.3}, nil, map[string]string{"/api/v1/explain": "has ejected so many that fewer than 30 % of the offered endpoints are left, those that it ejected get requests as well; one that is not ready gets none"}},
		"near": {fleet.Policy{Locality: &fleet.LocalityPolicy{}}, nil, map[string]string{
			"/api/v1/explain":   "Requests stay near eu/a, where this program stands: zone gets 100 %",
			"/api/v1/endpoints": `"level": "zone"`,
			"/api/v1/services":  `"part": 1`,
			"/clusters":         "::group::zone::1.0000\n",
			"/stats/prometheus": `crossfade_service_group_ratio{level="zone",port="80",service="stock",subset=""} 1`,
			"/server_info":      `"locality": "eu/a"`,
		}},
		"distribute": {fleet.Policy{Locality: &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{From: "eu/*", To: map[string]uint32{"eu/*": 80, "us/*": 20}}}}}, nil, map[string]string{
			"/api/v1/explain": "Requests are distributed by locality (this program stands in eu/a): ",
		}},
		"priority": {fleet.Policy{Locality: &fleet.LocalityPolicy{Priority: []string{"version", "topology.kubernetes.io/zone"}}}, nil, map[string]string{
			"/api/v1/explain": "Requests stay near, by version, then topology.kubernetes.io/zone (this program stands in eu/a): ",
		}},
		"factor": {fleet.Policy{}, func(s *fleet.Service) { s.Endpoints[0].Factor = &factor }, map[string]string{
			"/api/v1/explain":   "of weight 4 × 0.5",
			"/api/v1/endpoints": `"factor": 0.5`,
			"/clusters":         "127.1.0.1:80::factor::0.5\n",
			"/stats/prometheus": `crossfade_endpoint_weight{address="127.1.0.1:80",endpoint="stock-1",port="80",service="stock",subset=""} 2`,
		}},
		"drained by a factor": {fleet.Policy{}, func(s *fleet.Service) { s.Endpoints[0].Factor = &none }, map[string]string{
			"/api/v1/explain": "Reason: drained: its weight is multiplied by 0.",
		}},
		"moved": {slow, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = 10*time.Second, fleet.Warming
			s.Pools[0].Members[0] = fleet.Member{Base: 0.25, At: 10 * time.Second, Manual: true}
		}, map[string]string{
			"/api/v1/explain":   "Reason: manual: somebody has moved it on its way up. Full in 45 s.",
			"/stats/prometheus": `crossfade_endpoint_reason_info{address="127.1.0.1:80",endpoint="stock-1",port="80",reason="manual",service="stock",subset=""} 1`,
		}},
		"paused": {slow, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = 10*time.Second, fleet.Warming
			s.Pools[0].Members[0] = fleet.Member{Base: 0.25, At: 10 * time.Second, Manual: true, Paused: true}
		}, map[string]string{
			"/api/v1/explain":   `Reason: manual: somebody has paused its way up."`,
			"/api/v1/endpoints": `"paused": true`,
		}},
		"weighed": {fleet.Policy{}, func(s *fleet.Service) { s.Endpoints[0].Factor = &factor }, map[string]string{
			"/api/v1/explain": "Reason: weight: its weight is multiplied by 0.5.",
		}},
		"moved by a change": {slow, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = 20*time.Second, fleet.Warming
			s.Pools[0].Members[0] = fleet.Member{Base: 0.05, At: 17 * time.Second}
		}, map[string]string{
			"/api/v1/explain": "20 s old, 10 % of the way through 1 m (it was moved when the warm-up was changed, so that its share did not jump).",
		}},
		"no readiness": {slow, func(s *fleet.Service) { s.Endpoints[0].Age, s.Endpoints[0].Stage = time.Minute, fleet.Starting }, map[string]string{
			"/api/v1/explain":   "stock-1 (127.1.0.1:80) is Starting: it was in service before; it does not pass its checks. It gets nothing.",
			"/api/v1/endpoints": `"reason": "not-ready"`,
		}},
		"own warm-up": {fleet.Policy{}, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = 30*time.Second, fleet.Warming
			s.Endpoints[0].Warmup = &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5}
		}, map[string]string{
			"/api/v1/explain":   "stock-1 (127.1.0.1:80) is Warming: 30 s old, 25 % of the way through 2 m of its own. Its share is 10 %",
			"/api/v1/endpoints": `"warmup_from": "its own"`,
			"/api/v1/services":  `"endpoints": 1`,
			"/clusters":         "127.1.0.1:80::warmup_window_s::120\noutbound|80||stock::127.1.0.1:80::warmup_from::its own\n",
		}},
		"own warm-ups": {fleet.Policy{}, func(s *fleet.Service) {
			s.Endpoints[0].Warmup = &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5}
			s.Endpoints[1].Warmup = &fleet.Warmup{Window: time.Minute, Minimum: 0.2}
			s.Endpoints[2].Warmup = &fleet.Warmup{Window: time.Minute, Minimum: 0.2}
		}, map[string]string{
			"/api/v1/explain": "The pool has no warm-up (by default): endpoints go by their own; 2 of 3 take 1 m from 20 %, 1 of 3 takes 2 m from 10 %, p^2.",
		}},
		"own warm-up beside the policy's": {slow, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = 30*time.Second, fleet.Warming
			s.Endpoints[0].Warmup = &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5}
		}, map[string]string{
			"/api/v1/explain":   "30 s old, 50 % of the way through 1 m. Its share is 50.5 %",
			"/api/v1/endpoints": `"warmup_from": "the policy"`,
		}},
		"keys": {ring(fleet.Hash{Header: "x-user"}), nil, map[string]string{
			"/api/v1/explain":   "Since it joined it got 0: as many as its keys brought, and few keys are uneven.",
			"/api/v1/endpoints": `"keyed": true`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := serve(spread(tc.policy, eu, tc.change))
				plain := serve(spread(fleet.Policy{}, fleet.Locality{}, nil))
				for path, want := range tc.want {
					if got := get(t, h, path); !strings.Contains(got, want) {
						t.Errorf("%s: got\n%s\nwant %q", path, got, want)
					}
					if got := get(t, plain, path); strings.Contains(got, want) {
						t.Errorf("%s: without the policy, it says %q all the same", path, want)
					}
				}
			})
		})
	}
}
