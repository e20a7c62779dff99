package admin

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/warmup"
)

var update = flag.Bool("update", false, "write what was got to testdata")

// bookinfo is the world of the tests, 12 s into the warm-up of reviews-v2-1: what a gateway would show. Call it in
// a bubble, where the time is known.
func bookinfo() World {
	now := time.Now()
	rule := fleet.Origin{File: "bookinfo.yaml", Line: 41, Kind: "DestinationRule", Name: "default/reviews"}
	policy := fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1}}
	reviews := fleet.Service{
		Name: "reviews:9080", Host: "reviews", Namespace: "default", Port: 9080, Protocol: "http",
		Names: []string{"reviews", "reviews.default.svc.cluster.local"},
		Pools: []fleet.Pool{
			{Policy: policy, Origin: rule, Members: []fleet.Member{{Endpoint: 0}, {Endpoint: 1}, {Endpoint: 2}, {Endpoint: 3}}},
			{Subset: "v2", Labels: map[string]string{"version": "v2"}, Policy: policy, Origin: rule, Members: []fleet.Member{{Endpoint: 1}}},
		},
		Endpoints: []fleet.Endpoint{
			{Name: "reviews-v1-1", Incarnation: "i-1", Address: netip.MustParseAddrPort("127.1.0.3:9080"), Weight: 1, Stage: fleet.Serving, Age: 3 * time.Hour},
			{Name: "reviews-v2-1", Incarnation: "i-2", Address: netip.MustParseAddrPort("127.1.0.4:9080"), Weight: 1, Stage: fleet.Warming, Age: 12300 * time.Millisecond, Labels: map[string]string{"version": "v2"}},
			{Name: "reviews-v3-1", Incarnation: "i-3", Address: netip.MustParseAddrPort("127.1.0.5:9080"), Weight: 1, Stage: fleet.Draining, Age: time.Hour},
			{Name: "reviews-v3-2", Incarnation: "i-4", Address: netip.MustParseAddrPort("127.1.0.6:9080"), Weight: 4, Stage: fleet.Serving, Age: time.Hour, Locality: fleet.Locality{Region: "eu", Zone: "eu-1"}},
		},
	}
	details := fleet.Service{
		Name: "details:9080", Host: "details", Namespace: "default", Port: 9080, Protocol: "http",
		Pools: []fleet.Pool{{Policy: fleet.Policy{Algorithm: fleet.LeastRequest}, Members: []fleet.Member{{Endpoint: 0}}}},
		Endpoints: []fleet.Endpoint{{
			Name: "details-1", Incarnation: "i-5", Address: netip.MustParseAddrPort("127.1.0.2:9080"), Weight: 1, Stage: fleet.Starting,
			Check: &fleet.Check{Path: "/health?token=s3cret", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3},
		}},
	}
	snapshot := &fleet.Snapshot{
		Number: 12, Config: "sha256:c0ffee", Services: []fleet.Service{details, reviews}, Gateways: []string{"gateway-1"},
		Listeners: []fleet.Listener{{Name: "http-8080", Address: "0.0.0.0:8080", Port: 80, Hosts: []fleet.VirtualHost{{Domains: []string{"*"}}}}},
		Workloads: []fleet.Workload{{
			Name: "reviews-v2", Namespace: "default", Replicas: 1, Command: []string{"bookinfo", "--password", "s3cret"},
			Env:       []fleet.EnvVar{{Name: "TOKEN", Value: "s3cret"}, {Name: "IP", Field: "status.podIP"}},
			Readiness: &fleet.Probe{Exec: []string{"check", "s3cret"}},
			PreStop:   &fleet.PreStop{Exec: []string{"leave", "s3cret"}, Path: "/stop?key=s3cret"},
		}},
		Events: []fleet.Event{
			{Time: now.Add(-time.Hour), Kind: "config.applied", From: "control"},
			{Time: now.Add(-12 * time.Second), Kind: "warmup.started", Service: "reviews:9080", Endpoint: "reviews-v2-1", Incarnation: "i-2", From: "control", Reason: "checks passed"},
		},
	}
	w := World{
		View: fleet.View{Snapshot: snapshot, Taken: now}, Ready: true,
		Overlay:   fleet.Overlay{"i-4": {Ejected: true, Reason: "3 checks failed"}},
		Listeners: map[string]*evidence.Downstream{"http-8080": bookinfoListener()},
		Streams:   streams(),
	}
	w.Pools = bookinfoPools(snapshot)
	return w
}

func bookinfoPools(s *fleet.Snapshot) []Pool {
	details, reviews := &s.Services[0], &s.Services[1]
	book := evidence.Book{"i-1": answered(309, 200), "i-2": answered(31, 200), "i-3": new(evidence.Traffic), "i-4": answered(2, 503)}
	book["i-3"].Active.Add(3)
	whole, v2 := answered(340, 200), answered(31, 200)
	for range 2 {
		whole.Answered(503, time.Second)
		whole.Called(14)
	}
	whole.Active.Add(4)
	return []Pool{
		{Service: details, Pool: &details.Pools[0], Traffic: new(evidence.Traffic), Endpoints: evidence.Book{}},
		{Service: reviews, Pool: &reviews.Pools[0], Traffic: whole, Endpoints: book, Shares: []balancer.Share{
			{Endpoint: &reviews.Endpoints[0], Progress: 1, Share: 1, Weight: 1, Effective: 1, Fraction: 0.907, Expected: 309.7, Actual: 309},
			{Endpoint: &reviews.Endpoints[1], Progress: 0.1025, Share: 0.1025, Weight: 1, Effective: 0.1025, Fraction: 0.093, Expected: 31.6, Actual: 31, Reason: warmup.New},
			{Endpoint: &reviews.Endpoints[3], Progress: 1, Share: 0, Weight: 4, Expected: 2, Actual: 2, Reason: warmup.Ejected},
		}},
		{Service: reviews, Pool: &reviews.Pools[1], Traffic: v2, Endpoints: book, Shares: []balancer.Share{
			{Endpoint: &reviews.Endpoints[1], Progress: 0.1025, Share: 1, Weight: 1, Effective: 1, Fraction: 1, Reason: warmup.BypassSingle},
		}},
	}
}

func bookinfoListener() *evidence.Downstream {
	d := new(evidence.Downstream)
	d.Connects.Add(50)
	d.ActiveConnects.Add(2)
	d.NoRoute.Add(1)
	d.Requests.Total.Add(342)
	for range 340 {
		d.Requests.Answered(200, 4*time.Millisecond)
	}
	d.Requests.Answered(404, time.Millisecond)
	return d
}

// answered returns a traffic of n whole answers, the i-th after i ms.
func answered(n, status int) *evidence.Traffic {
	t := new(evidence.Traffic)
	t.Connects.Inc()
	t.ActiveConnects.Add(1)
	for i := range n {
		t.Total.Inc()
		t.Answered(status, time.Duration(i+1)*time.Millisecond)
	}
	return t
}

// sidecar is the world of a sidecar in front of reviews-v2-1, after n answers.
func sidecar(n int) World {
	s := &fleet.Snapshot{Number: 1, Services: []fleet.Service{{
		Name: "inbound:9080", Port: 9080, Protocol: "http", Inbound: true,
		Pools:     []fleet.Pool{{Members: []fleet.Member{{Endpoint: 0}}}},
		Endpoints: []fleet.Endpoint{{Name: "reviews-v2-1", Incarnation: "i-2", Address: netip.MustParseAddrPort("127.2.0.4:9080"), Weight: 1, Stage: fleet.Serving}},
	}}}
	service := &s.Services[0]
	traffic := answered(n, 200)
	return World{View: fleet.View{Snapshot: s, Taken: time.Now()}, Ready: true, Pools: []Pool{
		{Service: service, Pool: &service.Pools[0], Traffic: traffic, Endpoints: evidence.Book{"i-2": traffic}},
	}}
}

// serve returns the handler of a program whose world is always w, 75 s after it began. Call it in a bubble.
func serve(w World) http.Handler {
	return Handler(Config{
		World: func() World { return w }, Program: "gateway", ID: "gateway-1", Version: "v0.1.0", Started: time.Now().Add(-75 * time.Second),
	})
}

// ask sends one request, as curl on the same machine does.
func ask(h http.Handler, method, target string) *http.Response {
	r := httptest.NewRequest(method, target, http.NoBody)
	r.Host = "localhost:15000"
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result()
}

// get returns the body of a GET, which must be answered with 200.
func get(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	resp := ask(h, http.MethodGet, target)
	body := read(t, resp)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: got %d, want 200: %s", target, resp.StatusCode, body)
	}
	return body
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// streams are counters that differ.
func streams() *http2.Stats {
	s := new(http2.Stats)
	for n, c := range []*meter.Counter{
		&s.Streams, &s.Refused, &s.Malformed, &s.HeadTooLarge, &s.ResetsIn, &s.ResetsOut, &s.GoAwaysIn, &s.GoAwaysOut,
		&s.Stalled, &s.Broken, &s.TimedOut, &s.Floods[http2.RapidReset], &s.Floods[http2.PingFlood],
	} {
		c.Add(uint64(20 - n))
	}
	return s
}
