package balancer_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/picker"
)

// The pools of one service have endpoints, traffic and nothing else in common: what one is asked for changes
// nothing in another, each goes by its own policy, and nobody gets what is not its pool's.
func TestSubsetsKeepToThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := input(drawPolicy(t), several(t)...)
		s := in.Service
		for _, name := range []string{"v1", "v2"} {
			pool := fleet.Pool{Subset: name, Policy: drawPolicy(t)}
			pool.Policy.Algorithm = rapid.SampledFrom(everyAlgorithm).Draw(t, "subset's algorithm")
			pool.Policy.Hash = &fleet.Hash{TableSize: 101}
			for i := range s.Endpoints {
				if rapid.Bool().Draw(t, "member") {
					pool.Members = append(pool.Members, fleet.Member{Endpoint: i, Base: rapid.Float64Range(0, 1).Draw(t, "base")})
				}
			}
			s.Pools = append(s.Pools, pool)
		}
		balancers := make([]*balancer.Balancer, len(s.Pools))
		alone := make([]*balancer.Balancer, len(s.Pools)) // the same pools, with the same past, which nobody asks
		counts := make([]map[string]uint64, len(s.Pools))
		for round := range 3 {
			now := epoch.Add(time.Duration(round) * 10 * time.Second)
			for k := range s.Pools {
				in.Pool = &s.Pools[k]
				balancers[k] = balancer.Compile(balancers[k], in, now)
			}
			for range 50 {
				k := rapid.IntRange(0, len(s.Pools)-1).Draw(t, "pool")
				i := balancers[k].PickKey(now, picker.Mix(rapid.Uint64().Draw(t, "key")), -1)
				if i < 0 {
					continue
				}
				if counts[k] == nil {
					counts[k] = map[string]uint64{}
				}
				e := balancers[k].Endpoints()[i]
				counts[k][e.Name]++
				if m := s.Pools[k].Members[i]; &s.Endpoints[m.Endpoint] != e || !e.Stage.Offered() || e.Weight == 0 {
					t.Fatalf("%q sends to %s, which is not to be sent to", s.Pools[k].Subset, e.Name)
				}
			}
			for k := range s.Pools {
				alone[k] = balancer.Compile(alone[k], balancer.Input{View: in.View, Service: s, Pool: &s.Pools[k], Traffic: in.Traffic}, now)
				want := alone[k].Shares(now)
				for i, share := range balancers[k].Shares(now) {
					if share.Actual != counts[k][share.Endpoint.Name] {
						t.Fatalf("%q counts %d picks of %s, want %d", s.Pools[k].Subset, share.Actual, share.Endpoint.Name, counts[k][share.Endpoint.Name])
					}
					if share.Share != want[i].Share || share.Fraction != want[i].Fraction {
						t.Fatalf("%q: %s has a share of %v and %v of the requests, alone %v and %v", s.Pools[k].Subset, share.Endpoint.Name, share.Share, share.Fraction, want[i].Share, want[i].Fraction)
					}
				}
			}
		}
	})
}
