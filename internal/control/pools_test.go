package control

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// move does what people do to a warm-up.
func (s *stage) move(name string, m warmup.Move) error {
	err := s.w.command(Target{"default", name, ""}, m.String(), s.now, func(w *world, x *subject, now time.Time) error {
		return w.move(x, m, Target{}, now)
	})
	s.fold()
	return err
}

// only is d with the first n pools of its service.
func only(n int, d *fleet.Desired) *fleet.Desired {
	d.Services[0].Pools = d.Services[0].Pools[:n]
	d.Digest += " only"
	return d
}

// A world sleeps for as long as nothing ends, however many pools somebody is in.
func TestNobodyIsWokenForARampThatIsOver(t *testing.T) {
	for _, tt := range []struct {
		name         string
		whole, other fleet.Warmup
		do           func(*stage)
	}{
		{"no window in one pool", fleet.Warmup{}, linear, func(*stage) {}},
		{"no window in a subset", linear, fleet.Warmup{}, func(*stage) {}},
		{"one is over", fleet.Warmup{Window: time.Second}, linear, func(s *stage) { s.after(2 * time.Second) }},
		{"paused", linear, linear, func(s *stage) { s.wantMove("a", warmup.Pause) }},
		{"at weight 0", linear, linear, func(s *stage) { s.runs[0].Weight = 0; s.report() }},
	} {
		s := newStage(t)
		d := reviews(linear)
		d.Services[0].Pools[0].Policy.Warmup, d.Services[0].Pools[1].Policy.Warmup = tt.whole, tt.other
		s.configure(d)
		s.run("a", "a1", "v2")
		s.pass("a1")
		tt.do(s)
		folds := 0
		for end := s.now.Add(10 * time.Second); s.now.Before(end); folds++ {
			s.after(s.w.wake(s.now, time.Second))
		}
		s.wantStage("a1", fleet.Warming)
		if folds > 10 {
			t.Errorf("%s: %d folds in 10 s, want 10", tt.name, folds)
		}
	}
}

// But it is awake when the last ramp ends.
func TestTheLastRampEndsOnTime(t *testing.T) {
	s := newStage(t)
	d := reviews(linear)
	d.Services[0].Pools[0].Policy.Warmup.Window = 3*time.Second + 500*time.Millisecond
	d.Services[0].Pools[1].Policy.Warmup.Window = 7*time.Second + 250*time.Millisecond
	s.configure(d)
	s.run("a", "a1", "v2")
	s.pass("a1")
	begin := s.now
	for s.endpoint("a1").Stage == fleet.Warming {
		s.after(s.w.wake(s.now, time.Second))
	}
	if got := s.now.Sub(begin); got != 7*time.Second+250*time.Millisecond {
		t.Errorf("the warm-up ended after %v, want 7.25 s", got)
	}
}

func (s *stage) wantMove(name string, m warmup.Move) {
	s.t.Helper()
	if err := s.move(name, m); err != nil {
		s.t.Error(err)
	}
}

// What people did to a warm-up, and what a living fleet has reached, holds in pools that come later.
func TestALaterPoolTakesOverWhatIsReached(t *testing.T) {
	shorter := fleet.Warmup{Window: time.Minute, Minimum: 0.1, Aggression: 1}
	for _, tt := range []struct {
		name       string
		whole, sub fleet.Warmup
		age        time.Duration
		do         func(*stage)
		share      float64 // in the later pool, at once
		passed     float64 // and 12 s later
		stage      fleet.Stage
	}{
		{"nothing was done", linear, linear, 12 * time.Second, func(*stage) {}, 0.1, 0.2, fleet.Warming},
		{"another window", linear, shorter, 12 * time.Second, func(*stage) {}, 0.1, 0.3, fleet.Warming},
		{"paused", linear, linear, 24 * time.Second, func(s *stage) { s.wantMove("a", warmup.Pause) }, 0.2, 0.2, fleet.Warming},
		{"skipped", linear, linear, 24 * time.Second, func(s *stage) { s.wantMove("a", warmup.Skip) }, 1, 1, fleet.Serving},
		{"skipped before it was offered", linear, linear, -1, func(s *stage) { s.wantMove("a", warmup.Skip) }, 1, 1, fleet.Serving},
		{"restarted", linear, linear, time.Hour, func(s *stage) { s.wantMove("a", warmup.Restart); s.after(24 * time.Second) }, 0.2, 0.3, fleet.Warming},
		{"a living fleet", fleet.Warmup{}, linear, 24 * time.Second, func(*stage) {}, 1, 1, fleet.Serving},
		{"at weight 0", linear, linear, 24 * time.Second, func(s *stage) { s.runs[0].Weight = 0; s.report() }, 0.2, 0.2, fleet.Warming},
	} {
		s := newStage(t)
		policies := func(d *fleet.Desired) *fleet.Desired {
			d.Services[0].Pools[0].Policy.Warmup, d.Services[0].Pools[1].Policy.Warmup = tt.whole, tt.sub
			return d
		}
		s.configure(only(1, policies(reviews(linear))))
		s.run("a", "a1", "v2")
		if tt.age >= 0 {
			s.pass("a1")
			s.after(tt.age)
		}
		tt.do(s)
		s.configure(policies(reviews(linear)))
		if tt.age < 0 {
			s.pass("a1")
		}
		for later, want := range []float64{tt.share, tt.passed} {
			s.after(time.Duration(later) * 12 * time.Second)
			if got := warmup.Share(tt.sub, s.progress("v2", "a1")); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%s, %d s after the pool came: a share of %v, want %v", tt.name, 12*later, got, want)
			}
		}
		s.wantStage("a1", tt.stage)
	}
}

// Who is new is new in every pool, whatever the others' windows are.
func TestWhoIsNewTakesOverNothing(t *testing.T) {
	s := newStage(t)
	d := reviews(linear)
	d.Services[0].Pools[0].Policy.Warmup = fleet.Warmup{}
	s.configure(d)
	s.run("a", "a1", "v2")
	s.pass("a1")
	if got := s.progress("v2", "a1"); got != 0 {
		t.Errorf("progress of a newcomer = %v, want 0", got)
	}
	s.wantStage("a1", fleet.Warming)
}

func TestAPauseIsRefusedWhereNothingGrows(t *testing.T) {
	s := newStage(t)
	s.configure(only(1, reviews(linear)))
	s.run("a", "a1", "v2")
	s.pass("a1")
	s.after(12 * time.Second)
	s.wantMove("a", warmup.Pause)
	if err := s.move("a", warmup.Pause); err == nil {
		t.Error("paused in all of its pools, and paused again: want a refusal")
	}
	// A pool in which it is not paused, as an older control may have left it.
	s.configure(reviews(linear))
	l := s.w.lives["a1"]
	l.at[s.w.pool("reviews:9080", "v2")] = spot{fleet.Member{}, linear}
	s.after(time.Second)
	s.wantMove("a", warmup.Pause)
	at := s.progress("v2", "a1")
	s.after(30 * time.Second)
	if got := s.progress("v2", "a1"); got != at {
		t.Errorf("paused in the other pool at %v, and half a minute later at %v", at, got)
	}
}

// A policy may change while somebody is away for a moment: its share is what it was, as that of those who stayed.
func TestAPolicyThatChangesWhileSomebodyIsAway(t *testing.T) {
	longer := fleet.Warmup{Window: 600 * time.Second, Minimum: 0.1, Aggression: 1}
	for _, before := range []fleet.Warmup{{}, linear} {
		s := newStage(t)
		s.configure(reviews(before))
		for _, name := range []string{"a", "b"} {
			s.run(name, name+"1", "v2")
			s.pass(name + "1")
		}
		s.after(60 * time.Second)
		runs := s.runs
		s.runs = runs[1:]
		s.report()
		s.after(time.Second)
		s.configure(reviews(longer))
		s.after(time.Second)
		s.runs = runs
		s.report()
		s.pass("a1")
		for _, subset := range []string{"", "v2"} {
			away, stayed := s.progress(subset, "a1"), s.progress(subset, "b1")
			if away-stayed > 0.01 || stayed-away > 0.01 { // a second or two on either window
				t.Errorf("from %v: who was away is at %v, who stayed at %v", before, away, stayed)
			}
		}
	}
}

// What gateways noted before somebody skipped a warm-up no longer counts.
func TestASkipEndsTheWayBackFromFailedChecks(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("a", "a1", "v2")
	s.pass("a1")
	s.after(time.Hour)
	if err := s.move("a", warmup.Skip); err == nil {
		t.Error("whole and never ejected: want a refusal")
	}
	s.w.report(fleet.Report{From: "gateway-1", Role: "gateway", Events: []fleet.Event{{Kind: "endpoint.returned", Endpoint: "a", Incarnation: "a1"}}}, s.now)
	overlay := fleet.Overlay{"a1": {Progress: 1, Returned: s.now}}
	reached := func() float64 {
		service := &s.w.view.Services[0]
		return warmup.Decide(s.w.view, service, &service.Pools[0], overlay, warmup.Near{}, s.now).Outcomes[0].Progress
	}
	s.after(12 * time.Second)
	if got := reached(); got != 0.6 {
		t.Errorf("12 s after its return: got %v, want 0.6", got)
	}
	s.wantMove("a", warmup.Skip)
	if got := reached(); got != 1 {
		t.Errorf("skipped: got %v, want 1", got)
	}
	if err := s.move("a", warmup.Skip); err == nil {
		t.Error("skipped already: want a refusal")
	}
	s.after(time.Hour)
	overlay["a1"] = fleet.Mark{Progress: 1, Returned: s.now}
	if got := reached(); got != 0.5 {
		t.Errorf("ejected and taken back an hour after it was skipped: got %v, want 0.5", got)
	}
}

// Why somebody joined with its full share is said of that warm-up, not of one that begins anew.
func TestARestartForgetsWhyTheLastWasSkipped(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("a", "a1", "v2")
	s.pass("a1")
	s.wantMove("a", warmup.Skip)
	s.wantMove("a", warmup.Restart)
	if diff := cmp.Diff("", s.w.lives["a1"].skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}
