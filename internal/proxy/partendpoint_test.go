package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// What is open to an endpoint that leaves is ended in its own words. What is open to others goes on, and so do the
// clients' connections.
func TestPartEndpoint(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		come := make(chan string, 8)
		serve := func(name string) string {
			return handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/events" {
					rw.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprintf(rw, "data: %s\n\n", name)
					_ = http.NewResponseController(rw).Flush()
				}
				if come <- name; r.URL.Path != "/" {
					<-r.Context().Done()
				}
			})
		}
		stays, leaves := serve("stays"), serve("leaves")
		w := newSecureWorld(t, secure, Options{LingerTimeout: time.Second, HalfCloseTimeout: 20 * time.Millisecond})
		only := func(addresses ...string) {
			w.apply(w.view(addresses...))
			w.speak(answers)
		}
		c, url := w.browser(asks)
		open := func(path string) (*http.Response, error) {
			a, err := c.Get(url + path)
			if err == nil && path != "/events" {
				_, _ = io.Copy(io.Discard, a.Body)
				_ = a.Body.Close()
			}
			return a, err
		}
		only("stays=" + stays)
		kept, err := open("/events")
		if err != nil {
			t.Fatal(err)
		}
		only("leaves=" + leaves)
		ended, err := open("/events")
		if err != nil {
			t.Fatal(err)
		}
		<-come
		<-come
		answered := make(chan int, 1)
		go func() {
			a, err := open("/slow")
			if err != nil {
				t.Error(err)
			} else {
				answered <- a.StatusCode
			}
		}()
		if name := <-come; name != "leaves" {
			t.Fatalf("got %s asked, want leaves", name)
		}
		only("stays=" + stays)
		if a, err := open("/"); err != nil || <-come != "stays" || a.StatusCode != 200 {
			t.Fatal(a, err)
		}
		w.p.PartEndpoint("leaves")
		if b, err := io.ReadAll(ended.Body); string(b) != "data: leaves\n\n" || err != nil {
			t.Errorf("got %q and %v, want whole events", b, err)
		}
		if got := <-answered; got != 503 {
			t.Errorf("got %d, want 503", got)
		}
		eventually(t, "nothing is open there", func() bool { return w.p.State().Open()["leaves"] == 0 })
		if a, err := open("/"); err != nil || <-come != "stays" || a.StatusCode != 200 {
			t.Error(a, err)
		}
		begun := make([]byte, len("data: stays\n\n"))
		if _, err := io.ReadFull(kept.Body, begun); err != nil {
			t.Errorf("what was open to others: %q, %v", begun, err)
		}
		eventually(t, "one is open that lasts", func() bool { r, l := w.openNow(); return r == 0 && l == 1 })
		if told := w.p.Told(); told != 0 {
			t.Errorf("got %d connections told, want none: they stay", told)
		}
		_ = kept.Body.Close()
		_ = ended.Body.Close()
		plain := drain.HTTP1
		if asks == fleet.HTTP2 {
			plain = drain.HTTP2
		}
		eventually(t, "nothing is open", func() bool { r, l := w.openNow(); return r+l == 0 })
		c.CloseIdleConnections()
		w.wantTally(map[drain.Protocol]drain.Count{
			plain:        {Opened: 3, Completed: 2, Cut: 1, Told: 1},
			drain.Events: {Opened: 2, Failed: 1, Cut: 1, Told: 1},
		})
	})
}

// A request that has picked an endpoint before that was parted, and waits only then, is ended too.
func TestPartEndpointFindsWhoIsOnTheWay(t *testing.T) {
	heard := make(chan struct{})
	w := newWorld(t, Options{LingerTimeout: 20 * time.Millisecond, WatchAfter: 300 * time.Millisecond}, script(t, func(_ int, _ *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		close(heard)
		_, _ = io.Copy(io.Discard, r)
	}))
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	<-heard
	w.p.PartEndpoint("app-0")
	if a, _ := c.answer("GET"); a.StatusCode != 503 || a.Close {
		t.Errorf("got %s, close %t; want 503 on a connection that stays", a.Status, a.Close)
	}
	_ = c.Close()
	w.wantTally(cutOne(drain.HTTP1, 1))
}

// The endpoint of a WebSocket hears its client's reply, and the client that it is going away.
func TestPartEndpointOfAWebSocket(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		n := tunnelThrough(t, patienceFor(false), secure, asks, answers)
		n.say(n.endpoint, hi)
		n.hear(n.client, hi)
		n.p.PartEndpoint("app-0")
		n.hear(n.client, away)
		n.say(n.client, reply)
		n.hear(n.endpoint, reply)
		n.say(n.endpoint, away)
		_ = n.endpoint.CloseWrite()
		n.silent(n.client, true)
		_ = n.client.CloseWrite()
		n.silent(n.endpoint, true)
		n.done()
		_ = n.client.Close()
		if c, ok := n.client.(flushing); ok {
			c.Conn().Close()
		}
		n.wantTally(cutOne(drain.WebSocket, 1))
	})
}
