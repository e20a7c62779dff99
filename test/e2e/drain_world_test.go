//go:build integration

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A drainReport is what a gateway writes when it leaves.
type drainReport struct {
	ID          string             `json:"id"`
	Reason      string             `json:"reason"`
	Began       time.Time          `json:"began"`
	Stage       string             `json:"stage"`
	Accepted    uint64             `json:"accepted"`
	AcceptedIn  uint64             `json:"accepted_in"`
	Connections int                `json:"connections"`
	Told        uint64             `json:"told"`
	Cut         uint64             `json:"cut"`
	Seconds     map[string]float64 `json:"seconds"`
	Protocols   map[string]struct {
		Before int        `json:"before"`
		Leave  drainCount `json:"leave"`
		Ever   drainCount `json:"ever"`
	} `json:"protocols"`
}

// A drainCount is what became of the requests of a protocol.
type drainCount struct {
	Open      int    `json:"open"`
	Opened    uint64 `json:"opened"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Told      uint64 `json:"told"`
	Cut       uint64 `json:"cut"`
}

// stopped is when it stopped accepting.
func (r *drainReport) stopped() time.Time {
	return r.Began.Add(time.Duration(r.Seconds["lame duck"] * float64(time.Second)))
}

// A departure tells the leaves of one data plane from each other.
type departure struct {
	id    string
	began time.Time
}

// A drainWorld is examples/httpbin under `crossfade up`, and everything that its gateways have said of their leaves.
type drainWorld struct {
	*mesh
	programs string // directory of the versions that gateways run

	mu      sync.Mutex
	reports map[departure]drainReport
}

// replicaCount is the line of the example that says how many gateways there are.
var replicaCount = regexp.MustCompile(`replicaCount: \d+`)

// echoYAML adds the service of examples/grpc, behind the same gateway.
const echoYAML = `
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: grpc, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
        - name: echo
          command: [grpc-echo, --listen, "$(HOST):$(PORT)"]
          ports: [{containerPort: 9080}]
          readinessProbe: {grpc: {port: 9080}, periodSeconds: 1}
`

// toEcho is what the example's VirtualService says, and a route to echo before it.
var toEcho = regexp.MustCompile(`(?m)^  http:\n`)

// launchDrain starts the example with so many gateways, and waits until all of it serves. It asks nothing through the
// gateways, whose counters are looked at.
func launchDrain(t *testing.T, replicas int) *drainWorld {
	t.Helper()
	w := &drainWorld{programs: t.TempDir(), reports: map[departure]drainReport{}}
	w.mesh = launch(t, "httpbin", func(m *mesh) {
		m.rewrite(t, replicaCount, fmt.Sprintf("replicaCount: %d", replicas))
		m.rewrite(t, toEcho, "$0    - match: [{uri: {prefix: /echo.Echo/}}]\n      route: [{destination: {host: echo}}]\n")
		m.write(t, "echo.yaml", echoYAML)
	})
	await(t, "httpbin", "Warming", "Serving")
	await(t, "echo", "Warming", "Serving")
	w.awaitReplicas(t, replicas)
	w.collect(t)
	return w
}

// collect reads every drain report as it appears, until the test ends: the next leave of the same name writes over it.
func (w *drainWorld) collect(t *testing.T) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-stop:
				return
			case <-again.C:
				w.look()
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
}

// look reads the reports that are there. One that is being written is read the next time.
func (w *drainWorld) look() {
	_ = filepath.WalkDir(w.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".drain.json") {
			return nil //nolint:nilerr // gone since it was listed
		}
		text, err := os.ReadFile(path)
		var r drainReport
		if err == nil && json.Unmarshal(text, &r) == nil {
			w.mu.Lock()
			w.reports[departure{r.ID, r.Began}] = r
			w.mu.Unlock()
		}
		return nil
	})
}

// left returns the reports of the leaves that are over and began after a moment, oldest first.
func (w *drainWorld) left(after time.Time) []drainReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.SortedFunc(maps.Values(w.reports), func(a, b drainReport) int { return a.Began.Compare(b.Began) })
	return slices.DeleteFunc(all, func(r drainReport) bool { return r.Stage != "closed" || r.Began.Before(after) })
}

// wantTried sees that gateways left since a moment, and that enough connections were open to them when they began to.
func (w *drainWorld) wantTried(t *testing.T, since time.Time, connections int) {
	t.Helper()
	open, told := 0, uint64(0)
	all := w.left(since)
	for _, r := range all {
		open += r.Connections
		told += r.Told
	}
	t.Logf("%d gateways left, to which %d connections were open; %d were told", len(all), open, told)
	if open < connections {
		t.Errorf("invalid run: to the %d gateways that left %d connections were open, want %d", len(all), open, connections)
	}
}

// awaitLeft waits for the reports of n leaves that began after a moment.
func (w *drainWorld) awaitLeft(t *testing.T, after time.Time, n int) {
	t.Helper()
	eventually(t, late, func() string {
		if all := w.left(after); len(all) < n {
			return fmt.Sprintf("%d drain reports, got %+v", n, all)
		}
		return ""
	})
}

// replicas returns the processes of the gateways, those that leave included.
func (w *drainWorld) replicas(t *testing.T) []proc {
	t.Helper()
	return w.find(t, isGateway)
}

// awaitReplicas waits until so many gateways are there, none on its way out, and all of them are ready.
func (w *drainWorld) awaitReplicas(t *testing.T, n int) []proc {
	t.Helper()
	var all []proc
	eventually(t, late, func() string {
		if all = w.replicas(t); len(all) != n {
			return fmt.Sprintf("%d gateways, got %v", n, all)
		}
		for _, p := range all {
			if w.status(t, "http://"+p.after("--admin")+"/ready") != http.StatusOK {
				return p.String() + " to be ready"
			}
		}
		return ""
	})
	return all
}

// awaitOthers waits until none of the old processes is left, and n others are ready.
func (w *drainWorld) awaitOthers(t *testing.T, n int, old []proc) []proc {
	t.Helper()
	var all []proc
	eventually(t, late, func() string {
		all = w.replicas(t)
		for _, p := range all {
			if slices.ContainsFunc(old, func(o proc) bool { return o.pid == p.pid }) {
				return p.String() + " to leave"
			}
		}
		return ""
	})
	return w.awaitReplicas(t, n)
}

const ingressGateway = "gateway/ingressgateway"

// scaleGateways asks for another number of gateways.
func (w *drainWorld) scaleGateways(t *testing.T, n int) {
	t.Helper()
	cli(t, "scale", ingressGateway, "--replicas="+strconv.Itoa(n))
}

// restart replaces every gateway by another of the same program, one after the other.
func (w *drainWorld) restart(t *testing.T) {
	t.Helper()
	old := w.replicas(t)
	cli(t, "rollout", "restart", ingressGateway)
	w.awaitOthers(t, len(old), old)
}

// upgrade replaces every gateway by one of another program.
func (w *drainWorld) upgrade(t *testing.T, program string) {
	t.Helper()
	old := w.replicas(t)
	cli(t, "upgrade", ingressGateway, "--binary", program)
	for _, p := range w.awaitOthers(t, len(old), old) {
		if got := executable(p); got != program {
			t.Errorf("after the upgrade to %s, %s runs %s", program, p, got)
		}
	}
}

// executable is the program that a process runs, "" when it has ended.
func executable(p proc) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	if err != nil {
		return ""
	}
	return path
}

// another is a copy of the binary: the next version, as far as anybody can tell.
func (w *drainWorld) another(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.programs, strconv.FormatInt(time.Now().UnixNano(), 10), filepath.Base(binary(t)))
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// underWay returns what waits until httpbin has answered some more requests than it has now: a load is there.
func (w *drainWorld) underWay(t *testing.T) (wait func()) {
	t.Helper()
	const n = 200
	httpbin := await(t, "httpbin", "Warming", "Serving")
	before := answeredAt80(t, httpbin)
	return func() {
		t.Helper()
		eventually(t, soon, func() string {
			if now := answeredAt80(t, httpbin); now < before+n {
				return fmt.Sprintf("%d more answers of httpbin, got %d", n, now-before)
			}
			return ""
		})
	}
}

// answeredAt80 is what the agent in front of httpbin counted.
func answeredAt80(t *testing.T, e endpoint) (n int) {
	t.Helper()
	const name = "cluster.inbound|80||.upstream_rq_200: "
	text := ask(t, "GET", "http://"+e.host()+":15000/stats?filter=inbound")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			n, _ = strconv.Atoi(value) // 0 is waited on
		}
	}
	return n
}

// contextOf is a context for who has no test at hand.
func contextOf(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
