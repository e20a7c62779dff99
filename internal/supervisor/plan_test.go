package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parse reads members as "1 2* 3? 4*!": an index; * is of an earlier revision, ? is starting, ! is late, - is leaving.
func parse(t *testing.T, text string) (have []member) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		m := member{phase: serving, current: !strings.Contains(word, "*"), late: strings.Contains(word, "!")}
		if _, err := fmt.Sscan(strings.TrimRight(word, "*?!-"), &m.index); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(word, "?!") {
			m.phase = starting
		}
		if strings.Contains(word, "-") {
			m.phase = leaving
		}
		have = append(have, m)
	}
	return have
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		what   string
		wanted int
		have   string
		start  int
		leave  []int
	}{
		{"from nothing", 3, "", 3, nil},
		{"nothing to do", 2, "1 2", 0, nil},
		{"scale out", 4, "1 2", 2, nil},
		{"scale in: the highest leave", 1, "1 2 3", 0, []int{2, 3}},
		{"scale in: who is not ready yet leaves first", 1, "1? 2", 0, []int{1}},
		{"to nothing", 0, "1 2? 3*", 0, []int{1, 2, 3}},
		{"somebody died", 3, "1 3", 1, nil},
		{"who leaves does not count", 2, "1 2- 3-", 1, nil},
		{"restart: one more comes first", 2, "1* 2*", 1, nil},
		{"restart: it is not ready yet", 2, "1* 2* 3?", 0, nil},
		{"restart: it is ready, one leaves and the next comes", 2, "1* 2* 3", 1, []int{2}},
		{"restart: nearly done", 2, "1* 3 4", 0, []int{1}},
		{"restart: the new one died", 2, "1* 2*", 1, nil},
		{"overtaken: the middle one was not ready", 2, "1* 2* 3*?", 1, []int{3}},
		{"overtaken: the middle one serves", 2, "1* 3*", 1, nil},
		{"late where others serve", 2, "1* 2* 3!", 1, []int{3}},
		{"late where nobody serves", 2, "1! 2!", 0, nil},
		{"restart and scale in at once", 1, "1* 2* 3*", 1, []int{2, 3}},
		{"restart and scale out at once", 5, "1* 2* 3?", 3, nil},
		{"scale in during both", 4, "1* 2* 3? 4? 5? 6?", 0, []int{6}},
		{"one of one, restarted", 1, "1*", 1, nil},
	} {
		start, leave := plan(tt.wanted, parse(t, tt.have))
		slices.Sort(leave)
		if start != tt.start || !slices.Equal(leave, tt.leave) {
			t.Errorf("%s: got %d to start and %v to leave, want %d and %v", tt.what, start, leave, tt.start, tt.leave)
		}
	}
}

// Whatever happens to a group, no step takes away what serves, nor has too many serve; and when nothing happens any
// more, a few steps make of it what is wanted.
func TestPlanKeepsServingAndComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var group []member
		next, wanted := 0, 0
		do := func() bool {
			before := count(group, serving)
			start, leave := plan(wanted, group)
			for _, i := range leave {
				at := slices.IndexFunc(group, func(m member) bool { return m.index == i })
				if at < 0 || group[at].phase == leaving {
					rt.Fatalf("%d is to leave, of %+v", i, group)
				}
				group[at].phase = leaving
			}
			for range start {
				next++
				group = append(group, member{index: next, current: true})
			}
			after := count(group, serving)
			if after < min(before, wanted) {
				rt.Fatalf("of %d that served %d are left, and %d are wanted", before, after, wanted)
			}
			if live := after + count(group, starting); live > wanted+1 {
				rt.Fatalf("%d serve or start, and %d are wanted", live, wanted)
			}
			return start > 0 || len(leave) > 0
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				wanted = rapid.IntRange(0, 6).Draw(rt, "wanted")
			case 1: // another revision
				for i := range group {
					group[i].current = false
				}
			default:
				if len(group) == 0 {
					break
				}
				m := &group[rapid.IntRange(0, len(group)-1).Draw(rt, "who")]
				switch {
				case m.phase == starting && rapid.Bool().Draw(rt, "ready"):
					m.phase = serving
				case m.phase == starting:
					m.late = true
				case rapid.Bool().Draw(rt, "dies"):
					i := m.index
					group = slices.DeleteFunc(group, func(m member) bool { return m.index == i })
				}
			}
			do()
		}
		for steps := 0; do() || count(group, starting) > 0; steps++ {
			if steps > 100 {
				rt.Fatalf("no end: %+v", group)
			}
			for i := range group {
				if group[i].phase == starting {
					group[i].phase, group[i].late = serving, false
				}
			}
		}
		group = slices.DeleteFunc(group, func(m member) bool { return m.phase == leaving })
		if slices.ContainsFunc(group, func(m member) bool { return m.phase == serving && !m.current }) {
			rt.Fatalf("an earlier revision serves on: %+v", group)
		}
		if len(group) != wanted {
			rt.Fatalf("got %+v, want %d", group, wanted)
		}
	})
}

func count(group []member, p phase) (n int) {
	for _, m := range group {
		if m.phase == p {
			n++
		}
	}
	return n
}
