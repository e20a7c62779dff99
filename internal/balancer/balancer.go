// Package balancer makes, from a pool of endpoints, an immutable value that says where each request goes.
//
// The work is done when the world changes: [Compile] makes the next balancer from the previous one, carrying
// every endpoint's position over, so that no change of membership resets anyone. [Balancer.Pick] is then a
// few loads: no lock, no allocation, no log line.
//
// While [Balancer.Warming] holds, shares grow, and the balancer is to be compiled again every [Balancer.Tick].
package balancer

import (
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// An Input is everything that a balancer is made from.
type Input struct {
	View     fleet.View
	Service  *fleet.Service
	Pool     *fleet.Pool   // one of Service.Pools
	Overlay  fleet.Overlay // what this data plane knows; may be nil
	Traffic  evidence.Book // by incarnation; has an entry for every endpoint of the service, the same for as long as it is there
	Near     warmup.Near   // where this data plane stands
	Position int           // which of View.Gateways this is (j)
	Seed     uint64        // this gateway's own; decides where its rotation starts
	Random   func() uint64 // uniform over all 64 bits; nil is the runtime's, the only one that many may pick by at once
}

// A Balancer is one pool at one moment. It is safe for concurrent use. What changes in it is shared with the
// balancers compiled from it: counts, the rotation's cursor, and who has had its probe.
type Balancer struct {
	algorithm fleet.Algorithm
	endpoints []*fleet.Endpoint // as Pool.Members, like all that is indexed below
	members   []member
	cells     []*cell
	warm      []uint64 // a bit for each member that warms up; nil when nobody does
	lanes     []lane   // LEAST_REQUEST, and with a bound; else nil
	groups    []warmup.Group
	sets      []set    // as groups
	home      int      // the only group that gets anything; -1 where there are several
	several   *several // nil where there is only one
	doors     *doors   // RING_HASH, MAGLEV
	load      *load    // nil without a bound
	addresses *addresses
	random    func() uint64
	probes    *probes // nil while nobody warms
	pace      *pace
	policy    fleet.Policy
	warmup    fleet.Warmup // by which the pool goes; see warmup.Pace
	view      fleet.View
	warming   bool
}

// A Share is what one endpoint of a pool gets now, and why.
type Share struct {
	Endpoint  *fleet.Endpoint
	Age       time.Duration
	Progress  float64 // on the warm-up curve, 0..1
	Curve     float64 // part of its full weight that the curve alone gives, 0..1
	Share     float64 // part of its full weight that it gets, 0..1, of what comes to its group
	Weight    float64 // full, steady-state weight
	Effective float64 // Weight × Share
	Level     string  // its group: what its members have in common; "" when where they are makes no difference
	Part      float64 // of the pool's requests that its group gets now, 0..1
	Fraction  float64 // of the pool's requests that it should get now, 0..1
	Expected  float64 // requests that it should have got since it joined: Σ Fraction over the pool's picks
	Actual    uint64  // picks that it did get since it joined
	Reason    warmup.Reason
}

// Endpoints returns every endpoint of the pool, those left out included, in the order of Pool.Members. The
// caller must not change it.
func (b *Balancer) Endpoints() []*fleet.Endpoint { return b.endpoints }

// Warming says whether time alone lets anybody's share grow, so that the balancer must be compiled again at the
// next tick. One whose warm-up is paused does not count.
func (b *Balancer) Warming() bool { return b.warming }

// Tick returns how soon the balancer must be compiled again while it is warming.
func (b *Balancer) Tick() time.Duration { return warmup.Tick(b.warmup) }

// Groups says how the pool's requests fall to the groups that its locality policy makes of it, the nearest first;
// without one there is one group. The caller must not change it.
func (b *Balancer) Groups() []warmup.Group { return b.groups }

// Shares says what each endpoint of Endpoints gets, and why. Shares are those in force, which stand until the
// next Compile; ages are those at now.
func (b *Balancer) Shares(now time.Time) []Share {
	var picks uint64 // of the whole pool, since this balancer was compiled
	for i, c := range b.cells {
		picks += c.picks.Load() - b.members[i].picks
	}
	shares := make([]Share, len(b.members))
	for i := range b.members {
		m, c := &b.members[i], b.cells[i]
		shares[i] = Share{
			Endpoint:  m.endpoint,
			Age:       b.view.Age(m.endpoint, now),
			Progress:  m.Progress,
			Curve:     m.Curve,
			Share:     m.Share,
			Weight:    m.endpoint.Full(),
			Effective: m.effective(),
			Level:     b.groups[m.Group].Level,
			Part:      b.groups[m.Group].Part,
			Fraction:  m.fraction,
			Expected:  m.expected + m.fraction*float64(picks),
			Actual:    c.picks.Load(),
			Reason:    m.Reason,
		}
		if m.probed(c) {
			shares[i].Reason = warmup.Probe
		}
	}
	return shares
}
