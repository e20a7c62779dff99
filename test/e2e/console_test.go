//go:build integration

package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"
)

const consoleAddress = "127.0.0.1:15010"

// listens is where the example's applications are told where to listen.
var listens = regexp.MustCompile(`"--listen"`)

// slowly has each request take its time, so that some are open everywhere whenever something happens.
func slowly(t *testing.T, m *mesh) {
	t.Helper()
	m.setWindow(t, 2*time.Second)
	m.rewrite(t, listens, `"--latency", "30ms", "--listen"`)
}

// A counted is what the console says of what came in from outside, or was routed to a service.
type counted struct {
	Requests uint64            `json:"requests"`
	Active   int64             `json:"active"`
	Ended    map[string]uint64 `json:"ended"`
	Lost     uint64            `json:"lost"`
	Codes    []struct {
		Status int    `json:"status"`
		N      uint64 `json:"n"`
	} `json:"codes"`
}

// An overview is what the console says of everything.
type overview struct {
	Outside  counted `json:"outside"`
	Services []struct {
		Name string `json:"name"`
		counted
		Endpoints []struct {
			ID      string `json:"id"`
			Name    string `json:"name"`
			Sent    uint64 `json:"sent"`
			Version string `json:"version"`
		} `json:"endpoints"`
	} `json:"services"`
}

// A released is what the console says of a release.
type released struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"`
	Name     string            `json:"name"`
	Verdict  string            `json:"verdict"`
	Why      string            `json:"why"`
	Ended    time.Time         `json:"ended"`
	Requests map[string]uint64 `json:"requests"`
	Losses   []struct {
		Kind string `json:"kind"`
		Side string `json:"side"`
		N    uint64 `json:"n"`
	} `json:"losses"`
}

// console asks the console for a value; it may be away.
func console[T any](t *testing.T, path string) (value T, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://"+consoleAddress+"/api/v1/"+path, http.NoBody)
	if err != nil {
		return value, err
	}
	resp, err := fresh().Do(req)
	if err != nil {
		return value, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return value, fmt.Errorf("the console's %s: got %s, %w: %s", path, resp.Status, err, body)
	}
	return decode[T](t, string(body)), nil
}

// accounted waits until the console has counted all of a load, and says in what they differ.
func accounted(t *testing.T, a account, before counted) counted {
	t.Helper()
	var now counted
	eventually(t, soon, func() string {
		all, err := console[overview](t, "overview")
		if err != nil {
			return err.Error()
		}
		now = since(all.Outside, before)
		if now.Requests < a.Sent || now.Active > 0 {
			return fmt.Sprintf("%d requests counted, none of them open; got %d and %d", a.Sent, now.Requests, now.Active)
		}
		return ""
	})
	return now
}

// since is what was counted after before.
func since(now, before counted) counted {
	now.Requests -= before.Requests
	now.Lost -= before.Lost
	now.Ended = maps.Clone(now.Ended)
	for kind, n := range before.Ended {
		if now.Ended[kind] -= n; now.Ended[kind] == 0 {
			delete(now.Ended, kind)
		}
	}
	now.Codes = slices.Clone(now.Codes)
	for i := range now.Codes {
		for _, old := range before.Codes {
			if old.Status == now.Codes[i].Status {
				now.Codes[i].N -= old.N
			}
		}
	}
	return now
}

// The console's numbers are the load tool's, counter by counter, over a run in which an application is killed, one is rolled
// over, and control is killed in the middle of it: it counts nothing twice and forgets nothing.
func TestConsoleCounts(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m) })
	c := &chaos{t: t, m: m}
	for _, deployment := range []string{"productpage-v1", "reviews-v1"} {
		scale(t, deployment, 2)
		c.settled(deployment, 2)
	}
	first, err := console[overview](t, "overview")
	if err != nil {
		t.Fatal(err)
	}
	const rate, seconds = 100, 30
	load := beginLoad(t, rate, "--duration", fmt.Sprintf("%ds", seconds), page)
	load.seconds(t, 2)
	kill(t, m.application(t, c.settled("productpage-v1", 2)[0]))
	c.settled("productpage-v1", 2)
	load.seconds(t, 1)
	old := c.settled("reviews-v1", 2)
	cli(t, "rollout", "restart", "deployment/reviews-v1")
	c.newcomer("reviews-v1", old)
	m.killed(t, m.control(t), isControl)
	a, shots := load.end(t)
	c.controlReady()
	t.Logf("sent %d, ok %d, lost %v", a.Sent, a.OK, a.Lost)
	if a.LostTotal == 0 {
		t.Error("nothing was lost by a kill -9: there is nothing to compare")
	}
	got := accounted(t, a, first.Outside)
	if got.Requests != a.Sent || got.Lost != a.LostTotal || got.Ended["served"] != a.OK {
		t.Errorf("the console counted %d requests, %d served, %d lost (%v); the load %d, %d, %d (%v)",
			got.Requests, got.Ended["served"], got.Lost, got.Ended, a.Sent, a.OK, a.LostTotal, a.Lost)
	}
	statuses := map[int]uint64{}
	for _, s := range shots {
		if s.Status > 0 && (s.Outcome == "ok" || s.Outcome == "5xx") {
			statuses[s.Status]++
		}
	}
	counts := map[int]uint64{}
	for _, code := range got.Codes {
		if code.N > 0 {
			counts[code.Status] = code.N
		}
	}
	if !maps.Equal(counts, statuses) {
		t.Errorf("the console counted answers by status %v, the load %v", counts, statuses)
	}
	endings := a.Lost["5xx"] + a.Lost["cut"] + a.Lost["eof"] + a.Lost["reset"]
	if endings != a.LostTotal {
		t.Errorf("the load lost %v, in ways that an application's end does not explain", a.Lost)
	}
}

// The verdict of a rollout is that of the load that ran over it, and of one in which an instance is killed as well.
func TestVerdicts(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m) })
	c := &chaos{t: t, m: m}
	scale(t, "productpage-v1", 2)
	c.settled("productpage-v1", 2)
	quiet := c.released(t, "productpage-v1", func() { scale(t, "productpage-v1", 3); c.settled("productpage-v1", 3) })
	if quiet.Verdict != "unproven" {
		t.Errorf("nothing passed while %s ran; got %q: %s", quiet.ID, quiet.Verdict, quiet.Why)
	}
	load := startLoad(t, 100)
	clean := c.released(t, "productpage-v1", func() {
		old := c.settled("productpage-v1", 3)
		cli(t, "rollout", "restart", "deployment/productpage-v1")
		c.settled("productpage-v1", 3, old...)
	})
	if clean.Verdict != "lossless" || len(clean.Losses) > 0 || clean.Requests["served"] == 0 {
		t.Errorf("a rollout under load: got %q (%s), losses %v of %v", clean.Verdict, clean.Why, clean.Losses, clean.Requests)
	}
	torn := c.released(t, "productpage-v1", func() {
		old := c.settled("productpage-v1", 3)
		cli(t, "rollout", "restart", "deployment/productpage-v1")
		for i := range 2 { // one request in three is open there, every time
			kill(t, m.application(t, old[i]))
		}
		c.settled("productpage-v1", 3, old...)
	})
	a, _ := load.stop(t)
	t.Logf("the load lost %v of %d; verdicts: %s | %s | %s", a.Lost, a.Sent, quiet.Why, clean.Why, torn.Why)
	var lost uint64
	for _, l := range torn.Losses {
		lost += l.N
		if l.Side != "endpoint" && l.Side != "gateway" {
			t.Errorf("a loss on side %q: %+v", l.Side, l)
		}
	}
	if torn.Verdict != "lossy" || lost != a.LostTotal || lost == 0 {
		t.Errorf("a rollout in which two instances were killed: got %q (%s) with %d lost; the load lost %d", torn.Verdict, torn.Why, lost, a.LostTotal)
	}
	exits := map[string]int{quiet.ID: 4, clean.ID: 0, torn.ID: 3}
	for id, want := range exits {
		got := 0
		if _, err := try(t, "release", "show", id); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatal(err)
			}
			got = exit.ExitCode()
		}
		if got != want {
			t.Errorf("crossfade release show %s: exit code %d, want %d", id, got, want)
		}
	}
}

// released does something and returns the release that the console makes of it, when that is over.
func (c *chaos) released(t *testing.T, name string, do func()) released {
	t.Helper()
	list := func() []released {
		all, err := console[struct {
			Releases []released `json:"releases"`
		}](t, "releases")
		if err != nil {
			t.Fatal(err)
		}
		return all.Releases
	}
	known := map[string]bool{}
	for _, r := range list() {
		known[r.ID] = true
	}
	do()
	var found released
	eventually(t, late, func() string {
		for _, r := range list() {
			if r.Name == name && !known[r.ID] && r.Verdict != "running" {
				var err error
				if found, err = console[released](t, "releases/"+r.ID); err != nil {
					return err.Error()
				}
				return ""
			}
		}
		return "a release of " + name + " that is over"
	})
	return found
}
