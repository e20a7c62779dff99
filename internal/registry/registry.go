// Package registry is the contract between crossfade and whoever keeps the list of instances: etcd, a directory of
// files, later ZooKeeper, Nacos and others. An agent publishes its instance through a [Registrar]; control follows a
// [Source]. Both speak of [fleet.Instance]: how one is written, and which keys of other systems are understood, is said
// in this package too, and registrytest has the suite that every implementation passes.
package registry

import (
	"context"
	"errors"

	"crossfade.dev/internal/fleet"
)

// ErrAway says that the registry cannot be reached, or has no leader.
var ErrAway = errors.New("the registry is away")

// A Registrar publishes instances.
type Registrar interface {
	// Put publishes an instance, or what is new of it, in place of what was published of the same incarnation. It
	// returns nil when the registry has been read and has it. It fails with what wraps ErrAway when that took too long.
	Put(ctx context.Context, in fleet.Instance) error
	// Remove takes an incarnation away, and returns nil when the registry has been read and has it no more.
	Remove(ctx context.Context, incarnation string) error
	// Run keeps what was put alive until ctx ends, and puts again what the registry has lost of it. It tells when the
	// registry went away, with what wraps ErrAway, and when it has everything again, with nil. It leaves what was put:
	// whoever ends without Remove is taken away by the registry itself, after a while.
	Run(ctx context.Context, told func(error)) error
}

// A Source follows the instances that are published.
type Source interface {
	// Watch calls apply with the whole list at once, and after every change, until ctx ends; one call at a time. While
	// the registry is away the last list holds, and away is called with what wraps ErrAway, then with nil when it is
	// back and apply has been called.
	Watch(ctx context.Context, apply func(List), away func(error)) error
}

// A List is everything that is published at one moment.
type List struct {
	Instances []fleet.Instance // sorted by Incarnation
	Unread    []Unread         // entries that are no instances
	First     bool             // the first since Watch began: nobody saw these arrive
}

// An Unread is an entry that could not be read.
type Unread struct {
	Key string
	Err error
}
