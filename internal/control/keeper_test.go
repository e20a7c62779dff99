package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/store"
)

// A cellar is a store in memory. It has no doors while it is away.
type cellar struct {
	mu        sync.Mutex
	away      bool
	unread    bool // its ages cannot be read, though they could be written
	ages      map[string]store.Age
	events    []fleet.Event
	documents map[string]string
	changed   chan struct{}
	writes    int
}

func newCellar() *cellar { return &cellar{changed: make(chan struct{}, 1)} }

func (s *cellar) open(f func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return fmt.Errorf("cellar: %w", registry.ErrAway)
	}
	f()
	return nil
}

func (s *cellar) Ages(context.Context) (ages map[string]store.Age, err error) {
	dark := false
	err = s.open(func() { ages, dark = maps.Clone(s.ages), s.unread })
	if dark {
		err = errors.New("cellar: it is dark")
	}
	return ages, err
}

func (s *cellar) KeepAges(_ context.Context, ages map[string]store.Age) error {
	return s.open(func() { s.ages = maps.Clone(ages); s.writes++ })
}

func (s *cellar) Events(context.Context) (events []fleet.Event, err error) {
	err = s.open(func() { events = slices.Clone(s.events) })
	return events, err
}

func (s *cellar) AddEvents(_ context.Context, events []fleet.Event) error {
	return s.open(func() { s.events = append(s.events, events...) })
}

func (s *cellar) Lifecycles(ctx context.Context, apply func(map[string]string)) error {
	for {
		var documents map[string]string
		if err := s.open(func() { documents = maps.Clone(s.documents) }); err != nil {
			return err
		}
		apply(documents)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		}
	}
}

func (s *cellar) put(documents map[string]string) {
	s.mu.Lock()
	s.documents = documents
	s.mu.Unlock()
	s.changed <- struct{}{}
}

func (s *cellar) setAway(away bool) { s.alter(func() { s.away = away }) }

func (s *cellar) alter(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// kept returns what is in it now.
func (s *cellar) kept() (map[string]store.Age, []fleet.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ages), slices.Clone(s.events)
}

// parse reads a document that is a name and a delay in seconds, or is broken.
func parse(name, text string) ([]fleet.Lifecycle, error) {
	var l fleet.Lifecycle
	var seconds int
	if _, err := fmt.Sscan(text, &l.Name, &seconds); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l.Namespace, l.Delay, l.Origin.File = "default", time.Duration(seconds)*time.Second, name
	return []fleet.Lifecycle{l}, nil
}

// keeping starts a keeper of c in the current bubble, and returns what stops it.
func keeping(t *testing.T, c *Control, s store.Store) func() {
	t.Helper()
	booted := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	k := &Keeper{
		Control: c, Store: s, Parse: parse, Log: slog.New(slog.DiscardHandler),
		Boot: func() (string, time.Duration) { return "this boot", time.Since(booted) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_ = k.Recall(ctx)
		ended <- k.Run(ctx)
	}()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, ErrStopped) {
			t.Errorf("Run = %v", err)
		}
	})
}

// A control whose disk is lost goes on where the one before was: ages and events come from the store.
func TestAStoreRemembersForAControlThatLostItsState(t *testing.T) {
	for _, late := range []bool{false, true} { // the store is away when the second control begins
		synctest.Test(t, func(t *testing.T) {
			cellar := newCellar()
			ctx := t.Context()
			x := registrant("x") // it publishes nothing
			list := registry.List{Instances: ready(x), First: true}

			first, stopFirst := running(t)
			stopKeeping := keeping(t, first, cellar)
			list.First = false
			err := errors.Join(first.Configure(ctx, reviews(linear)), first.Registered(ctx, "etcd", list), first.Verdict(ctx, "x", true, ""))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			stopKeeping()
			stopFirst()
			if len(cellar.ages) != 1 || len(cellar.events) == 0 {
				t.Fatalf("the store has %v and %d events", cellar.ages, len(cellar.events))
			}
			writes, events := cellar.writes, len(cellar.events)
			if writes != 1 {
				t.Errorf("ages were written %d times while only time passed, want once", writes)
			}

			cellar.setAway(late)
			second, stopSecond := running(t)
			defer stopSecond()
			defer keeping(t, second, cellar)()
			synctest.Wait()
			if late {
				time.Sleep(2 * recallTime)
				cellar.setAway(false)
				time.Sleep(2 * recallAgain)
			}
			list.First = true
			if err := errors.Join(second.Configure(ctx, reviews(linear)), second.Registered(ctx, "etcd", list)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			v := second.View()
			want := time.Minute
			if late {
				want += 2*recallTime + 2*recallAgain
			}
			if got := v.Age(&v.Services[0].Endpoints[0], time.Now()); got != want {
				t.Errorf("late %v: age %v, want %v", late, got, want)
			}
			kinds := map[string]int{}
			for _, e := range v.Events {
				kinds[e.Kind]++
			}
			if kinds["warmup.started"] != 1 || kinds["registration.found"] != 1 {
				t.Errorf("late %v: events %v, want those of before and of now, each once", late, kinds)
			}
			_, all := cellar.kept()
			if got := len(all); got <= events {
				t.Errorf("late %v: %d events are kept, want more than the %d of before", late, got, events)
			}
			seen := map[fleet.Event]bool{}
			for _, e := range all {
				if seen[e] {
					t.Errorf("late %v: %v is kept twice", late, e)
				}
				seen[e] = true
			}
		})
	}
}

// While the store is away nothing is lost, and nothing that it had is forgotten.
func TestAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cellar := newCellar()
		cellar.ages = map[string]store.Age{"old": {Age: time.Hour, Noted: time.Now()}}
		cellar.away = true
		ctx := t.Context()
		c, stop := running(t)
		defer stop()
		defer keeping(t, c, cellar)()
		x := registrant("x")
		list := registry.List{Instances: ready(x)}
		if err := errors.Join(c.Configure(ctx, reviews(linear)), c.Registered(ctx, "etcd", list), c.Verdict(ctx, "x", true, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		cellar.alter(func() { cellar.unread, cellar.away = true, false })
		time.Sleep(time.Minute)
		if ages, _ := cellar.kept(); len(ages) != 1 {
			t.Errorf("the store has the ages %v, written before what it had was read", ages)
		}
		cellar.alter(func() { cellar.unread = false })
		time.Sleep(2 * recallAgain)
		ages, events := cellar.kept()
		if _, kept := ages["x"]; !kept || len(ages) != 2 {
			t.Errorf("the store has the ages %v, want those of x and old", ages)
		}
		if !slices.ContainsFunc(events, func(e fleet.Event) bool { return e.Kind == "warmup.started" }) {
			t.Errorf("the store has the events %v, want all since control began", events)
		}
		time.Sleep(2 * memory)
		ages, _ = cellar.kept()
		if _, kept := ages["old"]; kept {
			t.Error("an incarnation that has not come back is kept for ever")
		}
	})
}

// Within one boot the clock that nobody can set counts; across boots the wall clock, which takes nothing away.
func TestAgesAcrossClocks(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a := store.Age{Age: time.Minute, Noted: now.Add(-time.Hour), Boot: "a", Up: 10 * time.Second}
	for _, test := range []struct {
		name string
		wall time.Duration // that the wall clock is off
		boot string
		want time.Duration
	}{
		{"the same boot", 0, "a", 2 * time.Minute},
		{"the same boot, the clock set back", -24 * time.Hour, "a", 2 * time.Minute},
		{"the same boot, the clock set ahead", 24 * time.Hour, "a", 2 * time.Minute},
		{"another boot", 0, "b", time.Hour + time.Minute},
		{"another boot, the clock set back", -24 * time.Hour, "b", time.Minute},
		{"nobody knows the boot", 0, "", time.Hour + time.Minute},
	} {
		if got := ageNow(a, now.Add(test.wall), test.boot, 70*time.Second); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Lifecycles come from files and from the store; a file's wins, and one that is broken changes nothing.
func TestLifecyclesOfFilesAndOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cellar := newCellar()
		cellar.documents = map[string]string{"one": "one 1", "two": "two 2"}
		ctx := t.Context()
		c, stop := running(t)
		defer stop()
		stopKeeping := keeping(t, c, cellar)
		defer stopKeeping()
		d := reviews(linear)
		d.Lifecycles = []fleet.Lifecycle{{Name: "two", Namespace: "default", Delay: 20 * time.Second, Origin: fleet.Origin{File: "two.yaml"}}}
		if err := c.Configure(ctx, d); err != nil {
			t.Fatal(err)
		}
		want := func(when string, want ...string) {
			t.Helper()
			time.Sleep(2 * recallAgain)
			synctest.Wait()
			var got []string
			for _, l := range c.View().Lifecycles {
				got = append(got, fmt.Sprint(l.Name, " ", l.Delay))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		told := func(text string) (n int) {
			for _, e := range c.View().Events {
				if e.Kind == "config.warning" && strings.Contains(e.Reason, text) {
					n++
				}
			}
			return n
		}
		want("both", "one 1s", "two 20s")
		if n := told("two.yaml and in the store"); n != 1 {
			t.Errorf("told %d times that a file wins, want once", n)
		}
		cellar.put(map[string]string{"one": "one x", "two": "two 2", "three": "three 3"})
		want("one is broken", "one 1s", "three 3s", "two 20s")
		if n := told("one: "); n != 1 {
			t.Errorf("told %d times what is wrong, want once", n)
		}
		d.Digest, d.Lifecycles = "b", nil
		if err := c.Configure(ctx, d); err != nil {
			t.Fatal(err)
		}
		want("the file has none", "one 1s", "three 3s", "two 2s")

		last := c.View()
		stopKeeping()
		stop()
		w := newWorld(last, time.Now())
		w.fold(time.Now())
		if got := len(w.view.Lifecycles); got != 3 {
			t.Errorf("%d Lifecycles after a restart, before the store has spoken, want 3", got)
		}
		w.configure(&fleet.Desired{Digest: "c"}, time.Now())
		w.fold(time.Now())
		if got := len(w.view.Lifecycles); got != 3 {
			t.Errorf("%d Lifecycles when configuration has spoken, want 3: they are the store's", got)
		}
		cellar.put(nil)
	})
}
