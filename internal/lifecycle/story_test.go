package lifecycle

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// A beat is an event that comes some time after the one before.
type beat struct {
	after time.Duration
	e     Event
}

// The stories of one incarnation each, as testdata/lives.txt tells them. Read the difference when a rule changes.
func TestLives(t *testing.T) {
	var text strings.Builder
	for _, story := range []struct {
		title string
		beats []beat
	}{
		{"A life without trouble", []beat{{3 * time.Second, Ready}, {2 * time.Minute, Matured}, {time.Hour, Leave}, {2 * time.Second, Drained}, {0, Vanished}}},
		{"Readiness is lost for a moment, twice: age goes on", []beat{
			{0, Ready},
			{30 * time.Second, Unready},
			{10 * time.Second, Ready},
			{80 * time.Second, Matured},
			{time.Minute, Unready},
			{5 * time.Second, Ready},
			{0, Matured},
		}},
		{"It dies while it warms", []beat{{0, Ready}, {20 * time.Second, Vanished}, {time.Second, Ready}}},
		{"It leaves before it ever served", []beat{{5 * time.Second, Unready}, {time.Second, Leave}, {0, Ready}}},
		{"It leaves while its readiness is lost: something may be open", []beat{
			{0, Ready}, {time.Minute, Unready}, {time.Second, Leave}, {time.Second, Ready}, {2 * time.Second, Drained},
		}},
		{"It leaves while it warms, and is told twice", []beat{{0, Ready}, {time.Minute, Leave}, {time.Second, Leave}, {time.Second, Matured}, {time.Second, Drained}}},
		{"Its warm-up begins anew, warm and in the middle", []beat{
			{0, Ready}, {2 * time.Minute, Matured}, {time.Hour, Rewarm}, {time.Minute, Rewarm}, {2 * time.Minute, Matured}, {time.Second, Leave}, {time.Second, Rewarm},
		}},
	} {
		fmt.Fprintf(&text, "%s\n", story.title)
		s, now := State{}, start
		for _, b := range story.beats {
			now = now.Add(b.after)
			text.WriteString("  " + tell(&s, b.e, now) + "\n")
		}
		text.WriteString("\n")
	}
	golden(t, "testdata/lives.txt", text.String())
}

// Every event in every stage.
func TestEveryEventInEveryStage(t *testing.T) {
	var text strings.Builder
	for stage := fleet.Starting; stage <= fleet.Gone; stage++ {
		for _, offered := range []bool{false, true} {
			if !offered && stage != fleet.Starting {
				continue
			}
			fmt.Fprintf(&text, "%v", stage)
			if offered && stage == fleet.Starting {
				text.WriteString(", offered before")
			}
			text.WriteString("\n")
			for e := range Event(len(eventNames)) {
				s := State{Stage: stage}
				if offered {
					s.Offered = start
				}
				text.WriteString("  " + tell(&s, e, start.Add(time.Minute)) + "\n")
			}
			text.WriteString("\n")
		}
	}
	golden(t, "testdata/steps.txt", text.String())
}

// tell steps s and says in a line what came of it.
func tell(s *State, e Event, now time.Time) string {
	before := s.Stage
	next, kind := Step(*s, e, now)
	*s = next
	if kind == "" {
		return fmt.Sprintf("%8v  %-8v  %-8v   nothing changes", now.Sub(start), e, before)
	}
	return fmt.Sprintf("%8v  %-8v  %-8v → %-8v  age %-8v  %s", now.Sub(start), e, before, s.Stage, s.Age(now), kind)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s\nIf that is what you want: go test ./internal/lifecycle -update", path, diff)
	}
}
