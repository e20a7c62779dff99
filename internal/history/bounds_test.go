package history

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// TestRunKeeps: while it runs, history settles and writes by itself, and once more at the end.
func TestRunKeeps(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- h.Run(ctx) }()
		p := newPlane("gw-1", "r", time.Now())
		say := func() {
			p.serve("a:80", "a-0", ending.Served, 5, time.Millisecond)
			if err := h.Report(ctx, p.report(time.Now(), false, false)); err != nil {
				t.Error(err)
			}
			p.wasTaken(time.Now())
		}
		h.View(fleetOf(1, time.Now(), 1, "a"))
		var looking sync.WaitGroup
		looking.Go(func() { // whoever looks meanwhile
			for ctx.Err() == nil {
				page, _ := h.Service("a:80")
				curves, _ := h.Series(ctx, series.Query{Service: "a:80", By: series.Endpoint, To: time.Now().Unix(), From: time.Now().Unix() - 60})
				if _, err := json.Marshal([]any{h.Overview(), page, curves, h.Episodes(EpisodeQuery{}), h.Releases(), h.Events(time.Time{}, 0)}); err != nil {
					t.Error(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
		for range 10 {
			time.Sleep(time.Second)
			say()
		}
		if got, now := h.Settled(), time.Now().Unix(); got < now-4 || got > now-2 {
			t.Errorf("settled %d s ago, want 2 to 4", now-got)
		}
		time.Sleep(100 * time.Millisecond) // nobody writes now
		if got := (book{opened(t, dir, time.Now())}).Ended("")[ending.Served]; got < 35 || got > 50 {
			t.Errorf("on disk while it runs: %d, want what was told up to 3 s ago", got)
		}
		say()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		looking.Wait()
		if got := (book{opened(t, dir, time.Now())}).Ended("")[ending.Served]; got != 55 {
			t.Errorf("on disk at the end: %d, want 55", got)
		}
	})
}

// TestLogsAreBounded: the log of lives is written anew when most of it is old, and minutes go after a day.
func TestLogsAreBounded(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	h := opened(t, dir, now)
	var most int64
	for i := range 200 {
		v := fleetOf(1, now, 2, "a")
		for j := range 20 { // a megabyte of them, every time
			v.Events = append(v.Events, fleet.Event{Time: now, Kind: "warmup.progress", Reason: fmt.Sprint(i, j, strings.Repeat("x", 50_000))})
		}
		h.look(v, now)
		h.events.all, h.events.known = h.events.all[max(0, len(h.events.all)-40):], map[eventKey]bool{}
		now = now.Add(10 * time.Minute)
		tick(h, now)
		p := newPlane("gw-1", strconv.Itoa(i), now)
		p.serve("a:80", "a-0", ending.Served, 5, time.Millisecond)
		r := p.report(now, true, false)
		h.report(&r, now)
		if err := h.save(now); err != nil {
			t.Fatal(err)
		}
		var size int64
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		most = max(most, size)
	}
	if most > livesBound+8<<20 {
		t.Errorf("%d MB on disk, want %d at most", most>>20, (livesBound+8<<20)>>20)
	}
	if files := h.keeper.numbered("minutes-"); len(files) > series.Minutes/60+2 {
		t.Errorf("%d hours of minutes, want %d at most", len(files), series.Minutes/60+2)
	}
	if files := h.keeper.numbered("lives-"); len(files) != 1 {
		t.Errorf("logs of lives: %v, want one", files)
	}
}

// TestWhatIsGoneIsForgotten: memory does not grow with the incarnations, versions and runs that there have been.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	for i := range 300 {
		v := fleetOf(uint64(i), now, 1, "a")
		e := &v.Services[0].Endpoints[0]
		e.Incarnation = fmt.Sprint("a-", i)
		e.Labels = map[string]string{"version": e.Incarnation}
		h.look(v, now)
		p := newPlane("gw-1", fmt.Sprint("run-", i), now)
		now = now.Add(10 * time.Minute)
		p.serve("a:80", e.Incarnation, ending.Served, 1, time.Millisecond)
		r := p.report(now, true, i%2 == 0)
		h.report(&r, now)
		h.mu.Lock()
		h.forget(now)
		h.mu.Unlock()
	}
	s := h.services["a:80"]
	if len(h.runs) > 4 || len(s.endpoints) > 5 || len(h.lives) > 5 || len(s.versions) > 200 {
		t.Errorf("%d runs, %d endpoints of %d incarnations, %d versions are kept", len(h.runs), len(s.endpoints), len(h.lives), len(s.versions))
	}
	if got := (book{h}).Ended("a:80")[ending.Served]; got != 300 {
		t.Errorf("%d were served, want 300: what they counted is kept", got)
	}
}

// TestADiskThatIsFull: history goes on without it, says so once, and writes everything when it can again.
func TestADiskThatIsFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	var log bytes.Buffer
	h, err := start(Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // nobody can write below a file
		t.Fatal(err)
	}
	now := epoch
	p := newPlane("gw-1", "r", now)
	for range 300 {
		p.serve("a:80", "a-0", ending.Served, 3, time.Millisecond)
		now = now.Add(time.Second)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
		v := fleetOf(1, now, 1, "a")
		v.Events = []fleet.Event{{Time: now, Kind: "config.applied"}}
		h.look(v, now)
		h.Tick(now)
	}
	if said := strings.Count(log.String(), "cannot be kept"); said != 1 {
		t.Errorf("said %d times, want once: %s", said, log.String())
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	h.Tick(now)
	again := opened(t, dir, now)
	if got := (book{again}).Ended("a:80")[ending.Served]; got != 900 {
		t.Errorf("when it could be written again: %d, want 900", got)
	}
	if events, lives := again.Events(time.Time{}, 0), again.Episodes(EpisodeQuery{}); len(events) != 300 || len(lives) != 1 {
		t.Errorf("%d events, %d episodes; want 300, 1", len(events), len(lives))
	}
	c, err := again.Series(t.Context(), series.Query{Service: "a:80", From: epoch.Unix() - 60, To: now.Unix(), Step: 60})
	if err != nil || len(c.Curves) != 1 || c.Curves[0].Requests[3] != 3 {
		t.Errorf("minutes of that time: %+v, %v; want 3 a second", c, err)
	}
}

// TestTheClock: whatever the clock does, every request is in the sums, and history goes on.
func TestTheClock(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	p := newPlane("gw-1", "r", now)
	for _, leap := range []time.Duration{time.Second, 9 * time.Hour, time.Second, -20 * time.Minute, time.Second, time.Second, 3 * time.Second, 20 * time.Minute, time.Second, -48 * time.Hour, time.Second} {
		p.serve("a:80", "a-0", ending.Served, 7, time.Millisecond)
		now = now.Add(leap)
		r := p.report(now, false, false)
		r.Traffic.Span = time.Second
		h.report(&r, now)
		p.wasTaken(now)
		tick(h, now)
	}
	if got := (book{h}).Ended("a:80")[ending.Served]; got != 77 {
		t.Errorf("%d were served, want 77", got)
	}
	now = now.Add(3 * time.Second)
	tick(h, now)
	if got := now.Unix() - h.settled; got < 2 || got > 4 {
		t.Errorf("settled %d s ago, want 2 to 4", got)
	}
	if got := h.services["a:80"].place.last10(h.settled).Requests; got < 0.5 {
		t.Errorf("%v requests a second in the last ten, want what was counted since the clock went back", got)
	}
}
