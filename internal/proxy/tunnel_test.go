package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
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

func TestH2CIsNotPassedOn(t *testing.T) {
	heads := make(chan []string, 1)
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		head, _ := readHead(r)
		heads <- head
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
	c.wantAnswer("GET", 200, "")
	if all := strings.Join(<-heads, "\n"); strings.Contains(all, "pgrade") || strings.Contains(all, "Settings") {
		t.Errorf("got %q, want no upgrade in it", all)
	}
}
