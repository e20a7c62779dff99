package nacos

import (
	"context"
	"fmt"
	"time"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// How a registration is read back.
const (
	lookAgain = 10 * time.Millisecond // at first, then twice as long each time
	looks     = 7                     // then it is sent again: after 1.3 s. Nacos shows a change when it has told subscribers, half a second later
	overruled = 2                     // times that it is sent again when the registry shows it otherwise than it was registered
)

// lister lists a service as consumers see it.
type lister func(ctx context.Context) ([]wire.Instance, error)

// settled registers instances by put until the registry lists all of them, as they were registered. The first time that it
// shows one otherwise, put is asked to mend that. Whose metadata or weight it shows otherwise all the same has been changed by
// an operator, whose word counts more than the application's: that is settled, too.
func settled(ctx context.Context, want []wire.Instance, put func(ctx context.Context, mend bool) error, list lister) error {
	nudged := false
	for sent := 0; ; sent++ {
		if err := put(ctx, nudged); err != nil {
			return err
		}
		all, err := watchFor(ctx, list, func(all []wire.Instance) bool { return worst(all, want, nudged) == seen })
		if err != nil {
			return err
		}
		switch worst(all, want, nudged) {
		case seen:
			return nil
		case stale:
			if sent >= overruled {
				return nil
			}
			nudged = true
		case missing:
		}
	}
}

// worst is what is to be said of several instances.
func worst(all, want []wire.Instance, nudged bool) sight {
	least := seen
	for _, in := range want {
		if nudged {
			in.Weight = *nudge(wire.Change{Weight: &in.Weight}, in).Weight
		}
		least = min(least, look(all, in))
	}
	return least
}

// removed takes instances away by take until the registry lists none of them, but those that are somebody else's.
func removed(ctx context.Context, these []wire.Instance, take func(ctx context.Context) error, list lister, others func(wire.Instance) bool) error {
	for {
		if err := take(ctx); err != nil {
			return err
		}
		none := func(all []wire.Instance) bool {
			for _, in := range these {
				if _, is := find(all, in.IP, in.Port); is && !others(in) {
					return false
				}
			}
			return true
		}
		all, err := watchFor(ctx, list, none)
		if err != nil || none(all) {
			return err
		}
	}
}

// watchFor lists until what is listed will do, or often enough. Then the last list is returned.
func watchFor(ctx context.Context, list lister, enough func([]wire.Instance) bool) ([]wire.Instance, error) {
	pause := lookAgain
	for n := 1; ; n++ {
		all, err := list(ctx)
		if err != nil || enough(all) || n > looks {
			return all, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: it does not show what it has accepted: %w", registry.ErrAway, context.Cause(ctx))
		}
		pause *= 2
	}
}
