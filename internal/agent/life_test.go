package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

const second = time.Second

// A story is a life on virtual time, with a registry that has at once what it should.
type story struct {
	now   time.Time
	life  Life
	sight Sight
	do    Do
	told  []string        // kinds of what was told
	when  []time.Duration // likewise
	slow  bool            // the registry is away
}

func begin(cycle fleet.Lifecycle) *story {
	s := &story{now: time.Unix(1_000_000, 0), life: Life{Reachable: true}}
	s.sight = Sight{Running: true, Passing: true, Open: true, Cycle: &cycle, Share: 1}
	return s
}

// step lets the life go on until nothing follows at once.
func (s *story) step() {
	for listing := Listing(stages); listing != s.sight.Listing; {
		listing = s.sight.Listing
		s.do = s.life.Step(s.sight, s.now)
		for _, told := range s.do.Tell {
			s.told, s.when = append(s.told, told.Kind), append(s.when, s.now.Sub(time.Unix(1_000_000, 0)))
		}
		if !s.slow {
			s.sight.Listing = s.do.Listing
		}
	}
}

// pass lets time pass, in steps of a tenth of a second.
func (s *story) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(100 * time.Millisecond)
		s.step()
	}
}

func (s *story) want(t *testing.T, stage Stage) {
	t.Helper()
	if got := s.life.Stage(); got != stage {
		t.Errorf("after %v: got stage %v, want %v", s.now.Sub(time.Unix(1_000_000, 0)), got, stage)
	}
}

func (s *story) wantTold(t *testing.T, kinds ...string) {
	t.Helper()
	if diff := cmp.Diff(kinds, s.told); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
}

// warms is a Lifecycle with everything.
func warms() fleet.Lifecycle {
	c := fleet.DefaultLifecycle()
	c.Name = "web"
	c.Delay = 5 * second
	c.Requests = &fleet.WarmupRequests{Requests: []fleet.WarmupRequest{{Path: "/"}}}
	return c
}

func TestComingUp(t *testing.T) {
	s := begin(warms())
	s.sight.Passing, s.sight.Running, s.sight.Share, s.sight.Control = false, false, 0.1, Linked // control tells of the warm-up
	s.step()
	s.want(t, Starting)
	s.sight.Running = true
	s.step()
	s.want(t, Probing)
	s.sight.Passing = true
	s.step()
	s.want(t, Warming)
	if !s.do.Warm || s.do.Listing != Absent || s.do.Ready {
		t.Errorf("got %+v, want it warmed by requests, and neither listed nor ready", s.do)
	}
	s.pass(3 * second)
	s.want(t, Warming)
	s.sight.Requests = Passed
	s.step()
	s.want(t, Delayed)
	if s.do.Warm {
		t.Error("it is sent warm-up requests still")
	}
	s.pass(4900 * time.Millisecond)
	s.want(t, Delayed)
	s.slow = true
	s.pass(100 * time.Millisecond)
	s.want(t, Registering)
	if s.do.Ready || s.do.Listing != Listed {
		t.Errorf("got %+v, want it to be listed, and not ready before the registry has it", s.do)
	}
	s.slow = false
	s.step()
	s.step()
	s.want(t, Registered)
	if !s.do.Ready {
		t.Error("it is not ready")
	}
	s.sight.Share = 1
	s.step()
	s.want(t, Warm)
	s.wantTold(t, "registration.delayed", "registration.completed", "readiness.passed")
}

func TestReadinessMayWaitForWarmth(t *testing.T) {
	c := fleet.DefaultLifecycle()
	c.Ready = fleet.ReadyWarm
	s := begin(c)
	s.sight.Share = 0.9
	s.step()
	if s.want(t, Registered); s.do.Ready {
		t.Error("it is ready before it is warm")
	}
	s.sight.Share = 1
	s.step()
	if s.want(t, Warm); !s.do.Ready {
		t.Error("it is not ready, and warm")
	}
}

// One that cannot serve any more when its time to register comes does so when it can again: a registry need not have a
// word for what it cannot.
func TestRegisteringWaitsForThoseThatServe(t *testing.T) {
	c := warms()
	c.Requests = nil
	s := begin(c)
	s.step()
	s.want(t, Delayed)
	s.sight.Passing = false
	s.pass(c.Delay)
	if s.want(t, Registering); s.do.Listing != Absent {
		t.Errorf("got listing %v, want none of what cannot serve", s.do.Listing)
	}
	s.sight.Passing = true
	s.step()
	if s.want(t, Warm); s.do.Listing != Listed || !s.do.Ready {
		t.Errorf("got %+v, want it listed, and ready", s.do)
	}
}

// A probe that fails later takes readiness away, and what is listed says so; nothing begins anew.
func TestAProbeThatFailsLater(t *testing.T) {
	s := begin(fleet.PlainLifecycle())
	s.step()
	if !s.do.Serves || !s.do.Ready {
		t.Fatalf("got %+v, want it to serve", s.do)
	}
	s.sight.Passing = false
	s.step()
	if s.want(t, Warm); s.do.Serves || s.do.Ready || s.do.Listing != Listed {
		t.Errorf("got %+v, want it listed as one that does not serve", s.do)
	}
	s.sight.Passing = true
	s.step()
	if !s.do.Serves || !s.do.Ready {
		t.Errorf("got %+v, want it to serve again", s.do)
	}
}

func TestFailedWarmupRequests(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		c := warms()
		c.Requests.Refuse = refuse
		s := begin(c)
		s.step()
		s.sight.Requests = Failed
		s.pass(10 * second)
		if want := map[bool]Stage{false: Warm, true: Refused}[refuse]; s.life.Stage() != want {
			t.Errorf("refuse %v: got stage %v, want %v", refuse, s.life.Stage(), want)
		}
		if listed := s.do.Listing == Listed; listed == refuse {
			t.Errorf("refuse %v: got it listed: %v", refuse, listed)
		}
	}
}

func TestNoPassInTime(t *testing.T) {
	s := begin(fleet.PlainLifecycle())
	s.life.Patience = 3 * second
	s.sight.Passing, s.sight.Why = false, "connection refused"
	s.pass(2900 * time.Millisecond)
	s.want(t, Probing)
	s.pass(200 * time.Millisecond)
	if s.want(t, Stopping); !s.do.Stop || s.life.Failure() != "it could not serve within 3s: connection refused" {
		t.Errorf("got %+v, %q, want it stopped for that reason", s.do, s.life.Failure())
	}
	s.sight.Exit = "exit code 0"
	s.step()
	s.want(t, Ended)
}

func TestDying(t *testing.T) {
	s := begin(fleet.DefaultLifecycle())
	s.step()
	s.slow = true
	s.sight.Exit = "ended by SIGKILL"
	s.step()
	if s.want(t, Died); s.do.Listing != Absent || !s.do.Refuse || s.do.Ready {
		t.Errorf("got %+v, want it out of the registry at once, and its front to refuse", s.do)
	}
	s.slow = false
	s.step()
	s.step()
	s.want(t, Ended)
	s.wantTold(t, "registration.completed", "readiness.passed", "instance.died")
}

// Whatever happens, in whatever order: stages are passed in order; nothing is listed before the application can serve,
// nor after it was told to leave; readiness is answered only for what is listed; what leaves is not stopped while
// something is open before its time is up; and a leave ends in the time that it may take.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := warms()
		c.Delay = time.Duration(rapid.IntRange(0, 5).Draw(rt, "delay")) * second
		if rapid.Bool().Draw(rt, "no requests") {
			c.Requests = nil
		}
		s := begin(c)
		s.sight.Control = Following(rapid.IntRange(0, 2).Draw(rt, "control"))
		s.life.Followed, s.life.Foreign = rapid.Bool().Draw(rt, "followed"), rapid.Bool().Draw(rt, "foreign")
		if rapid.Bool().Draw(rt, "front") {
			s.sight.Front = &proxy.Seen{}
		}
		s.sight.Passing, s.sight.Share = false, 0
		var was Stage
		var left time.Time
		passed := false
		for _, what := range rapid.SliceOfN(rapid.IntRange(0, 14), 1, 300).Draw(rt, "what happens") {
			s.happens(what)
			passed = passed || s.sight.Passing
			s.now = s.now.Add(100 * time.Millisecond)
			s.step()
			is := s.life.Stage()
			switch {
			case is < was:
				rt.Fatalf("went from %v to %v", was, is)
			case s.do.Listing != Absent && !passed:
				rt.Fatalf("%v: listed before it could serve", is)
			case s.do.Listing == Listed && s.sight.Wish != Stay:
				rt.Fatalf("%v: listed although it leaves", is)
			case s.do.Gone && (is != Withdrawing || !s.life.Foreign || s.do.Listing != Leaving):
				rt.Fatalf("%v: gone from registries, listing %v, foreign %v", is, s.do.Listing, s.life.Foreign)
			case s.do.Ready && (s.sight.Listing != Listed || !s.sight.Passing):
				rt.Fatalf("%v: ready, and not listed or not serving", is)
			}
			if was < Withdrawing && is >= Withdrawing {
				left = s.now
			}
			early := !s.sight.Hurry && s.now.Sub(left) < c.Leave.Timeout
			if was < Stopping && is == Stopping && early && s.sight.Front != nil && s.sight.Front.Open > 0 {
				rt.Fatalf("stopped with %d open", s.sight.Front.Open)
			}
			was = is
		}
		s.sight.Wish = Stop
		s.pass(c.Leave.Timeout + second)
		if s.sight.Exit == "" && s.life.Stage() < Stopping {
			rt.Fatalf("%v is left %v after it began", s.life.Stage(), c.Leave.Timeout+second)
		}
	})
}

// happens lets one thing happen.
func (s *story) happens(what int) {
	front := s.sight.Front
	switch what {
	case 0:
		s.sight.Passing = true
	case 1:
		s.sight.Passing = false
	case 2:
		s.sight.Requests = Passed
	case 3:
		s.slow = !s.slow
	case 4:
		s.sight.Share = 1
	case 5:
		s.sight.Drained = s.sight.Wish != Stay
	case 6, 7, 8:
		if front != nil {
			s.sight.Front = &proxy.Seen{Open: front.Open + 1, Total: front.Total + 1, LastForeign: s.now, Last: s.now}
		}
	case 9, 10, 11:
		if front != nil && front.Open > 0 {
			s.sight.Front = &proxy.Seen{Open: front.Open - 1, Total: front.Total, LastForeign: s.now, Last: s.now}
		}
	case 12:
		s.sight.Wish = max(s.sight.Wish, Leave)
	case 13:
		if s.sight.Wish == Leave {
			s.sight.Wish = Stop
		}
	}
}
