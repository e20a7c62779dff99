package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A mesh carries calls to handlers by host name; nobody answers for a name it does not have.
type mesh map[string]http.Handler

func (m mesh) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, ok := m[r.URL.Host]
	if !ok {
		return nil, errors.New("nobody at " + r.URL.Host)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// start returns the handler of one service whose calls go through m, and puts it there.
func (m mesh) start(t *testing.T, args ...string) http.Handler {
	t.Helper()
	o, err := parse(args, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.calls.client = &http.Client{Transport: m}
	handler, err := newHandler(&o)
	if err != nil {
		t.Fatal(err)
	}
	m[o.service+":9080"] = handler
	return handler
}

// bookinfo starts all four services, reviews in the given version.
func bookinfo(t *testing.T, version string) (mesh, http.Handler) {
	t.Helper()
	m := mesh{}
	m.start(t, "details")
	m.start(t, "ratings")
	m.start(t, "reviews", "--version", version, "--instance", "reviews-"+version+"-1")
	return m, m.start(t, "productpage", "--instance", "productpage-1")
}

func get(handler http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return recorder
}

func TestPageShowsWhichReviewsAnswered(t *testing.T) {
	for _, c := range []struct {
		version string
		stars   int
		class   string
	}{{"v1", 0, ""}, {"v2", 2, `class="stars black"`}, {"v3", 2, `class="stars red"`}} {
		_, front := bookinfo(t, c.version)
		got := get(front, "/productpage")
		page := got.Body.String()
		if got.Code != http.StatusOK || strings.Contains(page, "could not be fetched") {
			t.Fatalf("%s: got %d, want a whole page:\n%s", c.version, got.Code, page)
		}
		if want := "reviews-" + c.version + "-1"; !strings.Contains(page, want) || got.Header().Get(reviewsHeader) != want {
			t.Errorf("%s: the page and its %s do not name %s", c.version, reviewsHeader, want)
		}
		if got.Header().Get(instanceHeader) != "productpage-1" {
			t.Errorf("%s: got instance %q, want productpage-1", c.version, got.Header().Get(instanceHeader))
		}
		if n := strings.Count(page, `class="stars`); n != c.stars || !strings.Contains(page, c.class) {
			t.Errorf("%s: got %d ratings, want %d as %s", c.version, n, c.stars, c.class)
		}
	}
}

func TestFailuresAreShown(t *testing.T) {
	for _, c := range []struct {
		name, version, missing, path string
		status                       int
		says                         string
	}{
		{"no reviews", "v1", "reviews", "/productpage", 502, "reviews could not be fetched"},
		{"no reviews, lenient", "v1", "reviews", "/productpage?lenient=1", 200, "reviews could not be fetched"},
		{"no details", "v1", "details", "/productpage", 502, "details could not be fetched"},
		{"no ratings, not asked", "v1", "ratings", "/productpage", 200, "answered by"},
		{"no ratings", "v2", "ratings", "/productpage", 502, "answered 502: ratings: "},
		{"no ratings, lenient", "v3", "ratings", "/productpage?lenient=1", 200, "Without stars: ratings: "},
		{"API, no details", "v1", "details", "/api/v1/products/0", 502, `"error":"details: `},
		{"API, no ratings behind reviews", "v2", "ratings", "/api/v1/products/0/reviews", 502, `reviews answered 502: ratings: `},
		{"API, no such product", "v1", "", "/api/v1/products/7/ratings", 404, "no product 7"},
		{"no such page", "v1", "", "/nowhere", 404, ""},
	} {
		m, front := bookinfo(t, c.version)
		delete(m, c.missing+":9080")
		got := get(front, c.path)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.says) {
			t.Errorf("%s: got %d, want %d and %q in:\n%s", c.name, got.Code, c.status, c.says, got.Body)
		}
	}
}

func TestAPI(t *testing.T) {
	_, front := bookinfo(t, "v3")
	var (
		list    []product
		details Details
		reviews Reviews
		ratings Ratings
	)
	for path, value := range map[string]any{
		"/api/v1/products": &list, "/api/v1/products/0": &details,
		"/api/v1/products/0/reviews": &reviews, "/api/v1/products/0/ratings": &ratings,
	} {
		got := get(front, path)
		if err := json.Unmarshal(got.Body.Bytes(), value); err != nil || got.Code != http.StatusOK {
			t.Errorf("%s: got %d %s, %v", path, got.Code, got.Body, err)
		}
	}
	if len(list) != 1 || details.Author == "" || reviews.Version != "v3" || len(ratings.Ratings) != 2 {
		t.Errorf("got %v, %v, %v, %v", list, details, reviews, ratings)
	}
	for _, review := range reviews.Reviews {
		if want := (Rating{Stars: ratings.Ratings[review.Reviewer], Color: "red"}); review.Rating == nil || *review.Rating != want {
			t.Errorf("%s: got %v, want %v", review.Reviewer, review.Rating, want)
		}
	}
}

func TestSigningIn(t *testing.T) {
	m, front := bookinfo(t, "v1")
	var seen string
	details := m["details:9080"]
	m["details:9080"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("End-User")
		details.ServeHTTP(w, r)
	})
	form := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"username": {"<Žofie>"}}.Encode()))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	in := httptest.NewRecorder()
	front.ServeHTTP(in, form)
	cookies := in.Result().Cookies()
	if in.Code != http.StatusSeeOther || len(cookies) != 1 || !cookies[0].HttpOnly {
		t.Fatalf("got %d and %v, want a redirect and one cookie", in.Code, cookies)
	}
	visit := httptest.NewRequest(http.MethodGet, "/productpage", http.NoBody)
	visit.AddCookie(cookies[0])
	page := httptest.NewRecorder()
	front.ServeHTTP(page, visit)
	if !strings.Contains(page.Body.String(), "&lt;Žofie&gt;") || strings.Contains(page.Body.String(), "<Žofie>") {
		t.Error("the page does not name its user, escaped")
	}
	if want := url.QueryEscape("<Žofie>"); seen != want {
		t.Errorf("details saw End-User %q, want %q", seen, want)
	}
	if out := get(front, "/logout").Result().Cookies(); len(out) != 1 || out[0].MaxAge >= 0 {
		t.Errorf("got %v, want the cookie taken back", out)
	}
	forged := httptest.NewRequest(http.MethodGet, "/productpage", http.NoBody)
	forged.Header.Set("End-User", "root")
	front.ServeHTTP(httptest.NewRecorder(), forged)
	if seen != "" {
		t.Errorf("details saw End-User %q from outside, want none", seen)
	}
}

func TestStaticFilesAndTheFront(t *testing.T) {
	_, front := bookinfo(t, "v1")
	if got := get(front, "/static/style.css"); got.Code != http.StatusOK || !strings.HasPrefix(got.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style: got %d %s", got.Code, got.Header().Get("Content-Type"))
	}
	if got := get(front, "/"); got.Header().Get("Location") != "/productpage" {
		t.Errorf("front: got %d to %q, want /productpage", got.Code, got.Header().Get("Location"))
	}
}

// The multiplier starts at the factor, has lost all but 1/e of its excess after cold-requests, and ends at 1.
func TestMultiplier(t *testing.T) {
	c := cold{latency: 2 * time.Millisecond, factor: 10, requests: 1000}
	for served, want := range map[uint64]float64{0: 10, 1000: 1 + 9/math.E, 2000: 1 + 9/(math.E*math.E), 1e6: 1} {
		if got := c.multiplier(served); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %d: got %v, want %v", served, got, want)
		}
	}
	for s := range uint64(5000) {
		if c.multiplier(s+1) >= c.multiplier(s) || c.multiplier(s) <= 1 {
			t.Fatalf("after %d: got %v, then %v; want it to fall towards 1", s, c.multiplier(s), c.multiplier(s+1))
		}
	}
	if got := (cold{latency: time.Second, factor: 1, requests: 1000}).service(0); got != time.Second {
		t.Errorf("without a cold start: got %s, want 1s", got)
	}
}

func TestColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mesh{}
		details := m.start(t, "details", "--cold-start", "5s", "--latency", "10ms", "--cold-factor", "3", "--cold-requests", "1")
		for _, path := range []string{"/health", "/details/0"} {
			if got := get(details, path); got.Code != http.StatusServiceUnavailable || got.Header().Get(instanceHeader) == "" {
				t.Errorf("%s before the start: got %d, want 503 from somebody", path, got.Code)
			}
		}
		time.Sleep(5 * time.Second)
		for range 10 { // probes do not warm it up
			if got := get(details, "/health"); got.Code != http.StatusOK {
				t.Fatalf("/health after the start: got %d, want 200", got.Code)
			}
		}
		for served, want := range []float64{30, 10 * (1 + 2/math.E), 10 * (1 + 2/math.E/math.E)} {
			began := time.Now()
			get(details, "/details/0")
			if took := time.Since(began).Seconds() * 1000; math.Abs(took-want) > 0.001 {
				t.Errorf("request %d: took %v ms, want %v", served, took, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		details.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/details/0", http.NoBody))
		if took := time.Since(began); took != 0 {
			t.Errorf("a request whose client has gone took %s, want none", took)
		}
	})
}

// A request in flight when the instance is asked to stop is answered.
func TestStopping(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, listener, handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	answered := make(chan string, 1)
	go func() {
		response, err := (&http.Client{}).Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-began
	stop()
	close(release)
	if got := <-answered; got != "whole" {
		t.Errorf("got %q, want a whole answer", got)
	}
	if err := <-served; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestCommandLine(t *testing.T) {
	env := map[string]string{"HOST": "127.2.0.5", "PORT": "9080", "POD_NAME": "reviews-v2-7"}
	o, err := parse([]string{"reviews", "--version", "v2"}, func(name string) string { return env[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.listen != "127.2.0.5:9080" || o.instance != "reviews-v2-7" || o.version != "v2" {
		t.Errorf("got %+v", o)
	}
	none := func(string) string { return "" }
	if o, err := parse([]string{"details"}, none, io.Discard); err != nil || o.listen != "127.0.0.1:9080" || o.instance != "details-v1" {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, line := range []string{"", "reviews --version v9", "nobody", "details more", "details --cold-factor 0.5", "details --cold-requests 0", "details --what"} {
		if err := run(t.Context(), strings.Fields(line), none, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("bookinfo %s: got %v, want wrong usage", line, err)
		}
	}
	if err := run(t.Context(), []string{"details", "-h"}, none, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: got %v, want help", err)
	}
}
