package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// A pipeListener hands the server's end of a net.Pipe to Accept.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipeListener() *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.close(); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 15000} }

func (l *pipeListener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, s := net.Pipe()
	select {
	case l.conns <- s:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A door is a server in a bubble whose world a test changes.
type door struct {
	t      *testing.T
	world  atomic.Pointer[World]
	client *http.Client
	stop   func() // ends Run, and fails the test where it returned an error
}

func open(t *testing.T, w World) *door {
	t.Helper()
	d := &door{t: t}
	d.world.Store(&w)
	l := newPipeListener()
	d.client = &http.Client{Transport: &http.Transport{DialContext: l.Dial}}
	server := &Server{Listener: l, Handler: Handler(Config{World: func() World { return *d.world.Load() }})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	d.stop = func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		d.client.CloseIdleConnections()
	}
	return d
}

func (d *door) get(ctx context.Context, path string) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp
}

// change puts a changed copy of the world in place of the old one.
func (d *door) change(f func(w *World)) {
	w := *d.world.Load()
	f(&w)
	d.world.Store(&w)
}

func next[T any](t *testing.T, lines *bufio.Scanner) (value T) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	if err := json.Unmarshal(lines.Bytes(), &value); err != nil {
		t.Fatalf("line %q: %v", lines.Text(), err)
	}
	return value
}

func TestWatchEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		defer d.stop()
		resp := d.get(t.Context(), "/api/v1/endpoints?service=reviews&watch=1")
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for _, want := range []string{"reviews-v1-1", "reviews-v2-1", "reviews-v3-1", "reviews-v3-2"} {
			if got := next[EndpointStatus](t, lines); got.Name != want {
				t.Errorf("first %s, want %s", got.Name, want)
			}
		}

		// Hours pass in which only ages and counts grow. That is no news, and no deadline ends the stream.
		time.Sleep(3 * time.Hour)
		d.world.Load().Pools[1].Traffic.Answered(200, time.Second)
		time.Sleep(time.Second)

		d.change(func(w *World) {
			w.Pools = slices.Clone(w.Pools)
			w.Pools[1].Shares = slices.Clone(w.Pools[1].Shares)
			w.Pools[1].Shares[1].Share = 0.5
		})
		got := next[EndpointStatus](t, lines)
		if got.Name != "reviews-v2-1" || got.Ramp.Share != 0.5 || got.Age < 3*time.Hour {
			t.Errorf("after its share changed: %+v, want reviews-v2-1 with share 0.5, hours old", got)
		}

		// The draining one leaves.
		d.change(func(w *World) {
			reviews := *w.Pools[1].Service
			reviews.Pools = slices.Clone(reviews.Pools)
			reviews.Pools[0].Members = []fleet.Member{{Endpoint: 0}, {Endpoint: 1}, {Endpoint: 3}}
			w.Pools[1].Service, w.Pools[1].Pool = &reviews, &reviews.Pools[0]
		})
		if got := next[EndpointStatus](t, lines); got.Name != "reviews-v3-1" || !got.Removed {
			t.Errorf("after it left: %s removed=%v, want reviews-v3-1 removed", got.Name, got.Removed)
		}
	})
}

func TestWatchServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		defer d.stop()
		resp := d.get(t.Context(), "/api/v1/services?watch=1")
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for _, want := range []string{"details:9080", "reviews:9080"} {
			if got := next[ServiceStatus](t, lines); got.Name != want {
				t.Errorf("first %s, want %s", got.Name, want)
			}
		}
		d.change(func(w *World) { w.Pools = w.Pools[1:] })
		if got := next[ServiceStatus](t, lines); got.Name != "details:9080" || !got.Removed {
			t.Errorf("after it left: %s removed=%v, want details:9080 removed", got.Name, got.Removed)
		}
	})
}

func TestWatchEventsTellsEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		defer d.stop()
		resp := d.get(t.Context(), "/api/v1/events?since=1m&watch=1")
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		if got := next[fleet.Event](t, lines); got.Kind != "warmup.started" {
			t.Errorf("first %s, want warmup.started", got.Kind)
		}
		for i := range 3 {
			time.Sleep(time.Minute)
			want := fleet.Event{Time: time.Now().UTC(), Kind: "endpoint.drained", Reason: strings.Repeat("i", i)}
			d.change(func(w *World) { // bounded: the oldest goes when one comes
				s := *w.View.Snapshot
				s.Events = append(slices.Clone(s.Events[1:]), want)
				w.View.Snapshot = &s
			})
			if diff := cmp.Diff(want, next[fleet.Event](t, lines)); diff != "" {
				t.Errorf("event %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

func TestWatchersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		defer d.stop()
		ctx, cancel := context.WithCancel(t.Context())
		for range maxWatchers {
			resp := d.get(ctx, "/api/v1/services?watch=1")
			defer resp.Body.Close()
		}
		refused := d.get(t.Context(), "/api/v1/services?watch=1")
		if body := read(t, refused); refused.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "32 streams") {
			t.Errorf("one more: got %d %s, want 503", refused.StatusCode, body)
		}
		cancel() // all leave
		time.Sleep(time.Second)
		again := d.get(t.Context(), "/api/v1/services?watch=1")
		if again.StatusCode != http.StatusOK {
			t.Errorf("after all left: got %d, want 200", again.StatusCode)
		}
		again.Body.Close()
	})
}

// A client that takes nothing is cut off; nobody waits for it.
func TestSlowWatcherIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		defer d.stop()
		resp := d.get(t.Context(), "/api/v1/endpoints?watch=1") // its head was read, its lines are not
		defer resp.Body.Close()
		for i := range 100 {
			time.Sleep(time.Second)
			d.change(func(w *World) {
				w.Overlay = fleet.Overlay{"i-1": {Ejected: i%2 == 0, Reason: strings.Repeat("x", 4096)}}
			})
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if !json.Valid(lines.Bytes()) {
				return // cut in the middle of a line
			}
		}
		if lines.Err() == nil {
			t.Error("the stream ended as if it were whole")
		}
	})
}

func TestRunEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, bookinfo())
		resp := d.get(t.Context(), "/api/v1/services?watch=1")
		defer resp.Body.Close()
		began := time.Now()
		go func() { _, _ = resp.Body.Read(make([]byte, 1<<16)) }()
		d.stop()
		if took := time.Since(began); took > closeTimeout {
			t.Errorf("Run took %v to end", took)
		}
	})
}

func TestRunSaysThatItsListenerBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		server := &Server{Listener: l, Handler: http.NotFoundHandler()}
		done := make(chan error, 1)
		go func() { done <- server.Run(context.Background()) }()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run returned %v, want one that wraps net.ErrClosed", err)
		}
	})
}

func TestListenRefusesTheWorld(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0"} {
		l, err := Listen(t.Context(), address)
		if !errors.Is(err, ErrNotLoopback) || l != nil {
			t.Errorf("Listen(%q) = %v, %v, want ErrNotLoopback", address, l, err)
		}
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Whoever applies what changes tells knows what there is: no item is missed, none is told without a change.
func TestChangesTellExactlyWhatChanged(t *testing.T) {
	type thing struct {
		Name, State string
		Gone        bool
	}
	s := stream[thing]{
		key:  func(t thing) string { return t.Name },
		sign: func(t thing) any { return t.State },
		gone: func(t thing) thing { t.Gone = true; return t },
	}
	world := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.SampledFrom([]string{"x", "y"}))
	rapid.Check(t, func(t *rapid.T) {
		known := map[string]string{}
		var seen map[string]item[thing]
		for _, now := range rapid.SliceOfN(world, 1, 6).Draw(t, "worlds") {
			var items []thing
			for name, state := range now {
				items = append(items, thing{Name: name, State: state})
			}
			var tell []thing
			seen, tell = s.changes(seen, items)
			for _, line := range tell {
				if state, there := known[line.Name]; there != line.Gone && there && state == line.State {
					t.Fatalf("%s was told again", line.Name)
				}
				if line.Gone {
					delete(known, line.Name)
				} else {
					known[line.Name] = line.State
				}
			}
			if diff := cmp.Diff(now, known); diff != "" {
				t.Fatalf("(-there +known):\n%s", diff)
			}
		}
	})
}
