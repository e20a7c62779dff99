package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/registry"
)

// A desk is a gate with a registry that writes down what it is asked.
type desk struct {
	*testing.T
	*Gate

	mu    sync.Mutex
	asked []string
	fails error // of what it is asked
	told  []string
	hangs bool // it answers when it is given up
}

// answers has the registry answer with an error, or none, from now on; what it was asked before is no matter.
func (d *desk) answers(err error, hangs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails, d.hangs, d.asked = err, hangs, nil
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, Gate: &Gate{}}
	d.Tell = func(kind, reason string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.told = append(d.told, kind+": "+reason)
	}
	return d
}

// A slip is a registration at a desk.
type slip struct {
	desk *desk
	name string
}

func (s *slip) Release(ctx context.Context, m Mark) error {
	return s.ask(ctx, fmt.Sprintf("release %s %v", s.name, m.Share))
}

func (s *slip) Withdraw(ctx context.Context) error { return s.ask(ctx, "withdraw "+s.name) }

func (s *slip) ask(ctx context.Context, what string) error {
	s.desk.mu.Lock()
	s.desk.asked = append(s.desk.asked, what)
	fails, hangs := s.desk.fails, s.desk.hangs
	s.desk.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return fails
}

func key(name string) Key { return Key{Registry: "desk", Name: name} }

func (d *desk) registers(name string, want Verdict) *slip {
	d.Helper()
	s := &slip{desk: d, name: name}
	if got, _ := d.Register(key(name), s); got != want {
		d.Fatalf("Register(%s) = %v, want %v", name, got, want)
	}
	return s
}

func (d *desk) deregisters(name string, want Verdict) {
	d.Helper()
	if got := d.Deregister(key(name)); got != want {
		d.Fatalf("Deregister(%s) = %v, want %v", name, got, want)
	}
}

func (d *desk) puts(share float64, want error) {
	d.Helper()
	if err := d.Put(d.Context(), ready(share)); !errors.Is(err, want) {
		d.Fatalf("Put = %v, want %v", err, want)
	}
}

func (d *desk) removes(want error) {
	d.Helper()
	if err := d.Remove(d.Context(), "a-1"); !errors.Is(err, want) {
		d.Fatalf("Remove = %v, want %v", err, want)
	}
}

// wants compares what the registry was asked since the last time.
func (d *desk) wants(asked ...string) {
	d.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.asked, asked) {
		d.Fatalf("the registry was asked %q, want %q", d.asked, asked)
	}
	d.asked = nil
}

func (d *desk) is(name string, want State) {
	d.Helper()
	if got := d.State(Key{Registry: "desk", Name: name}); got != want {
		d.Errorf("the state of %q is %v, want %v", name, got, want)
	}
}

func (d *desk) counts(want Count) {
	d.Helper()
	if got := d.Count(); got != want {
		d.Errorf("counted %+v, want %+v", got, want)
	}
}

// at runs a test in a bubble: what a gate waits for takes no time.
func at(t *testing.T, test func(*desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		test(newDesk(t))
	})
}

func TestALife(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("b", Answer)
		d.registers("a", Answer)
		d.is("a", Held)
		d.counts(Count{Held: 2})
		d.wants()
		d.puts(0.5, nil)
		d.wants("release b 0.5", "release a 0.5") // in the order of registration
		d.puts(0.5, nil)
		d.wants()
		d.puts(0, nil)
		d.wants("release b 1", "release a 1")
		late := d.registers("c", Pass)
		d.Settle(key("c"), late, nil)
		d.is("c", Released)
		d.counts(Count{Released: 3})
		d.puts(0, nil)
		d.wants()
		d.removes(nil)
		d.wants("withdraw b", "withdraw a", "withdraw c")
		d.removes(nil)
		d.wants()
		d.registers("a", Answer)
		d.registers("d", Answer)
		d.is("a", Drained)
		d.is("new", Drained)
		d.counts(Count{Swallowed: 2})
		d.deregisters("a", Answer)
		d.deregisters("nobody", Pass)
		d.puts(0, errLeft)
		want := []string{
			"hold.registered: b in desk", "hold.registered: a in desk", "hold.released: b in desk", "hold.released: a in desk", "hold.released: c in desk",
			"hold.withdrawn: b in desk", "hold.withdrawn: a in desk", "hold.withdrawn: c in desk", "hold.swallowed: a in desk", "hold.swallowed: d in desk",
		}
		if !slices.Equal(d.told, want) {
			d.Errorf("told %q, want %q", d.told, want)
		}
	})
}

func TestOneThatLeavesRegistersNothingMore(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		d.puts(0.5, nil)
		d.wants("release a 0.5")
		if err := d.Put(d.Context(), leaving()); err != nil {
			d.Fatal(err)
		}
		d.wants() // it has no word for it, and its share stays
		d.registers("b", Answer)
		again := d.registers("a", Pass) // a beat: it is still there
		d.Settle(key("a"), again, nil)
		d.is("a", Released)
		d.is("b", Drained)
		d.counts(Count{Released: 1, Swallowed: 1})
		d.Forget(key("a"), again)
		d.registers("a", Answer) // over another connection: it is there no more
		d.removes(nil)
		d.wants()
	})
}

func TestOneThatLeavesWhileItIsHeld(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		for range 2 {
			if err := d.Put(d.Context(), leaving()); err != nil {
				d.Fatal(err)
			}
			d.puts(0, nil) // nothing is taken back
		}
		d.counts(Count{})
		d.removes(nil)
		d.wants()
	})
}

func TestAnUnreadyOneIsKeptBack(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		in := ready(0)
		in.Ready = false
		if err := d.Put(d.Context(), in); !errors.Is(err, errUnready) {
			d.Errorf("Put = %v", err)
		}
		d.registers("b", Answer)
		d.wants()
		d.puts(0, nil)
		d.wants("release a 1", "release b 1")
		in.Ramp = 0.5
		if err := d.Put(d.Context(), in); err != nil { // it is registered: that is another matter
			d.Errorf("Put = %v", err)
		}
		d.wants("release a 0.5", "release b 0.5")
	})
}

func TestNothingIsRegistered(t *testing.T) {
	at(t, func(d *desk) {
		begun := time.Now()
		d.puts(0, ErrNothing)
		if took := time.Since(begun); took != patience {
			d.Errorf("it took %v", took)
		}
		done := make(chan error, 1)
		go func() { done <- d.Put(d.Context(), ready(0)) }()
		synctest.Wait()
		first := d.registers("a", Pass)
		synctest.Wait()
		d.Settle(key("a"), first, errRefused) // it was told no
		synctest.Wait()
		d.is("a", Released) // which is what the next may be
		second := d.registers("a", Pass)
		synctest.Wait()
		select {
		case err := <-done:
			d.Errorf("Put returned %v before the registry had answered", err)
		default:
		}
		d.Settle(key("a"), second, nil)
		if err := <-done; err != nil {
			d.Errorf("Put = %v", err)
		}
		d.wants()
	})
}

func TestWhyNothingIsRegistered(t *testing.T) {
	at(t, func(d *desk) {
		d.puts(0, ErrNothing)
		s := d.registers("a", Pass)
		d.Settle(key("a"), s, errRefused)
		d.puts(0, errRefused)
		d.puts(0, ErrNothing)
		if want := "hold.refused: a in desk; the book says no"; !slices.Contains(d.told, want) {
			d.Errorf("told %q, want %q", d.told, want)
		}
	})
}

func TestARegistryThatRefuses(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		d.registers("b", Answer)
		d.answers(errRefused, false)
		d.FailOpen = true // that is for those that are away
		d.puts(0, errRefused)
		d.puts(0, errRefused)
		d.wants("release a 1", "release b 1", "release a 1", "release b 1")
		if n := strings.Count(strings.Join(d.told, "\n"), "hold.refused"); n != 2 {
			d.Errorf("it was told %d times: %q", n, d.told)
		}
		d.answers(nil, false)
		d.puts(0, nil)
		d.counts(Count{Released: 2})
	})
}

func TestARegistryThatIsAway(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		d.registers("b", Answer)
		d.answers(registry.ErrAway, false)
		d.puts(0, registry.ErrAway)
		d.wants("release a 1") // nor is it asked for the other one
		d.answers(nil, true)
		begun := time.Now()
		d.puts(0, registry.ErrAway)
		if took := time.Since(begun); took != patience {
			d.Errorf("it took %v", took)
		}
		d.wants("release a 1")
		d.removes(registry.ErrAway)
		d.answers(nil, false)
		d.removes(nil)
		d.wants("withdraw a") // b has never been on its way
	})
}

func TestARegistryThatNeedNotBeWaitedFor(t *testing.T) {
	at(t, func(d *desk) {
		d.FailOpen = true
		d.registers("a", Answer)
		d.answers(registry.ErrAway, false)
		d.puts(0, nil)
		d.wants("release a 1")
		ctx, stop := context.WithCancel(d.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- d.Gate.Run(ctx, func(error) {}) }()
		time.Sleep(time.Minute)
		d.mu.Lock()
		if n := len(d.asked); n < 10 || n > 30 {
			d.Errorf("in a minute it was tried %d times", n)
		}
		d.mu.Unlock()
		d.answers(nil, false)
		time.Sleep(time.Minute)
		d.wants("release a 1")
		d.counts(Count{Released: 1})
		d.answers(registry.ErrAway, false)
		d.removes(registry.ErrAway)
		d.answers(nil, false)
		time.Sleep(time.Minute)
		d.wants("withdraw a")
		stop()
		if err := <-ended; err != nil {
			d.Errorf("Run = %v", err)
		}
	})
}

func TestOneThatIsNotCurrentIsIgnored(t *testing.T) {
	at(t, func(d *desk) {
		first := d.registers("a", Answer)
		second := d.registers("a", Answer)
		d.Forget(key("a"), first)
		d.is("a", Held)
		d.puts(0, nil)
		d.wants("release a 1")
		d.Settle(key("a"), first, errRefused)
		d.Gone(key("a"))
		d.counts(Count{Released: 1})
		third := d.registers("a", Pass)
		fourth := d.registers("a", Pass)
		d.Forget(key("a"), fourth) // the third is still on its way
		d.Settle(key("a"), third, nil)
		d.counts(Count{Released: 1})
		d.Forget(key("a"), second)
		d.counts(Count{Released: 1})
		d.removes(nil)
		d.wants("withdraw a")
	})
}

func TestADeregistrationThatIsNotAnswered(t *testing.T) {
	at(t, func(d *desk) {
		d.registers("a", Answer)
		d.registers("b", Answer)
		d.puts(0, nil)
		d.asked = nil
		d.deregisters("a", Pass)
		d.deregisters("b", Pass)
		d.Gone(key("b"))
		d.puts(0, nil)
		d.wants()
		d.removes(nil)
		d.wants("withdraw a")
	})
}

// A stub is a proxy that is away when it is told to be.
type stub struct {
	name string
	end  chan error
}

func (s *stub) Registry() string { return s.name }

func (s *stub) Run(ctx context.Context, g *Gate) error {
	select {
	case err := <-s.end:
		return err
	case <-ctx.Done():
		return nil
	}
}

func TestRunTellsWhatIsAway(t *testing.T) {
	at(t, func(d *desk) {
		one, two := &stub{name: "one", end: make(chan error)}, &stub{name: "two", end: make(chan error)}
		d.Proxies = []Proxy{one, two}
		var heard []error
		ended := make(chan error, 1)
		go func() { ended <- d.Gate.Run(d.Context(), func(err error) { heard = append(heard, err) }) }()
		away := func(p Proxy, err error) {
			d.Away(p, err)
			synctest.Wait()
		}
		away(one, errRefused)
		away(one, errRefused)
		away(two, errRefused)
		away(one, nil)
		d.puts(0, registry.ErrAway) // of what is away nothing can have been registered
		if len(heard) != 1 || !errors.Is(heard[0], registry.ErrAway) || !errors.Is(heard[0], errRefused) {
			d.Errorf("heard %v", heard)
		}
		away(two, nil)
		away(two, nil)
		if len(heard) != 2 || heard[1] != nil {
			d.Errorf("heard %v", heard)
		}
		two.end <- errRefused
		if err := <-ended; !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "two") {
			d.Errorf("Run = %v", err)
		}
	})
}

// The application may have registered nothing where the registry is away, because it is: that is not all of it.
func TestOneOfTwoIsAway(t *testing.T) {
	at(t, func(d *desk) {
		other := &stub{name: "other"}
		d.Proxies = []Proxy{other}
		d.registers("a", Answer)
		d.Away(other, errRefused)
		d.puts(0, registry.ErrAway)
		d.wants("release a 1")
		d.Away(other, nil)
		d.puts(0, nil)
		d.Away(other, errRefused)
		d.puts(0, nil) // it is registered: what comes later is passed on
	})
}

func TestMarks(t *testing.T) {
	at(t, func(d *desk) {
		d.Annotate = true
		d.registers("a", Answer)
		d.puts(0.5, nil)
		_, mark := d.Register(key("b"), &slip{desk: d, name: "b"})
		if mark.Share != 0.5 || mark.Leaving || mark.Metadata["crossfade.incarnation"] != "a-1" {
			d.Errorf("the mark is %+v", mark)
		}
		for _, share := range []float64{-1, 2} {
			_ = d.permit(ready(share))
			if d.mark.Share != 1 {
				d.Errorf("a share of %v is %v", share, d.mark.Share)
			}
		}
		_ = d.permit(leaving())
		if !d.mark.Leaving || d.mark.Metadata["crossfade.leaving"] != "true" {
			d.Errorf("the mark is %+v", d.mark)
		}
		d.Annotate = false
		_ = d.permit(leaving())
		if d.mark.Leaving || d.mark.Metadata != nil {
			d.Errorf("without annotations the mark is %+v", d.mark)
		}
	})
}

func TestWhatIsSwallowedIsToldNowAndThen(t *testing.T) {
	at(t, func(d *desk) {
		d.removes(nil)
		for range 120 {
			d.registers("a", Answer)
			time.Sleep(time.Second)
		}
		if n := len(d.told); n != 2 {
			d.Errorf("it was told %d times in two minutes", n)
		}
		d.counts(Count{Swallowed: 120})
	})
}
