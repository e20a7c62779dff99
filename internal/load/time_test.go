package load

import (
	"context"
	"math"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// stalling serves in a millisecond, except that nobody is answered from 5 s to 6 s.
func stalling(start time.Time) func() deed {
	return func() deed {
		return func(conn net.Conn) bool {
			time.Sleep(time.Millisecond)
			if at := time.Since(start); at >= 5*time.Second && at < 6*time.Second {
				time.Sleep(6*time.Second - at)
			}
			return answering(okAnswer)(conn)
		}
	}
}

func TestCoordinatedOmissionShowsInTheOpenLoopOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1000 requests; the 100 due while the server stalls wait up to a second, as users would.
		open, err := Run(t.Context(), inBubble(Plan{Rate: 100, Duration: 10 * time.Second, Connections: 4}, stalling(time.Now())))
		if err != nil {
			t.Fatal(err)
		}
		if open.Sent != 1000 || open.OK != 1000 {
			t.Errorf("open loop: got %d sent, %d ok, want 1000 of each", open.Sent, open.OK)
		}
		if got := open.Latency.P99; got < 850*time.Millisecond || got > 950*time.Millisecond {
			t.Errorf("open loop: got p99 %s, want about 900 ms", got)
		}
		if open.Late < 90 || open.Late > 100 || open.LateMax < 900*time.Millisecond {
			t.Errorf("open loop: got %d late, at most %s, want about 95 and 0.95 s", open.Late, open.LateMax)
		}

		closed, err := Run(t.Context(), inBubble(Plan{Duration: 10 * time.Second, Connections: 4}, stalling(time.Now())))
		if err != nil {
			t.Fatal(err)
		}
		if got := closed.Latency.P999; got > 2*time.Millisecond {
			t.Errorf("closed loop: got p99.9 %s, want about 1 ms", got)
		}
		if got := closed.Latency.Max; got < 900*time.Millisecond {
			t.Errorf("closed loop: got max %s, want the whole stall", got)
		}
	})
}

func TestOpenLoopNeverWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func() deed {
			return func(conn net.Conn) bool {
				time.Sleep(time.Second)
				return answering(okAnswer)(conn)
			}
		}
		report, err := Run(t.Context(), inBubble(Plan{Rate: 100, Duration: 3 * time.Second, Connections: 1000}, slow))
		if err != nil {
			t.Fatal(err)
		}
		// 100/s, each a second long: 100 connections, not more, and nobody late.
		if report.OK != 300 || report.Late != 0 || report.Connects < 100 || report.Connects > 101 {
			t.Errorf("got %d ok, %d late, %d connections; want 300, 0, 100", report.OK, report.Late, report.Connects)
		}
		if report.Latency.Max != time.Second {
			t.Errorf("got max %s, want 1s", report.Latency.Max)
		}
		if got, want := len(report.Seconds), 4; got != want {
			t.Fatalf("got %d seconds, want %d", got, want)
		}
		if s := report.Seconds[1]; s.Sent != 100 || s.OK != 100 || s.InFlight != 100 {
			t.Errorf("second 1: got %+v, want 100 sent, ok and in flight", s)
		}
	})
}

func TestWhatCouldNotBeSentIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := func() deed { return hanging }
		plan := Plan{Rate: 10, Duration: 10 * time.Second, Connections: 2, Timeout: 4 * time.Second}
		report, err := Run(t.Context(), inBubble(plan, dead))
		if err != nil {
			t.Fatal(err)
		}
		// Two connections, each lost every 4 s from 0 s and 0.1 s on, until 10 s + 4 s: 4 rounds of two.
		if report.Lost.Timeout != 8 || report.Sent != 8 || report.Unsent != 92 {
			t.Errorf("got %d sent, %d timeouts, %d never sent; want 8, 8, 92", report.Sent, report.Lost.Timeout, report.Unsent)
		}
		if (Allowance{Count: 99}).Allows(report) || !(Allowance{Count: 100}).Allows(report) {
			t.Error("requests never sent must count against the allowance")
		}
	})
}

func TestInterrupt(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			script := inTurn(append(slices.Repeat([]deed{answering(okAnswer)}, 20), hanging)...)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			start := time.Now()
			report, err := Run(ctx, inBubble(Plan{Rate: rate, Duration: time.Hour, Connections: 1, Timeout: time.Minute}, script))
			if err != nil {
				t.Fatal(err)
			}
			if report.OK != 20 || report.Abandoned != 1 || report.LostTotal != 0 || !report.Interrupted {
				t.Errorf("rate %g: got %d ok, %d abandoned, %d lost, interrupted %t; want 20, 1, 0, true",
					rate, report.OK, report.Abandoned, report.LostTotal, report.Interrupted)
			}
			// Due by 3.00 s: 301 of 100/s, one of them just now.
			if want := rate * 2.8; math.Abs(float64(report.Unsent)-want) > 1 {
				t.Errorf("rate %g: got %d never sent, want about %g", rate, report.Unsent, want)
			}
			if got, want := time.Since(start), 3*time.Second+afterInterrupt; got != want {
				t.Errorf("rate %g: ended after %s, want %s", rate, got, want)
			}
		})
	}
}

func TestSecondsAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []Second
		plan := inBubble(Plan{Rate: 10, Duration: 3500 * time.Millisecond, Connections: 1}, inTurn(answering(okAnswer)))
		plan.Second = func(s Second) { seen = append(seen, s) }
		report, err := Run(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != 3 || len(report.Seconds) != 4 {
			t.Fatalf("got %d seconds told and %d in the report, want 3 and 4", len(seen), len(report.Seconds))
		}
		for i, s := range seen {
			if s != report.Seconds[i] || s.Second != i || s.Sent != 10 {
				t.Errorf("second %d: told %+v, report has %+v, want 10 sent", i, s, report.Seconds[i])
			}
		}
	})
}

func TestScheduleDependsOnThePlanAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := Plan{
			Rate:     rapid.Float64Range(0.5, 100_000).Draw(rt, "rate"),
			Requests: rapid.Uint64Range(1, 2000).Draw(rt, "requests"),
			Poisson:  rapid.Bool().Draw(rt, "poisson"),
			Seed:     rapid.Uint64().Draw(rt, "seed"),
		}
		one, two := newSchedule(plan), newSchedule(plan)
		last := time.Duration(-1)
		for i := range plan.Requests {
			a, okA := one.step()
			b, okB := two.step()
			if a != b || !okA || !okB {
				rt.Fatalf("slot %d: got %v and %v, want the same twice", i, a, b)
			}
			if a.index != i || a.due < last {
				rt.Fatalf("slot %d: got %v after %v", i, a, last)
			}
			last = a.due
		}
		if extra, ok := one.step(); ok {
			rt.Fatalf("got slot %v after the last", extra)
		}
	})
}

func TestScheduleKeepsItsRate(t *testing.T) {
	for _, poisson := range []bool{false, true} {
		s := newSchedule(Plan{Rate: 1000, Duration: 100 * time.Second, Poisson: poisson, Seed: 1})
		got := float64(s.dueBy(math.MaxInt64))
		// A Poisson count of 100,000 has a standard deviation of 316.
		if tolerance := map[bool]float64{true: 1500}[poisson]; math.Abs(got-100_000) > tolerance {
			t.Errorf("poisson %t: got %v slots, want 100000 ± %v", poisson, got, tolerance)
		}
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if pause(ctx, time.Hour) || pause(ctx, -1) {
		t.Error("got true after the end of the context, want false")
	}
	if !pause(t.Context(), 3*time.Millisecond) || !pause(t.Context(), -1) {
		t.Error("got false, want true")
	}
}
