package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// startControl starts a control that wants one deployment, reviews-v1 with two replicas, and returns it with the
// address of its API.
func startControl(t *testing.T) (*control.Control, string) {
	t.Helper()
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	api := httptest.NewServer(c.Handler())
	t.Cleanup(func() {
		api.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	err := c.Configure(ctx, &fleet.Desired{Digest: "d", Workloads: []fleet.Workload{
		{Namespace: "default", Name: "reviews-v1", Replicas: 2, Declared: 2, Revision: "r"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c, api.URL
}

// running reports n instances of the wanted revision, ready or not.
func running(t *testing.T, c *control.Control, n int, ready bool) {
	t.Helper()
	r := fleet.Report{From: "local", Role: "local"}
	for i := range n {
		r.Instances = append(r.Instances, fleet.Instance{
			Name: fmt.Sprintf("reviews-v1-%d", i+1), Namespace: "default", Workload: "reviews-v1",
			Revision: c.Workloads()[0].Revision, Incarnation: fmt.Sprintf("u%d-0", i),
			Address: netip.AddrFrom4([4]byte{127, 1, 0, byte(i + 1)}), Ready: ready, Weight: 1,
		})
	}
	if err := c.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestScaleAndRestart(t *testing.T) {
	c, api := startControl(t)
	for _, tt := range []struct {
		args []string
		code int
		out  string // all of it
		err  string // part of it
	}{
		{args: []string{"scale", "deployment/reviews-v1", "--replicas=3"}, out: "deployment/reviews-v1 scaled to 3\n"},
		{args: []string{"scale", "deploy/reviews-v1", "--replicas", "0"}, out: "deployment/reviews-v1 scaled to 0\n"},
		{args: []string{"rollout", "restart", "deployment/reviews-v1"}, out: "deployment/reviews-v1 restarted\n"},
		{args: []string{"scale", "deployment/revews", "--replicas=1"}, code: 1, err: "default/reviews-v1"},
		{args: []string{"rollout", "restart", "deployment/revews"}, code: 1, err: "default/reviews-v1"},
		{args: []string{"rollout", "status", "deployment/revews"}, code: 1, err: "default/reviews-v1"},
		{args: []string{"scale", "deployment/reviews-v1", "-n", "prod", "--replicas=1"}, code: 1, err: "prod/reviews-v1: no such deployment"},
		{args: []string{"scale", "reviews-v1", "--replicas=1"}, code: 2, err: "want deployment/NAME or gateway/NAME"},
		{args: []string{"scale", "service/reviews", "--replicas=1"}, code: 2, err: "only deployments and gateways"},
		{args: []string{"scale", "deployment/reviews-v1", "--replicas=-1"}, code: 2, err: "want 0 or more"},
		{args: []string{"scale", "deployment/reviews-v1"}, code: 2, err: `"replicas" not set`},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(tt.args, "--control", api), &out, &errs)
		if code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%v: got %d, %q, %q, want %d, %q, %q", tt.args, code, out.String(), errs.String(), tt.code, tt.out, tt.err)
		}
	}
	if got := c.Workloads()[0]; got.Replicas != 0 || got.Revision == "r" {
		t.Errorf("got %+v, want 0 replicas of a newer revision", got)
	}
}

func TestCommandsSayThatNobodyAnswers(t *testing.T) {
	for _, args := range [][]string{
		{"scale", "deployment/a", "--replicas=1"},
		{"rollout", "restart", "deployment/a"},
		{"rollout", "status", "deployment/a"},
	} {
		var errs bytes.Buffer
		code := run(t.Context(), append(args, "--control", "127.0.0.1:1"), io.Discard, &errs)
		if got := errs.String(); code != 1 || !strings.Contains(got, "no control answers at http://127.0.0.1:1") || !strings.Contains(got, "crossfade up") {
			t.Errorf("%v: got %d, %q, want 1, and how to start one", args, code, got)
		}
	}
}

// A lines passes on what is written to it, a line at a time.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestRolloutStatusWaits(t *testing.T) {
	c, api := startControl(t)
	out := make(lines, 8)
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"rollout", "status", "deployment/reviews-v1", "--control", api}, out, io.Discard)
	}()
	for _, step := range []struct {
		n     int
		ready bool
		want  string
	}{
		{0, false, "deployment/reviews-v1: 0 of 2 are new, 0 ready, 0 run\n"},
		{2, false, "deployment/reviews-v1: 2 of 2 are new, 0 ready, 2 run\n"},
		{3, true, "deployment/reviews-v1: 3 of 2 are new, 3 ready, 3 run\n"}, // one too many is not done
		{2, true, "deployment/reviews-v1 is rolled out: 2 of 2 ready\n"},
	} {
		running(t, c, step.n, step.ready)
		if got := <-out; got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

func TestRolloutStatusGivesUp(t *testing.T) {
	_, api := startControl(t)
	var errs bytes.Buffer
	code := run(t.Context(), []string{
		"rollout", "status", "deployment/reviews-v1", "--control", api, "--timeout", (300 * time.Millisecond).String(),
	}, io.Discard, &errs)
	if code != 1 || !strings.Contains(errs.String(), "deployment/reviews-v1") || !strings.Contains(errs.String(), "--timeout is over") {
		t.Errorf("got %d, %q, want 1, and that the time is over", code, errs.String())
	}
}

// TestRestartSaysWhoIsCold: a rolling update that does not wait for the warm-up says so, and what to write.
func TestRestartSaysWhoIsCold(t *testing.T) {
	const note = "note: old instances leave %s new ones are ready, and reviews:9080 warms up for 90.5s: with minReadySeconds: 91 they stay until the new ones are warm\n"
	for _, tt := range []struct {
		workload fleet.Workload
		want     string
	}{
		{fleet.Workload{}, fmt.Sprintf(note, "as soon as")},
		{fleet.Workload{MinReady: time.Minute}, fmt.Sprintf(note, "60s after")},
		{fleet.Workload{MinReady: 91 * time.Second}, ""},
		{fleet.Workload{Recreate: true}, ""},
	} {
		c, api := startControl(t)
		w := tt.workload
		w.Namespace, w.Name, w.Replicas, w.Declared, w.Revision = "default", "reviews-v1", 2, 2, "r"
		w.Labels = map[string]string{"app": "reviews"}
		err := c.Configure(t.Context(), &fleet.Desired{Digest: "e", Workloads: []fleet.Workload{w}, Services: []fleet.Service{{
			Name: "reviews:9080", Namespace: "default", Host: "reviews", Port: 9080, Selector: map[string]string{"app": "reviews"},
			Pools: []fleet.Pool{{Policy: fleet.Policy{Warmup: fleet.Warmup{Window: 90500 * time.Millisecond, Minimum: 0.1, Aggression: 1}}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"rollout", "restart", "deployment/reviews-v1", "--control", api}, &out, &errs)
		if code != 0 || out.String() != "deployment/reviews-v1 restarted\n" || errs.String() != tt.want {
			t.Errorf("%+v: got %d, %q and %q, want the note %q", tt.workload, code, out.String(), errs.String(), tt.want)
		}
	}
}
