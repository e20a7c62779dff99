//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An endpoint is what `crossfade get endpoints --output json` says of one.
type endpoint struct {
	Service     string         `json:"service"`
	Name        string         `json:"name"`
	Incarnation string         `json:"incarnation"`
	Address     netip.AddrPort `json:"address"`
	Stage       string         `json:"stage"`
	Age         time.Duration  `json:"age_ns"`
	Factor      *float64       `json:"factor"` // what people multiply its weight by; nil is 1
	Paused      bool           `json:"paused"`
	Ramp        struct {
		Share    float64 `json:"share"`
		Fraction float64 `json:"fraction"`
		Reason   string  `json:"reason"`
	} `json:"ramp"`
}

func (e endpoint) host() string { return e.Address.Addr().String() }

// An event is what `crossfade get events --output json` says of one.
type event struct {
	Time        time.Time `json:"time"`
	Kind        string    `json:"kind"`
	Endpoint    string    `json:"endpoint"`
	Incarnation string    `json:"incarnation"`
	Reason      string    `json:"reason"`
}

// try runs one crossfade command that may fail.
func try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(bounded(t), binary(t), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("crossfade %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// everyEndpoint asks the gateway for all endpoints; it may be away. It asks as often as once in 20 ms: a process for
// each question would be a load of its own.
func everyEndpoint(t *testing.T) ([]endpoint, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://"+gatewayAdmin+"/api/v1/endpoints", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := fresh().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the gateway's endpoints: got %s, %w: %s", resp.Status, err, body)
	}
	return decode[struct {
		Endpoints []endpoint `json:"endpoints"`
	}](t, string(body)).Endpoints, nil
}

// endpointsOf asks the gateway for the endpoints that belong to a Deployment; it may be away.
func endpointsOf(t *testing.T, deployment string) ([]endpoint, error) {
	t.Helper()
	all, err := everyEndpoint(t)
	return slices.DeleteFunc(all, func(e endpoint) bool { return deploymentOf(e) != deployment }), err
}

func events(t *testing.T) []event {
	t.Helper()
	return decode[struct {
		Events []event `json:"events"`
	}](t, cli(t, "get", "events", "--output", "json")).Events
}

// newest returns the newest event of a kind, the zero one when there is none.
func newest(t *testing.T, kind string) event {
	t.Helper()
	var found event
	for _, e := range events(t) { // oldest first
		if e.Kind == kind {
			found = e
		}
	}
	return found
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// deploymentOf is the Deployment that an endpoint's instance belongs to.
func deploymentOf(e endpoint) string {
	return e.Name[:strings.LastIndexByte(e.Name, '-')]
}

// await waits until a Deployment has exactly one endpoint, in one of the stages.
func await(t *testing.T, deployment string, stages ...string) endpoint {
	t.Helper()
	return awaitAll(t, deployment, 1, func(e endpoint) bool { return slices.Contains(stages, e.Stage) })[0]
}

// awaitAll waits until a Deployment has exactly n endpoints and all of them are as they should be.
func awaitAll(t *testing.T, deployment string, n int, right func(endpoint) bool) []endpoint {
	t.Helper()
	var all []endpoint
	eventually(t, late, func() string {
		var err error
		if all, err = endpointsOf(t, deployment); err != nil {
			return err.Error()
		}
		if len(all) != n || slices.ContainsFunc(all, func(e endpoint) bool { return !right(e) }) {
			return fmt.Sprintf("%d endpoints of %s, all of them right; got %+v", n, deployment, all)
		}
		return ""
	})
	return all
}

// awaitNone waits until a Deployment has no endpoint any more.
func awaitNone(t *testing.T, deployment string) {
	t.Helper()
	awaitAll(t, deployment, 0, func(endpoint) bool { return true })
}

func scale(t *testing.T, deployment string, replicas int) {
	t.Helper()
	cli(t, "scale", "deployment/"+deployment, "--replicas="+strconv.Itoa(replicas))
}

// answered is what the agent in front of a replica counted: its answers with status 200.
func answered(t *testing.T, e endpoint) int {
	t.Helper()
	const name = "cluster.inbound|9080||.upstream_rq_200: "
	text := ask(t, http.MethodGet, "http://"+e.host()+":15000/stats?filter=inbound")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0 // a counter that nothing was added to need not be there
}

func resetCounters(t *testing.T, of ...endpoint) {
	t.Helper()
	for _, e := range of {
		ask(t, http.MethodPost, "http://"+e.host()+":15000/reset_counters")
		if n := answered(t, e); n != 0 {
			t.Fatalf("after reset_counters %s has counted %d answers, want 0", e.Name, n)
		}
	}
}

// ask makes one request that must be answered with 200, and returns the body.
func ask(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := fresh().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: got %s, %v: %s", method, url, resp.Status, err, body)
	}
	return string(body)
}

// points is part in percent of the whole.
func points(part, rest int) float64 { return 100 * float64(part) / float64(part+rest) }

func wantPoints(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %.2f points, want %.2f ± %.1f", what, got, want, tolerance)
	}
}
