// Package health looks at endpoints from outside: active HTTP, gRPC and TCP checks, each endpoint in its own rhythm.
// What follows from a verdict is its user's business: control offers an endpoint that passes, a data plane
// ejects one that fails.
package health

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
)

// A Target is an endpoint to look at. A target with the same key, address and check is the same target.
type Target struct {
	Key     string // the incarnation
	Address netip.AddrPort
	Check   fleet.Check
}

// A Verdict is that a target became healthy or unhealthy, and why.
type Verdict struct {
	Key     string
	Healthy bool
	Reason  string // what the last look saw: "HTTP 503", "connect: connection refused"
}

// DefaultCheck is what decides about an endpoint that names no check of its own: does it accept connections?
func DefaultCheck() fleet.Check {
	return fleet.Check{Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
}

// NewTarget returns the endpoint as a target, with the default check if it has none.
func NewTarget(e *fleet.Endpoint) Target {
	t := Target{Key: e.Incarnation, Address: e.Address, Check: DefaultCheck()}
	if e.Check != nil {
		t.Check = *e.Check
	}
	return t
}

// A Checker looks at its targets for as long as Run runs. Verdicts come one at a time, the first one for each
// target as soon as its thresholds are met, later ones only when they change.
type Checker struct {
	OnVerdict func(Verdict) // called from Run's goroutines, one call at a time
	// Look does what a target's check says; nil: that, HTTP, gRPC or TCP.
	Look Look
	// Reach makes a connection to a target's address; nil: TCP.
	Reach Look

	told sync.Mutex // serialises OnVerdict

	mu      sync.Mutex // guards the following
	wanted  []Target
	changed chan struct{}    // rung when wanted changes; size one
	watches map[string]*hint // by key, while it is watched
}

// Set makes targets the ones to look at. Those that stay go on undisturbed.
func (c *Checker) Set(targets []Target) {
	bell := c.bell()
	c.mu.Lock()
	c.wanted = targets
	c.mu.Unlock()
	select {
	case bell <- struct{}{}:
	default:
	}
}

func (c *Checker) bell() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{}, 1)
	}
	return c.changed
}

// Run looks at the targets until ctx ends, and returns when the last look has ended.
func (c *Checker) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	bell := c.bell()
	watched := map[Target]context.CancelFunc{}
	for {
		c.mu.Lock()
		wanted := c.wanted
		c.mu.Unlock()
		left := watched
		watched = make(map[Target]context.CancelFunc, len(wanted))
		for _, t := range wanted {
			cancel := left[t]
			if watched[t] == nil && cancel == nil {
				var one context.Context
				one, cancel = context.WithCancel(ctx)
				h := c.newHint(t.Key)
				group.Go(func() { defer c.forget(t.Key, h); c.watch(one, t, h) })
			}
			if cancel != nil {
				watched[t] = cancel
			}
			delete(left, t)
		}
		for _, cancel := range left {
			cancel()
		}
		select {
		case <-bell:
		case <-ctx.Done():
			return nil
		}
	}
}

// watch looks at one target until ctx ends. Until its first verdict it looks more often, so that a healthy
// instance is not kept waiting for a whole interval.
func (c *Checker) watch(ctx context.Context, t Target, h *hint) {
	look, reach := c.Look, c.Reach
	if look == nil || reach == nil {
		p := newProbe(t)
		defer p.close()
		look = or(look, func(ctx context.Context, _ Target) (string, bool) { return p.look(ctx) })
		reach = or(reach, func(ctx context.Context, _ Target) (string, bool) { return p.reach(ctx) })
	}
	tally := tally{check: t.Check}
	for wait := t.Check.InitialDelay; ; wait = tally.pause() {
		select {
		case <-ctx.Done():
			return
		case <-h.bell:
			tally.hear(h.gone.Swap(false))
		case <-time.After(wait):
		}
		reason, ok := "", true
		if tally.doubted {
			reason, ok = reach(ctx, t)
		}
		trusted := ok && tally.doubted && tally.healthy
		if ok && !trusted {
			reason, ok = look(ctx, t)
		}
		if ctx.Err() != nil {
			return
		}
		if trusted {
			tally.doubted = false
		} else if tally.add(ok) {
			c.tell(ctx, Verdict{t.Key, ok, reason})
		}
	}
}

// A Look looks once at a target.
type Look = func(context.Context, Target) (reason string, ok bool)

func or(given, usual Look) Look {
	if given != nil {
		return given
	}
	return usual
}

func (c *Checker) tell(ctx context.Context, v Verdict) {
	c.told.Lock()
	defer c.told.Unlock()
	if ctx.Err() == nil {
		c.OnVerdict(v)
	}
}

// A tally turns looks into verdicts: so many in a row.
type tally struct {
	check   fleet.Check
	told    bool // a verdict was given
	healthy bool // that verdict
	streak  int  // looks in a row that contradict it, or that agree before the first one
	last    bool
	doubted bool // somebody could not reach it: it is to be reached first
}

// hear takes a hint.
func (t *tally) hear(gone bool) {
	t.doubted = true
	if gone {
		t.told, t.healthy, t.streak = true, false, 0
	}
}

// add counts one look and says whether it makes a new verdict.
func (t *tally) add(ok bool) bool {
	if t.told && ok == t.healthy {
		t.streak = 0
		return false
	}
	if ok != t.last {
		t.streak = 0
	}
	t.last = ok
	t.streak++
	threshold := max(1, t.check.Unhealthy)
	if ok {
		threshold = max(1, t.check.Healthy)
	}
	if t.streak < threshold {
		return false
	}
	t.told, t.healthy, t.streak = true, ok, 0
	t.doubted = t.doubted && !ok
	return true
}

// pause is the time to the next look: the interval, ±10 % so that many checkers do not march in step; a tenth
// of it while the target is not known to be healthy; and hardly any where it is only to be reached.
func (t *tally) pause() time.Duration {
	const soon = 100 * time.Millisecond
	interval := t.check.Interval
	if interval <= 0 {
		interval = DefaultCheck().Interval
	}
	switch {
	case !t.told || !t.healthy:
		interval = max(min(interval, soon), interval/10)
		if t.doubted { // it failed between two looks, and may be back as soon
			interval = min(interval, DefaultCheck().Interval)
		}
	case t.doubted:
		interval = min(interval, soon)
	}
	return time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64()))
}
