package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// A stand is a front before an application, as an agent runs it.
type stand struct {
	t       *testing.T
	front   *proxy.Front
	url     string // where others reach the application
	checks  string // and where they only check
	console string
	opened  atomic.Int64
	left    atomic.Pointer[drain.Report]
	leave   func(why string) error
}

// free is an address that nobody has.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// standBefore has a front stand before app, at an address.
func standBefore(t *testing.T, app http.Handler, at string) *stand {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	s := &stand{t: t, front: &proxy.Front{}, url: "http://" + at}
	fixed := &fleet.Snapshot{Number: 1}
	for port, listen := range map[uint32]string{9080: at, proxy.HealthPort: free(t)} {
		name := fmt.Sprintf("inbound:%d", port)
		if port == proxy.HealthPort {
			s.checks = "http://" + listen
		}
		fixed.Services = append(fixed.Services, fleet.Service{
			Name: name, Port: port, Protocol: "http", Inbound: true,
			Pools:     []fleet.Pool{{Policy: fleet.Policy{HTTP: fleet.HTTPSame}, Members: []fleet.Member{{Base: 1}}}},
			Endpoints: []fleet.Endpoint{{Name: "app", Incarnation: "app", Address: netip.MustParseAddrPort(server.Listener.Addr().String()), Weight: 1, Stage: fleet.Serving}},
		})
		fixed.Listeners = append(fixed.Listeners, fleet.Listener{Name: name, Address: listen, Port: port, Hosts: []fleet.VirtualHost{{
			Domains: []string{"*"}, Routes: []fleet.Route{{Name: name, Destinations: []fleet.Destination{{Service: name, Weight: 1}}}},
		}}})
	}
	console, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.console = "http://" + console.Addr().String()
	g := &Gateway{
		ID: "front/app", Fixed: fixed, Front: s.front, Admin: console, Log: slog.New(slog.DiscardHandler),
		Timers: drain.Timers{Quiet: 100 * time.Millisecond, Requests: 5 * time.Second, Long: 5 * time.Second},
		Opened: func() { s.opened.Add(1) },
		Left:   func(r drain.Report) { s.left.Store(&r) },
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	var ended error
	s.leave = func(why string) error {
		once.Do(func() {
			cancel(errors.New(why))
			ended = <-done
		})
		return ended
	}
	t.Cleanup(func() { _ = s.leave("the test is over") })
	return s
}

// wait asks until ok.
func (s *stand) wait(what string, ok func() bool) {
	s.t.Helper()
	(&live{t: s.t}).wait(what, ok)
}

// get sends one request and returns the answer's status and body.
func (s *stand) get(url string) string {
	s.t.Helper()
	a, err := (&http.Client{}).Get(url)
	if err != nil {
		return err.Error()
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return fmt.Sprint(a.StatusCode, " ", string(b), err)
}

// stats returns the counters that end so.
func (s *stand) stats(end string) (lines []string) {
	s.t.Helper()
	for line := range strings.Lines(s.get(s.console + "/stats")) {
		if name, _, _ := strings.Cut(line, ":"); strings.HasSuffix(name, end) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// What passes a front is counted under the names that Envoy's sidecars have, and checks apart from that.
func TestFrontCountsAsEnvoyDoes(t *testing.T) {
	s := standBefore(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "here") }), free(t))
	s.wait("the front is open", func() bool { return s.opened.Load() == 1 })
	for range 7 {
		if got := s.get(s.url); got != "200 here<nil>" {
			t.Fatalf("got %s", got)
		}
	}
	for range 3 {
		s.get(s.checks)
	}
	want := []string{
		"cluster.inbound|15021||.external.upstream_rq_200: 3", "cluster.inbound|15021||.upstream_rq_200: 3",
		"cluster.inbound|9080||.external.upstream_rq_200: 7", "cluster.inbound|9080||.upstream_rq_200: 7",
	}
	s.wait("it has counted", func() bool {
		got := s.stats("upstream_rq_200")
		slices.Sort(got)
		return slices.Equal(got, want)
	})
	if got := s.front.Seen(); got.Total != 7 || got.Foreign != 7 {
		t.Errorf("got %+v, want 7 requests", got)
	}
}

// A front opens when its ports are its own, and not before.
func TestFrontOpensWhenItListens(t *testing.T) {
	at := free(t)
	taken, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := standBefore(t, http.NotFoundHandler(), at)
	s.wait("its admin answers", func() bool { return strings.HasPrefix(s.get(s.console+"/ready"), "503") })
	if s.opened.Load() != 0 {
		t.Error("it says that it is open, though its port is somebody else's")
	}
	_ = taken.Close()
	s.wait("it is open", func() bool { return s.opened.Load() == 1 })
}

// A front that leaves in the order of an agent loses nothing, though clients that keep their connections and never try again
// send all the time; one whose sockets are just closed does.
func TestFrontLeavesWithoutLoss(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		t.Run(map[bool]string{true: "as told", false: "control"}[orderly], func(t *testing.T) {
			app := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			})
			s, other := standBefore(t, app, free(t)), standBefore(t, app, free(t))
			s.wait("both are open", func() bool { return s.opened.Load()+other.opened.Load() == 2 })
			var sent, lost, moved atomic.Int64
			stop := make(chan struct{})
			var callers sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					to := s.url
					c := http.Client{Transport: &http.Transport{}}
					defer c.CloseIdleConnections()
					for {
						select {
						case <-stop:
							return
						default:
						}
						sent.Add(1)
						a, err := c.Post(to, "text/plain", io.NopCloser(strings.NewReader("words"))) // which net/http does not send again
						if err != nil {
							lost.Add(1)
							to = other.url
							continue
						}
						_ = a.Body.Close()
						if a.StatusCode != 200 {
							lost.Add(1)
						}
						if a.Header.Get(proxy.FieldDrain) != "" && to == s.url {
							moved.Add(1)
							to = other.url
						}
					}
				})
			}
			s.wait("they are at it", func() bool { return s.front.Seen().Total > 200 })
			if orderly {
				s.front.Order(proxy.Orders{Incarnation: "app#1", Leaving: true})
				s.wait("they have gone elsewhere", func() bool { return moved.Load() == 8 })
				s.front.Order(proxy.Orders{Incarnation: "app#1", Leaving: true, Refusing: true})
				s.wait("nothing is open", func() bool { return s.front.Seen().Open == 0 })
			}
			if err := s.leave("it is told to"); err != nil {
				t.Error(err)
			}
			s.wait("they are served by the other", func() bool { return other.front.Seen().Total > 200 })
			close(stop)
			callers.Wait()
			t.Logf("%d of %d lost", lost.Load(), sent.Load())
			if orderly != (lost.Load() == 0) {
				t.Errorf("got %d of %d lost", lost.Load(), sent.Load())
			}
			seen, r := s.front.Seen(), s.left.Load()
			if r == nil || r.Reason != "it is told to" || r.Cut != 0 {
				t.Fatalf("got the report %+v", r)
			}
			if both := seen.Total + other.front.Seen().Total; orderly && both != uint64(sent.Load()) || seen.Open != 0 {
				t.Errorf("the fronts have seen %d of %d requests; %+v", both, sent.Load(), seen)
			}
		})
	}
}
