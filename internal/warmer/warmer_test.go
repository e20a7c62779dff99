package warmer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// An app is an HTTP server on connections that are only in memory, with so many processors and a cost for each request.
type app struct {
	cost  func(served int) time.Duration
	cores chan struct{}
	conns chan net.Conn

	mu      sync.Mutex
	served  int
	seen    map[string]int // "GET example:80/path" and how often
	most    int            // requests at once
	open    int
	last    *http.Request
	body    []byte
	status  int    // what it answers; 0 is 200
	missing string // a path that it does not have
}

func newApp(t *testing.T, cores int, cost func(served int) time.Duration) *app {
	t.Helper()
	a := &app{cost: cost, cores: make(chan struct{}, cores), conns: make(chan net.Conn), seen: map[string]int{}}
	server := &http.Server{Handler: a, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error)
	go func() { served <- server.Serve(a) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return a
}

func (a *app) Accept() (net.Conn, error) {
	if c, ok := <-a.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (a *app) Close() error   { close(a.conns); return nil }
func (a *app) Addr() net.Addr { return &net.TCPAddr{} }

func (a *app) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case a.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.open++
	a.most = max(a.most, a.open)
	a.served++
	cost, status := a.cost(a.served), a.status
	if r.URL.Path == a.missing {
		status = http.StatusNotFound
	}
	a.seen[r.Method+" "+r.Host+r.URL.RequestURI()]++
	a.last = r
	a.mu.Unlock()
	a.cores <- struct{}{}
	select {
	case <-time.After(cost):
	case <-r.Context().Done():
	}
	<-a.cores
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Type") == "application/grpc" {
		w.Header().Set("Trailer", "Grpc-Status")
		defer w.Header().Set("Grpc-Status", strconv.Itoa(status))
	} else if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = w.Write([]byte("hello"))
	a.mu.Lock()
	a.body = body
	a.open--
	a.mu.Unlock()
}

// warm warms the app up by the plan.
func (a *app) warm(ctx context.Context, plan fleet.WarmupRequests) (Result, []Progress, error) {
	var told []Progress
	w := &Warmer{
		Plan: plan, Dial: a.dial, Progress: func(p Progress) { told = append(told, p) },
		Address: func(port uint32) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("127.2.0.1"), uint16(port+8080))
		},
	}
	result, err := w.Run(ctx)
	return result, told, err
}

func get(path string) fleet.WarmupRequest {
	return fleet.WarmupRequest{Protocol: protocolHTTP, Method: http.MethodGet, Path: path, Weight: 1}
}

// A program on four processors compiles itself in its first 300 requests. It is given no more than it keeps up with,
// until it has become fast, and no request is left open.
func TestWarmsACompilingProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(served int) time.Duration { return ms(max(4, 80-float64(served)/4)) })
		result, told, err := a.warm(t.Context(), fleet.WarmupRequests{
			Requests: []fleet.WarmupRequest{get("/")}, Concurrency: 64, Time: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(result)
		if result.Ending != Converged || result.Last != ms(4) {
			t.Errorf("ended with %q at %s, want convergence at 4ms", result.Ending, result.Last)
		}
		if result.First < 10*result.Last {
			t.Errorf("began with %s", result.First)
		}
		if a.most < 4 || a.most > 16 {
			t.Errorf("%d at once on four processors, want from 4 to 16", a.most)
		}
		if a.open != 0 || a.served != result.Sent || result.Failed != 0 {
			t.Errorf("%d still open, served %d, sent %d, failed %d", a.open, a.served, result.Sent, result.Failed)
		}
		if got := a.last.Header.Get(Marker); got != "1" {
			t.Errorf("the marker says %q", got)
		}
		for i := 1; i < len(told); i++ {
			if p, before := told[i], told[i-1]; p.Sent < before.Sent || p.Elapsed < before.Elapsed {
				t.Fatalf("progress went back from %+v to %+v", before, p)
			}
		}
		if end := told[len(told)-1]; end.Sent != result.Sent || end.Last != result.Last {
			t.Errorf("last progress %+v is not the result %+v", end, result)
		}
	})
}

func TestEndsAtItsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return ms(5) })
		result, told, err := a.warm(t.Context(), fleet.WarmupRequests{
			Requests: []fleet.WarmupRequest{get("/a"), {Protocol: protocolHTTP, Method: "GET", Path: "/b?x=1", Host: "shop", Weight: 3}}, Count: 2002,
		})
		if err != nil || result.Ending != Counted || result.Sent != 2002 || told[len(told)-1].Part() != 1 {
			t.Errorf("got %v, %v, want 2002 sent", result, err)
		}
		want := map[string]int{"GET 127.2.0.1:8080/a": 501, "GET shop/b?x=1": 1501}
		if diff := cmp.Diff(want, a.seen); diff != "" {
			t.Errorf("requests by kind (-want +got):\n%s", diff)
		}
	})
}

// Its time is what a release waits at most, whatever the program does.
func TestEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return time.Hour })
		result, _, err := a.warm(t.Context(), fleet.WarmupRequests{Requests: []fleet.WarmupRequest{get("/")}, Time: 5 * time.Second})
		if !errors.Is(err, ErrFailed) || result.Ending != TimeUp || result.Took != 5*time.Second {
			t.Errorf("got %v, %v, want the time to be up after 5 s, and ErrFailed as nothing was answered", result, err)
		}
	})
}

func TestSaysWhyItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return ms(1) })
		a.status = 503
		result, _, err := a.warm(t.Context(), fleet.WarmupRequests{Requests: []fleet.WarmupRequest{get("/"), get("/x")}, Time: 5 * time.Second})
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "GET /") || !strings.Contains(err.Error(), "HTTP 503") {
			t.Errorf("got error %v, want one that names the request and HTTP 503", err)
		}
		if result.Failed != result.Sent || result.Failed < 10 || result.Failed > 50 || a.most != 1 {
			t.Errorf("got %v with %d at once: who fails is asked one at a time, ten times a second", result, a.most)
		}
		if len(result.Causes) != 1 || !strings.HasPrefix(result.Causes[0], "HTTP 503 ×") {
			t.Errorf("causes %q", result.Causes)
		}
	})
}

// Nobody listens: that is a cause like others, and its addresses are left out.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	w := Warmer{
		Plan:    fleet.WarmupRequests{Requests: []fleet.WarmupRequest{get("/")}, Count: 2, Concurrency: 2},
		Address: func(uint32) netip.AddrPort { return address },
	}
	result, err := w.Run(t.Context())
	if !errors.Is(err, ErrFailed) || len(result.Causes) != 1 || result.Causes[0] != "dial: connect: connection refused ×2" {
		t.Errorf("got %v, %v", result, err)
	}
}

func TestStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1, func(int) time.Duration { return ms(100) })
		ctx, cancel := context.WithTimeout(t.Context(), 1050*time.Millisecond)
		defer cancel()
		result, _, err := a.warm(ctx, fleet.WarmupRequests{Requests: []fleet.WarmupRequest{get("/")}})
		if !errors.Is(err, context.DeadlineExceeded) || result.Ending != Stopped || result.Took != 1050*time.Millisecond || result.Sent != 10 || result.Failed != 0 {
			t.Errorf("got %v, %v, want 10 answered, none failed, stopped at once", result, err)
		}
	})
}

func TestNothingToSend(t *testing.T) {
	result, err := (&Warmer{}).Run(t.Context())
	if err != nil || result.Ending != None {
		t.Errorf("got %v, %v", result, err)
	}
}

// What is sent is what the plan says, in each protocol.
func TestProtocols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return ms(1) })
		for _, test := range []struct {
			request fleet.WarmupRequest
			major   int
			seen    string
			body    string
		}{
			{fleet.WarmupRequest{Protocol: protocolHTTP, Method: "POST", Path: "/a%2Fb?c=d", Port: 7, Body: []byte("text")}, 1, "POST 127.2.0.1:8087/a%2Fb?c=d", "text"},
			{fleet.WarmupRequest{Protocol: protocolHTTP2, Method: "PUT", Path: "/p", Host: "shop:80", Body: []byte("text")}, 2, "PUT shop:80/p", "text"},
			{fleet.WarmupRequest{Protocol: protocolGRPC, Method: "echo.Echo/Say", Body: []byte("\x0a\x01x")}, 2, "POST 127.2.0.1:8080/echo.Echo/Say", "\x00\x00\x00\x00\x03\x0a\x01x"},
			{fleet.WarmupRequest{Protocol: protocolGRPC, Method: "echo.Echo/Say"}, 2, "POST 127.2.0.1:8080/echo.Echo/Say", "\x00\x00\x00\x00\x00"},
		} {
			clear(a.seen)
			test.request.Headers = []fleet.Header{{Name: "x-user", Value: "a"}, {Name: "x-user", Value: "b"}}
			result, _, err := a.warm(t.Context(), fleet.WarmupRequests{Requests: []fleet.WarmupRequest{test.request}, Count: 20, Concurrency: 4})
			if err != nil || result.Sent != 20 || a.seen[test.seen] != 20 {
				t.Errorf("got %v, %v, seen %v, want 20 of %q", result, err, a.seen, test.seen)
			}
			if a.last.ProtoMajor != test.major || string(a.body) != test.body || a.last.Header.Get(Marker) != "1" {
				t.Errorf("%s: HTTP/%d with body %q, marker %q", test.seen, a.last.ProtoMajor, a.body, a.last.Header.Get(Marker))
			}
			if got := a.last.Header.Values("X-User"); !cmp.Equal(got, []string{"a", "b"}) {
				t.Errorf("%s: x-user %q", test.seen, got)
			}
		}
	})
}

// A call has failed when gRPC says so, whatever HTTP says.
func TestCallsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return ms(1) })
		plan := fleet.WarmupRequests{Requests: []fleet.WarmupRequest{{Protocol: protocolGRPC, Method: "echo.Echo/Say"}}, Count: 3}
		for status, want := range map[int]string{14: "gRPC UNAVAILABLE ×3", 99: "a status that gRPC does not have ×3"} {
			a.status = status
			result, _, err := a.warm(t.Context(), plan)
			if !errors.Is(err, ErrFailed) || len(result.Causes) != 1 || result.Causes[0] != want {
				t.Errorf("status %d: got %v, %v", status, result, err)
			}
		}
	})
}

// A kind that is asked for rarely does not make a warm-up end before it has come up, nor does it hide behind the others
// when it fails.
func TestOneKindFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 4, func(int) time.Duration { return ms(5) })
		a.missing = "/gone"
		gone := get("/gone")
		often := get("/")
		often.Weight = 100
		result, _, err := a.warm(t.Context(), fleet.WarmupRequests{Requests: []fleet.WarmupRequest{often, gone}, Time: time.Minute})
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "GET /gone") || result.Ending != Converged || result.Failed*10 > result.Sent {
			t.Errorf("got %v, %v, want it to have converged, and an error that names GET /gone", result, err)
		}
	})
}

func TestEveryKindComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1, func(int) time.Duration { return ms(20) })
		var plan fleet.WarmupRequests
		for i := range 1000 {
			plan.Requests = append(plan.Requests, get("/"+strconv.Itoa(i)))
		}
		plan.Time, plan.Concurrency = time.Minute, 1
		result, _, err := a.warm(t.Context(), plan)
		if err != nil || result.Ending != Converged || len(a.seen) != 1000 {
			t.Errorf("got %v, %v after %d of 1000 kinds", result, err, len(a.seen))
		}
	})
}
