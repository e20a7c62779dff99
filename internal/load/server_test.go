package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A deed is what a scripted server does with one request that it has read. It returns whether the connection
// stays open for another.
type deed func(conn net.Conn) (keep bool)

// answering writes bytes as they are and keeps the connection.
func answering(text string) deed {
	return func(conn net.Conn) bool {
		_, err := io.WriteString(conn, text)
		return err == nil
	}
}

// cutting writes bytes and closes the connection.
func cutting(text string) deed {
	return func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, text)
		return false
	}
}

// resetting writes bytes and resets the connection.
func resetting(text string) deed {
	return func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).SetLinger(0)
		return false
	}
}

// hanging says nothing until the client leaves.
func hanging(conn net.Conn) bool {
	_, _ = conn.Read(make([]byte, 1))
	return false
}

const (
	okAnswer    = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Crossfade-Endpoint: one\r\n\r\nok"
	errorAnswer = "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsick\r\n0\r\n\r\n"
)

// serveConn reads requests and does what script says with each, until a deed ends the connection.
func serveConn(conn net.Conn, script func() deed) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if !script()(conn) {
			return
		}
	}
}

// inTurn returns a script that does each deed once, and the last one for ever.
func inTurn(deeds ...deed) func() deed {
	var n atomic.Int64
	return func() deed { return deeds[min(int(n.Add(1)), len(deeds))-1] }
}

// listen runs a scripted server on loopback until the test ends, and returns its URL.
func listen(t *testing.T, script func() deed) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveConn(conn, script) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return "http://" + listener.Addr().String() + "/"
}

// inBubble makes a plan run on virtual time: connections are pipes to the script, pauses are timers.
func inBubble(plan Plan, script func() deed) Plan {
	plan.URLs = []string{"http://127.0.0.1/"}
	plan.dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		client, server := net.Pipe()
		go serveConn(server, script)
		return client, nil
	}
	plan.pause = func(ctx context.Context, d time.Duration) bool {
		if d > 0 {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		return ctx.Err() == nil
	}
	return plan
}
