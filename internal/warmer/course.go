package warmer

import "time"

// How a warm-up is judged.
const (
	windowRequests = 20   // a window has at least so many: fewer have no median worth the name
	crowded        = 1.5  // a window that costs so much more than another one is crowded
	failing        = 0.1  // and so is one of whose requests so many more fail
	improvement    = 0.05 // what is less is no improvement
	patience       = 6    // windows without improvement until latency has converged
)

// A window is what the requests of at least half a second came to.
type window struct {
	cost   time.Duration // of a request; 0: none was answered
	failed float64       // the part of the requests that failed, 0 to 1
}

// A course steers a warm-up from window to window: how many requests are open at once, and when latency has converged.
//
// Concurrency doubles while the instance keeps up. By Little's law an instance that has come to its limit answers twice
// as many requests at once in twice the time; one that has not, in the same. The line is drawn between the two: from
// there it goes back by half and stays.
//
// Latency has converged when, with concurrency at rest, so many windows (patience) have come since one improved on the
// best before it by a twentieth. Windows that cost half as much again as the best do not count: something else was in the
// way, and what they hide may be an improvement. That is early stopping with patience (L. Prechelt, "Early Stopping — But When?",
// 1998) on windows in a row as steady state is found by A. Georges, D. Buytaert, L. Eeckhout, "Statistically Rigorous
// Java Performance Evaluation" (OOPSLA 2007, section 4.2), with medians in place of their coefficient of variation: an
// instance beside others is never as quiet as a benchmark. Not every program comes to a steady state, and some rest for
// a while before they get faster again (E. Barrett et al., "Virtual Machine Warmup Blows Hot and Cold", OOPSLA 2017):
// what bounds a warm-up is its time, and a rest of three seconds is taken for its end.
type course struct {
	most        int // requests at once
	concurrency int // now

	before  window // the window before
	raised  bool   // concurrency was raised after it
	resting bool   // concurrency grows no more
	best    time.Duration
	since   int // windows that count since one improved on the best
}

// next takes the window that has ended and says whether latency has converged.
func (c *course) next(w window) bool {
	before := c.before
	c.before = w
	c.resting = c.resting || c.concurrency >= c.most
	switch {
	case w.cost == 0:
		c.best, c.since = 0, 0
		c.raised = false
		return false
	case before.cost != 0 && c.tooMany(before, w):
		c.concurrency = max(1, c.concurrency/2)
		c.raised, c.resting = false, true
		c.best, c.since = 0, 0
		return false
	case !c.resting:
		c.concurrency = min(2*c.concurrency, c.most)
		c.raised = true
		return false
	}
	c.raised = false
	switch {
	case c.best == 0 || float64(w.cost) < (1-improvement)*float64(c.best):
		c.best, c.since = w.cost, 0
	case float64(w.cost) <= crowded*float64(c.best):
		c.since++
	}
	return c.since >= patience
}

// tooMany says whether the instance was given more at once than it keeps up with.
func (c *course) tooMany(before, w window) bool {
	return w.failed > before.failed+failing || c.raised && float64(w.cost) > crowded*float64(before.cost)
}

// settled says how near latency is to having converged, 0 to 1.
func (c *course) settled() float64 { return min(1, float64(c.since)/patience) }
