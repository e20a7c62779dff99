package proxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// fickle starts an endpoint that does what a request's path says, in either version of HTTP, and returns its address. What is
// kept in told under "wait " and a request's field X-Id is called once one to /wait has come, which then waits until it is cut;
// what is kept under "cut " and that is what the endpoint waits for before it breaks off an answer to /cut.
func fickle(t testing.TB, told *sync.Map) (address string) {
	t.Helper()
	return handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/odd"), "/hurry") {
		case "/404":
			rw.WriteHeader(http.StatusNotFound)
		case "/500":
			rw.WriteHeader(http.StatusInternalServerError)
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/cut":
			_, _ = rw.Write(make([]byte, 100_000))
			_ = http.NewResponseController(rw).Flush()
			if read, ok := told.Load("cut " + r.Header.Get("X-Id")); ok {
				<-read.(context.Context).Done() //nolint:forcetypeassert // as it was stored
			}
			panic(http.ErrAbortHandler)
		case "/wait":
			if leave, ok := told.Load("wait " + r.Header.Get("X-Id")); ok {
				leave.(context.CancelFunc)() //nolint:forcetypeassert // as it was stored
			}
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(rw, "whole")
		}
	})
}

// saw is what a client can tell of how its request has ended.
func saw(a *http.Response, err error, left bool) ending.Kind {
	if err == nil {
		defer a.Body.Close()
		var body []byte
		body, err = io.ReadAll(a.Body)
		ours := a.Header.Get("Server") == "crossfade"
		switch text := string(body); {
		case err != nil: // it broke off
		case a.StatusCode < 500:
			return ending.Served
		case !ours:
			return ending.ServerError
		case strings.Contains(text, "cut the connection"):
			return ending.Reset
		case strings.Contains(text, "in time"):
			return ending.Timeout
		case strings.Contains(text, "does not exist"):
			return ending.NoEndpoint
		default:
			return ending.Fault
		}
	}
	if left {
		return ending.Aborted
	}
	return ending.Cut
}

// What clients see of their requests is what is counted at the listener and, of those that were routed somewhere, there:
// kind by kind, whichever versions of HTTP are spoken, with many at a time.
func TestEndsAreWhatClientsSee(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		var told sync.Map
		address := fickle(t, &told)
		w := newSecureWorld(t, secure, Options{HalfCloseTimeout: 20 * time.Millisecond})
		v := w.view("one="+address, "two="+address)
		v.Listeners[0].Hosts[0].Routes[1].Timeout = 30 * time.Millisecond // of /hurry
		for i := range v.Services[0].Pools {
			v.Services[0].Pools[i].Policy.HTTP = answers
		}
		w.apply(v)
		c, url := w.browser(asks)
		paths := []string{"/", "/404", "/500", "/reset", "/cut", "/hurry/wait", "/nowhere", "/odd/", "/odd/500", "/odd/cut", "/wait"}
		const workers, each = 4, 25
		var mu sync.Mutex
		var all, routed, odd ending.Sums
		var side sync.WaitGroup
		for worker := range workers {
			rng := mathrand.New(mathrand.NewPCG(uint64(worker), 7))
			side.Go(func() {
				for range each {
					path := paths[rng.IntN(len(paths))]
					ctx, leave := context.WithCancel(t.Context())
					r, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader("body"))
					r.Host, r.GetBody = "app", nil
					id := rand.Text()
					r.Header.Set("X-Id", id)
					read, isRead := context.WithCancel(t.Context())
					if told.Store("cut "+id, read); path == "/wait" {
						told.Store("wait "+id, leave)
					}
					a, err := c.Do(r)
					isRead()
					kind := saw(a, err, path == "/wait")
					leave()
					mu.Lock()
					all[kind]++
					if path != "/nowhere" {
						routed[kind]++
					}
					if strings.HasPrefix(path, "/odd") {
						odd[kind]++
					}
					mu.Unlock()
				}
			})
		}
		side.Wait()
		w.wantEnds(all)
		pools := w.p.State().services[0].Pools
		if got := pools[0].Requests.Counts().Ends; got != routed {
			t.Errorf("the service counted %v, want %v", kinds(got), kinds(routed))
		}
		if got := pools[1].Requests.Counts().Ends; got != odd {
			t.Errorf("the subset counted %v, want %v", kinds(got), kinds(odd))
		}
		for _, kind := range []ending.Kind{ending.Served, ending.ServerError, ending.Reset, ending.Cut, ending.Timeout, ending.NoEndpoint, ending.Aborted} {
			if all[kind] == 0 {
				t.Errorf("no client saw %v", kind)
			}
		}
	})
}

// What we answer ourselves because the request asked for it is served, whatever its status.
func TestOurOwnAnswersAreServed(t *testing.T) {
	w := newWorld(t, Options{})
	v := w.view()
	v.Listeners[0].Hosts[0].Routes = []fleet.Route{
		{Matches: []fleet.Match{{Path: fleet.StringMatch{Prefix: "/503"}}}, Respond: &fleet.Respond{Status: 503}},
		{Matches: []fleet.Match{{Path: fleet.StringMatch{Prefix: "/away"}}}, Redirect: &fleet.Redirect{Code: 302, Path: "/there"}},
	}
	w.apply(v)
	for _, tc := range []struct {
		request string
		status  int
	}{
		{"GET /503 HTTP/1.1\r\nHost: app\r\n\r\n", 503},
		{"GET /away HTTP/1.1\r\nHost: app\r\n\r\n", 302},
		{"GET / HTTP/1.1\r\nHost: app\r\n\r\n", 404},
		{"GET / HTTP/1.1\r\n\r\n", 400},
	} {
		c := w.dial()
		c.say("%s", tc.request)
		if a, _ := c.answer("GET"); a.StatusCode != tc.status {
			t.Errorf("%q: got %d, want %d", tc.request, a.StatusCode, tc.status)
		}
	}
	w.wantEnds(ended(ending.Served, ending.Served, ending.Served, ending.Served))
}

func TestEndsOfWhatCannotBeSent(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := nl.Addr().String()
	_ = nl.Close()
	w := newWorld(t, Options{}, dead)
	ask := func(status int) {
		t.Helper()
		c := w.dial()
		c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nhi")
		if a, text := c.answer("POST"); a.StatusCode != status {
			t.Errorf("got %d %q, want %d", a.StatusCode, text, status)
		}
	}
	ask(503)
	w.wantEnds(ended(ending.Refused))
	w.apply(w.view())
	ask(503)
	w.wantEnds(ended(ending.Refused, ending.NoEndpoint))
	g := newGate(t)
	w.apply(w.bounded(&fleet.Connections{Requests: 1}, nil, g.addr))
	g.ask(w)
	wantFull(t, w, "/")
	g.leave <- struct{}{}
	w.wantEnds(ended(ending.Refused, ending.NoEndpoint, ending.Overflow, ending.Served))
}

// The status of gRPC says how a call has ended, whatever HTTP's says.
func TestEndsOfCalls(t *testing.T) {
	w := newWorld(t, Options{}, serveStreams(t, func(s *http2.Stream) {
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
		status := s.Request().Path[len("/x/"):]
		if string(status) == "reset" {
			s.Reset(http2.InternalError)
			return
		}
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
		_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: status}})
	}))
	w.speak(fleet.HTTP2)
	c := w.dialStreams()
	want := ended(ending.Reset)
	outcomeOf(t, c, call("/x/reset"))
	for status := range 17 {
		if ending.FailedCall(status) {
			want[ending.CallError]++
		} else {
			want[ending.Served]++
		}
		outcomeOf(t, c, call("/x/"+strconv.Itoa(status)))
	}
	w.wantEnds(want)
	if got := w.p.State().services[0].Pools[0].Requests.Counts(); got.Ends != want || len(got.Calls) != 17 {
		t.Errorf("the service counted %v and %v, want %v and every status", kinds(got.Ends), got.Calls, kinds(want))
	}
}

// A tunnel that both sides end is served; one that breaks is lost by whoever broke it.
func TestEndsOfTunnels(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind ending.Kind
		end  func(w *world, client *client, endpoint *net.TCPConn)
	}{
		{"both close", ending.Served, func(_ *world, c *client, e *net.TCPConn) { _, _ = c.CloseWrite(), e.CloseWrite() }},
		{"the client breaks it", ending.Aborted, func(_ *world, c *client, _ *net.TCPConn) { _, _ = c.SetLinger(0), c.Close() }},
		{"the endpoint breaks it", ending.Cut, func(_ *world, _ *client, e *net.TCPConn) { _, _ = e.SetLinger(0), e.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stands, over := make(chan *net.TCPConn, 1), make(chan struct{})
			w, c := upgraded(t, func(c *net.TCPConn, _ *bufio.Reader) {
				stands <- c
				<-over
			})
			defer close(over)
			tc.end(w, c, <-stands)
			eventually(t, "the tunnel has ended", func() bool { return w.listener().Traffic.Requests.Active.Load() == 0 })
			w.wantEnds(ended(tc.kind))
		})
	}
}

// What a panic of ours costs is our fault.
func TestEndOfAPanic(t *testing.T) {
	var armed atomic.Bool
	o := Options{}
	o.Upstream.Dial = dialOrPanic(&armed, &net.Dialer{})
	w := newWorld(t, o, handle(t, echo))
	armed.Store(true)
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	if b, err := c.r.ReadByte(); err == nil {
		t.Fatalf("got %q, want the connection to be cut", b)
	}
	w.wantEnds(ended(ending.Fault))
	if got := w.p.State().services[0].Pools[0].Requests.Counts().Ends; got != ended(ending.Fault) {
		t.Errorf("the service counted %v, want the fault", kinds(got))
	}
}

// What a leave ends is counted as that, with a word to the client and without.
func TestEndsOfALeave(t *testing.T) {
	g := newGate(t)
	w := newWorld(t, Options{LingerTimeout: 50 * time.Millisecond}, g.addr)
	c := g.ask(w)
	eventually(t, "it is no longer spared", func() bool {
		w.part(true)
		return w.listener().Traffic.Requests.Active.Load() == 0
	})
	if a, _ := c.answer("GET"); a.StatusCode != 503 {
		t.Errorf("got %d, want 503", a.StatusCode)
	}
	w.wantEnds(ended(ending.Parted))
	g.ask(w)
	w.mu.Lock()
	for c := range w.live {
		c.Cut()
	}
	w.mu.Unlock()
	w.wantEnds(ended(ending.Parted, ending.Parted))
}

// Services know which workloads have called them, whatever states follow one another, and no more of them than there is room
// for.
func TestCallersAreCounted(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	meshed := func(instances ...fleet.Instance) {
		v := w.view()
		v.Services, v.Listeners[0].Mesh, v.Instances = w.p.State().View().Services, true, instances
		w.apply(v)
	}
	asks := func(instance string, times int) {
		t.Helper()
		c := w.dial()
		for range times {
			c.say("GET / HTTP/1.1\r\nHost: app\r\nProxy-Authorization: Basic %s\r\n\r\n", base64.StdEncoding.EncodeToString([]byte(instance+":")))
			c.wantAnswer("GET", 200, "GET / ")
		}
	}
	meshed(fleet.Instance{Name: "web-1", Namespace: "a", Workload: "web"}, fleet.Instance{Name: "alone", Namespace: "a"})
	asks("web-1", 3)
	asks("nobody-knows", 2)
	asks("alone", 1)
	var many []fleet.Instance // with web, which was gone, as the last of more than can be told apart
	for i := range evidence.MaxCallers + 1 {
		name := fmt.Sprintf("w%02d", i)
		many = append(many, fleet.Instance{Name: name, Namespace: "a", Workload: name})
	}
	meshed(append(many, fleet.Instance{Name: "web-2", Namespace: "a", Workload: "web"})...)
	asks("web-2", 4)
	asks("w05", 5)
	asks("w63", 6)
	asks("w64", 7)
	w.wantConserved()
	got := map[string]uint64{}
	s := w.p.State()
	s.services[0].Callers().Each(func(caller int, n uint64) { got[s.CallerName(caller)] += n })
	want := map[string]uint64{"web": 7, "w05": 5, "others": 13}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("callers (-want +got):\n%s", diff)
	}
}

// What it costs to count a request's end where it was routed to, beside the listener: the pool and its whole service.
func BenchmarkEnds(b *testing.B) {
	x, o := &exchange{}, &outcome{}
	x.resp.Status = 200
	places := []*evidence.Traffic{new(evidence.Traffic), new(evidence.Traffic)}
	b.ReportAllocs()
	for b.Loop() {
		kind := x.kindOf(o, false)
		for _, t := range places {
			t.Total.Inc()
			x.endedAt(t, kind, true, 200, 3*time.Millisecond)
		}
	}
}
