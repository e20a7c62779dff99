package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// left reports how far the leave of a gateway is that began at a second of its own.
func left(t *testing.T, c *control.Control, id string, began int64, stage drain.Stage, cut uint64) {
	t.Helper()
	r := drain.Report{ID: id, Began: time.Unix(began, 0), Stage: stage, Cut: cut}
	err := c.Report(t.Context(), fleet.Report{From: id, Role: "gateway", Drain: &r, Leaving: stage == drain.Closed})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWaitingSaysWhatLeavesCost: whoever waits for a gateway hears at the end what the leaves came to that were not over
// when it began, those of its replicas alone.
func TestWaitingSaysWhatLeavesCost(t *testing.T) {
	const done, since = "gateway/ingressgateway is rolled out: 2 of 2 ready\n", "since this command began "
	for _, tt := range []struct {
		name  string
		leave func(*control.Control)
		code  int
		out   string // the last line
		err   string
	}{
		{"clean", func(c *control.Control) { left(t, c, "ingressgateway-3", 9, drain.Closed, 0) }, 0, since + "1 replica left, 0 requests were cut\n", ""},
		{
			"cut", func(c *control.Control) { left(t, c, "ingressgateway-3", 9, drain.Closed, 2) }, exitCut,
			since + "1 replica left, 2 requests were cut\n", "crossfade: 2 requests were cut: crossfade get drains\n",
		},
		{
			"killed", func(*control.Control) {}, exitCut,
			since + "0 replicas left, 0 requests were cut, and 1 replica ended without a report: killed, or dead, with all that was open\n",
			"crossfade: 1 replica was killed or died: crossfade get events\n",
		},
		{
			"killed while it left", func(c *control.Control) { left(t, c, "ingressgateway-3", 9, drain.Forced, 1) }, exitCut,
			since + "0 replicas left, 1 request was cut, and 1 replica ended without a report: killed, or dead, with all that was open\n",
			"crossfade: 1 request was cut: crossfade get drains\n",
		},
		{"nobody else's", func(c *control.Control) {
			left(t, c, "other-1", 9, drain.Closed, 7)
			left(t, c, "ingressgateway-3", 9, drain.Closed, 0)
		}, 0, since + "1 replica left, 0 requests were cut\n", ""},
	} {
		c, api := startControl(t)
		supervised(t, c, 3)
		left(t, c, "ingressgateway-1", 1, drain.Closed, 100) // over, and told to whoever waited then
		out, errs := make(lines, 8), new(strings.Builder)
		ended := make(chan int, 1)
		go func() {
			ended <- run(t.Context(), []string{"scale", "gateway/ingressgateway", "--replicas=2", "--wait", "--control", api}, out, errs)
		}()
		<-out // scaled
		<-out // how far it is
		supervised(t, c, 3)
		<-out
		left(t, c, "ingressgateway-3", 9, drain.Draining, 0)
		tt.leave(c)
		supervised(t, c, 2)
		if got := <-out; got != done {
			t.Errorf("%s: got %q, want %q", tt.name, got, done)
		}
		if got := <-out; got != tt.out {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.out)
		}
		if code := <-ended; code != tt.code || errs.String() != tt.err {
			t.Errorf("%s: got exit code %d and %q, want %d and %q", tt.name, code, errs, tt.code, tt.err)
		}
	}
}

// TestStatusSpeaksOfWhatItSaw: it begins in the middle, and counts what is not over; what is, it leaves to get drains.
func TestStatusSpeaksOfWhatItSaw(t *testing.T) {
	c, api := startControl(t)
	if err := c.ScaleGateway(t.Context(), control.Target{Namespace: "istio-system", Name: "ingressgateway"}, 2); err != nil {
		t.Fatal(err)
	}
	supervised(t, c, 2)
	left(t, c, "ingressgateway-1", 1, drain.Closed, 100)
	status := []string{"rollout", "status", "gateway/ingressgateway", "--control", api}
	code, text, errs := crossfade(t.Context(), status...)
	const nobody = "gateway/ingressgateway is rolled out: 2 of 2 ready\nno replica has left since this command began; what earlier ones came to: crossfade get drains\n"
	if code != 0 || text != nobody {
		t.Errorf("got %d, %q, %q, want %q", code, text, errs, nobody)
	}
	supervised(t, c, 3) // the third leaves
	left(t, c, "ingressgateway-3", 2, drain.Draining, 0)
	out := make(lines, 8)
	ended := make(chan int, 1)
	go func() { ended <- run(t.Context(), status, out, io.Discard) }()
	<-out
	left(t, c, "ingressgateway-3", 2, drain.Closed, 3)
	supervised(t, c, 2)
	<-out
	const want = "since this command began 1 replica left, 3 requests were cut\n"
	if got := <-out; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if code := <-ended; code != exitCut {
		t.Errorf("got exit code %d, want %d", code, exitCut)
	}
}

// TestDrainedReplicasAreNotDead: they told what their leave came to long before they end.
func TestDrainedReplicasAreNotDead(t *testing.T) {
	c, api := startControl(t)
	g := c.Gateways()[0]
	supervise := func(replicas ...fleet.Replica) {
		t.Helper()
		for i := range replicas {
			r := &replicas[i]
			r.Group, r.Namespace, r.Revision = g.Name, g.Namespace, g.Revision
		}
		if err := c.Report(t.Context(), fleet.Report{From: "supervisor", Role: "supervisor", Replicas: replicas}); err != nil {
			t.Fatal(err)
		}
	}
	left(t, c, "ingressgateway-1", 1, drain.Closed, 0)
	supervise(fleet.Replica{ID: "ingressgateway-1", PID: 1, Ready: true}) // it was not looked at since
	settle(t, api)
	out := make(lines, 8)
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"upgrade", "--wait", "--control", api}, out, io.Discard)
	}()
	<-out // upgrades
	<-out // nobody is new
	g = c.Gateways()[0]
	supervise(fleet.Replica{ID: "ingressgateway-1", PID: 1, Drained: true, Leaving: true}, fleet.Replica{ID: "ingressgateway-2", PID: 2, Ready: true})
	<-out // one is
	supervise(fleet.Replica{ID: "ingressgateway-2", PID: 2, Ready: true})
	<-out // rolled out
	const want = "no replica has left since this command began; what earlier ones came to: crossfade get drains\n"
	if got := <-out; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}
