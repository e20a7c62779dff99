package local

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// cast reads replicas from words such as "a:old:ready": name, revision, and whether they are ready since a
// minute ago, "new" since a second ago, "no", or "leaving". They are a second younger each.
func cast(words ...string) []replica {
	var all []replica
	for i, w := range words {
		r := replica{started: dawn.Add(-time.Hour + time.Duration(i)*time.Second)}
		var how string
		if _, err := fmt.Sscanf(w, "%1s:%3s:%s", &r.name, &r.revision, &how); err != nil {
			panic(w)
		}
		switch how {
		case "ready":
			r.ready = dawn.Add(-time.Minute)
		case "fresh":
			r.ready = dawn.Add(-time.Second)
		case "leaving":
			r.leaving = true
		}
		all = append(all, r)
	}
	return all
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    fleet.Workload
		have []replica
		want decision
	}{
		{"from nothing", fleet.Workload{Replicas: 3}, nil, decision{start: 3}},
		{"nothing to do", fleet.Workload{Replicas: 1}, cast("a:new:ready"), decision{}},
		{"scale up", fleet.Workload{Replicas: 3}, cast("a:new:ready"), decision{start: 2}},
		{"a leaving one is replaced", fleet.Workload{Replicas: 1}, cast("a:new:leaving"), decision{start: 1}},
		{
			"scale down: not ready, then youngest",
			fleet.Workload{Replicas: 1},
			cast("a:new:ready", "b:new:no", "c:new:ready"),
			decision{leave: []string{"b", "c"}},
		},
		{
			"scale down: ready for the shortest time before younger",
			fleet.Workload{Replicas: 1},
			cast("a:new:fresh", "b:new:ready"),
			decision{leave: []string{"a"}},
		},
		{"to zero", fleet.Workload{}, cast("a:new:ready", "b:new:no"), decision{leave: []string{"b", "a"}}},
		{"to zero, old ones too", fleet.Workload{}, cast("a:old:ready", "b:old:no"), decision{leave: []string{"b", "a"}}},
		{"roll one: one more first", fleet.Workload{Replicas: 1}, cast("a:old:ready"), decision{start: 1}},
		{"roll one: wait for it", fleet.Workload{Replicas: 1}, cast("a:old:ready", "b:new:no"), decision{}},
		{"roll one: done", fleet.Workload{Replicas: 1}, cast("a:old:ready", "b:new:ready"), decision{leave: []string{"a"}}},
		{
			"minReady not over",
			fleet.Workload{Replicas: 1, MinReady: 10 * time.Second},
			cast("a:old:ready", "b:new:fresh"),
			decision{},
		},
		{
			"minReady over",
			fleet.Workload{Replicas: 1, MinReady: time.Second},
			cast("a:old:ready", "b:new:fresh"),
			decision{leave: []string{"a"}},
		},
		{
			"four: one more and one less at once",
			fleet.Workload{Replicas: 4},
			cast("a:old:ready", "b:old:ready", "c:old:ready", "d:old:ready"),
			decision{start: 1, leave: []string{"d"}},
		},
		{
			"no surge: one less first",
			fleet.Workload{Replicas: 2, MaxSurge: "0", MaxUnavailable: "1"},
			cast("a:old:ready", "b:old:ready"),
			decision{leave: []string{"b"}},
		},
		{
			"neither given: one may be missing",
			fleet.Workload{Replicas: 2, MaxSurge: "0", MaxUnavailable: "0"},
			cast("a:old:ready", "b:old:ready"),
			decision{leave: []string{"b"}},
		},
		{
			"all at once",
			fleet.Workload{Replicas: 2, MaxSurge: "100%", MaxUnavailable: "0"},
			cast("a:old:ready", "b:old:ready"),
			decision{start: 2},
		},
		{
			"an old one that serves nobody goes first",
			fleet.Workload{Replicas: 2, MaxSurge: "1", MaxUnavailable: "0"},
			cast("a:old:no", "b:old:ready", "c:new:ready"),
			decision{start: 0, leave: []string{"a"}},
		},
		{
			"a new one that never comes holds the rest",
			fleet.Workload{Replicas: 2, MaxSurge: "1", MaxUnavailable: "0"},
			cast("a:old:no", "b:old:ready", "c:new:no"),
			decision{},
		},
		{
			"back to the revision before",
			fleet.Workload{Replicas: 2, MaxSurge: "1", MaxUnavailable: "0"},
			cast("a:new:ready", "b:new:ready", "c:old:no"),
			decision{leave: []string{"c"}},
		},
		{"recreate: stop all", fleet.Workload{Replicas: 2, Recreate: true}, cast("a:old:ready"), decision{leave: []string{"a"}}},
		{"recreate: wait for the end", fleet.Workload{Replicas: 2, Recreate: true}, cast("a:old:leaving"), decision{}},
		{"recreate: start all", fleet.Workload{Replicas: 2, Recreate: true}, nil, decision{start: 2}},
		{"recreate: no wait without a change", fleet.Workload{Replicas: 2, Recreate: true}, cast("a:new:leaving"), decision{start: 2}},
	} {
		tt.w.Revision = "new"
		got := plan(&tt.w, tt.have, dawn)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(decision{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// The examples of Kubernetes' documentation: 25% is rounded up for the surge and down for what may be missing.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		replicas            int
		surge, unavailable  string
		wantMore, wantFewer int
	}{
		{1, "", "", 1, 0},
		{3, "", "", 1, 0},
		{4, "", "", 1, 1},
		{10, "", "", 3, 2},
		{10, "30%", "30%", 3, 3},
		{10, "0", "0%", 0, 1},
		{10, "2", "100%", 2, 10},
		{0, "", "", 0, 1},
		{4, "nonsense", "-1", 1, 1},
	} {
		more, fewer := limits(&fleet.Workload{Replicas: tt.replicas, MaxSurge: tt.surge, MaxUnavailable: tt.unavailable})
		if more != tt.wantMore || fewer != tt.wantFewer {
			t.Errorf("%d replicas, surge %q, unavailable %q: got +%d −%d, want +%d −%d",
				tt.replicas, tt.surge, tt.unavailable, more, fewer, tt.wantMore, tt.wantFewer)
		}
	}
}

// A stage play: people change their minds, instances become ready, fail and crash, and time passes.
// Whatever happens, a step never exceeds the surge, and never takes away what must stay available. When the
// excitement is over, what people asked for stands after a number of steps.
func TestPlanKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorkload(rt)
		now := dawn
		var all []replica
		born := 0
		for range rapid.IntRange(0, 40).Draw(rt, "scenes") {
			now = now.Add(time.Duration(rapid.IntRange(0, 15).Draw(rt, "pause")) * time.Second)
			switch rapid.IntRange(0, 5).Draw(rt, "scene") {
			case 0:
				w.Replicas = rapid.IntRange(0, 6).Draw(rt, "replicas")
			case 1:
				w.Revision += "+"
			case 2, 3, 4:
				flip(rt, all, now)
			case 5: // the oldest of the leaving is gone
				all = reap(all)
			}
			all = step(rt, w, all, &born, now)
		}
		for range 100 {
			now = now.Add(w.MinReady + time.Second)
			all = reap(all)
			for i := range all {
				if all[i].ready.IsZero() {
					all[i].ready = now
				}
			}
			all = step(rt, w, all, &born, now)
		}
		if len(all) != w.Replicas || count(all, w.MinReady, now) != w.Replicas {
			rt.Fatalf("in the end got %d replicas, want %d available ones", len(all), w.Replicas)
		}
		for _, r := range all {
			if r.revision != w.Revision {
				rt.Fatalf("in the end %s is of revision %q, want %q", r.name, r.revision, w.Revision)
			}
		}
	})
}

func drawWorkload(rt *rapid.T) *fleet.Workload {
	limit := rapid.SampledFrom([]string{"", "0", "1", "3", "25%", "50%", "100%"})
	return &fleet.Workload{
		Replicas:       rapid.IntRange(0, 6).Draw(rt, "replicas"),
		Revision:       "r",
		MaxSurge:       limit.Draw(rt, "surge"),
		MaxUnavailable: limit.Draw(rt, "unavailable"),
		MinReady:       time.Duration(rapid.IntRange(0, 10).Draw(rt, "minReady")) * time.Second,
		Recreate:       rapid.Bool().Draw(rt, "recreate"),
	}
}

func flip(rt *rapid.T, all []replica, now time.Time) {
	if len(all) == 0 {
		return
	}
	r := &all[rapid.IntRange(0, len(all)-1).Draw(rt, "who")]
	if r.ready.IsZero() {
		r.ready = now
	} else {
		r.ready = time.Time{}
	}
}

func reap(all []replica) []replica {
	var left []replica
	for _, r := range all {
		if !r.leaving {
			left = append(left, r)
		}
	}
	return left
}

// step takes one decision, holds it to the promises and carries it out.
func step(rt *rapid.T, w *fleet.Workload, all []replica, born *int, now time.Time) []replica {
	before := reap(all)
	d := plan(w, all, now)
	surge, unavailable := limits(w)
	if most := max(len(before), w.Replicas+surge); len(before)+d.start > most {
		rt.Fatalf("%d replicas and %d more, want at most %d", len(before), d.start, most)
	}
	for _, name := range d.leave {
		found := false
		for i := range all {
			if all[i].name == name && !all[i].leaving {
				all[i].leaving, found = true, true
			}
		}
		if !found {
			rt.Fatalf("%s is to leave, but is not there", name)
		}
	}
	least := min(count(before, w.MinReady, now), w.Replicas-unavailable)
	if got := count(reap(all), w.MinReady, now); got < least && !w.Recreate {
		rt.Fatalf("%d are available after a step, want at least %d", got, least)
	}
	for range d.start {
		*born++
		all = append(all, replica{name: strconv.Itoa(*born), revision: w.Revision, started: now})
	}
	return all
}
