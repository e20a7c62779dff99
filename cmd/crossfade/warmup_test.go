package main

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// serving makes a control want a service that warms up in two minutes, with two instances: reviews-v1-1 is
// offered, reviews-v1-2 waits for its check.
func serving(t *testing.T, c *control.Control) {
	t.Helper()
	labels := map[string]string{"app": "reviews"}
	err := c.Configure(t.Context(), &fleet.Desired{Digest: "e", Services: []fleet.Service{{
		Name: "reviews:9080", Host: "reviews", Namespace: "default", Port: 9080, Selector: labels,
		Pools: []fleet.Pool{{Policy: fleet.Policy{Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.Report{From: "local", Role: "local"}
	for i, name := range []string{"reviews-v1-1", "reviews-v1-2"} {
		r.Instances = append(r.Instances, fleet.Instance{
			Name: name, Namespace: "default", Workload: "reviews-v1", Incarnation: name, Address: netip.AddrFrom4([4]byte{127, 1, 0, byte(i + 1)}),
			Labels: labels, Ready: true, Weight: 1,
		})
	}
	if err := c.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := c.Verdict(t.Context(), "reviews-v1-1", true, "HTTP 200"); err != nil {
		t.Fatal(err)
	}
}

func TestWarmupAndWeight(t *testing.T) {
	c, api := startControl(t)
	serving(t, c)
	for _, tt := range []struct {
		args []string
		code int
		out  string // all of it
		err  string // part of it
	}{
		{args: []string{"warmup", "pause", "reviews-v1-1"}, out: "reviews-v1-1: warm-up paused\n"},
		{args: []string{"warmup", "pause", "reviews-v1-1"}, code: 1, err: "its warm-up is paused already"},
		{args: []string{"warmup", "resume", "reviews-v1-1"}, out: "reviews-v1-1: warm-up resumed\n"},
		{args: []string{"warmup", "skip", "reviews-v1-1"}, out: "reviews-v1-1: warm-up skipped\n"},
		{args: []string{"warmup", "skip", "reviews-v1-1"}, code: 1, err: "control refuses: skip the warm-up of default/reviews-v1-1: refused: its warm-up is over"},
		{args: []string{"warmup", "restart", "reviews-v1-1"}, out: "reviews-v1-1: warm-up restarted\n"},
		{args: []string{"warmup", "pause", "reviews-v1-2"}, code: 1, err: "its checks have not passed"},
		{args: []string{"warmup", "skip", "reviews-v1-3"}, code: 1, err: "no such endpoint; there are: reviews-v1-1, reviews-v1-2"},
		{args: []string{"warmup", "skip", "reviews-v1"}, code: 1, err: "reviews-v1 is a deployment; its endpoints: reviews-v1-1, reviews-v1-2"},
		{args: []string{"warmup", "skip", "reviews-v1-1", "-n", "prod"}, code: 1, err: "prod/reviews-v1-1: no such endpoint"},
		{args: []string{"weight", "reviews-v1-1", "0.5"}, out: "reviews-v1-1: weight × 0.5\n"},
		{args: []string{"weight", "reviews-v1-3", "1"}, code: 1, err: "no such endpoint"},
		{args: []string{"weight", "reviews-v1-1", "11"}, code: 2, err: "want a number from 0 to 10"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(tt.args, "--control", api), &out, &errs)
		if code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%v: got %d, %q, %q, want %d, %q, %q", tt.args, code, out.String(), errs.String(), tt.code, tt.out, tt.err)
		}
	}
	v := c.View()
	if e := v.Services[0].Endpoints[0]; e.Factor == nil || *e.Factor != 0.5 || e.Stage != fleet.Warming {
		t.Errorf("got stage %v and factor %v, want Warming, 0.5", e.Stage, e.Factor)
	}
	var kinds []string
	for _, e := range v.Events {
		if strings.HasPrefix(e.Reason, "by ") {
			kinds = append(kinds, e.Kind)
		}
	}
	want := []string{"warmup.paused", "warmup.resumed", "warmup.skipped", "warmup.restarted", "weight.changed"}
	if !slices.Equal(kinds, want) {
		t.Errorf("events %q, want %q", kinds, want)
	}
}

func TestControlsAddressMustBeOne(t *testing.T) {
	var errs bytes.Buffer
	if code := run(context.WithoutCancel(t.Context()), []string{"warmup", "skip", "a", "--control", "::"}, io.Discard, &errs); code != 2 {
		t.Errorf("got exit code %d, %q, want 2", code, errs.String())
	}
}
