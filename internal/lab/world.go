package lab

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// A world plays control: it knows who runs, and since when they are offered.
type world struct {
	policy   fleet.Policy
	lives    []*life
	number   uint64
	capacity warmup.Capacity
	force    float64       // the capacity that was published last,
	places   []fleet.Place // and that of each place
}

// A life is one incarnation of an endpoint.
type life struct {
	name        string
	incarnation string
	offered     time.Duration
	weight      uint32
	factor      *float64
	locality    fleet.Locality
	warmup      *fleet.Warmup // its own
	draining    bool
	hidden      bool // alive, but not shown to gateways
	member      fleet.Member
}

// Mature is an age at which every ramp is over.
const mature = 365 * 24 * time.Hour

// Join offers a new endpoint of weight 1.
func (l *Lab) Join(name string) { l.join(name, 0) }

// JoinBy offers a new endpoint of weight 1 that has a warm-up of its own.
func (l *Lab) JoinBy(name string, w fleet.Warmup) {
	l.enter(name, 0, func(e *life) { e.warmup = &w })
}

// JoinWarm offers an endpoint that has been there for ever.
func (l *Lab) JoinWarm(name string) { l.join(name, mature) }

func (l *Lab) join(name string, age time.Duration) { l.enter(name, age, func(*life) {}) }

// enter offers an endpoint once it is dressed.
func (l *Lab) enter(name string, age time.Duration, dress func(*life)) {
	l.note()
	e := l.born(name, age)
	dress(e)
	l.world.lives = append(l.world.lives, e)
	l.publish()
	l.publishAfter(e)
}

// publishAfter publishes when e's ramp, if it begins now, is over.
func (l *Lab) publishAfter(e *life) { l.At(l.now+l.world.warmup(e).Window, l.publish) }

// warmup is that by which e goes.
func (w *world) warmup(e *life) fleet.Warmup {
	return w.policy.WarmupOf(&fleet.Endpoint{Warmup: e.warmup})
}

// Born returns a new life. Its incarnation is another in every run, as that of a process is.
func (l *Lab) born(name string, age time.Duration) *life {
	return &life{
		name: name, incarnation: name + "#" + strconv.FormatUint(l.random.Uint64(), 36),
		offered: l.now - age, weight: 1,
	}
}

// Restart ends endpoints and begins them anew, under the same names and at the same addresses, all at the same
// moment.
func (l *Lab) Restart(names ...string) {
	l.note()
	for i, e := range l.world.lives {
		if slices.Contains(names, e.name) {
			next := l.born(e.name, 0)
			next.weight, next.warmup = e.weight, e.warmup
			l.world.lives[i] = next
			l.publishAfter(next)
		}
	}
	l.publish()
}

// Leave takes endpoints away, all at the same moment.
func (l *Lab) Leave(names ...string) {
	l.note()
	l.world.lives = slices.DeleteFunc(l.world.lives, func(e *life) bool { return slices.Contains(names, e.name) })
	l.publish()
}

// Drain asks that nothing new is sent to an endpoint.
func (l *Lab) Drain(name string) {
	l.change(name, func(e *life) { e.draining = true })
}

// Hide takes an endpoint away as a failed readiness check does: it goes on living, and ageing.
func (l *Lab) Hide(name string) { l.show(name, false) }

// Show brings an endpoint back that was hidden.
func (l *Lab) Show(name string) { l.show(name, true) }

func (l *Lab) show(name string, shown bool) {
	l.change(name, func(e *life) { e.hidden = !shown })
}

// SetWeight changes an endpoint's weight.
func (l *Lab) SetWeight(name string, weight uint32) {
	l.weigh(name, func(e *life) { e.weight = weight })
}

// SetFactor changes what an endpoint's weight is multiplied by, as people do.
func (l *Lab) SetFactor(name string, factor float64) {
	l.weigh(name, func(e *life) { e.factor = &factor })
}

// weigh changes an endpoint's weight. Who has none earns nothing, and comes back half way.
func (l *Lab) weigh(name string, f func(*life)) {
	l.change(name, func(e *life) {
		f(e)
		endpoint := l.world.endpoint(e, l.now)
		switch none := endpoint.Full() == 0; {
		case none == e.member.Drained:
		case none:
			e.member = warmup.Rest(e.member, l.world.warmup(e), endpoint.Age)
		default:
			e.member = warmup.Return(e.member, endpoint.Age)
		}
		l.publishAfter(e)
	})
}

// SetLocality says where an endpoint is.
func (l *Lab) SetLocality(name string, where fleet.Locality) {
	l.change(name, func(e *life) { e.locality = where })
}

// Skip ends an endpoint's warm-up at once, as people do.
func (l *Lab) Skip(name string) { l.move(name, warmup.Skip) }

// Pause keeps an endpoint where it is on its ramp.
func (l *Lab) Pause(name string) { l.move(name, warmup.Pause) }

// Resume lets an endpoint's ramp go on from where it was paused.
func (l *Lab) Resume(name string) { l.move(name, warmup.Resume) }

// Rewarm begins an endpoint's ramp anew.
func (l *Lab) Rewarm(name string) { l.move(name, warmup.Restart) }

func (l *Lab) move(name string, m warmup.Move) {
	l.change(name, func(e *life) {
		e.member = m.Apply(e.member, l.world.warmup(e), l.now-e.offered)
		if m == warmup.Restart {
			l.world.capacity.Forget(e.incarnation)
		}
		l.publishAfter(e)
	})
}

func (l *Lab) change(name string, f func(*life)) {
	e := l.world.find(name)
	if e == nil {
		return
	}
	l.note()
	f(e)
	l.publish()
}

// SetPolicy changes the pool's policy. Nobody's share jumps.
func (l *Lab) SetPolicy(p fleet.Policy) {
	before := l.world.policy
	for _, e := range l.world.lives {
		endpoint := fleet.Endpoint{Warmup: e.warmup}
		e.member = warmup.Rebase(e.member, before.WarmupOf(&endpoint), p.WarmupOf(&endpoint), l.now-e.offered)
	}
	l.world.policy = p
	l.publish()
	for _, e := range l.world.lives {
		l.publishAfter(e)
	}
}

// Ideal returns the part of the requests, 0 to 1, that an endpoint should get now: its place on the curve
// among those of all, worked out at this very moment, without a balancer, a tick or a budget.
func (l *Lab) Ideal(name string) float64 {
	var own, all float64
	for _, e := range l.world.lives {
		w := l.world.effective(e, l.now)
		all += w
		if e.name == name {
			own = w
		}
	}
	if all == 0 {
		return 0
	}
	return own / all
}

// Effective is e's effective weight, without a balancer and whoever else there is.
func (w *world) effective(e *life, now time.Duration) float64 {
	if e.draining || e.hidden {
		return 0
	}
	endpoint := w.endpoint(e, now)
	return endpoint.Full() * warmup.Share(w.warmup(e), warmup.Progress(w.warmup(e), e.member, endpoint.Age))
}

func (w *world) find(name string) *life {
	i := slices.IndexFunc(w.lives, func(e *life) bool { return e.name == name })
	if i < 0 {
		return nil
	}
	return w.lives[i]
}

// Note remembers what the fleet can carry before it changes.
func (l *Lab) note() {
	s := l.world.service(l.now)
	l.world.capacity.Stood(&s, &s.Pools[0], 0, l.clock())
}

// View returns everything as it is now.
func (l *Lab) view() fleet.View {
	w := &l.world
	w.number++
	s := w.service(l.now)
	w.capacity.Measure(&s, &s.Pools[0], l.clock())
	w.force, w.places = s.Pools[0].Capacity, s.Pools[0].Places
	v := fleet.View{Snapshot: &fleet.Snapshot{Number: w.number, Services: []fleet.Service{s}}, Taken: l.clock()}
	for i := range l.config.Gateways {
		v.Gateways = append(v.Gateways, "gateway-"+strconv.Itoa(i))
	}
	return v
}

// Service is the service as it is now, with the capacity that was in force until now.
func (w *world) service(now time.Duration) fleet.Service {
	s := fleet.Service{Name: "lab:80", Host: "lab", Port: 80}
	p := fleet.Pool{Policy: w.policy, Capacity: w.force, Places: w.places}
	for _, e := range w.lives {
		if e.hidden {
			continue
		}
		m := e.member
		m.Endpoint = len(s.Endpoints)
		p.Members = append(p.Members, m)
		s.Endpoints = append(s.Endpoints, w.endpoint(e, now))
		at := netip.AddrFrom4([4]byte{127, 1, byte(m.Endpoint >> 8), byte(m.Endpoint)}) //nolint:gosec // wraps
		s.Endpoints[m.Endpoint].Address = netip.AddrPortFrom(at, 80)
	}
	s.Pools = []fleet.Pool{p}
	return s
}

// Endpoint is e as gateways see it, but for its address.
func (w *world) endpoint(e *life, now time.Duration) fleet.Endpoint {
	endpoint := fleet.Endpoint{
		Name: e.name, Incarnation: e.incarnation, Locality: e.locality,
		Weight: e.weight, Factor: e.factor, Stage: fleet.Serving, Age: now - e.offered, Warmup: e.warmup,
	}
	switch {
	case e.draining:
		endpoint.Stage = fleet.Draining
	case warmup.Progress(w.warmup(e), e.member, endpoint.Age) < 1:
		endpoint.Stage = fleet.Warming
	}
	return endpoint
}

// Publish tells every gateway what is now. It happens at every change, those that time brings included: whose
// ramp ends no longer counts for the shift budget.
func (l *Lab) publish() {
	v := l.view()
	for _, g := range l.gateways {
		g.apply(v)
	}
}
