//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestWebSocketsDirectly shows that the suite passes where nothing stands between client and endpoint.
func TestWebSocketsDirectly(t *testing.T) {
	muster(t)
	for _, w := range []*way{
		{name: "HTTP1", to: socketsOne, half: true},
		{name: "HTTP2", to: socketsTwo, two: true},
	} {
		t.Run(w.name, w.suite)
	}
}

// muster starts the endpoints.
func muster(t *testing.T) {
	t.Helper()
	t.Setenv("GODEBUG", "http2xconnect=1") // has Go serve RFC 8441
	if tally := send(t, order{Kind: "sockets"}).next(t); len(tally) > 0 {
		t.Fatalf("the endpoints: %v", tally)
	}
}

// suite is what of RFC 6455 a proxy could break.
func (w *way) suite(t *testing.T) {
	if w.two {
		w.over(t)
	}
	var idle []*websocket
	for i := range 20 {
		s := w.open(t, "/echo", fmt.Sprint("idle", i))
		idle = append(idle, s)
	}
	t.Run("sizes", w.sizes)
	t.Run("fragments", w.fragments)
	t.Run("chopped", w.chopped)
	t.Run("pings", w.pings)
	t.Run("first word", w.firstWord)
	t.Run("close codes", w.closeCodes)
	t.Run("closed by the endpoint", w.closedByEndpoint)
	t.Run("violations", w.violations)
	t.Run("half closed", w.halfClosed)
	t.Run("half closed by the endpoint", w.halfClosedByEndpoint)
	t.Run("cut by the client", w.cutByClient)
	t.Run("cut by the endpoint", w.cutByEndpoint)
	t.Run("refused", w.refused)
	t.Run("many", w.many)
	t.Run("both ways at once", w.bothWays)
	t.Run("after a pause", func(t *testing.T) {
		for _, s := range idle {
			s.echoes(t, opText, []byte("still here"))
		}
	})
}

// id is one of a WebSocket, for the ledger.
func (w *way) id(t *testing.T) string {
	t.Helper()
	return strconv.FormatUint(rand.Uint64(), 16)
}

// wantEnd waits until the endpoint has noted how a WebSocket ended, and looks at it.
func wantEnd(t *testing.T, id string, right func(end string) bool) {
	t.Helper()
	end := ""
	eventually(t, soon, func() string {
		if end = ask(t, http.MethodGet, "http://"+socketsLedger+"/"+id); end == "" {
			return "the endpoint's word on how it ended"
		}
		return ""
	})
	if !right(end) {
		t.Errorf("at the endpoint it ended with: %s", end)
	}
}

func exactly(want string) func(string) bool { return func(end string) bool { return end == want } }

// want hears one frame, which must be a certain one.
func (s *websocket) want(t *testing.T, want frame) {
	t.Helper()
	got, err := s.hear()
	if err != nil || got.final != want.final || got.op != want.op || !bytes.Equal(got.payload, want.payload) {
		t.Fatalf("heard %v (%v), want %v", got, err, want)
	}
}

// wantOver hears the end after which nothing comes.
func (s *websocket) wantOver(t *testing.T) {
	t.Helper()
	if f, err := s.hear(); err == nil {
		t.Errorf("after the end heard %v", f)
	}
}

// echoes says a message in one frame and hears it.
func (s *websocket) echoes(t *testing.T, op byte, payload []byte) {
	t.Helper()
	if err := s.say(op, true, payload); err != nil {
		t.Fatalf("saying %d bytes: %v", len(payload), err)
	}
	s.want(t, frame{true, op, payload})
}

// anything is so many bytes: UTF-8 where op is text, else of all values.
func anything(op byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
		if op == opText {
			b[i] = 'a' + b[i]%26
		}
	}
	if op == opText && n >= 4 {
		copy(b[n-4:], "\U0001f600")
	}
	return b
}

func (w *way) sizes(t *testing.T) {
	s := w.open(t, "/echo", w.id(t))
	sizes := []int{0, 1, 125, 126, 127, 128, 4096, 65535, 65536, 1 << 20}
	if full() {
		sizes = append(sizes, 64<<20)
	}
	for _, n := range sizes {
		for _, op := range []byte{opText, opBinary} {
			s.echoes(t, op, anything(op, n))
		}
	}
}

func (w *way) fragments(t *testing.T) {
	s := w.open(t, "/echo", w.id(t))
	for _, size := range []int{0, 1, 125, 70_000} {
		for _, op := range []byte{opText, opBinary} {
			said := []frame{
				{false, op, anything(op, size)},
				{true, opPing, []byte("between")},
				{false, opMore, anything(op, size)},
				{false, opMore, nil},
				{true, opMore, anything(op, size)},
			}
			var all []byte
			for _, f := range said {
				all = append(all, s.encode(f)...)
			}
			if _, err := s.Write(all); err != nil {
				t.Fatal(err)
			}
			for _, f := range said {
				if f.op == opPing {
					f.op = opPong
				}
				s.want(t, f)
			}
		}
	}
}

// chopped sends each byte by itself, and letters in halves.
func (w *way) chopped(t *testing.T) {
	s := w.open(t, "/echo", w.id(t))
	for _, payload := range []string{"", "κόσμε", strings.Repeat("x", 130)} {
		for _, b := range s.encode(frame{true, opText, []byte(payload)}) {
			if _, err := s.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		s.want(t, frame{true, opText, []byte(payload)})
	}
	const letter = "\U0001f600"
	for _, f := range []frame{{false, opText, []byte(letter[:1])}, {false, opMore, []byte(letter[1:3])}, {true, opMore, []byte(letter[3:])}} {
		if err := s.say(f.op, f.final, f.payload); err != nil {
			t.Fatal(err)
		}
		s.want(t, f)
	}
}

func (w *way) pings(t *testing.T) {
	s := w.open(t, "/echo", w.id(t))
	for _, payload := range [][]byte{nil, []byte("ping"), anything(opBinary, 125)} {
		if err := s.say(opPing, true, payload); err != nil {
			t.Fatal(err)
		}
		s.want(t, frame{true, opPong, payload})
	}
	if err := s.say(opPong, true, []byte("unasked")); err != nil {
		t.Fatal(err)
	}
	s.echoes(t, opText, []byte("a pong has no answer"))
}

// firstWord is what the endpoint says in one write with its consent.
func (w *way) firstWord(t *testing.T) {
	s := w.open(t, "/first", w.id(t))
	s.want(t, frame{true, opText, []byte("welcome")})
	s.echoes(t, opBinary, anything(opBinary, 300))
}

func (w *way) refused(t *testing.T) {
	s, answer := w.knock(t, "/reject", w.id(t))
	if s != nil {
		t.Fatal("let in")
	}
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusForbidden || string(body) != "who are you?" || err != nil || answer.Header.Get("X-Because") != "no invitation" {
		t.Errorf("got %s, %q, %v, %v; want the endpoint's 403", answer.Status, body, err, answer.Header)
	}
	s = w.open(t, "/echo", w.id(t))
	s.echoes(t, opText, []byte("an invitation"))
}

// many talk at once; over HTTP/2 on one connection.
func (w *way) many(t *testing.T) {
	const sockets, messages = 80, 25
	all := make([]*websocket, sockets)
	for i := range all {
		all[i] = w.open(t, "/echo", w.id(t))
	}
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			for m := range messages {
				said := fmt.Appendf(nil, "%d says %d%s", i, m, strings.Repeat(".", 50*m))
				if err := s.say(opText, true, said); err != nil {
					t.Errorf("%d: message %d: %v", i, m, err)
					return
				}
				if f, err := s.hear(); err != nil || !bytes.Equal(f.payload, said) {
					t.Errorf("%d: message %d: heard %v, %v", i, m, f, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// bothWays says much without listening, while much comes back: neither may wait for the other.
func (w *way) bothWays(t *testing.T) {
	const frames = 64
	s := w.open(t, "/echo", w.id(t))
	part := anything(opBinary, 64<<10)
	said := make(chan error, 1)
	go func() {
		for range frames {
			if err := s.say(opBinary, true, part); err != nil {
				said <- err
				return
			}
		}
		said <- nil
	}()
	for range frames {
		s.want(t, frame{true, opBinary, part})
	}
	if err := <-said; err != nil {
		t.Fatal(err)
	}
}

// TestWebSockets has the suite through the gateway: in the clear and over TLS, from and to either version of HTTP.
func TestWebSockets(t *testing.T) {
	_, trusted, _ := launchHTTP2(t, muster)
	for _, from := range []*way{
		{name: "HTTP1", to: ingress},
		{name: "HTTP1 over TLS", to: secureIngress, tls: trusted},
		{name: "HTTP2", to: ingress, two: true},
		{name: "HTTP2 over TLS", to: secureIngress, tls: trusted, two: true},
	} {
		for prefix, to := range map[string]string{"/one": "HTTP1", "/two": "HTTP2"} {
			w := *from
			w.name, w.prefix, w.half = from.name+" to "+to, prefix, to == "HTTP1"
			t.Run(w.name, w.suite)
		}
	}
}
