package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// fronted is a world in which f stands before one application, which is spoken to as its callers speak.
func fronted(t testing.TB, f *Front, h http.HandlerFunc) *world {
	t.Helper()
	return frontedAt(t, f, handleBoth(t, h))
}

func frontedAt(t testing.TB, f *Front, address string) *world {
	t.Helper()
	w := newWorld(t, Options{Front: f}, address)
	v := w.view(address)
	v.Services[0].Inbound = true
	for i := range v.Services[0].Pools {
		v.Services[0].Pools[i].Policy.HTTP = fleet.HTTPSame
	}
	w.apply(v)
	return w
}

// from is w.request with fields, each "name: value".
func (w *world) from(method, path string, body io.Reader, fields ...string) *http.Request {
	w.t.Helper()
	r := w.request(method, path, body)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// wantSeen waits until f has seen that, but for when, and by which protocol.
func wantSeen(t testing.TB, f *Front, want Seen) {
	t.Helper()
	eventually(t, fmt.Sprintf("the front has seen %+v", want), func() bool {
		got := f.Seen()
		open, opened := 0, uint64(0)
		for _, c := range got.Tally {
			open, opened = open+c.Open, opened+c.Opened
		}
		adds := open == got.Open && opened == got.Total
		got.Last, got.LastForeign, got.Tally = time.Time{}, time.Time{}, drain.Tally{}
		return got == want && adds
	})
}

const byGateway = FieldGateway + ": gateway-1"

// Everybody is counted once, foreign callers apart, and those who check are nobody's callers. The application hears of none
// of that.
func TestFrontCountsCallers(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f := &Front{}
			w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Values(FieldGateway)) })
			c := w.client(version)
			for range 3 {
				if _, got := ask(t, c, w.from("GET", "/", nil, byGateway)); got != "[]" {
					t.Errorf("the application sees who sends: %s", got)
				}
			}
			for _, agent := range []string{"crossfade-check", "kube-probe/1.34", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Consul Health Check"} {
				ask(t, c, w.from("GET", "/", nil, "User-Agent: "+agent))
			}
			ask(t, c, w.from("POST", "/grpc.health.v1.Health/Check", strings.NewReader("x"), "User-Agent: kube-probe/1.34"))
			wantSeen(t, f, Seen{Total: 3})
			if got := f.Seen(); !got.LastForeign.IsZero() || got.Last.IsZero() {
				t.Errorf("got %+v, though none but gateways came", got)
			}
			before := time.Now()
			ask(t, c, w.from("GET", "/", nil))
			wantSeen(t, f, Seen{Total: 4, Foreign: 1})
			if got := f.Seen(); got.LastForeign.Before(before) || got.LastForeign.After(time.Now()) || got.Last != got.LastForeign {
				t.Errorf("got %+v, want it seen now", got)
			}
			// Whoever does work is no checker, whatever it calls itself.
			ask(t, c, w.from("POST", "/", strings.NewReader("x"), "User-Agent: kube-probe/1.34"))
			ask(t, c, w.from("GET", "/", strings.NewReader("x"), "User-Agent: kube-probe/1.34"))
			wantSeen(t, f, Seen{Total: 6, Foreign: 3})
			// What comes to the port for checks is nobody's.
			v := w.view()
			v.Services = w.p.State().View().Services
			v.Services[0].Port = HealthPort
			w.apply(v)
			ask(t, c, w.from("GET", "/", nil))
			w.wantConserved()
			wantSeen(t, f, Seen{Total: 6, Foreign: 3})
		})
	}
}

// A request is open until its answer's last byte, and a foreign one is the last that was seen then.
func TestFrontSeesWhatIsOpen(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f, hold := &Front{}, make(chan struct{})
			w := fronted(t, f, func(rw http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(rw, "half")
				_ = http.NewResponseController(rw).Flush()
				<-hold
			})
			a, err := w.client(version).Do(w.from("GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			wantSeen(t, f, Seen{Open: 1, Total: 1, Foreign: 1})
			before := time.Now()
			close(hold)
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
			wantSeen(t, f, Seen{Total: 1, Foreign: 1})
			if f.Seen().LastForeign.Before(before) {
				t.Error("it ended, and was not seen")
			}
		})
	}
}

// A front that leaves says so in every answer, whoever gives it, and has its clients go, each in its protocol's words.
func TestFrontThatLeavesMarksEveryAnswer(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f := &Front{}
			w := fronted(t, f, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set(FieldDrain, "made-up") // an application speaks for nobody
				rw.Header().Set(FieldRefused, "made-up")
				fmt.Fprint(rw, "here")
			})
			c := w.client(version)
			for _, tt := range []struct {
				leaving bool
				path    string
				drain   string
			}{
				{false, "/", "[]"},
				{false, "/nowhere", "[]"},
				{true, "/", "[r-1]"},
				{true, "/nowhere", "[r-1]"},
				{false, "/", "[]"}, // it stays after all
			} {
				f.Order(Orders{Incarnation: "r-1", Leaving: tt.leaving})
				a, _ := ask(t, c, w.from("GET", tt.path, nil))
				if got := fmt.Sprint(a.Header.Values(FieldDrain)); got != tt.drain {
					t.Errorf("leaving %t, %s: got the mark %s, want %s", tt.leaving, tt.path, got, tt.drain)
				}
				if got := a.Header.Values(FieldRefused); len(got) > 0 {
					t.Errorf("leaving %t, %s: got %v, though it was answered", tt.leaving, tt.path, got)
				}
				if version == fleet.HTTP1 && a.Close != tt.leaving {
					t.Errorf("leaving %t, %s: Connection: close is %t", tt.leaving, tt.path, a.Close)
				}
			}
			w.wantConserved()
		})
	}
}

// Connections of HTTP/2 hear at once that the front leaves: those that are there, and those that come.
func TestFrontThatLeavesTellsConnections(t *testing.T) {
	f := &Front{}
	w := fronted(t, f, echo)
	hears := func(c *http2.Client) {
		eventually(t, "the client has heard", func() bool {
			_, ok := c.Limit()
			return !ok
		})
	}
	c := w.dialStreams()
	s, err := c.Open(get("/"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadHead(); err != nil {
		t.Fatal(err)
	}
	f.Order(Orders{Incarnation: "r-1", Leaving: true})
	hears(c)
	c = w.dialStreams()
	if s, err = c.Open(get("/"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadHead(); err != nil {
		t.Fatal(err)
	}
	hears(c)
}

// What came before the orders is counted with what comes after.
func TestFrontOrderedWhileOpen(t *testing.T) {
	f, hold := &Front{}, make(chan struct{})
	w := fronted(t, f, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-hold
		}
	})
	c := w.client(fleet.HTTP1)
	var side sync.WaitGroup
	side.Go(func() { ask(t, c, w.from("GET", "/slow", nil)) })
	wantSeen(t, f, Seen{Open: 1, Total: 1, Foreign: 1})
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	side.Go(func() { ask(t, c, w.from("GET", "/", nil)) })
	wantSeen(t, f, Seen{Open: 2, Waiting: 1, Total: 2, Foreign: 2, Limited: 1})
	close(hold)
	side.Wait()
	wantSeen(t, f, Seen{Total: 2, Foreign: 2, Limited: 1})
}

// Refusing, a front turns away what its sender still has and may send elsewhere, and nothing else. The application sees
// none of it.
func TestFrontRefusesWhatMayBeSentElsewhere(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f := &Front{}
			var seen atomic.Int64
			w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
				seen.Add(1)
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(rw, n)
			})
			f.Order(Orders{Incarnation: "r-1", Leaving: version == fleet.HTTP1, Refusing: true}) // streams would not be opened
			small, large := "some words", strings.Repeat("x", window+1)
			streams := version == fleet.HTTP2
			for _, tt := range []struct {
				method, body string
				fields       []string
				refused      bool
			}{
				{"GET", "", nil, true},
				{"DELETE", "", nil, true},
				{"POST", "", nil, streams},
				{"POST", "", []string{byGateway}, true},
				{"PUT", large, nil, false},
				{"POST", large, []string{byGateway}, false},
				{"GET", "", []string{"User-Agent: kube-probe/1.34"}, false},
			} {
				before := seen.Load()
				a := w.outcome(version, tt.method, tt.body, tt.fields...)
				if a.refused != tt.refused || (seen.Load() == before) != tt.refused {
					t.Errorf("%s of %d bytes %v: got %+v and %d seen by the application, want refused: %t", tt.method, len(tt.body), tt.fields, a, seen.Load()-before, tt.refused)
				}
			}
			// With the whole of a small body at hand, a gateway's POST is refused too.
			if !streams {
				c := w.dial()
				c.say("POST / HTTP/1.1\r\nHost: app\r\n%s\r\nContent-Length: %d\r\n\r\n%s", byGateway, len(small), small)
				a, _ := c.answer("POST")
				if a.StatusCode != 503 || a.Header.Get(FieldRefused) != "r-1" || a.Header.Get(FieldDrain) != "r-1" || a.Header.Get("Retry-After") != "1" {
					t.Errorf("got %s %v, want a refusal", a.Status, a.Header)
				}
			}
			w.wantConserved()
			if got := f.Seen(); got.Open != 0 || got.Refused+uint64(seen.Load())-1 != got.Total { // but for the check
				t.Errorf("got %+v, and %d seen by the application", got, seen.Load())
			}
		})
	}
}

// A fate is what became of a request.
type fate struct {
	status  int
	refused bool
	err     error
}

// outcome sends one request on a connection of its own, and never again by itself.
func (w *world) outcome(version fleet.HTTP, method, body string, fields ...string) fate {
	w.t.Helper()
	if version == fleet.HTTP1 {
		c := w.dial()
		defer c.Close()
		text := method + " / HTTP/1.1\r\nHost: app\r\n" + strings.Join(append(fields, ""), "\r\n")
		if method != "GET" && method != "DELETE" {
			text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		c.say("%s\r\n", text)
		go func() { _, _ = io.WriteString(c, body) }()
		a, _, err := c.tryAnswer(method)
		if err != nil {
			return fate{err: err}
		}
		return fate{status: a.StatusCode, refused: a.Header.Get(FieldRefused) != ""}
	}
	c := w.dialStreams()
	h := get("/")
	h.Method = []byte(method)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Fields = append(h.Fields, http1.Field{Name: bytes.ToLower([]byte(name)), Value: []byte(value)})
	}
	s, err := c.Open(h, body == "")
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	if body != "" {
		go func() { _, _ = s.WriteBody([]byte(body), true); s.Flush() }()
	}
	a, err := s.ReadHead()
	if reset, is := errors.AsType[*http2.StreamError](err); is && reset.Unprocessed {
		return fate{refused: true}
	}
	if err != nil {
		return fate{err: err}
	}
	_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
	return fate{status: a.Status}
}

// Calls of gRPC that are refused are resets that clients of gRPC take for unprocessed; answers of our own to others are
// marked.
func TestFrontRefusesCalls(t *testing.T) {
	f := &Front{}
	w := frontedAt(t, f, serveStreams(t, func(s *http2.Stream) {
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
		_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: []byte("0")}})
	}))
	c := w.dialStreams()
	if status, _, _ := outcomeOf(t, c, call("/a.B/C")); status != "0" {
		t.Errorf("got the status %q, want 0", status)
	}
	f.Order(Orders{Incarnation: "r-1", Limit: 1, MaxWait: 0})
	holder := f.holdOne(t)
	s, err := c.Open(call("/a.B/C"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.ReadHead()
	if reset, is := errors.AsType[*http2.StreamError](err); !is || reset.Code != http2.RefusedStream || !reset.Unprocessed {
		t.Errorf("got %v, want a stream that is refused", err)
	}
	holder()
	if status, _, _ := outcomeOf(t, c, call("/a.B/C")); status != "0" {
		t.Errorf("afterwards: got the status %q, want 0", status)
	}
	f.Order(Orders{Incarnation: "r-1", Leaving: true})
	c = w.dialStreams()
	lost, err := c.Open(call("/nowhere/m"), true)
	if errors.Is(err, http2.ErrLeaving) {
		t.Skip("it was told before it could ask")
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := lost.ReadHead()
	if err != nil {
		t.Fatal(err)
	}
	if mark, _ := http1.Lookup(a.Fields, FieldDrain); string(mark) != "r-1" {
		t.Errorf("got %v, want our own answer marked", a)
	}
}

// holdOne takes a place at the application, and returns what gives it back.
func (f *Front) holdOne(t *testing.T) (give func()) {
	t.Helper()
	eventually(t, "there is a place", f.line.take)
	return f.line.give
}

// A WebSocket and server-sent events give their places back when they have begun, and stay open.
func TestFrontLastingGiveTheirPlaceBack(t *testing.T) {
	f, hold := &Front{}, make(chan struct{})
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			rw.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(rw).Flush()
			<-hold
		case "/ws":
			nc, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				return
			}
			fmt.Fprint(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}
	})
	ws := w.dial()
	ws.say("GET /ws HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n")
	if a, err := http.ReadResponse(ws.r, nil); err != nil || a.StatusCode != 101 {
		t.Fatalf("got %v, %v, want 101", a, err)
	}
	for _, version := range versions {
		a, err := w.client(version).Do(w.from("GET", "/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
	}
	if a, _ := ask(t, w.client(fleet.HTTP1), w.from("GET", "/", nil)); a.StatusCode != 200 {
		t.Errorf("got %s, want 200", a.Status)
	}
	wantSeen(t, f, Seen{Open: 3, Total: 4, Foreign: 4})
	eventually(t, "two of events and a WebSocket are open", func() bool {
		got := f.Seen().Tally
		return got[drain.Events].Open == 2 && got[drain.WebSocket].Open == 1 && got[drain.HTTP1].Completed == 1
	})
	close(hold)
	_ = ws.Close()
	wantSeen(t, f, Seen{Total: 4, Foreign: 4})
	if n := f.line.taken.Load(); n != 0 {
		t.Errorf("got %d places taken, want none", n)
	}
}

// What is on its way when a request waits is all there when its turn comes, whichever protocol it came by and however it is
// framed.
func TestFrontKeepsBodiesOfThoseWhoWait(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(rw, string(b), err, r.Trailer.Get("X-T"))
	})
	piecesOf := func(size int) []string { return []string{"begin ", strings.Repeat(".", size), " end"} }
	for _, size := range []int{0, 100, 40_000, 300_000} {
		pieces := piecesOf(size)
		want := strings.Join(pieces, "") + "<nil>"
		var chunks []byte
		for _, p := range pieces {
			chunks = http1.AppendChunk(chunks, []byte(p))
		}
		chunked := string(chunks)
		for name, tt := range map[string]struct{ head, body, want string }{
			"counted": {fmt.Sprintf("Content-Length: %d", len(want)-5), strings.Join(pieces, ""), want},
			"chunked": {"Transfer-Encoding: chunked\r\nTrailer: X-T", chunked + "0\r\nX-T: t\r\n\r\n", want + "t"},
		} {
			give := f.holdOne(t)
			before := f.Seen().Limited
			c := w.dial()
			c.say("POST / HTTP/1.1\r\nHost: app\r\n%s\r\n\r\n", tt.head)
			eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 && f.Seen().Limited == before+1 })
			half := len(tt.body) / 2
			c.say("%s", tt.body[:half])
			go func() {
				time.AfterFunc(5*time.Millisecond, give)
				_, _ = io.WriteString(c, tt.body[half:])
			}()
			if a, got := c.answer("POST"); got != tt.want {
				t.Errorf("%s, %d bytes: got %s, %d bytes, want %d", name, size, a.Status, len(got), len(tt.want))
			}
			_ = c.Close()
		}
		give := f.holdOne(t)
		before := f.Seen().Limited
		r, to := io.Pipe()
		go func() {
			_, _ = io.WriteString(to, pieces[0])
			eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 && f.Seen().Limited == before+1 })
			_, _ = io.WriteString(to, pieces[1][:size/2])
			time.AfterFunc(5*time.Millisecond, give)
			_, _ = io.WriteString(to, pieces[1][size/2:]+pieces[2])
			_ = to.Close()
		}()
		if a, got := ask(t, w.client(fleet.HTTP2), w.from("POST", "/", r)); got != want {
			t.Errorf("streams, %d bytes: got %s, %d bytes, want %d", size, a.Status, len(got), len(want))
		}
	}
	w.wantConserved()
}

// A body that turns out malformed while its request waits is refused, and the place is not lost.
func TestFrontBodyOfWhoWaitsIsMalformed(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	w := fronted(t, f, echo)
	give := f.holdOne(t)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n")
	eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 })
	c.say("what?\r\n")
	time.AfterFunc(5*time.Millisecond, give)
	if a, _ := c.answer("POST"); a.StatusCode != 400 {
		t.Errorf("got %s, want 400", a.Status)
	}
	wantSeen(t, f, Seen{Total: 1, Foreign: 1, Limited: 1})
	if n := f.line.taken.Load(); n != 0 {
		t.Errorf("got %d places taken, want none", n)
	}
	w.wantConserved()
}

// Whoever leaves while its request waits leaves the line, and the application never hears of it.
func TestFrontClientLeavesTheLine(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	var seen atomic.Int64
	w := fronted(t, f, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	give := f.holdOne(t)
	for name, leave := range map[string]func(){
		"HTTP/1.1, reset": func() {
			c := w.dial()
			c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n")
			eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 })
			_ = c.SetLinger(0)
			_ = c.Close()
		},
		"HTTP/2, reset": func() {
			s, err := w.dialStreams().Open(get("/"), true)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 })
			s.Close()
		},
		"HTTP/2, broken": func() {
			c := w.dialStreams()
			if _, err := c.Open(get("/"), true); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 })
			c.Close()
		},
	} {
		leave()
		eventually(t, name+": it waits no more", func() bool { return f.Seen().Waiting == 0 && f.Seen().Open == 0 })
	}
	give()
	if seen.Load() > 0 {
		t.Errorf("the application saw %d requests of clients that had left", seen.Load())
	}
	w.wantConserved()
	if aborted := w.listener().Traffic.Aborted.Load(); aborted != 3 {
		t.Errorf("got %d clients that left, want 3", aborted)
	}
}

// A connection that is parted ends what waits on it in its protocol's words.
func TestFrontPartOfWhoWaits(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Limit: 1, MaxWait: time.Hour})
	w := newWorld(t, Options{Front: f, LingerTimeout: 50 * time.Millisecond}, handle(t, echo))
	give := f.holdOne(t)
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "it waits", func() bool { return f.Seen().Waiting == 1 })
	w.part(false)
	if a, _ := c.answer("POST"); a.StatusCode != 503 || !a.Close {
		t.Errorf("got %s, want 503 and the end", a.Status)
	}
	wantSeen(t, f, Seen{Total: 1, Foreign: 1, Limited: 1})
	give()
	if n := f.line.taken.Load(); n != 0 {
		t.Errorf("got %d places taken, want none", n)
	}
	w.wantConserved()
}

// Note hears of what the application has answered, and of nothing else.
func TestFrontNotes(t *testing.T) {
	var mu sync.Mutex
	var noted []string
	f := &Front{Note: func(protocol string, port uint32, method, host, path []byte, fields []http1.Field, status int) {
		accept, _ := http1.Lookup(fields, "Accept")
		mu.Lock()
		defer mu.Unlock()
		noted = append(noted, fmt.Sprintf("%s %d %s %s%s %s %d", protocol, port, method, host, path, accept, status))
	}}
	w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		rw.WriteHeader(201)
	})
	for _, version := range versions {
		c := w.client(version)
		ask(t, c, w.from("GET", "/a?b=c", nil, "Accept: text/x"))
		ask(t, c, w.from("GET", "/warm", nil, FieldWarmup+": 1"))
		ask(t, c, w.from("GET", "/check", nil, "User-Agent: kube-probe/1"))
		ask(t, c, w.from("GET", "/broken", nil))
	}
	wantSeen(t, f, Seen{Total: 6, Foreign: 6})
	want := "[http 80 GET app/a?b=c text/x 201 http2 80 GET app/a?b=c text/x 201]"
	if got := fmt.Sprint(noted); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A front costs no allocation: not where it has no orders, nor where it counts places, marks answers and reports.
func TestFrontAllocatesNothing(t *testing.T) {
	for name, o := range frontOrders() {
		t.Run(name, func(t *testing.T) {
			f := &Front{}
			if o != nil {
				f.Order(*o)
			}
			wantNone(t, keepAliveBy(t, Options{Front: f}, nil))
		})
	}
}

func frontOrders() map[string]*Orders {
	return map[string]*Orders{
		"without orders": nil,
		"with a limit":   {Incarnation: "r-1", Limit: 2, MaxWait: time.Second},
		"with reports":   {Incarnation: "r-1", Limit: 2, MaxWait: time.Second, Report: true, Warm: 0.5, Born: time.Now()},
	}
}

func BenchmarkFront(b *testing.B) {
	for name, o := range frontOrders() {
		b.Run(name, func(b *testing.B) {
			f := &Front{}
			if o != nil {
				f.Order(*o)
			}
			once := keepAliveBy(b, Options{Front: f}, nil)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// What a front itself costs of a request, from its coming to its end.
func BenchmarkFrontAlone(b *testing.B) {
	for name, o := range frontOrders() {
		b.Run(name, func(b *testing.B) {
			f := &Front{}
			x := newExchange(New(Options{Front: f}))
			x.c = &Conn{p: New(Options{Front: f})}
			if o != nil {
				f.Order(*o)
			}
			x.pool = &Pool{Service: &Service{Service: &fleet.Service{}}}
			x.start, x.sentAt = time.Now(), time.Now()
			x.req.Fields = []http1.Field{{Name: []byte("User-Agent"), Value: []byte("test")}, {Name: []byte("Accept"), Value: []byte("*/*")}}
			var edit http1.Edit
			ended := outcome{verdict: whole}
			b.ReportAllocs()
			for b.Loop() {
				x.stay = stay{}
				if err := f.enter(b.Context(), x); err != nil {
					b.Fatal(err)
				}
				edit.Set, edit.Add = edit.Set[:0], edit.Add[:0]
				f.mark(x, &edit)
				f.leave(x, &ended, x.start)
			}
		})
	}
}
