package health

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
)

// A ward is a checker with one target, whose address and whose check the test makes fail.
type ward struct {
	checker         *Checker
	reached, passes atomic.Bool
	reaches, looks  atomic.Int32
	began           time.Time
	verdicts        []string // each with the time at which it was given
}

// newWard runs in a bubble. Its target is healthy, and looked at every 10 s.
func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{began: time.Now()}
	w.reached.Store(true)
	w.passes.Store(true)
	w.checker = &Checker{
		OnVerdict: func(v Verdict) {
			word := "unhealthy: " + v.Reason
			if v.Healthy {
				word = "healthy"
			}
			w.verdicts = append(w.verdicts, word)
		},
		Look: func(context.Context, Target) (string, bool) {
			w.looks.Add(1)
			return "looked", w.passes.Load()
		},
		Reach: func(context.Context, Target) (string, bool) {
			w.reaches.Add(1)
			return "not reached", w.reached.Load()
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.checker.Run(ctx) }()
	w.checker.Set([]Target{{Key: "a", Check: fleet.Check{Interval: 10 * time.Second, Healthy: 2, Unhealthy: 3}}})
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	w.after(15 * time.Second)
	w.want(t, "healthy")
	return w
}

func (w *ward) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *ward) want(t *testing.T, verdicts ...string) {
	t.Helper()
	if !slices.Equal(w.verdicts, verdicts) {
		t.Errorf("%v: got %q, want %q", time.Since(w.began), w.verdicts, verdicts)
	}
	w.verdicts = nil
}

// Whom somebody could not reach is looked at then, and not when its turn comes; its own check decides only whether it
// comes back.
func TestADoubtIsClearedUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.reached.Store(false)
		w.after(time.Second)
		w.want(t) // who has no reason to doubt does not notice
		if !w.checker.Doubt("a") {
			t.Fatal("nobody looks at it")
		}
		w.after(time.Second)
		w.want(t, "unhealthy: not reached")
		looks := w.looks.Load()
		w.after(time.Minute)
		w.want(t)
		if w.looks.Load() != looks {
			t.Error("its check was made though nobody reaches it")
		}
		w.reached.Store(true)
		w.passes.Store(false)
		w.after(time.Minute)
		w.want(t)
		w.passes.Store(true)
		w.after(10 * time.Second)
		w.want(t, "healthy")
	})
}

// A doubt that was for nothing changes nothing, and costs one connection.
func TestADoubtForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		looks := w.looks.Load()
		w.checker.Doubt("a")
		w.after(time.Second)
		w.checker.Doubt("a")
		w.after(time.Second)
		w.want(t)
		if w.reaches.Load() != 2 || w.looks.Load() != looks {
			t.Errorf("got %d connections and %d looks more, want 2 and none", w.reaches.Load(), w.looks.Load()-looks)
		}
		w.after(100 * time.Second)
		if n := w.looks.Load() - looks; n < 8 || n > 12 || w.reaches.Load() != 2 {
			t.Errorf("got %d looks and %d connections after 100 s, want about 10 and 2", n, w.reaches.Load())
		}
	})
}

// Who is known to be gone is not told of again, until its address takes connections and its check passes.
func TestGoneUntilItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.reached.Store(false)
		for _, hint := range []func(string) bool{w.checker.Gone, w.checker.Gone, w.checker.Doubt} {
			if !hint("a") {
				t.Fatal("nobody looks at it")
			}
		}
		w.after(time.Minute)
		w.want(t)
		w.reached.Store(true)
		w.after(5 * time.Second)
		w.want(t, "healthy")
		w.checker.Set(nil)
		w.after(time.Second)
		if w.checker.Gone("a") || w.checker.Doubt("b") {
			t.Error("somebody looks at what nobody asked for")
		}
	})
}
