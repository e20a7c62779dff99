package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A parcel is one request and the answer it asks for.
type parcel struct {
	method           string
	up, down         int // bytes of the two bodies
	upKind, downKind string
	seed             uint64
}

// drawParcel draws sizes evenly on a logarithmic scale up to 64 KB, and up to 10 MB for one in forty.
func drawParcel(r *rand.Rand) parcel {
	size := func() int {
		switch r.IntN(40) {
		case 0:
			return int(math.Exp(r.Float64() * math.Log(10<<20)))
		case 1, 2, 3:
			return 0
		default:
			return int(math.Exp(r.Float64() * math.Log(64<<10)))
		}
	}
	p := parcel{method: "POST", seed: r.Uint64(), up: size(), down: size()}
	p.upKind = []string{"length", "chunked", "expect"}[r.IntN(3)]
	p.downKind = []string{"length", "chunked", "close", "until-close", "204", "304"}[r.IntN(6)]
	switch r.IntN(8) {
	case 0:
		p.method = "HEAD"
	case 1:
		p.method = "PUT"
	case 2, 3:
		p.method = "GET"
	}
	if p.method == "GET" || p.method == "HEAD" {
		p.up = 0
	}
	if p.downKind == "204" || p.downKind == "304" {
		p.down = 0
	}
	return p
}

// content returns n bytes that only seed decides, and their hash.
func content(seed uint64, n int) ([]byte, string) {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b, hash(b)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sorter answers as the request's fields ask it to, and says what it got.
func sorter(w http.ResponseWriter, r *http.Request) {
	got, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	n, _ := strconv.Atoi(r.Header.Get("X-Down"))
	seed, _ := strconv.ParseUint(r.Header.Get("X-Seed"), 10, 64)
	b, _ := content(seed+1, n)
	w.Header().Set("X-Got", hash(got))
	w.Header().Set("Content-Type", "application/octet-stream")
	switch kind := r.Header.Get("X-Kind"); kind {
	case "204", "304":
		code, _ := strconv.Atoi(kind)
		w.WriteHeader(code)
	case "chunked":
		half := len(b) / 2
		_, _ = w.Write(b[:half])
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(b[half:])
	case "until-close":
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		if r.Method == "HEAD" { // has no body whose end the close could be: it must be told
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Got: %s\r\nConnection: close\r\n\r\n", hash(got))
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Got: %s\r\n\r\n", hash(got))
		_, _ = c.Write(b)
	case "close":
		w.Header().Set("Connection", "close")
		fallthrough
	default:
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(b)
	}
}

// send sends p and returns what is wrong with the answer, "" if nothing.
func (p parcel) send(hc *http.Client, url string) string {
	b, sum := content(p.seed, p.up)
	var up io.Reader
	if p.up > 0 || p.method == "POST" || p.method == "PUT" {
		up = bytes.NewReader(b)
		if p.upKind == "chunked" {
			up = io.MultiReader(up) // hides its length
		}
	}
	req, err := http.NewRequest(p.method, url, up)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Down", strconv.Itoa(p.down))
	req.Header.Set("X-Seed", strconv.FormatUint(p.seed, 10))
	req.Header.Set("X-Kind", p.downKind)
	req.Close = p.seed%16 == 0
	if p.upKind == "expect" && p.up > 0 {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := hc.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Sprintf("after %d bytes: %v", len(got), err)
	}
	if g := resp.Header.Get("X-Got"); g != sum {
		return fmt.Sprintf("the endpoint got %q with status %d, want %q", g, resp.StatusCode, sum)
	}
	want, _ := content(p.seed+1, p.down)
	if p.method == "HEAD" {
		want = nil
	}
	if !bytes.Equal(got, want) {
		return fmt.Sprintf("got %d bytes with another hash, want %d", len(got), len(want))
	}
	return ""
}

// TestThreeThousandBodies sends bodies of every kind and size through, hashes them at both ends, and counts
// what is left of goroutines and descriptors afterwards.
func TestThreeThousandBodies(t *testing.T) {
	parcels, workers := 3000, 12
	if testing.Short() {
		parcels = 300
	}
	httptest.NewServer(nil).Close() // the runtime's own descriptors come with the first socket and stay
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)

	endpoints := []*httptest.Server{httptest.NewServer(http.HandlerFunc(sorter)), httptest.NewServer(http.HandlerFunc(sorter))}
	w := newWorld(t, Options{}, endpoints[0].Listener.Addr().String(), endpoints[1].Listener.Addr().String())
	transport := &http.Transport{MaxIdleConnsPerHost: workers, ExpectContinueTimeout: 5 * time.Second}
	hc := &http.Client{Transport: transport}
	var wrong atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2026, uint64(i)))
			for range parcels / workers {
				p := drawParcel(r)
				if why := p.send(hc, "http://"+w.addr+"/"); why != "" {
					t.Errorf("%+v: %s", p, why)
					if wrong.Add(1) > 5 {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	w.wantConserved()
	if got := w.listener().Traffic.Requests.Total.Load(); got != uint64(parcels) && !t.Failed() {
		t.Errorf("got %d requests, want %d", got, parcels)
	}

	transport.CloseIdleConnections()
	eventually(t, "clients' connections end", func() bool { return w.listener().Traffic.ActiveConnects.Load() == 0 })
	w.p.Close()
	for _, s := range endpoints {
		s.Close()
	}
	for _, e := range w.p.State().services[0].Endpoints {
		if n := e.Traffic.ActiveConnects.Load(); n != 0 {
			t.Errorf("%s: got %d connections left, want 0", e.Name, n)
		}
	}
	// The world still has its listener, its accept loop and its run loop.
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	eventually(t, "descriptors are closed", func() bool { return openDescriptors(t) <= descriptors+1 })
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// A 10 MB answer to a client that does not read must stop at the endpoint, not pile up in between.
func TestBackPressure(t *testing.T) {
	const size = 64 << 20
	sent := make(chan int, 1)
	stalled := make(chan struct{})
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_ = c.SetWriteBuffer(64 << 10)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		piece, n := make([]byte, 64<<10), 0
		for n < size {
			_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			m, err := c.Write(piece)
			n += m
			if err != nil {
				break
			}
		}
		sent <- n
		<-stalled
	})
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	_ = c.SetReadBuffer(64 << 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	n := <-sent
	runtime.ReadMemStats(&after)
	if n >= size {
		t.Errorf("the endpoint could send all %d bytes, want it to be held up", n)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("got %d bytes more on the heap while the client slept, want no more than a few buffers", grown)
	}
	close(stalled)
}
