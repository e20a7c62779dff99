package main

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// cellsOf returns the cells of the row of reviews-v2-1 by the names of their columns.
func cellsOf(t *testing.T, world admin.World, args ...string) map[string]string {
	t.Helper()
	code, stdout, stderr := crossfade(t.Context(), append(args, "--admin", gatewayFor(t, func() admin.World { return world }))...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	lines := strings.Split(stdout, "\n")
	split := func(line string) []string { // columns stand three spaces apart, words of a cell one
		var cells []string
		for cell := range strings.SplitSeq(line, "   ") {
			if cell = strings.TrimSpace(cell); cell != "" {
				cells = append(cells, cell)
			}
		}
		return cells
	}
	row := map[string]string{}
	for _, line := range lines {
		if !strings.Contains(line, "reviews-v2-1") {
			continue
		}
		cells := split(line)
		for i, name := range split(lines[0]) {
			row[name] = cells[i]
		}
	}
	return row
}

// TestColumnsSayWhatThereIs looks for what a table must not hide, or make up.
func TestColumnsSayWhatThereIs(t *testing.T) {
	half := 0.5
	for name, tt := range map[string]struct {
		change func(*admin.World)
		args   string
		want   map[string]string // by column; "none" where there is no such column
	}{
		"alike": {nil, "get endpoints reviews", map[string]string{"DUE": "31.6", "REASON": "new", "WEIGHT": "none"}},
		"weights": {func(w *admin.World) {
			w.Pools[0].Service.Endpoints[1].Factor = &half
			w.Pools[0].Shares[1].Reason = warmup.Weighed
		}, "get endpoints reviews", map[string]string{"REASON": "weight", "WEIGHT": "1 × 0.5"}},
		"keys": {func(w *admin.World) {
			w.Pools[0].Pool.Policy.Algorithm, w.Pools[0].Pool.Policy.Hash = fleet.Maglev, &fleet.Hash{Header: "user"}
		}, "get endpoints reviews", map[string]string{"DUE": "-", "GOT": "31"}},
		"paused": {func(w *admin.World) {
			w.Pools[0].Pool.Members[1] = fleet.Member{Endpoint: 1, Base: 0.048, At: time.Second, Manual: true, Paused: true}
			w.Pools[0].Shares[1].Reason = warmup.BypassAllCold
		}, "get endpoints reviews", map[string]string{"REASON": "bypass-all-cold (paused at 4.8 %)"}},
		"no answers": {func(w *admin.World) {
			w.Pools[0].Endpoints = evidence.Book{"i-2": new(evidence.Traffic)}
		}, "get endpoints reviews -o wide", map[string]string{"REQUESTS": "0", "P50": "-", "P99": "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			world := still()
			if tt.change != nil {
				tt.change(&world)
			}
			got := cellsOf(t, world, strings.Fields(tt.args)...)
			for column, want := range tt.want {
				cell, there := got[column]
				if !there {
					cell = "none"
				}
				if cell != want {
					t.Errorf("%s: got %q, want %q", column, cell, want)
				}
			}
		})
	}
}

// TestNamesThatAreNone holds that who asks for what is not there hears what is.
func TestNamesThatAreNone(t *testing.T) {
	at := gatewayFor(t, still)
	for line, want := range map[string]string{
		"explain nope":                        `no service "nope"; there are: reviews`,
		"get endpoints nope":                  `no service "nope"; there are: reviews`,
		"get endpoints reviews --subset blue": `no subset "blue"; there are: v2`,
		"get endpoints revews":                `did you mean reviews?`,
		"get endpoints reviews --subset v3":   `no subset "v3"; did you mean v2?`,
	} {
		if code, _, stderr := crossfade(t.Context(), append(strings.Fields(line), "--admin", at)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: got %d, %q, want %q", line, code, stderr, want)
		}
	}
}

// TestFlagsAreCompleted asks as a shell does.
func TestFlagsAreCompleted(t *testing.T) {
	at := gatewayFor(t, still)
	for line, want := range map[string]string{
		"get endpoints -o":  "table\nwide\njson\n",
		"explain --output":  "text\njson\n",
		"validate --output": "text\njson\nsarif\n",
		"load -o":           "table\njson\n",
		"route explain -o":  "text\njson\n",
		"get endpoints --admin " + at + " --subset": "v2\n",
	} {
		code, stdout, stderr := crossfade(t.Context(), append(append([]string{"__complete"}, strings.Fields(line)...), "")...)
		if code != 0 || !strings.HasPrefix(stdout, want) {
			t.Errorf("%s: got %d, %q, %q, want %q", line, code, stdout, stderr, want)
		}
	}
}
