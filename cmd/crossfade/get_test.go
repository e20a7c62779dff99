package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// reviews is what a gateway shows 12 s into the warm-up of reviews-v2-1: whenever it is asked.
func reviews(share float64) admin.World {
	s := &fleet.Snapshot{
		Number: 12, Config: "c0ffee",
		Services: []fleet.Service{{
			Name: "reviews:9080", Host: "reviews", Port: 9080, Protocol: "http",
			Pools: []fleet.Pool{
				{
					Policy:  fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1}},
					Members: []fleet.Member{{Endpoint: 0}, {Endpoint: 1}},
					Origin:  fleet.Origin{File: "bookinfo.yaml", Line: 41, Kind: "DestinationRule", Name: "default/reviews"},
				},
				{Subset: "v2", Members: []fleet.Member{{Endpoint: 1}}, Policy: fleet.Policy{HTTP: fleet.HTTP2}},
			},
			Endpoints: []fleet.Endpoint{
				{Name: "reviews-v1-1", Incarnation: "i-1", Address: netip.MustParseAddrPort("127.1.0.3:9080"), Weight: 1, Stage: fleet.Serving, Age: 3 * time.Hour},
				{Name: "reviews-v2-1", Incarnation: "i-2", Address: netip.MustParseAddrPort("127.1.0.4:9080"), Weight: 1, Stage: fleet.Warming, Age: 12260 * time.Millisecond, Labels: map[string]string{"app": "reviews", "version": "v2"}},
			},
		}},
		Instances: []fleet.Instance{
			{Incarnation: "i-1", Registries: []string{"etcd"}},
			{Incarnation: "i-2", Registries: []string{"nacos", "zookeeper"}, Foreign: true},
		},
		Events: []fleet.Event{{
			Time: time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local), Kind: "warmup.started", Service: "reviews:9080",
			Endpoint: "reviews-v2-1", From: "control", Reason: "checks passed",
		}},
	}
	service := &s.Services[0]
	traffic := new(evidence.Traffic)
	traffic.Total.Add(340)
	for range 340 {
		traffic.Answered(200, 2*time.Millisecond)
	}
	shares := []balancer.Share{
		{Endpoint: &service.Endpoints[0], Progress: 1, Share: 1, Weight: 1, Effective: 1, Fraction: 0.907, Expected: 308.4, Actual: 309},
		{Endpoint: &service.Endpoints[1], Progress: 0.1025, Share: share, Weight: 1, Effective: share, Fraction: 0.093, Expected: 31.6, Actual: 31, Reason: warmup.New},
	}
	return admin.World{View: fleet.View{Snapshot: s, Taken: time.Now()}, Ready: true, Pools: []admin.Pool{
		{Service: service, Pool: &service.Pools[0], Traffic: traffic, Shares: shares},
		{Service: service, Pool: &service.Pools[1], Shares: shares[1:]},
	}}
}

// gatewayFor serves the world and returns where.
func gatewayFor(t *testing.T, world func() admin.World) string {
	t.Helper()
	server := httptest.NewServer(admin.Handler(admin.Config{World: world, Program: "gateway", Started: time.Now()}))
	t.Cleanup(server.Close)
	return server.URL
}

func still() admin.World { return reviews(0.1025) }

// crossfade runs one command line and returns its exit code and what it wrote.
func crossfade(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

func TestGet(t *testing.T) {
	at := gatewayFor(t, still)
	for _, c := range []struct{ args, want string }{
		{"get services", `
SERVICE        SUBSET   ALGORITHM       WARM-UP         ENDPOINTS   WARMING   DRAINING   REQUESTS   FAILED
reviews:9080   -        ROUND_ROBIN     2 m from 10 %   2           1         0          340        0
reviews:9080   v2       LEAST_REQUEST   off             1           1         0          -          -
`},
		{"get services -o wide", `
SERVICE        SUBSET   ALGORITHM       WARM-UP         ENDPOINTS   WARMING   DRAINING   REQUESTS   FAILED   P50    P99      ACTIVE   PROTOCOL   ENDPOINTS SPEAK   ORIGIN
reviews:9080   -        ROUND_ROBIN     2 m from 10 %   2           1         0          340        0        2 ms   2.1 ms   0        http       HTTP/1.1          bookinfo.yaml:41
reviews:9080   v2       LEAST_REQUEST   off             1           1         0          -          -        -      -        -        http       HTTP/2            -
`},
		{"get endpoints reviews", `
SERVICE        ENDPOINT       ADDRESS          STAGE     AGE      SHARE    TRAFFIC   DUE     GOT   REASON
reviews:9080   reviews-v1-1   127.1.0.3:9080   Serving   3 h      100 %    90.7 %    308.4   309   -
reviews:9080   reviews-v2-1   127.1.0.4:9080   Warming   12.3 s   10.2 %   9.3 %     31.6    31    new
`},
		{"get endpoints --subset v2 -o wide", `
SERVICE        ENDPOINT       ADDRESS          STAGE     AGE      SHARE    TRAFFIC   DUE    GOT   REASON   WEIGHT   INCARNATION   REQUESTS   FAILED   ACTIVE   P50   P99   LOCALITY   GROUP   REGISTERED IN                 LABELS
reviews:9080   reviews-v2-1   127.1.0.4:9080   Warming   12.3 s   10.2 %   9.3 %     31.6   31    new      1        i-2           -          -        -        -     -     -          -       nacos, zookeeper, by itself   app=reviews,version=v2
`},
		{"get events", `
TIME                  KIND             FROM      SERVICE        ENDPOINT       REASON
2026-01-02 15:04:05   warmup.started   control   reviews:9080   reviews-v2-1   checks passed
`},
		{"explain reviews", `
reviews:9080: ROUND_ROBIN over 2 endpoints: 1 warming, 1 serving.
Warm-up takes 2 m: 10 % for the first 12 s, then in a straight line with time to 100 % (DestinationRule default/reviews, bookinfo.yaml:41).
340 requests since the last reset: 340 × 200; half within 2 ms, 99 % within 2.1 ms; 0 of them failed, 0 in flight.
  • reviews-v1-1 (127.1.0.3:9080) is Serving: 3 h old. Its share is 100 %, so it should get 90.7 % of the requests now. Since it joined 308 were due to it; it got 309 (100.2 %). It is registered in etcd.
  • reviews-v2-1 (127.1.0.4:9080) is Warming: 12.3 s old, 10.2 % of the way through 2 m. Its share is 10.2 %, so it should get 9.3 % of the requests now. Since it joined 31.6 were due to it; it got 31 (98.1 %). Reason: new: it is on its first way up. Full in 1 m 48 s. It registered itself in nacos and zookeeper: no agent of ours stands beside it.

reviews:9080, subset v2: LEAST_REQUEST over 1 endpoint: 1 warming.
Warm-up is off: a new endpoint gets its full share at once (by default).
Endpoints are spoken to in HTTP/2: each request is balanced by itself, on whatever connection it comes.
  • reviews-v2-1 (127.1.0.4:9080) is Warming: 12.3 s old. Its share is 10.2 %, so it should get 9.3 % of the requests now. Since it joined 31.6 were due to it; it got 31 (98.1 %). Reason: new: it is on its first way up. It registered itself in nacos and zookeeper: no agent of ours stands beside it.
`},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := crossfade(t.Context(), append(strings.Fields(c.args), "--admin", at)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGetJSONIsWhatTheAPIAnswers(t *testing.T) {
	at := gatewayFor(t, still)
	for command, into := range map[string]any{
		"get services": new(admin.ServiceList), "get endpoints": new(admin.EndpointList),
		"get events": new(admin.EventList), "explain": new(admin.Explanation),
	} {
		code, stdout, stderr := crossfade(t.Context(), append(strings.Fields(command), "-o", "json", "--admin", at)...)
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", command, code, stderr)
		}
		decoder := json.NewDecoder(strings.NewReader(stdout))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			t.Errorf("%s: %v in\n%s", command, err, stdout)
		}
		if !strings.Contains(stdout, `"snapshot": 12`) {
			t.Errorf("%s does not say which snapshot:\n%s", command, stdout)
		}
	}
}

func TestGetSaysWhatIsWrong(t *testing.T) {
	at := gatewayFor(t, still)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"get", "services", "--admin", nobody}, 1, "nobody answers at http://" + nobody + " (connect: connection refused): start a gateway"},
		{[]string{"get", "endpoints", "-w", "--admin", nobody}, 1, "nobody answers"},
		{[]string{"explain", "revews", "--admin", at}, 1, `no service "revews"; did you mean reviews?`},
		{[]string{"get", "endpoints", "reviews", "--subset", "v3", "--admin", at}, 1, `no subset "v3"; did you mean v2?`},
		{[]string{"get", "events", "--since", "noon", "--admin", at}, 1, `since "noon" is neither`},
		{[]string{"get", "services", "--admin", other.URL}, 1, "answers 404 Not Found: is it the admin API of a crossfade program?"},
		{[]string{"get", "services", "--admin", "://"}, 2, "want http://HOST:PORT"},
		{[]string{"get", "services", "-o", "yaml", "--admin", at}, 2, "want table, wide or json"},
		{[]string{"explain", "-o", "wide", "--admin", at}, 2, "want text or json"},
	} {
		code, stdout, stderr := crossfade(t.Context(), c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want %d and %q", c.args, code, stdout, stderr, c.code, c.want)
		}
	}
}

func TestGetOfNothingSaysSo(t *testing.T) {
	at := gatewayFor(t, func() admin.World { return admin.World{} })
	code, stdout, stderr := crossfade(t.Context(), "get", "endpoints", "--admin", at)
	if code != 0 || stdout != "" || stderr != "Nothing yet. What happened so far: \"crossfade get events\".\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// A screen tells when so many lines were written on it.
type screen struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	for line := range strings.Lines(string(p)) {
		s.lines <- line
	}
	return len(p), nil
}

func TestGetWatchPrintsRowsThatChange(t *testing.T) {
	var share atomic.Value
	share.Store(0.1025)
	at := gatewayFor(t, func() admin.World { return reviews(share.Load().(float64)) })
	ctx, cancel := context.WithCancel(t.Context())
	out := &screen{lines: make(chan string, 100)}
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"get", "endpoints", "reviews", "-w", "--admin", at}, out, &stderr) }()
	for range 3 { // the head and both endpoints
		<-out.lines
	}
	share.Store(0.75)
	<-out.lines
	cancel()
	if code := <-done; code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	want := `SERVICE        ENDPOINT       ADDRESS          STAGE      AGE         SHARE    TRAFFIC   DUE       GOT      REASON
reviews:9080   reviews-v1-1   127.1.0.3:9080   Serving    3 h         100 %    90.7 %    308.4     309      -
reviews:9080   reviews-v2-1   127.1.0.4:9080   Warming    12.3 s      10.2 %   9.3 %     31.6      31       new
reviews:9080   reviews-v2-1   127.1.0.4:9080   Warming    12.3 s      75 %     9.3 %     31.6      31       new
`
	if diff := cmp.Diff(want, out.text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where nothing is there yet, the head is as wide as what will come.
func TestWatchedHeadIsWideEnoughForWhatComes(t *testing.T) {
	at := gatewayFor(t, func() admin.World { return admin.World{View: fleet.View{Snapshot: &fleet.Snapshot{}}} })
	for what, want := range map[string]string{
		"endpoints": "SERVICE        ENDPOINT       ADDRESS          STAGE ",
		"events":    "TIME                  KIND                     FROM                 SERVICE        ENDPOINT       REASON",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &screen{lines: make(chan string, 100)}
		done := make(chan int, 1)
		go func() { done <- run(ctx, []string{"get", what, "-w", "--admin", at}, out, io.Discard) }()
		<-out.lines
		cancel()
		if code := <-done; code != 0 || !strings.HasPrefix(out.text.String(), want) {
			t.Errorf("get %s -w: exit code %d, got %q, want %q", what, code, out.text.String(), want)
		}
	}
}

// adminAt serves the world at an address, and returns what ends it, connections included.
func adminAt(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: admin.Handler(admin.Config{World: still}), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	return listener.Addr().String(), sync.OnceFunc(func() {
		_ = server.Close()
		<-done
	})
}

func TestWatchOutlivesARestartOfTheGateway(t *testing.T) {
	for _, tt := range []struct {
		what  string
		again bool // what there was is shown again
	}{{"services", true}, {"events", false}} {
		at, stop := adminAt(t, "127.0.0.1:0")
		ctx, cancel := context.WithCancel(t.Context())
		out, errs := &screen{lines: make(chan string, 100)}, &screen{lines: make(chan string, 100)}
		done := make(chan int, 1)
		go func() { done <- run(ctx, []string{"get", tt.what, "-w", "-o", "json", "--admin", at}, out, errs) }()
		<-out.lines
		stop()
		if got := <-errs.lines; !strings.Contains(got, at+" went away") {
			t.Errorf("%s: got %q, want that it went away", tt.what, got)
		}
		_, stop = adminAt(t, at)
		if got := <-errs.lines; !strings.Contains(got, at+" is back") {
			t.Errorf("%s: got %q, want that it is back", tt.what, got)
		}
		if tt.again {
			<-out.lines
		}
		cancel()
		if code := <-done; code != 0 || len(out.lines) != 0 {
			t.Errorf("%s: exit code %d and %d lines more, want 0 and none", tt.what, code, len(out.lines))
		}
		stop()
	}
}

func TestWatchGivesUp(t *testing.T) {
	at, stop := adminAt(t, "127.0.0.1:0")
	defer stop()
	client := &adminClient{address: at, patience: 300 * time.Millisecond}
	err := follow(t.Context(), client, "/api/v1/services", url.Values{}, func([]byte, admin.ServiceStatus) error {
		go stop()
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), at+" went away and has not come back within 300ms") {
		t.Errorf("got %v, want that it went away", err)
	}
}

func TestMemoryKnowsTheLastLines(t *testing.T) {
	var m memory
	for i := range 3 * generation {
		if m.has(strconv.Itoa(i)) {
			t.Fatalf("got line %d known, want it new", i)
		}
	}
	for i := 2 * generation; i < 3*generation; i++ {
		if !m.has(strconv.Itoa(i)) {
			t.Fatalf("got line %d new, want it known", i)
		}
	}
	if len(m.young)+len(m.old) > 2*generation {
		t.Errorf("got %d lines kept, want at most %d", len(m.young)+len(m.old), 2*generation)
	}
}

func TestRejectedConfigurationIsSaid(t *testing.T) {
	at := gatewayFor(t, func() admin.World {
		w := still()
		w.View.Events = append(w.View.Events, fleet.Event{
			Time: time.Date(2026, 1, 2, 15, 5, 0, 0, time.Local), Kind: "config.rejected", Reason: "reviews.yaml:12: no such subset",
		})
		return w
	})
	const want = "The newest configuration was not applied (2026-01-02 15:05:00), what was in force before stays so: reviews.yaml:12: no such subset\n"
	if _, _, stderr := crossfade(t.Context(), "get", "services", "--admin", at); stderr != want {
		t.Errorf("get services: got %q, want %q", stderr, want)
	}
	if _, stdout, _ := crossfade(t.Context(), "explain", "--admin", at); !strings.HasPrefix(stdout, want+"\nreviews:9080: ") {
		t.Errorf("explain: got %q, want %q first", stdout, want)
	}
}

func TestEjectedButNobodyElseIsLeft(t *testing.T) {
	at := gatewayFor(t, func() admin.World {
		w := still()
		w.Overlay = fleet.Overlay{}
		for i := range w.Pools[0].Shares {
			s := &w.Pools[0].Shares[i]
			s.Reason, s.Share, s.Fraction = warmup.Ejected, 1, 0.5
			w.Overlay[s.Endpoint.Incarnation] = fleet.Mark{Ejected: true, Reason: "3 failed checks"}
		}
		return w
	})
	_, stdout, _ := crossfade(t.Context(), "get", "endpoints", "--admin", at)
	if got := strings.Count(stdout, "ejected, but nobody else is left"); got != 2 {
		t.Errorf("got it %d times, want 2:\n%s", got, stdout)
	}
	_, stdout, _ = crossfade(t.Context(), "explain", "--admin", at)
	const want = "This program has ejected it: 3 failed checks. But nobody else is left, so it gets 50 % of the requests all the same."
	if !strings.Contains(stdout, want) || strings.Contains(stdout, "Its share is 100 %, so") {
		t.Errorf("got\n%s\nwant %q and no other share", stdout, want)
	}
}

func TestCompletionOffersServices(t *testing.T) {
	at := gatewayFor(t, still)
	code, stdout, _ := crossfade(t.Context(), "__complete", "get", "endpoints", "--admin", at, "")
	if code != 0 || !strings.Contains(stdout, "reviews:9080\n") {
		t.Errorf("exit code %d, offers %q", code, stdout)
	}
}
