package serve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/sockets"
)

// never is longer than any test.
const never = time.Hour

// lingering are timers by which only lame duck lasts.
func lingering() drain.Timers {
	return drain.Timers{Min: never, Notice: never, Quiet: 50 * time.Millisecond, Requests: never, Long: never}
}

func (g *gateway) stage(want drain.Stage) {
	g.t.Helper()
	eventually(g.t, want.String(), func() bool { return g.s.Stage() >= want })
	if got := g.s.Stage(); got != want {
		g.t.Fatalf("got %v, want %v", got, want)
	}
}

// wants sends a request on a new connection, whose answer says that it is the last, or not.
func (g *gateway) wants(listener string, last bool) {
	g.t.Helper()
	c := mustDial(g.t, g.addr(listener))
	defer c.Close()
	if got, err := c.post(); err != nil || got != last {
		g.t.Fatalf("got close %v, %v, want %v", got, err, last)
	}
}

// Who leaves accepts on, and tells those who come, until it has been seen for long enough.
func TestLameDuckServesAndTells(t *testing.T) {
	g := start(t, serve.Options{Timers: lingering()}, view(endpoint(t, hello), "a", anyPort))
	kept := mustDial(t, g.addr("a"))
	kept.mustPost(t)
	eventually(t, "it is counted", func() bool { return g.s.Report().Protocols[drain.HTTP1].Ever.Completed == 1 })
	g.stop()
	g.stage(drain.LameDuck)
	if last, err := kept.post(); err != nil || !last {
		t.Errorf("got close %v, %v on a connection from before, want an answer that says close", last, err)
	}
	for range 3 {
		g.wants("a", true)
	}
	g.s.SetTimers(drain.Timers{Quiet: 50 * time.Millisecond, Requests: never, Long: never})
	if err := <-g.err; err != nil {
		t.Error(err)
	}
	r := g.s.Report()
	if r.Reason != "told to stop" || r.Connections != 1 || r.AcceptedIn != 3 || r.Told != 4 || r.Cut != 0 {
		t.Errorf("got %+v, want 1 connection open, 3 since, all told, nothing cut", r)
	}
	if n := r.Protocols[drain.HTTP1]; n.Ever.Completed != 5 || n.Leave.Completed != 4 || n.Leave.Told != 4 {
		t.Errorf("got %+v, want 5 requests served, 4 of them told", n)
	}
	if r.Seconds[drain.LameDuck] == 0 || r.Seconds[drain.Draining] == 0 || r.Seconds[drain.Forced] != 0 {
		t.Errorf("got %v, want time in lame duck and in draining", r.Seconds)
	}
}

// A lent is a socket that says how it is left.
type lent struct {
	*sockets.Listener
	shared chan bool
}

func (l *lent) Leave(admit func(net.Conn), shared bool) error {
	l.shared <- shared
	return l.Listener.Leave(admit, shared)
}

// Where others accept, nobody waits to be seen: the socket is left at once, and to them. Otherwise it is not.
func TestLameDuckOnlyWhereNobodyShares(t *testing.T) {
	for _, shared := range []bool{false, true} {
		left := make(chan bool, 1)
		moved := make(chan bool, 8)
		g := start(t, serve.Options{
			Timers: lingering(), Shared: func() bool { return shared },
			Listen: func(ctx context.Context, address string) (net.Listener, error) {
				l, err := sockets.Open(ctx, address)
				return &lent{l, left}, err
			},
			Moved: func(_ context.Context, stage drain.Stage, shared bool) {
				if stage == drain.Draining {
					moved <- shared
				}
			},
		}, view(endpoint(t, hello), "a", anyPort))
		g.s.Leave("a test")
		if !shared {
			g.stage(drain.LameDuck)
			g.wants("a", true)
			g.s.LeaveNow("somebody cannot wait")
		}
		if err := <-g.err; err != nil {
			t.Error(err)
		}
		if got := <-left; got != shared {
			t.Errorf("the socket was left with shared %v, want %v", got, shared)
		}
		if got := <-moved; got != shared {
			t.Errorf("told of shared %v, want %v", got, shared)
		}
		if got := g.s.Report().Reason; got != "a test" {
			t.Errorf("got the reason %q, want the first", got)
		}
	}
}

// Who only fails its checks stays for as long as it is not told to leave, and can be called back.
func TestFailAndStay(t *testing.T) {
	g := start(t, serve.Options{Timers: drain.Timers{Quiet: time.Millisecond, Requests: never, Long: never}}, view(endpoint(t, hello), "a", anyPort))
	g.s.Fail("a look")
	g.stage(drain.LameDuck)
	began := g.s.Report().Began
	for range 5 { // by its timers it would have been gone at once
		g.wants("a", true)
	}
	if err := g.s.Stay(); err != nil {
		t.Fatal(err)
	}
	g.wants("a", false)
	if got := g.s.Report(); got.Stage != drain.Serving || got.Reason != "" {
		t.Errorf("got %+v of one that stays", got)
	}
	g.s.SetTimers(lingering())
	g.s.Leave("not in earnest")
	g.wants("a", true)
	if err := g.s.Stay(); err != nil {
		t.Fatal(err)
	}
	g.wants("a", false)

	g.s.Fail("again")
	g.stage(drain.LameDuck)
	if again := g.s.Report().Began; !again.After(began) {
		t.Errorf("the second time began at %v, the first at %v", again, began)
	}
	failed := g.s.Report().Began
	g.s.Leave("a test")
	g.wants("a", true)
	if got := g.s.Report(); !got.Began.Equal(failed) || got.Reason != "a test" {
		t.Errorf("got %+v, want the time that it failed to count, and the reason that it left for", got)
	}
	g.s.SetTimers(drain.Timers{Requests: never, Long: never})
	if err := <-g.err; err != nil {
		t.Error(err)
	}
	if err := g.s.Stay(); !errors.Is(err, serve.ErrStopped) {
		t.Errorf("got %v of one that has gone, want ErrStopped", err)
	}
}

// What was told to end is not called back, even while it accepts.
func TestStayIsRefused(t *testing.T) {
	g := start(t, serve.Options{Timers: lingering()}, view(endpoint(t, hello), "a", anyPort))
	g.s.Fail("a look")
	g.stop()
	eventually(t, "it is told to stop", func() bool { return g.s.Report().Reason == "told to stop" })
	if err := g.s.Stay(); !errors.Is(err, serve.ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	g.wants("a", true)
	g.s.Hurry()
	if err := <-g.err; err != nil {
		t.Error(err)
	}
}

// A second wish, in whatever stage, has what is open ended without waiting; more of them change nothing.
func TestHurryInEveryStage(t *testing.T) {
	for _, stage := range []drain.Stage{drain.LameDuck, drain.Draining, drain.Forced} {
		arrived := make(chan struct{})
		o := serve.Options{Timers: lingering()}
		if stage > drain.LameDuck {
			o.Timers.Min, o.Timers.Notice = 0, 0
		}
		if stage > drain.Draining {
			o.Timers.Requests = 0
		}
		g := start(t, o, view(endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
		}), "a", anyPort))
		c := mustDial(t, g.addr("a"))
		go func() {
			_, _ = c.post()
			_ = c.Close()
		}()
		<-arrived
		g.stop()
		eventually(t, stage.String(), func() bool { return g.s.Stage() >= stage })
		g.s.Hurry()
		g.s.Hurry()
		var cut *serve.CutError
		if err := <-g.err; !errors.As(err, &cut) || cut.Requests != 1 {
			t.Errorf("%v: got %v, want one request cut", stage, err)
		}
	}
}

// What has had its time is ended one after another: those who hear at once would all come back at once.
func TestForcedIsSpread(t *testing.T) {
	const n = 40
	for _, spread := range []time.Duration{0, time.Minute} {
		arrived := make(chan struct{})
		g := start(t, serve.Options{Timers: drain.Timers{Quiet: never, Spread: spread}}, view(endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			arrived <- struct{}{}
			<-r.Context().Done()
		}), "a", anyPort))
		ended := make(chan struct{}, n)
		for range n {
			c := mustDial(t, g.addr("a"))
			go func() {
				_, _ = c.post()
				_ = c.Close()
				ended <- struct{}{}
			}()
			<-arrived
		}
		g.stop()
		<-ended
		if open := g.s.Report().Protocols[drain.HTTP1].Leave.Open; spread > 0 && open < n/2 {
			t.Errorf("when the first had been ended, %d of %d were still open, want nearly all", open, n)
		}
		if spread == 0 { // the control: nobody says anything more, and all end
			for range n - 1 {
				<-ended
			}
		}
		g.s.SetTimers(drain.Timers{})
		var cut *serve.CutError
		if err := <-g.err; !errors.As(err, &cut) || cut.Requests != n {
			t.Errorf("got %v, want all %d cut", err, n)
		}
	}
}

// Told to leave before there is anything to leave, it is gone at once.
func TestLeaveBeforeAnything(t *testing.T) {
	s := serve.New(proxy.New(proxy.Options{}), serve.Options{Timers: lingering()})
	g := &gateway{t: t, s: s, err: make(chan error, 1)}
	g.run()
	if err := g.leave(); err != nil {
		t.Error(err)
	}
	if err := g.apply(view(endpoint(t, hello), "a", anyPort)); !errors.Is(err, serve.ErrStopped) {
		t.Errorf("Apply: got %v, want ErrStopped", err)
	}
}

// In lame duck configuration holds as before: what comes is served, and told; what goes is drained.
func TestListenersComeAndGoInLameDuck(t *testing.T) {
	e := endpoint(t, hello)
	g := start(t, serve.Options{Timers: lingering()}, view(e, "a", anyPort))
	g.s.Leave("a test")
	g.stage(drain.LameDuck)
	old := g.addr("a")
	if err := g.apply(view(e, "b", "127.0.0.2:0")); err != nil {
		t.Fatal(err)
	}
	g.wants("b", true)
	eventually(t, "the one that went is closed", func() bool {
		c, err := dial(old)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	g.s.LeaveNow("a test")
	if err := <-g.err; err != nil {
		t.Error(err)
	}
}

// Told to leave in the middle of changes to its listeners, a server loses nobody: neither at the one that stays, nor at
// those that come and go.
func TestLeaveDuringReload(t *testing.T) {
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	successor := start(t, serve.Options{}, view(e, "a", anyPort))
	for range 3 {
		timers := quiet(200 * time.Millisecond)
		timers.Min, timers.Notice = 50*time.Millisecond, time.Second
		g := start(t, serve.Options{Timers: timers}, view(e, "a", anyPort))
		addr := g.addr("a")
		f := flock{dial: dial}
		f.post(20, addr, successor.addr("a"), 10)
		eventually(t, "clients are at it", func() bool { return f.answered.Load() > 200 })
		g.stop()
		applied := 0
		for err := error(nil); err == nil; applied++ {
			v := view(e, "a", anyPort, "b", "127.0.0.2:0")
			if applied%2 == 1 {
				v = view(e, "a", anyPort)
			}
			err = g.apply(v)
			if err != nil && !errors.Is(err, serve.ErrStopped) {
				t.Fatal(err)
			}
		}
		if err := <-g.err; err != nil {
			t.Error(err)
		}
		f.clients.Wait()
		if lost, moved := f.lost.Load(), f.moved.Load(); lost != 0 || moved != 20 || applied < 10 {
			t.Errorf("got %d lost of %d, %d clients moved, after %d changes; want 0 and 20, and many", lost, f.answered.Load(), moved, applied)
		}
	}
}

// A silence is a connection on which nothing has been said yet, at a listener of its own.
type silence struct {
	view fleet.View
	ask  func(*client) error // speaks up
}

func silences(t *testing.T) map[string]silence {
	t.Helper()
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	post := func(c *client) error {
		_, err := c.post()
		return err
	}
	return map[string]silence{
		"plain": {view(e, "a", anyPort), post},
		"TLS": {secure(e, files.server(ca, "*")), func(c *client) error {
			nc := tls.Client(c.Conn, unchecked(""))
			return post(&client{nc, bufio.NewReader(nc)})
		}},
	}
}

// Who has connected is counted, though nothing was heard of it yet, and has the quiet time; so is a handshake of TLS.
func TestSilentConnectionsAreWaitedFor(t *testing.T) {
	for name, v := range silences(t) {
		g := start(t, serve.Options{Timers: drain.Timers{Quiet: never, Requests: never, Long: never}}, v.view)
		addr := g.addr("a")
		c := mustDial(t, addr)
		eventually(t, "it is accepted", func() bool { return g.s.Conns() == 1 })
		g.stop()
		g.stage(drain.Draining)
		eventually(t, "the socket is left", func() bool {
			c, err := dial(addr)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		if err := v.ask(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = c.Close()
		if err := <-g.err; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r := g.s.Report(); r.Connections != 1 || r.Protocols[drain.HTTP1].Leave.Completed != 1 {
			t.Errorf("%s: got %+v, want one connection, and its request served in the leave", name, r)
		}
	}
}

// The control: without the quiet time they lose.
func TestSilentConnectionsLoseWithoutQuiet(t *testing.T) {
	for name, v := range silences(t) {
		g := start(t, serve.Options{Timers: drain.Timers{Requests: never, Long: never}}, v.view)
		c := mustDial(t, g.addr("a"))
		eventually(t, "it is accepted", func() bool { return g.s.Conns() == 1 })
		if err := g.leave(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := v.ask(c); err == nil {
			t.Errorf("%s: it was served: the test beside this one proves nothing", name)
		}
	}
}
