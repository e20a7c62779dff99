package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Own: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n")
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
