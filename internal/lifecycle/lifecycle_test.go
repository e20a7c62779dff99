package lifecycle

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestStep(t *testing.T) {
	later := start.Add(time.Minute)
	offered := func(stage fleet.Stage) State { return State{Stage: stage, Offered: start} }
	for _, test := range []struct {
		name string
		from State
		e    Event
		want State
		kind string
	}{
		{"checks pass", State{}, Ready, State{fleet.Warming, later}, "warmup.started"},
		{"nothing before ready", State{}, Matured, State{}, ""},
		{"matures", offered(fleet.Warming), Matured, offered(fleet.Serving), "warmup.ended"},
		{"begins anew", offered(fleet.Serving), Rewarm, offered(fleet.Warming), "warmup.restarted"},
		{"begins anew while it warms", offered(fleet.Warming), Rewarm, offered(fleet.Warming), "warmup.restarted"},
		{"cannot begin anew before it began", State{}, Rewarm, State{}, ""},
		{"does not begin anew while it leaves", offered(fleet.Draining), Rewarm, offered(fleet.Draining), ""},
		{"ready twice", offered(fleet.Serving), Ready, offered(fleet.Serving), ""},
		{"blip", offered(fleet.Serving), Unready, offered(fleet.Starting), "readiness.lost"},
		{"blip ends: resumes at its age", offered(fleet.Starting), Ready, offered(fleet.Warming), "readiness.regained"},
		{"leaves", offered(fleet.Serving), Leave, offered(fleet.Draining), "drain.started"},
		{"leaves while warming", offered(fleet.Warming), Leave, offered(fleet.Draining), "drain.started"},
		{"leaves in a blip", offered(fleet.Starting), Leave, offered(fleet.Draining), "drain.started"},
		{"leaves before it was offered", State{}, Leave, State{Stage: fleet.Gone}, "gone"},
		{"is not offered again while draining", offered(fleet.Draining), Ready, offered(fleet.Draining), ""},
		{"drained", offered(fleet.Draining), Drained, offered(fleet.Gone), "drained"},
		{"drained only when draining", offered(fleet.Serving), Drained, offered(fleet.Serving), ""},
		{"dies", offered(fleet.Serving), Vanished, offered(fleet.Gone), "gone"},
		{"stays gone", offered(fleet.Gone), Ready, offered(fleet.Gone), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, kind := Step(test.from, test.e, later)
			if got != test.want || kind != test.kind {
				t.Errorf("Step(%v, %v) = %v, %q, want %v, %q", test.from, test.e, got, kind, test.want, test.kind)
			}
		})
	}
}

// Whatever happens in whatever order: Gone is for ever, Draining leads nowhere but Gone, an offered
// incarnation keeps the moment it was first offered, and a change is always told.
func TestStepLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		now := start
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond)
			e := Event(rapid.IntRange(0, len(eventNames)-1).Draw(t, "event"))
			next, kind := Step(s, e, now)
			switch {
			case s.Stage == fleet.Gone && next != s:
				t.Fatalf("%v came back from Gone by %v", next, e)
			case s.Stage == fleet.Draining && next.Stage != fleet.Draining && next.Stage != fleet.Gone:
				t.Fatalf("draining became %v by %v", next.Stage, e)
			case !s.Offered.IsZero() && next.Offered != s.Offered:
				t.Fatalf("%v moved the moment of the first offer", e)
			case next.Stage.Offered() && next.Offered.IsZero():
				t.Fatalf("%v offered without a moment", e)
			case (next != s) != (kind != "") && (e != Rewarm || s.Stage != fleet.Warming):
				t.Fatalf("%v → %v by %v was told as %q", s, next, e, kind)
			}
			s = next
		}
	})
}
