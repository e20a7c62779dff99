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
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A bubble is a world without sockets, in virtual time: endpoint plays a scene on every connection to the one
// endpoint; the client's end of a served connection is returned.
func bubble(t *testing.T, o Options, endpoint func(c net.Conn, r *bufio.Reader)) (*world, net.Conn, *bufio.Reader) {
	t.Helper()
	var endpoints sync.WaitGroup
	o.Upstream.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		ours, theirs := net.Pipe()
		endpoints.Go(func() {
			defer theirs.Close()
			endpoint(theirs, bufio.NewReader(theirs))
		})
		return ours, nil
	}
	w := &world{t: t, o: o, p: New(o), door: NewDoor("test"), live: map[*Conn]bool{}}
	w.apply(w.view("127.0.0.1:1"))
	ours, theirs := net.Pipe()
	c := w.p.NewConn(theirs, w.door)
	served := make(chan struct{})
	go func() {
		defer close(served)
		c.Serve(context.Background())
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-served
		w.p.Close()
		endpoints.Wait()
	})
	return w, ours, bufio.NewReader(ours)
}

// never is an endpoint that hears everything and says nothing.
func never(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }

func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name     string
		says     string
		endpoint func(c net.Conn, r *bufio.Reader)
		status   int // 0: the connection just ends
		after    time.Duration
	}{
		{"an idle connection", "", never, 0, 650 * time.Second},
		{"a head that does not end", "GET / HTTP/1.1\r\nHost: ", never, 408, 10 * time.Second},
		{"a body that stalls", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 9\r\n\r\nhalf", never, 408, time.Minute},
		{"an endpoint that does not answer", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", never, 504, 5 * time.Minute},
		{"a route's own timeout", "GET /hurry HTTP/1.1\r\nHost: app\r\n\r\n", never, 504, time.Second},
		{"an endpoint that does not take its request", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", func(net.Conn, *bufio.Reader) {
			time.Sleep(time.Hour)
		}, 504, time.Minute},
		{"an endpoint that does not take a request in a hurry", "GET /hurry HTTP/1.1\r\nHost: app\r\n\r\n", func(net.Conn, *bufio.Reader) {
			time.Sleep(time.Hour)
		}, 504, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w, c, r := bubble(t, Options{}, tc.endpoint)
				if _, err := io.WriteString(c, tc.says); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(r, nil)
				took := time.Since(began)
				if took < tc.after || took > tc.after+tc.after/2 {
					t.Errorf("it took %v, want %v or up to half as much again", took, tc.after)
				}
				if tc.status == 0 {
					if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
						t.Errorf("got %v, want the end", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tc.status {
					t.Errorf("got %d, want %d", resp.StatusCode, tc.status)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				synctest.Wait()
				w.wantSettled()
			})
		})
	}
}

// wantSettled is wantConserved inside a bubble, after synctest.Wait.
func (w *world) wantSettled() {
	w.t.Helper()
	d := w.listener().Traffic
	sum := d.Aborted.Load() + d.Requests.Cut.Load()
	d.Requests.Codes(func(_ int, n uint64) { sum += n })
	if total, active := d.Requests.Total.Load(), d.Requests.Active.Load(); sum != total || active != 0 {
		w.t.Errorf("got %d requests accounted for and %d open, want %d and 0", sum, active, total)
	}
}

// A slow client and a slow endpoint, each within its bounds, come through whole: no timeout counts the whole
// where it should count the pause.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			b := make([]byte, 20)
			_, err := io.ReadFull(r, b)
			time.Sleep(4 * time.Minute)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
			for i := range b {
				time.Sleep(4 * time.Minute)
				_, err = c.Write(b[i : i+1])
			}
			if err != nil {
				t.Error(err)
			}
		})
		go func() {
			for _, part := range strings.SplitAfter("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 20\r\n\r\n", "\n") {
				_, _ = io.WriteString(c, part)
				time.Sleep(2 * time.Second)
			}
			for i := range 20 {
				_, _ = io.WriteString(c, string(rune('a'+i)))
				time.Sleep(50 * time.Second)
			}
		}()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != "abcdefghijklmnopqrst" {
			t.Errorf("got %q, %v, want all of it", b, err)
		}
	})
}

// A head that trickles in byte by byte is cut off by the clock, whatever its pace.
func TestTrickledHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, c, r := bubble(t, Options{}, never)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app\r\n")
			for i := 0; ; i++ {
				time.Sleep(time.Second)
				if _, err := fmt.Fprintf(c, "X-%d: 1\r\n", i); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); resp.StatusCode != 408 || took != 10*time.Second {
			t.Errorf("got %d after %v, want 408 after 10s", resp.StatusCode, took)
		}
		_ = c.Close()
		<-ended
	})
}

func TestQuietTunnelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := bubble(t, Options{TunnelTimeout: time.Hour}, func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, r) // it never says a word itself
		})
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		if _, err := readHead(r); err != nil {
			t.Fatal(err)
		}
		for range 5 { // one side that talks keeps both open
			time.Sleep(50 * time.Minute)
			if _, err := io.WriteString(c, "ping"); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Now()
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
		if quiet := time.Since(last); quiet != time.Hour {
			t.Errorf("the tunnel ended after %v, want 1h", quiet)
		}
	})
}

// A tunnel or a stream to a client that does not read must not hold its endpoint for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		released := make(chan time.Duration, 1)
		w, c, _ := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			for {
				if _, err := c.Write(make([]byte, 1000)); err != nil {
					released <- time.Since(began)
					return
				}
			}
		})
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if took := <-released; took < time.Minute || took > 2*time.Minute {
			t.Errorf("the endpoint was let go after %v, want a minute or a little more", took)
		}
		synctest.Wait()
		w.wantSettled()
		if n := w.listener().Traffic.Aborted.Load(); n != 1 {
			t.Errorf("got %d aborted, want 1", n)
		}
	})
}

// An endpoint that has answered and does not take the last of the body gets a moment for it, not all the time that
// a body may stall.
func TestABodyThatNobodyReadsDoesNotHoldTheNextRequestUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, r := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
			head, _ := readHead(r)
			if strings.HasPrefix(head[0], "POST") {
				_, _ = io.CopyN(io.Discard, r, 100_000)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			time.Sleep(time.Hour)
		})
		began := time.Now()
		go func() {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 110000\r\n\r\n"+strings.Repeat("x", 110_000))
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		}()
		for range 2 {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" || resp.Close {
				t.Errorf("got %q, %v, close %v, want ok on a connection that goes on", body, err, resp.Close)
			}
		}
		if took := time.Since(began); took != grace {
			t.Errorf("the requests took %v, want %v", took, grace)
		}
		synctest.Wait()
		w.wantSettled()
	})
}

// A client that closes after its request may have closed only its own half, or have left. It is waited for a while;
// then the endpoint is let go.
func TestClientThatClosedAndIsNotAnsweredHasLeft(t *testing.T) {
	for _, tc := range []struct {
		name, request, says string
		after               time.Duration
	}{
		{"while it waits", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "", 200*time.Millisecond + 5*time.Second},
		{"with the next request sent", strings.Repeat("GET / HTTP/1.1\r\nHost: app\r\n\r\n", 2), "", 200*time.Millisecond + 5*time.Second},
		{"in the answer", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 3*time.Second + 5*time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				released := make(chan time.Duration, 1)
				w, c, r := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
					_, _ = readHead(r)
					_, _ = io.WriteString(c, tc.says)
					_, _ = io.Copy(io.Discard, r)
					released <- time.Since(began)
				})
				_, _ = io.WriteString(c, tc.request)
				if tc.says != "" {
					_, _ = readHead(r)
					_, _ = io.ReadFull(r, make([]byte, 4))
					time.Sleep(3 * time.Second)
				}
				_ = c.Close()
				if took := <-released; took != tc.after {
					t.Errorf("the endpoint was let go after %v, want %v", took, tc.after)
				}
				synctest.Wait()
				w.wantSettled()
				if n := w.listener().Traffic.Aborted.Load(); n != 1 {
					t.Errorf("got %d aborted, want 1", n)
				}
				if open := w.p.State().Open(); len(open) != 0 {
					t.Errorf("got %v open, want none", open)
				}
			})
		})
	}
}

// halfClosed is a client's connection whose own half is closed: it says nothing more, and can be answered.
type halfClosed struct {
	net.Conn
	said io.Reader
}

func (h halfClosed) Read(b []byte) (int, error) { return h.said.Read(b) }

// An answer that comes, and goes on coming, before the patience with a half-closed client ends is passed on whole,
// however long it takes and however slowly the client reads it.
func TestHalfClosedClientIsAnsweredForAsLongAsTheAnswerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			time.Sleep(4 * time.Second)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			for i := range 10 {
				time.Sleep(4 * time.Second)
				_, _ = fmt.Fprint(c, i)
			}
		})
		ours, theirs := net.Pipe()
		said := strings.NewReader("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		served := make(chan struct{})
		go func() {
			defer close(served)
			w.p.NewConn(halfClosed{theirs, said}, w.door).Serve(context.Background())
		}()
		r := bufio.NewReaderSize(ours, 16)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // half of what it may take for its next bytes
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "0123456789" {
			t.Errorf("got %q, %v, want all of it", body, err)
		}
		<-served
		w.wantSettled()
		if n := w.listener().Traffic.Aborted.Load(); n != 0 {
			t.Errorf("got %d aborted, want none", n)
		}
	})
}
