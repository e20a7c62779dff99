package lab

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// A world plays control: it knows who runs, and since when they are offered.
type world struct {
	policy fleet.Policy
	lives  []*life
	number uint64
	past   []standing // of the last ten seconds and the moment before
}

// A life is one incarnation of an endpoint.
type life struct {
	name        string
	incarnation string
	offered     time.Duration
	weight      uint32
	draining    bool
	hidden      bool // alive, but not shown to gateways
	member      fleet.Member
	before      float64 // the greatest capacity in the ten seconds before it was offered
}

// A standing is what the fleet could carry at a moment.
type standing struct {
	at       time.Duration
	capacity float64
}

// Lookback is how long before a newcomer a capacity counts as having been there before it.
const lookback = 10 * time.Second

// Mature is an age at which every ramp is over.
const mature = 365 * 24 * time.Hour

// Join offers a new endpoint of weight 1.
func (l *Lab) Join(name string) { l.join(name, 0) }

// JoinWarm offers an endpoint that has been there for ever.
func (l *Lab) JoinWarm(name string) { l.join(name, mature) }

func (l *Lab) join(name string, age time.Duration) {
	l.note()
	l.world.lives = append(l.world.lives, l.born(name, age))
	l.publish()
	l.At(l.now+l.world.policy.Warmup.Window, l.publish)
}

// Born returns a new life. Its incarnation is another in every run, as that of a process is.
func (l *Lab) born(name string, age time.Duration) *life {
	return &life{
		name: name, incarnation: name + "#" + strconv.FormatUint(l.random.Uint64(), 36),
		offered: l.now - age, weight: 1, before: l.world.greatest(l.now),
	}
}

// Restart ends endpoints and begins them anew, under the same names and at the same addresses, all at the same
// moment.
func (l *Lab) Restart(names ...string) {
	l.note()
	for i, e := range l.world.lives {
		if slices.Contains(names, e.name) {
			next := l.born(e.name, 0)
			next.weight = e.weight
			l.world.lives[i] = next
		}
	}
	l.publish()
	l.At(l.now+l.world.policy.Warmup.Window, l.publish)
}

// Leave takes endpoints away, all at the same moment.
func (l *Lab) Leave(names ...string) {
	l.note()
	l.world.lives = slices.DeleteFunc(l.world.lives, func(e *life) bool { return slices.Contains(names, e.name) })
	l.publish()
}

// Drain asks that nothing new is sent to an endpoint.
func (l *Lab) Drain(name string) {
	if e := l.world.find(name); e != nil {
		e.draining = true
		l.publish()
	}
}

// Hide takes an endpoint away as a failed readiness check does: it goes on living, and ageing.
func (l *Lab) Hide(name string) { l.show(name, false) }

// Show brings an endpoint back that was hidden.
func (l *Lab) Show(name string) { l.show(name, true) }

func (l *Lab) show(name string, shown bool) {
	l.note()
	if e := l.world.find(name); e != nil {
		e.hidden = !shown
	}
	l.publish()
}

// SetWeight changes an endpoint's weight.
func (l *Lab) SetWeight(name string, weight uint32) {
	if e := l.world.find(name); e != nil {
		e.weight = weight
		l.publish()
	}
}

// SetPolicy changes the pool's policy. Nobody's share jumps.
func (l *Lab) SetPolicy(p fleet.Policy) {
	for _, e := range l.world.lives {
		e.member = warmup.Rebase(e.member, l.world.policy.Warmup, p.Warmup, l.now-e.offered)
	}
	l.world.policy = p
	l.publish()
	l.At(l.now+p.Warmup.Window, l.publish)
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

func (w *world) effective(e *life, now time.Duration) float64 {
	switch {
	case e.draining || e.hidden:
		return 0
	case w.policy.Warmup.Window <= 0:
		return float64(e.weight)
	}
	p := curve.Progress(e.member.Base, now-e.offered, e.member.At, w.policy.Warmup.Window)
	return float64(e.weight) * curve.Share(p, w.policy.Warmup.Minimum, w.policy.Warmup.Aggression)
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
	w := &l.world
	var sum float64
	for _, e := range w.lives {
		sum += w.effective(e, l.now)
	}
	w.past = slices.DeleteFunc(w.past, func(s standing) bool { return l.now-s.at > lookback })
	w.past = append(w.past, standing{l.now, sum})
}

func (w *world) greatest(now time.Duration) float64 {
	var most float64
	for _, s := range w.past {
		if now-s.at <= lookback {
			most = max(most, s.capacity)
		}
	}
	return most
}

// Capacity is what stood before the oldest of those who warm up came.
func (w *world) capacity(now time.Duration) float64 {
	var oldest *life
	for _, e := range w.lives {
		warming := w.effective(e, now) < float64(e.weight) && !e.draining && !e.hidden
		if warming && (oldest == nil || e.offered < oldest.offered) {
			oldest = e
		}
	}
	if oldest == nil {
		return 0
	}
	return oldest.before
}

// View returns everything as it is now.
func (l *Lab) view() fleet.View {
	w := &l.world
	w.number++
	s := fleet.Service{Name: "lab:80", Host: "lab", Port: 80}
	p := fleet.Pool{Policy: w.policy, Capacity: w.capacity(l.now)}
	for _, e := range w.lives {
		i := len(s.Endpoints)
		stage := fleet.Serving
		switch {
		case e.hidden:
			continue
		case e.draining:
			stage = fleet.Draining
		case w.effective(e, l.now) < float64(e.weight):
			stage = fleet.Warming
		}
		s.Endpoints = append(s.Endpoints, fleet.Endpoint{
			Name: e.name, Incarnation: e.incarnation, Weight: e.weight, Stage: stage, Age: l.now - e.offered,
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), 80), //nolint:gosec // wraps
		})
		p.Members = append(p.Members, fleet.Member{Endpoint: i, Base: e.member.Base, At: e.member.At})
	}
	s.Pools = []fleet.Pool{p}
	v := fleet.View{Snapshot: &fleet.Snapshot{Number: w.number, Services: []fleet.Service{s}}, Taken: l.clock()}
	for i := range l.config.Gateways {
		v.Gateways = append(v.Gateways, "gateway-"+strconv.Itoa(i))
	}
	return v
}

// Publish tells every gateway what is now. It happens at every change, those that time brings included: whose
// ramp ends no longer counts for the shift budget.
func (l *Lab) publish() {
	v := l.view()
	for _, g := range l.gateways {
		g.apply(v)
	}
}
