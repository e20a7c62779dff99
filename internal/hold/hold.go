// Package hold keeps back what an application says to its own registry of itself, until it is warm, and takes it out
// again before the application stops. The application talks to a proxy on loopback, in place of its registry: a room
// below this one for every kind of registry. Everything is passed on as it is, but for registrations.
//
// One [Gate] decides for all registrations of one application, whichever proxies they come through. It is the
// [registry.Registrar] of its agent: what is held is released when the agent puts its instance, and withdrawn when the agent
// removes it; after that, whatever the application registers is swallowed. An application is answered as if all of it
// had been done. It stays alive in its registry by what it does for that itself: its session, its connection, its beats.
package hold

import (
	"context"
	"maps"

	"crossfade.dev/internal/registry"
)

// A State is what becomes of what an application registers.
type State uint8

// The states, in their order: there is no way back.
const (
	Held     State = iota // kept back, and answered as if it had been done
	Released              // passed on
	Drained               // swallowed, and answered as if it had been done
)

func (s State) String() string { return [...]string{"held", "released", "drained"}[s] }

// A Registration is one that an application has made through a proxy: of one instance, in one service, over one
// connection or session. A gate calls one method at a time of all that are made in one registry, in the order in which
// they were made. What is called may have been done before. When a method has returned, nothing of it is done any more
// but what is done before whatever comes next.
type Registration interface {
	// Release makes it in the registry, with a mark, or changes the mark of one that has been made. It returns nil when
	// the registry has it. It fails with what wraps [registry.ErrAway] when the registry cannot be reached, or takes too
	// long, and with another error when the registry refuses it.
	Release(ctx context.Context, m Mark) error
	// Withdraw takes it out of the registry, and returns nil when the registry has it no more. The application's
	// connection or session stays as it is.
	Withdraw(ctx context.Context) error
}

// A Mark is what a proxy changes of a registration that it passes on. It is to be read only.
type Mark struct {
	Metadata map[string]string // added, where the registration has room for metadata
	Share    float64           // its weight is multiplied by it, where it has one: more than 0, at most 1
	Leaving  bool              // it says so to consumers that have a word for it, besides Metadata
}

func (m *Mark) equal(o *Mark) bool {
	return m.Share == o.Share && m.Leaving == o.Leaving && maps.Equal(m.Metadata, o.Metadata)
}

// A Verdict is what a proxy does with a registration, or a deregistration.
type Verdict uint8

// The verdicts.
const (
	Answer Verdict = iota // answer it as if it had been done, and do nothing
	Pass                  // do it, and tell the gate what came of it
)

// A Proxy stands between an application and one registry.
type Proxy interface {
	// Run serves the application until ctx ends. It blocks.
	Run(ctx context.Context, g *Gate) error
	// Registry names the registry, for people: "zookeeper zk1:2181".
	Registry() string
}

var _ registry.Registrar = (*Gate)(nil)
