package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/upstream"
)

// bounded is view with connection settings: of the service, and of its subset "odd".
func (w *world) bounded(whole, odd *fleet.Connections, addresses ...string) fleet.View {
	v := w.view(addresses...)
	pools := v.Services[0].Pools
	pools[0].Policy.Connections, pools[1].Policy.Connections = whole, odd
	return v
}

// A gate is an endpoint that answers one request at a time when it is told.
type gate struct {
	addr    string
	entered chan struct{}
	leave   chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{entered: make(chan struct{}, 100), leave: make(chan struct{}, 100)}
	g.addr = handle(t, func(w http.ResponseWriter, r *http.Request) {
		g.entered <- struct{}{}
		select {
		case <-g.leave:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "done")
	})
	return g
}

// ask sends a request that waits in the gate.
func (g *gate) ask(w *world) *client {
	w.t.Helper()
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	<-g.entered
	return c
}

// wantFull checks that a request is answered with 503, as there are too many.
func wantFull(t *testing.T, w *world, path string) {
	t.Helper()
	const reason = "the service has as many requests as its limits allow"
	c := w.dial()
	c.say("GET %s HTTP/1.1\r\nHost: app\r\n\r\n", path)
	if resp, body := c.answer("GET"); resp.StatusCode != 503 || !strings.Contains(body, reason) {
		t.Errorf("got %d %q, want 503 with %q", resp.StatusCode, body, reason)
	}
}

// Limits hold for all endpoints together and for a subset apart; what counts against them outlives every change but
// theirs, and a change of theirs cuts nobody off.
func TestLimitsOutliveStates(t *testing.T) {
	a, b := newGate(t), newGate(t)
	w := newWorld(t, Options{})
	one := &fleet.Connections{Requests: 1}
	w.apply(w.bounded(one, one, a.addr))
	open := a.ask(w)
	wantFull(t, w, "/")

	w.apply(w.bounded(one, one, a.addr, b.addr)) // another endpoint changes nothing
	wantFull(t, w, "/")
	w.apply(w.bounded(&fleet.Connections{Requests: 1, IdleTimeout: time.Minute}, one, a.addr, b.addr)) // nor does another setting
	wantFull(t, w, "/")

	odd := w.dial()
	odd.say("GET /odd HTTP/1.1\r\nHost: app\r\n\r\n")
	<-b.entered
	wantFull(t, w, "/odd")
	b.leave <- struct{}{}
	odd.wantAnswer("GET", 200, "done")

	w.apply(w.bounded(&fleet.Connections{Requests: 2}, nil, a.addr)) // others begin at nothing
	more := []*client{a.ask(w), a.ask(w)}
	wantFull(t, w, "/")
	w.apply(w.bounded(nil, nil, a.addr))
	more = append(more, open, a.ask(w))
	for range more {
		a.leave <- struct{}{}
	}
	for _, c := range more {
		c.wantAnswer("GET", 200, "done")
	}
	w.wantConserved()
	pools := w.p.State().Services()[0].Pools
	if n := pools[0].Traffic.Overflow.Load(); n != 5 {
		t.Errorf("got %d overflows of the service, want 5, its subset's included: one each, and no second try", n)
	}
	if n := pools[1].Traffic.Overflow.Load(); n != 1 {
		t.Errorf("got %d overflows of the subset, want 1", n)
	}
}

// Settings that are equal leave connections as they are; others have them made anew.
func TestConnectionsOutliveEqualSettings(t *testing.T) {
	addr := handle(t, echo)
	w := newWorld(t, Options{})
	c := w.dial() // one client: its next request finds the connection of the one before put back
	for i, step := range []struct {
		whole, odd *fleet.Connections
		made       uint64
	}{
		{nil, nil, 1},
		{&fleet.Connections{}, nil, 1},
		{&fleet.Connections{Max: 3}, nil, 2},
		{&fleet.Connections{Max: 3}, nil, 2},
		{&fleet.Connections{Max: 3}, &fleet.Connections{Max: 3}, 2},
		{&fleet.Connections{Max: 4}, &fleet.Connections{Max: 3}, 3},
		{&fleet.Connections{Max: 4, IdleTimeout: time.Hour}, nil, 4},
		{nil, nil, 5},
	} {
		w.apply(w.bounded(step.whole, step.odd, addr))
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET / ")
		e := w.p.State().Services()[0].Endpoints[0]
		if n := e.Traffic.Connects.Load(); n != step.made {
			t.Errorf("step %d: got %d connections made so far, want %d", i, n, step.made)
		}
	}
	e := w.p.State().Services()[0].Endpoints[0]
	w.apply(w.view())
	eventually(t, "no connection is left", func() bool { return e.Traffic.ActiveConnects.Load() == 0 })
}

// Of two that want the one connection, which is in use, one waits and the other is refused, whichever comes first.
func TestWaitingIsLimited(t *testing.T) {
	g := newGate(t)
	w := newWorld(t, Options{})
	w.apply(w.bounded(&fleet.Connections{Max: 1, Pending: 1}, nil, g.addr))
	first := g.ask(w)
	type answer struct {
		status int
		body   string
	}
	answers := make(chan answer, 2)
	for range 2 {
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		go func() {
			resp, body, err := c.tryAnswer("GET")
			if err != nil {
				t.Error(err)
				resp = new(http.Response)
			}
			answers <- answer{resp.StatusCode, body}
		}()
	}
	const full = "as many requests wait for a connection to the service as its limits allow"
	if got := <-answers; got.status != 503 || !strings.Contains(got.body, full) {
		t.Errorf("got %v, want 503: the queue is full", got)
	}
	g.leave <- struct{}{}
	first.wantAnswer("GET", 200, "done")
	<-g.entered
	g.leave <- struct{}{}
	if got := <-answers; got.status != 200 {
		t.Errorf("got %v, want 200: it has waited", got)
	}
	w.wantConserved()
	e := w.p.State().Services()[0].Endpoints[0].Traffic
	if n := e.Connects.Load(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
}

// While as many requests are being sent another time as may be, one that fails is not.
func TestRetriesAreLimited(t *testing.T) {
	// The first connection is cut with every second request on it; others serve until they are told to end.
	held, release := make(chan struct{}, 10), make(chan struct{})
	addr := script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for served := 0; ; served++ {
			lines, err := readHead(r)
			switch {
			case err != nil || strings.Contains(lines[0], "/cut") && served > 0:
				return
			case strings.Contains(lines[0], "/cut"):
				held <- struct{}{}
				<-release
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
		}
	})
	w := newWorld(t, Options{})
	w.apply(w.bounded(&fleet.Connections{Retries: 1}, nil, addr))
	retried := func() *client { // the second goes over the connection of the first, which is cut: it is sent another time
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.answer("GET")
		c.say("GET /cut HTTP/1.1\r\nHost: app\r\n\r\n")
		return c
	}
	first := retried()
	<-held
	for range 2 {
		if resp, _ := retried().answer("GET"); resp.StatusCode != 502 {
			t.Errorf("got %d, want 502: it is not sent another time", resp.StatusCode)
		}
	}
	if n := w.p.State().Services()[0].Pools[0].Traffic.RetryOverflow.Load(); n != 2 {
		t.Errorf("got %d counted as not sent another time, want 2", n)
	}
	close(release)
	if resp, _ := first.answer("GET"); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200: it was sent another time", resp.StatusCode)
	}
	w.wantEnds(ending.Sums{ending.Served: 4, ending.Overflow: 2})
	if resp, _ := retried().answer("GET"); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200: nobody else is sent another time now", resp.StatusCode)
	}
	<-held
	w.wantConserved()
}

// Nothing is lost and no bound is passed while states with and without limits follow each other under load.
func TestLimitsUnderChange(t *testing.T) {
	var open, most atomic.Int64
	addr := make([]string, 3)
	for i := range addr {
		addr[i] = handle(t, func(w http.ResponseWriter, _ *http.Request) {
			n := open.Add(1)
			for m := most.Load(); n > m; m = most.Load() {
				most.CompareAndSwap(m, n)
			}
			_, _ = io.WriteString(w, "done")
			open.Add(-1)
		})
	}
	w := newWorld(t, Options{Upstream: upstream.Options{MaxIdle: 2}})
	limits := []*fleet.Connections{{Max: 2}, {Max: 2, PerConnection: 3}, {Max: 2, IdleTimeout: time.Second}}
	w.apply(w.bounded(limits[0], nil, addr...))
	var clients sync.WaitGroup
	var done atomic.Int64
	for range 8 {
		clients.Go(func() {
			c := w.dial()
			for range 50 {
				if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: app\r\n\r\n")); err != nil {
					t.Error(err)
					return
				}
				resp, body, err := c.tryAnswer("GET")
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("got %v %q, %v, want 200", resp, body, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for i := 1; done.Load() < 300 && !t.Failed(); i++ {
		before := done.Load()
		eventually(t, "requests go on", func() bool { return done.Load() > before || done.Load() == 400 })
		w.apply(w.bounded(limits[i%len(limits)], nil, addr[:1+i%len(addr)]...))
	}
	clients.Wait()
	w.wantConserved()
	if n := most.Load(); n > 2 {
		t.Errorf("got %d requests at endpoints at once over 2 connections", n)
	}
}
