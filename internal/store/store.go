// Package store is the contract with what keeps, for control, what must outlive it: when an incarnation was first
// offered, what happened, and the Lifecycles that people have put there. Everything in it is bounded.
package store

import (
	"context"
	"time"

	"crossfade.dev/internal/fleet"
)

// Bounds of what is kept.
const (
	MaxAges   = 20000
	MaxEvents = 1000
)

// An Age is how long an incarnation has been offered, when it was noted.
type Age struct {
	Age   time.Duration // then
	Noted time.Time     // by the wall clock of who noted it
	Boot  string        // the boot of its machine, and
	Up    time.Duration // how long that had been up: within one boot nobody can set it
}

// A Store keeps what control must not forget. Everything fails with what wraps registry.ErrAway while it is away.
type Store interface {
	// Ages returns what was kept, by incarnation.
	Ages(ctx context.Context) (map[string]Age, error)
	// KeepAges keeps these and forgets all others.
	KeepAges(ctx context.Context, ages map[string]Age) error
	// Events returns the newest events, oldest first.
	Events(ctx context.Context) ([]fleet.Event, error)
	// AddEvents adds events and forgets the oldest above the bound.
	AddEvents(ctx context.Context, events []fleet.Event) error
	// Lifecycles calls apply with every document that people have put there, by name, at once and after every change.
	Lifecycles(ctx context.Context, apply func(map[string]string)) error
}
