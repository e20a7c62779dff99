package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// work is what the data plane is measured by: one request and its answer.
type work struct {
	name     string
	request  string
	up, down int // bytes of the bodies
}

func works() []work {
	const head = "Host: app\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
	return []work{
		{"get 200 B", "GET /b/200 HTTP/1.1\r\n" + head + "\r\n", 0, 200},
		{"get 10 KB", "GET /b/10240 HTTP/1.1\r\n" + head + "\r\n", 0, 10 << 10},
		{"post 1 KB", "POST /b/200 HTTP/1.1\r\n" + head + "Content-Length: 1024\r\n\r\n" + strings.Repeat("x", 1<<10), 1 << 10, 200},
	}
}

// engine returns a function that opens a connection to a proxy, and returns one that carries k over it once. Client and
// endpoint are in this process and allocate nothing.
func engine(t testing.TB, o Options, k work) (open func() (once func())) {
	t.Helper()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", k.down, strings.Repeat("y", k.down))
	end := []byte("\r\n\r\n")
	w := newWorld(t, o, script(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) {
		b := make([]byte, 16<<10)
		for {
			for n, whole := 0, false; !whole; {
				m, err := c.Read(b[n:])
				if err != nil {
					return
				}
				n += m
				at := bytes.Index(b[:n], end)
				whole = at >= 0 && n >= at+len(end)+k.up
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}))
	return func() func() {
		c := w.dial()
		request, got := []byte(k.request), make([]byte, 16<<10)
		return func() {
			if _, err := c.Write(request); err != nil {
				t.Error(err)
			}
			for n, whole := 0, false; !whole; {
				m, err := c.Read(got[n:])
				if err != nil {
					t.Error(err)
					return
				}
				n += m
				at := bytes.Index(got[:n], end)
				whole = at >= 0 && n >= at+len(end)+k.down
			}
		}
	}
}

// A request over a connection that stays costs no memory, in either engine, however its body goes.
func TestKeepAliveAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, k := range works() {
		t.Run(k.name, func(t *testing.T) {
			once := engine(t, Options{}, k)()
			for range 100 {
				once()
			}
			if got := testing.AllocsPerRun(2000, once); got != 0 {
				t.Errorf("got %v allocations per request, want 0", got)
			}
		})
	}
}

// Many connections at a time keep the processors busy, so that time is work and not waiting. The figures hold client and
// endpoint too: what counts is how the two engines compare, and how today's compare with yesterday's.
func BenchmarkKeepAlive(b *testing.B) {
	for _, k := range works() {
		for _, e := range []struct {
			name  string
			plain bool
		}{{"parked", false}, {"plain", true}} {
			b.Run(k.name+"/"+e.name, func(b *testing.B) {
				open := engine(b, Options{Plain: e.plain}, k)
				b.ReportAllocs()
				b.SetParallelism(32)
				before := processorTime(b)
				b.RunParallel(func(pb *testing.PB) {
					for once := open(); pb.Next(); {
						once()
					}
				})
				b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// processorTime is what this process has used so far. On a machine that others use too, it says more than the clock.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A connection for each request.
func BenchmarkConnection(b *testing.B) {
	for _, plain := range []bool{false, true} {
		b.Run(map[bool]string{false: "parked", true: "plain"}[plain], func(b *testing.B) {
			w := newWorld(b, Options{Plain: plain}, script(b, ok))
			request, got := []byte("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"), make([]byte, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				c, err := net.Dial("tcp", w.addr)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, got); err != io.ErrUnexpectedEOF {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}
