package lab

import (
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/picker"
	"crossfade.dev/internal/warmup"
)

// A gateway sends its part of the requests, with a balancer of its own.
type gateway struct {
	lab      *Lab
	index    int
	life     uint64 // restarts so far
	seed     uint64 // of this life
	random   *rand.Rand
	near     warmup.Near
	view     fleet.View
	overlay  fleet.Overlay
	book     evidence.Book
	balancer *balancer.Balancer
	ticks    uint64 // of which only the latest counts
}

func newGateway(l *Lab, index int) *gateway {
	g := &gateway{lab: l, index: index}
	g.start()
	if l.config.Rate > 0 {
		l.At(time.Duration(l.random.Float64()*float64(l.gap())), g.send)
	}
	return g
}

// Start begins a life of the gateway: it remembers nothing.
func (g *gateway) start() {
	g.seed = g.lab.config.Seed<<20 ^ uint64(g.index)<<8 ^ g.life //nolint:gosec // an index
	g.random = rand.New(rand.NewPCG(g.seed, 1))                  //nolint:gosec // a simulation must repeat
	g.overlay, g.book, g.balancer = fleet.Overlay{}, nil, nil
	g.life++
}

// Apply takes a view and goes by it.
func (g *gateway) apply(v fleet.View) {
	g.view = v
	keys := make([]string, len(v.Services[0].Endpoints))
	for i := range keys {
		keys[i] = v.Services[0].Endpoints[i].Incarnation
	}
	g.book = g.book.Next(keys)
	g.compile()
	g.ticks++
	phase := g.random.Float64() // drawn in any case, so that whether there is a tick changes nothing else
	if tick := g.balancer.Tick(); tick > 0 {
		g.tick(g.ticks, tick, time.Duration(phase*float64(tick)))
	}
}

func (g *gateway) tick(number uint64, tick, wait time.Duration) {
	g.lab.At(g.lab.now+wait, func() {
		if g.ticks == number && g.balancer.Warming() {
			g.compile()
			g.tick(number, tick, tick)
		}
	})
}

func (g *gateway) compile() {
	s := &g.view.Services[0]
	g.balancer = balancer.Compile(g.balancer, balancer.Input{
		View: g.view, Service: s, Pool: &s.Pools[0], Overlay: g.overlay, Traffic: g.book,
		Near: g.near, Position: g.index, Seed: g.seed, Random: g.random.Uint64,
	}, g.lab.clock())
}

// Send sends one request and plans the next.
func (g *gateway) send() {
	l := g.lab
	l.At(l.now+l.gap(), g.send)
	r := Request{At: l.now, Gateway: g.index}
	if l.Watch != "" {
		r.Ideal = l.Ideal(l.Watch)
	}
	if i := g.pick(&r); i >= 0 {
		e := g.balancer.Endpoints()[i]
		r.Endpoint = e.Name
		if l.config.Service > 0 {
			active := &g.book[e.Incarnation].Active
			active.Add(1)
			took := time.Duration(l.random.ExpFloat64() * float64(l.config.Service))
			l.At(l.now+took, func() { active.Add(-1) })
		}
	}
	if l.Sent != nil {
		l.Sent(r)
	}
}

// Pick chooses an endpoint for r, and its key.
func (g *gateway) pick(r *Request) int {
	l := g.lab
	if l.config.Keys == 0 {
		return g.balancer.Pick(l.clock(), -1)
	}
	r.Key = 1 + l.random.Uint64N(l.config.Keys)
	return g.balancer.PickKey(l.clock(), picker.Mix(r.Key), -1)
}

// Where returns the name of the endpoint that gateway i sends a key to now, "" when there is nobody. To ask is
// to send.
func (l *Lab) Where(i int, key uint64) string {
	g := l.gateways[i]
	if k := g.balancer.PickKey(l.clock(), picker.Mix(key), -1); k >= 0 {
		return g.balancer.Endpoints()[k].Name
	}
	return ""
}

// RestartGateway makes a gateway forget everything and begin anew by the newest snapshot.
func (l *Lab) RestartGateway(i int) {
	l.gateways[i].start()
	l.gateways[i].apply(l.view())
}

// Shares returns what gateway i's balancer gives to whom.
func (l *Lab) Shares(i int) []balancer.Share { return l.gateways[i].balancer.Shares(l.clock()) }

// Share returns what gateway i's balancer gives to the endpoint of this name; the zero value when it is gone.
func (l *Lab) Share(i int, name string) balancer.Share {
	for _, s := range l.Shares(i) {
		if s.Endpoint.Name == name {
			return s
		}
	}
	return balancer.Share{}
}

// Budget returns what gateway i's balancer does about the shift budget, in the nearest of its groups.
func (l *Lab) Budget(i int) warmup.ShiftBudget { return l.gateways[i].balancer.Groups()[0].Budget }

// Eject makes gateway i leave an endpoint out, as after failed checks.
func (l *Lab) Eject(i int, name string) {
	g, s := l.gateways[i], l.Share(i, name)
	if s.Endpoint != nil {
		g.overlay[s.Endpoint.Incarnation] = fleet.Mark{Ejected: true, Reason: "test", Progress: s.Progress}
		g.apply(g.view)
	}
}

// Readmit makes gateway i take an endpoint back that it had left out.
func (l *Lab) Readmit(i int, name string) {
	g, s := l.gateways[i], l.Share(i, name)
	if s.Endpoint != nil {
		mark := g.overlay[s.Endpoint.Incarnation]
		mark.Ejected, mark.Returned = false, l.clock()
		g.overlay[s.Endpoint.Incarnation] = mark
		g.apply(g.view)
	}
}
