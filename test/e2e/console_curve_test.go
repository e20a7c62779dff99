//go:build integration

package e2e

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/test/browser"
)

const (
	curveWindow  = 20 * time.Second
	curveLeast   = 0.02
	curveRate    = 100 // requests a second, each of which calls reviews once
	curveBin     = 4   // seconds that are compared at a time
	curveBetween = 0.1 // of what is expected, and a few requests: the machine and the seconds are not even
	curveFew     = 6
)

// msesYAML is what MSE's form says: a delayed registration, a quadratic warm-up, and a start that is prepared by requests.
var msesYAML = fmt.Sprintf(`apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: reviews}
spec:
  service: reviews
  registration: {delay: 2s}
  warmup: {duration: %gs, curve: quadratic, minimumPercent: %g}
  warmupRequests: {requests: [{path: /reviews/0}], count: 20}
  drain: {quiet: 1s, callers: 2s, timeout: 20s}
`, curveWindow.Seconds(), 100*curveLeast)

// An episode is what the console has of one instance's start and end.
type episode struct {
	ID      string    `json:"id"`
	Running bool      `json:"running"`
	Killed  bool      `json:"killed"`
	Offered time.Time `json:"offered"`
	Warm    time.Time `json:"warm"`
	Ended   time.Time `json:"ended"`
	Marks   []moment  `json:"marks"`
	Points  []struct {
		At       int64   `json:"t"`
		Requests float64 `json:"requests"`
		Due      float64 `json:"due"`
		Share    float64 `json:"share"`
		Failed   float64 `json:"failed"`
	} `json:"points"`
}

// A moment is one event of an episode.
type moment struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
}

func episodeOf(t *testing.T, e endpoint) episode {
	t.Helper()
	found, err := console[episode](t, "episodes/"+url.PathEscape(e.Incarnation))
	must(t, err)
	return found
}

// expected is how many requests an instance should have got from one moment to another, both in seconds of its warm-up, where
// it shares the load with one that is warm: the integral of rate × s/(1+s).
func expected(from, to float64) (n float64) {
	const step = 0.01
	for at := from; at < to; at += step {
		progress := math.Max(0, math.Min(1, at/curveWindow.Seconds()))
		s := math.Max(curveLeast, progress*progress)
		if at < 0 {
			s = 0
		}
		n += step * curveRate * s / (1 + s)
	}
	return n
}

// MSE's picture: the events of a start and of a shutdown stand in their order, and the requests of a second rise as the quadratic
// curve says, from nothing to the whole, without a peak. The page shows the same marks.
func TestConsoleShowsTheStart(t *testing.T) {
	m := start(t, func(m *mesh) {
		m.removeWarmup(t)
		m.write(t, "lifecycle.yaml", msesYAML)
	})
	m.skipWarmups(t)
	c := &chaos{t: t, m: m}
	load := startLoad(t, curveRate)
	scale(t, "reviews-v2", 1)
	newcomer := c.settled("reviews-v2", 1)[0]
	load.seconds(t, 5)
	one := episodeOf(t, newcomer)
	wantMarks(t, one, "instance.started", "probe.passed", "warmup.requests.started", "warmup.requests.ended", "registration.completed", "warmup.started", "warmup.ended")
	wantMarks(t, one, "registration.completed", "readiness.passed")
	if took := one.Warm.Sub(one.Offered); took < curveWindow-time.Second || took > curveWindow+2*time.Second {
		t.Errorf("it was warm %v after it was offered, want %v", took, curveWindow)
	}
	wantCurve(t, one)

	b := browse(t)
	tall := browser.Desk()
	tall.Height = 1350 // the whole curve
	p := view(t, b, tall, "/instances/"+url.PathEscape(newcomer.Incarnation))
	for _, mark := range []string{"started", "registered", "warm-up ended"} {
		must(t, p.AwaitText(mark))
	}
	wantAccessible(t, p, "a start")
	picture(t, p, "console-start-quadratic.png")

	scale(t, "reviews-v2", 0)
	awaitNone(t, "reviews-v2")
	eventually(t, soon, func() string {
		one = episodeOf(t, newcomer)
		if last := one.Marks[len(one.Marks)-1].Kind; one.Running || last != "instance.stopped" {
			return "the episode to be over; it runs: " + fmt.Sprint(one.Running, ", its last mark is ", last)
		}
		return ""
	})
	wantMarks(t, one, "warmup.ended", "offline.requested", "drained", "instance.stopped")
	wantMarks(t, one, "offline.requested", "deregistered", "instance.stopped")
	for _, kind := range []string{"drained", "stopped"} {
		must(t, p.AwaitText(kind))
	}
	wantQuiet(t, p, "a start and its end")
	if a, _ := load.stop(t); a.LostTotal > 0 || one.Killed {
		t.Errorf("lost %v; killed %v", a.Lost, one.Killed)
	}
}

// wantMarks holds that an episode has marks of some kinds, in that order.
func wantMarks(t *testing.T, e episode, kinds ...string) {
	t.Helper()
	var all []string
	for _, m := range e.Marks {
		all = append(all, m.Kind)
	}
	at := 0
	for _, kind := range kinds {
		next := slices.Index(all[at:], kind)
		if next < 0 {
			t.Errorf("%s does not come after %s: %s", kind, strings.Join(kinds[:slices.Index(kinds, kind)], ", "), strings.Join(all, ", "))
			return
		}
		at += next
	}
	if !slices.IsSortedFunc(e.Marks, func(a, b moment) int { return a.At.Compare(b.At) }) {
		t.Errorf("the marks are not in the order of time: %+v", e.Marks)
	}
}

// wantCurve holds an episode's seconds to the curve, and what it was sent to what was due to it.
func wantCurve(t *testing.T, e episode) {
	t.Helper()
	offered := float64(e.Offered.UnixNano()) / 1e9
	got, due := map[int]float64{}, map[int]float64{}
	for _, p := range e.Points {
		second := float64(p.At) - offered
		bin := int(math.Floor(second / curveBin))
		got[bin] += p.Requests
		due[bin] += p.Due
		progress := math.Max(0, math.Min(1, (second+0.5)/curveWindow.Seconds()))
		want := math.Max(curveLeast, progress*progress)
		const early = 0.1 // a second at the end of the curve: a share is as old as a report may be
		if second > 2 && second < curveWindow.Seconds() && math.Abs(p.Share-want) > early {
			t.Errorf("%.1f s after it was offered its share is %.3f, want %.3f", second, p.Share, want)
		}
		if second < -1 && p.Requests > 0 {
			t.Errorf("%.1f s before it was offered it got %v requests", -second, p.Requests)
		}
	}
	var said []string
	for bin := 0; bin*curveBin < int(curveWindow.Seconds()); bin++ {
		want := expected(float64(bin*curveBin), float64((bin+1)*curveBin))
		said = append(said, fmt.Sprintf("%d s: %.0f of %.0f", (bin+1)*curveBin, got[bin], want))
		// Seconds begin at any time: up to one of them is in the next bin.
		slack := curveFew + curveBetween*want + expected(float64((bin+1)*curveBin), float64((bin+1)*curveBin+1)) - expected(float64(bin*curveBin), float64(bin*curveBin+1))
		if math.Abs(got[bin]-want) > slack {
			t.Errorf("from %d s to %d s it got %.0f requests, want %.0f ± %.0f by the quadratic curve", bin*curveBin, (bin+1)*curveBin, got[bin], want, slack)
		}
		if math.Abs(got[bin]-due[bin]) > curveFew+curveBetween*want {
			t.Errorf("from %d s to %d s it got %.0f requests, and %.0f were due to it", bin*curveBin, (bin+1)*curveBin, got[bin], due[bin])
		}
	}
	t.Logf("requests by the quadratic curve: %s", strings.Join(said, "; "))
}
