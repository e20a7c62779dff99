//go:build integration

package e2e

import (
	"slices"
	"testing"
	"time"

	"crossfade.dev/test/browser"
)

// Control is killed in the middle of a rollout. What it had kept it has again, the release goes on as the one that it was and
// comes to its verdict, and the page that somebody has open says that control is away and recovers by itself.
func TestConsoleOverARestart(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m); m.setWindow(t, 10*time.Second) })
	c := &chaos{t: t, m: m}
	scale(t, "reviews-v1", 2)
	c.settled("reviews-v1", 2)
	b := browse(t)
	load := startLoad(t, chaosRate)
	p := view(t, b, browser.Desk(), "/releases")
	must(t, p.AwaitText("reviews-v1"))
	must(t, p.Await("(window.neverLoadedAgain = true)"))
	old := c.settled("reviews-v1", 2)
	cli(t, "rollout", "restart", "deployment/reviews-v1")
	before := c.running(t)
	load.seconds(t, 3)
	known, err := console[overview](t, "overview")
	must(t, err)
	wantQuiet(t, p, "before")
	m.killed(t, m.control(t), isControl)
	c.controlReady()
	after, err := console[released](t, "releases/"+before.ID)
	must(t, err)
	if after.Verdict != "running" || after.Name != before.Name {
		t.Errorf("after the restart %s is %+v, want it to go on", before.ID, after)
	}
	c.settled("reviews-v1", 2, old...)
	var end released
	eventually(t, late, func() string {
		if end, err = console[released](t, "releases/"+before.ID); err != nil || end.Verdict == "running" {
			return "the verdict of " + before.ID
		}
		return ""
	})
	if end.Verdict != "lossless" || len(end.Losses) > 0 {
		t.Errorf("got %s: %s", end.Verdict, end.Why)
	}
	must(t, p.AwaitText("lossless"))
	must(t, p.AwaitText("live"))
	if still, err := browser.Ask[bool](p, "window.neverLoadedAgain === true"); err != nil || !still {
		t.Errorf("the page was loaded again: %v", err)
	}
	a, _ := load.stop(t)
	got := accounted(t, a, since(known.Outside, known.Outside))
	if got.Requests < known.Outside.Requests+a.Sent/10 || got.Lost > 0 {
		t.Errorf("%d requests and %d losses are known, after %d before the restart and %d sent", got.Requests, got.Lost, known.Outside.Requests, a.Sent)
	}
	wantQuiet(t, p, "after the restart", "net::ERR", "503", "502", "500")
}

// running is the newest release, which is not over.
func (c *chaos) running(t *testing.T) released {
	t.Helper()
	var found released
	eventually(t, soon, func() string {
		all, err := console[struct {
			Releases []released `json:"releases"`
		}](t, "releases")
		if err != nil {
			return err.Error()
		}
		i := slices.IndexFunc(all.Releases, func(r released) bool { return r.Verdict == "running" })
		if i < 0 {
			return "a release that runs"
		}
		found = all.Releases[i]
		return ""
	})
	return found
}
