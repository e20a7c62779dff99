//go:build linux

package wire

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newLoop returns a loop with n endpoints on free ports.
func newLoop(t *testing.T, n int) (*Loop, []int) {
	t.Helper()
	l, err := New(make([]int, n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	ports := make([]int, n)
	for i := range ports {
		if ports[i], err = l.Port(i); err != nil {
			t.Fatal(err)
		}
	}
	return l, ports
}

// serve starts a server that answers every request with this status and body.
func serve(t *testing.T, secure bool, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	if secure {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func portOf(t *testing.T, s *httptest.Server) int {
	t.Helper()
	at, ok := s.Listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("%v is no TCP address", s.Listener.Addr())
	}
	return at.Port
}

func get(size int, more string) []byte {
	return fmt.Appendf(nil, "GET /b/%d HTTP/1.1\r\nHost: x\r\n%s\r\n", size, more)
}

// shortly is work of a fraction of a second.
func shortly(port, size int, requests ...[]byte) Work {
	return Work{
		Port: port, Size: size, Conns: 4, Requests: requests,
		Warm: 10 * time.Millisecond, Measure: 50 * time.Millisecond, PIDs: []int{os.Getpid()},
	}
}

// do does the work for as long as it takes until something was answered within the time that is measured: the machine may
// have others to serve.
func do(l *Loop, w Work) (result Result, err error) {
	for range 10 {
		clear(l.Served)
		if result, err = l.Do(w); err != nil || result.Requests > 0 {
			break
		}
		w.Measure *= 2
	}
	return result, err
}

// Clients may talk to endpoints without anything in between: what was asked is what was served.
func TestClientsAndEndpoints(t *testing.T) {
	l, ports := newLoop(t, 2)
	for name, w := range map[string]Work{
		"keep-alive":            shortly(ports[1], 200, get(200, "")),
		"1 MB":                  shortly(ports[1], 1<<20, get(1<<20, "")),
		"no body":               shortly(ports[1], 0, get(0, "")),
		"POST":                  shortly(ports[1], 10, []byte("POST /b/10 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")),
		"a connection each":     {Port: ports[1], Size: 9, Conns: 4, Anew: true, Measure: 50 * time.Millisecond, Requests: [][]byte{get(9, "Connection: close\r\n")}},
		"two requests in turns": shortly(ports[1], 7, get(7, ""), get(7, "A: b\r\n")),
	} {
		result, err := do(l, w)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if result.Requests == 0 || result.Wall < w.Measure || result.Load <= 0 {
			t.Errorf("%s: %d requests in %v, load %v", name, result.Requests, result.Wall, result.Load)
		}
		if l.Served[0] != 0 || l.Served[1] < result.Requests {
			t.Errorf("%s: endpoints served %v, clients had %d answers from the second", name, l.Served, result.Requests)
		}
	}
}

func TestThroughAProxy(t *testing.T) {
	l, ports := newLoop(t, 1)
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports[0])}))
	defer proxy.Close()
	result, err := do(l, shortly(portOf(t, proxy), 200, get(200, "")))
	if err != nil {
		t.Fatal(err)
	}
	if result.Requests == 0 || result.Proxy.Total <= 0 {
		t.Errorf("%d requests took %v of the process", result.Requests, result.Proxy.Total)
	}
}

func TestTLSRecords(t *testing.T) {
	l, _ := newLoop(t, 0)
	s := serve(t, true, http.StatusOK, strings.Repeat("x", 40_000)) // three records
	w := shortly(portOf(t, s), 40_000, get(40_000, ""))
	w.TLS = &TLS{Config: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}}
	result, err := do(l, w)
	if err != nil {
		t.Fatal(err)
	}
	if result.Requests == 0 || !strings.HasPrefix(w.TLS.Suite, "TLS_AES_") {
		t.Errorf("%d requests with %q", result.Requests, w.TLS.Suite)
	}
}

func TestWrongAnswersEndTheWork(t *testing.T) {
	l, ports := newLoop(t, 1)
	for name, w := range map[string]Work{
		"status": shortly(portOf(t, serve(t, false, http.StatusServiceUnavailable, "12345")), 5, get(5, "")),
		"length": shortly(ports[0], 6, get(5, "")),
		"closed": shortly(ports[0], 5, get(5, "Connection: close\r\n")),
		"nobody": shortly(1, 5, get(5, "")),
	} {
		if _, err := do(l, w); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := do(l, shortly(ports[0], 5, get(5, ""))); err != nil {
		t.Errorf("after errors, right work: %v", err)
	}
}

// With a rate, every request that falls due is sent or counted as late, and every answer has a latency.
func TestRate(t *testing.T) {
	l, ports := newLoop(t, 1)
	w := shortly(ports[0], 5, get(5, ""))
	w.Rate, w.Warm, w.Measure = 2000, 0, 200*time.Millisecond
	result, err := l.Do(w)
	if err != nil {
		t.Fatal(err)
	}
	const due = 400
	if got := result.Requests + result.Late; got > due || got < due-w.Conns {
		t.Errorf("%d answers and %d late at 2000/s in 200 ms, want %d but for what is out", result.Requests, result.Late, due)
	}
	if len(result.Latencies) != result.Requests {
		t.Errorf("%d latencies of %d answers", len(result.Latencies), result.Requests)
	}
	for _, d := range result.Latencies {
		if d <= 0 {
			t.Fatalf("a latency of %d ns", d)
		}
	}
}

func TestHold(t *testing.T) {
	l, ports := newLoop(t, 1)
	open := 0
	err := l.Hold(shortly(ports[0], 5, get(5, "")), 50, 10*time.Millisecond, func() error {
		for _, c := range l.conns {
			if c != nil && c.role == client {
				open++
			}
		}
		return nil
	})
	if err != nil || open != 50 || l.Served[0] != 50 {
		t.Errorf("%d connections were open and %d requests served (%v), want 50 and 50", open, l.Served[0], err)
	}
}

func TestRelayMovesEverything(t *testing.T) {
	l, ports := newLoop(t, 1)
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, _ := free.Addr().(*net.TCPAddr)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	go func() { t.Error(Relay(at.Port, ports[0])) }() // until the test's process ends
	for !listens(at.Port) {
		runtime.Gosched()
	}
	for _, size := range []int{0, 200, 4 << 20} { // 4 MB do not fit into the buffers of sockets
		if _, err := do(l, shortly(at.Port, size, get(size, ""))); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func listens(port int) bool {
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
