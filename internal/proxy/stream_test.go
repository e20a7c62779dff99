package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// ask sends a request over the client and returns the answer with its body.
func ask(t testing.TB, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	a, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	return a, string(b)
}

func (w *world) request(method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.addr+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = "app"
	return r
}

// What an HTTP/1.1 endpoint gets of a request that came over HTTP/2, to the byte.
func TestStreamsAreWrittenDown(t *testing.T) {
	heads := make(chan []string, 1)
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			heads <- head
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Stays: 1\r\n\r\n")
		}
	}))
	h2 := w.dialStreams()
	for _, c := range []struct {
		head http2.Head
		want string
	}{
		{http2.Head{Method: []byte("GET"), Path: []byte("/a/../b?c=d")}, "GET /b?c=d HTTP/1.1|Host: app|x-request-id: 1|X-Forwarded-Proto: http|X-Forwarded-For: 127.0.0.1|Via: 2.0 crossfade"},
		{http2.Head{Method: []byte("POST"), Path: []byte("/")}, "POST / HTTP/1.1|Host: app|x-request-id: 1|X-Forwarded-Proto: http|X-Forwarded-For: 127.0.0.1|Via: 2.0 crossfade|Content-Length: 0"},
		{http2.Head{Method: []byte("GET"), Path: []byte("/"), Fields: []http1.Field{
			{Name: []byte("te"), Value: []byte("trailers")}, {Name: []byte("cookie"), Value: []byte("a=b; c=d")},
		}}, "GET / HTTP/1.1|Host: app|x-request-id: 1|cookie: a=b; c=d|X-Forwarded-Proto: http|X-Forwarded-For: 127.0.0.1|Via: 2.0 crossfade|TE: trailers|Connection: TE"},
	} {
		c.head.Scheme, c.head.Authority = []byte("http"), []byte("app")
		c.head.Fields = append([]http1.Field{{Name: []byte("x-request-id"), Value: []byte("1")}}, c.head.Fields...)
		s, err := h2.Open(&c.head, true)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.ReadHead()
		if err != nil {
			t.Fatal(err)
		}
		if _, hop := http1.Lookup(a.Fields, "X-Hop"); hop || a.Status != 200 || !a.End {
			t.Fatalf("%s: got %d, end %v and %q, want 200, an end, and nothing of the endpoint's connection", c.want, a.Status, a.End, a.Fields)
		}
		if _, stays := http1.Lookup(a.Fields, "X-Stays"); !stays {
			t.Errorf("got %q, want all that is not of the endpoint's connection", a.Fields)
		}
		s.Close()
		if got := strings.Join(<-heads, "|"); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
	w.wantConserved()
}

// dialStreams returns a connection of HTTP/2 that leaves no doubt about what happens to a stream.
func (w *world) dialStreams() *http2.Client {
	w.t.Helper()
	c := w.dial()
	h2 := http2.NewClient(c.TCPConn, &http2.Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h2.Run()
	}()
	w.t.Cleanup(func() {
		h2.Close()
		<-done
	})
	return h2
}

// get opens a request for a path.
func get(path string) *http2.Head {
	return &http2.Head{Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte(path)}
}

// What HTTP/2 lets through and HTTP/1.1 would misread is refused, and nobody else on the connection is worse off.
func TestStreamsThatCannotBeWrittenDown(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, Options{}, handle(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	h2 := w.dialStreams()
	status := func(h *http2.Head) int {
		s, err := h2.Open(h, true)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		a, err := s.ReadHead()
		var reset *http2.StreamError
		if errors.As(err, &reset) && reset.Code == http2.ProtocolError {
			return 400 // it is malformed already
		}
		if err != nil {
			t.Fatalf("%s %s: %v", h.Method, h.Path, err)
		}
		return a.Status
	}
	many := get("/")
	for i := range http1.MaxFields + 1 {
		many.Fields = append(many.Fields, http1.Field{Name: fmt.Appendf(nil, "x-%d", i), Value: []byte("1")})
	}
	for _, c := range []struct {
		head *http2.Head
		want int
	}{
		{get("/../../etc"), 400},
		{get("/%00"), 400},
		{many, 431},
		{&http2.Head{Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("user@app"), Path: []byte("/")}, 400},
		{&http2.Head{Method: []byte("GET"), Scheme: []byte("http"), Authority: []byte("app/x"), Path: []byte("/")}, 400},
		{&http2.Head{Method: []byte("CONNECT"), Authority: []byte("app:80")}, 501},
		{&http2.Head{Method: []byte("CONNECT"), Protocol: []byte("connect-udp"), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte("/")}, 501},
	} {
		if got := status(c.head); got != c.want {
			t.Errorf("%s %s at %s: got %d, want %d", c.head.Method, c.head.Path, c.head.Authority, got, c.want)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the endpoint was asked %d times, want never", n)
	}
	if got := status(get("/")); got != 200 || asked.Load() != 1 {
		t.Errorf("after all that: got %d, want 200", got)
	}
	w.wantConserved()
}

// A client that gives up is noticed at the endpoint, whichever versions the two speak, also in mid-answer.
func TestTranslationsOfCancellation(t *testing.T) {
	gone, come := make(chan struct{}, 1), make(chan struct{}, 1)
	translate(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = rw.Write([]byte("some"))
			_ = http.NewResponseController(rw).Flush()
		}
		come <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}, func(t *testing.T, w *world, c *http.Client, _, _ fleet.HTTP) {
		t.Helper()
		for _, path := range []string{"/silent", "/begun"} {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				a, err := c.Do(w.request("GET", path, nil).WithContext(ctx))
				if err == nil {
					_, err = io.Copy(io.Discard, a.Body)
				}
				ended <- err
			}()
			<-come
			cancel()
			<-gone
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want a cancelled request", err)
			}
		}
		eventually(t, "both are counted as aborted", func() bool { return w.listener().Traffic.Aborted.Load() == 2 })
	})
}

// Two sides may talk at once, piece by piece, for as long as they like.
func TestStreamsTalkBothWays(t *testing.T) {
	w := newWorld(t, Options{}, handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(rw, "heard", lines.Text())
			_ = http.NewResponseController(rw).Flush()
		}
	}))
	for _, version := range versions {
		w.speak(version)
		from, to := io.Pipe()
		go fmt.Fprintln(to, "hello")
		a, err := w.client(fleet.HTTP2).Do(w.request("POST", "/", from))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(a.Body)
		for i := range 5 {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "heard ") {
				t.Fatalf("%s: got %q and %v, want an echo", version, lines.Text(), lines.Err())
			}
			fmt.Fprintln(to, "line", i)
		}
		_ = to.Close()
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	w.wantConserved()
}

// An endpoint that refuses a stream has not acted on it: it goes to another one, whatever its method, with its body.
func TestRefusedStreamsGoElsewhere(t *testing.T) {
	var refused atomic.Int64
	refuses := serveStreams(t, func(s *http2.Stream) {
		refused.Add(1)
		s.Reset(http2.RefusedStream)
	})
	takes := serveStreams(t, func(s *http2.Stream) {
		b, _ := io.ReadAll(http2.Pipe{Stream: s})
		_ = s.WriteHead(&http2.Head{Status: 200}, false)
		_, _ = s.WriteBody(b, true)
	})
	w := newWorld(t, Options{}, refuses, takes)
	w.speak(fleet.HTTP2)
	for _, version := range versions {
		c := w.client(version)
		for i := range 20 {
			said := fmt.Sprint("piece ", i)
			if a, got := ask(t, c, w.request("POST", "/", strings.NewReader(said))); a.StatusCode != 200 || got != said {
				t.Fatalf("%s: got %s with %q, want 200 with %q", version, a.Status, got, said)
			}
		}
	}
	if refused.Load() == 0 {
		t.Error("nobody refused anything: the test shows nothing")
	}
	w.wantConserved()
}

// serveStreams starts an endpoint that speaks HTTP/2 alone.
func serveStreams(t testing.TB, do func(*http2.Stream)) string {
	t.Helper()
	return script(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) {
		_ = http2.NewServer(c, nil, &http2.Options{ExtendedConnect: true}).Serve(do)
	})
}

// A connection that is told to leave serves what was under way and what comes before the client has heard.
func TestStreamsLeave(t *testing.T) {
	hold, come := make(chan struct{}), make(chan struct{}, 2)
	w := newWorld(t, Options{}, handle(t, func(_ http.ResponseWriter, r *http.Request) {
		if come <- struct{}{}; r.URL.Path == "/slow" {
			<-hold
		}
	}))
	h2 := w.dialStreams()
	slow, err := h2.Open(get("/slow"), true)
	if err != nil {
		t.Fatal(err)
	}
	<-come
	late, err := h2.Open(get("/late"), false) // before it can hear
	if err != nil {
		t.Fatal(err)
	}
	w.leave()
	if _, err := late.WriteBody([]byte("late"), true); err != nil {
		t.Fatal(err)
	}
	<-come
	eventually(t, "the client has heard", func() bool {
		_, ok := h2.Limit()
		return !ok
	})
	if _, err := h2.Open(get("/"), true); !errors.Is(err, http2.ErrLeaving) {
		t.Errorf("got %v, want no more streams", err)
	}
	close(hold)
	for _, s := range []*http2.Stream{slow, late} {
		if a, err := s.ReadHead(); err != nil || a.Status != 200 {
			t.Errorf("got %+v and %v, want 200", a, err)
		}
		s.Close()
	}
	eventually(t, "the connection has ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.live) == 0
	})
	w.wantConserved()
}

// leave has the door and its connections leave.
func (w *world) leave() {
	w.door.Leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		c.Leave()
	}
}

// Cut ends every stream, and counts those that it lost.
func TestStreamsAreCut(t *testing.T) {
	come := make(chan struct{}, 3)
	w := newWorld(t, Options{}, handle(t, func(_ http.ResponseWriter, r *http.Request) {
		come <- struct{}{}
		<-r.Context().Done()
	}))
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	ours, err := net.Dial("tcp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := w.p.NewConn(theirs, w.door)
	lost := make(chan int)
	go func() { lost <- c.Serve(t.Context()) }()
	h2 := http2.NewClient(ours, &http2.Options{})
	go func() { _ = h2.Run() }()
	for range 3 {
		if _, err := h2.Open(get("/"), true); err != nil {
			t.Fatal(err)
		}
		<-come
	}
	if _, busy := c.Busy(); !busy {
		t.Error("it is not busy, want three open requests")
	}
	c.Cut()
	if n := <-lost; n != 3 {
		t.Errorf("got %d lost, want 3", n)
	}
	if n := w.listener().Traffic.Requests.Cut.Load(); n != 3 {
		t.Errorf("got %d counted as cut, want 3", n)
	}
	w.wantConserved()
}

// A client of HTTP/1.1 may go on in HTTP/2: its request becomes the first stream.
func TestH2CUpgrade(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	c.say("GET /first HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if head, err := readHead(c.r); err != nil || head[0] != "HTTP/1.1 101 Switching Protocols" {
		t.Fatalf("got %q and %v, want 101", head, err)
	}
	c.say("%s\x00\x00\x00\x04\x00\x00\x00\x00\x00", http2.Preface) // and empty SETTINGS
	var body bytes.Buffer
	for {
		var head [9]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, int(head[0])<<16|int(binary.BigEndian.Uint16(head[1:])))
		if _, err := io.ReadFull(c.r, payload); err != nil {
			t.Fatal(err)
		}
		kind, flags, id := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		if kind == 0 && id == 1 {
			body.Write(payload)
		}
		if (kind == 0 || kind == 1) && id == 1 && flags&1 != 0 {
			break
		}
	}
	if got := body.String(); !strings.HasPrefix(got, "GET /first") {
		t.Errorf("got %q, want the echo of the first request", got)
	}
	w.wantConserved()
	if n := w.listener().Traffic.Requests.Total.Load(); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}

// A preface may come in pieces, and what only looks like one is HTTP/1.1.
func TestPrefaceInPieces(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	for i, piece := range []string{"P", "UT /x HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n"} {
		if i > 0 {
			eventually(t, "the first piece was read", func() bool { return w.listener().Traffic.ActiveConnects.Load() == 1 })
		}
		c.say("%s", piece)
	}
	c.wantAnswer("PUT", 200, "PUT /x ")

	split := w.dial()
	h2 := http2.NewClient(&slowly{Conn: split.TCPConn}, &http2.Options{})
	go func() { _ = h2.Run() }()
	defer h2.Close()
	s, err := h2.Open(get("/"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.ReadHead(); err != nil || a.Status != 200 {
		t.Errorf("got %+v and %v, want 200", a, err)
	}
}

// slowly writes a byte at a time.
type slowly struct{ net.Conn }

func (s *slowly) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := s.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// A tunnel goes through every pair of versions.
func TestTranslationsOfTunnels(t *testing.T) {
	speaksPlainly := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, _ := readHead(r)
		var key string
		for _, line := range head {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, keyName) {
				key = value
			}
		}
		accept := acceptOf([]byte(key))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept)
		_, _ = io.Copy(c, r)
	})
	speaksStreams := serveStreams(t, func(s *http2.Stream) {
		if string(s.Request().Protocol) != websocket {
			_ = s.WriteHead(&http2.Head{Status: 400}, true)
			return
		}
		_ = s.WriteHead(&http2.Head{Status: 200}, false)
		b := make([]byte, window)
		for {
			n, err := s.ReadBody(b)
			if err != nil {
				_, _ = s.WriteBody(nil, true)
				return
			}
			_, _ = s.WriteBody(b[:n], false)
			s.Flush()
		}
	})
	for version, endpoint := range map[fleet.HTTP]string{fleet.HTTP1: speaksPlainly, fleet.HTTP2: speaksStreams} {
		w := newWorld(t, Options{}, endpoint)
		w.speak(version)
		c := w.dial()
		c.say("GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		head, err := readHead(c.r)
		if all := strings.Join(head, "\n"); err != nil || !strings.Contains(all, "101 ") || !strings.Contains(all, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
			t.Fatalf("%s: got %q and %v, want 101 and the answer to the key", version, head, err)
		}
		wantEcho(t, c.TCPConn, c.r)
		_ = c.CloseWrite()
		if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
			t.Errorf("%s: got %q and %v, want an end", version, rest, err)
		}

		h2 := w.dialStreams()
		eventually(t, "the settings have come", h2.Extended)
		s, err := h2.Open(&http2.Head{
			Method: []byte("CONNECT"), Protocol: []byte(websocket), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte("/chat"),
			Fields: []http1.Field{{Name: []byte("sec-websocket-version"), Value: []byte("13")}},
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.ReadHead()
		if err != nil || a.Status != 200 {
			t.Fatalf("%s: got %+v and %v, want 200", version, a, err)
		}
		if _, ok := http1.Lookup(a.Fields, acceptName); ok {
			t.Errorf("%s: got %q, want no answer to a key that was not sent", version, a.Fields)
		}
		wantEcho(t, http2.Pipe{Stream: s}, http2.Pipe{Stream: s})
		_, _ = s.WriteBody(nil, true)
		if rest, err := io.ReadAll(http2.Pipe{Stream: s}); len(rest) > 0 || err != nil {
			t.Errorf("%s: got %q and %v, want an end", version, rest, err)
		}
		s.Close()
		w.wantConserved()
	}
}

func wantEcho(t *testing.T, to io.Writer, from io.Reader) {
	t.Helper()
	for i := range 10 {
		said := bytes.Repeat([]byte{byte('a' + i)}, 1<<(2*i)%70_001)
		heard := make([]byte, len(said))
		go func() {
			_, _ = to.Write(said)
			if p, ok := to.(http2.Pipe); ok {
				p.Flush()
			}
		}()
		if _, err := io.ReadFull(from, heard); err != nil || !bytes.Equal(said, heard) {
			t.Fatalf("got %d bytes and %v, want an echo of %d", len(heard), err, len(said))
		}
	}
}

// A handshake that an endpoint turns down comes back as it is.
func TestTunnelTurnedDownOverStreams(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusForbidden)
		fmt.Fprint(rw, "not you")
	}))
	h2 := w.dialStreams()
	eventually(t, "the settings have come", h2.Extended)
	s, err := h2.Open(&http2.Head{
		Method: []byte("CONNECT"), Protocol: []byte(websocket), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte("/"),
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.ReadHead()
	if err != nil || a.Status != http.StatusForbidden {
		t.Fatalf("got %+v and %v, want 403", a, err)
	}
	if b, err := io.ReadAll(http2.Pipe{Stream: s}); string(b) != "not you" || err != nil {
		t.Errorf("got %q and %v, want what the endpoint said", b, err)
	}
	s.Close()
	w.wantConserved()
}

// What is not HTTP at all is not answered; what is HTTP, and wrong, is told so.
func TestStrangers(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	c.say("INVALID CONNECTION PREFACE\r\n\r\n")
	c.wantEnd()
	for _, line := range []string{"GET /a b HTTP/1.1", "GET / http/1.1", "GET /a b", "GET *", "GET / HTTP/3.0"} {
		c := w.dial()
		c.say("%s\r\nHost: app\r\n\r\n", line)
		if a, _ := c.answer("GET"); a.StatusCode != 400 && a.StatusCode != 505 {
			t.Errorf("%s: got %s, want 400 or 505", line, a.Status)
		}
	}
	w.wantConserved()
}
