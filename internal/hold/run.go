package hold

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Run runs the proxies until ctx ends, or one of them does: then it returns why. It tells when a registry went away, with
// what wraps [registry.ErrAway], and with nil when none is. What Put and Remove could not bring about it tries again, and
// again.
func (g *Gate) Run(ctx context.Context, told func(error)) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, p := range g.Proxies {
		all.Go(func() {
			err := p.Run(running, g)
			if err == nil {
				err = errEnded
			}
			stop(fmt.Errorf("%s: %w", p.Registry(), err))
		})
	}
	g.tend(running, told)
	all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// tend does what Run promises beside the proxies.
func (g *Gate) tend(ctx context.Context, told func(error)) {
	var due time.Time // when it is tried again; zero: there is nothing to try
	down, pause := false, retryAt
	for {
		g.mu.Lock()
		news, away, loose := g.news(), g.anyAway(), g.loose()
		g.mu.Unlock()
		switch {
		case !loose:
			due, pause = time.Time{}, retryAt
		case down && away == nil:
			due, pause = time.Now(), retryAt
		case due.IsZero():
			due = time.Now().Add(pause)
		}
		if down != (away != nil) {
			down = away != nil
			told(away)
		}
		var again <-chan time.Time
		if !due.IsZero() {
			again = time.After(time.Until(due))
		}
		select {
		case <-news:
		case <-again:
			g.again(ctx)
			due, pause = time.Time{}, min(2*pause, retryMost)
		case <-ctx.Done():
			return
		}
	}
}

// loose says whether a registry does not have what it is to have, or may have what it is not to. The gate is locked.
func (g *Gate) loose() bool {
	for _, e := range g.entries {
		if g.next(e) != rest {
			return true
		}
	}
	return false
}

// again tries once more, unless somebody does anyway.
func (g *Gate) again(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g.mu.Lock()
	turn := g.turn()
	select {
	case turn <- struct{}{}:
		g.interrupt = cancel
		g.mu.Unlock()
	default:
		g.mu.Unlock()
		return
	}
	for _, err := range g.converge(ctx) {
		if g.Log != nil {
			g.Log.DebugContext(ctx, "a registration is not as it should be", "why", err)
		}
	}
	g.mu.Lock()
	g.interrupt = nil
	g.mu.Unlock()
	<-turn
}
