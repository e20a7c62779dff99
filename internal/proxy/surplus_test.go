package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// What an endpoint says after its answer is nobody's answer: a body behind the head that answers HEAD, or behind one
// that says that there is none, must not reach the next client.
func TestSurplusIsNobodysAnswer(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for method, head := range map[string]string{
		"HEAD": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(evil)),
		"PUT":  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"POST": "HTTP/1.1 204 No Content\r\n\r\n",
	} {
		answered, said := make(chan bool), make(chan bool)
		w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
			for {
				lines, err := readHead(r)
				if err != nil {
					return
				}
				if strings.HasPrefix(lines[0], method) {
					fmt.Fprint(c, head)
					<-answered
					fmt.Fprint(c, evil)
					said <- true
					continue
				}
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}))
		for range 20 {
			first, next := w.dial(), w.dial()
			first.say("%s / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n", method)
			first.answer(method)
			answered <- true
			<-said
			next.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
			if _, body := next.answer("GET"); body != "ok" {
				t.Errorf("after %s: got %q, which was meant for nobody", method, body)
			}
			_, _ = first.Close(), next.Close()
		}
	}
}

// A head that comes slowly is no measure of how long a connection has been idle: what was said on it meanwhile is
// noticed.
func TestSlowHeadFindsTheConnectionGone(t *testing.T) {
	used, said := make(chan bool), make(chan bool)
	w := newWorld(t, Options{}, script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if n == 0 {
			<-used
			fmt.Fprint(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			said <- true
			_, _ = readHead(r)
		}
	}))
	slow, other := w.dial(), w.dial()
	slow.say("GET / HTTP/1.1\r\nHo")
	other.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	other.wantAnswer("GET", 200, "ok")
	used <- true
	<-said
	slow.say("st: app\r\n\r\n")
	slow.wantAnswer("GET", 200, "ok")
}

// A client that has asked for the end may still send something: its answer is not lost to a reset.
func TestLastAnswerIsNotReset(t *testing.T) {
	const size = 3 << 20
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("y", size))
		}
	}))
	for range 5 {
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		c.say("\r\n")
		if b, err := io.ReadAll(c.r); err != nil || len(b) < size {
			t.Errorf("got %d bytes, %v; want all of %d", len(b), err, size)
		}
		_ = c.Close()
	}
}
