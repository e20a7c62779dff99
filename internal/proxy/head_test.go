package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, b)
}

func TestARequestGoesThrough(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	c.say("GET /a?b HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "GET /a?b ")
	c.say("POST /c HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello")
	c.wantAnswer("POST", 200, "POST /c hello")
	c.say("POST /d HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	c.wantAnswer("POST", 200, "POST /d hello")
	w.wantConserved()
}

func TestHeads(t *testing.T) {
	heads := make(chan []string, 1)
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			heads <- head
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Own: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Crossfade-Endpoint: 10.0.0.7\r\n\r\n")
		}
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n" +
		"Via: 1.0 before\r\nConnection: X-Drop\r\nX-Drop: 1\r\nX-Crossfade-Endpoint: ?\r\n\r\n")
	resp := c.wantAnswer("GET", 200, "")
	head := strings.Join(<-heads, "\n") + "\n"
	for _, want := range []string{
		"GET / HTTP/1.1\nHost: app\n",
		"X-Forwarded-For: 1.2.3.4, 127.0.0.1\n",
		"X-Forwarded-Proto: http\n",
		"Via: 1.0 before, 1.1 crossfade\n",
		"X-Request-Id: ",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("got %q, want %q in it", head, want)
		}
	}
	for _, unwanted := range []string{"X-Drop", "Crossfade-Endpoint", "Connection"} {
		if strings.Contains(head, unwanted) {
			t.Errorf("got %q, want no %s in it", head, unwanted)
		}
	}
	if got := resp.Header.Get("X-Crossfade-Endpoint"); got != "app-0" {
		t.Errorf("got the endpoint %q, want app-0", got)
	}
	if resp.Header.Get("X-Own") != "1" || resp.Header.Get("X-Hop") != "" {
		t.Errorf("got %v, want X-Own and no X-Hop", resp.Header)
	}

	c.say("GET / HTTP/1.1\r\nHost: app\r\nX-Request-Id: mine\r\n\r\n")
	resp = c.wantAnswer("GET", 200, "")
	if head := strings.Join(<-heads, "\n"); strings.Count(head, "X-Request-Id") != 1 || !strings.Contains(head, "X-Request-Id: mine") {
		t.Errorf("got %q, want the client's own request id", head)
	}
	if got := resp.Header.Get("X-Crossfade-Endpoint"); got != "" {
		t.Errorf("got the endpoint %q unasked", got)
	}
}

// Between services, requests come in absolute form and have passed a gateway of ours before.
func TestMeshHeads(t *testing.T) {
	heads := make(chan []string, 1)
	w := newWorld(t, Options{Reveal: RevealAlways}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, _ := readHead(r)
		heads <- head
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Crossfade-Endpoint: inner\r\n\r\n")
	}))
	v := w.view(w.p.State().services[0].Endpoints[0].Address.String())
	v.Listeners[0].Mesh = true
	w.apply(v)
	c := w.dial()
	c.say("GET http://reviews:9080/r?x=1 HTTP/1.1\r\nHost: ignored\r\nX-Forwarded-Proto: https\r\n\r\n")
	if got := c.wantAnswer("GET", 200, "").Header.Values("X-Crossfade-Endpoint"); len(got) != 1 || got[0] != "app-0" {
		t.Errorf("got the endpoints %q, want ours only", got)
	}
	head := strings.Join(<-heads, "\n")
	if !strings.HasPrefix(head, "GET /r?x=1 HTTP/1.1\nHost: reviews:9080\n") || !strings.Contains(head, "X-Forwarded-Proto: https") {
		t.Errorf("got %q, want the origin form, the target's host, and what the gateway before said", head)
	}
}

func TestRequestIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[[36]byte]bool{}
	for range 1000 {
		var id [36]byte
		newID(&id)
		if !form.Match(id[:]) || seen[id] {
			t.Fatalf("got %s, want a new UUID of version 4", id)
		}
		seen[id] = true
	}
}

func TestHexOf(t *testing.T) {
	for _, n := range []uint32{0, 0x01234567, 0x89abcdef, 0x9a9a0f0f, 1<<32 - 1} {
		if got, want := binary.BigEndian.AppendUint64(nil, hexOf(n)), fmt.Sprintf("%08x", n); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The access log tells of failures only, unless it is asked for everything.
func TestAccessLog(t *testing.T) {
	for _, everything := range []bool{false, true} {
		r, log := io.Pipe()
		w := newWorld(t, Options{AccessLog: everything, Log: slog.New(slog.NewJSONHandler(log, nil))}, handle(t, echo))
		t.Cleanup(func() { _ = log.Close(); _, _ = io.Copy(io.Discard, r) })
		lines := bufio.NewReader(r)
		c := w.dial()
		c.say("GET /fine HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET /fine ")
		c.say("GET /nowhere HTTP/1.1\r\nHost: app\r\nX-Request-Id: mine\r\n\r\n")
		if resp, _ := c.answer("GET"); resp.StatusCode != 503 {
			t.Fatalf("got %d, want 503", resp.StatusCode)
		}
		type line struct {
			Level, Listener, Method, Path, Service, Endpoint, End, Reason string
			RequestID                                                     string `json:"request_id"`
			Status                                                        int
		}
		next := func() (l line) {
			b, err := lines.ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(b, &l)
			}
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if everything {
			got := next()
			got.RequestID = ""
			if want := (line{Level: "INFO", Listener: "test", Method: "GET", Path: "/fine", Service: "app:80", Endpoint: "app-0", End: "answered", Status: 200}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		want := line{
			Level: "WARN", Listener: "test", Method: "GET", Path: "/nowhere", RequestID: "mine", End: "answered",
			Reason: "the route leads to a service that does not exist", Status: 503,
		}
		if got := next(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// A log that does not keep up costs lines, not requests.
func TestASlowLogIsNotWaitedFor(t *testing.T) {
	j := newJournal()
	for range 2 * cap(j.records) {
		j.put(record{})
	}
	if got, want := j.dropped.Load(), uint64(cap(j.records)); got != want {
		t.Errorf("got %d dropped, want %d", got, want)
	}
	j.flush(context.Background(), slog.New(slog.DiscardHandler))
	if got := j.dropped.Load(); got != 0 {
		t.Errorf("got %d still to be reported, want 0", got)
	}
}
