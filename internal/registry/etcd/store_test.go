package etcd

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
	"crossfade.dev/internal/store"
)

func TestAges(t *testing.T) {
	s := newServer(t, "", secure.Files{})
	writer := dial(t, s.url(""))
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		if rounds++; rounds > 20 {
			return
		}
		ages := rapid.MapOf(rapid.StringMatching(`[a-z]{1,3}-[0-9]`), rapid.Custom(func(t *rapid.T) store.Age {
			return store.Age{
				Age: time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "age")), Noted: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "noted"), 0).UTC(),
				Boot: rapid.String().Draw(t, "boot"), Up: time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "up")),
			}
		})).Draw(rt, "ages")
		if err := writer.KeepAges(t.Context(), ages); err != nil {
			rt.Fatal(err)
		}
		got, err := dial(t, s.url("")).Ages(t.Context()) // as the next control would
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(ages, got); diff != "" {
			rt.Fatalf("(-kept +read):\n%s", diff)
		}
	})
}

func TestAgesAreBounded(t *testing.T) {
	s := newServer(t, "", secure.Files{})
	c := dial(t, s.url(""))
	noted := time.Unix(1_790_000_000, 0).UTC()
	ages := map[string]store.Age{}
	for i := range store.MaxAges + 100 {
		ages[fmt.Sprintf("reviews-v2-%d", i)] = store.Age{Age: time.Duration(i) * time.Second, Noted: noted, Boot: "3f2b6a52-7d5e-4d0f-9a53-8d4f0c6f6b1a", Up: time.Hour}
	}
	if err := c.KeepAges(t.Context(), ages); err != nil {
		t.Fatal(err)
	}
	got, err := c.Ages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != store.MaxAges || got["reviews-v2-0"].Noted != noted {
		t.Errorf("%d are kept, want %d: the youngest", len(got), store.MaxAges)
	}
	// What has not changed is not written again.
	revision := func() int64 {
		r, err := raw(t, c).Get(t.Context(), "/")
		if err != nil {
			t.Fatal(err)
		}
		return r.Header.Revision
	}
	before := revision()
	if err := c.KeepAges(t.Context(), ages); err != nil || revision() != before {
		t.Errorf("the same again: %v, and %d writes, want none", err, revision()-before)
	}
	ages["reviews-v2-7"] = store.Age{Age: time.Minute}
	if err := c.KeepAges(t.Context(), ages); err != nil || revision() != before+1 {
		t.Errorf("one changed: %v, and %d writes, want 1", err, revision()-before)
	}
	if err := c.KeepAges(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Ages(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("all are forgotten, and there are %d, %v", len(got), err)
	}
}

func TestEventsAreARing(t *testing.T) {
	s := newServer(t, "", secure.Files{})
	c := dial(t, s.url(""))
	n := 0
	add := func(c *Client, count int) {
		t.Helper()
		var events []fleet.Event
		for range count {
			n++
			events = append(events, fleet.Event{Kind: strconv.Itoa(n), Time: time.Unix(int64(n), 0).UTC()})
		}
		if err := c.AddEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	check := func(first, last int) {
		t.Helper()
		events, err := dial(t, s.url("")).Events(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != last-first+1 || events[0].Kind != strconv.Itoa(first) || events[len(events)-1].Kind != strconv.Itoa(last) {
			t.Fatalf("%d events, from %s to %s; want %d to %d", len(events), events[0].Kind, events[len(events)-1].Kind, first, last)
		}
		for i, e := range events {
			if e.Kind != strconv.Itoa(first+i) {
				t.Fatalf("event %d is %s, want %d", i, e.Kind, first+i)
			}
		}
	}
	add(c, 10)
	check(1, 10)
	add(c, 985)
	add(dial(t, s.url("")), 10) // the next control goes on where this one was
	check(6, 1005)
	add(dial(t, s.url("")), 2500)
	check(2506, 3505)
}

func TestLifecyclesAreFollowed(t *testing.T) {
	s := newServer(t, "", secure.Files{})
	people, c := dial(t, s.url("")), dial(t, s.url(""))
	if err := people.PutLifecycle(t.Context(), "default", "a", "kind: Lifecycle"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	news, ended := make(chan map[string]string), make(chan error)
	go func() { ended <- c.Lifecycles(ctx, func(all map[string]string) { news <- all }) }()
	want := func(want map[string]string) {
		t.Helper()
		if got := <-news; !maps.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}
	want(map[string]string{"default/a": "kind: Lifecycle"})
	if err := people.PutLifecycle(t.Context(), "prod", "b", "2"); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"default/a": "kind: Lifecycle", "prod/b": "2"})
	if was, err := people.DeleteLifecycle(t.Context(), "default", "a"); err != nil || !was {
		t.Errorf("deleted: %v, %v", was, err)
	}
	want(map[string]string{"prod/b": "2"})
	if was, err := people.DeleteLifecycle(t.Context(), "default", "a"); err != nil || was {
		t.Errorf("deleted again: %v, %v", was, err)
	}
	if all, err := people.ListLifecycles(t.Context()); err != nil || !maps.Equal(all, map[string]string{"prod/b": "2"}) {
		t.Errorf("listed %v, %v", all, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestALifecycleIsSwapped only where it is what was read.
func TestALifecycleIsSwapped(t *testing.T) {
	c := dial(t, newServer(t, "", secure.Files{}).url(""))
	one, two, three := "1", "2", "3"
	for i, step := range []struct {
		was, next *string
		want      bool
		there     string
	}{
		{&one, &two, false, ""},
		{nil, &one, true, "1"},
		{nil, &two, false, "1"},
		{nil, &one, true, "1"}, // it is so already: the answer was lost, say
		{&two, &three, false, "1"},
		{&two, nil, false, "1"},
		{&one, &two, true, "2"},
		{&two, nil, true, ""},
		{&two, nil, true, ""},
	} {
		if got, err := c.SwapLifecycle(t.Context(), "default", "a", step.was, step.next); got != step.want || err != nil {
			t.Errorf("step %d: %t, %v; want %t", i, got, err, step.want)
		}
		if all, err := c.ListLifecycles(t.Context()); err != nil || all["default/a"] != step.there {
			t.Errorf("step %d: there is %q, %v; want %q", i, all["default/a"], err, step.there)
		}
	}
}

// TestAWatchGoesOn after what it went by has been compacted away, and after all was lost.
func TestAWatchGoesOn(t *testing.T) {
	s := newServer(t, "", secure.Files{})
	c := dial(t, s.url(""))
	news := make(chan registry.List, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Watch(ctx, func(l registry.List) { news <- l }, func(error) {}) }()
	until := func(want string) {
		t.Helper()
		for late := time.After(waitFor); ; {
			select {
			case l := <-news:
				var names []string
				for _, in := range l.Instances {
					names = append(names, in.Incarnation)
				}
				if strings.Join(names, " ") == want {
					return
				}
			case <-late:
				t.Fatalf("never saw %q", want)
			}
		}
	}
	put := func(name string) {
		t.Helper()
		if err := dial(t, s.url("ttl=1h")).Put(t.Context(), someInstance(name)); err != nil {
			t.Fatal(err)
		}
	}
	until("")
	put("a-1")
	until("a-1")
	for range 50 {
		put("a-2")
	}
	until("a-1 a-2")
	now, err := raw(t, c).Get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, c).Compact(t.Context(), now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	put("a-3")
	until("a-1 a-2 a-3")

	s.kill(t)
	s.data = t.TempDir() // the disk is gone
	s.start(t)
	until("")
	put("a-4")
	until("a-4")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
