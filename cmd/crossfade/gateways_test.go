package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// supervised reports replicas of the gateway that there is: as many as wanted are ready and new, the rest leaves.
func supervised(t *testing.T, c *control.Control, n int) {
	t.Helper()
	g := c.Gateways()[0]
	r := fleet.Report{From: "supervisor", Role: "supervisor"}
	for i := range n {
		r.Replicas = append(r.Replicas, fleet.Replica{
			ID: fmt.Sprintf("%s-%d", g.Name, i+1), Group: g.Name, Namespace: g.Namespace, Revision: g.Revision,
			Ready: true, Leaving: i >= g.Replicas, PID: 4711 + i, Admin: fmt.Sprintf("127.0.0.1:%d", 15101+i),
		})
	}
	if err := c.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestGatewaysAreScaledRestartedAndUpgraded(t *testing.T) {
	c, api := startControl(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script := func(name, text string) (path string) {
		t.Helper()
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := script("crossfade", `echo crossfade 9.9 "(sh)"`)
	other := script("other", "echo flag: no version >&2; echo more >&2; exit 2")
	silent := script("silent", "exit 1")
	const nobody = "note: no supervisor runs replicas of gateway/ingressgateway now"
	for _, tt := range []struct {
		args string
		code int
		out  string // all of it
		err  string // part of it
	}{
		{"scale gateway/ingressgateway --replicas=10", 0, "gateway/ingressgateway scaled to 10\n", nobody},
		{"scale gw/ingressgateway --replicas 3 -n istio-system", 0, "gateway/ingressgateway scaled to 3\n", nobody},
		{"rollout restart gateway/ingressgateway", 0, "gateway/ingressgateway restarted\n", nobody},
		{"upgrade", 0, "gateway/ingressgateway upgrades to what is on disk where its supervisor's program was\n", nobody},
		{"upgrade gateway/ingressgateway --binary " + program, 0, "gateway/ingressgateway upgrades to crossfade 9.9 (sh)\n", nobody},
		{"upgrade", 0, "gateway/ingressgateway upgrades to what is on disk at " + program + "\n", nobody},
		{"upgrade --binary " + other, 1, "", "it is no crossfade: \"" + other + " version\" ended with exit status 2: flag: no version\n"},
		{"upgrade --binary " + silent, 1, "", "ended with exit status 1: it said nothing\n"},
		{"upgrade --binary " + dir, 1, "", "it does not start here: "},
		{"scale gateway/edge --replicas=1", 1, "", "no such gateway; there are: istio-system/ingressgateway"},
		{"rollout status gateway/edge", 1, "", "no such gateway; there are: istio-system/ingressgateway"},
		{"rollout restart gateway/ingressgateway -n prod", 1, "", "prod/ingressgateway: no such gateway"},
		{"upgrade -n prod", 1, "", "there is no gateway in namespace prod"},
		{"rollout status gateway/ingressgateway --timeout 50ms", 1, "gateway/ingressgateway: no supervisor runs a replica of it, 3 are wanted\n", "is not rolled out"},
	} {
		code, out, errs := crossfade(t.Context(), append(strings.Fields(tt.args), "--control", api)...)
		if code != tt.code || out != tt.out || !strings.Contains(errs, tt.err) {
			t.Errorf("%s: got %d, %q, %q, want %d, %q, %q", tt.args, code, out, errs, tt.code, tt.out, tt.err)
		}
	}
	if g := c.View().Groups[0]; g.Replicas != 3 || g.Binary != program || g.Restarted == "" {
		t.Errorf("got %+v, want 3 replicas of %s, restarted", g, program)
	}
}

// TestScaleInIsWaitedFor: it is over when those that leave have left.
func TestScaleInIsWaitedFor(t *testing.T) {
	c, api := startControl(t)
	supervised(t, c, 3)
	out := make(lines, 8)
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"scale", "gateway/ingressgateway", "--replicas=2", "--wait", "--control", api}, out, io.Discard)
	}()
	wants := func(want string) {
		t.Helper()
		if got := <-out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	wants("gateway/ingressgateway scaled to 2\n")
	wants("gateway/ingressgateway: 1 of 2 are new, 1 ready, 3 run\n")
	supervised(t, c, 3)
	wants("gateway/ingressgateway: 2 of 2 are new, 2 ready, 3 run\n")
	left(t, c, "ingressgateway-3", 1, drain.Closed, 0)
	supervised(t, c, 2)
	wants("gateway/ingressgateway is rolled out: 2 of 2 ready\n")
	wants("since this command began 1 replica left, 0 requests were cut\n")
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// A gate is a gateway's admin API, as far as leaving goes: each time it is asked how far it is, it is one report further.
type gate struct {
	mu      sync.Mutex
	reports []drain.Report
	posts   []string
	refuses bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && g.refuses:
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"error": "it accepts nothing any more; start another one"}`)
	case r.Method == http.MethodPost:
		g.posts = append(g.posts, r.URL.String())
	case r.URL.Path == "/api/v1/drain":
		_ = json.NewEncoder(w).Encode(g.reports[0])
		if len(g.reports) > 1 {
			g.reports = g.reports[1:]
		}
	default:
		http.NotFound(w, r)
	}
}

func (g *gate) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return server.URL
}

func closed(cut uint64) drain.Report {
	return drain.Report{
		ID: "gateway-1", Reason: "POST /drain_listeners", Began: time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local), Stage: drain.Closed, Cut: cut,
		Seconds: map[drain.Stage]float64{drain.LameDuck: 15, drain.Draining: 2.5},
		Protocols: map[drain.Protocol]drain.Requests{
			drain.HTTP1: {Before: 2, Leave: drain.Count{Opened: 1200, Completed: 1202, Told: 20}},
			drain.GRPC:  {Before: 3, Leave: drain.Count{Completed: 3 - cut, Cut: cut}},
		},
	}
}

func at(stage drain.Stage, open int) drain.Report {
	return drain.Report{Stage: stage, Protocols: map[drain.Protocol]drain.Requests{drain.HTTP1: {Leave: drain.Count{Open: open}}}}
}

func TestDrainIsWaitedForAndAccountedFor(t *testing.T) {
	const report = `drained in 17.5 s: lame duck 15 s, draining 2.5 s
PROTOCOL   BEFORE   SINCE   OPEN   COMPLETED   FAILED   TOLD   CUT
http/1.1   2        1,200   0      1,202       0        20     0
`
	for _, tt := range []struct {
		name    string
		args    string
		reports []drain.Report
		posts   string
		code    int
		out     string
		err     string
	}{
		{"told only", "", nil, "/drain_listeners?graceful=", 0, "gateway drains\n", ""},
		{"at once", "--graceful=false", nil, "/drain_listeners", 0, "gateway drains\n", ""},
		{
			"to its end", "--wait",
			[]drain.Report{at(drain.Serving, 5), at(drain.LameDuck, 4), at(drain.LameDuck, 3), at(drain.Draining, 2), closed(0)},
			"/drain_listeners?graceful=", 0,
			"gateway drains\nserves: 5 open\ntells that it leaves: 4 open\naccepts nothing new: 2 open\n" + report + "grpc       3        0       0      3           0        0      0\n", "",
		},
		{
			"of which nobody noticed", "--wait",
			[]drain.Report{{Stage: drain.Closed, Seconds: map[drain.Stage]float64{drain.Draining: 0.25}}},
			"/drain_listeners?graceful=", 0, "gateway drains\ndrained in 250 ms: draining 250 ms\nno request was open, and none came\n", "",
		},
		{
			"with a loss", "--wait",
			[]drain.Report{closed(2)},
			"/drain_listeners?graceful=", 3,
			"gateway drains\n" + report + "grpc       3        0       0      1           0        0      2\n", "crossfade: 2 requests were cut\n",
		},
		{
			"called back", "--wait",
			[]drain.Report{at(drain.LameDuck, 1), at(drain.Serving, 1)},
			"/drain_listeners?graceful=", 1,
			"gateway drains\ntells that it leaves: 1 open\n", "it was called back",
		},
		{
			"too long", "--wait --timeout 50ms",
			[]drain.Report{at(drain.Draining, 1)},
			"/drain_listeners?graceful=", 1,
			"gateway drains\naccepts nothing new: 1 open\n", "--timeout is over: the gateway is not drained, and accepts nothing new; it goes on by itself",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := &gate{reports: tt.reports}
			args := append([]string{"drain", "gateway", "--admin", g.serve(t)}, strings.Fields(tt.args)...)
			code, out, errs := crossfade(t.Context(), args...)
			if code != tt.code || out != tt.out || !strings.Contains(errs, tt.err) {
				t.Errorf("got %d\n%s%s\nwant %d\n%s%s", code, out, errs, tt.code, tt.out, tt.err)
			}
			if got := strings.Join(g.posts, " "); got != tt.posts {
				t.Errorf("got POSTs %q, want %q", got, tt.posts)
			}
		})
	}
}

func TestDrainThatEndsWithItsGateway(t *testing.T) {
	g := &gate{reports: []drain.Report{at(drain.Draining, 1)}}
	server := httptest.NewServer(g)
	out := make(lines, 8)
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"drain", "gateway", "--wait", "--admin", server.URL}, out, &errs)
	}()
	<-out
	<-out
	server.Close()
	if code := <-ended; code != 1 || !strings.Contains(errs.String(), "it ended while it was waited for, accepts nothing new") {
		t.Errorf("got %d, %q, want 1, and that nobody knows how it ended", code, errs.String())
	}
}

func TestUndrain(t *testing.T) {
	g := &gate{}
	api := g.serve(t)
	if code, out, errs := crossfade(t.Context(), "undrain", "gateway", "--admin", api); code != 0 || out != "gateway serves\n" || !slices.Equal(g.posts, []string{"/healthcheck/ok"}) {
		t.Errorf("got %d, %q, %q, POSTs %q", code, out, errs, g.posts)
	}
	g.refuses = true
	if code, _, errs := crossfade(t.Context(), "undrain", "gateway", "--admin", api); code != 1 || !strings.Contains(errs, "it accepts nothing any more") {
		t.Errorf("got %d, %q, want 1 and why", code, errs)
	}
}

func TestGetGatewaysAndDrains(t *testing.T) {
	c, api := startControl(t)
	get := func(args string) string {
		t.Helper()
		code, out, errs := crossfade(t.Context(), append(strings.Fields("get "+args), "--control", api)...)
		if code != 0 {
			t.Fatalf("get %s: got exit code %d, %s", args, code, errs)
		}
		return out + errs
	}
	for args, want := range map[string]string{
		"gateways": "GATEWAY                       REPLICAS   READY   NEW   RUNNING   DRAIN\nistio-system/ingressgateway   1          0       0     0         -\n",
		"gateways -o wide": "GATEWAY                       REPLICA   STATE   NEW   PID   ADMIN   REVISION   PROGRAM\n" +
			"istio-system/ingressgateway   -         -       -     -     -       1          -\n",
		"drains": "Nothing yet. Nobody has left since control knows of gateways.\n",
	} {
		if got := get(args); got != want {
			t.Errorf("get %s: got\n%s\nwant\n%s", args, got, want)
		}
	}
	supervised(t, c, 2)
	left := closed(2)
	if err := c.Report(t.Context(), fleet.Report{From: "gateway-1", Role: "gateway", Drain: &left}); err != nil {
		t.Fatal(err)
	}
	settle(t, api)
	for args, want := range map[string]string{
		"gateways": "GATEWAY                       REPLICAS   READY   NEW   RUNNING   DRAIN\nistio-system/ingressgateway   1          1       1     2         -\n",
		"gw -o wide": "GATEWAY                       REPLICA            STATE     NEW   PID    ADMIN             REVISION   PROGRAM\n" +
			"istio-system/ingressgateway   ingressgateway-1   ready     yes   4711   127.0.0.1:15101   1          -\n" +
			"istio-system/ingressgateway   ingressgateway-2   leaving   yes   4712   127.0.0.1:15102   1          -\n",
		"drains": "BEGAN                 GATEWAY     STAGE    TOOK     BEFORE   SINCE   OPEN   COMPLETED   FAILED   TOLD   CUT   REASON\n" +
			"2026-01-02 15:04:05   gateway-1   closed   17.5 s   5        1,200   0      1,203       0        20     2     POST /drain_listeners\n",
		"drains -o wide": "BEGAN                 GATEWAY     STAGE    TOOK     PROTOCOL   BEFORE   SINCE   OPEN   COMPLETED   FAILED   TOLD   CUT\n" +
			"2026-01-02 15:04:05   gateway-1   closed   17.5 s   http/1.1   2        1,200   0      1,202       0        20     0\n" +
			"2026-01-02 15:04:05   gateway-1   closed   17.5 s   grpc       3        0       0      1           0        0      2\n",
	} {
		if got := get(args); got != want {
			t.Errorf("get %s: got\n%s\nwant\n%s", args, got, want)
		}
	}
	const nothing = "Nothing yet. Nobody has left of whom that is true.\n"
	for args, want := range map[string]string{
		"gateways -n istio-system": get("gateways"), "gateways -n prod": "Nothing yet.\n", "gateways -n prod -o json": "[]\n",
		"drains gateway-1": get("drains"), "drains gateway-2": nothing, "drains gateway-2 -o json": "[]\n",
		"drains --since 2026-01-01T00:00:00Z": get("drains"), "drains --since 1ms": nothing,
	} {
		if got := get(args); got != want {
			t.Errorf("get %s: got\n%s\nwant\n%s", args, got, want)
		}
	}
	if code, _, errs := crossfade(t.Context(), "get", "drains", "--since", "noon", "--control", api); code != 2 || !strings.Contains(errs, `--since "noon" is neither`) {
		t.Errorf("get drains --since noon: got %d, %q, want 2, and what to write", code, errs)
	}
	var list []control.GatewayStatus
	if err := json.Unmarshal([]byte(get("gateways -o json")), &list); err != nil || len(list) != 1 || len(list[0].Processes) != 2 {
		t.Errorf("as JSON: got %+v, %v, want a gateway with two processes", list, err)
	}
}

// settle waits until what was reported is in a snapshot: a command is folded at once, with all that came before it.
func settle(t *testing.T, api string) {
	t.Helper()
	if code, _, errs := crossfade(t.Context(), "scale", "deployment/reviews-v1", "--replicas=2", "--control", api); code != 0 {
		t.Fatal(errs)
	}
}

// TestGetGatewaysSaysWhoIsDrained: that nothing is accepted, and that somebody wanted it so.
func TestGetGatewaysSaysWhoIsDrained(t *testing.T) {
	c, api := startControl(t)
	g := c.Gateways()[0]
	err := c.Report(t.Context(), fleet.Report{From: "supervisor", Role: "supervisor", Replicas: []fleet.Replica{
		{ID: "ingressgateway-1", Group: g.Name, Namespace: g.Namespace, Revision: g.Revision, Drained: true, PID: 4711, Admin: "127.0.0.1:15101"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, api)
	for args, want := range map[string]string{
		"get gateways":         "istio-system/ingressgateway   1          0 (drained)   1     1         -\n",
		"get gateways -o wide": "istio-system/ingressgateway   ingressgateway-1   drained   yes   4711   127.0.0.1:15101   1          -\n",
	} {
		if code, out, errs := crossfade(t.Context(), append(strings.Fields(args), "--control", api)...); code != 0 || !strings.HasSuffix(out, want) {
			t.Errorf("%s: got %d, %s%s, want %s", args, code, out, errs, want)
		}
	}
}

// TestGetGatewaysGoesOn: with --watch every row that changes is printed, and no other.
func TestGetGatewaysGoesOn(t *testing.T) {
	c, api := startControl(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := make(lines, 8)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"get", "gateways", "-w", "--control", api}, out, io.Discard) }()
	for _, want := range []string{"GATEWAY", "istio-system/ingressgateway   1          0", "istio-system/ingressgateway   1          1"} {
		if got := <-out; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		supervised(t, c, 1)
		settle(t, api)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}
