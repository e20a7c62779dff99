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
	"crossfade.dev/internal/warmup"
)

var everyAlgorithm = []fleet.Algorithm{fleet.RoundRobin, fleet.LeastRequest, fleet.Random, fleet.RingHash, fleet.Maglev, fleet.Passthrough}

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
	factor   map[string]float64 // of those that have one
	where    map[string]fleet.Locality
	paused   map[string]float64  // the progress at which each was paused
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
		factor: map[string]float64{}, where: map[string]fleet.Locality{}, paused: map[string]float64{},
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
	for g := range p.gateways {
		p.Stand(g, warmup.Near{Locality: rapid.SampledFrom(localities).Draw(t, "gateway's place")})
	}
	for name := range p.weight {
		p.where[name] = fleet.Locality{}
	}
	for _, name := range slices.Sorted(maps.Keys(p.where)) {
		p.where[name] = rapid.SampledFrom(localities).Draw(t, "place")
		p.SetLocality(name, p.where[name])
	}
	return p
}

func planPolicy(t *rapid.T, algorithm fleet.Algorithm) fleet.Policy {
	return fleet.Policy{
		Algorithm:   algorithm,
		Warmup:      planWarmup(t),
		ShiftBudget: rapid.SampledFrom([]float64{0, 1.3}).Draw(t, "lambda"),
		Panic:       rapid.SampledFrom([]float64{0, 0, 0.5}).Draw(t, "panic"),
		Hash:        &fleet.Hash{TableSize: 101},
		Locality:    rapid.SampledFrom(localityPolicies).Draw(t, "locality"),
	}
}

func planWarmup(t *rapid.T) fleet.Warmup {
	return fleet.Warmup{
		Window:     rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, 40 * time.Second}).Draw(t, "window"),
		Minimum:    rapid.SampledFrom([]float64{0, 0.01, 0.1, 0.5}).Draw(t, "minimum"),
		Aggression: rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "aggression"),
	}
}

var localities = []fleet.Locality{
	{Region: "eu", Zone: "a"},
	{Region: "eu", Zone: "a", SubZone: "1"},
	{Region: "eu", Zone: "b"},
	{Region: "us", Zone: "a"},
	{Region: "asia"},
	{},
}

// Where distributed, requests go to Europe only.
var localityPolicies = []*fleet.LocalityPolicy{
	nil,
	{},
	{Failover: []fleet.Failover{{From: "eu", To: "asia"}}},
	{Priority: []string{"topology.kubernetes.io/region", "topology.kubernetes.io/zone"}},
	{Distribute: []fleet.Distribution{{From: "*", To: map[string]uint32{"eu/a/*": 80, "eu/b": 20, "asia": 0}}}},
}

// Distant says whether the policy sends nothing to where somebody is.
func (p *plan) distant(name string) bool {
	l := p.policy.Locality
	return l != nil && l.Distribute != nil && p.where[name].Region != "eu"
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
		case p.draining[name] || p.hidden[name] || p.full(name) == 0 || p.distant(name):
		case p.ejected[gateway][name]:
			ejected = append(ejected, name)
		default:
			well = append(well, name)
		}
	}
	panics := float64(len(well)) < p.policy.Panic*float64(len(well)+len(ejected))
	if p.policy.Locality != nil {
		panics = p.policy.Panic > 0 // each place may panic for itself
	}
	if len(well) == 0 || panics {
		return append(well, ejected...)
	}
	return well
}

func (p *plan) full(name string) float64 {
	factor, ok := p.factor[name]
	if !ok {
		factor = 1
	}
	return float64(p.weight[name]) * factor
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
		"join by":   func() { p.JoinBy(p.fresh(), planWarmup(p.t)) },
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
		"factor": func() {
			if known {
				p.factor[name] = rapid.SampledFrom([]float64{0, 0.3, 1, 4}).Draw(p.t, "factor")
				p.SetFactor(name, p.factor[name])
			}
		},
		"move": func() {
			if known {
				p.where[name] = rapid.SampledFrom(localities).Draw(p.t, "new place")
				p.SetLocality(name, p.where[name])
			}
		},
		"join at": func() {
			born := p.fresh()
			p.where[born] = rapid.SampledFrom(localities).Draw(p.t, "its place")
			p.JoinAt(born, p.where[born])
		},
		"pause":  func() { p.Pause(name); p.stopped(name) },
		"resume": func() { delete(p.paused, name); p.Resume(name) },
		"skip":   func() { delete(p.paused, name); p.Skip(name) },
		"rewarm": func() { delete(p.paused, name); p.Rewarm(name) },
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
			clear(p.paused) // another curve is another progress
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
	delete(p.paused, name)
	delete(p.factor, name) // as the lab does
	delete(p.where, name)
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
		shares, able := p.Shares(g), p.able(g)
		effective, full, fractions := map[string]float64{}, map[string]float64{}, map[string]float64{}
		var sum float64
		for _, s := range shares {
			name := s.Endpoint.Name
			if may := slices.Contains(able, name); s.Share > 0 && !may {
				p.t.Fatalf("at %v: gateway %d gives %s a share of %v (%q), able are %v", p.Now(), g, name, s.Share, s.Reason, able)
			}
			if s.Share > 0 {
				full[s.Level] += s.Weight
			}
			if at, ok := p.paused[name]; ok && s.Progress > at+1e-9 {
				p.t.Fatalf("at %v: gateway %d says that %s, paused at %v, has come to %v", p.Now(), g, name, at, s.Progress)
			}
			if s.Effective != s.Weight*s.Share || !(s.Fraction >= 0 && s.Fraction <= 1+1e-9) || !(s.Share <= 1) {
				p.t.Fatalf("at %v: gateway %d says %+v", p.Now(), g, s)
			}
			if s.Actual != p.counted[g][name] {
				p.t.Fatalf("at %v: gateway %d counts %d picks of %s, want %d", p.Now(), g, s.Actual, name, p.counted[g][name])
			}
			effective[s.Level] += s.Effective
			fractions[s.Level] += s.Fraction
			sum += s.Fraction
		}
		if want := min(1, len(able)); math.Abs(sum-float64(want)) > 1e-9 {
			p.t.Fatalf("at %v: gateway %d shares out %v of its requests, want all", p.Now(), g, sum)
		}
		for _, group := range p.Groups(g) {
			if at := group.Level; math.Abs(fractions[at]-group.Part) > 1e-9 {
				p.t.Fatalf("at %v: gateway %d shares out %v to %q, which has a part of %v", p.Now(), g, fractions[at], at, group.Part)
			}
			// Nobody is above the budget while there is capacity that is not used.
			used, all := effective[group.Level], full[group.Level]
			if needed := group.Budget.Needed; used < needed*(1-1e-9) && used < all*(1-1e-9) {
				p.t.Fatalf("at %v: gateway %d uses an effective weight of %v of %v, the budget needs %v", p.Now(), g, used, all, needed)
			}
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
			more := 7*math.Sqrt(want) + 5 // of a draw
			less := more
			switch p.policy.Algorithm {
			case fleet.RoundRobin:
				more = 5 + 2*float64(len(p.Groups(g))) // groups take turns as well
				less = more
			case fleet.LeastRequest:
				// In a cohort the warm get what the cold ones turn down. Light ones beside heavy ones give way as soon as
				// they have anything to do, and of two the light one is the other at every request (decision 19).
				if more, less = more+1.2*want, less+0.7*want; !p.equals() {
					more += 0.8 * want
				}
			case fleet.Random, fleet.RingHash, fleet.Maglev, fleet.Passthrough:
			}
			if s.Endpoint.Stage == fleet.Warming {
				more += while.Seconds() / 3
			}
			if others := p.probes(g); s.Endpoint.Stage != fleet.Warming && others > 0 {
				less += float64(others) * while.Seconds() / 3
			}
			if got > want+more || got < want-less {
				p.t.Fatalf("at %v: gateway %d (%v) sends %v requests to %s, want %.1f − %.1f to + %.1f", p.Now(), g, p.policy.Algorithm, got, s.Endpoint.Name, want, less, more)
			}
		}
	}
}

// Stopped notes where somebody was paused.
func (p *plan) stopped(name string) {
	for _, s := range p.Shares(0) {
		if s.Endpoint.Name == name {
			p.paused[name] = s.Progress
		}
	}
}

// Equals says whether all have the same weight.
func (p *plan) equals() bool {
	for name := range p.weight {
		if w := p.full(name); w != 0 && w != 1 {
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
