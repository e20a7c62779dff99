package process

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 200 * time.Millisecond, Max: time.Second, Reset: time.Minute}
	var got []time.Duration
	var short int
	var wait time.Duration
	for _, lived := range []time.Duration{0, 0, time.Second, 59 * time.Second, 0, time.Minute, 0} {
		short, wait = b.After(short, lived)
		got = append(got, wait)
	}
	want := []time.Duration{200e6, 400e6, 800e6, 1e9, 1e9, 200e6, 400e6}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
}

func TestBackoffStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		duration := func(name string, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most)).Draw(rt, name))
		}
		b := Backoff{Min: duration("min", time.Minute), Max: duration("max", 1<<62), Reset: time.Minute}
		short := rapid.IntRange(0, 1<<40).Draw(rt, "short")
		short = min(short, 1000)
		_, wait := b.After(short, 0)
		if wait < min(b.Min, b.Max) || wait > b.Max {
			rt.Fatalf("got %v, want it within %v and %v", wait, b.Min, b.Max)
		}
		if j := Jitter(wait); j > wait || j < wait-wait/4-1 {
			rt.Fatalf("got %v with jitter, want it within a quarter below %v", j, wait)
		}
	})
}

// A life is a Process on virtual time.
type life struct {
	done chan struct{}
	exit Exit
	deaf bool
}

func (l *life) Done() <-chan struct{} { return l.done }
func (l *life) Exit() Exit            { return l.exit }
func (l *life) Stop(grace time.Duration) error {
	defer close(l.done)
	if l.deaf {
		time.Sleep(grace)
		return ErrKilled
	}
	return nil
}

func (l *life) end(after time.Duration, exit Exit) *life {
	time.AfterFunc(after, func() {
		l.exit = exit
		close(l.done)
	})
	return l
}

func TestKeeperStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		born := time.Now()
		var starts []time.Duration
		var heard []string
		ctx, cancel := context.WithCancel(t.Context())
		k := Keeper{
			Backoff: Backoff{Min: time.Second, Max: 4 * time.Second, Reset: time.Minute},
			Grace:   time.Second,
			Start: func() (Process, error) {
				starts = append(starts, time.Since(born))
				switch l := (&life{done: make(chan struct{})}); len(starts) {
				case 1:
					return nil, errors.New("no such program")
				case 2:
					return l.end(0, Exit{Code: 3}), nil
				case 3:
					return l.end(2*time.Minute, Exit{}), nil // a good life makes the next wait short again
				default:
					time.AfterFunc(time.Hour, cancel)
					l.deaf = true
					return l, nil
				}
			},
			Started: func(Process) { heard = append(heard, "started") },
			Exited: func(e Exit, wait time.Duration) {
				heard = append(heard, e.String())
				if wait > 2*time.Second {
					t.Errorf("got a wait of %v, want at most 2s", wait)
				}
			},
		}
		if err := k.Run(ctx); !errors.Is(err, ErrKilled) {
			t.Errorf("got %v, want %v", err, ErrKilled)
		}
		want := []string{"no such program", "started", "exit code 3", "started", "exit code 0", "started"}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		for i, bounds := range [][2]float64{{0, 0}, {.75, 1}, {2.25, 3}, {122.25 + .75, 124}} {
			if got := starts[i].Seconds(); got < bounds[0] || got > bounds[1] {
				t.Errorf("start %d: got %vs, want it within %v", i, got, bounds)
			}
		}
		if got, want := time.Since(born)-starts[3], time.Hour+time.Second; got != want {
			t.Errorf("got the end after %v, want %v: the grace period and no more", got, want)
		}
	})
}

func TestKeeperStopsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tries := 0
		k := Keeper{
			Backoff: Backoff{Min: time.Hour, Max: time.Hour},
			Start:   func() (Process, error) { tries++; return nil, os.ErrNotExist },
		}
		if err := k.Run(ctx); err != nil || tries != 1 {
			t.Errorf("got %v after %d tries, want nil after 1", err, tries)
		}
	})
}

func TestKeeperKeepsARealChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := make(transcript, 64)
	k := Keeper{
		Backoff: Backoff{Min: time.Millisecond, Max: time.Millisecond},
		Grace:   time.Minute,
		Start: func() (Process, error) {
			return Start(Spec{Name: "kept", Path: os.Args[0], Env: as("polite"), Stdout: out})
		},
		Started: func(p Process) {
			if line := <-out; line != "kept | ready\n" {
				t.Errorf("got line %q, want kept | ready", line)
			}
			if child, ok := p.(*Child); ok && ctx.Err() == nil {
				_ = child.Signal(9)
			}
		},
	}
	lives := 0
	k.Exited = func(e Exit, _ time.Duration) {
		if lives++; lives == 3 {
			cancel()
		}
		if e.Signal != 9 {
			t.Errorf("got %v, want it ended by SIGKILL", e)
		}
	}
	if err := k.Run(ctx); err != nil || lives != 3 {
		t.Errorf("got %v after %d lives, want nil after 3", err, lives)
	}
}
