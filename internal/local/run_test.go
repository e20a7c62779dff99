package local

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
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

// What an agent does when it leaves is its own, as long as it does it.
func TestLeaving(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(10 * time.Second)
		first := s.incarnation()
		s.scale(0)
		s.after(10 * time.Second)
		want := []string{"0s START web-1", "10s TERM web-1", "10.6s END web-1: exit code 0"}
		if diff := cmp.Diff(want, s.log); diff != "" {
			s.t.Errorf("what happened (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"instance.leaving: scaled to 0"}, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
		if !s.dead[first] {
			s.t.Error("control was not told that it has ended")
		}
	}, web(1))
}

func TestAgentThatDoesNotLeaveIsKilled(t *testing.T) {
	play(t, func(s *theatre) {
		s.deaf = true
		s.after(5 * time.Second)
		s.scale(0)
		s.after(10 * time.Minute)
		want := []string{"instance.leaving: scaled to 0", "instance.killed: its agent did not leave in time"}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
		// Callers have 90 s, what is open 120 s, the application 30 s, and it hangs after 30 s more.
		if got, want := s.ended("web-1"), 5*time.Second+270*time.Second; got != want {
			s.t.Errorf("got the end at %v, want %v", got, want)
		}
		s.want()
	}, web(1))
}

func TestKilledWhileLeaving(t *testing.T) {
	play(t, func(s *theatre) {
		s.drain = time.Minute
		s.after(5 * time.Second)
		s.scale(0)
		s.after(time.Second)
		s.kill("127.1.0.1")
		s.after(time.Second)
		s.want()
		want := []string{"instance.leaving: scaled to 0", "instance.died: its agent was ended by SIGKILL, while leaving"}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
	}, web(1))
}

// When all is told to end there is a bound: then agents are asked to hurry, and killed if they do not.
func TestTheEndIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		deaf bool
		want []string
	}{
		"hurries": {false, []string{"0s START web-1", "5s TERM web-1", "15s TERM web-1", "15.1s END web-1: exit code 0"}},
		"hangs":   {true, []string{"0s START web-1", "5s TERM web-1", "15s TERM web-1", "25s END web-1: ended by SIGKILL"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTheatre(web(1))
				s.t = t
				s.drain, s.deaf = time.Hour, tt.deaf
				perform(t, s, 10*time.Second, func() { s.after(5 * time.Second) })
				if diff := cmp.Diff(tt.want, s.log); diff != "" {
					t.Errorf("what happened (-want +got):\n%s", diff)
				}
				killed := slices.ContainsFunc(s.events, func(e fleet.Event) bool { return e.Kind == "instance.killed" })
				if killed != tt.deaf {
					t.Errorf("got the event instance.killed %t, want %t", killed, tt.deaf)
				}
				time.Sleep(time.Hour) // the theatre's own timers
			})
		})
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

func TestCrash(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		first := s.incarnation()
		s.crash("127.1.0.1", 3)
		s.after(100 * time.Millisecond)
		s.want() // nothing runs
		s.after(2 * time.Second)
		s.want("web-1 Warming 127.1.0.1") // same name, same address
		second := s.incarnation()
		if first == second || !strings.HasSuffix(second, "-1") || strings.TrimSuffix(first, "-0") != strings.TrimSuffix(second, "-1") {
			s.t.Errorf("got incarnation %q after %q, want the next of the same replica", second, first)
		}
		got := s.told() // that it died, its agent has told
		if len(got) != 1 || !strings.HasPrefix(got[0], "instance.starting: again in ") || !strings.HasSuffix(got[0], "ms: exit code 3") {
			s.t.Errorf("got %q, want that it starts again after code 3", got)
		}
		if !s.dead[first] {
			s.t.Errorf("control was not told that %s is dead", first)
		}
	}, web(1))
}

// An agent that is killed can tell nobody, and the registry has it for as long as its lease runs.
func TestKilledAgent(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		s.kill("127.1.0.1")
		s.want("web-1 Warming 127.1.0.1")
		s.after(time.Millisecond)
		s.want()
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.1")
		got := s.told()
		if len(got) != 1 || !strings.HasPrefix(got[0], "instance.died: its agent was ended by SIGKILL; starts again in ") {
			s.t.Errorf("got %q, want that it died with its agent", got)
		}
	}, web(1))
}

// What control is told of the dead has a bound, and ends.
func TestTheDeadAreForgotten(t *testing.T) {
	now := time.Now()
	r := &runner{}
	for i := range maxDead + 2 {
		r.bury(strconv.Itoa(i), now.Add(time.Duration(i)*time.Second))
	}
	if len(r.dead) != maxDead || r.dead[0].incarnation != "2" {
		t.Errorf("got %d from %s on, want the newest %d", len(r.dead), r.dead[0].incarnation, maxDead)
	}
	r.forget(now.Add(mourned + 9*time.Second))
	if got := r.dead[0].incarnation; got != "9" {
		t.Errorf("got %s first, want 9: the others have been dead for longer than %v", got, mourned)
	}
}

// Who was started by an up that was killed has ended with it, whatever a registry or control remember.
func TestThoseOfARuntimeBeforeAreDead(t *testing.T) {
	elsewhere := fleet.Instance{
		Name: "web-9", Workload: "web", Namespace: "default", Incarnation: "elsewhere", Address: netip.MustParseAddr("10.0.0.9"), Ready: true,
		Labels: map[string]string{"app": "web"},
	}
	before := elsewhere
	before.Incarnation, before.Address = "before", netip.MustParseAddr("127.1.0.9")
	entry := before
	entry.Incarnation, entry.Origin.File = "entry", "pods.yaml" // configuration names it
	play(t, func(s *theatre) {
		s.entries["before"], s.entries["elsewhere"], s.entries["entry"] = before, elsewhere, entry
		s.fold()
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.1", "web-9 Warming 10.0.0.9", "web-9 Warming 127.1.0.9")
		if !s.dead["before"] || len(s.dead) != 1 {
			s.t.Errorf("got %v dead, want the one before", s.dead)
		}
		maps.DeleteFunc(s.entries, func(_ string, in fleet.Instance) bool { return in.Name == "web-9" })
		s.fold()
	}, web(1))
}

func TestCrashLoopBacksOff(t *testing.T) {
	for command, want := range map[string]string{
		"/bin/false":      "instance.starting: again in ",
		"nobody-has-this": `instance.died: find program "nobody-has-this" in  and PATH: executable file not found in $PATH; starts again in `,
	} {
		w := web(1)
		w.Command = []string{command}
		play(t, func(s *theatre) {
			s.after(5 * time.Minute)
			s.want()
			// 0.2 s doubling to 30 s, each up to a quarter shorter: 8 steps to the cap, then one each 22 to 30 s.
			deaths := s.told()
			if len(deaths) < 8+8 || len(deaths) > 8+14 {
				s.t.Errorf("got %d attempts in 5 minutes, want between 16 and 22", len(deaths))
			}
			for _, death := range deaths {
				if !strings.HasPrefix(death, want) {
					s.t.Errorf("got %q, want it to begin with %q", death, want)
				}
			}
			s.scale(0)
			s.after(time.Second)
			if got, want := s.told()[len(s.told())-1], "instance.leaving: scaled to 0"; got != want {
				s.t.Errorf("got %q last, want %q", got, want)
			}
		}, w)
	}
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

func TestOfNoService(t *testing.T) {
	w := web(1)
	w.Readiness, w.Ports, w.Labels, w.MaxUnavailable = nil, nil, nil, "0"
	play(t, func(s *theatre) {
		s.after(2 * time.Second)
		s.want("web-1 Starting 127.1.0.1") // of no endpoint
		if got := s.actors["127.1.0.1"].told; got.Inbound != nil || got.Admin != "" || got.Service != "web" {
			s.t.Errorf("got %+v, want nothing in front of what has no port", got)
		}
		s.change(func(w *fleet.Workload) { w.Revision = "2" })
		s.after(900 * time.Millisecond)
		s.want("web-1 Starting 127.1.0.1", "web-2 Starting 127.1.0.2") // the new one is not ready yet
		s.after(time.Second)
		s.want("web-2 Starting 127.1.0.2")
	}, w)
}

func TestControlAway(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		s.leave(true)
		s.crash("127.1.0.1", 9)
		s.after(time.Minute)
		if got := countOf(s.log, "START web-1"); got != 2 {
			s.t.Errorf("got %d starts of web-1, want it started again", got)
		}
		if len(s.actors) != 2 {
			s.t.Errorf("got %d agents, want 2", len(s.actors))
		}
		s.leave(false)
		s.after(4 * time.Second)
		s.want("web-1 Warming 127.1.0.1", "web-2 Warming 127.1.0.2")
		if got := s.told(); len(got) != 1 || !strings.HasSuffix(got[0], ": exit code 9") {
			s.t.Errorf("got %q, want one event, once", got)
		}
	}, web(2))
}

func TestControlWithoutConfigurationStopsNobody(t *testing.T) {
	play(t, func(s *theatre) {
		s.after(5 * time.Second)
		r := &runner{picture: pictureOf(&fleet.Snapshot{Number: 1, Config: "c"})}
		r.see(s.t.Context(), fleet.View{Snapshot: &fleet.Snapshot{Number: 2}})
		if r.picture.Number != 1 {
			s.t.Errorf("got snapshot %d, want the last with a configuration", r.picture.Number)
		}
	}, web(1))
}

// What agents tell control people read in the terminal, too: each event once, and none of a runtime before.
func TestAgentsAreHeard(t *testing.T) {
	var text strings.Builder
	dawn := time.Now()
	r := &runner{Runtime: Runtime{Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))}, began: dawn}
	told := []fleet.Event{
		{Time: dawn.Add(-time.Second), From: "agent/a-0", Kind: "instance.died", Endpoint: "long-ago"},
		{Time: dawn.Add(1), From: "agent/a-1", Kind: "probe.failed", Endpoint: "web-1"},
		{Time: dawn.Add(2), From: "agent/a-1", Kind: "probe.passed", Endpoint: "web-1"},
		{Time: dawn.Add(3), From: "gateway", Kind: "instance.died", Endpoint: "not-an-agent"},
		{Time: dawn.Add(4), From: "agent/b-0", Kind: "instance.died", Endpoint: "web-2"},
		{Time: dawn.Add(3), From: "agent/a-1", Kind: "prestop.failed", Endpoint: "web-1"}, // its report took longer
	}
	for n := range told {
		r.picture = pictureOf(&fleet.Snapshot{Events: told[max(0, n-3) : n+1]})
		r.echo(t.Context())
	}
	var got []string
	for line := range strings.Lines(text.String()) {
		_, rest, _ := strings.Cut(line, "event=")
		kind, rest, _ := strings.Cut(rest, " name=")
		name, _, _ := strings.Cut(rest, " ")
		got = append(got, kind+" "+name)
	}
	want := []string{"probe.failed web-1", "instance.died web-2", "prestop.failed web-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is logged (-want +got):\n%s", diff)
	}
}

func TestTakenAddressesAreAvoided(t *testing.T) {
	play(t, func(s *theatre) {
		s.taken["127.1.0.1:55199"], s.taken["127.2.0.2"] = true, true
		s.after(3 * time.Second)
		s.want("web-1 Warming 127.1.0.3")
	}, web(1))
}

func TestAllLeaveAtOnceWhenToldToEnd(t *testing.T) {
	w := web(20)
	var s *theatre
	play(t, func(theatre *theatre) {
		s = theatre
		s.after(10 * time.Second)
	}, w)
	for _, line := range s.log {
		if at, what, _ := strings.Cut(line, " "); strings.HasPrefix(what, "END web") && at != "10.6s" { // drain, end
			t.Errorf("got %q, want the end of all at 10.6s", line)
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
