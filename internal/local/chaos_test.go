package local

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// A scene is something that happens, and the time until the next.
type scene struct {
	what  string
	n     int
	pause time.Duration
}

// Whatever people ask for and whatever dies, in any order, with control there or not: nobody who lives is called dead,
// two never share an address, and in the end what is asked for runs, and nobody else is shown.
func TestChaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := web(rapid.IntRange(0, 3).Draw(rt, "replicas"))
		w.MinReady = time.Duration(rapid.IntRange(0, 3).Draw(rt, "minReady")) * time.Second
		w.Recreate = rapid.Bool().Draw(rt, "recreate")
		lag := time.Duration(rapid.IntRange(0, 4).Draw(rt, "lag")) * 100 * time.Millisecond
		scenes := rapid.SliceOfN(rapid.Custom(drawScene), 0, 12).Draw(rt, "scenes")
		faults, log := survive(t, w, lag, scenes)
		if len(faults) > 0 {
			rt.Fatalf("%s\nwhat happened:\n%s", strings.Join(faults, "\n"), strings.Join(log, "\n"))
		}
	})
}

func drawScene(rt *rapid.T) scene {
	return scene{
		what:  rapid.SampledFrom([]string{"scale", "release", "crash", "kill", "away", "back", "fail", "heal"}).Draw(rt, "what"),
		n:     rapid.IntRange(0, 4).Draw(rt, "n"),
		pause: time.Duration(rapid.IntRange(0, 60).Draw(rt, "pause")) * 100 * time.Millisecond,
	}
}

// survive plays the scenes in a bubble, then lets things settle, and returns the faults.
func survive(t *testing.T, w fleet.Workload, lag time.Duration, scenes []scene) (faults, log []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newTheatre(w)
		s.lag = lag
		perform(t, s, 0, func() {
			for _, scene := range scenes {
				s.direct(scene)
				s.after(scene.pause)
			}
			s.direct(scene{what: "back"})
			for n := range 64 {
				s.direct(scene{what: "heal", n: n})
			}
			s.after(3 * time.Minute) // the longest back-off, and a rollout
			want := s.workloads[0]
			if len(s.instances) != want.Replicas {
				s.faults = append(s.faults, fmt.Sprintf("in the end got %q, want %d", s.shown(), want.Replicas))
			}
			for _, in := range s.instances {
				if in.Revision != want.Revision || !in.Ready {
					s.faults = append(s.faults, fmt.Sprintf("in the end got %s of revision %s, ready %t", in.Name, in.Revision, in.Ready))
				}
			}
		})
		if len(s.actors) > 0 {
			s.faults = append(s.faults, fmt.Sprintf("%d processes are left behind", len(s.actors)))
		}
		faults, log = s.faults, s.log
	})
	return faults, log
}

// direct makes a scene happen.
func (s *theatre) direct(sc scene) {
	public := homeAt(uint16(sc.n)).public.String()
	switch sc.what {
	case "scale":
		s.scale(sc.n)
	case "release":
		s.change(func(w *fleet.Workload) { w.Revision += "+" })
	case "crash":
		s.crash(public, 1)
	case "kill":
		s.kill(public)
	case "away", "back":
		s.leave(sc.what == "away")
	case "fail", "heal":
		s.fail(public, sc.what == "fail")
	}
}
