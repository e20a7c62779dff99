package hold

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"crossfade.dev/internal/registry"
)

// ErrNothing says that the application has registered nothing yet, and what people may look at.
var ErrNothing = errors.New("the application has registered nothing through its registry proxy yet: is --hold's listen= its registry's address, and does it register where --hold looks (paths=, prefix=)?")

// Kinds of the events that a gate tells.
const (
	registered = "hold.registered" // it is held
	released   = "hold.released"   // the registry has it
	withdrawn  = "hold.withdrawn"  // the registry has it no more
	swallowed  = "hold.swallowed"  // it came after the instance was told to leave
	refused    = "hold.refused"    // the registry did not take it
)

// sayAgain is how long a gate waits before it tells again that the same is swallowed.
const sayAgain = time.Minute

// A Gate decides what becomes of everything that one application registers. Its fields must not change once it is used.
type Gate struct {
	Proxies  []Proxy
	Annotate bool                      // registrations say in their metadata what an agent publishes: see registry.Annotate. Else they are as the application sent them, but for a weight that a Lifecycle ramps
	FailOpen bool                      // the instance counts as registered while a registry is away; it is released when that is back
	Tell     func(kind, reason string) // events for people, called from many goroutines; nil is nobody
	Log      *slog.Logger              // nil is silent

	mu        sync.Mutex
	state     State
	leaving   bool // the instance leaves: what the registry does not have now it does not get any more
	listed    bool // a Put has succeeded
	mark      Mark // of what is passed on now
	entries   map[Key]*entry
	count     uint64 // of the entries there ever were
	swallows  uint64
	refusal   error // the last that a registry gave the application
	away      map[Proxy]error
	changes   chan struct{}      // closed with the next change; nil when nobody waits
	moving    chan struct{}      // holds one while somebody calls registrations
	interrupt context.CancelFunc // of who moves without having been asked to; nil is nobody
}

// Register is called by a proxy for whatever an application registers, before it is answered; what the same key was
// registered with before is forgotten. With Pass comes the mark to pass it on with. Then the proxy calls Settle, or
// Forget. Registrations must be comparable with ==.
func (g *Gate) Register(key Key, r Registration) (Verdict, Mark) {
	g.mu.Lock()
	verdict, mark, kind := g.register(key, r)
	g.changed()
	g.mu.Unlock()
	g.Note(kind, key.String())
	return verdict, mark
}

func (g *Gate) register(key Key, r Registration) (verdict Verdict, mark Mark, kind string) {
	e := g.entries[key]
	if e == nil {
		e = &entry{key: key, place: g.count}
		g.count++
		if g.entries == nil {
			g.entries = map[Key]*entry{}
		}
		g.entries[key] = e
	}
	p := passage{r: r, before: e.registration, mark: g.mark, may: e.may, owed: e.owed}
	if !e.wanted {
		p.before = nil
	}
	e.registration, e.wanted, e.owed = r, true, false
	switch {
	case g.state == Held && !g.leaving:
		if p.before == nil {
			kind = registered
		}
		return Answer, Mark{}, kind
	case g.state == Released && (!g.leaving || e.mark != nil):
		e.passing = append(e.passing, p)
		e.passed++
		e.may = true
		return Pass, g.mark, ""
	}
	g.swallows++
	if now := time.Now(); e.told.IsZero() || now.Sub(e.told) >= sayAgain {
		e.told, kind = now, swallowed
	}
	return Answer, Mark{}, kind
}

// Settle is called when the registry has answered what was passed on: nil is that it has it. The error wraps
// [registry.ErrAway] when the connection ended before there was an answer.
func (g *Gate) Settle(key Key, r Registration, err error) {
	g.mu.Lock()
	kind := g.settle(key, r, err)
	g.changed()
	g.mu.Unlock()
	if kind == refused {
		g.Note(kind, key.String()+"; "+err.Error())
		return
	}
	g.Note(kind, key.String())
}

func (g *Gate) settle(key Key, r Registration, err error) (kind string) {
	e := g.entries[key]
	if e == nil {
		return ""
	}
	p, ok := e.arrived(r)
	switch {
	case !ok || e.registration != r:
		return ""
	case err != nil:
		return g.declined(e, p, err)
	case !e.wanted || p.doubtful:
		return ""
	case e.mark == nil:
		kind = released
	}
	e.mark = &p.mark
	return kind
}

// declined takes in that the registry has not taken a passage, or that nobody knows: what the application had registered
// before stands. The gate is locked.
func (g *Gate) declined(e *entry, p passage, err error) (kind string) {
	if p.before != nil {
		e.registration = p.before
	}
	if !errors.Is(err, registry.ErrAway) {
		g.refusal, kind = err, refused
		if e.mark == nil && !p.may && !e.busy && len(e.passing) == 0 {
			e.may = false
		}
	}
	if e.mark == nil {
		e.wanted = e.wanted && p.before != nil
		e.owed = e.owed || p.owed && !e.wanted
	}
	g.clear(e)
	return kind
}

// Deregister is called when the application takes a registration back. With Pass the registry has it, or may have it: the
// proxy passes that on, after whatever of the same key is on its way, and calls Gone.
func (g *Gate) Deregister(key Key) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.changed()
	e := g.entries[key]
	switch {
	case e == nil:
		return Pass
	case !e.may, g.state == Drained:
		e.wanted = false
		g.clear(e)
		return Answer
	}
	e.wanted, e.mark, e.owed = false, nil, e.busy
	e.ending++
	return Pass
}

// Gone is called when the registry has answered a deregistration that was passed on: it does not have it. Without that,
// it is withdrawn when the instance leaves.
func (g *Gate) Gone(key Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[key]
	if e == nil || e.ending == 0 {
		return
	}
	e.ending--
	if e.ending == 0 && !e.wanted && !e.busy && !e.owed && len(e.passing) == 0 {
		e.may = false
	}
	g.clear(e)
	g.changed()
}

// Forget is called when the connection or the session of a registration has ended, and the registry has dropped it, or
// will, without anybody's doing. It does nothing when the key has been registered with another since. One that was not
// accepted has not taken the place of the one before it: that is to be forgotten too.
func (g *Gate) Forget(key Key, r Registration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.changed()
	e := g.entries[key]
	if e == nil {
		return
	}
	e.drop(r)
	if e.registration != r {
		return
	}
	if n := len(e.passing); n > 0 {
		e.registration = e.passing[n-1].r
		return
	}
	delete(g.entries, key)
}

// State is what becomes of a registration now: Released when the registry has it, or may have it, until the instance is
// taken out. The zero key is of one that comes now.
func (g *Gate) State(key Key) State {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[key]
	switch {
	case g.state == Drained:
		return Drained
	case e != nil && e.may:
		return Released
	case g.leaving:
		return Drained
	case e != nil:
		return Held
	}
	return g.state
}

// Away is called by a proxy when its registry cannot be reached, and with nil when it can again.
func (g *Gate) Away(p Proxy, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.away, p)
	} else {
		if g.away == nil {
			g.away = map[Proxy]error{}
		}
		g.away[p] = err
	}
	g.changed()
}

// Note tells people something. Nothing is told without a kind.
func (g *Gate) Note(kind, reason string) {
	if kind != "" && g.Tell != nil {
		g.Tell(kind, reason)
	}
}

// A Count is how many registrations there are.
type Count struct {
	Held      int    // kept back
	Released  int    // that the registry is known to have
	Swallowed uint64 // since the instance was told to leave: attempts
}

// Count counts.
func (g *Gate) Count() Count {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := Count{Swallowed: g.swallows}
	for _, e := range g.entries {
		switch {
		case e.mark != nil:
			c.Released++
		case e.wanted && !e.may && g.state != Drained && !g.leaving:
			c.Held++
		}
	}
	return c
}

// changed wakes up whoever waits for a change. The gate is locked.
func (g *Gate) changed() {
	if g.changes != nil {
		close(g.changes)
		g.changes = nil
	}
}

// news is closed with the next change. The gate is locked.
func (g *Gate) news() <-chan struct{} {
	if g.changes == nil {
		g.changes = make(chan struct{})
	}
	return g.changes
}

// anyAway is an error of one of the registries that are away: of the first one, or nil. The gate is locked.
func (g *Gate) anyAway() error {
	for _, p := range g.Proxies {
		if err := g.away[p]; err != nil {
			return wrapAway(p.Registry(), err)
		}
	}
	return nil
}
