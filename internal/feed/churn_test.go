package feed

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// What part of a processor it takes while one of 10,000 endpoints changes a hundred times a second: control with
// the feed's server alone, and with one follower that reads every snapshot it gets. It takes a minute.
func BenchmarkChurn(b *testing.B) {
	for _, followed := range []bool{false, true} {
		name := "control"
		if followed {
			name = "control-and-a-follower"
		}
		b.Run(name, func(b *testing.B) { churn(b, followed) })
	}
}

func churn(b *testing.B, followed bool) {
	b.Helper()
	s := newSite(b, socket(b))
	defer s.stop()
	instances := populate(b, s.control)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	views := 0
	if followed {
		client := dial(b, s.path)
		go func() {
			for ctx.Err() == nil {
				_ = client.Follow(ctx, Hello{ID: "gateway-1", Role: "gateway"}, func(fleet.View) { views++ }) // until ctx ends
			}
		}()
	}
	var spent, passed time.Duration
	for b.Loop() {
		turns(b, s.control, instances, 500) // until the costs are known
		began, used := time.Now(), processor(b)
		turns(b, s.control, instances, 2000)
		spent, passed = spent+processor(b)-used, passed+time.Since(began)
	}
	b.ReportMetric(100*spent.Seconds()/passed.Seconds(), "%cpu")
	b.ReportMetric(float64(views), "views")
}

// populate gives control 10,000 endpoints that serve.
func populate(b *testing.B, c *control.Control) []fleet.Instance {
	b.Helper()
	from := great(10_000)
	labels := map[string]string{"app": "reviews"}
	err := c.Configure(b.Context(), &fleet.Desired{Digest: "great", Services: []fleet.Service{{
		Name: "reviews:9080", Host: "reviews", Namespace: "default", Port: 9080, Selector: labels,
		Pools: []fleet.Pool{{}, {Subset: "v2", Labels: map[string]string{"version": "v2"}}},
	}}})
	err = errors.Join(err, c.Report(b.Context(), fleet.Report{From: "local", Role: "local", Instances: from.Instances}))
	for i := range from.Instances {
		err = errors.Join(err, c.Verdict(b.Context(), from.Instances[i].Incarnation, true, "HTTP 200"))
	}
	if err != nil {
		b.Fatal(err)
	}
	return from.Instances
}

// turns changes n endpoints, a hundred a second.
func turns(b *testing.B, c *control.Control, instances []fleet.Instance, n int) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		incarnation := instances[i%len(instances)].Incarnation
		if err := c.Verdict(b.Context(), incarnation, i%2 == 1, "turn"); err != nil {
			b.Fatal(err)
		}
		if err := c.Verdict(b.Context(), incarnation, i%2 == 0, "turn"); err != nil {
			b.Fatal(err)
		}
	}
}

// processor is the time that this process has spent on processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
