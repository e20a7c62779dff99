package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// A releaseDesk answers as a console that keeps these releases, the newest first.
type releaseDesk struct {
	mu       sync.Mutex
	releases []release.Release
	token    string
	away     int                  // of the next requests
	asked    func(r *releaseDesk) // with each request
}

func (d *releaseDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked != nil {
		d.asked(d)
	}
	if d.away > 0 {
		d.away--
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if d.token != "" && r.Header.Get("Authorization") != "Bearer "+d.token {
		desk(w, http.StatusUnauthorized, admin.Problem{Error: "log in at /login"})
		return
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/api/v1/releases")
	if rest == "" {
		rows := []history.ReleaseRow{}
		for _, r := range d.releases {
			rows = append(rows, history.ReleaseRow{
				ID: r.ID, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, What: r.What, Began: r.Began, Ended: r.Ended, Verdict: r.Verdict, Why: r.Why,
				Served: r.Requests[ending.Served], Lost: r.Requests.Lost(),
			})
		}
		desk(w, http.StatusOK, map[string]any{"releases": rows})
		return
	}
	id, report := strings.CutSuffix(strings.TrimPrefix(rest, "/"), "/report")
	for _, one := range d.releases {
		switch {
		case one.ID == id && report:
			if err := release.HTML(w, one, nil); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
			return
		case one.ID == id:
			desk(w, http.StatusOK, one)
			return
		}
	}
	desk(w, http.StatusNotFound, admin.Problem{Error: "there is no release " + id, Suggestions: []string{d.releases[0].ID}})
}

func desk(w http.ResponseWriter, status int, value any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // a client that left is a failed test already
}

// ask runs a command line against the desk.
func (d *releaseDesk) ask(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	server := httptest.NewServer(d)
	defer server.Close()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append(args, "--console", server.URL), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// three are releases of three verdicts, and one that runs.
func three() *releaseDesk {
	at := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	made := func(id, name string, kind release.Kind, verdict release.Verdict, ago int, sums ending.Sums) release.Release {
		r := release.Release{
			ID: id, Name: name, Namespace: "default", Kind: kind, What: "restart, 2 replicas", Verdict: verdict, Why: "so it was",
			Began: at.Add(-time.Duration(ago) * time.Minute), Requests: sums, Services: []string{"reviews:9080"},
		}
		if verdict != release.Running {
			r.Ended = r.Began.Add(30 * time.Second)
		}
		if kind == release.Gateway {
			r.Namespace = "istio-system"
		}
		return r
	}
	return &releaseDesk{releases: []release.Release{
		made("ingressgateway-4", "ingressgateway", release.Gateway, release.Running, 1, ending.Sums{ending.Served: 3}),
		made("reviews-v1-3", "reviews-v1", release.Rollout, release.Lossless, 2, ending.Sums{ending.Served: 4211}),
		made("reviews-v2-2", "reviews-v2", release.Rollout, release.Lossy, 3, ending.Sums{ending.Served: 4197, ending.Reset: 14}),
		made("reviews-v2-1", "reviews-v2", release.Scale, release.Unproven, 4, ending.Sums{}),
	}}
}

func TestReleaseShowExitsByItsVerdict(t *testing.T) {
	d := three()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"reviews-v1-3"}, 0, "lossless: so it was"},
		{[]string{"deployment/reviews-v1"}, 0, "4211 served, 0 lost, 4211 in all"},
		{[]string{"reviews-v2-2"}, 3, "lossy: so it was"},
		{[]string{"deployment/reviews-v2"}, 3, "4197 served, 14 lost, 4211 in all"},
		{[]string{"reviews-v2-1"}, 4, "unproven: so it was"},
		{[]string{"deploy/reviews-v1", "-n", "default"}, 0, "reviews-v1-3"},
		{[]string{"gw/ingressgateway"}, 4, "ingressgateway-4"},
		{[]string{"latest"}, 4, "running: so it was"},
		{nil, 4, "ingressgateway-4"},
		{[]string{"gateway/ingressgateway"}, 4, "ingressgateway-4"},
		{[]string{"reviews-v2-2", "-o", "json"}, 3, `"reset": 14`},
		{[]string{"reviews-v2-2", "-o", "html"}, 3, "<b>lossy</b>: so it was"},
		{[]string{"reviews-v1-3", "--since", "2026-11-22T17:58:00Z"}, 0, "reviews-v1-3"},
	} {
		code, out, errs := d.ask(t, append([]string{"release", "show"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%q exits with %d and says\n%s%s; want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"nobody-1"}, "there is no release nobody-1; did you mean ingressgateway-4?"},
		{[]string{"deployment/nobody"}, "there is no such release (deployment/nobody in namespace default)"},
		{[]string{"deployment/reviews-v1", "-n", "shop"}, "there is no such release (deployment/reviews-v1 in namespace shop)"},
		{[]string{"reviews-v1"}, "did you mean deployment/reviews-v1?"},
		{[]string{"ingressgateway"}, "did you mean gateway/ingressgateway?"},
		{[]string{"gateway/reviews-v1"}, "there is no such release"},
		{[]string{"reviews-v1-3", "--since", "2026-11-22T17:58:01Z"}, "there is no such release (reviews-v1-3)"},
		{[]string{"latest", "--since", "2026-11-22T18:00:00Z"}, "--wait waits for one"},
	} {
		if code, out, errs := d.ask(t, append([]string{"release", "show"}, c.args...)...); code != 1 || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("%q exits with %d and says %q; want 1 and %q", c.args, code, errs, c.says)
		}
	}
}

// TestReleaseShowWaits has the console away for a moment in the middle, and then gone.
func TestReleaseShowWaits(t *testing.T) {
	d := three()
	began := d.releases[0].Began.Add(time.Minute)
	asked := 0
	d.asked = func(d *releaseDesk) {
		switch asked++; asked {
		case 2: // nothing had begun: now it has
			next := d.releases[1]
			next.ID, next.Began, next.Ended, next.Verdict = "reviews-v1-5", began, time.Time{}, release.Running
			next.Came = []string{"a", "b"}
			d.releases = append([]release.Release{next}, d.releases...)
		case 4:
			d.away = 1
		case 5:
			other := d.releases[0]
			other.ID, other.Began = "ratings-v1-6", began.Add(time.Second)
			d.releases = append([]release.Release{other}, d.releases...)
			d.releases[1].Verdict, d.releases[1].Ended = release.Lossy, began.Add(time.Minute)
		}
	}
	code, out, errs := d.ask(t, "release", "show", "--wait", "--since", began.Format(time.RFC3339))
	if code != 3 || !strings.Contains(out, "reviews-v1-5") {
		t.Errorf("it exits with %d and says\n%s%s; want the lossy one that began, reviews-v1-5", code, out, errs)
	}
	for _, part := range []string{"waiting for a release to begin", "reviews-v1-5: 2 came, 0 of them warm; 0 went", "it says 502 Bad Gateway; it is asked again"} {
		if !strings.Contains(errs, part) {
			t.Errorf("%q does not say %q", errs, part)
		}
	}
	code, out, errs = d.ask(t, "release", "show", "gateway/ingressgateway", "--wait", "--timeout", "100ms")
	if code != 1 || !strings.Contains(errs, "--timeout is over: ingressgateway-4") || !strings.HasPrefix(out, "running: so it was") {
		t.Errorf("one that does not end exits with %d and says %q, %q; want it written as far as it is", code, out, errs)
	}
}

// TestReleaseShowEndsWithOneThatStalled: a pipeline is not to wait for what nobody mends; and a console that answered once is waited for.
func TestReleaseShowEndsWithOneThatStalled(t *testing.T) {
	d := three()
	asked := 0
	d.asked = func(d *releaseDesk) {
		if asked++; asked > 2 {
			r := &d.releases[0]
			r.Verdict, r.Why = release.Stalled, "it has come no nearer for 600s"
			r.Warm = []release.WarmTime{{Name: "reviews-v1-2"}, {Name: "reviews-v1-3", Ready: time.Second}, {Name: "reviews-v1-2"}}
		}
	}
	code, out, errs := d.ask(t, "release", "show", "--wait")
	if code != 5 || !strings.HasPrefix(out, "stalled: it has come no nearer for 600s\n") || !strings.Contains(errs, "ingressgateway-4: ") {
		t.Errorf("it exits with %d and says\n%s%s", code, out, errs)
	}
	if !strings.Contains(out, "reviews-v1-2: not ready, 2 times\n") || strings.Count(out, "reviews-v1-") != 2 {
		t.Errorf("one that is started again and again fills it:\n%s", out)
	}
}

func TestReleasesAreListed(t *testing.T) {
	d := three()
	code, out, _ := d.ask(t, "releases")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 5 || !strings.HasPrefix(lines[0], "ID ") || !strings.HasSuffix(lines[3], "4197     14     lossy") {
		t.Errorf("it exits with %d and says\n%s", code, out)
	}
	if code, out, _ = d.ask(t, "releases", "--limit", "1", "-o", "json"); code != 0 || !strings.Contains(out, "ingressgateway-4") || strings.Contains(out, "reviews-v1-3") {
		t.Errorf("one as JSON exits with %d and says\n%s", code, out)
	}
	d.releases = nil
	if code, out, errs := d.ask(t, "releases"); code != 0 || out != "" || !strings.Contains(errs, "no release yet") {
		t.Errorf("none exits with %d and says %q, %q", code, out, errs)
	}
}

func TestReleasesOfAConsoleWherePeopleLogIn(t *testing.T) {
	d := three()
	d.token = "s3cret"
	if code, _, errs := d.ask(t, "releases"); code != 1 || !strings.Contains(errs, "--console-token names the file of a token") {
		t.Errorf("without a token: %d, %q", code, errs)
	}
	file := filepath.Join(t.TempDir(), "token")
	for token, want := range map[string]int{"s3cret\n": 0, "other": 1} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := d.ask(t, "releases", "--console-token", file); code != want || strings.Contains(errs, "s3cret") {
			t.Errorf("with token %q: %d, %q; want %d", token, code, errs, want)
		}
	}
}

// A token is not sent where others can read it on its way.
func TestTokensGoOverTLSOrNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for at, refused := range map[string]bool{
		"http://192.0.2.1:1": true, "console.invalid:1": true, "http://localhost.invalid:1": true, "http://127.0.0.1.invalid:1": true,
		"http://127.0.0.1:1": false, "http://localhost:1": false, "http://[::1]:1": false, "https://127.0.0.1:1": false,
	} {
		_, _, errs := crossfade(t.Context(), "releases", "--console", at, "--console-token", file)
		if got := strings.Contains(errs, "for all to read"); got != refused {
			t.Errorf("%s: refused is %t, want %t: %s", at, got, refused, errs)
		}
	}
}

// What others are called does nothing to a terminal, and makes no rows of its own.
func TestNamesDoNothingToATerminal(t *testing.T) {
	const evil = "a\x1b]0;owned\a\nlossless\u202eb\u009b2J"
	d := three()
	d.releases[0].Name, d.releases[0].What, d.releases[0].Why = evil, evil, evil
	code, table, _ := d.ask(t, "releases", "-o", "wide")
	if want := len(d.releases) + 1; code != 0 || strings.Count(table, "\n") != want {
		t.Errorf("%d: got %d lines, want %d:\n%q", code, strings.Count(table, "\n"), want, table)
	}
	_, one, _ := d.ask(t, "release", "show", d.releases[0].ID)
	for _, text := range []string{table, one} {
		if !strings.Contains(text, "owned") || strings.ContainsAny(text, "\x1b\a\u202e\u009b") {
			t.Errorf("got %q", text)
		}
	}
}
