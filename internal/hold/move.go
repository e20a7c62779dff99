package hold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// How long things take.
const (
	patience  = 5 * time.Second        // of one operation
	retryAt   = 250 * time.Millisecond // after what did not succeed, at first
	retryMost = 5 * time.Second        // and at most
)

var (
	errUnready  = errors.New("the instance cannot serve: what its application registers is kept back")
	errLeft     = errors.New("the instance has left: nothing is registered any more")
	errEnded    = errors.New("it ended by itself")
	errOnTheWay = errors.New("what the application registers is not answered")
)

// A refusedError is an ErrNothing of which the registry has said why.
type refusedError struct{ error }

func (e refusedError) Error() string {
	return "the registry refused what the application registers: " + e.error.Error()
}

func (e refusedError) Unwrap() []error { return []error{e.error, ErrNothing} }

// Put releases what is held, or changes the mark of what was released, and has what comes later passed on with it. It
// returns nil when every registry has all of it; ErrNothing when there has been nothing for some seconds. An instance
// that is not ready releases nothing. One that leaves does not either, and from then on what its registries do not have
// is swallowed.
func (g *Gate) Put(ctx context.Context, in fleet.Instance) error {
	if err := g.permit(in); err != nil {
		return err
	}
	return g.move(ctx, func(ctx context.Context) error {
		for {
			errs := g.converge(ctx)
			if slices.ContainsFunc(errs, func(err error) bool { return !g.FailOpen || !errors.Is(err, registry.ErrAway) }) {
				return errors.Join(errs...)
			}
			done, err := g.complete(ctx, len(errs) > 0)
			if done || err != nil {
				return err
			}
		}
	})
}

// permit takes in what is published of the instance.
func (g *Gate) permit(in fleet.Instance) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state == Drained:
		return errLeft
	case in.Leaving:
		g.leaving = true
	case g.state == Held && !in.Ready:
		return errUnready
	case g.state == Held && !g.leaving:
		g.state = Released
	}
	mark := Mark{Share: in.Ramp}
	switch {
	case g.leaving: // nobody's share grows on its way out
		mark.Share = g.mark.Share
	case in.Ramp <= 0 || in.Ramp > 1:
		mark.Share = 1
	}
	if g.Annotate {
		mark.Metadata, mark.Leaving = registry.Annotate(in), g.leaving
	}
	g.mark = mark
	g.changed()
	return nil
}

// complete says whether a Put has come to its end: with excused, a registry is away that need not be waited for.
// Otherwise it returns when something has changed.
func (g *Gate) complete(ctx context.Context, excused bool) (bool, error) {
	g.mu.Lock()
	news, away := g.news(), g.anyAway()
	done := g.listed || g.leaving || excused || g.FailOpen && away != nil
	for _, e := range g.entries { // what a registry that is away would have had may still come
		done = done || e.mark != nil && away == nil
	}
	refusal := g.refusal
	if g.state == Drained {
		g.mu.Unlock()
		return false, errLeft
	}
	g.listed = g.listed || done
	g.mu.Unlock()
	if done {
		return true, nil
	}
	if away != nil {
		return false, away
	}
	select {
	case <-news:
		return false, nil
	case <-ctx.Done():
	}
	if refusal != nil {
		return false, refusedError{refusal}
	}
	return false, ErrNothing
}

// Remove withdraws what was released, and has everything swallowed from when it is called. It returns nil when no
// registry has any of it.
func (g *Gate) Remove(ctx context.Context, incarnation string) error {
	g.mu.Lock()
	g.state, g.leaving = Drained, true
	g.changed()
	g.mu.Unlock()
	return g.move(ctx, func(ctx context.Context) error { return errors.Join(g.converge(ctx)...) })
}

// move has a function call registrations, alone, for as long as patience lasts.
func (g *Gate) move(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g.mu.Lock()
	if g.interrupt != nil {
		g.interrupt()
	}
	turn := g.turn()
	g.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-bounded.Done():
		return bounded.Err()
	}
	err := do(bounded)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// turn holds one while somebody calls registrations. The gate is locked.
func (g *Gate) turn() chan struct{} {
	if g.moving == nil {
		g.moving = make(chan struct{}, 1)
	}
	return g.moving
}

// converge calls registrations until every registry has what it is to have, and nothing else: in the order in which they
// were made, for every registry on its own. One that is away is not asked for the rest. It returns what
// was in the way.
func (g *Gate) converge(ctx context.Context) []error {
	g.mu.Lock()
	lists := map[string][]*entry{}
	for _, e := range g.entries {
		lists[e.key.Registry] = append(lists[e.key.Registry], e)
	}
	g.mu.Unlock()
	var all sync.WaitGroup
	results := make(chan []error, len(lists))
	for _, list := range lists {
		slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
		all.Go(func() { results <- g.bring(ctx, list) })
	}
	all.Wait()
	close(results)
	var errs []error
	for some := range results {
		errs = append(errs, some...)
	}
	return errs
}

// bring does for entries of one registry what converge does.
func (g *Gate) bring(ctx context.Context, list []*entry) (errs []error) {
	for _, e := range list {
		err := g.each(ctx, e)
		if err != nil {
			errs = append(errs, err)
		}
		if errors.Is(err, registry.ErrAway) {
			break
		}
	}
	return errs
}

// A step is what is to be done for an entry.
type step uint8

const (
	rest     step = iota // nothing
	wait                 // until what is on its way is answered
	release              // it, or a new mark of it
	withdraw             // it
)

// next is what is to be done for an entry. The gate is locked.
func (g *Gate) next(e *entry) step {
	drained := g.state == Drained
	switch {
	case g.entries[e.key] != e, drained && !e.may, !drained && !e.owed && !e.wanted, g.state == Held:
		return rest
	case len(e.passing) > 0:
		return wait
	case drained, e.owed:
		return withdraw
	case e.mark == nil && g.leaving, e.mark != nil && e.mark.equal(&g.mark):
		return rest
	}
	return release
}

// each does for one entry what converge does.
func (g *Gate) each(ctx context.Context, e *entry) error {
	for {
		g.mu.Lock()
		do, news := g.next(e), g.news()
		r, mark, passed := e.registration, g.mark, e.passed
		if do == release || do == withdraw {
			e.busy, e.may = true, true
		}
		g.mu.Unlock()
		var err error
		switch do {
		case rest:
			return nil
		case wait:
			select {
			case <-news:
			case <-ctx.Done():
				return wrapAway(e.key.String(), errOnTheWay)
			}
		case release:
			err = r.Release(ctx, mark)
			g.released(ctx, e, r, mark, err)
		case withdraw:
			err = r.Withdraw(ctx)
			g.withdrawn(e, passed, err)
		}
		if ctx.Err() != nil && err != nil { // whoever took longer than that is away
			return wrapAway(e.key.String(), err)
		}
		if err != nil && g.current(e, r) {
			return fmt.Errorf("%s: %w", e.key, err)
		}
	}
}

// released takes in what came of a Release.
func (g *Gate) released(ctx context.Context, e *entry, r Registration, mark Mark, err error) {
	g.mu.Lock()
	e.busy = false
	kind := ""
	if err == nil && e.registration == r && e.wanted {
		if e.mark == nil {
			kind = released
		}
		e.mark = &mark
	}
	reason := e.key.String()
	if err != nil && e.wanted && !errors.Is(err, registry.ErrAway) && ctx.Err() == nil && e.refused != err.Error() {
		kind, e.refused = refused, err.Error()
		reason += "; " + e.refused
	}
	g.changed()
	g.mu.Unlock()
	g.Note(kind, reason)
}

// withdrawn takes in what came of a Withdraw that began when so many registrations had been passed on.
func (g *Gate) withdrawn(e *entry, passed uint64, err error) {
	g.mu.Lock()
	e.busy = false
	kind := ""
	if err == nil {
		e.mark, e.owed = nil, false
		for i := range e.passing {
			e.passing[i].doubtful = true
		}
		if e.passed == passed {
			e.may = false
			if g.state == Drained {
				kind = withdrawn
			}
		}
		g.clear(e)
	}
	g.changed()
	g.mu.Unlock()
	g.Note(kind, e.key.String())
}

// current says whether an entry is still that of its key, and has the same registration.
func (g *Gate) current(e *entry, r Registration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.entries[e.key] == e && e.registration == r
}

// wrapAway is an error that wraps registry.ErrAway.
func wrapAway(what string, err error) error {
	if errors.Is(err, registry.ErrAway) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, registry.ErrAway, err)
}
