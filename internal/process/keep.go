package process

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait before starting again what ended: Min after the first end, doubling with
// each further one, Max at most; a life of Reset or longer makes the next end a first one.
type Backoff struct {
	Min   time.Duration
	Max   time.Duration
	Reset time.Duration
}

// After returns how many lives in a row were short when one more has ended after the given time, and how long
// to wait before the next.
func (b Backoff) After(short int, lived time.Duration) (int, time.Duration) {
	if lived >= b.Reset {
		short = 0
	}
	wait := b.Min
	for range short {
		if wait >= b.Max/2 {
			wait = b.Max
			break
		}
		wait *= 2
	}
	return short + 1, min(wait, b.Max)
}

// Redial says when who could not be reached is called again.
func Redial() Backoff {
	return Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second, Reset: 2 * time.Second}
}

// Pause waits, and says whether it could before ctx ended.
func Pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Jitter shortens a wait by up to a quarter, so that those who failed together do not return together.
func Jitter(wait time.Duration) time.Duration {
	if wait < 4 {
		return wait
	}
	return wait - rand.N(wait/4)
}

// A Keeper keeps a process running: it starts it again whenever it ends.
type Keeper struct {
	Start   func() (Process, error)
	Backoff Backoff
	Grace   time.Duration // what the process has to end in when the keeper is told to stop

	// Started hears of every start; nil hears nothing.
	Started func(Process)
	// Exited hears how every life ended that the keeper did not end itself, and how long it will wait before
	// the next; nil hears nothing. A process that could not be started has lived for no time.
	Exited func(Exit, time.Duration)
}

// Run starts the process, and again whenever it ends, until ctx ends. Then it stops the process and returns
// what [Process.Stop] said: ErrKilled or nil.
func (k *Keeper) Run(ctx context.Context) error {
	short := 0
	for ctx.Err() == nil {
		born := time.Now()
		p, err := k.Start()
		exit := &Exit{Code: -1, Err: err}
		if err == nil {
			if exit, err = k.live(ctx, p); exit == nil {
				return err
			}
		}
		var wait time.Duration
		short, wait = k.Backoff.After(short, time.Since(born))
		wait = Jitter(wait)
		if k.Exited != nil {
			k.Exited(*exit, wait)
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
	return nil
}

// live returns how the process ended by itself, or nil and what stopping it said.
func (k *Keeper) live(ctx context.Context, p Process) (*Exit, error) {
	if k.Started != nil {
		k.Started(p)
	}
	select {
	case <-p.Done():
		exit := p.Exit()
		return &exit, nil
	case <-ctx.Done():
		return nil, p.Stop(k.Grace)
	}
}

// sleep waits, and says whether it could before ctx ended.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
