package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/upstream"
)

// upgraded opens a tunnel to an endpoint that plays scene in it.
func upgraded(t *testing.T, scene func(c *net.TCPConn, r *bufio.Reader)) (*world, *client) {
	t.Helper()
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, _ := readHead(r)
		if all := strings.Join(head, "\n"); !strings.Contains(all, "Upgrade: websocket") || !strings.Contains(all, "Sec-WebSocket-Key: k") {
			t.Errorf("got %q, want the upgrade passed on", all)
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		scene(c, r)
	}))
	c := w.dial()
	c.say("GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly")
	head, err := readHead(c.r)
	if err != nil || head[0] != "HTTP/1.1 101 Switching Protocols" {
		t.Fatalf("got %q, %v, want 101", head, err)
	}
	c.want("hello")
	return w, c
}

// want reads exactly these bytes.
func (c *client) want(s string) {
	c.t.Helper()
	got := make([]byte, len(s))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != s {
		c.t.Fatalf("got %q, %v, want %q", got, err, s)
	}
}

func TestTunnelEchoes(t *testing.T) {
	w, c := upgraded(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = io.Copy(c, r)
		fmt.Fprint(c, "bye")
	})
	c.want("early")
	for i := range 100 {
		c.say("frame %d\n", i)
		c.want(fmt.Sprintf("frame %d\n", i))
	}
	if n := w.listener().Traffic.Requests.Active.Load(); n != 1 {
		t.Errorf("got %d requests open, want the tunnel", n)
	}
	if open := w.p.State().Open(); open["app-0"] != 1 {
		t.Errorf("got %v open, want the tunnel", open)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	go func() {
		_, _ = io.WriteString(c, big)
		_ = c.CloseWrite() // the endpoint goes on talking
	}()
	c.want(big)
	c.want("bye")
	c.wantEnd()
	w.wantConserved()
	w.listener().Traffic.Requests.Codes(func(status int, n uint64) {
		if status != 101 || n != 1 {
			t.Errorf("got %d answers with %d, want one 101", n, status)
		}
	})
}

func TestTunnelEndpointEndsFirst(t *testing.T) {
	heard := make(chan string, 1)
	w, c := upgraded(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.CloseWrite()
		b, _ := io.ReadAll(r)
		heard <- string(b)
	})
	c.wantEnd()
	c.say(" and late")
	_ = c.CloseWrite()
	if got := <-heard; got != "early and late" {
		t.Errorf("the endpoint heard %q, want all of it", got)
	}
	w.wantConserved()
}

func TestUpgradeTurnedDown(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dial()
	for range 2 {
		c.say("GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		c.wantAnswer("GET", 200, "GET /chat ")
	}
	w.wantConserved()
}

// A request with a body is not worth the hop: it is served as it is.
func TestH2CIsNotPassedOn(t *testing.T) {
	heads := make(chan []string, 1)
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, _ := readHead(r)
		heads <- head
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	c := w.dial()
	c.say("POST / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 1\r\n\r\n.")
	c.wantAnswer("POST", 200, "")
	if all := strings.Join(<-heads, "\n"); strings.Contains(all, "pgrade") || strings.Contains(all, "Settings") {
		t.Errorf("got %q, want no upgrade in it", all)
	}
}

// A switch to another protocol than the client asked for is no answer to it.
func TestAnotherProtocolIsNotPassedOn(t *testing.T) {
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
	}))
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 502 {
		t.Errorf("got %d %q, want 502", resp.StatusCode, body)
	}
	w.wantConserved()
}

// The side that panics takes the connection down; the other one ends with it and leaves nothing behind.
func TestATunnelThatPanicsEndsBothSides(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, a2 := net.Pipe()
			b, b2 := net.Pipe()
			var buffers upstream.Buffers
			sides := []side{{a, buffers.Get()}, {b, buffers.Get()}}
			if first {
				sides[0].Conn = panicker{a}
			} else {
				sides[1].Conn = panicker{b}
			}
			for _, c := range []net.Conn{a2, b2} {
				go func() { _, _ = io.Copy(io.Discard, c) }()
			}
			tunnel := tunnel{idle: time.Hour, stall: time.Minute}
			func() {
				defer func() {
					if v := recover(); v != "read" {
						t.Errorf("got panic %v, want that of Read", v)
					}
				}()
				tunnel.run(sides[0], sides[1])
			}()
			// The bubble fails when a goroutine is left in it.
		})
	}
}

// A panicker panics when it is read from.
type panicker struct{ net.Conn }

func (panicker) Read([]byte) (int, error) { panic("read") }
