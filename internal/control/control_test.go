package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
)

// running starts a control in the current bubble, which awaits these registries, and returns it with a function that
// stops it.
func running(t *testing.T, awaits ...string) (*Control, func()) {
	t.Helper()
	c := New(fleet.View{}, slog.New(slog.DiscardHandler))
	c.Await(awaits...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestWarmUpEndsWithoutAnyoneAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx := t.Context()
		if err := c.Configure(ctx, reviews(linear)); err != nil {
			t.Fatal(err)
		}
		var reporter sync.WaitGroup
		defer reporter.Wait()
		reporter.Go(func() {
			local := fleet.Report{From: "local", Role: "local", Instances: []fleet.Instance{{
				Name: "a", Namespace: "default", Incarnation: "a", Ready: true, Weight: 1, Labels: map[string]string{"app": "reviews"},
			}}}
			for c.Report(ctx, local) == nil && ctx.Err() == nil {
				time.Sleep(time.Second)
			}
		})
		synctest.Wait()
		if err := c.Verdict(ctx, "a", true, "HTTP 200"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := c.Watch(ctx, func(v fleet.View) {
			if v.Services[0].Endpoints[0].Stage == fleet.Serving {
				stop()
			}
		})
		if !errors.Is(err, ErrStopped) {
			t.Errorf("Watch = %v, want ErrStopped", err)
		}
		if got := time.Since(start).Round(time.Second); got != linear.Window {
			t.Errorf("warm-up ended after %v, want %v", got, linear.Window)
		}
	})
}

// A follower that is slow gets the newest view, not all of them, and never waits while there is a newer one.
func TestFollowSkipsWhatWasOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		followed := make(chan error, 1)
		go func() {
			followed <- c.Follow(ctx, fleet.Hello{ID: "slow", Role: "observer"}, func(v fleet.View) {
				seen = append(seen, v.Config)
				time.Sleep(10 * time.Second)
			})
		}()
		for _, digest := range []string{"a", "b", "c", "d"} {
			time.Sleep(time.Second)
			if err := c.Configure(ctx, &fleet.Desired{Digest: digest}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-followed; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow = %v, want Canceled", err)
		}
		if got := seen[len(seen)-1]; got != "d" || len(seen) > 3 {
			t.Errorf("saw %q, want to end with d and to skip what was overtaken", seen)
		}
		stop()
		if err := c.Report(t.Context(), fleet.Report{}); !errors.Is(err, ErrStopped) {
			t.Errorf("Report to a stopped control = %v, want ErrStopped", err)
		}
	})
}

// A control that has lost its state says nothing before it has a configuration: what others serve by stays.
func TestNothingIsSaidBeforeThereIsAConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := running(t)
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		followed := make(chan error, 1)
		go func() {
			followed <- c.Follow(ctx, fleet.Hello{ID: "g", Role: "gateway"}, func(v fleet.View) { seen = append(seen, v.Config) })
		}()
		synctest.Wait()
		if err := c.Reject(ctx, "broken"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(seen) != 0 {
			t.Errorf("saw %q before there was a configuration", seen)
		}
		if err := c.Configure(ctx, &fleet.Desired{Digest: "one"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		<-followed
		if len(seen) == 0 || seen[len(seen)-1] != "one" {
			t.Errorf("saw %q, want one", seen)
		}
	})
}

func TestCommands(t *testing.T) {
	c, stop := running(t)
	defer stop()
	if err := c.Configure(t.Context(), reviews(linear)); err != nil {
		t.Fatal(err)
	}
	handler := c.Handler()
	do := func(method, path, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, test := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"/api/v1/scale", `{"name":"reviews-v2","replicas":3}`, http.StatusOK, "accepted"},
		{"/api/v1/scale", `{"name":"reviews-v2"}`, http.StatusBadRequest, "replicas is missing"},
		{"/api/v1/scale", `{"name":"reviews-v2","replicas":-1}`, http.StatusBadRequest, "must be 0 or more"},
		{"/api/v1/scale", `{"name":"reviews-v2","replicas":1001}`, http.StatusBadRequest, "must be 1000 or less"},
		{"/api/v1/scale", `{"name":"review","replicas":1}`, http.StatusNotFound, "there are: default/reviews-v2"},
		{"/api/v1/scale", `{"nam":"x"}`, http.StatusBadRequest, `unknown field "nam"`},
		{"/api/v1/scale", `{"name":"reviews-v2","replicas":2} {"name":"reviews-v2","replicas":9}`, http.StatusBadRequest, "something follows the command"},
		{"/api/v1/scale", `{"name":"reviews-v2","replicas":2}}`, http.StatusBadRequest, "something follows the command"},
		{"/api/v1/restart", `{"name":"reviews-v2"}`, http.StatusOK, "accepted"},
		{"/api/v1/restart", `{}`, http.StatusBadRequest, "name is missing"},
	} {
		if code, says := do(http.MethodPost, test.path, test.body); code != test.code || !strings.Contains(says, test.says) {
			t.Errorf("POST %s %s = %d %q, want %d … %s", test.path, test.body, code, says, test.code, test.says)
		}
	}
	if code, says := do(http.MethodGet, "/api/v1/workloads", ""); code != http.StatusOK || !strings.Contains(says, `"replicas": 3`) {
		t.Errorf("GET workloads = %d %s, want 3 replicas", code, says)
	}
	endpoints(t, c, do)
	before := c.View().Workloads[0].Revision
	if !strings.HasPrefix(before, "a+") {
		t.Errorf("revision after a restart = %q, want a+…", before)
	}
}

// endpoints tries the commands about endpoints.
func endpoints(t *testing.T, c *Control, do func(method, path, body string) (int, string)) {
	t.Helper()
	local := fleet.Report{From: "local", Role: "local", Instances: []fleet.Instance{{
		Name: "a", Namespace: "default", Incarnation: "a", Ready: true, Weight: 1, Labels: map[string]string{"app": "reviews"},
	}}}
	if err := errors.Join(c.Report(t.Context(), local), c.Verdict(t.Context(), "a", true, "HTTP 200")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"/api/v1/warmup", `{"name":"a","action":"pause","by":"ann"}`, http.StatusOK, "accepted"},
		{"/api/v1/warmup", `{"name":"a","action":"pause"}`, http.StatusConflict, "paused already"},
		{"/api/v1/warmup", `{"name":"a","action":"skip"}, {}`, http.StatusBadRequest, "something follows the command"},
		{"/api/v1/warmup", `{"name":"a","action":"resume"}`, http.StatusOK, "accepted"},
		{"/api/v1/warmup", `{"name":"a","action":"resume"}`, http.StatusConflict, "not paused"},
		{"/api/v1/warmup", `{"name":"b","action":"skip"}`, http.StatusNotFound, "no such endpoint; there are: a"},
		{"/api/v1/warmup", `{"name":"a","namespace":"prod","action":"skip"}`, http.StatusNotFound, "none in this namespace"},
		{"/api/v1/warmup", `{"name":"a","action":"stop"}`, http.StatusBadRequest, "there are skip, pause, resume and restart"},
		{"/api/v1/warmup", `{"name":"a"}`, http.StatusBadRequest, "action is missing"},
		{"/api/v1/weight", `{"name":"a","factor":0.5,"by":"ann\u001b[2J"}`, http.StatusOK, "accepted"},
		{"/api/v1/weight", `{"name":"a","factor":0.5}`, http.StatusOK, "accepted"}, // as it is
		{"/api/v1/weight", `{"name":"a","factor":11}`, http.StatusBadRequest, "must be 0 to 10"},
		{"/api/v1/weight", `{"name":"a","factor":-1}`, http.StatusBadRequest, "must be 0 to 10"},
		{"/api/v1/weight", `{"name":"a"}`, http.StatusBadRequest, "factor is missing"},
		{"/api/v1/weight", `{"factor":1}`, http.StatusBadRequest, "name is missing"},
		{"/api/v1/weight", `{"name":"b","factor":1}`, http.StatusNotFound, "no such endpoint"},
	} {
		if code, says := do(http.MethodPost, test.path, test.body); code != test.code || !strings.Contains(says, test.says) {
			t.Errorf("POST %s %s = %d %q, want %d … %s", test.path, test.body, code, says, test.code, test.says)
		}
	}
	v := c.View()
	if e := v.Services[0].Endpoints[0]; e.Factor == nil || *e.Factor != 0.5 {
		t.Errorf("factor = %v, want 0.5 as soon as the command is answered", e.Factor)
	}
	last := v.Events[len(v.Events)-1]
	if last.Kind != "weight.changed" || !strings.HasPrefix(last.Reason, "by ann[2J: ") {
		t.Errorf("the last event is %q, %q, want weight.changed by ann, without control characters", last.Kind, last.Reason)
	}
}

// TestTellsEverything: of a burst a view carries the latest; who is told hears all of it, in order, and before the view that has it.
func TestTellsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(fleet.View{}, slog.New(slog.DiscardHandler))
		var told []fleet.Event
		var upto uint64
		c.Tells(func(snapshot uint64, events []fleet.Event) {
			if shown := c.View().Number; snapshot <= shown && shown > 0 {
				t.Errorf("told of snapshot %d when %d is shown", snapshot, shown)
			}
			told, upto = append(told, events...), snapshot
		})
		ctx, cancel := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		defer runs.Wait()
		defer cancel()
		runs.Go(func() { _ = c.Run(ctx) })
		if err := c.Configure(ctx, reviews(linear)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		told = nil
		const all = 3 * history
		burst := make([]fleet.Event, all)
		for i := range burst {
			burst[i] = fleet.Event{Kind: "endpoint.ejected", Reason: strconv.Itoa(i)}
		}
		if err := c.Report(ctx, fleet.Report{From: "gw", Role: "gateway", Events: burst}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(told) < all || upto != c.View().Number || len(c.View().Events) != history {
			t.Fatalf("told %d events up to snapshot %d; %d are in view %d", len(told), upto, len(c.View().Events), c.View().Number)
		}
		n := 0
		for _, e := range told {
			if e.Kind == "endpoint.ejected" {
				if e.Reason != strconv.Itoa(n) {
					t.Fatalf("event %s is the %dth", e.Reason, n)
				}
				n++
			}
		}
	})
}
