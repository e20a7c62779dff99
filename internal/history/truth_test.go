package history

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// TestWhoIsTurnedAwayHasLostARequest: a connection that a limit refuses is in no count of requests.
func TestWhoIsTurnedAwayHasLostARequest(t *testing.T) {
	h, p, now := served(t)
	lost := func(where string) uint64 {
		sums := (book{h}).Ended(where)
		return sums.Lost()
	}
	before := lost("")
	p.listener("http").Rejected += 4
	m := p.listener("mesh")
	m.Mesh, m.Rejected, m.Ended[ending.Parted] = true, 2, 3
	r := p.report(now, true, false)
	h.report(&r, now)
	if outside, mesh := lost("")-before, lost(release.Mesh); outside != 4 || mesh != 5 {
		t.Errorf("%d were lost from outside, %d between services; want 4, 5", outside, mesh)
	}
}

// TestASuccessorDoesNotHideAnEnd: gateways that no supervisor runs keep their names, and control believes in who went away for half a minute. One
// that was killed during a release is a doubt all the same; one that said its last is none.
func TestASuccessorDoesNotHideAnEnd(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		now := epoch
		h := opened(t, "", now)
		v := fleetOf(1, now, 2, "a")
		v.Gateways = []string{"gw-1"}
		v.Workloads = []fleet.Workload{{Name: "a", Namespace: "shop", Replicas: 2, Revision: "v1"}}
		p := newPlane("gw-1", "r1", now)
		step := func() {
			p.serve("a:80", "a-0", ending.Served, 3, time.Millisecond)
			now = now.Add(time.Second)
			r := p.report(now, true, false)
			h.report(&r, now)
			v.Taken = now
			h.look(v, now)
			h.Tick(now)
		}
		for range 10 {
			step()
		}
		v.Workloads = []fleet.Workload{{Name: "a", Namespace: "shop", Replicas: 3, Revision: "v1"}}
		for range 3 {
			step()
		}
		if leaves {
			r := p.report(now, true, true)
			h.report(&r, now)
		}
		now = now.Add(2 * time.Second)
		p = newPlane("gw-1", "r2", now)
		for range 10 {
			step()
		}
		v.Workloads = []fleet.Workload{{Name: "a", Namespace: "shop", Replicas: 2, Revision: "v1"}} // it is as wanted
		for range 30 {
			step()
		}
		for _, row := range h.Releases() {
			got, _ := h.Release(row.ID)
			doubt := strings.Contains(strings.Join(got.Doubts, ""), "gw-1 ended without a last report")
			if first := strings.HasSuffix(got.What, "→ 3"); doubt != (first && !leaves) {
				t.Errorf("it left: %v; %q: doubts %q", leaves, got.What, got.Doubts)
			}
		}
	}
}

// TestABurstOfEventsIsKept: a view carries the latest 256 only.
func TestABurstOfEventsIsKept(t *testing.T) {
	h := opened(t, "", epoch)
	event := func(i int) fleet.Event {
		return fleet.Event{Time: epoch, Kind: "probe.passed", Incarnation: strconv.Itoa(i)}
	}
	var all []fleet.Event
	for i := range 2000 {
		all = append(all, event(i))
	}
	h.Told(2, all[10:900])
	h.Told(3, all[900:1800])
	h.Told(4, all[1800:])
	v := fleetOf(3, epoch, 1, "a")
	v.Events = append(append([]fleet.Event{}, all[:10]...), all[1700:1800]...) // what was before a restart, and the latest
	h.look(v, epoch)
	check := func(want int) {
		t.Helper()
		got := h.Events(time.Time{}, 0)
		if len(got) != want {
			t.Fatalf("%d events are kept, want %d", len(got), want)
		}
		for i, e := range got {
			if e.Incarnation != strconv.Itoa(want-1-i) {
				t.Fatalf("event %d is of %s, want them in order", i, e.Incarnation)
			}
		}
	}
	check(1800) // what the next view shows is not known yet
	v = fleetOf(4, epoch, 1, "a")
	v.Events = all[1750:]
	h.look(v, epoch)
	check(2000)
	for i := range 3 * mostTold {
		h.Told(uint64(10+i), all[:1])
	}
	if len(h.told) > mostTold {
		t.Errorf("%d wait for a view, want %d at most", len(h.told), mostTold)
	}
}

// TestAStateThatCannotBeWrittenLeavesNoLogs: what was begun for it would fill the disk that is full.
func TestAStateThatCannotBeWrittenLeavesNoLogs(t *testing.T) {
	h, p, now := served(t)
	h.keeper.dir = t.TempDir()
	if err := h.save(now); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(h.keeper.dir, stateFile)
	kept, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(state, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		p.serve("a:80", "a-0", ending.Served, 1, time.Millisecond)
		now = now.Add(3 * time.Second)
		r := p.report(now, true, false)
		h.report(&r, now)
		h.Told(uint64(i), []fleet.Event{{Time: now, Kind: "config.applied"}})
		h.look(fleetOf(uint64(i), now, 1, "a"), now)
		h.Tick(now)
	}
	if logs := h.keeper.numbered("lives-"); len(logs) != 1 {
		t.Errorf("%d logs of lives: %v; want the one that the state on disk names", len(logs), logs)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(h.keeper.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, stateFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := opened(t, dir, now); len(again.Episodes(EpisodeQuery{})) == 0 {
		t.Error("what the last good state had is gone")
	}
}

// TestAClockThatWasFarAhead: minutes are kept again when it is right, and on disk nothing grows without end.
func TestAClockThatWasFarAhead(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	h := opened(t, dir, now)
	p := newPlane("gw-1", "r", now)
	pass := func(n int) {
		for range n {
			p.serve("a:80", "a-0", ending.Served, 60, time.Millisecond)
			now = now.Add(time.Minute)
			h.look(fleetOf(1, now, 1, "a", "b"), now)
			h.Tick(now)
			r := p.report(now, true, false)
			r.Traffic.Span = time.Second
			h.report(&r, now)
			if err := h.save(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass(5)
	p.mesh("b", "a:80", "a-0", 1)
	right := now
	now = now.Add(25 * 365 * 24 * time.Hour)
	pass(3)
	now = right
	pass(3 * 60)
	logs := h.keeper.numbered("minutes-")
	for hour := range logs {
		if hour > now.Unix()/3600 {
			t.Errorf("the log of an hour to come is kept: %v", logs)
		}
	}
	if len(logs) < 3 {
		t.Errorf("logs %v, want one for each hour", logs)
	}
	again := opened(t, dir, now)
	for _, of := range []*History{h, again} {
		known := 0
		for at := right.Unix()/60 + 2; at < now.Unix()/60-1; at++ {
			if m := of.services["a:80"].place.whole(at); m.Requests > 0 {
				known++
			}
		}
		if known < 170 {
			t.Errorf("%d minutes are known since the clock was set right, want 176", known)
		}
	}
	now = epoch.Add(-time.Hour)
	h.Tick(now)
	late := newPlane("gw-2", "late", now) // it begins now, before the moment in which counting seems to have begun
	late.serve("a:80", "a-0", ending.Reset, 5, time.Millisecond)
	now = now.Add(time.Second)
	r := late.report(now, true, false)
	h.report(&r, now)
	if got := (book{h}).Ended("a:80")[ending.Reset]; got != 5 {
		t.Errorf("%d were reset, want 5", got)
	}
}

// TestAServiceThatComesBack: what a run has said of it is not counted again, however long it was away.
func TestAServiceThatComesBack(t *testing.T) {
	h, p, now := served(t)
	for range 30 {
		now = now.Add(time.Hour)
		h.look(fleetOf(2, now, 1, "b"), now)
		r := p.report(now, false, false)
		h.report(&r, now)
		if err := h.save(now); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		h.forget(now)
		h.mu.Unlock()
	}
	if h.services["a:80"] != nil {
		t.Fatal("a:80 is kept")
	}
	now = now.Add(silence + time.Second)
	tick(h, now) // what its run says to be open is not believed any more
	h.look(fleetOf(3, now, 1, "a", "b"), now)
	r := p.report(now, true, false)
	h.report(&r, now)
	if got := (book{h}).Ended("a:80"); got != (ending.Sums{}) {
		t.Errorf("%v were counted, and none has ended since it came back", got)
	}
}

// TestAReleaseIsOnDiskWhenItBegins: however slowly the disk writes.
func TestAReleaseIsOnDiskWhenItBegins(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	h := opened(t, dir, now)
	v := fleetOf(1, now, 2, "a")
	v.Workloads = []fleet.Workload{{Name: "a", Namespace: "shop", Replicas: 2, Revision: "v1"}}
	h.look(v, now)
	h.Tick(now)
	h.keeper.next = now.Add(time.Hour)
	v = fleetOf(2, now, 2, "a")
	v.Workloads = []fleet.Workload{{Name: "a", Namespace: "shop", Replicas: 3, Revision: "v1"}}
	now = now.Add(time.Second)
	h.look(v, now)
	h.Tick(now)
	begun, _ := h.Release("latest")
	if got, known := opened(t, dir, now).Release(begun.ID); !known || got.Verdict != release.Running {
		t.Errorf("after a restart %q is %q, known: %v; want it to run", begun.ID, got.Verdict, known)
	}
	h.keeper.next = now.Add(time.Hour) // nothing has begun since
	h.Tick(now.Add(time.Minute))
	if h.keeper.next != now.Add(time.Hour) {
		t.Error("it was written again")
	}
}
