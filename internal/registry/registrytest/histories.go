package registrytest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"pgregory.net/rapid"

	"crossfade.dev/internal/registry"
)

// freshListsAgree: when Put or Remove has returned, everybody who comes then sees it. That is what "registered" means.
func freshListsAgree(c scene) {
	t, w := c.t, c.World
	publishers := []Client{w.Dial(), w.Dial(), w.Dial()}
	reader := w.Dial()
	for _, c := range publishers {
		keep(t, c)
	}
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		if rounds++; rounds > 30 { // every one of them asks a real registry
			return
		}
		listed := map[string]bool{}
		defer func() {
			for name := range listed {
				remove(t, publishers[owner(name)], name)
			}
		}()
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			n := rapid.IntRange(0, len(publishers)-1).Draw(rt, "who")
			name := fmt.Sprintf("%d-%d", n, rapid.IntRange(0, 2).Draw(rt, "which"))
			if rapid.Bool().Draw(rt, "comes") {
				put(t, publishers[n], instance(name))
				listed[name] = true
			} else {
				remove(t, publishers[n], name)
				delete(listed, name)
			}
			if got, want := names(first(t, reader)), slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
				rt.Fatalf("a fresh list has %v, want %v", got, want)
			}
		}
	})
}

// owner is who published a name like 2-1.
func owner(name string) int { return int(name[0] - '0') }

// everybodyAgrees: four publish at once, two follow, and end with one and the same list.
func everybodyAgrees(c scene) {
	t, w := c.t, c.World
	const publishers, incarnations, rounds = 4, 5, 10
	followers := []*follower{follow(t, w.Dial()), follow(t, w.Dial())}
	var want []string
	var all sync.WaitGroup
	for p := range publishers {
		c := w.Dial()
		keep(t, c)
		want = append(want, fmt.Sprintf("%d-0", p))
		all.Go(func() {
			for range rounds {
				for i := range incarnations {
					if err := c.Put(t.Context(), instance(fmt.Sprintf("%d-%d", p, i))); err != nil {
						t.Error(err)
					}
				}
				for i := 1; i < incarnations; i++ {
					if err := c.Remove(t.Context(), fmt.Sprintf("%d-%d", p, i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	for _, f := range followers {
		f.untilListed(t, want...)
		for _, l := range f.since(0) {
			if !slices.IsSorted(names(l)) {
				t.Fatalf("a list is out of order: %v", names(l))
			}
		}
	}
}

// replacingNeverHides: who says something new of an instance does not take it away for a moment.
func replacingNeverHides(c scene) {
	t, w := c.t, c.World
	publisher, consumer := w.Dial(), follow(t, w.Dial())
	keep(t, publisher)
	in := instance("a-1")
	put(t, publisher, in)
	consumer.untilListed(t, "a-1")
	before := consumer.count()
	for i := range 100 {
		in.Weight = uint32(i)
		put(t, publisher, in)
	}
	consumer.until(t, "the last weight is listed", func(f *follower) bool {
		return len(f.last().Instances) == 1 && f.last().Instances[0].Weight == 99
	})
	for _, l := range consumer.since(before) {
		if !slices.Equal(names(l), []string{"a-1"}) || len(l.Unread) > 0 {
			t.Fatalf("while it was replaced, a list had %v, unread %v", names(l), l.Unread)
		}
	}
}

// rubbishIsTold: entries that are no instances have their key told, and nothing else suffers.
func rubbishIsTold(c scene) {
	t, w := c.t, c.World
	publisher, consumer := w.Dial(), follow(t, w.Dial())
	keep(t, publisher)
	put(t, publisher, instance("a-1"))
	bad := map[string]string{
		w.Key("empty"):   "",
		w.Key("nothing"): "{}",
		w.Key("future"):  `{"format": 2, "incarnation": "future", "address": "127.0.0.1"}`,
		w.Key("long"):    strings.Repeat(" ", 100_000),
		w.Key("z"):       cmp.Or(w.Impostor, `{"format": 1, "incarnation": "a-1", "address": "127.6.6.6"}`), // says that it is somebody else
	}
	for key, data := range bad {
		w.Write(key, data)
	}
	consumer.until(t, "all of them are unread", func(f *follower) bool { return len(f.last().Unread) == len(bad) })
	l := first(t, w.Dial())
	for _, u := range l.Unread {
		if _, ours := bad[u.Key]; !ours || u.Err == nil {
			t.Errorf("unread: %s: %v", u.Key, u.Err)
		}
	}
	if len(l.Instances) != 1 || l.Instances[0].Address != instance("a-1").Address {
		t.Errorf("listed: %+v", l.Instances)
	}
	w.Lose(w.Key("z"))
	consumer.until(t, "what was mended is told no more", func(f *follower) bool {
		return !slices.ContainsFunc(f.last().Unread, func(u registry.Unread) bool { return u.Key == w.Key("z") })
	})
	consumer.untilListed(t, "a-1")
}
