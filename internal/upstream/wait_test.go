package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
)

// piped returns a pool whose connections are pipes.
func piped(o Options, traffic *evidence.Traffic) *Pool {
	o.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		ours, _ := net.Pipe()
		return ours, nil
	}
	return New(netip.AddrPort{}, o, traffic)
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(Options{MaxConns: 1}, new(evidence.Traffic))
		held := get(t, p, time.Now())
		var order []int
		for i := range 5 {
			go func() {
				c := get(t, p, time.Now())
				order = append(order, i)
				if i == 2 {
					_ = c.Close() // the next one makes its own
					return
				}
				p.Put(c, time.Now())
			}()
			synctest.Wait()
		}
		wantOpen(t, p, 1, 0, 5)
		p.Put(held, time.Now())
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("got order %v, want %v", order, want)
		}
		wantOpen(t, p, 1, 1, 0)
	})
}

func TestFreshWaiterGetsAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(Options{MaxConns: 1}, new(evidence.Traffic))
		held := get(t, p, time.Now())
		var got *Conn
		go func() {
			var err error
			if got, err = p.Get(t.Context(), time.Now(), time.Time{}, true); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		p.Put(held, time.Now())
		synctest.Wait()
		if got == nil || got == held || got.Reused() {
			t.Errorf("got %v, want a connection that never served", got)
		}
		wantOpen(t, p, 1, 0, 0)
	})
}

func TestWaitersOutliveClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(Options{MaxConns: 1}, new(evidence.Traffic))
		held := get(t, p, time.Now())
		var got *Conn
		go func() { got = get(t, p, time.Now()) }()
		synctest.Wait()
		p.Close()
		p.Put(held, time.Now())
		synctest.Wait()
		if got == nil || got == held {
			t.Fatalf("got %v, want a connection of its own", got)
		}
		p.Put(got, time.Now())
		wantOpen(t, p, 0, 0, 0)
	})
}

// A connection that somebody else closes while it is idle is not handed out.
func TestClosedWhileIdle(t *testing.T) {
	p := piped(Options{}, new(evidence.Traffic))
	now := time.Now()
	c := get(t, p, now)
	p.Put(c, now)
	_ = c.Close()
	if got := get(t, p, now); got == c {
		t.Error("got the closed connection")
	}
	wantOpen(t, p, 1, 0, 0)
}

func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traffic := new(evidence.Traffic)
		p := piped(Options{MaxConns: 1, MaxPending: 2}, traffic)
		held := get(t, p, time.Now())
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		type outcome struct {
			err   error
			after time.Duration
		}
		outcomes := make(chan outcome, 3)
		wait := func(ctx context.Context, deadline time.Time) {
			_, err := p.Get(ctx, time.Now(), deadline, false)
			outcomes <- outcome{err, time.Since(start)}
		}
		go wait(t.Context(), start.Add(3*time.Second))
		go wait(ctx, time.Time{})
		synctest.Wait()
		if _, err := p.Get(t.Context(), time.Now(), time.Time{}, false); !errors.Is(err, ErrOverflow) {
			t.Errorf("got %v, want ErrOverflow", err)
		}
		if n := traffic.Overflow.Load(); n != 1 {
			t.Errorf("got %d overflows, want 1", n)
		}
		if got := <-outcomes; !errors.Is(got.err, ErrWait) || got.after != 3*time.Second {
			t.Errorf("got %v after %v, want ErrWait at the deadline", got.err, got.after)
		}
		cancel()
		if got := <-outcomes; !errors.Is(got.err, ErrWait) {
			t.Errorf("got %v, want ErrWait", got.err)
		}
		wantOpen(t, p, 1, 0, 0)
		p.Put(held, time.Now())
		wantOpen(t, p, 1, 1, 0)
	})
}

// The expired connection that is about to be closed does not cost a request its place.
func TestExpiredConnectionMakesRoom(t *testing.T) {
	p := piped(Options{MaxConns: 1, MaxPending: -1}, new(evidence.Traffic))
	now := time.Now()
	c := get(t, p, now)
	p.Put(c, now)
	if got := get(t, p, now.Add(time.Hour)); got == c {
		t.Error("got the expired connection")
	}
	wantOpen(t, p, 1, 0, 0)
}

// Many requests come, wait, give up, put back, and close, in every interleaving that chance finds: the bound
// holds, and at the end no place, waiter, connection or descriptor is left.
func TestNothingIsLeft(t *testing.T) {
	const bound, workers, rounds = 4, 16, 200
	e, traffic := listen(t), new(evidence.Traffic)
	before := descriptors(t)
	var accepted sync.WaitGroup
	accepted.Go(func() {
		for c := range e.conns {
			accepted.Go(func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
	p := New(e.addr, Options{MaxConns: bound, MaxPending: workers / 2, MaxIdle: 2}, traffic)
	var held, most atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		chance := rand.New(rand.NewPCG(1, uint64(w)))
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if chance.IntN(4) == 0 {
					go cancel()
				}
				now := time.Now()
				c, err := p.Get(ctx, now, now.Add(time.Minute), chance.IntN(8) == 0)
				if err == nil {
					for n := held.Add(1); ; {
						if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
							break
						}
					}
					held.Add(-1)
					switch chance.IntN(5) {
					case 0:
						_ = c.Close()
					case 1:
						all.Go(func() { _ = c.Close() }) // as whoever gives up on it would
						p.Put(c, now)
					default:
						p.Put(c, now.Add(time.Duration(chance.IntN(2))*time.Hour))
					}
				}
				cancel()
			}
		})
	}
	all.Wait()
	p.Close()
	wantOpen(t, p, 0, 0, 0)
	if m := most.Load(); m > bound {
		t.Errorf("got %d connections in use at once, want at most %d", m, bound)
	}
	if n := traffic.ActiveConnects.Load(); n != 0 {
		t.Errorf("got %d active connections, want none", n)
	}
	e.close()
	accepted.Wait()
	if after := descriptors(t); after >= before { // the listener is gone too
		t.Errorf("got %d descriptors, had %d with the listener", after, before)
	}
}
