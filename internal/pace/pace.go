// Package pace spaces work out by what it costs, so that work that is done anew at every change takes a bounded
// part of a processor however often things change.
package pace

import "time"

// last is how many costs count: the least of them, so that being interrupted once costs nothing.
const last = 4

// A Pace says when work may be done again: Factor times what it cost after it began, but at most Most. The first
// times, and as long as it costs less than Free, at once.
type Pace struct {
	Factor int
	Most   time.Duration
	Free   time.Duration

	costs [last]time.Duration
	count int
	next  time.Time
}

// Spent notes that the work was done from began to ended.
func (p *Pace) Spent(began, ended time.Time) {
	p.costs[p.count%last] = ended.Sub(began)
	p.count++
	p.next = ended
	if p.count < last {
		return
	}
	cost := p.costs[0]
	for _, c := range p.costs[1:] {
		cost = min(cost, c)
	}
	if cost >= p.Free {
		p.next = began.Add(min(time.Duration(p.Factor)*cost, p.Most))
	}
}

// Wait returns how long after now the work may be done again; 0 when it may be done now.
func (p *Pace) Wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }
