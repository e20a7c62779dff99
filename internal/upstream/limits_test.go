package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// An opened counts the connections that are open to all the addresses of a test.
type opened struct{ now, most, ever atomic.Int64 }

type openedConn struct {
	net.Conn
	close func() error
}

func (c openedConn) Close() error { return c.close() }

// dial opens a pipe.
func (o *opened) dial(context.Context, netip.AddrPort) (net.Conn, error) {
	o.ever.Add(1)
	for n := o.now.Add(1); ; {
		if m := o.most.Load(); n <= m || o.most.CompareAndSwap(m, n) {
			break
		}
	}
	ours, _ := net.Pipe()
	return openedConn{ours, sync.OnceValue(func() error {
		o.now.Add(-1)
		return ours.Close()
	})}, nil
}

// limited returns n pools under the same limits.
func limited(n int, l *Limits, o Options) ([]*Pool, *opened) {
	count := new(opened)
	o.Limits, o.Dial = l, count.dial
	pools := make([]*Pool, n)
	for i := range pools {
		pools[i] = New(netip.AddrPort{}, o, new(evidence.Traffic))
	}
	return pools, count
}

// wantLimits looks at what counts against l.
func wantLimits(tb testing.TB, l *Limits, open, waiting, pending, requests int) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, r := int(l.pending.Load()), int(l.requests.Load()); l.open != open || len(l.queue) != waiting || p != pending || r != requests {
		tb.Errorf("got %d open, %d waiting, %d pending, %d requests; want %d, %d, %d, %d", l.open, len(l.queue), p, r, open, waiting, pending, requests)
	}
}

func TestIdleConnectionMakesRoomForAnotherAddress(t *testing.T) {
	l := NewLimits(Bounds{Conns: 2})
	pools, count := limited(3, l, Options{})
	now := time.Now()
	a, b := get(t, pools[0], now), get(t, pools[1], now)
	pools[1].Put(b, now)
	pools[0].Put(a, now.Add(time.Second)) // b has been idle longer
	c := get(t, pools[2], now.Add(2*time.Second))
	wantOpen(t, pools[0], 1, 1, 0)
	wantOpen(t, pools[1], 0, 0, 0)
	wantLimits(t, l, 2, 0, 0, 0)
	if n := count.most.Load(); n != 2 {
		t.Errorf("got %d connections at once, want 2", n)
	}
	_ = c.Close()
	wantLimits(t, l, 1, 0, 0, 0)
}

func TestWaiterIsWokenByAnotherAddress(t *testing.T) {
	for name, free := range map[string]func(p *Pool, c *Conn){
		"put back": func(p *Pool, c *Conn) { p.Put(c, time.Now()) },
		"closed":   func(p *Pool, c *Conn) { _ = c.Close(); p.Put(c, time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimits(Bounds{Conns: 1})
				pools, count := limited(2, l, Options{})
				held := get(t, pools[0], time.Now())
				var got *Conn
				go func() { got = get(t, pools[1], time.Now()) }()
				synctest.Wait()
				wantLimits(t, l, 1, 1, 0, 0)
				wantOpen(t, pools[1], 1, 0, 0)
				free(pools[0], held)
				synctest.Wait()
				if got == nil {
					t.Fatal("still waits")
				}
				wantOpen(t, pools[0], 0, 0, 0)
				wantLimits(t, l, 1, 0, 0, 0)
				if n := count.most.Load(); n != 1 {
					t.Errorf("got %d connections at once, want 1", n)
				}
				_ = got.Close()
			})
		})
	}
}

// A connection stays with those who wait for its address.
func TestConnectionsAreNotMadeAnewForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(Bounds{Conns: 2})
		pools, count := limited(3, l, Options{})
		a, b := get(t, pools[0], time.Now()), get(t, pools[1], time.Now())
		served := make(chan string, 4)
		wait := func(name string, p *Pool, hold time.Duration) {
			go func() {
				c := get(t, p, time.Now())
				served <- name
				time.Sleep(hold)
				p.Put(c, time.Now())
			}()
			synctest.Wait()
		}
		want := func(name, why string) {
			t.Helper()
			if got := <-served; got != name {
				t.Errorf("got %s next, want %s: %s", got, name, why)
			}
		}
		wait("b", pools[1], time.Second)
		wait("a", pools[0], 1500*time.Millisecond)
		wait("c", pools[2], time.Second)
		pools[0].Put(a, time.Now())
		want("a", "the connection is to its address")
		wait("another a", pools[0], time.Second)
		pools[1].Put(b, time.Now())
		want("b", "the connection is to its address, and it came before c")
		want("c", "nobody waits for b's address when b is done")
		want("another a", "the connection is to its address")
		time.Sleep(2 * time.Second)
		wantLimits(t, l, 2, 0, 0, 0)
		if n := count.ever.Load(); n != 3 {
			t.Errorf("got %d connections made, want one for each address", n)
		}
		for _, p := range pools {
			p.Close()
		}
		wantLimits(t, l, 0, 0, 0, 0)
	})
}

// Who waits for one address is passed over by those who wait for another only as often as there may be connections.
func TestNobodyIsPassedOverForEver(t *testing.T) {
	for conns := 1; conns <= 3; conns++ {
		synctest.Test(t, func(t *testing.T) {
			l := NewLimits(Bounds{Conns: conns})
			pools, _ := limited(2, l, Options{})
			var held []*Conn
			for range conns {
				held = append(held, get(t, pools[0], time.Now()))
			}
			var before, served atomic.Int64
			go func() {
				c := get(t, pools[1], time.Now())
				before.Store(served.Load())
				_ = c.Close()
			}()
			synctest.Wait()
			for range 10 {
				go func() {
					c := get(t, pools[0], time.Now())
					served.Add(1)
					time.Sleep(time.Second)
					pools[0].Put(c, time.Now())
				}()
			}
			synctest.Wait()
			for _, c := range held {
				pools[0].Put(c, time.Now())
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Minute)
			if all, n := served.Load(), int(before.Load()); all != 10 || n != conns {
				t.Errorf("%d connections: got %d served before him, %d in all; want %d, 10", conns, n, all, conns)
			}
			if l.passed != 0 {
				t.Errorf("%d connections: got %d as passed over with nobody in the queue: the next one would not be", conns, l.passed)
			}
		})
	}
}

func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(Bounds{Conns: 1, Pending: 1})
		pools, _ := limited(2, l, Options{})
		held := get(t, pools[0], time.Now())
		wantLimits(t, l, 1, 0, 0, 0)
		done := make(chan error)
		go func() {
			c, err := pools[1].Get(t.Context(), time.Now(), time.Time{}, false)
			if err == nil {
				_ = c.Close()
			}
			done <- err
		}()
		synctest.Wait()
		wantLimits(t, l, 1, 1, 1, 0)
		for i, p := range pools {
			if _, err := p.Get(t.Context(), time.Now(), time.Time{}, false); !errors.Is(err, ErrLimited) || !errors.Is(err, ErrOverflow) {
				t.Errorf("pool %d: got %v, want ErrLimited, an ErrOverflow", i, err)
			}
			if n := p.traffic.Overflow.Load(); n != 1 {
				t.Errorf("pool %d: got %d overflows, want 1", i, n)
			}
		}
		_ = held.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantLimits(t, l, 0, 0, 0, 0)
	})
}

// A request waits as well while its connection is made, as Envoy counts it.
func TestConnectingIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(Bounds{Pending: 1})
		p := New(netip.AddrPort{}, Options{Limits: l, Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, new(evidence.Traffic))
		done := make(chan error)
		go func() {
			_, err := p.Get(t.Context(), time.Now(), time.Time{}, false)
			done <- err
		}()
		synctest.Wait()
		if _, err := p.Get(t.Context(), time.Now(), time.Time{}, false); !errors.Is(err, ErrLimited) {
			t.Errorf("got %v, want ErrLimited", err)
		}
		if err := <-done; !errors.Is(err, ErrConnect) {
			t.Errorf("got %v, want ErrConnect", err)
		}
		wantLimits(t, l, 0, 0, 0, 0)
	})
}

func TestRequestsAreBounded(t *testing.T) {
	l := NewLimits(Bounds{Requests: 2})
	pools, count := limited(2, l, Options{})
	now := time.Now()
	a, b := get(t, pools[0], now), get(t, pools[1], now)
	wantLimits(t, l, 0, 0, 0, 2)
	if _, err := pools[0].Get(t.Context(), now, time.Time{}, false); !errors.Is(err, ErrLimited) {
		t.Errorf("got %v, want ErrLimited", err)
	}
	wantOpen(t, pools[0], 2, 1, 0) // what was made for it is kept
	if c := pools[0].Idle(now); c != nil {
		t.Error("got an idle connection, want none beyond the limit")
	}
	wantOpen(t, pools[0], 2, 1, 0)
	pools[1].Put(b, now)
	wantLimits(t, l, 0, 0, 0, 1)
	c := pools[0].Idle(now)
	if c == nil || c.Reused() {
		t.Fatal("got no connection, want the one that was kept, unused")
	}
	wantLimits(t, l, 0, 0, 0, 2)
	_ = c.Close()
	wantLimits(t, l, 0, 0, 0, 1)
	pools[0].Put(c, now) // closed already: not counted twice
	pools[0].Put(a, now)
	wantLimits(t, l, 0, 0, 0, 0)
	if n := count.ever.Load(); n != 3 {
		t.Errorf("got %d connections made, want 3", n)
	}
}

func TestRetriesAreBounded(t *testing.T) {
	l := NewLimits(Bounds{Retries: 2})
	for i := range 3 {
		if got, want := l.Retry(), i < 2; got != want {
			t.Errorf("retry %d: got %v, want two at once, and no third", i, got)
		}
	}
	l.Retried()
	if !l.Retry() {
		t.Error("want another when one has ended")
	}
	for _, none := range []*Limits{nil, {}, NewLimits(Bounds{Conns: 1})} {
		if !none.Retry() {
			t.Error("want no bound where none is given")
		}
		none.Retried()
	}
}

func TestMaxRequests(t *testing.T) {
	p := piped(Options{MaxRequests: 2}, new(evidence.Traffic))
	now := time.Now()
	c := get(t, p, now)
	p.Put(c, now)
	if got := get(t, p, now); got != c {
		t.Error("got another connection for the second request")
	}
	p.Put(c, now)
	wantOpen(t, p, 0, 0, 0)
	if got := get(t, p, now); got == c {
		t.Error("got the same connection for the third request")
	}
}

// The pool's own bound holds besides, and nobody who waits for it is forgotten.
func TestOwnBoundUnderLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(Bounds{Conns: 2})
		pools, count := limited(2, l, Options{MaxConns: 1})
		var served atomic.Int64
		for i := range 12 {
			go func() {
				p := pools[i%2]
				c := get(t, p, time.Now())
				time.Sleep(time.Second)
				p.Put(c, time.Now())
				served.Add(1)
			}()
		}
		time.Sleep(time.Minute)
		if n := served.Load(); n != 12 {
			t.Errorf("got %d served, want 12", n)
		}
		if n := count.ever.Load(); n != 2 {
			t.Errorf("got %d connections, want one to each address", n)
		}
	})
}

// Limits that allow more than a pool would by itself are not cut short by it, unless somebody has said so.
func TestLimitsRaiseTheDefault(t *testing.T) {
	much := NewLimits(Bounds{Conns: 5000, Pending: 6000})
	if o := (Options{Limits: much}).withDefaults(); o.MaxConns != 5000 || o.MaxPending != 6000 {
		t.Errorf("got %d connections, %d waiting; want 5000, 6000", o.MaxConns, o.MaxPending)
	}
	if o := (Options{Limits: much, MaxConns: 7, MaxPending: -1}).withDefaults(); o.MaxConns != 7 || o.MaxPending != -1 {
		t.Errorf("got %d connections, %d waiting; want 7, -1", o.MaxConns, o.MaxPending)
	}
	for _, l := range []*Limits{nil, NewLimits(Bounds{Conns: 1, Pending: 1})} {
		if o := (Options{Limits: l}).withDefaults(); o.MaxConns != 1024 || o.MaxPending != 1024 {
			t.Errorf("got %d connections, %d waiting; want 1024, 1024", o.MaxConns, o.MaxPending)
		}
	}
}

func TestLimitsAllocateNothing(t *testing.T) {
	pools, _ := limited(1, NewLimits(Bounds{Conns: 1, Pending: 1, Requests: 1, Retries: 1}), Options{MaxRequests: 1 << 30})
	p, now, ctx := pools[0], time.Now(), t.Context()
	p.Put(get(t, p, now), now)
	for how, take := range map[string]func() *Conn{
		"get": func() *Conn {
			c, err := p.Get(ctx, now, now, false)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		"idle": func() *Conn { return p.Idle(now) },
	} {
		if got := testing.AllocsPerRun(1000, func() { p.Put(take(), now) }); got != 0 {
			t.Errorf("%s: got %v allocations, want none", how, got)
		}
	}
}

// As TestNothingIsLeft, over real sockets and several addresses: no place, waiter, connection or descriptor is left.
func TestNothingIsLeftUnderLimits(t *testing.T) {
	const bound, workers, rounds = 4, 16, 100
	before := descriptors(t)
	endpoints := []*endpoint{listen(t), listen(t), listen(t)}
	l := NewLimits(Bounds{Conns: bound, Pending: workers / 2, Requests: bound - 1})
	var pools []*Pool
	var accepted, all sync.WaitGroup
	for _, e := range endpoints {
		pools = append(pools, New(e.addr, Options{Limits: l, MaxIdle: 2}, new(evidence.Traffic)))
		accepted.Go(func() {
			for c := range e.conns {
				accepted.Go(func() {
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				})
			}
		})
	}
	var refused atomic.Int64
	for w := range workers {
		chance := rand.New(rand.NewPCG(2, uint64(w)))
		all.Go(func() {
			for range rounds {
				p, now := pools[chance.IntN(len(pools))], time.Now()
				c, err := p.Get(t.Context(), now, now.Add(time.Minute), chance.IntN(8) == 0)
				switch {
				case errors.Is(err, ErrLimited):
					refused.Add(1)
				case err != nil:
					t.Error(err)
				case chance.IntN(5) == 0:
					all.Go(func() { _ = c.Close() })
					p.Put(c, now)
				default:
					p.Put(c, now)
				}
			}
		})
	}
	all.Wait()
	for _, p := range pools {
		p.Close()
		wantOpen(t, p, 0, 0, 0)
	}
	wantLimits(t, l, 0, 0, 0, 0)
	for _, e := range endpoints {
		e.close()
	}
	accepted.Wait()
	if after := descriptors(t); after > before {
		t.Errorf("got %d descriptors, had %d", after, before)
	}
	if n := refused.Load(); n == workers*rounds {
		t.Error("all were refused")
	}
}

// Connections of both versions of HTTP make room for each other, whichever address they are to.
func TestVersionsShareLimits(t *testing.T) {
	l := NewLimits(Bounds{Conns: 1, Requests: 1})
	modern := New(listening(t, http2.Options{}, echo).addr, Options{Limits: l}, new(evidence.Traffic))
	plain := New(listen(t).addr, Options{Limits: l}, new(evidence.Traffic))
	defer plain.Close()
	defer modern.Close()
	for range 20 {
		if _, err := call(t.Context(), modern, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		c := get(t, plain, time.Now())
		waiting := make(chan error)
		go func() {
			_, err := call(t.Context(), modern, []byte("again"))
			waiting <- err
		}()
		if _, err := plain.Get(t.Context(), time.Now(), time.Now().Add(time.Millisecond), false); !errors.Is(err, ErrWait) {
			t.Errorf("got %v, want ErrWait: the one connection is in use", err)
		}
		plain.Put(c, time.Now())
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
	}
	if n := plain.traffic.Connects.Load(); n != 20 {
		t.Errorf("got %d connections of HTTP/1.1, want 20: each was closed for one of HTTP/2", n)
	}
}
