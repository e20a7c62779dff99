package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/picker"
	"crossfade.dev/internal/warmup"
)

// Spacing is how many picks there are from one guaranteed probe to the next, at least.
const spacing = 10

// A pace is what all balancers of one pool have in common while endpoints warm up.
type pace struct {
	epoch   time.Time    // when the first of them was compiled; times below are nanoseconds since
	natural atomic.Int64 // picks since the last probe
}

func (p *pace) since(now time.Time) int64 { return int64(now.Sub(p.epoch)) }

// Probes sees to it that everyone who warms up gets a request in each of its periods, however little of the
// traffic its share is: when a period ends in which it got none, the next request is sent to it out of turn.
// Periods are counted from age 0, and those of one gateway are shifted against those of the others, so that an
// endpoint waits for one probe interval at most, for all gateways together.
type probes struct {
	period int64
	list   []probe
	next   atomic.Int64 // no deadline passes before this
}

type probe struct {
	index int
	first int64 // its first deadline
}

// Deadline returns the last deadline until at. It is later than at when there was none.
func (p *probes) deadline(q probe, at int64) int64 {
	if at < q.first {
		return q.first
	}
	return at - (at-q.first)%p.period
}

// Overdue says whether the period that ended with q's last deadline went by without a request. A request at the
// very deadline is in the next period.
func (p *probes) overdue(q probe, c *cell, at int64) bool {
	d := p.deadline(q, at)
	return d <= at && c.served.Load() <= d-p.period
}

// ProbeInterval is the longest that an endpoint waits for a request from anyone.
func probeInterval(window time.Duration) time.Duration { return max(3*time.Second, window/10) }

// ScheduleProbes lays down the deadlines of those who warm up.
func (b *Balancer) scheduleProbes(prev *Balancer, from []int, in *Input, now time.Time) {
	if b.pace.epoch.IsZero() {
		b.pace.epoch = now
		b.pace.natural.Store(spacing)
	}
	if !b.warming {
		return
	}
	gateways := max(1, len(in.View.Gateways))
	interval := probeInterval(b.policy.Warmup.Window)
	p := &probes{period: saturate(float64(gateways) * float64(interval))}
	at := b.pace.since(now)
	for i := range b.members {
		m := &b.members[i]
		if !m.Warming || m.Share == 0 {
			continue
		}
		born := at - int64(in.View.Age(m.endpoint, now))
		q := probe{index: i, first: born + saturate(turn(m.endpoint.Incarnation, in.Position, gateways)*float64(interval))}
		if at >= q.first && b.pastDeadlines(prev, from[i]) {
			b.lanes[i].cell.served.Store(at)
		}
		p.list = append(p.list, q)
	}
	if len(p.list) > 0 {
		b.probes = p
		p.next.Store(b.nextDeadline(at))
	}
}

// PastDeadlines says whether the deadlines of the member that was old in prev are to be forgotten: those that
// passed before this gateway started were other gateways', or this one's own in an earlier life, and those that
// passed while an endpoint was warm or left out mean nothing.
func (b *Balancer) pastDeadlines(prev *Balancer, old int) bool {
	switch {
	case prev == nil:
		return true
	case old < 0:
		return false
	default:
		return !prev.members[old].Warming && prev.members[old].endpoint.Stage.Offered()
	}
}

// Turn returns an endpoint's first deadline at gateway j of n, in probe intervals from its age 0; it is below n.
func turn(incarnation string, j, n int) float64 {
	h := hash(incarnation)
	place := (uint64(max(0, j)) + h) % uint64(n) //nolint:gosec // neither is negative
	return float64(place) + float64(picker.Mix(h)>>11)/(1<<53)
}

// NextDeadline returns when somebody is overdue next, which may be now.
func (b *Balancer) nextDeadline(at int64) int64 {
	next := int64(math.MaxInt64)
	for _, q := range b.probes.list {
		d := b.probes.deadline(q, at)
		if d <= at && !b.probes.overdue(q, b.lanes[q.index].cell, at) {
			d += b.probes.period
		}
		next = min(next, d)
	}
	return next
}

// Probe returns the index of an endpoint whose guaranteed probe the next request is to be, -1 when no probe is
// due. Of ten picks at most one is a probe.
func (b *Balancer) probe(at int64, avoid int) int {
	p := b.probes
	if at < p.next.Load() {
		return -1
	}
	natural := b.pace.natural.Load()
	if natural < spacing-1 || !b.pace.natural.CompareAndSwap(natural, 0) {
		return -1
	}
	for _, q := range p.list {
		c := b.lanes[q.index].cell
		if q.index == avoid || !p.overdue(q, c, at) {
			continue
		}
		// The middle of the period that the probe is for: a deadline that moves a little, as ages from
		// control do, neither repeats nor skips one.
		c.served.Store(p.deadline(q, at) - p.period/2)
		c.probed.Store(true)
		p.next.Store(b.nextDeadline(at))
		return q.index
	}
	b.pace.natural.Store(natural)
	p.next.Store(b.nextDeadline(at))
	return -1
}

// Natural notes that the rotation or the draw chose i on its own.
func (b *Balancer) natural(i int, at int64) {
	b.pace.natural.Add(1)
	if b.members[i].Warming {
		b.lanes[i].cell.served.Store(at)
		b.lanes[i].cell.probed.Store(false)
	}
}

// Probed says whether the last that m got was a guaranteed probe, where it would have waited otherwise.
func (m *member) probed(c *cell) bool {
	return m.Warming && (m.Reason == warmup.New || m.Reason == warmup.Recovered) && c.probed.Load()
}

// Saturate returns d as nanoseconds, at most a century.
func saturate(d float64) int64 { return int64(min(d, 100*365*24*float64(time.Hour))) }

// Hash returns a hash of s that is the same in every process: gateways share out probes by it. It is FNV-1a
// with its bits mixed.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return picker.Mix(h)
}
