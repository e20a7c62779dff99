//go:build integration

package e2e

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A relay passes TCP connections on to addresses in turn: what is said arrives as much later as it is told, a FIN as a
// FIN, a reset as a reset. A connection that nobody takes is reset.
type relay struct {
	late time.Duration // one way

	mu sync.Mutex
	to []string
	n  int
}

// begin starts passing on, and returns where; the test's end ends it.
func (r *relay) begin(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go r.pass(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// keep forgets every other address.
func (r *relay) keep(addresses ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = addresses
}

func (r *relay) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	return r.to[r.n%len(r.to)]
}

func (r *relay) pass(client *net.TCPConn) {
	nc, err := net.Dial("tcp", r.next())
	if err != nil {
		reset(client)
		return
	}
	server := nc.(*net.TCPConn)
	var both sync.WaitGroup
	both.Go(func() { r.oneWay(server, client) })
	both.Go(func() { r.oneWay(client, server) })
	both.Wait()
	_, _ = client.Close(), server.Close()
}

// reset ends a connection as a program does that dies.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// A saying is what was heard at once, or the end, and when it is due at the other side.
type saying struct {
	due  time.Time
	text []byte
	end  error
}

func (r *relay) oneWay(to, from *net.TCPConn) {
	under := make(chan saying, 4096) // way
	go func() {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			under <- saying{time.Now().Add(r.late), append([]byte(nil), buffer[:n]...), err}
			if err != nil {
				close(under)
				return
			}
		}
	}()
	for s := range under {
		if wait := time.Until(s.due); wait > 0 {
			<-time.After(wait)
		}
		_, err := to.Write(s.text)
		switch {
		case err != nil: // nobody hears any more: who speaks is told
			reset(from)
		case errors.Is(s.end, io.EOF):
			_ = to.CloseWrite()
		case s.end != nil:
			reset(to)
		}
	}
}
