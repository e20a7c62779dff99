package balancer

import (
	"cmp"
	"slices"
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
//
// All periods are equally long, so that deadlines come round in one order for ever: a hand goes from each to the
// next, and a request looks at those only that passed since the last one.
type probes struct {
	period int64
	list   []probe      // by when their deadlines come in a period
	next   atomic.Int64 // the deadline that the hand is at; until then there is nothing to do
	hand   atomic.Int64 // how many deadlines came before it, were there any before the epoch
}

type probe struct {
	index int
	first int64 // its first deadline
	phase int64 // when its deadlines come in a period
}

// At returns the deadline that the hand comes to after so many, and whose it is.
func (p *probes) at(hand int64) (int64, probe) {
	n := int64(len(p.list))
	q := p.list[wrap(hand, n)]
	return floor(hand, n)*p.period + q.phase, q
}

// Upto returns how many deadlines there are until at.
func (p *probes) upto(at int64) int64 {
	round := floor(at, p.period)
	passed, _ := slices.BinarySearchFunc(p.list, at-round*p.period+1, func(q probe, phase int64) int { return cmp.Compare(q.phase, phase) })
	return round*int64(len(p.list)) + int64(passed)
}

// Floor returns a/b, rounded down; wrap returns what is left.
func floor(a, b int64) int64 { return (a - wrap(a, b)) / b }
func wrap(a, b int64) int64  { return ((a % b) + b) % b }

// Deadline returns the last deadline of q until at. It is later than at when there was none.
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
	return d <= at && c.lastServed() <= d-p.period
}

// ProbeInterval is the longest that an endpoint waits for a request from anyone. Where endpoints have windows of their
// own, the shortest counts for all: there is one period.
func probeInterval(window time.Duration) time.Duration { return max(3*time.Second, window/10) }

// ScheduleProbes lays down the deadlines of those who warm up.
func (b *Balancer) scheduleProbes(prev *Balancer, from []int, in *Input, now time.Time) {
	if b.pace.epoch.IsZero() {
		b.pace.epoch = now
		b.pace.natural.Store(spacing)
	}
	gateways := max(1, len(in.View.Gateways))
	interval := probeInterval(b.warmup.Window)
	p := &probes{period: saturate(float64(gateways) * float64(interval))}
	at := b.pace.since(now)
	for i := range b.members {
		m := &b.members[i]
		if !m.Warming || m.Share == 0 || b.groups[m.Group].Part == 0 {
			continue
		}
		born := at - int64(in.View.Age(m.endpoint, now))
		q := probe{index: i, first: born + saturate(turn(m.endpoint.Incarnation, in.Position, gateways)*float64(interval))}
		if at >= q.first && b.pastDeadlines(prev, from[i]) {
			b.cells[i].serve(at, b.cells[i].probed())
		}
		q.phase = wrap(q.first, p.period)
		p.list = append(p.list, q)
	}
	if len(p.list) > 0 {
		b.probes = p
		b.wind(at)
	}
}

// Wind sets the hand to the first deadline that there is something to do about at a moment: of those that passed,
// the last of each endpoint is looked at.
func (b *Balancer) wind(at int64) {
	p := b.probes
	slices.SortFunc(p.list, func(x, y probe) int { return cmp.Compare(x.phase, y.phase) })
	passed := p.upto(at)
	hand := passed - int64(len(p.list))
	for ; hand < passed; hand++ {
		if _, q := p.at(hand); p.overdue(q, b.cells[q.index], at) {
			break
		}
	}
	p.hand.Store(hand)
	next, _ := p.at(hand)
	p.next.Store(next)
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

// Looks is how many deadlines one request looks at, at most. Others follow.
const looks = 32

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
	for range looks {
		hand := p.hand.Load()
		if oldest := p.upto(at) - int64(len(p.list)); hand < oldest { // older ones have been followed by others
			p.hand.CompareAndSwap(hand, oldest)
			continue
		}
		when, q := p.at(hand)
		c := b.cells[q.index]
		due := p.overdue(q, c, at)
		if when > at || due && q.index == avoid || !p.hand.CompareAndSwap(hand, hand+1) {
			break
		}
		next, _ := p.at(hand + 1)
		p.next.Store(next)
		if due {
			// The middle of the period that the probe is for: a deadline that moves a little, as ages from
			// control do, neither repeats nor skips one.
			c.serve(p.deadline(q, at)-p.period/2, true)
			return q.index
		}
	}
	b.pace.natural.Store(natural)
	return -1
}

// Natural notes that the rotation or the draw chose i on its own.
func (b *Balancer) natural(i int, at int64) {
	if b.pace.natural.Load() < spacing { // more makes no difference, and nobody waits for the others to count it
		b.pace.natural.Add(1)
	}
	if b.warm[i/64]>>(i%64)&1 != 0 {
		b.cells[i].serve(at, false)
	}
}

// Probed says whether the last that m got was a guaranteed probe, where it would have waited otherwise.
func (m *member) probed(c *cell) bool {
	return m.Warming && (m.Reason == warmup.New || m.Reason == warmup.Recovered) && c.probed()
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
