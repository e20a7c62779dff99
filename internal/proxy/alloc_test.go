package proxy

import (
	"bufio"
	"bytes"
	"net"
	"testing"
)

// A keep-alive GET goes through without an allocation of ours. Client and endpoint are in the same process, so
// neither may allocate either.
func TestGetAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	once := keepAlive(t)
	for range 100 {
		once()
	}
	if got := testing.AllocsPerRun(2000, once); got != 0 {
		t.Errorf("got %v allocations per request, want 0", got)
	}
}

func BenchmarkGet(b *testing.B) {
	once := keepAlive(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// keepAlive returns a function that sends one request over a connection that stays and reads its answer.
func keepAlive(t testing.TB) func() {
	t.Helper()
	body := bytes.Repeat([]byte{'x'}, 200)
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n"), body...)
	addr := script(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) {
		b := make([]byte, 4096)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	request := []byte("GET /index.html HTTP/1.1\r\nHost: app\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
	got := make([]byte, 4096)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(got[:n], body); {
			m, err := c.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
	}
}
