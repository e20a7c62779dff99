// Package registrytest is what every registry must do, as tests: what is put is listed, as a whole and in order; what
// is removed is gone and stays so; who dies is taken away, who lives is not, whatever the registry forgets; and a
// registry that is away is said to be so, while the last list holds. An implementation's own test is a call of [Run].
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// A Client is a registry as one process sees it.
type Client interface {
	registry.Registrar
	registry.Source
}

// A World is one registry that is empty, and what can happen to it.
type World struct {
	Dial  func() Client                   // another process; closed with the test
	Stop  func()                          // the registry goes away, with what it has
	Start func()                          // and is back with it
	Key   func(incarnation string) string // of an entry, as registry.Unread has it
	Lose  func(key string)                // somebody else takes an entry away
	Write func(key, data string)          // or writes one
	End   func(c Client)                  // a process dies, as it would without a word; nil where it is enough that nobody runs its Run

	// Impostor is the data of an entry, at Key("z"), that says that it is a-1, at 127.6.6.6. "" is one as registry.Encode
	// writes it.
	Impostor string
}

// Run runs the suite. Each test has a world of its own, whose entries last for some seconds without their agent: longer
// than a noisy machine pauses.
func Run(t *testing.T, open func(t *testing.T) World) {
	t.Helper()
	run(t, open, map[string]func(scene){
		"what is put is listed":                         putIsListed,
		"a fresh list says what was done":               freshListsAgree,
		"everybody sees the same in the end":            everybodyAgrees,
		"replacing never hides":                         replacingNeverHides,
		"who dies is taken away, who lives is not":      deadAreTakenAway,
		"what is lost is put again":                     lostIsPutAgain,
		"what is removed stays away":                    removedStaysAway,
		"what was put stays when its keeper ends":       putOutlivesRun,
		"what is no instance is told, and harms nobody": rubbishIsTold,
	})
	RunAway(t, open)
}

// RunAway runs that part of the suite in which the registry is away for a while: for other ways of being so.
func RunAway(t *testing.T, open func(t *testing.T) World) {
	t.Helper()
	run(t, open, map[string]func(scene){
		"while it is away the last list holds":    awayHolds,
		"what was removed while it was away goes": removedWhileAway,
		"what was put while it was away comes":    putWhileAway,
	})
}

func run(t *testing.T, open func(t *testing.T) World, tests map[string]func(scene)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			test(scene{t, open(t)})
		})
	}
}

// A scene is one test in a world of its own.
type scene struct {
	t *testing.T
	World
}

// patience is longer than anything here takes on a machine that does other things too.
const patience = time.Minute

// Address is where the suite has an incarnation be, with port 9080, in the service reviews.
func Address(incarnation string) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(incarnation)) // it does not fail
	sum := h.Sum32()
	return netip.AddrFrom4([4]byte{127, 1, byte(sum >> 8), byte(sum)})
}

// instance returns one that says as much as an entry can, at an address of its own: there are registries that know only
// one at each.
func instance(incarnation string) fleet.Instance {
	return fleet.Instance{
		Name: "reviews", Namespace: "default", Incarnation: incarnation, Address: Address(incarnation),
		Ports: map[string]uint32{"http": 9080}, Labels: map[string]string{"app": "reviews"}, Weight: 1, Ready: true,
		Warmup:    &fleet.Warmup{Window: time.Minute, Minimum: 0.1, Aggression: 0.5},
		Published: &fleet.Published{Started: time.UnixMilli(1_790_000_000_000).UTC(), Registered: time.UnixMilli(1_790_000_001_000).UTC(), Age: time.Second},
	}
}

// put and remove fail the test when the client does.
func put(t testing.TB, c Client, in fleet.Instance) {
	t.Helper()
	if err := c.Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, c Client, incarnation string) {
	t.Helper()
	if err := c.Remove(t.Context(), incarnation); err != nil {
		t.Fatal(err)
	}
}

// A follower has heard what a source says.
type follower struct {
	stop func() // waits until Watch has returned

	mu    sync.Mutex
	lists []registry.List
	says  []any         // lists, errors and back{}, as they came
	news  chan struct{} // closed and replaced with every one
}

// back is what a follower notes when away was called with nil.
type back struct{}

func follow(t *testing.T, c Client) *follower {
	t.Helper()
	f := &follower{news: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, func(l registry.List) { f.note(l) }, func(err error) {
			if err == nil {
				f.note(back{})
			} else {
				f.note(err)
			}
		})
	}()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	t.Cleanup(f.stop)
	f.until(t, "there is a first list", func(f *follower) bool { return len(f.lists) > 0 })
	return f
}

func (f *follower) note(what any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l, ok := what.(registry.List); ok {
		f.lists = append(f.lists, l)
	}
	f.says = append(f.says, what)
	close(f.news)
	f.news = make(chan struct{})
}

// until waits until what the follower has heard fulfils something.
func (f *follower) until(t *testing.T, what string, fulfilled func(*follower) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		f.mu.Lock()
		done, news := fulfilled(f), f.news
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-late:
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Fatalf("never saw that %s; the last list has %v", what, names(f.last()))
		}
	}
}

// last is the newest list. The follower is locked.
func (f *follower) last() registry.List { return f.lists[len(f.lists)-1] }

// untilListed waits for a list of exactly these.
func (f *follower) untilListed(t *testing.T, incarnations ...string) {
	t.Helper()
	f.until(t, fmt.Sprintf("%v are listed, and nobody else", incarnations), func(f *follower) bool {
		return slices.Equal(names(f.last()), incarnations)
	})
}

// since returns the lists that came after the first n.
func (f *follower) since(n int) []registry.List {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lists[n:])
}

// count returns how many lists came.
func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.lists)
}

func names(l registry.List) []string {
	list := []string{}
	for _, in := range l.Instances {
		list = append(list, in.Incarnation)
	}
	return list
}

// first returns the first list that a source tells somebody who has just come.
func first(t testing.TB, c Client) registry.List {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got *registry.List
	err := c.Watch(ctx, func(l registry.List) {
		if got == nil {
			got = &l
		}
		cancel()
	}, func(err error) { t.Errorf("away: %v", err) })
	if got == nil {
		t.Fatalf("Watch told no list: %v", err)
	}
	if !got.First {
		t.Error("the first list does not say that it is")
	}
	return *got
}

// A keeper runs a client's Run, and has heard what it told.
type keeper struct {
	stop func()
	told chan error
}

func keep(t *testing.T, c Client) *keeper {
	t.Helper()
	k := &keeper{told: make(chan error, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, func(err error) { k.told <- err }) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	t.Cleanup(k.stop)
	return k
}

// hears waits for the next that Run tells.
func (k *keeper) hears(t *testing.T) error {
	t.Helper()
	select {
	case err := <-k.told:
		return err
	case <-time.After(patience):
		t.Fatal("Run told nothing")
		return nil
	}
}

func putIsListed(c scene) {
	t, w := c.t, c.World
	publisher, consumer := w.Dial(), follow(t, w.Dial())
	keep(t, publisher)
	if l := consumer.since(0)[0]; len(l.Instances) != 0 || !l.First {
		t.Errorf("the first list of an empty registry is %+v", l)
	}
	want := instance("a-1")
	put(t, publisher, want)
	consumer.untilListed(t, "a-1")
	got := consumer.since(0)
	last := got[len(got)-1]
	if diff := cmp.Diff([]fleet.Instance{want}, last.Instances, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-put +listed):\n%s", diff)
	}
	if last.First {
		t.Error("the second list says that it is the first")
	}
	want.Ready = false
	put(t, publisher, want)
	consumer.until(t, "it cannot serve", func(f *follower) bool {
		return len(f.last().Instances) == 1 && !f.last().Instances[0].Ready
	})
	want.Leaving, want.Bound = true, 30*time.Second
	put(t, publisher, want)
	consumer.until(t, "it leaves", func(f *follower) bool {
		return len(f.last().Instances) == 1 && f.last().Instances[0].Leaving && f.last().Instances[0].Bound == 30*time.Second
	})
	put(t, publisher, instance("a-0"))
	consumer.untilListed(t, "a-0", "a-1")
	remove(t, publisher, "a-1")
	consumer.untilListed(t, "a-0")
	remove(t, publisher, "a-1")
	remove(t, publisher, "nobody-ever")
	consumer.untilListed(t, "a-0")
}
