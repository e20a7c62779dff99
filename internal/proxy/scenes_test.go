package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
)

func TestEarlyAnswer(t *testing.T) {
	// The endpoint turns the upload down after its head. The client, still sending, must see that and not a reset.
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 50000000\r\n\r\n")
	go func() {
		piece := make([]byte, 64<<10)
		for range 50_000_000 / len(piece) {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	}()
	resp := c.wantAnswer("POST", 413, "no!")
	if !resp.Close {
		t.Error("the answer does not say Connection: close")
	}
	_ = c.Close()
	w.wantConserved()
}

func TestBothTalkAtOnce(t *testing.T) {
	// An endpoint that answers while it reads gets the whole body, and the client the whole answer.
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			b := make([]byte, 4)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			fmt.Fprintf(c, "4\r\n%s\r\n", b)
		}
		fmt.Fprint(c, "0\r\n\r\n")
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 12\r\n\r\n")
	resp, err := http.ReadResponse(c.r, &http.Request{Method: "POST"})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"ping", "pong", "peng"} {
		c.say("%s", word)
		got := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v, want %q", got, err, word)
		}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Fatalf("got %q, %v, want the end", rest, err)
	}
	c.wantEnd()
	w.wantConserved()
}

func TestEndpointDies(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		reset      bool
		minor      int
		status     int // 0: the answer begins and breaks
	}{
		{name: "before its head", says: "", status: 502},
		{name: "before its head, with a reset", says: "", reset: true, status: 502},
		{name: "in its head", says: "HTTP/1.1 200 OK\r\nContent-Le", status: 502},
		{name: "with nonsense", says: "SSH-2.0-OpenSSH\r\n\r\n", status: 502},
		{name: "with two lengths", says: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", status: 502},
		{name: "with a switch nobody asked for", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", status: 502},
		{name: "in a counted body", says: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", minor: 1},
		{name: "in a chunk", says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf", minor: 1},
		{name: "between chunks", says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", minor: 1},
		{name: "with a broken chunk", says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", minor: 1},
		{name: "between chunks, to an HTTP/1.0 client", says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", minor: 0},
		{name: "by reset, in a body that ends with the connection", says: "HTTP/1.1 200 OK\r\n\r\nhalf", reset: true, minor: 1},
		{name: "by reset, likewise, to an HTTP/1.0 client", says: "HTTP/1.1 200 OK\r\n\r\nhalf", reset: true, minor: 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			heard := make(chan struct{})
			addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				_, _ = readHead(r)
				fmt.Fprint(c, tc.says)
				if tc.reset {
					if tc.says != "" {
						<-heard // a reset would overtake what was said
					}
					_ = c.SetLinger(0)
				}
			})
			w := newWorld(t, Options{}, addr)
			c := w.dial()
			if tc.status == 0 {
				c.say("GET / HTTP/1.%d\r\nHost: app\r\n\r\n", tc.minor)
				c.wantHalf(heard)
			} else {
				c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
				if resp, body := c.answer("GET"); resp.StatusCode != tc.status || resp.Header.Get("Server") != "crossfade" {
					t.Errorf("got %d %q from %q, want %d from crossfade", resp.StatusCode, body, resp.Header.Get("Server"), tc.status)
				}
			}
			w.wantConserved()
			if n := w.p.State().services[0].Pools[0].Traffic.Cut.Load(); n != 1 {
				t.Errorf("got %d cut, want 1", n)
			}
		})
	}
}

// wantHalf reads an answer whose body is "half" and then breaks, and closes heard in between.
func (c *client) wantHalf(heard chan struct{}) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	half := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, half); err != nil || string(half) != "half" {
		c.t.Fatalf("got %q, %v, want half", half, err)
	}
	close(heard)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		c.t.Errorf("the answer ended cleanly with %q, want an error", rest)
	}
}

func TestRetries(t *testing.T) {
	// The endpoint closes every connection when the second request is on it, before any answer.
	var requests atomic.Int64
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		requests.Add(1)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = readHead(r)
	})
	for _, tc := range []struct {
		request string
		status  int
		retries uint64
	}{
		{"GET / HTTP/1.1\r\nHost: app\r\n\r\n", 200, 1},
		{"DELETE / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n", 200, 1},
		{"PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nok", 502, 0},
		{"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n", 502, 0},
	} {
		method, _, _ := strings.Cut(tc.request, " ")
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, Options{}, addr)
			c := w.dial()
			c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
			c.wantAnswer("GET", 200, "")
			c.say("%s", tc.request)
			if resp, _ := c.answer(method); resp.StatusCode != tc.status {
				t.Errorf("got %d, want %d", resp.StatusCode, tc.status)
			}
			for _, traffic := range w.p.State().services[0].Endpoints[0].books {
				if n := traffic.Retry.Load(); n != tc.retries {
					t.Errorf("got %d retries, want %d", n, tc.retries)
				}
			}
			w.wantConserved()
		})
	}
}

func TestAnotherEndpointIsTried(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := nl.Addr().String()
	_ = nl.Close()
	w := newWorld(t, Options{}, dead, handle(t, echo))
	c := w.dial()
	for range 50 { // a body that has not been sent anywhere may follow to the next
		c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nhi")
		c.wantAnswer("POST", 200, "POST / hi")
	}
	s := w.p.State().services[0]
	if fails := s.Endpoints[0].Traffic.ConnectFail.Load(); fails == 0 || fails != s.Pools[0].Traffic.ConnectFail.Load() ||
		fails != s.Pools[0].Traffic.Retry.Load() {
		t.Errorf("got %d failed connects at the endpoint, %d at the service, %d retries: want the same, above 0",
			fails, s.Pools[0].Traffic.ConnectFail.Load(), s.Pools[0].Traffic.Retry.Load())
	}
	c.say("GET /odd HTTP/1.1\r\nHost: app\r\n\r\n") // the subset that holds the living one
	c.wantAnswer("GET", 200, "GET /odd ")
	w.wantConserved()
}

// TestSubsetCountsWhatIsRoutedToIt sends to the same endpoint by way of its service, and of a subset that holds it.
func TestSubsetCountsWhatIsRoutedToIt(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo), handle(t, echo))
	c := w.dial()
	for range 50 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET / ")
	}
	s := w.p.State().services[0]
	whole, odd := s.Pools[0].Traffic, s.Pools[1].Traffic
	counts := func(t *evidence.Traffic) [2]uint64 { c := t.Counts(); return [2]uint64{c.Total, c.Class(2)} }
	w.wantConserved() // the client may read its answer before it is counted
	if got := counts(odd); got != [2]uint64{} {
		t.Errorf("got %d sent and %d answered under the subset, want none: no route led to it", got[0], got[1])
	}
	for range 7 {
		c.say("GET /odd HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET /odd ")
	}
	w.wantConserved()
	if got := counts(odd); got != [2]uint64{7, 7} {
		t.Errorf("got %d sent and %d answered under the subset, want the 7 that were routed to it", got[0], got[1])
	}
	if got := counts(whole); got != [2]uint64{57, 57} {
		t.Errorf("got %d sent and %d answered under the service, want all 57", got[0], got[1])
	}
	if got := s.Endpoints[0].Traffic.Total.Load() + s.Endpoints[1].Traffic.Total.Load(); got != 57 {
		t.Errorf("got %d at the endpoints, want all 57", got)
	}
	w.wantConserved()
}

func TestNobodyThere(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.dial()
	c.say("GET /nowhere HTTP/1.1\r\nHost: app\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 503 || resp.Close {
		t.Errorf("got %d %q, close %v, want 503 on a connection that goes on", resp.StatusCode, body, resp.Close)
	}
	c.say("HEAD / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("HEAD", 503, "")
	if n := w.p.State().services[0].Pools[0].Traffic.NoEndpoint.Load(); n != 1 {
		t.Errorf("got %d without an endpoint, want 1", n)
	}
	v := w.view()
	v.Listeners[0].Hosts[0].Domains = []string{"elsewhere"}
	w.apply(v)
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 404, "Not Found: no route matches this request.\n")
	if n := w.listener().Traffic.NoRoute.Load(); n != 1 {
		t.Errorf("got %d without a route, want 1", n)
	}
	c.say("GET / HTTP/1.0\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 404, "Not Found: no route matches this request.\n")
	c.wantEnd()
	w.wantConserved()
}

func TestPipelined(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	var all strings.Builder
	for i := range 20 {
		fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: app\r\n\r\n", i)
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\r\n", i)
	}
	c.say("%s", all.String())
	for i := range 20 {
		c.wantAnswer("GET", 200, fmt.Sprintf("GET /%d ", i))
		c.wantAnswer("POST", 200, fmt.Sprintf("POST /%d abc", i))
	}
	// Told to leave, the proxy answers everything that has been sent, and only then says so.
	w.door.Leave()
	c.say("%s", all.String())
	for i := range 20 {
		c.wantAnswer("GET", 200, fmt.Sprintf("GET /%d ", i))
		if resp, _ := c.answer("POST"); resp.Close != (i == 19) {
			t.Errorf("answer %d: got close %v", i, resp.Close)
		}
	}
	c.wantEnd()
	w.wantConserved()
}

func TestHalfClosedClientIsAnswered(t *testing.T) {
	proceed := make(chan struct{})
	w := newWorld(t, Options{WatchAfter: time.Millisecond}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		<-proceed
		fmt.Fprintf(rw, "got %s", b)
	}))
	for _, wait := range []bool{false, true} {
		c := w.dial()
		c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nhi")
		_ = c.CloseWrite()
		if wait {
			eventually(t, "the request is open", func() bool { return w.listener().Traffic.Requests.Active.Load() == 1 })
			proceed <- struct{}{}
		} else {
			go func() { proceed <- struct{}{} }()
		}
		c.wantAnswer("POST", 200, "got hi")
		c.wantEnd()
	}
	w.wantConserved()
}

func TestClientThatLeavesCancelsItsRequest(t *testing.T) {
	// What the endpoint sees when the client is reset: while it waits, in its body, and in the answer's body.
	for _, tc := range []struct{ name, request, says string }{
		{"while it waits", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", ""},
		{"in its body", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 9\r\n\r\nhalf", ""},
		{"in the answer", "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			arrived, saw := make(chan struct{}), make(chan error, 1)
			addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				_, _ = readHead(r)
				fmt.Fprint(c, tc.says)
				close(arrived)
				_, err := io.Copy(io.Discard, r)
				saw <- err
			})
			w := newWorld(t, Options{WatchAfter: time.Millisecond}, addr)
			c := w.dial()
			c.say("%s", tc.request)
			<-arrived
			_ = c.SetLinger(0)
			_ = c.Close()
			if err := <-saw; err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the endpoint saw %v, want its connection to end", err)
			}
			w.wantConserved()
			if n := w.listener().Traffic.Aborted.Load(); n != 1 {
				t.Errorf("got %d aborted, want 1", n)
			}
		})
	}
}

func TestEventsArriveOneByOne(t *testing.T) {
	next := make(chan string)
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(rw).Flush() // the head alone must arrive too
		for event := range next {
			fmt.Fprintf(rw, "data: %s\n\n", event)
			_ = http.NewResponseController(rw).Flush()
		}
	}))
	c := w.dial()
	c.say("GET /events HTTP/1.1\r\nHost: app\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(resp.Body)
	for i := range 10 {
		next <- strconv.Itoa(i) // the one before has been seen
		line, err := events.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
		_, _ = events.ReadString('\n')
	}
	close(next)
	if _, err := events.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a clean end", err)
	}
	w.wantConserved()
}

func TestInterimAnswers(t *testing.T) {
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		if strings.Contains(strings.Join(head, "\n"), "Expect: 100-continue") {
			fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 2)
			_, _ = io.ReadFull(r, b)
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	resp, _ := c.answer("POST")
	if resp.StatusCode != 103 || resp.Header.Get("Link") != "</x>" {
		t.Fatalf("got %d %v, want 103 with its link", resp.StatusCode, resp.Header)
	}
	if resp, _ = c.answer("POST"); resp.StatusCode != 100 {
		t.Fatalf("got %d, want 100", resp.StatusCode)
	}
	c.say("hi")
	c.wantAnswer("POST", 200, "ok")

	c.say("GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n")
	resp = c.wantAnswer("GET", 200, "ok") // no 103 to HTTP/1.0
	if got := resp.Header.Get("Connection"); !strings.EqualFold(got, "keep-alive") {
		t.Errorf("got Connection %q, want keep-alive", got)
	}
	c.say("GET / HTTP/1.0\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "ok")
	c.wantEnd()
	w.wantConserved()
}

func TestUnmetExpectation(t *testing.T) {
	// The final answer comes instead of 100: the body is never sent, and the connection cannot go on.
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		fmt.Fprint(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		_, _ = r.ReadByte()
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if resp := c.wantAnswer("POST", 401, ""); !resp.Close {
		t.Error("the answer does not say Connection: close")
	}
	c.wantEnd()
	w.wantConserved()
}

func TestChunkedForOldClients(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "one ")
		_ = http.NewResponseController(rw).Flush()
		fmt.Fprint(rw, "two")
	}))
	c := w.dial()
	c.say("GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n")
	if resp := c.wantAnswer("GET", 200, "one two"); len(resp.TransferEncoding) > 0 || resp.ContentLength >= 0 {
		t.Errorf("got %v, length %d, want a body that ends with the connection", resp.TransferEncoding, resp.ContentLength)
	}
	c.wantEnd()
	w.wantConserved()
}

func TestTrailers(t *testing.T) {
	got := make(chan string, 1)
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(rw, r.Body)
		got <- r.Trailer.Get("X-Up")
		rw.Header().Set("X-Sum", "7")
	}))
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nTrailer: X-Up\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 6\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || string(b) != "hi" {
		t.Fatalf("got %q, %v, want hi", b, err)
	}
	if up, down := <-got, resp.Trailer.Get("X-Sum"); up != "6" || down != "7" {
		t.Errorf("got trailers %q and %q, want 6 and 7", up, down)
	}
	w.wantConserved()
}

func TestMalformed(t *testing.T) {
	var forwarded atomic.Int64
	w := newWorld(t, Options{MaxHead: 4096}, handle(t, func(http.ResponseWriter, *http.Request) { forwarded.Add(1) }))
	for i, tc := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\nHost: a\n\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
		{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 4096) + "\r\n\r\n", 431},
		{"GET /" + strings.Repeat("x", 4096) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	} {
		c := w.dial()
		c.say("%s", tc.request)
		resp, body := c.answer("GET")
		if resp.StatusCode != tc.status || !resp.Close {
			t.Errorf("%d: got %d %q, close %v, want %d and close", i, resp.StatusCode, body, resp.Close, tc.status)
		}
		c.wantEnd()
		if got := w.listener().Traffic.Malformed.Load(); got != uint64(i+1) {
			t.Errorf("%d: got %d malformed, want %d", i, got, i+1)
		}
	}
	if n := forwarded.Load(); n != 0 {
		t.Errorf("got %d requests forwarded, want none", n)
	}
	w.wantConserved()
}

func TestBadChunkInMidBody(t *testing.T) {
	saw := make(chan error, 1)
	w := newWorld(t, Options{}, handle(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		saw <- err
	}))
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	eventually(t, "the request is at the endpoint", func() bool { return w.p.State().Open()["app-0"] == 1 })
	c.say("zz\r\n")
	if resp, _ := c.answer("POST"); resp.StatusCode != 400 || !resp.Close {
		t.Errorf("got %d, close %v, want 400 and close", resp.StatusCode, resp.Close)
	}
	if err := <-saw; err == nil {
		t.Error("the endpoint saw a whole body, want it to see it cut")
	}
	c.wantEnd()
	w.wantConserved()
}

func TestReloadLeavesOpenRequestsAlone(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	old := handle(t, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-proceed
		fmt.Fprint(rw, "old")
	})
	w := newWorld(t, Options{}, "old="+old)
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	<-arrived
	before := w.p.State()
	w.apply(w.view("new=" + handle(t, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "new") })))
	other := w.dial()
	other.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	other.wantAnswer("GET", 200, "new")
	if open := before.Open(); open["old"] != 1 {
		t.Errorf("got %v open, want one at old", open)
	}
	close(proceed)
	c.wantAnswer("GET", 200, "old")
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "new")
	left := before.services[0].Endpoints[0].Traffic
	eventually(t, "the connection to an endpoint that left is closed", func() bool { return left.ActiveConnects.Load() == 0 })
	w.wantConserved()
}

func TestAPanicCostsOneConnection(t *testing.T) {
	var armed atomic.Bool
	o := Options{}
	dialer := net.Dialer{}
	o.Upstream.Dial = dialOrPanic(&armed, &dialer)
	addr := handle(t, echo)
	w := newWorld(t, o, addr)
	good, bad := w.dial(), w.dial()
	good.say("GET /1 HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	good.wantAnswer("GET", 200, "GET /1 ")
	w.apply(w.view("fresh=" + addr)) // another incarnation: no connection to reuse
	armed.Store(true)
	bad.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	if b, err := bad.r.ReadByte(); err == nil {
		t.Fatalf("got %q, want the connection to be cut", b)
	}
	armed.Store(false)
	good = w.dial()
	good.say("GET /2 HTTP/1.1\r\nHost: app\r\n\r\n")
	good.wantAnswer("GET", 200, "GET /2 ")
	if n := w.listener().Traffic.Panics.Load(); n != 1 {
		t.Errorf("got %d panics, want 1", n)
	}
	w.wantConserved()
}

// An HTTP/1.0 client that asked to stay hears that it may, also from us.
func TestOurOwnAnswersKeepOldClients(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.dial()
	for range 2 {
		c.say("GET /nowhere HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n")
		if resp, _ := c.answer("GET"); resp.StatusCode != 503 || resp.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("got %d with Connection %q, want 503 with keep-alive", resp.StatusCode, resp.Header.Get("Connection"))
		}
	}
	w.wantConserved()
}

func TestOneEmptyLineBeforeARequestIsAllowed(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	for lines, status := range []int{200, 200, 400} {
		c := w.dial()
		c.say("%sGET / HTTP/1.1\r\nHost: app\r\n\r\n", strings.Repeat("\r\n", lines))
		if resp, _ := c.answer("GET"); resp.StatusCode != status {
			t.Errorf("after %d empty lines: got %d, want %d", lines, resp.StatusCode, status)
		}
	}
	w.wantConserved()
}

// Only a connection that had been idle and was cut makes others suspect. A retry for any other reason takes the
// connection that is there.
func TestARetryTakesAWarmConnection(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := nl.Addr().String()
	_ = nl.Close()
	w := newWorld(t, Options{}, dead, handle(t, echo))
	c := w.dial()
	for range 50 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET / ")
	}
	s := w.p.State().services[0]
	if fails := s.Endpoints[0].Traffic.ConnectFail.Load(); fails == 0 {
		t.Error("nobody tried the dead endpoint")
	}
	if connects := s.Endpoints[1].Traffic.Connects.Load(); connects != 1 {
		t.Errorf("got %d connections to the living endpoint, want 1", connects)
	}
}
