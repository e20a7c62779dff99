package local

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

func TestScaling(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(500 * time.Millisecond)
		s.want("web-1 Starting 127.1.0.1") // control sees it from its start
		s.after(time.Second)
		s.want("web-1 Warming 127.1.0.1")

		s.scale(3)
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.1", "web-2 Warming 127.1.0.2", "web-3 Warming 127.1.0.3")

		s.scale(1) // the youngest go
		s.after(100 * time.Millisecond)
		s.want("web-1 Warming 127.1.0.1", "web-2 Draining 127.1.0.2", "web-3 Draining 127.1.0.3")
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.1")

		s.scale(0)
		s.after(3 * time.Second)
		s.want()

		s.scale(1) // under a name and at an address that nobody remembers
		s.after(3 * time.Second)
		s.want("web-4 Warming 127.1.0.4")
	}, web(1))
}

func TestLeavingHasAnOrder(t *testing.T) {
	w := web(1)
	w.PreStop = &fleet.PreStop{Exec: []string{"/bin/hook"}}
	play(t, func(s *theatre) {
		s.after(10 * time.Second)
		s.scale(0)
		s.after(10 * time.Second)
		want := []string{
			"0s START sidecar/web-1", "0s START web-1",
			"10.5s START web-1 /bin/hook", "10.8s END web-1 /bin/hook: exit code 0", // when it has drained
			"10.8s TERM web-1", "10.9s END web-1: exit code 0",
			"10.9s TERM sidecar/web-1", "10.91s END sidecar/web-1: exit code 0",
		}
		slices.Sort(s.log[:2]) // these start at the same time
		if diff := cmp.Diff(want, s.log); diff != "" {
			s.t.Errorf("what happened (-want +got):\n%s", diff)
		}
		wantEvents := []string{
			"instance.started", "probe.passed", "instance.leaving: scaled to 0", "prestop.done", "instance.stopped: exit code 0",
		}
		if diff := cmp.Diff(wantEvents, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
	}, w)
}

func TestPreStop(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook fleet.PreStop
		want []string // events from preStop on
		took time.Duration
	}{
		{"sleep", fleet.PreStop{Sleep: 3 * time.Second}, []string{"prestop.done", "instance.stopped: exit code 0"}, 3100 * time.Millisecond},
		{"get", fleet.PreStop{Path: "/bye", Port: 80}, []string{"prestop.done", "instance.stopped: exit code 0"}, 100 * time.Millisecond},
		{
			"command fails",
			fleet.PreStop{Exec: []string{"/bin/nohook"}},
			[]string{"prestop.failed: /bin/nohook: exit code 1", "instance.stopped: exit code 0"},
			400 * time.Millisecond,
		},
		{
			"too long: bounded by the grace period, and SIGTERM still has a moment",
			fleet.PreStop{Sleep: time.Hour},
			[]string{"prestop.failed: the grace period is over", "instance.stopped: exit code 0"},
			30100 * time.Millisecond,
		},
	} {
		w := web(1)
		w.PreStop = &tt.hook
		play(t, func(s *theatre) {
			s.after(5 * time.Second)
			s.scale(0)
			s.after(time.Minute)
			if diff := cmp.Diff(tt.want, s.told()[3:]); diff != "" {
				s.t.Errorf("%s: events (-want +got):\n%s", tt.name, diff)
			}
			drained := 5*time.Second + s.drain
			if got, want := s.ended("web-1"), drained+tt.took; got != want {
				s.t.Errorf("%s: got the end at %v, want %v", tt.name, got, want)
			}
		}, w)
	}
}

// ended returns when a process ended.
func (s *theatre) ended(name string) time.Duration {
	s.t.Helper()
	for _, line := range s.log {
		if at, what, _ := strings.Cut(line, " "); strings.HasPrefix(what, "END "+name+":") {
			d, err := time.ParseDuration(at)
			if err != nil {
				s.t.Fatal(err)
			}
			return d
		}
	}
	s.t.Fatalf("%s has not ended", name)
	return 0
}

func TestGraceEndsWithAKill(t *testing.T) {
	play(t, func(s *theatre) {
		s.deaf = true
		s.after(5 * time.Second)
		s.scale(0)
		s.after(time.Minute)
		want := []string{"instance.started", "probe.passed", "instance.leaving: scaled to 0", "instance.killed: did not end within 30s"}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
		if got, want := s.ended("web-1"), 5*time.Second+s.drain+30*time.Second; got != want {
			s.t.Errorf("got the end at %v, want %v", got, want)
		}
	}, web(1))
}

func TestDrainIsBounded(t *testing.T) {
	play(t, func(s *theatre) {
		s.drain = time.Hour
		s.after(5 * time.Second)
		s.scale(0)
		s.after(time.Minute)
		s.want()
		if got := s.told()[3]; !strings.HasPrefix(got, "drain.overdue") {
			s.t.Errorf("got %q, want that it drained for too long", got)
		}
		if len(s.faults) != 1 { // the theatre has noticed, rightly
			s.t.Errorf("got %q, want one", s.faults)
		}
		s.faults = nil
	}, web(1))
}

// Gateways send on by the last snapshot while control is away: who is to leave then has time.
func TestNobodyStopsBeforeControlKnows(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		s.lag = 10 * time.Millisecond
		s.scale(0)
		s.after(15 * time.Millisecond) // we know, control does not
		s.away = true
		s.after(5 * time.Minute)
		if got := countOf(s.log, "TERM web-1"); got != 0 {
			s.t.Error("web-1 was stopped, want it to run on")
		}
		s.away = false
		s.ring()
		s.after(5 * time.Second)
		s.want()
	}, web(1))
}

func TestWhoWasNeverReadyLeavesAtOnce(t *testing.T) {
	play(t, func(s *theatre) {
		s.boot = time.Hour
		s.drain = time.Hour
		s.after(5 * time.Second)
		s.scale(0)
		s.after(200 * time.Millisecond)
		s.want()
	}, web(1))
}

func TestCrash(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		first := s.incarnation()
		s.crash("127.2.0.1", 3)
		s.after(100 * time.Millisecond)
		s.want() // nothing runs: control is not told that something does
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1") // same name, same address
		second := s.incarnation()
		if first == second || !strings.HasSuffix(second, "-1") || strings.TrimSuffix(first, "-0") != strings.TrimSuffix(second, "-1") {
			s.t.Errorf("got incarnation %q after %q, want the next of the same replica", second, first)
		}
		got := s.told()
		if !strings.HasPrefix(got[2], "instance.died: exit code 3; starts again in ") {
			s.t.Errorf("got %q, want that it died with code 3", got[2])
		}
		if starts := countOf(s.log, "START sidecar/web-1"); starts != 1 {
			s.t.Errorf("got %d starts of the sidecar, want 1: it has not died", starts)
		}
	}, web(1))
}

func TestCrashLoopBacksOff(t *testing.T) {
	w := web(1)
	w.Command = []string{"/bin/missing"}
	play(t, func(s *theatre) {
		s.after(5 * time.Minute)
		s.want()
		// 0.2 s doubling to 30 s, each up to a quarter shorter: 8 steps to the cap, then one each 22 to 30 s.
		if deaths := len(s.told()); deaths < 8+8 || deaths > 8+14 {
			s.t.Errorf("got %d attempts in 5 minutes, want between 16 and 22", deaths)
		}
		s.scale(0)
		s.after(time.Second)
		if got, want := s.told()[len(s.told())-1], "instance.leaving: scaled to 0"; got != want {
			s.t.Errorf("got %q last, want %q", got, want)
		}
	}, w)
}

func countOf(lines []string, suffix string) int {
	n := 0
	for _, line := range lines {
		if strings.HasSuffix(line, " "+suffix) {
			n++
		}
	}
	return n
}

func TestDeadSidecarComesBackAtOnce(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		before := s.incarnation()
		s.crash("127.1.0.1", 2)
		s.after(time.Millisecond)
		s.want("web-1 Starting 127.1.0.1") // nobody listens there: not to be offered
		s.after(time.Second)
		s.want("web-1 Warming 127.1.0.1")
		if now := s.incarnation(); now != before {
			s.t.Errorf("got incarnation %q, want %q: the application has not ended", now, before)
		}
		want := []string{"instance.started", "probe.passed", "sidecar.died: exit code 2"}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
	}, web(1))
}

func TestReadinessComesAndGoes(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5500 * time.Millisecond)
		s.want("web-1 Warming 127.1.0.1")
		s.failing["127.2.0.1"] = true
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1") // two failures are not three
		s.after(time.Second)
		s.want("web-1 Starting 127.1.0.1")
		s.failing["127.2.0.1"] = false
		s.after(time.Second)
		s.want("web-1 Warming 127.1.0.1")
		want := []string{"instance.started", "probe.passed", "probe.failed: 503 Service Unavailable", "probe.passed"}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
	}, web(1))
}

func TestInitialDelayIsKept(t *testing.T) {
	w := web(1)
	w.Readiness.InitialDelay = 20 * time.Second
	play(t, func(s *theatre) {
		s.after(19 * time.Second)
		s.want("web-1 Starting 127.1.0.1")
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1")
		if check := s.instances[0].Check; check.InitialDelay != 0 {
			s.t.Errorf("got an initial delay of %v for control too, want none: it is over", check.InitialDelay)
		}
	}, w)
}

// Nobody gains from waiting for the rest of a long interval once the application can serve.
func TestFirstPassIsNotedSoon(t *testing.T) {
	w := web(1)
	w.Readiness.Interval = time.Minute
	play(t, func(s *theatre) {
		s.boot = 10 * time.Second
		s.after(9 * time.Second)
		s.want("web-1 Starting 127.1.0.1")
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1")
		s.failing["127.2.0.1"] = true
		s.after(90 * time.Second) // from then on the interval counts
		s.want("web-1 Warming 127.1.0.1")
	}, w)
}

// An instance that became ready a moment ago may be in a snapshot that is still on its way to us.
func TestLeavingBeforeControlShowsIt(t *testing.T) {
	play(t, func(s *theatre) {
		s.lag = 300 * time.Millisecond
		s.after(1500 * time.Millisecond) // started at 0.6 s, ready at 1.6 s, so known here at 2.2 s
		for range 20 {
			s.after(50 * time.Millisecond)
			leave := len(s.workloads) == 1 && s.stages[s.first()].Offered()
			if leave {
				s.scale(0)
				break
			}
		}
		s.after(10 * time.Second)
		s.want()
	}, web(1))
}

// first returns the first incarnation that is reported.
func (s *theatre) first() string {
	if len(s.instances) == 0 {
		return ""
	}
	return s.instances[0].Incarnation
}

func TestWithoutProbeThePortDecides(t *testing.T) {
	w := web(1)
	w.Readiness = nil
	play(t, func(s *theatre) {
		s.boot = 5 * time.Second
		s.after(4 * time.Second)
		s.want("web-1 Starting 127.1.0.1")
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1")
		if s.instances[0].Check != nil {
			s.t.Error("got a check for control, want none")
		}
	}, w)
}

func TestWithoutPortsThereIsNoSidecar(t *testing.T) {
	w := web(1)
	w.Readiness, w.Ports, w.Labels = nil, nil, nil
	play(t, func(s *theatre) {
		s.after(100 * time.Millisecond)
		if diff := cmp.Diff([]string{"0s START web-1"}, s.log); diff != "" {
			s.t.Errorf("what happened (-want +got):\n%s", diff)
		}
		if !s.instances[0].Ready {
			s.t.Error("got it not ready, want it ready as it runs")
		}
		s.scale(0)
		s.after(300 * time.Millisecond) // no service knows it: there is nothing to wait for
		s.want()
	}, w)
}

func TestControlAway(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		away := func(is bool) {
			s.away = is
			s.ring()
		}
		away(true)
		s.crash("127.2.0.1", 9)
		s.after(time.Minute)
		if got := countOf(s.log, "START web-1"); got != 2 {
			s.t.Errorf("got %d starts of web-1, want it started again", got)
		}
		if len(s.actors) != 4 {
			s.t.Errorf("got %d processes, want 4: two applications and their sidecars", len(s.actors))
		}
		away(false)
		s.after(4 * time.Second)
		s.want("web-1 Warming 127.1.0.1", "web-2 Warming 127.1.0.2")
		got := s.told()
		got[2], _, _ = strings.Cut(got[2], ";")
		want := []string{"instance.started", "probe.passed", "instance.died: exit code 9", "instance.started", "probe.passed"}
		if diff := cmp.Diff(want, got); diff != "" { // each once
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
	}, web(2))
}

func TestControlWithoutConfigurationStopsNobody(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		r := &runner{picture: pictureOf(&fleet.Snapshot{Number: 1, Config: "c"})}
		r.see(fleet.View{Snapshot: &fleet.Snapshot{Number: 2}})
		if r.picture.Number != 1 {
			s.t.Errorf("got snapshot %d, want the last with a configuration", r.picture.Number)
		}
	}, web(1))
}

func TestTakenAddressesAreAvoided(t *testing.T) {
	play(t, func(s *theatre) {
		s.taken["127.1.0.1"], s.taken["127.2.0.2"] = true, true
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.3")
	}, web(1))
}

func TestAllLeaveAtOnceWhenToldToEnd(t *testing.T) {
	w := web(20)
	w.PreStop = &fleet.PreStop{Sleep: 5 * time.Second}
	var s *theatre
	play(t, func(theatre *theatre) {
		s = theatre
		s.after(10 * time.Second)
	}, w)
	for _, line := range s.log {
		if at, what, _ := strings.Cut(line, " "); strings.HasPrefix(what, "END web") && at != "15.6s" { // drain, preStop, end
			t.Errorf("got %q, want the end of all at 15.6s", line)
		}
	}
}

// The promise of a rollout, seen from outside: there are never more than the surge allows, there is always
// somebody to answer, and each new one is watched for as long as minReady says before the next old one goes.
func TestRollout(t *testing.T) {
	w := web(4)
	w.MinReady = 10 * time.Second
	w.MaxSurge, w.MaxUnavailable = "1", "0"
	play(t, func(s *theatre) {
		s.after(30 * time.Second)
		s.change(func(w *fleet.Workload) { w.Revision = "2" })
		begun := time.Now()
		most, least, done := 0, 9, false
		for !done {
			s.after(50 * time.Millisecond)
			staying, serving, fresh := 0, 0, 0
			for _, in := range s.instances {
				if !in.Leaving {
					staying++
				}
				if s.stages[in.Incarnation].Offered() {
					serving++
				}
				if in.Revision == "2" {
					fresh++
				}
			}
			most, least = max(most, staying), min(least, serving)
			done = fresh == 4 && len(s.instances) == 4 || time.Since(begun) > time.Hour
		}
		if most != 5 || least != 4 {
			s.t.Errorf("got %d at most and %d serving at least, want 5 and 4", most, least)
		}
		// Each of the four boots for one second and is watched for ten, one after the other.
		if took := time.Since(begun); took < 44*time.Second || took > 55*time.Second {
			s.t.Errorf("got a rollout of %v, want 44 to 55 s", took)
		}
	}, w)
}

func TestRecreate(t *testing.T) {
	w := web(2)
	w.Recreate = true
	play(t, func(s *theatre) {
		s.after(10 * time.Second)
		s.change(func(w *fleet.Workload) { w.Revision = "2" })
		s.after(10 * time.Second)
		lastEnd, firstStart := -1, -1
		for i, line := range s.log {
			if strings.Contains(line, "END web-") {
				lastEnd = i
			}
			if strings.HasSuffix(line, "START web-3") {
				firstStart = i
			}
		}
		if lastEnd < 0 || firstStart < lastEnd {
			s.t.Errorf("got the new ones started at line %d, want it after the end of the old ones at %d", firstStart, lastEnd)
		}
	}, w)
}
