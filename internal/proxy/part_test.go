package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
)

// forSecurity runs a test in the clear and over TLS.
func forSecurity(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Helper()
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "tls"}[secure], func(t *testing.T) { test(t, secure) })
	}
}

// cutOne is what is counted when the only request was cut, and told so or not.
func cutOne(p drain.Protocol, told uint64) map[drain.Protocol]drain.Count {
	return map[drain.Protocol]drain.Count{p: {Opened: 1, Cut: 1, Told: told}}
}

// wantRefusal reads the answer to who is parted before there was one, and the end of the connection.
func (c *raw) wantRefusal() {
	c.t.Helper()
	a, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(a.Body)
	if a.StatusCode != 503 || !a.Close || err != nil || !strings.Contains(string(body), "is leaving") {
		c.t.Errorf("got %s, close %t, %q, %v; want a 503 that says why and closes", a.Status, a.Close, body, err)
	}
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Errorf("got %q, %v, want the end", b, err)
	}
	_ = c.Close()
}

// Whoever has no answer yet hears why, whatever is being waited for.
func TestPartBeforeTheAnswer(t *testing.T) {
	for _, tc := range []struct {
		name string
		says string
		more string // that the client goes on to say
	}{
		{"the head is half here", "GET / HTTP/1.1\r\nHost: a", "pp\r\n\r\n"},
		{"the answer is waited for", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", ""},
		{"the body is half here", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 3000000\r\n\r\nbegun", strings.Repeat("x", 1<<20)},
		{"the endpoint takes no connection", "GET /connect HTTP/1.1\r\nHost: app\r\n\r\n", ""},
	} {
		for _, long := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, %t", tc.name, long), func(t *testing.T) {
				forSecurity(t, func(t *testing.T, secure bool) {
					t.Helper()
					waits := make(chan struct{}, 1)
					o := Options{LingerTimeout: 100 * time.Millisecond}
					if tc.more != "" {
						o.LingerTimeout = 3 * time.Second // which it may need
					}
					if strings.Contains(tc.says, "connect") {
						o.Upstream.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
							waits <- struct{}{}
							<-ctx.Done()
							return nil, ctx.Err()
						}
					}
					w := newSecureWorld(t, secure, o, script(t, func(_ int, _ *net.TCPConn, r *bufio.Reader) {
						_, _ = readHead(r)
						waits <- struct{}{}
						_, _ = io.Copy(io.Discard, r)
					}))
					c := w.dialRaw()
					c.say("%s", tc.says)
					if strings.HasSuffix(tc.says, "Host: a") {
						eventually(t, "the head begins", func() bool { r, _ := w.openNow(); return r == 1 })
					} else {
						<-waits
					}
					if r, l := w.openNow(); r != 1 || l != 0 {
						t.Errorf("got %d and %d open, want one that ends by its nature", r, l)
					}
					w.part(long)
					go func() { _, _ = io.WriteString(c, tc.more) }()
					c.wantRefusal()
					w.wantTally(cutOne(drain.HTTP1, 1))
					if told := w.p.Told(); told != 1 {
						t.Errorf("got %d connections told, want 1", told)
					}
				})
			})
		}
	}
}

// An answer that has begun and is cut does not look whole, however it is framed.
func TestPartInTheAnswer(t *testing.T) {
	for _, tc := range []struct{ name, request, answer string }{
		{"by length", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"},
		{"chunked", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
		{"until close", "GET / HTTP/1.0\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
		{"encoded events", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
		{"events of a known length", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: half\n\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			forSecurity(t, func(t *testing.T, secure bool) {
				t.Helper()
				w := newSecureWorld(t, secure, Options{LingerTimeout: 100 * time.Millisecond}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
					_, _ = readHead(r)
					fmt.Fprint(c, tc.answer)
					_, _ = io.Copy(io.Discard, r)
				}))
				c := w.dialRaw()
				c.say("%s", tc.request)
				a, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Fatal(err)
				}
				half := make([]byte, 4)
				if _, err := io.ReadFull(a.Body, half); err != nil {
					t.Fatal(err)
				}
				protocol := drain.HTTP1
				if strings.Contains(tc.answer, "event-stream") {
					protocol = drain.Events
				}
				w.part(protocol.Lasts())
				if rest, err := io.ReadAll(a.Body); err == nil {
					t.Errorf("got %q and a clean end", rest)
				}
				w.wantTally(cutOne(protocol, 0))
			})
		})
	}
}

// What is idle finds our half closed, and nothing is counted.
func TestPartOfTheIdle(t *testing.T) {
	forSecurity(t, func(t *testing.T, secure bool) {
		t.Helper()
		w := newSecureWorld(t, secure, Options{}, handle(t, echo))
		fresh, used := w.dialRaw(), w.dialRaw()
		used.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if a, err := http.ReadResponse(used.r, nil); err != nil || a.StatusCode != 200 {
			t.Fatal(a, err)
		} else if _, err := io.Copy(io.Discard, a.Body); err != nil {
			t.Fatal(err)
		}
		if secure {
			fresh.say("") // shakes hands
		}
		eventually(t, "both are idle", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			idle := 0
			for c := range w.live {
				if _, busy := c.Busy(); !busy && c.settled.Load() {
					idle++
				}
			}
			return idle == 2
		})
		w.part(false)
		for _, c := range []*raw{fresh, used} {
			if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("got %q, %v, want the end", b, err)
			}
			_ = c.Close()
		}
		w.wantTally(map[drain.Protocol]drain.Count{drain.HTTP1: {Opened: 1, Completed: 1}})
	})
}

// A request that comes after our half was closed is counted as cut: its client will not hear an answer.
func TestPartCrossesARequest(t *testing.T) {
	forSecurity(t, func(t *testing.T, secure bool) {
		t.Helper()
		w := newSecureWorld(t, secure, Options{}, handle(t, echo))
		c := w.dialRaw()
		c.say("")
		eventually(t, "it is idle", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			for c := range w.live {
				return c.settled.Load()
			}
			return false
		})
		w.part(false)
		if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("got %q, %v, want the end", b, err)
		}
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\nGET / HTTP/1.1\r\nHost: app\r\n\r\n")
		eventually(t, "it has come", func() bool { return w.p.Tally()[drain.HTTP1].Cut == 1 })
		_ = c.Close()
		w.wantTally(cutOne(drain.HTTP1, 0))
	})
}

// A request that comes at that moment is served and told, or finds the end without a word, and is counted; never
// anything else.
func TestPartRacesARequest(t *testing.T) {
	forSecurity(t, func(t *testing.T, secure bool) {
		t.Helper()
		w := newSecureWorld(t, secure, Options{}, handle(t, echo))
		var served, missed, unsent uint64
		for i := range 200 {
			c := w.dialRaw()
			if c.say(""); i%2 == 0 {
				c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
				if a, err := http.ReadResponse(c.r, nil); err != nil || a.StatusCode != 200 {
					t.Fatal(a, err)
				} else if _, err := io.Copy(io.Discard, a.Body); err != nil {
					t.Fatal(err)
				}
				served++
			}
			parted := make(chan struct{})
			go func() {
				w.part(false)
				close(parted)
			}()
			if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: app\r\n\r\n"); err != nil {
				unsent++
			}
			a, err := http.ReadResponse(c.r, nil)
			<-parted
			switch {
			case err == nil && a.StatusCode == 200:
				if _, err := io.Copy(io.Discard, a.Body); err != nil {
					t.Error(err)
				}
				served++
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
				missed++
			default:
				t.Errorf("got %v and %v, want 200 or the end", a, err)
			}
			_ = c.Close()
			eventually(t, "the connection has ended", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.live) == 0
			})
		}
		t.Logf("%d served, %d missed", served, missed)
		c := w.p.Tally()[drain.HTTP1]
		if c.Completed != served || c.Cut+unsent != missed || c.Failed != 0 {
			t.Errorf("got %+v, want %d served and %d cut", c, served, missed)
		}
	})
}

// A client that takes nothing of its answer does not keep its connection.
func TestPartOfWhoTakesNothing(t *testing.T) {
	forSecurity(t, func(t *testing.T, secure bool) {
		t.Helper()
		w := newSecureWorld(t, secure, Options{LingerTimeout: 1}, handle(t, func(rw http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}))
		c := w.dialRaw()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		stuck := func() bool {
			n := w.p.State().Services()[0].Endpoints[0].Traffic.Active.Load()
			return n == 1
		}
		eventually(t, "it is under way", stuck)
		w.part(false)
		w.wantTally(cutOne(drain.HTTP1, 0))
	})
}

// The second request of one connection is not meant by a Part before it, and is by the next.
func TestPartMeansWhatIsOpen(t *testing.T) {
	heard := make(chan struct{}, 1)
	w := newWorld(t, Options{LingerTimeout: 100 * time.Millisecond}, script(t, func(_ int, _ *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		heard <- struct{}{}
		_, _ = io.Copy(io.Discard, r)
	}))
	c := w.dialRaw()
	c.say("GET / HTTP/1.1\r\n")
	eventually(t, "the head begins", func() bool { r, _ := w.openNow(); return r == 1 })
	c.say("Host: app\r\n\r\n")
	<-heard
	w.part(false)
	c.wantRefusal()
	w.wantTally(cutOne(drain.HTTP1, 1))
}

// Who is told that we leave hears it with its answer, and counts as told, once for each connection; who stays does not.
func TestLeaveIsTold(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	ask := func(c *client, closes bool) {
		t.Helper()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if a, _ := c.answer("GET"); a.StatusCode != 200 || a.Close != closes {
			t.Errorf("got %s, close %t; want 200, close %t", a.Status, a.Close, closes)
		}
	}
	before, stays := w.dial(), w.dial()
	ask(before, false)
	w.door.Leave()
	ask(before, true)
	before.wantEnd()
	asks := w.dial()
	asks.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n") // it would have heard that anyway
	asks.wantAnswer("GET", 200, "GET / ")
	asks.wantEnd()
	w.door.Stay()
	ask(stays, false)
	for _, c := range []*client{before, asks, stays} {
		_ = c.Close()
	}
	w.wantTally(map[drain.Protocol]drain.Count{drain.HTTP1: {Opened: 4, Completed: 4, Told: 1}})
	if told := w.p.Told(); told != 1 {
		t.Errorf("got %d connections told, want 1", told)
	}
}

// What became of each request is counted once: of whole answers, of our own, of clients that left, and endpoints that
// broke off.
func TestTally(t *testing.T) {
	w := newWorld(t, Options{HalfCloseTimeout: time.Millisecond}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/breaks":
			rw.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(rw, "half")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		case "/hangs":
			<-r.Context().Done()
		}
	}))
	ask := func(text string) {
		t.Helper()
		c := w.dial()
		c.say("%s", text)
		if strings.Contains(text, "hangs") {
			eventually(t, "it hangs", func() bool { return w.p.State().Open()["app-0"] == 1 })
			_ = c.Close()
		}
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	for _, text := range []string{
		"GET / HTTP/1.0\r\nHost: app\r\n\r\n",          // whole
		"GET /nowhere HTTP/1.0\r\nHost: app\r\n\r\n",   // ours
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", // malformed
		"GET /hangs HTTP/1.0\r\nHost: app\r\n\r\n",     // its client leaves
		"GET /breaks HTTP/1.0\r\nHost: app\r\n\r\n",    // its endpoint breaks off
	} {
		ask(text)
	}
	w.wantTally(map[drain.Protocol]drain.Count{drain.HTTP1: {Opened: 5, Completed: 3, Failed: 2}})
}
