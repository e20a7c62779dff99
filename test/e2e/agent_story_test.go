//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// storyDelay is how long the newcomer of the story does not register although it could serve.
const storyDelay = 2 * time.Second

// storyYAML gives details the life that MSE's graceful start describes; its DestinationRule says nothing of a warm-up.
func storyYAML(window time.Duration) string {
	return fmt.Sprintf(`apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: details}
spec:
  service: details
  registration: {delay: %gs}
  warmup: {duration: %gs}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: details}
spec:
  host: details
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
`, storyDelay.Seconds(), window.Seconds())
}

// TestGracefulStart is MSE's sequence of events on Bookinfo: the newcomer registers when it can serve and its delay is
// over, is ready after that, and gets what a quadratic curve over the window of its Lifecycle gives it.
func TestGracefulStart(t *testing.T) {
	window := windowOf(20 * time.Second)
	m := start(t, nil)
	await(t, "details-v1", "Serving")
	saved(t, "config.applied", func() { m.write(t, "lifecycle.yaml", storyYAML(window)) })
	quadratic := recipe{"details-v1", minimum, 0.5, 0.995, 1.005}
	tr := newTrial(t, quadratic, policyRate)
	tr.begin(t, policyRate, "-H", "Host: details:9080", "http://"+meshPort+"/details/0")
	watched := watchReadiness(t, tr.old)
	run(t, []*trial{tr}, window, func(*testing.T) {})
	t.Logf("window %v, %d requests a second\n%s", window, policyRate, judgeTrials(t, []*trial{tr}, window))
	watched.judge(t)

	happened := map[string]time.Time{}
	var order []string
	for _, e := range events(t) { // oldest first
		if e.Incarnation == tr.newcomer.Incarnation {
			if _, had := happened[e.Kind]; !had {
				happened[e.Kind] = e.Time
				order = append(order, e.Kind)
			}
		}
	}
	t.Logf("events: %s", strings.Join(order, ", "))
	want := []string{"instance.started", "probe.passed", "registration.delayed", "registration.completed", "readiness.passed"}
	if got := slices.DeleteFunc(slices.Clone(order), func(kind string) bool { return !slices.Contains(want, kind) }); !slices.Equal(got, want) {
		t.Errorf("events came as %v, want %v", got, want)
	}
	want = []string{"registration.completed", "warmup.started", "warmup.ended"}
	if got := slices.DeleteFunc(slices.Clone(order), func(kind string) bool { return !slices.Contains(want, kind) }); !slices.Equal(got, want) {
		t.Errorf("events came as %v, want %v", got, want)
	}
	if waited := happened["registration.completed"].Sub(happened["registration.delayed"]); waited < storyDelay {
		t.Errorf("it registered %v after it was delayed, want %v at least", waited, storyDelay)
	}
	if warmed := happened["warmup.ended"].Sub(happened["warmup.started"]); warmed < window {
		t.Errorf("its warm-up took %v, want %v at least", warmed, window)
	}

	// A change holds for starts after it: the two that run keep their window, those of the rollout have none.
	saved(t, "config.applied", func() { m.write(t, "lifecycle.yaml", storyYAML(time.Second)) })
	t.Run("rollout", func(t *testing.T) { neverWithout(t, m) })
}

// A readiness is what the readiness port of a newcomer answered, in order and without repetitions.
type readiness struct {
	stop     chan struct{}
	done     sync.WaitGroup
	statuses []int
}

// watchReadiness asks the readiness port of the first instance of details that is not one of old, from when control
// knows of it on.
func watchReadiness(t *testing.T, old []endpoint) *readiness {
	t.Helper()
	r := &readiness{stop: make(chan struct{})}
	r.done.Go(func() {
		client := fresh()
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-again.C:
			}
			all, err := endpointsOf(t, "details-v1")
			if err != nil {
				continue
			}
			for _, e := range all {
				if slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation }) {
					continue
				}
				resp, err := client.Get("http://" + e.host() + ":55199/readiness")
				if err != nil {
					continue // it does not listen yet
				}
				_ = resp.Body.Close()
				if len(r.statuses) == 0 || r.statuses[len(r.statuses)-1] != resp.StatusCode {
					r.statuses = append(r.statuses, resp.StatusCode)
				}
			}
		}
	})
	t.Cleanup(func() {
		select {
		case <-r.stop:
		default:
			close(r.stop)
		}
		r.done.Wait()
	})
	return r
}

// judge ends the watch.
func (r *readiness) judge(t *testing.T) {
	t.Helper()
	close(r.stop)
	r.done.Wait()
	if want := []int{http.StatusInternalServerError, http.StatusOK}; !slices.Equal(r.statuses, want) {
		t.Errorf("the readiness port answered %v, want %v", r.statuses, want)
	}
}

// neverWithout replaces both instances of details under load, by a rollout that waits for readiness, and looks all the
// time whether somebody is offered.
func neverWithout(t *testing.T, m *mesh) {
	t.Helper()
	m.rewriteIn(t, "*.yaml", regexp.MustCompile(`(?m)^  replicas: 1\n(  selector:\n    matchLabels:\n      app: details)`), "  replicas: 2\n${1}")
	old := awaitAll(t, "details-v1", 2, func(e endpoint) bool { return e.Stage == "Serving" })
	l := beginLoad(t, policyRate, "-H", "Host: details:9080", "http://"+meshPort+"/details/0")
	l.seconds(t, 1)
	cli(t, "rollout", "restart", "deployment/details-v1")
	fewest := len(old)
	eventually(t, late, func() string {
		all, err := endpointsOf(t, "details-v1")
		if err != nil {
			return err.Error()
		}
		offered, replaced := 0, 0
		for _, e := range all {
			if e.Stage == "Warming" || e.Stage == "Serving" {
				offered++
				if !slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation }) {
					replaced++
				}
			}
		}
		fewest = min(fewest, offered)
		if replaced < 2 || len(all) > 2 {
			return fmt.Sprintf("two new instances of details, got %+v", all)
		}
		return ""
	})
	account, shots := l.stop(t)
	if fewest < 1 {
		t.Errorf("at some moment %d instances of details were offered, want 1 at least", fewest)
	}
	if n := len(lost(shots)); n > 0 || account.OK == 0 {
		t.Errorf("in the rollout %d requests were lost of %d: %v", n, account.Sent, account.Lost)
	}
	t.Logf("rollout: %d requests, 0 lost, %d offered at least", account.Sent, fewest)
}
