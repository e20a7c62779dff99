package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
)

// An endpoint listens on loopback and hands every accepted connection to the test.
type endpoint struct {
	addr  netip.AddrPort
	conns chan net.Conn
	close func() // stops listening and closes the channel
}

func listen(tb testing.TB) *endpoint {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	e := &endpoint{addr: netip.MustParseAddrPort(l.Addr().String()), conns: make(chan net.Conn, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(e.conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.conns <- c
		}
	}()
	e.close = func() {
		_ = l.Close()
		<-done
	}
	tb.Cleanup(func() {
		e.close()
		for c := range e.conns {
			_ = c.Close()
		}
	})
	return e
}

func get(tb testing.TB, p *Pool, now time.Time) *Conn {
	tb.Helper()
	c, err := p.Get(tb.Context(), now, time.Time{}, false)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func open(p *Pool) (places, idle, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, len(p.idle), len(p.waiters)
}

func wantOpen(tb testing.TB, p *Pool, places, idle, waiting int) {
	tb.Helper()
	if o, i, w := open(p); o != places || i != idle || w != waiting {
		tb.Errorf("got %d open, %d idle, %d waiting; want %d, %d, %d", o, i, w, places, idle, waiting)
	}
}

func TestLastUsedFirst(t *testing.T) {
	e, traffic, now := listen(t), new(evidence.Traffic), time.Now()
	p := New(e.addr, Options{}, traffic)
	defer p.Close()
	a, b := get(t, p, now), get(t, p, now)
	if a == b || a.Reused() || a.Served() != 0 {
		t.Fatalf("got one connection twice, or a used one: %d", a.Served())
	}
	p.Put(a, now)
	p.Put(b, now)
	if got := get(t, p, now); got != b || !got.Reused() || got.Served() != 1 || got.Buffer == nil {
		t.Errorf("got not the last one put back, or served %d", got.Served())
	}
	if got := get(t, p, now); got != a {
		t.Error("got not the one before")
	}
	if n, active := traffic.Connects.Load(), traffic.ActiveConnects.Load(); n != 2 || active != 2 {
		t.Errorf("got %d connects, %d active, want 2, 2", n, active)
	}
	_ = a.Close()
	_ = a.Close()
	_ = b.Close()
	wantOpen(t, p, 0, 0, 0)
	if active := traffic.ActiveConnects.Load(); active != 0 {
		t.Errorf("got %d active, want none", active)
	}
}

func TestFreshNeverServed(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{MaxConns: 1}, new(evidence.Traffic))
	defer p.Close()
	a := get(t, p, now)
	p.Put(a, now)
	b, err := p.Get(t.Context(), now, time.Time{}, true) // a makes room
	if err != nil || b == a || b.Reused() {
		t.Fatalf("got %v, %v", b, err)
	}
	wantOpen(t, p, 1, 0, 0)
	_ = b.Close()
}

// An endpoint that closed an idle connection, reset it, or said something unasked does not get a request there.
func TestDeadConnectionIsNotReused(t *testing.T) {
	for name, kill := range map[string]func(t *testing.T, ours *Conn, theirs net.Conn){
		"closed": func(t *testing.T, ours *Conn, theirs net.Conn) {
			t.Helper()
			_ = theirs.Close()
			if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // the FIN has arrived
				t.Fatal(err)
			}
		},
		"reset": func(t *testing.T, ours *Conn, theirs net.Conn) {
			t.Helper()
			if _, err := ours.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := theirs.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if _, err := theirs.Write([]byte("y")); err != nil {
				t.Fatal(err)
			}
			if _, err := ours.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if tcp, ok := theirs.(*net.TCPConn); !ok || tcp.SetLinger(0) != nil {
				t.Fatal("no linger")
			}
			_ = theirs.Close()
			for { // until the reset has arrived
				if _, err := ours.Write([]byte("x")); err != nil {
					return
				}
			}
		},
		"spoke": func(t *testing.T, ours *Conn, theirs net.Conn) {
			t.Helper()
			if _, err := theirs.Write([]byte("hi")); err != nil {
				t.Fatal(err)
			}
			if _, err := ours.Read(make([]byte, 1)); err != nil { // the other byte is there
				t.Fatal(err)
			}
		},
	} {
		for how, take := range map[string]func(p *Pool, now time.Time) *Conn{
			"get":  func(p *Pool, now time.Time) *Conn { return get(t, p, now) },
			"idle": func(p *Pool, now time.Time) *Conn { return p.Idle(now) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				e, now := listen(t), time.Now()
				p := New(e.addr, Options{}, new(evidence.Traffic))
				defer p.Close()
				a := get(t, p, now)
				theirs := <-e.conns
				defer theirs.Close()
				kill(t, a, theirs)
				p.Put(a, now)
				b := take(p, now)
				if b == a || b != nil && b.Reused() {
					t.Error("got the dead connection")
				}
				if b != nil {
					_ = b.Close()
				}
				wantOpen(t, p, 0, 0, 0)
			})
		}
	}
}

func TestPutClosesWhatIsNotClean(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{MaxLifetime: time.Hour}, new(evidence.Traffic))
	defer p.Close()

	c := get(t, p, now)
	theirs := <-e.conns
	defer theirs.Close()
	if _, err := theirs.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Buffer.Fill(c, 1<<10); err != nil {
		t.Fatal(err)
	}
	p.Put(c, now) // unread bytes
	wantOpen(t, p, 0, 0, 0)

	c = get(t, p, now)
	p.Put(c, now.Add(2*time.Hour)) // past its lifetime
	wantOpen(t, p, 0, 0, 0)

	c = get(t, p, now)
	_ = c.Close()
	p.Put(c, now) // ended by somebody else
	wantOpen(t, p, 0, 0, 0)
}

// What deadlines the user before has left does not matter to one who asks the alarms.
func TestNextUserMovesTheDeadlines(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	c := get(t, p, now)
	past := now.Add(-time.Second)
	if !c.Reading.Move(past.Add(-time.Hour), past) || c.SetReadDeadline(past) != nil {
		t.Fatal("the deadline was not set")
	}
	p.Put(c, now)
	if got := p.Idle(now); got != c {
		t.Fatal("got another connection")
	}
	theirs := <-e.conns
	defer theirs.Close()
	if limit := now.Add(time.Minute); !c.Reading.Move(now, limit) || c.SetReadDeadline(limit) != nil {
		t.Fatal("the deadline was not moved")
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Buffer.Fill(c, 10); n != 1 || err != nil {
		t.Errorf("got %d, %v, want a byte", n, err)
	}
	_ = c.Close()
}

func TestIdleConnectionsExpire(t *testing.T) {
	e, start := listen(t), time.Now()
	p := New(e.addr, Options{IdleTimeout: time.Minute, MaxLifetime: time.Hour}, new(evidence.Traffic))
	defer p.Close()
	a, b, c := get(t, p, start), get(t, p, start), get(t, p, start)
	p.Put(a, start)
	p.Put(b, start.Add(30*time.Second))
	p.Put(c, start.Add(40*time.Second))
	p.Sweep(start.Add(59 * time.Second))
	wantOpen(t, p, 3, 3, 0)
	p.Sweep(start.Add(60 * time.Second)) // a
	wantOpen(t, p, 2, 2, 0)
	d := get(t, p, start.Add(91*time.Second)) // b expires on the way
	if d != c {
		t.Error("got not the one that has not expired")
	}
	wantOpen(t, p, 1, 0, 0)
	p.Put(d, start.Add(time.Hour-time.Second))
	wantOpen(t, p, 1, 1, 0)
	p.Sweep(time.Now().Add(time.Hour))
	wantOpen(t, p, 0, 0, 0)
}

func TestMaxIdle(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{MaxIdle: 1}, new(evidence.Traffic))
	defer p.Close()
	a, b := get(t, p, now), get(t, p, now)
	p.Put(a, now)
	p.Put(b, now)
	wantOpen(t, p, 1, 1, 0)
}

// A request that was routed before the pool was closed is still served, and leaves nothing behind.
func TestClosedPoolKeepsNothing(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{}, new(evidence.Traffic))
	a, b := get(t, p, now), get(t, p, now)
	p.Put(a, now)
	p.Close()
	wantOpen(t, p, 1, 0, 0)
	c := get(t, p, now)
	p.Put(b, now)
	p.Put(c, now)
	wantOpen(t, p, 0, 0, 0)
}

func TestConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	traffic := new(evidence.Traffic)
	p := New(addr, Options{MaxConns: 1}, traffic)
	for range 3 { // its place comes back
		if _, err := p.Get(t.Context(), time.Now(), time.Time{}, false); !errors.Is(err, ErrConnect) {
			t.Errorf("got %v, want ErrConnect", err)
		}
	}
	wantOpen(t, p, 0, 0, 0)
	if failed, made := traffic.ConnectFail.Load(), traffic.Connects.Load(); failed != 3 || made != 0 {
		t.Errorf("got %d failed, %d made, want 3, 0", failed, made)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Get(gone, time.Now(), time.Time{}, false); !errors.Is(err, ErrWait) {
		t.Errorf("got %v, want ErrWait", err)
	}
	if _, err := p.Get(t.Context(), time.Now(), time.Now().Add(-time.Second), false); !errors.Is(err, ErrWait) {
		t.Errorf("got %v, want ErrWait", err)
	}
	if failed := traffic.ConnectFail.Load(); failed != 3 {
		t.Errorf("got %d failed, want the endpoint not blamed for callers that were late", failed)
	}
	wantOpen(t, p, 0, 0, 0)
}

func TestReuseAllocatesNothing(t *testing.T) {
	e, now := listen(t), time.Now()
	p := New(e.addr, Options{MaxLifetime: time.Hour}, new(evidence.Traffic))
	defer p.Close()
	ctx := t.Context()
	p.Put(get(t, p, now), now)
	got := testing.AllocsPerRun(1000, func() {
		c, err := p.Get(ctx, now, now, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Put(c, now)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func descriptors(tb testing.TB) int {
	tb.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Skip("no /proc:", err)
	}
	return len(dir)
}
