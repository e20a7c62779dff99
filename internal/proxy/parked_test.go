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
	"testing"
	"time"
)

// ok answers every request with the same two bytes.
func ok(_ int, c *net.TCPConn, r *bufio.Reader) {
	for {
		if _, err := readHead(r); err != nil {
			return
		}
		if _, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// only returns the one connection that is served.
func (w *world) only() *Conn {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		return c
	}
	w.t.Fatal("no connection is served")
	return nil
}

// A FIN that comes together with a request is noted by nobody but who looks.
func TestAFINWithTheRequestIsFound(t *testing.T) {
	w := newWorld(t, Options{}, script(t, ok))
	for range 20 { // together, or one after the other
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.wantAnswer("GET", 200, "ok")
		c.wantEnd()
	}
	w.wantConserved()
}

// What comes while a request is served is served after it, however little the poller says about it.
func TestRequestsThatComeMeanwhileAreServed(t *testing.T) {
	came := make(chan struct{})
	w := newWorld(t, Options{}, handle(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			came <- struct{}{}
			<-came
		}
	}))
	for range 20 {
		c := w.dial()
		c.say("GET /first HTTP/1.1\r\nHost: app\r\n\r\n")
		<-came
		c.say("GET /second HTTP/1.1\r\nHost: app\r\n\r\nGET /third HTTP/1.1\r\nHo")
		came <- struct{}{}
		c.wantAnswer("GET", 200, "")
		c.wantAnswer("GET", 200, "")
		c.say("st: app\r\n\r\n")
		c.wantAnswer("GET", 200, "")
		_ = c.Close()
	}
	w.wantConserved()
}

// What came before the callback was entered is not noted any more: it is read before anybody waits, also when there is a
// request to be served first.
func TestNothingIsWaitedForBeforeTheSocketWasRead(t *testing.T) {
	if onlyPlain {
		t.Skip("every Read looks first")
	}
	w := newWorld(t, Options{IdleTimeout: 500 * time.Millisecond}, script(t, ok))
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	for range 5 {
		theirs, err := net.Dial("tcp", nl.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ours, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		const request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n"
		if _, err := io.WriteString(theirs, "x"+request); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Read(make([]byte, 1)); err != nil { // the poller has said all that it will
			t.Fatal(err)
		}
		c := w.p.NewConn(ours, w.door)
		c.in = w.p.buffers.Get()
		if _, err := c.in.Fill(strings.NewReader(request), 1<<10); err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			c.Serve(t.Context())
		}()
		r := bufio.NewReader(theirs)
		for i := range 2 {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		_ = theirs.Close()
		<-served
	}
	w.wantConserved()
}

// Many more requests than a buffer holds, sent before the first is answered, are answered in order.
func TestManyPipelinedRequests(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.URL.Path) }))
	c := w.dial()
	const n = 1000
	go func() {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "GET /%d HTTP/1.1\r\nHost: app\r\n\r\n", i)
		}
		_, _ = io.WriteString(c, b.String())
	}()
	for i := range n {
		c.wantAnswer("GET", 200, "/"+strconv.Itoa(i))
	}
	w.wantConserved()
}

// A connection that waits for a request holds no buffer: that is most of what an idle one costs.
func TestAnIdleConnectionHoldsNoBuffer(t *testing.T) {
	if onlyPlain {
		t.Skip("it does, where it does not park")
	}
	w := newWorld(t, Options{}, script(t, ok))
	c := w.dial()
	for range 3 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "ok")
	}
	served := w.only()
	served.Cut() // or else it would be read from once more
	eventually(t, "the connection has ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.live) == 0
	})
	if served.raw == nil || served.in != nil {
		t.Errorf("it held a buffer of %d bytes to the end", len(served.in.Bytes()))
	}
}

// Cut ends a connection whose request an endpoint does not answer, though nobody else reads from it then.
func TestCutEndsAConnectionThatWaitsForItsAnswer(t *testing.T) {
	waits := make(chan struct{})
	w := newWorld(t, Options{}, script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if _, err := readHead(r); err != nil {
			return
		}
		waits <- struct{}{}
		_, _ = io.Copy(io.Discard, r)
	}))
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "ok")
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	<-waits
	w.only().Cut()
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("got something, want the end")
	}
	w.wantConserved()
	if n := w.listener().Traffic.Requests.Cut.Load(); n != 1 {
		t.Errorf("got %d cut, want 1", n)
	}
}

// A stream that is read slowly goes on inside, outside and whole.
func TestAnAnswerThatPausesComesWhole(t *testing.T) {
	w := newWorld(t, Options{WatchAfter: 5 * time.Millisecond}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			for _, part := range []string{"HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-", "Length: 9\r\n\r\n", "one", "two", "six"} {
				pause(20 * time.Millisecond)
				if _, err := io.WriteString(c, part); err != nil {
					return
				}
			}
		}
	}))
	c := w.dial()
	for range 3 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 103, "")
		c.wantAnswer("GET", 200, "onetwosix")
	}
	w.wantConserved()
}

// pause takes its time without being measured.
func pause(d time.Duration) { <-time.After(d) }

// What an endpoint says on an idle connection before it closes it is nobody's answer.
func TestWhatIsSaidUnaskedIsNobodysAnswer(t *testing.T) {
	said := make(chan struct{}, 2)
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		pause(20 * time.Millisecond)
		fmt.Fprint(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		said <- struct{}{}
	}))
	c := w.dial()
	for range 3 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "ok")
		<-said
		pause(20 * time.Millisecond) // it arrives, and the connection has not been used for a while
	}
	w.wantConserved()
	if n := w.p.State().Services()[0].Endpoints[0].Traffic.Cut.Load(); n != 0 {
		t.Errorf("got %d cut at the endpoint, want it not blamed for closing what was idle", n)
	}
}

// Connection: close on an interim answer ends the endpoint's connection as on the final one.
func TestAnInterimAnswerMayEndTheConnection(t *testing.T) {
	var connections atomic.Int64
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		connections.Add(1)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	c := w.dial()
	for range 3 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 103, "")
		if resp := c.wantAnswer("GET", 200, "ok"); resp.Close {
			t.Error("the client's connection ends too")
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("got %d connections for 3 requests, want 3", n)
	}
	w.wantConserved()
}

// Fields that Connection names are dropped from the head. Trailers of the same names must not take their place, so that
// none goes on; without nominations they do.
func TestNominatedTrailersStayBehind(t *testing.T) {
	for nominated, want := range map[string]string{"": "6", "Connection: X-Sum\r\n": ""} {
		t.Run(nominated, func(t *testing.T) {
			got := make(chan string, 1)
			w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				got <- req.Trailer.Get("X-Sum")
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 6\r\n\r\n", nominated)
			}))
			c := w.dial()
			c.say("POST / HTTP/1.1\r\nHost: app\r\n%sTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 6\r\n\r\n", nominated)
			resp, body := c.answer("POST")
			if up, down := <-got, resp.Trailer.Get("X-Sum"); body != "ok" || up != want || down != want {
				t.Errorf("got %q, trailers %q and %q, want ok, %q and %q", body, up, down, want, want)
			}
			w.wantConserved()
		})
	}
}

// An answer's head is heard wherever it is broken into pieces.
func TestAnAnswersHeadInPieces(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nX-Long: yes\r\nContent-Length: 2\r\n\r\n"
	at := make(chan int, 1)
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			i := <-at
			for _, piece := range []string{head[:i], head[i:min(i+2, len(head))], head[min(i+2, len(head)):] + "o", "k"} {
				pause(time.Millisecond / 2)
				if _, err := io.WriteString(c, piece); err != nil {
					return
				}
			}
		}
	}))
	c := w.dial()
	for i := range len(head) {
		at <- i
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if resp := c.wantAnswer("GET", 200, "ok"); resp.Header.Get("X-Long") != "yes" {
			t.Errorf("broken at %d, the head has no X-Long", i)
		}
	}
	w.wantConserved()
}

// A head that trickles in is parsed when it has doubled, and when it may have ended: a long one in small pieces costs a
// multiple of its length, not its square.
func TestATrickledAnswersHeadIsParsedSeldom(t *testing.T) {
	x := newExchange(New(Options{}))
	long := "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 50_000) + "\r\nContent-Length: 0\r\n\r\n"
	var guard headGuard
	parses, last := 0, 0
	for n := range len(long) + 1 {
		if !guard.due([]byte(long[:n])) {
			continue
		}
		parses++
		var err error
		if last, err = x.resp.Parse([]byte(long[:n]), []byte("GET")); err != nil {
			t.Fatal(err)
		}
	}
	if last != len(long) || parses > 40 {
		t.Errorf("got %d of %d bytes parsed in %d tries, want all of them in a few", last, len(long), parses)
	}
}

// A client that says Connection: close and has nothing more to send is answered and closed with; one that may still be
// sending is waited for, so that no reset overtakes the answer.
func TestClosingAfterTheLastAnswer(t *testing.T) {
	w := newWorld(t, Options{}, script(t, ok))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: app\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 100_000),
	} {
		c := w.dial()
		_, _ = io.WriteString(c, request)
		if _, _, err := c.tryAnswer("GET"); err != nil {
			t.Errorf("%.20q: the answer broke: %v", request, err)
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%.20q: got %v, want the end", request, err)
		}
	}
	w.wantConserved()
}
