package history

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// A doorman is an agent as history hears of it: the sums of one port, and each time all of them.
type doorman struct {
	incarnation, run string
	port             fleet.ListenerTraffic
	taken            time.Time
}

func newDoorman(incarnation, run string, now time.Time) *doorman {
	return &doorman{incarnation: incarnation, run: run, port: fleet.ListenerTraffic{Name: "80"}, taken: now}
}

func (d *doorman) serve(kind ending.Kind, n uint64) {
	d.port.Requests += n
	d.port.Ended[kind] += n
	if kind == ending.Served {
		d.port.Codes = []fleet.Code{{Status: 200, N: d.port.Ended[kind]}}
		d.port.Latency = fleet.Buckets{{-30, int64(d.port.Ended[kind])}}
	}
}

func (d *doorman) report(now time.Time, leaving bool) fleet.Report {
	t := &fleet.Traffic{Run: d.run, Span: now.Sub(d.taken)}
	if d.port.Requests > 0 {
		t.Listeners = []fleet.ListenerTraffic{d.port}
	}
	return fleet.Report{From: "agent/" + d.incarnation, Role: "agent", Traffic: t, Leaving: leaving}
}

// say has an agent report, and hear that it was taken.
func (d *doorman) say(h *History, now time.Time) {
	r := d.report(now, false)
	h.direct(&r, now)
	d.taken = now
}

// What comes past the gateways is among what its service and its endpoint got, and what gateways sent stays what it was.
func TestDirectCallersAreCounted(t *testing.T) {
	h, p, now := served(t)
	d := newDoorman("a-2", "r", now.Add(-time.Second))
	for range 12 {
		d.serve(ending.Served, 4)
		d.serve(ending.ServerError, 1)
		d.port.Requests, d.port.Active = d.port.Requests+2-uint64(d.port.Active), 2
		d.say(h, now)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
		d.say(h, now) // it comes twice
		now = now.Add(time.Second)
	}
	tick(h, now)
	o := h.Overview()
	a := o.Services[0]
	if o.Outside.Requests != 800 || a.Requests != 860 || a.Lost != 32 || a.Direct.Ended() != 60 || a.Direct[ending.ServerError] != 12 {
		t.Errorf("got %d from outside; a had %d, %d lost, directly %v; want 800, 860, 32, and 60 with 12 of 5xx", o.Outside.Requests, a.Requests, a.Lost, a.Direct)
	}
	e := a.Endpoints[2]
	if e.Incarnation != "a-2" || e.Sent != 262 || e.Active != 2 || e.Share != 1 || e.Due != 0 {
		t.Errorf("a-2: %+v; want 262 sent, 2 of them open, and its share as the gateway says", e)
	}
	edges := []Edge{
		{From: "", To: "a:80", Total: 800},
		{From: fleet.Direct, To: "a:80", Requests: 5, Total: 60},
		{From: "a", To: "b:80", Total: 100},
	}
	if diff := cmp.Diff(edges, o.Edges); diff != "" {
		t.Error(diff)
	}
	page, _ := h.Service("a:80")
	if diff := cmp.Diff([]fleet.Code{{Status: 200, N: 828}}, page.Codes); diff != "" {
		t.Error(diff)
	}
	r := d.report(now, true)
	h.direct(&r, now)
	if e := h.Overview().Services[0].Endpoints[2]; e.Active != 0 {
		t.Errorf("%d are open at one that has said its last", e.Active)
	}
}

// What a port's service is not known for yet is counted once it is; of several services it is the first, and stays it.
func TestAPortFindsItsService(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	d := newDoorman("b-0", "r", now)
	d.serve(ending.Served, 3)
	now = now.Add(time.Second)
	d.say(h, now)
	both := fleetOf(1, now, 1, "b", "c")
	both.Services[1].Endpoints[0].Incarnation = "b-0"
	h.look(both, now)
	d.serve(ending.Served, 4)
	d.say(h, now.Add(time.Second))
	three := fleetOf(2, now, 1, "a", "b", "c")
	three.Services[0].Endpoints[0].Incarnation, three.Services[2].Endpoints[0].Incarnation = "b-0", "b-0"
	h.look(three, now.Add(2*time.Second))
	d.serve(ending.Served, 5)
	d.say(h, now.Add(3*time.Second))
	for name, want := range map[string]uint64{"a:80": 0, "b:80": 12, "c:80": 0} {
		if got := h.services[name].direct.Ended(); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

// An agent that ended without a last word leaves a doubt where it had callers, and nowhere else.
func TestAgentsThatEndUnseen(t *testing.T) {
	for what, tt := range map[string]struct {
		idle   time.Duration // since somebody came
		open   bool
		silent bool // it is there, and says nothing
		doubts int
	}{
		"killed":             {0, false, false, 1},
		"killed long after":  {10 * time.Minute, false, false, 0},
		"killed with a call": {10 * time.Minute, true, false, 1},
		"silent":             {0, false, true, 1},
		"silent long after":  {10 * time.Minute, false, true, 0},
	} {
		now := epoch
		h := opened(t, "", now)
		h.look(fleetOf(1, now, 2, "a", "b"), now)
		d := newDoorman("a-0", "r", now)
		d.serve(ending.Served, 3)
		if tt.open {
			d.port.Requests, d.port.Active = d.port.Requests+1, 1
		}
		d.say(h, now.Add(time.Second))
		now = now.Add(time.Second + tt.idle)
		d.say(h, now)
		left := fleetOf(2, now, 2, "a", "b")
		if !tt.silent {
			left.Services[0].Endpoints, left.Services[0].Pools[0].Members, left.Instances = left.Services[0].Endpoints[1:], nil, left.Instances[1:]
		}
		h.look(left, now.Add(time.Second))
		for range 5 {
			now = now.Add(time.Second)
			tick(h, now)
		}
		h.mu.Lock()
		doubts := h.frontDoubts([]string{"a:80"}, now)
		others := h.frontDoubts([]string{"b:80"}, now)
		h.mu.Unlock()
		if len(doubts) != tt.doubts || len(others) > 0 {
			t.Errorf("%s: got the doubts %q, and %q about another service, want %d and none", what, doubts, others, tt.doubts)
		}
		for range 5 {
			now = now.Add(time.Second)
			tick(h, now)
		}
		for _, f := range h.fronts {
			if f.over == tt.silent {
				t.Errorf("%s: given up: %v, want it only of one that is gone", what, f.over)
			}
		}
	}
}

// An agent that was cut off for so long that it was given up goes on where it was.
func TestAnAgentThatWasCutOff(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	h.look(fleetOf(1, now, 1, "a"), now)
	d := newDoorman("a-0", "r", now)
	d.serve(ending.ServerError, 7)
	d.say(h, now.Add(time.Second))
	now = now.Add(2 * time.Second)
	h.look(fleetOf(2, now, 0, "a"), now)
	for range 15 * 60 {
		now = now.Add(time.Second)
		tick(h, now)
	}
	h.mu.Lock()
	h.forget(now)
	h.mu.Unlock()
	h.look(fleetOf(3, now, 1, "a"), now)
	d.serve(ending.Served, 4)
	d.say(h, now.Add(time.Second))
	if got := h.services["a:80"].direct; got[ending.ServerError] != 7 || got.Ended() != 11 {
		t.Errorf("got %v, want the 7 once, and 4", got)
	}
}

// What came to a port of no service is not counted when the port gets one much later.
func TestAPortOfNoService(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	h.look(fleetOf(1, now, 1, "a"), now)
	worker := newDoorman("worker-0", "r", now)
	worker.serve(ending.ServerError, 500)
	for range 12 {
		now = now.Add(time.Second)
		worker.serve(ending.ServerError, 1)
		worker.say(h, now)
	}
	known := fleetOf(2, now, 1, "a", "b")
	known.Services[1].Endpoints[0].Incarnation = "worker-0"
	h.look(known, now)
	worker.serve(ending.Served, 4)
	now = now.Add(time.Second)
	worker.say(h, now)
	if got := h.services["b:80"].direct; got[ending.ServerError] != 0 || got.Ended() != 4 {
		t.Errorf("got %v, want the 4 of the time in which it was known", got)
	}
}

// An agent that is killed, and whose port is of no service, leaves no doubt about the releases of others.
func TestAPortOfNoServiceThatBreaksOff(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	h.look(fleetOf(2, now, 1, "a", "b"), now)
	other := newDoorman("other-0", "r", now)
	other.serve(ending.Served, 4)
	other.say(h, now)
	grown := fleetOf(3, now, 1, "a", "b")
	grown.Workloads = []fleet.Workload{{Name: "a", Namespace: "default", Replicas: 2, Revision: "r", Labels: map[string]string{"app": "a"}}}
	h.look(grown, now)
	grown.Number, grown.Workloads = 4, []fleet.Workload{{Name: "a", Namespace: "default", Replicas: 3, Revision: "r", Labels: map[string]string{"app": "a"}}}
	h.look(grown, now.Add(time.Second))
	for range 12 {
		now = now.Add(time.Second)
		tick(h, now)
	}
	rows := h.recorder.Releases()
	if len(rows) == 0 || !h.fronts[runKey{"agent/other-0", "r"}].over {
		t.Fatalf("invalid: %d releases, %+v", len(rows), h.fronts)
	}
	for _, r := range rows {
		if len(r.Doubts) > 0 {
			t.Errorf("%s has the doubts %q", r.ID, r.Doubts)
		}
	}
}

// TestEveryDirectRequestIsCountedOnce: whatever is lost, comes twice or late, and whoever is killed, in the end the sums are
// those of the agents.
func TestEveryDirectRequestIsCountedOnce(t *testing.T) {
	top := t.TempDir()
	var trial atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(top, strconv.FormatInt(trial.Add(1), 10))
		now := epoch
		h := opened(rt, dir, now)
		view := fleetOf(1, now, 2, "a", "b")
		h.look(view, now)
		if err := h.save(now); err != nil {
			rt.Fatal(err)
		}
		want := map[string]ending.Sums{}
		agents := map[string]*doorman{}
		runs := 0
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 12_000).Draw(rt, "ms")) * time.Millisecond)
			id := rapid.SampledFrom([]string{"a-0", "a-1", "b-0"}).Draw(rt, "instance")
			d := agents[id]
			if d == nil {
				runs++
				d = newDoorman(id, strconv.Itoa(runs), now)
				agents[id] = d
			}
			r := d.report(now, false)
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1:
				kind, n := ending.Kind(rapid.IntRange(0, ending.Kinds-1).Draw(rt, "kind")), uint64(rapid.IntRange(1, 50).Draw(rt, "n"))
				d.serve(kind, n)
				sums := want[id[:1]+":80"]
				sums[kind] += n
				want[id[:1]+":80"] = sums
			case 2, 3:
				h.direct(&r, now)
				if rapid.Bool().Draw(rt, "the answer comes") {
					d.taken = now
				}
			case 4:
				if err := h.save(now); err != nil {
					rt.Fatal(err)
				}
			case 5: // control is killed
				h = opened(rt, dir, now)
				h.look(view, now)
			case 6: // it leaves, and what it said comes again; another takes its name
				r.Leaving = true
				h.direct(&r, now)
				if err := h.save(now); err != nil {
					rt.Fatal(err)
				}
				r.Leaving = false
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "late")) * time.Second)
				h.direct(&r, now)
				delete(agents, id)
			}
		}
		for _, d := range agents {
			r := d.report(now, true)
			h.direct(&r, now)
		}
		for name, sums := range want {
			s := h.services[name]
			if s.direct != sums || s.ended != sums {
				rt.Errorf("%s: got %v, directly %v, want %v", name, s.ended, s.direct, sums)
			}
			var sent uint64
			for id := range map[string]bool{"-0": true, "-1": true} {
				attempts, _ := (book{h}).Sent(strings.TrimSuffix(name, ":80") + id)
				sent += attempts
			}
			if sent != sums.Ended() {
				rt.Errorf("%s: its endpoints were sent %d, want %d", name, sent, sums.Ended())
			}
		}
	})
}
