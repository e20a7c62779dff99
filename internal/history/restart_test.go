package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// lived is a history in a directory, of a fleet in which an instance came up and another was replaced, with traffic, over some
// minutes; and when it ended. It has been written.
func lived(t *testing.T, dir string) (*History, *plane, time.Time) {
	t.Helper()
	now := epoch
	h := opened(t, dir, now)
	h.look(fleetOf(1, now, 2, "a"), now)
	p := newPlane("gw-1", "r", now)
	for second := range 200 {
		p.serve("a:80", fmt.Sprintf("a-%d", second%2), ending.Served, 100, 20*time.Millisecond)
		now = now.Add(time.Second)
		if second == 40 { // a third one comes
			v := fleetOf(2, now, 3, "a")
			e := &v.Services[0].Endpoints[2]
			e.Stage, e.Age = fleet.Warming, 0
			v.Services[0].Pools[0].Members[2] = fleet.Member{Endpoint: 2}
			v.Services[0].Pools[0].Policy.Warmup = fleet.Warmup{Window: time.Minute}
			v.Events = []fleet.Event{{Time: now, Kind: "warmup.started", Service: "a:80", Endpoint: "a-2", Incarnation: "a-2", From: "control"}}
			h.look(v, now)
		}
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
		if second%2 == 0 {
			if err := h.save(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.save(now); err != nil {
		t.Fatal(err)
	}
	return h, p, now
}

// told is all that a history says of what it keeps.
func told(t *testing.T, h *History) string {
	t.Helper()
	day, err := h.Series(t.Context(), series.Query{Service: "a:80", From: epoch.Unix() - 60, To: epoch.Unix() + 180, Step: 60})
	if err != nil {
		t.Fatal(err)
	}
	versions, err := h.Series(t.Context(), series.Query{Service: "a:80", By: series.Version, From: epoch.Unix() - 60, To: epoch.Unix() + 180, Step: 60})
	if err != nil {
		t.Fatal(err)
	}
	heat, err := h.Heat(t.Context(), series.Query{Service: "a:80", From: epoch.Unix() - 60, To: epoch.Unix() + 180, Step: 60})
	if err != nil {
		t.Fatal(err)
	}
	var lives []any
	for _, row := range h.Episodes(EpisodeQuery{}) {
		e, _ := h.Episode(row.ID)
		lives = append(lives, e)
	}
	for _, row := range h.Releases() {
		r, _ := h.Release(row.ID)
		lives = append(lives, r)
	}
	text, err := json.MarshalIndent([]any{day, versions, heat, lives, h.Events(time.Time{}, 0), book{h}.Ended("a:80"), h.gates["http"].codes}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestARestartForgetsNothing: who is killed and started again says what it said before, of all that is kept.
func TestARestartForgetsNothing(t *testing.T) {
	dir := t.TempDir()
	h, _, now := lived(t, dir)
	want := told(t, h)
	for range 2 {
		h = opened(t, dir, now)
		if diff := cmp.Diff(want, told(t, h)); diff != "" {
			t.Fatalf("what is said after a restart (+) is other than before (-):\n%s", diff)
		}
		if len(h.Episodes(EpisodeQuery{})) == 0 {
			t.Error("there are no episodes: nothing is shown by this")
		}
		if err := h.save(now); err != nil { // the next goes on from a log that was written anew
			t.Fatal(err)
		}
	}
}

// TestRowsAreFoundByTheirPlaceAfterARestart: what stands in a report where it stood before is not looked up, whoever was restarted.
func TestRowsAreFoundByTheirPlaceAfterARestart(t *testing.T) {
	dir := t.TempDir()
	_, p, now := lived(t, dir)
	h := opened(t, dir, now)
	r := p.report(now, true, false)
	h.report(&r, now)
	run := h.runs[runKey{r.From, r.Traffic.Run}]
	if len(run.order) == 0 {
		t.Fatal("there are no rows: nothing is shown by this")
	}
	for i, row := range run.order {
		e := &r.Traffic.Endpoints[i]
		if want := (endpointKey{e.Service, e.Incarnation}); row.key != want {
			t.Errorf("row %d is of %v, it says, and is of %v", i, row.key, want)
		}
	}
}

// TestWhatNobodyMeantIsNotRead: logs that were written when control was killed, before its state was, count for nothing.
func TestWhatNobodyMeantIsNotRead(t *testing.T) {
	dir := t.TempDir()
	h, p, now := lived(t, dir)
	state, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	want, then := told(t, h), now
	now = now.Add(time.Hour) // minutes go to another log, too
	for range 90 {
		p.serve("a:80", "a-0", ending.Cut, 10, 0)
		now = now.Add(time.Second)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
	}
	if err := h.save(now); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), state, 0o600); err != nil {
		t.Fatal(err)
	}
	h = opened(t, dir, then)
	if diff := cmp.Diff(want, told(t, h)); diff != "" {
		t.Fatalf("after what was not meant was written (+), before (-):\n%s", diff)
	}
	r := p.report(now, true, false)
	h.report(&r, now)
	sums := (book{h}).Ended("a:80")
	if sums[ending.Cut] != 900 {
		t.Errorf("%d were cut, want 900", sums[ending.Cut])
	}
	var lost uint64
	for at := epoch.Unix()/60 - 2; at <= now.Unix()/60; at++ {
		m := h.services["a:80"].place.whole(at)
		lost += m.Lost
	}
	if lost != 900 {
		t.Errorf("%d were lost in all minutes together, want 900", lost)
	}
}

// TestDamageIsSetAside: whatever stands in whichever file, history goes on, says so, and counts on from there.
func TestDamageIsSetAside(t *testing.T) {
	from := t.TempDir()
	_, p, now := lived(t, from)
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil || len(names) < 3 {
		t.Fatalf("%v, %v: want a state and two logs", names, err)
	}
	whole := p.report(now.Add(time.Second), true, false)
	top := t.TempDir()
	trial := 0
	rapid.Check(t, func(t *rapid.T) {
		trial++
		dir := filepath.Join(top, strconv.Itoa(trial))
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(rapid.SampledFrom(names).Draw(t, "file")))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			data = data[:at]
		case 1:
			data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 2:
			data = append(data[:at:at], bytes.Repeat([]byte{0xff}, 100)...)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		h, err := start(Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, now)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "set aside") {
			t.Errorf("%s is damaged, and nobody says so: %q", filepath.Base(path), log.String())
		}
		h.report(&whole, now.Add(time.Second))
		if err := h.save(now); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		again, err := start(Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, now)
		if err != nil || log.Len() > 0 {
			t.Fatalf("after it was written anew: %v, %s", err, log.String())
		}
		if got, want := (book{again}).Ended(""), (book{h}).Ended(""); got != want {
			t.Errorf("after it was written anew: got %v, want %v", got, want)
		}
	})
}

// TestWhoBeganBeforeIsNotCountedTwice: a run that nobody knows, and that began before counting did, may have been counted by
// somebody who forgot it. Only what it counts from then on is new.
func TestWhoBeganBeforeIsNotCountedTwice(t *testing.T) {
	h := opened(t, "", epoch)
	p := newPlane("gw-1", "r", epoch.Add(-time.Hour))
	p.serve("a:80", "a-0", ending.Served, 1000, time.Millisecond)
	now := epoch.Add(time.Second)
	r := p.report(now, true, false)
	h.report(&r, now)
	p.wasTaken(now)
	if got := (book{h}).Ended(""); got.Ended() != 0 {
		t.Errorf("of an hour before counting began: got %v, want nothing", got)
	}
	p.serve("a:80", "a-0", ending.Served, 7, time.Millisecond)
	now = now.Add(time.Second)
	r = p.report(now, false, false)
	h.report(&r, now)
	if got := (book{h}).Ended(""); got[ending.Served] != 7 {
		t.Errorf("since then: got %v, want 7", got)
	}
}

// TestTheLastWordIsOnDisk: what a data plane says last is kept at once, since nobody says it again.
func TestTheLastWordIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	h := opened(t, dir, now)
	p := newPlane("gw-1", "r", now)
	p.serve("a:80", "a-0", ending.Served, 41, time.Millisecond)
	if err := h.Report(t.Context(), p.report(now, true, true)); err != nil {
		t.Fatal(err)
	}
	if got := (book{opened(t, dir, now)}).Ended("a:80")[ending.Served]; got != 41 {
		t.Errorf("after it was killed: %d, want 41", got)
	}
}
