package balancer_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

var everyAlgorithm = []fleet.Algorithm{fleet.RoundRobin, fleet.LeastRequest, fleet.Random, fleet.RingHash, fleet.Maglev}

// A plan is a fleet to which things happen, and a model of who may be sent to, kept by hand.
type plan struct {
	*lab.Lab
	t        *rapid.T
	policy   fleet.Policy
	gateways int
	born     int
	draining map[string]bool
	hidden   map[string]bool
	weight   map[string]uint32
	ejected  []map[string]bool   // by gateway
	counted  []map[string]uint64 // by gateway: requests since the gateway has known the endpoint
}

// The conformance suite: whatever happens to a fleet, every algorithm keeps every promise.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				p := newPlan(t, algorithm)
				for range rapid.IntRange(1, 10).Draw(t, "events") {
					p.happen()
					p.check()
					p.Run(p.Now() + time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "then")))
					p.check()
				}
				p.stand()
			})
		})
	}
}

func newPlan(t *rapid.T, algorithm fleet.Algorithm) *plan {
	p := &plan{
		t: t, policy: planPolicy(t, algorithm), gateways: rapid.IntRange(1, 3).Draw(t, "gateways"),
		draining: map[string]bool{}, hidden: map[string]bool{}, weight: map[string]uint32{},
	}
	warm := rapid.IntRange(0, 5).Draw(t, "warm")
	for i := range warm {
		p.weight[fmt.Sprint("warm-", i)] = 1
	}
	for range p.gateways {
		p.ejected = append(p.ejected, map[string]bool{})
		p.counted = append(p.counted, map[string]uint64{})
	}
	p.Lab = lab.New(lab.Config{
		Policy: p.policy, Warm: warm, Gateways: p.gateways, Rate: 60, Keys: 1 << 40,
		Service: 10 * time.Millisecond, Seed: rapid.Uint64().Draw(t, "seed"),
	})
	p.Sent = p.sent
	return p
}

func planPolicy(t *rapid.T, algorithm fleet.Algorithm) fleet.Policy {
	return fleet.Policy{
		Algorithm: algorithm,
		Warmup: fleet.Warmup{
			Window:     rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, 40 * time.Second}).Draw(t, "window"),
			Minimum:    rapid.SampledFrom([]float64{0, 0.01, 0.1, 0.5}).Draw(t, "minimum"),
			Aggression: rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "aggression"),
		},
		ShiftBudget: rapid.SampledFrom([]float64{0, 1.3}).Draw(t, "lambda"),
		Panic:       rapid.SampledFrom([]float64{0, 0, 0.5}).Draw(t, "panic"),
		Hash:        &fleet.Hash{TableSize: 101},
	}
}

// Sent holds one request against the model.
func (p *plan) sent(r lab.Request) {
	able := p.able(r.Gateway)
	switch {
	case r.Endpoint == "" && len(able) > 0:
		p.t.Fatalf("at %v: gateway %d sends to nobody, want one of %v", p.Now(), r.Gateway, able)
	case r.Endpoint != "" && !slices.Contains(able, r.Endpoint):
		p.t.Fatalf("at %v: gateway %d sends to %s, want one of %v", p.Now(), r.Gateway, r.Endpoint, able)
	}
	p.counted[r.Gateway][r.Endpoint]++
}

// Able returns who may be sent to by a gateway.
func (p *plan) able(gateway int) []string {
	var well, ejected []string
	for _, name := range slices.Sorted(maps.Keys(p.weight)) {
		switch {
		case p.draining[name] || p.hidden[name] || p.weight[name] == 0:
		case p.ejected[gateway][name]:
			ejected = append(ejected, name)
		default:
			well = append(well, name)
		}
	}
	if len(well) == 0 || float64(len(well)) < p.policy.Panic*float64(len(well)+len(ejected)) {
		return append(well, ejected...)
	}
	return well
}

// Happen makes something happen.
func (p *plan) happen() {
	names := append(slices.Sorted(maps.Keys(p.weight)), "nobody")
	name := rapid.SampledFrom(names).Draw(p.t, "name")
	gateway := rapid.IntRange(0, p.gateways-1).Draw(p.t, "gateway")
	_, known := p.weight[name]
	visible := known && !p.hidden[name]
	events := map[string]func(){
		"join":      func() { p.Join(p.fresh()) },
		"join warm": func() { p.JoinWarm(p.fresh()) },
		"leave":     func() { p.forget(name); delete(p.weight, name); p.Leave(name) },
		"drain":     func() { p.draining[name] = true; p.Drain(name) },
		"hide":      func() { p.hidden[name] = true; p.forgetCounts(name); p.Hide(name) },
		"show":      func() { p.hidden[name] = false; p.Show(name) },
		"restart":   func() { p.forget(name); p.Restart(name) },
		"restart all": func() {
			for _, n := range names {
				p.forget(n)
			}
			p.Restart(names...)
		},
		"weight": func() {
			if known {
				p.weight[name] = rapid.SampledFrom([]uint32{0, 1, 2, 100}).Draw(p.t, "weight")
				p.SetWeight(name, p.weight[name])
			}
		},
		"eject": func() {
			if visible {
				p.ejected[gateway][name] = true
				p.Eject(gateway, name)
			}
		},
		"readmit": func() {
			if visible && p.ejected[gateway][name] {
				p.ejected[gateway][name] = false
				p.Readmit(gateway, name)
			}
		},
		"restart gateway": func() {
			clear(p.ejected[gateway])
			clear(p.counted[gateway])
			p.RestartGateway(gateway)
		},
		"policy": func() {
			p.policy = planPolicy(p.t, rapid.SampledFrom(everyAlgorithm).Draw(p.t, "algorithm"))
			p.SetPolicy(p.policy)
		},
		"gateways meet": func() { p.Show("nobody") }, // all is published again
	}
	events[rapid.SampledFrom(slices.Sorted(maps.Keys(events))).Draw(p.t, "event")]()
}

func (p *plan) fresh() string {
	p.born++
	name := fmt.Sprint("e", p.born)
	p.weight[name] = 1
	return name
}

// Forget forgets what was known of a life that ended.
func (p *plan) forget(name string) {
	p.draining[name], p.hidden[name] = false, false
	for g := range p.gateways {
		delete(p.ejected[g], name)
	}
	p.forgetCounts(name)
}

func (p *plan) forgetCounts(name string) {
	for g := range p.gateways {
		delete(p.counted[g], name)
	}
}

// Check holds what every gateway says against the model and against itself.
func (p *plan) check() {
	p.Show("nobody") // so that every gateway has compiled at this moment
	for g := range p.gateways {
		shares, able, budget := p.Shares(g), p.able(g), p.Budget(g)
		var effective, full, sum float64
		for _, s := range shares {
			name := s.Endpoint.Name
			if may := slices.Contains(able, name); s.Share > 0 && !may {
				p.t.Fatalf("at %v: gateway %d gives %s a share of %v (%q), able are %v", p.Now(), g, name, s.Share, s.Reason, able)
			} else if may {
				full += s.Weight
			}
			if s.Effective != s.Weight*s.Share || !(s.Fraction >= 0 && s.Fraction <= 1+1e-9) || !(s.Share <= 1) {
				p.t.Fatalf("at %v: gateway %d says %+v", p.Now(), g, s)
			}
			if s.Actual != p.counted[g][name] {
				p.t.Fatalf("at %v: gateway %d counts %d picks of %s, want %d", p.Now(), g, s.Actual, name, p.counted[g][name])
			}
			effective += s.Effective
			sum += s.Fraction
		}
		if len(able) > 0 && (math.Abs(sum-1) > 1e-9 || effective == 0) {
			p.t.Fatalf("at %v: gateway %d shares out %v of its requests, want all", p.Now(), g, sum)
		}
		// Nobody is above the budget while there is capacity that is not used.
		if effective < budget.Needed*(1-1e-9) && effective < full*(1-1e-9) {
			p.t.Fatalf("at %v: gateway %d uses an effective weight of %v of %v, the budget needs %v", p.Now(), g, effective, full, budget.Needed)
		}
	}
	before := p.everyShare()
	p.Show("nobody")
	if diff := cmp.Diff(before, p.everyShare(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		p.t.Fatalf("at %v: nothing changed but shares (-before +after):\n%s", p.Now(), diff)
	}
}

// A saying is what a gateway says of one endpoint.
type saying struct {
	Name                                string
	Share, Effective, Fraction, Expects float64
	Actual                              uint64
}

func (p *plan) everyShare() (all []saying) {
	for g := range p.gateways {
		for _, s := range p.Shares(g) {
			all = append(all, saying{s.Endpoint.Name, s.Share, s.Effective, s.Fraction, s.Expected, s.Actual})
		}
	}
	return all
}

// Stand lets the world stand for a while, and holds what everybody gets against what it was to expect.
func (p *plan) stand() {
	const while = 20 * time.Second
	before := make([][]balancer.Share, p.gateways)
	for g := range before {
		before[g] = p.Shares(g)
	}
	p.Run(p.Now() + while)
	for g := range p.gateways {
		for i, s := range p.Shares(g) {
			got, want := float64(s.Actual-before[g][i].Actual), s.Expected-before[g][i].Expected
			off := 7*math.Sqrt(want) + 5 // of a draw
			switch p.policy.Algorithm {
			case fleet.RoundRobin:
				off = 5
			case fleet.LeastRequest:
				// In a cohort the warm get what the cold ones turn down. Who is idle has the least to do whatever its
				// weight, so that light ones beside heavy ones get more than their weight says.
				if off += 1.2 * want; !p.equals() {
					off = math.Inf(1)
				}
			case fleet.Random, fleet.RingHash, fleet.Maglev:
			}
			if s.Endpoint.Stage == fleet.Warming {
				off += while.Seconds() / 3
			}
			if others := p.probes(g); s.Endpoint.Stage != fleet.Warming && others > 0 {
				off += float64(others) * while.Seconds() / 3
			}
			if math.Abs(got-want) > off {
				p.t.Fatalf("at %v: gateway %d (%v) sends %v requests to %s, want %.1f ± %.1f", p.Now(), g, p.policy.Algorithm, got, s.Endpoint.Name, want, off)
			}
		}
	}
}

// Equals says whether all have the same weight.
func (p *plan) equals() bool {
	for _, w := range p.weight {
		if w > 1 {
			return false
		}
	}
	return true
}

// Probes returns how many endpoints may have had guaranteed probes from a gateway.
func (p *plan) probes(gateway int) int {
	n := 0
	for _, s := range p.Shares(gateway) {
		if s.Endpoint.Stage == fleet.Warming {
			n++
		}
	}
	return n
}
