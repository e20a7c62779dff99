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

	frame "golang.org/x/net/http2"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// From the swap on, an endpoint that left gets no request; what is open to it ends, and its connections only then.
func TestAnEndpointThatLeavesFinishes(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		var asked [2]atomic.Int64
		hold := make(chan struct{})
		come := make(chan struct{}, 8)
		serve := func(i int) string {
			return handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
				if asked[i].Add(1); r.URL.Path == "/slow" {
					fmt.Fprint(rw, "half ")
					_ = http.NewResponseController(rw).Flush()
					come <- struct{}{}
					<-hold
				}
				fmt.Fprint(rw, "whole")
			})
		}
		leaves, stays := serve(0), serve(1)
		w := newSecureWorld(t, secure, Options{}, "leaves="+leaves)
		w.speak(answers)
		c, url := w.browser(asks)
		var open sync.WaitGroup
		for range 3 {
			open.Go(func() {
				a, err := c.Get(url + "/slow")
				if err != nil {
					t.Error(err)
					return
				}
				defer a.Body.Close()
				if b, err := io.ReadAll(a.Body); string(b) != "half whole" || err != nil {
					t.Errorf("what was open: got %q and %v", b, err)
				}
			})
			<-come
		}
		e := w.p.State().Services()[0].Endpoints[0]
		w.apply(w.view("stays=" + stays))
		w.speak(answers)
		for range 20 {
			if a, body := ask(t, c, mustRequest(t, url+"/")); a.StatusCode != 200 || body != "whole" {
				t.Errorf("got %s, %q", a.Status, body)
			}
		}
		if n := asked[0].Load(); n != 3 {
			t.Errorf("got %d requests where 3 were open before it left", n)
		}
		if n := e.Traffic.ActiveConnects.Load(); n == 0 {
			t.Error("its connections are closed before what is open on them has ended")
		}
		close(hold)
		open.Wait()
		eventually(t, "its connections are closed", func() bool { return e.Traffic.ActiveConnects.Load() == 0 })
		w.wantConserved()
	})
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// goesAway is an endpoint of HTTP/2 that leaves with every request: it says that it has looked at none.
func goesAway(t *testing.T, asked *atomic.Int64) string {
	t.Helper()
	return script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := io.ReadFull(r, make([]byte, len(http2.Preface))); err != nil {
			return
		}
		f := frame.NewFramer(c, r)
		_ = f.WriteSettings()
		for {
			h, err := f.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := h.(*frame.HeadersFrame); ok {
				asked.Add(1)
				_ = f.WriteGoAway(0, frame.ErrCodeNo, nil)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, r)
				return
			}
		}
	})
}

// What an endpoint that leaves says it has not looked at goes to another one, once, whatever its method, and a call too.
func TestWhatAnEndpointLeftUnreadGoesElsewhere(t *testing.T) {
	var left, taken atomic.Int64
	takes := serveStreams(t, func(s *http2.Stream) {
		taken.Add(1)
		b, _ := io.ReadAll(http2.Pipe{Stream: s})
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: s.Request().Fields[:0]}, false)
		_, _ = s.WriteBody(b, true)
	})
	w := newWorld(t, Options{}, goesAway(t, &left), takes)
	w.speak(fleet.HTTP2)
	const each = 20
	for _, version := range versions {
		c := w.client(version)
		for i := range each {
			said := fmt.Sprint("piece ", i)
			if a, got := ask(t, c, w.request("POST", "/", strings.NewReader(said))); a.StatusCode != 200 || got != said {
				t.Fatalf("%s: got %s with %q, want 200 with %q", version, a.Status, got, said)
			}
		}
	}
	c := w.dialStreams()
	for range each {
		s, err := c.Open(call("/x/m"), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteBody([]byte("\x00\x00\x00\x00\x02hi"), true); err != nil {
			t.Fatal(err)
		}
		a, err := s.ReadHead()
		b, _ := io.ReadAll(http2.Pipe{Stream: s})
		if err != nil || a.Status != 200 || string(b) != "\x00\x00\x00\x00\x02hi" {
			t.Fatalf("a call: got %+v, %q and %v", a, b, err)
		}
		s.Close()
	}
	if left.Load() == 0 {
		t.Error("nobody left: the test shows nothing")
	}
	if n := taken.Load(); n != 3*each {
		t.Errorf("got %d requests taken, want each once: %d", n, 3*each)
	}
	w.wantConserved()
}
