//go:build integration

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// judge says what is wrong with a load of so many requests a second: every lost one must belong to an upheaval that may
// cost it, and the load must have been there when things happened. notes tell the story.
func judge(a account, shots []shot, spans []span, rate int) (problems, notes []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	notes = append(notes, fmt.Sprintf("%d sent, %d ok, %d lost: %v", a.Sent, a.OK, a.LostTotal, a.Lost))
	if most := uint64(rate / 10); a.Abandoned > 0 || a.Unsent > most { // what is due while the load is being stopped is not sent
		problem("%d requests abandoned and %d never sent, want 0 and %d at most: the load did not keep up", a.Abandoned, a.Unsent, most)
	}
	failed := lost(shots)
	for _, s := range spans {
		during := 0
		for _, r := range shots {
			if s.holds(r) {
				during++
			}
		}
		if least := int((s.to - s.from).Seconds() * float64(rate) / 2); during < max(least, 1) {
			problem("invalid run: only %d requests fell within %s", during, s)
		}
		cost := map[string]int{}
		for _, r := range failed {
			if s.explains(r) {
				cost[r.Outcome]++
			}
		}
		notes = append(notes, fmt.Sprintf("%-60s %5d requests, lost: %v", s, during, cost))
		if s.certain && len(cost) == 0 {
			problem("nothing was lost by %s: either it did not happen, or the load does not see losses", s)
		}
	}
	for _, r := range failed {
		if !slices.ContainsFunc(spans, func(s span) bool { return s.explains(r) }) {
			problem("request %d, sent at %.2f s and lost (%s, status %d) at %.2f s, is nobody's to lose; nearest: %s",
				r.Number, r.Sent.Seconds(), r.Outcome, r.Status, r.Ended.Seconds(), nearest(spans, r))
		}
	}
	return problems, notes
}

func (s span) holds(r shot) bool { return r.Sent <= s.to+skew && r.Ended >= s.from-skew }

// explains says whether the upheaval may have cost the request: it was under way then, in a way that it may be
// lost, and not long after.
func (s span) explains(r shot) bool {
	return slices.Contains(s.costs, r.Outcome) && s.holds(r) && r.Ended <= s.from+shortly
}

func nearest(spans []span, r shot) span {
	return slices.MinFunc(spans, func(a, b span) int {
		return int(min((a.from-r.Ended).Abs(), (a.to-r.Ended).Abs()) - min((b.from-r.Ended).Abs(), (b.to-r.Ended).Abs()))
	})
}

// A run's verdict must not be kind: each case plants one thing that judge has to find, or that it has to let pass.
func TestJudgeFindsWhatIsPlanted(t *testing.T) {
	planned := span{upheaval{name: "rollout"}, 3 * time.Second, 6 * time.Second}
	violent := span{upheaval{name: "kill", costs: []string{"5xx"}}, 9 * time.Second, 11 * time.Second}
	certain := span{upheaval{name: "kill", costs: []string{"5xx"}, certain: true}, 9 * time.Second, 11 * time.Second}
	at := func(second float64, outcome string) shot {
		sent := time.Duration(second * float64(time.Second))
		return shot{Sent: sent, Ended: sent + 5*time.Millisecond, Outcome: outcome}
	}
	tests := map[string]struct {
		spans    []span
		planted  []shot
		until    float64 // the load's end, in seconds; 0 is 14
		problems int
	}{
		"nothing":                       {spans: []span{planned, violent}},
		"explained":                     {spans: []span{planned, violent}, planted: []shot{at(9.1, "5xx"), at(10.9, "5xx")}},
		"within a planned upheaval":     {spans: []span{planned, violent}, planted: []shot{at(4, "5xx")}, problems: 1},
		"between upheavals":             {spans: []span{planned, violent}, planted: []shot{at(7.5, "eof")}, problems: 1},
		"of a kind that has no excuse":  {spans: []span{planned, violent}, planted: []shot{at(9.1, "timeout")}, problems: 1},
		"long after":                    {spans: []span{planned, violent}, planted: []shot{at(12, "5xx"), at(13, "5xx")}, problems: 2},
		"load ended too early":          {spans: []span{planned, violent}, until: 8, problems: 1},
		"a loss that had to be seen":    {spans: []span{certain}, planted: []shot{at(9.1, "5xx")}},
		"no loss where one had to come": {spans: []span{certain}, problems: 1},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		tt := tests[name]
		if tt.until == 0 {
			tt.until = 14
		}
		shots := tt.planted
		for second := 0.0; second < tt.until; second += 1.0 / chaosRate {
			shots = append(shots, at(second, "ok"))
		}
		problems, _ := judge(account{}, shots, tt.spans, chaosRate)
		if len(problems) != tt.problems {
			t.Errorf("%s: got %d problems, want %d: %q", name, len(problems), tt.problems, problems)
		}
	}
	for _, a := range []account{{Abandoned: 1}, {Unsent: chaosRate}} {
		if problems, _ := judge(a, nil, nil, chaosRate); len(problems) != 1 {
			t.Errorf("%+v: got %d problems, want 1: %q", a, len(problems), problems)
		}
	}
}
