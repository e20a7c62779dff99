package serve_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
)

// A gateway is a server that runs until it is stopped.
type gateway struct {
	t    testing.TB
	s    *serve.Server
	stop context.CancelFunc
	err  chan error
}

// start serves view; stop it with leave, or leave it to the test's end.
func start(t testing.TB, o serve.Options, view fleet.View) *gateway {
	t.Helper()
	return startWith(t, proxy.Options{LingerTimeout: 200 * time.Millisecond}, o, view) // most clients here never close
}

func startWith(t testing.TB, po proxy.Options, o serve.Options, view fleet.View) *gateway {
	t.Helper()
	g := &gateway{t: t, s: serve.New(proxy.New(po), o), err: make(chan error, 1)}
	if err := g.apply(view); err != nil {
		t.Fatal(err)
	}
	g.run()
	return g
}

// run has the server serve until the test ends or leave is called.
func (g *gateway) run() {
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	go func() { g.err <- g.s.Run(ctx) }()
	g.t.Cleanup(stop)
}

func (g *gateway) apply(view fleet.View) error {
	g.t.Helper()
	state, err := proxy.Compile(g.s.Proxy().State(), view, nil, proxy.Options{}, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return g.s.Apply(context.Background(), state)
}

// addr is where the listener of that name is served.
func (g *gateway) addr(listener string) string {
	g.t.Helper()
	a := g.s.Addr(listener)
	if a == nil {
		g.t.Fatalf("listener %s is not served", listener)
	}
	return a.String()
}

// leave stops the gateway and waits for it.
func (g *gateway) leave() error {
	g.stop()
	return <-g.err
}

// quiet are the usual timers without lame duck, but for the quiet time.
func quiet(t time.Duration) drain.Timers {
	return drain.Timers{Quiet: t, Requests: 30 * time.Second, Long: 30 * time.Second, Spread: time.Second}
}

// view is a snapshot with one service and these listeners, given as name and address by turns.
func view(endpoint string, listeners ...string) fleet.View {
	s := &fleet.Snapshot{Services: []fleet.Service{{
		Name: "app:80", Host: "app", Port: 80,
		Pools: []fleet.Pool{{Members: []fleet.Member{{}}}},
		Endpoints: []fleet.Endpoint{{
			Name: "app-0", Incarnation: "app-0", Address: netip.MustParseAddrPort(endpoint),
			Weight: 1, Stage: fleet.Serving, Age: time.Hour,
		}},
	}}}
	for i := 0; i < len(listeners); i += 2 {
		s.Listeners = append(s.Listeners, fleet.Listener{
			Name: listeners[i], Address: listeners[i+1],
			Hosts: []fleet.VirtualHost{{Domains: []string{"*"}, Routes: []fleet.Route{{
				Destinations: []fleet.Destination{{Service: "app:80", Weight: 1}},
			}}}},
		})
	}
	return fleet.View{Snapshot: s, Taken: time.Now()}
}

const anyPort = "127.0.0.1:0"

func endpoint(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

// A client is a raw connection that knows one request.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*client, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, bufio.NewReader(c)}, nil
}

func mustDial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// post sends one request that may not be sent twice, and says whether the connection ends with its answer.
func (c *client) post() (last bool, err error) {
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nhi"); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return false, err
	}
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		return false, fmt.Errorf("got %d %q, %w", resp.StatusCode, b, err)
	}
	return resp.Close, nil
}

func (c *client) mustPost(t testing.TB) {
	t.Helper()
	if last, err := c.post(); err != nil || last {
		t.Fatalf("got close %v, %v, want an answer on a connection that goes on", last, err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	give := time.NewTimer(10 * time.Second)
	defer give.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-give.C:
			t.Fatalf("%s: not within 10 s", what)
		case <-look.C:
		}
	}
}

func TestListenersComeAndGo(t *testing.T) {
	e := endpoint(t, hello)
	g := start(t, serve.Options{Timers: quiet(50 * time.Millisecond)}, view(e, "a", anyPort))
	first := mustDial(t, g.addr("a"))
	first.mustPost(t)

	// One more listener: the one that stays keeps its socket and connections, whatever its new name.
	nl, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	other := nl.Addr().String()
	_ = nl.Close()
	before := g.addr("a")
	if err := g.apply(view(e, "renamed", anyPort, "b", other)); err != nil {
		t.Fatal(err)
	}
	if got := g.addr("renamed"); got != before {
		t.Errorf("got %s, want the socket at %s kept", got, before)
	}
	first.mustPost(t)
	second := mustDial(t, other)
	second.mustPost(t)

	// It leaves again: its connection is told, its socket closed, the other one not touched.
	if err := g.apply(view(e, "renamed", anyPort)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the socket is closed", func() bool {
		c, err := dial(other)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	first.mustPost(t)
	if err := g.leave(); err != nil {
		t.Errorf("got %v, want nothing cut", err)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	nl, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint(t, hello)
	g := start(t, serve.Options{}, view(e))
	v := view(e, "taken", nl.Addr().String(), "free", anyPort)
	if err := g.apply(v); err == nil {
		t.Error("got no error for an address that is taken")
	}
	mustDial(t, g.addr("free")).mustPost(t)
	_ = nl.Close()
	if err := g.apply(v); err != nil {
		t.Errorf("got %v, want the address bound now that it is free", err)
	}
	mustDial(t, g.addr("taken")).mustPost(t)
}

func TestConnectionLimit(t *testing.T) {
	g := start(t, serve.Options{MaxConns: 2}, view(endpoint(t, hello), "a", anyPort))
	kept := []*client{mustDial(t, g.addr("a")), mustDial(t, g.addr("a"))}
	for _, c := range kept {
		c.mustPost(t)
	}
	refused := mustDial(t, g.addr("a"))
	resp, err := http.ReadResponse(refused.r, nil)
	if err != nil || resp.StatusCode != 503 || !resp.Close {
		t.Fatalf("got %v, %v, want 503 and close", resp, err)
	}
	traffic := g.s.Proxy().State().Listener("a").Traffic
	if n := traffic.Overflow.Load(); n != 1 {
		t.Errorf("got %d refused, want 1", n)
	}
	_ = kept[0].Close()
	eventually(t, "a place is free", func() bool { return traffic.ActiveConnects.Load() == 1 })
	mustDial(t, g.addr("a")).mustPost(t)
	kept[1].mustPost(t)
}

func TestRunWaitsForWhatIsOpen(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	g := start(t, serve.Options{Timers: quiet(50 * time.Millisecond)}, view(endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-proceed
		hello(w, nil)
	}), "a", anyPort))
	c := mustDial(t, g.addr("a"))
	answered := make(chan error, 1)
	go func() {
		last, err := c.post()
		if err == nil && !last {
			err = errors.New("the answer does not say Connection: close")
		}
		answered <- err
	}()
	<-arrived
	g.stop()
	eventually(t, "the socket is closed", func() bool { return g.s.Apply(context.Background(), g.s.Proxy().State()) != nil })
	select {
	case err := <-g.err:
		t.Fatalf("Run returned %v with a request open", err)
	default:
	}
	close(proceed)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-g.err; err != nil {
		t.Errorf("got %v, want nothing cut", err)
	}
}

func TestWhatIsCutIsCounted(t *testing.T) {
	arrived := make(chan struct{}, 3)
	g := start(t, serve.Options{Timers: drain.Timers{Quiet: time.Second, Requests: 100 * time.Millisecond, Long: 100 * time.Millisecond}}, view(endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or net/http does not notice that the client has left
		arrived <- struct{}{}
		<-r.Context().Done()
	}), "a", anyPort))
	answers := make(chan error, 3)
	for range 3 {
		c := mustDial(t, g.addr("a"))
		go func() {
			_, err := c.post()
			_ = c.Close()
			answers <- err
		}()
		<-arrived
	}
	mustDial(t, g.addr("a")) // idle: closing it cuts nothing
	eventually(t, "all are accepted", func() bool { return g.s.Conns() == 4 })
	err := g.leave()
	var cut *serve.CutError
	if !errors.As(err, &cut) || cut.Requests != 3 {
		t.Errorf("got %v, want 3 requests cut", err)
	}
	for range 3 { // nothing of their answers had been sent: they hear it in so many words
		if err := <-answers; err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("got %v, want an answer 503", err)
		}
	}
	r := g.s.Report()
	if got := r.Protocols[drain.HTTP1]; r.Cut != 3 || got.Before != 3 || got.Leave.Cut != 3 || got.Leave.Open != 0 {
		t.Errorf("got %+v, want 3 open before, and cut", r)
	}
	if r.Stage != drain.Closed || r.Connections != 4 || r.Accepted != 4 || r.AcceptedIn != 0 {
		t.Errorf("got %+v, want a leave that is over, of 4 connections", r)
	}
}

// Connections that were completed by the kernel before the socket is left are somebody's.
func TestTheQueueIsServed(t *testing.T) {
	const queued = 50
	s := serve.New(proxy.New(proxy.Options{}), serve.Options{Timers: quiet(300 * time.Millisecond)})
	g := &gateway{t: t, s: s, err: make(chan error, 1)}
	if err := g.apply(view(endpoint(t, hello), "a", anyPort)); err != nil {
		t.Fatal(err)
	}
	var clients []*client
	for range queued { // nobody accepts yet
		clients = append(clients, mustDial(t, g.addr("a")))
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // before Run: all it does is leave
	go func() { g.err <- s.Run(ctx) }()
	for i, c := range clients {
		if last, err := c.post(); err != nil || !last {
			t.Fatalf("client %d: got close %v, %v, want an answer that says close", i, last, err)
		}
	}
	if err := <-g.err; err != nil {
		t.Error(err)
	}
}

// A flock of keep-alive clients posts without end, and moves to the successor when its gateway cannot be
// reached. A request without an answer is lost.
type flock struct {
	dial                  func(addr string) (*client, error)
	lost, answered, moved atomic.Int64
	clients               sync.WaitGroup
}

// post runs n clients, each of them until it has had after answers from the successor.
func (f *flock) post(n int, gateway, successor string, after int) {
	for i := range n {
		f.clients.Go(func() {
			addr, left := gateway, after
			var c *client
			for left > 0 {
				if c == nil {
					var err error
					if c, err = f.dial(addr); err != nil {
						if !errors.Is(err, syscall.ECONNREFUSED) {
							f.lost.Add(1)
							return
						}
						addr = successor
						f.moved.Add(1)
						continue
					}
				}
				last, err := c.post()
				if err != nil {
					f.lost.Add(1)
				} else {
					f.answered.Add(1)
				}
				if last || err != nil {
					_ = c.Close()
					c = nil
				}
				if addr == successor {
					left--
				}
				if i%4 == 0 { // some think
					<-time.After(time.Duration(i) * time.Millisecond)
				}
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
}

func TestDrainLosesNothing(t *testing.T) {
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	successor := start(t, serve.Options{}, view(e, "a", anyPort))
	for round := range 5 {
		g := start(t, serve.Options{Timers: quiet(500 * time.Millisecond)}, view(e, "a", anyPort))
		f := flock{dial: dial}
		f.post(40, g.addr("a"), successor.addr("a"), 20)
		eventually(t, "clients are at it", func() bool { return f.answered.Load() > 400 })
		if err := g.leave(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		f.clients.Wait()
		if lost, moved := f.lost.Load(), f.moved.Load(); lost != 0 || moved != 40 {
			t.Errorf("round %d: got %d lost of %d and %d clients moved, want 0 and 40", round, lost, f.answered.Load(), moved)
		}
	}
}

// The control: a proxy that closes its socket and its idle connections at once, as net/http's Shutdown does,
// loses requests with the same clients.
func TestTheControlLoses(t *testing.T) {
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	successor := start(t, serve.Options{}, view(e, "a", anyPort))
	var lost int64
	for round := 0; round < 20 && lost == 0; round++ {
		s := httptest.NewServer(http.HandlerFunc(hello))
		f := flock{dial: dial}
		f.post(40, s.Listener.Addr().String(), successor.addr("a"), 20)
		eventually(t, "clients are at it", func() bool { return f.answered.Load() > 400 })
		if err := s.Config.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		f.clients.Wait()
		lost += f.lost.Load()
		s.Close()
	}
	if lost == 0 {
		t.Error("the control lost nothing: these clients prove nothing")
	}
}
