package hold

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// A book is a registry: what it has, by key, and from whom. What is done to it takes some time, and may fail. What is on
// its way at one time is done in any order.
type book struct {
	mu     sync.Mutex
	rand   *rand.Rand
	has    map[Key]*line // who registered it last
	marks  map[Key]float64
	away   bool
	opened bool // something may be registered
	closed bool // nothing may be registered any more
	wrong  []string
}

// A line is one connection to the book. When it breaks, what is on its way is done or not, and what was registered over it
// is forgotten.
type line struct {
	book   *book
	broken chan struct{}
}

var errRefused = errors.New("the book says no")

// pick is a number below n.
func (b *book) pick(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rand.IntN(n)
}

func (b *book) nap() { time.Sleep(time.Duration(b.pick(20)) * time.Millisecond) }

func (b *book) connect() *line { return &line{book: b, broken: make(chan struct{})} }

// do does one order, or fails to, or does it and fails to say so. Share 0 is to take it out.
func (l *line) do(key Key, share float64) error {
	b := l.book
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-l.broken:
		return registry.ErrAway
	default:
	}
	luck := b.rand.IntN(100)
	switch {
	case b.away && luck < 70:
		return registry.ErrAway
	case luck < 8 && share > 0:
		return errRefused
	}
	if share > 0 {
		if !b.opened || b.closed {
			b.wrong = append(b.wrong, fmt.Sprintf("%s is registered: opened %v, closed %v", key, b.opened, b.closed))
		}
		b.has[key], b.marks[key] = l, share
	} else {
		delete(b.has, key)
	}
	if b.away {
		return registry.ErrAway
	}
	return nil
}

func (l *line) end() {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	close(l.broken)
	for key, who := range l.book.has {
		if who == l {
			delete(l.book.has, key)
		}
	}
}

// send sends an order, and waits for what comes of it. When ctx ends it has been done, or never is.
func (l *line) send(ctx context.Context, key Key, share float64) error {
	if err := l.travel(ctx); err != nil {
		return err
	}
	err := l.do(key, share)
	if lost := l.travel(ctx); lost != nil {
		return lost
	}
	return err
}

// travel takes some time.
func (l *line) travel(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(l.book.pick(20)) * time.Millisecond):
		return nil
	case <-l.broken:
		return registry.ErrAway
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A noted is a registration over a line.
type noted struct {
	line *line
	key  Key
}

func (n *noted) Release(ctx context.Context, m Mark) error { return n.line.send(ctx, n.key, m.Share) }
func (n *noted) Withdraw(ctx context.Context) error        { return n.line.send(ctx, n.key, 0) }

// An app registers, and takes back, over one line at a time, through a proxy that does what its contract says. It does
// one thing after the other for every key, and some for several keys at once.
type app struct {
	ctx  context.Context // of its calls
	gate *Gate
	book *book
	hand map[Key]chan struct{} // holds one while something is done with a key

	mu       sync.Mutex
	line     *line
	mine     map[Key][]*noted // over this line: the newest, and those before it that it may not have taken the place of
	believes map[Key]bool     // that it is registered; absent: it does not know
}

func newApp(ctx context.Context, g *Gate, b *book, keys []Key) *app {
	a := &app{ctx: ctx, gate: g, book: b, hand: map[Key]chan struct{}{}, line: b.connect(), mine: map[Key][]*noted{}, believes: map[Key]bool{}}
	for _, key := range keys {
		a.hand[key] = make(chan struct{}, 1)
	}
	return a
}

// note takes in what a key has come to over a line, unless that has broken.
func (a *app) note(l *line, do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.line == l {
		do()
	}
}

// register registers a key, and waits for the answer.
func (a *app) register(key Key) {
	a.hand[key] <- struct{}{}
	defer func() { <-a.hand[key] }()
	a.mu.Lock()
	l := a.line
	n := &noted{line: l, key: key}
	verdict, mark := a.gate.Register(key, n)
	if verdict == Answer {
		a.mine[key], a.believes[key] = []*noted{n}, true
		a.mu.Unlock()
		return
	}
	a.mine[key] = append(a.mine[key], n)
	a.mu.Unlock()
	err := l.send(a.ctx, key, mark.Share)
	a.gate.Settle(key, n, err)
	a.note(l, func() {
		switch {
		case err == nil:
			a.mine[key], a.believes[key] = []*noted{n}, true
		case errors.Is(err, registry.ErrAway):
			delete(a.believes, key)
		default: // it was told no: it takes to be the case what was before
		}
	})
}

func (a *app) deregister(key Key) {
	a.hand[key] <- struct{}{}
	defer func() { <-a.hand[key] }()
	a.mu.Lock()
	l := a.line
	if a.gate.Deregister(key) == Answer {
		a.believes[key] = false
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	err := l.send(a.ctx, key, 0)
	if err == nil {
		a.gate.Gone(key)
	}
	a.note(l, func() {
		delete(a.believes, key)
		if err == nil {
			a.believes[key] = false
		}
	})
}

// reconnect breaks the line.
func (a *app) reconnect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line.end()
	for key, list := range a.mine {
		for _, n := range list {
			a.gate.Forget(key, n)
		}
	}
	clear(a.mine)
	clear(a.believes)
	a.line = a.book.connect()
}

// live does some steps, for several keys at once.
func (a *app) live(steps int) {
	var all sync.WaitGroup
	for key := range a.hand {
		all.Go(func() {
			for range steps {
				a.book.nap()
				switch n := a.book.pick(100); {
				case n < 60:
					a.register(key)
				case n < 95:
					a.deregister(key)
				default:
					a.reconnect()
				}
			}
		})
	}
	all.Wait()
}

// flap has the book be away now and then, until ctx ends; then it is there.
func (b *book) flap(ctx context.Context) {
	for ctx.Err() == nil {
		b.mu.Lock()
		b.away = b.rand.IntN(3) == 0
		b.mu.Unlock()
		b.nap()
	}
	b.mu.Lock()
	b.away = false
	b.mu.Unlock()
}

// impatient does something with a context that may end any time.
func (b *book) impatient(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+b.pick(200))*time.Millisecond)
	defer cancel()
	return do(ctx)
}

func ready(share float64) fleet.Instance {
	return fleet.Instance{Incarnation: "a-1", Ready: true, Ramp: share}
}

// story is one life of an application with two services, told by chance. It returns what went wrong in it.
func story(seed uint64) []string {
	b := &book{rand: rand.New(rand.NewPCG(seed, 1)), has: map[Key]*line{}, marks: map[Key]float64{}}
	g := &Gate{}
	keys := []Key{{"book", "orders/a"}, {"book", "bills/a"}, {"other", "orders/a"}}
	a := newApp(context.Background(), g, b, keys)
	ctx, end := context.WithCancel(a.ctx)
	defer end()
	var running sync.WaitGroup
	running.Go(func() { _ = g.Run(ctx, func(error) {}) })

	live := func(steps int, agent func()) {
		flapping, calm := context.WithCancel(ctx)
		var all sync.WaitGroup
		all.Go(func() { b.flap(flapping) })
		all.Go(agent)
		a.live(steps)
		calm()
		all.Wait()
	}
	live(b.pick(10), func() { b.nap() })
	b.mu.Lock()
	b.opened = true
	b.mu.Unlock()
	share := 0.0
	live(b.pick(30), func() {
		for range b.pick(10) {
			share += 0.01
			_ = b.impatient(func(ctx context.Context) error { return g.Put(ctx, ready(share)) })
		}
	})
	a.register(keys[0])
	for try := 0; ; try++ { // the agent goes on until it is registered
		share += 0.01
		err := g.Put(ctx, ready(share))
		if err == nil {
			break
		}
		if try > 50 {
			b.wrong = append(b.wrong, "it is never registered: "+err.Error())
			break
		}
		a.register(keys[0])
	}
	b.agrees(a, share)

	live(b.pick(30), func() {
		for range b.pick(4) {
			_ = b.impatient(func(ctx context.Context) error { return g.Put(ctx, leaving()) })
		}
		for removed := errRefused; removed != nil; {
			removed = b.impatient(func(ctx context.Context) error { return g.Remove(ctx, "a-1") })
		}
		b.mu.Lock()
		b.closed = true
		for key := range b.has {
			b.wrong = append(b.wrong, key.String()+" is left behind")
		}
		b.mu.Unlock()
	})
	a.live(10)
	time.Sleep(time.Minute)
	if len(b.has) > 0 {
		b.wrong = append(b.wrong, "something came back")
	}
	end()
	a.line.end()
	running.Wait()
	return b.wrong
}

func leaving() fleet.Instance {
	in := ready(0)
	in.Leaving = true
	return in
}

// agrees notes where the book differs from what the application takes to be the case.
func (b *book) agrees(a *app, share float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, yes := range a.believes {
		if b.has[key] != nil != yes {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: the application takes it to be registered: %v, the book has it: %v", key, yes, b.has[key] != nil))
		}
		if b.has[key] != nil && b.marks[key] != share {
			b.wrong = append(b.wrong, fmt.Sprintf("%s is registered with %v, want %v", key, b.marks[key], share))
		}
	}
}

// TestStories: whatever an application, its registry and its agent do, and in whichever order, nothing is registered
// before the agent says so, everything is after it, nothing is left behind when it has left, and nothing comes back.
func TestStories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		for i := range uint64(3) {
			var wrong []string
			synctest.Test(t, func(*testing.T) { wrong = story(seed + i) })
			if len(wrong) > 0 {
				rt.Fatalf("seed %d: %q", seed+i, wrong)
			}
		}
	})
}
