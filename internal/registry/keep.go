package registry

import (
	"context"
	"fmt"
	"time"
)

// pause is between attempts while a registry is away, at most.
const pause = 200 * time.Millisecond

// patience is how long an operation takes, with all its attempts.
const patience = 5 * time.Second

// Persist does something until it succeeds, fails for a reason that time does not mend, or has taken too long: then the
// error wraps ErrAway. The error says what was done.
func Persist(ctx context.Context, what string, do func(context.Context) error, passing func(error) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := pause / 16; ; wait = min(2*wait, pause) {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ErrAway, err)
		case <-time.After(wait):
		}
	}
}

// Keep is the Run of a Registrar: it calls keep at once, three times in the time to live, and whenever hurry is closed or
// has something, until ctx ends. keep does for everything that was put what Run promises. The registry says who it is in
// what is told. hurry may be nil.
func Keep(ctx context.Context, registry string, ttl time.Duration, hurry func() <-chan struct{}, keep func(context.Context) error, told func(error)) error {
	away := false
	for {
		err := keep(ctx)
		wait := ttl / 3
		switch {
		case err != nil:
			wait = min(wait, pause)
			if !away && ctx.Err() == nil {
				told(fmt.Errorf("%s: keep what was published: %w: %w", registry, ErrAway, err))
			}
		case away:
			told(nil)
		}
		away = err != nil
		var sooner <-chan struct{}
		if hurry != nil {
			sooner = hurry()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sooner:
		case <-time.After(wait):
		}
	}
}
