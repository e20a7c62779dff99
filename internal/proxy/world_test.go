package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// A world is a proxy behind a real socket on loopback, with a fleet that the test makes up.
type world struct {
	t    testing.TB
	o    Options
	p    *Proxy
	door *Door
	addr string
	nl   net.Listener
	open sync.WaitGroup
	mu   sync.Mutex
	live map[*Conn]bool
	next uint64
	tls  atomic.Pointer[tls.Config] // what clients are spoken to in; nil: plaintext
	lost atomic.Int64               // what Serve returned
}

// newWorld serves one service, "app", behind the listener "test": one endpoint per address, all of them warm.
func newWorld(t testing.TB, o Options, addresses ...string) *world {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Plain = o.Plain || onlyPlain
	w := &world{t: t, o: o, p: New(o), door: NewDoor("test"), addr: nl.Addr().String(), nl: nl, live: map[*Conn]bool{}}
	w.apply(w.view(addresses...))
	ctx, cancel := context.WithCancel(context.Background())
	w.open.Go(func() { _ = w.p.Run(ctx) })
	w.open.Go(func() { w.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		w.close()
	})
	return w
}

func (w *world) accept(ctx context.Context) {
	for {
		nc, err := w.nl.Accept()
		if err != nil {
			return
		}
		if config := w.tls.Load(); config != nil {
			nc = &secured{tls.Server(nc, config), nc}
		}
		c := w.p.NewConn(nc, w.door)
		w.mu.Lock()
		w.live[c] = true
		w.mu.Unlock()
		w.open.Go(func() {
			w.lost.Add(int64(c.Serve(ctx)))
			w.mu.Lock()
			delete(w.live, c)
			w.mu.Unlock()
		})
	}
}

// close cuts what is open and waits for it. It may be called twice.
func (w *world) close() {
	_ = w.nl.Close()
	w.mu.Lock()
	for c := range w.live {
		c.Cut()
	}
	w.mu.Unlock()
	w.p.Close()
	w.open.Wait()
}

// view is a snapshot in which the addresses serve "app". An address may have a name before it: "v2=127.0.0.1:1".
func (w *world) view(addresses ...string) fleet.View {
	w.next++
	s := fleet.Service{Name: "app:80", Host: "app", Port: 80, Pools: []fleet.Pool{{}, {Subset: "odd"}}}
	for i, address := range addresses {
		name, address, named := strings.Cut(address, "=")
		if !named {
			name, address = fmt.Sprintf("app-%d", i), name
		}
		s.Endpoints = append(s.Endpoints, fleet.Endpoint{
			Name: name, Incarnation: name, Address: netip.MustParseAddrPort(address),
			Weight: 1, Stage: fleet.Serving, Age: time.Hour,
		})
		s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: i})
		if i%2 == 1 {
			s.Pools[1].Members = append(s.Pools[1].Members, fleet.Member{Endpoint: i})
		}
	}
	return fleet.View{Taken: time.Now(), Snapshot: &fleet.Snapshot{
		Number:   w.next,
		Services: []fleet.Service{s},
		Listeners: []fleet.Listener{{Name: "test", Hosts: []fleet.VirtualHost{{
			Domains: []string{"*"},
			Routes: []fleet.Route{
				{
					Matches:      []fleet.Match{{Path: fleet.StringMatch{Prefix: "/odd"}}},
					Destinations: []fleet.Destination{{Service: "app:80", Subset: "odd", Weight: 1}},
				},
				{
					Matches:      []fleet.Match{{Path: fleet.StringMatch{Prefix: "/hurry"}}},
					Destinations: []fleet.Destination{{Service: "app:80", Weight: 1}},
					Timeout:      time.Second,
				},
				{
					Matches:      []fleet.Match{{Path: fleet.StringMatch{Prefix: "/nowhere"}}},
					Destinations: []fleet.Destination{{Service: "ghost:80", Weight: 1}},
				},
				{
					Matches:      []fleet.Match{{Path: fleet.StringMatch{Prefix: "/"}}},
					Destinations: []fleet.Destination{{Service: "app:80", Weight: 1}},
				},
			},
		}}}},
	}}
}

func (w *world) apply(v fleet.View) {
	w.t.Helper()
	next, err := Compile(w.p.State(), v, nil, w.o, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.p.Swap(next)
}

// listener returns the counters of the listener "test".
func (w *world) listener() *Listener { return w.p.State().Listener("test") }

// wantConserved waits until nothing is open and checks that every request is accounted for.
func (w *world) wantConserved() {
	w.t.Helper()
	d := w.listener().Traffic
	eventually(w.t, "no request is open", func() bool { return d.Requests.Active.Load() == 0 })
	var sum uint64
	d.Requests.Codes(func(_ int, n uint64) { sum += n })
	sum += d.Aborted.Load() + d.Requests.Cut.Load()
	total := d.Requests.Total.Load()
	if sum != total {
		w.t.Errorf("got %d requests accounted for, want %d", sum, total)
	}
	if open := w.p.State().Open(); len(open) != 0 {
		w.t.Errorf("got %v open at endpoints, want none", open)
	}
	ends := d.Requests.Counts().Ends
	if n := ends.Ended(); n != total {
		w.t.Errorf("got %v: %d requests ended, want %d", ends, n, total)
	}
	for _, s := range w.p.State().services {
		for _, p := range s.Pools {
			c := p.Requests.Counts()
			if n := c.Ends.Ended(); n != c.Total {
				w.t.Errorf("%s of %q: got %v: %d ended, want the %d that were routed there", s.Name, p.Subset, c.Ends, n, c.Total)
			}
			if c.Answered() > c.Total || p != s.Pools[0] && c.Total > s.Pools[0].Requests.Total.Load() {
				w.t.Errorf("%s of %q: got %d answers of %d, want no more than the whole service has", s.Name, p.Subset, c.Answered(), c.Total)
			}
		}
	}
}

// wantEnds waits until nothing is open and checks how requests have ended at the listener.
func (w *world) wantEnds(want ending.Sums) {
	w.t.Helper()
	w.wantConserved()
	if got := w.listener().Traffic.Requests.Counts().Ends; got != want {
		w.t.Errorf("got %v, want %v", kinds(got), kinds(want))
	}
}

// kinds are sums for people.
func kinds(s ending.Sums) map[ending.Kind]uint64 {
	by := map[ending.Kind]uint64{}
	for kind, n := range s {
		if n > 0 {
			by[ending.Kind(kind)] = n
		}
	}
	return by
}

// ended are sums of one each.
func ended(all ...ending.Kind) (s ending.Sums) {
	for _, kind := range all {
		s[kind]++
	}
	return s
}

// eventually waits for what goes on in other goroutines.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	give := time.NewTimer(10 * time.Second)
	defer give.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-give.C:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%s: not within 10 s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		case <-look.C:
		}
	}
}

// handle starts an endpoint on net/http and returns its address.
func handle(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// script starts an endpoint that plays a scene on each connection and then closes it; n counts connections.
func script(t testing.TB, scene func(n int, c *net.TCPConn, r *bufio.Reader)) string {
	t.Helper()
	nl, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for n := 0; ; n++ {
			c, err := nl.AcceptTCP()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				scene(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = nl.Close()
		open.Wait()
	})
	return nl.Addr().String()
}

// readHead reads a request head and returns its lines.
func readHead(r *bufio.Reader) ([]string, error) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return lines, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// A client is a raw connection to the proxy.
type client struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		w.t.Fatalf("got a %T, want TCP", c)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return &client{w.t, tcp, bufio.NewReader(c)}
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer to a request of that method, with its body.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, body, err := c.tryAnswer(method)
	if err != nil {
		c.t.Fatalf("the answer broke after %q: %v", body, err)
	}
	return resp, body
}

func (c *client) tryAnswer(method string) (*http.Response, string, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// wantAnswer reads one answer and checks its status and body.
func (c *client) wantAnswer(method string, status int, body string) *http.Response {
	c.t.Helper()
	resp, got := c.answer(method)
	if resp.StatusCode != status || got != body {
		c.t.Fatalf("got %d %q, want %d %q", resp.StatusCode, got, status, body)
	}
	return resp
}

// wantEnd checks that the proxy says nothing more and has closed.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got %q, %v, want the end", b, err)
	}
}

// dialOrPanic is an upstream.Options.Dial that panics while armed.
func dialOrPanic(armed *atomic.Bool, d *net.Dialer) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		if armed.Load() {
			panic("armed")
		}
		return d.DialContext(ctx, "tcp", addr.String())
	}
}
