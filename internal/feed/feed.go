// Package feed joins control and those who follow it: whole snapshots go down, whole reports come up.
package feed

import (
	"context"

	"crossfade.dev/internal/fleet"
)

// Hello says who follows.
type Hello = fleet.Hello

// Control is what followers need of control; in one process it is control itself, between processes a [Client].
type Control interface {
	// Follow calls apply with the newest view at once and after every change, one call at a time, skipping
	// views that were overtaken while apply ran. It blocks until ctx ends or the link is lost, and says which.
	Follow(ctx context.Context, who Hello, apply func(fleet.View)) error
	// Report hands control the whole of what the follower knows. The newest report replaces earlier ones.
	Report(ctx context.Context, r fleet.Report) error
}
