package registrytest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/registry"
)

// A dead instance that is listed is a clock: when it is gone, whatever nobody keeps has had its time.
func (w World) dead(t *testing.T, name string) {
	t.Helper()
	c := w.Dial()
	put(t, c, instance(name))
	if w.End != nil {
		w.End(c)
	}
}

func deadAreTakenAway(c scene) {
	t, w := c.t, c.World
	consumer := follow(t, w.Dial())
	alive := w.Dial()
	keep(t, alive)
	put(t, alive, instance("alive"))
	w.dead(t, "dead-1")
	consumer.untilListed(t, "alive", "dead-1")
	before := consumer.count()
	consumer.untilListed(t, "alive")
	for range 2 { // for longer than the first one's time, and a second one's
		w.dead(t, "dead-2")
		consumer.untilListed(t, "alive", "dead-2")
		consumer.untilListed(t, "alive")
	}
	for _, l := range consumer.since(before) {
		if !slices.Contains(names(l), "alive") {
			t.Fatalf("a list without the one that lives: %v", names(l))
		}
	}
}

func lostIsPutAgain(c scene) {
	t, w := c.t, c.World
	publisher, reader := w.Dial(), w.Dial()
	put(t, publisher, instance("a-1"))
	w.Lose(w.Key("a-1"))
	if got := names(first(t, reader)); len(got) > 0 {
		t.Fatalf("nobody keeps it, it was taken away, and %v are listed", got)
	}
	keep(t, publisher)
	for range 3 {
		late := time.After(patience)
		for len(first(t, reader).Instances) == 0 {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-late:
				t.Fatal("it was never put again")
			}
		}
		w.Lose(w.Key("a-1"))
	}
}

func removedStaysAway(c scene) {
	t, w := c.t, c.World
	consumer, publisher := follow(t, w.Dial()), w.Dial()
	keep(t, publisher)
	put(t, publisher, instance("a-1"))
	put(t, publisher, instance("a-2"))
	remove(t, publisher, "a-1")
	consumer.untilListed(t, "a-2")
	before := consumer.count()
	w.dead(t, "dead")
	consumer.untilListed(t, "a-2", "dead")
	consumer.untilListed(t, "a-2")
	for _, l := range consumer.since(before) {
		if slices.Contains(names(l), "a-1") {
			t.Fatal("who was removed is back")
		}
	}
}

func putOutlivesRun(c scene) {
	t, w := c.t, c.World
	consumer, publisher := follow(t, w.Dial()), w.Dial()
	k := keep(t, publisher)
	put(t, publisher, instance("a-1"))
	k.stop()
	if got := names(first(t, w.Dial())); !slices.Equal(got, []string{"a-1"}) {
		t.Errorf("when its keeper had ended, %v were listed", got)
	}
	keep(t, publisher) // the same process again
	w.dead(t, "dead")
	consumer.untilListed(t, "a-1", "dead")
	consumer.untilListed(t, "a-1")
}

func awayHolds(c scene) {
	t, w := c.t, c.World
	consumer, publisher := follow(t, w.Dial()), w.Dial()
	k := keep(t, publisher)
	put(t, publisher, instance("a-1"))
	put(t, publisher, instance("a-2"))
	consumer.untilListed(t, "a-1", "a-2")
	before := consumer.count()

	w.Stop()
	if err := publisher.Put(t.Context(), instance("a-3")); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Put = %v, want that the registry is away", err)
	}
	if err := publisher.Remove(t.Context(), "a-2"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Remove = %v, want that the registry is away", err)
	}
	if err := k.hears(t); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Run told %v, want that the registry is away", err)
	}
	consumer.until(t, "it is away", func(f *follower) bool { return len(f.says) > 0 && isAway(f.says[len(f.says)-1]) })
	for _, l := range consumer.since(before) {
		t.Errorf("while the registry was away, %v were listed", names(l))
	}

	w.Start()
	consumer.until(t, "it is back", func(f *follower) bool { return slices.Contains(f.says, any(back{})) })
	consumer.mu.Lock()
	at := slices.Index(consumer.says, any(back{}))
	if _, ok := consumer.says[at-1].(registry.List); !ok { // of what it has now: it may have forgotten those whose time was over
		t.Errorf("before it was said to be back there was %v, want a list", consumer.says[at-1])
	}
	consumer.mu.Unlock()
	if err := k.hears(t); err != nil {
		t.Errorf("Run told %v, want that it has everything again", err)
	}
	consumer.untilListed(t, "a-1", "a-3")
}

func isAway(said any) bool {
	err, ok := said.(error)
	return ok && errors.Is(err, registry.ErrAway)
}

func removedWhileAway(c scene) {
	t, w := c.t, c.World
	consumer, publisher := follow(t, w.Dial()), w.Dial()
	keep(t, publisher)
	put(t, publisher, instance("a-1"))
	consumer.untilListed(t, "a-1")
	w.Stop()
	if err := publisher.Remove(t.Context(), "a-1"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Remove = %v, want that the registry is away", err)
	}
	w.Start()
	consumer.untilListed(t) // its time is over
}

func putWhileAway(c scene) {
	t, w := c.t, c.World
	consumer, publisher := follow(t, w.Dial()), w.Dial()
	keep(t, publisher)
	w.Stop()
	if err := publisher.Put(t.Context(), instance("a-1")); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Put = %v, want that the registry is away", err)
	}
	w.Start()
	consumer.untilListed(t, "a-1")
}
