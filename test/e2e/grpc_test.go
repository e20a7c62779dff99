//go:build integration

package e2e

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// How gRPC is called in these tests: calls of each client a second, over one connection.
const (
	grpcClients = 4
	unaryRate   = 15
	streamRate  = 15
)

// unary and bidi are calls to examples/grpc by one client over its one connection. A stream is open for half a second.
func unary(args ...string) []string {
	return append([]string{"--grpc", "echo.Echo/Unary", "--endpoint-header", "x-echo-instance", "--connections", "1", "--streams", "500"}, args...)
}

func bidi(messages int, args ...string) []string {
	return append([]string{
		"--grpc", "echo.Echo/BidiStream", "--messages", strconv.Itoa(messages), "--every", "100ms", "--timeout", "60s", "--data", "\n\x05hello",
		"--endpoint-header", "x-echo-instance", "--connections", "1", "--streams", "500",
	}, args...)
}

const grpcIngress = "http://" + ingress

// minReadyLines are the lines of the example that say how long a rollout waits.
var minReadyLines = regexp.MustCompile(`minReadySeconds: \d+`)

// TestGRPC is what gRPC is owed, on examples/grpc: a newcomer's share of the calls follows the curve although every
// client has one connection; streams that are open for long are balanced by their number; a release loses no call.
func TestGRPC(t *testing.T) {
	m := launch(t, "grpc", func(m *mesh) {
		m.setDurations(t, time.Second) // those of old are warm soon
		m.rewriteIn(t, "echo.yaml", minReadyLines, "minReadySeconds: 2")
		m.rewriteIn(t, "echo.yaml", regexp.MustCompile("periodSeconds: 1"), "$0, timeoutSeconds: 10") // on a busy machine, too
	})
	await(t, "echo-v1", "Serving")
	window := windowOf(12 * time.Second)
	saved(t, "config.applied", func() { m.setDurations(t, window) })
	t.Run("calls follow the curve", func(t *testing.T) { newcomerOfCalls(t, window, unaryRate, 1.2, unary) })
	if t.Failed() {
		return // what goes on starts from a fleet that is warm
	}
	t.Run("streams follow the curve", func(t *testing.T) {
		newcomerOfCalls(t, window, streamRate, 2, func(args ...string) []string { return bidi(5, args...) })
	})
	saved(t, "config.applied", func() { m.setDurations(t, time.Second) })
	t.Run("streams are balanced by count", streamsByCount)
	t.Run("a release loses nothing", releaseOfCalls)
	t.Run("a kill loses what was open", func(t *testing.T) { killUnderCalls(t, m) })
}

// newcomerOfCalls scales echo-v1 by one under the calls of several clients with one connection each. high bounds what
// the newcomer gets in the mean, over its due: of two that are drawn it takes the call where it has fewer open, which
// is nearly always while calls are long, and then is twice its share at the most.
func newcomerOfCalls(t *testing.T, window time.Duration, rate int, high float64, calls func(args ...string) []string) {
	t.Helper()
	tr := newTrial(t, recipe{"echo-v1", 0.1, 1, 0.88, high}, rate*grpcClients)
	for i := range grpcClients {
		tr.begin(t, rate, calls(fmt.Sprintf("--seed=%d", i+1), grpcIngress)...)
	}
	run(t, []*trial{tr}, window, func(*testing.T) {})
	t.Logf("window %v, %d clients with a connection each\n%s", window, grpcClients, judgeTrials(t, []*trial{tr}, window))
	for _, l := range tr.loads {
		if n := l.connects(t); n != 1 {
			t.Errorf("a client needed %d connections, want 1: per-call balancing must not end connections", n)
		}
	}
}

// streamsByCount lets several clients keep streams open for two seconds, each, and looks at how many are open to whom.
func streamsByCount(t *testing.T) {
	const replicas, messages, seconds = 2, 15, 8
	scale(t, "echo-v1", replicas)
	awaitAll(t, "echo-v1", replicas, func(e endpoint) bool { return e.Stage == "Serving" })
	var loads []*load
	for i := range grpcClients {
		loads = append(loads, beginLoad(t, 6, append([]string{"--poisson"}, bidi(messages, fmt.Sprintf("--seed=%d", i+1), grpcIngress)...)...))
	}
	loads[grpcClients-1].seconds(t, seconds) // the others are older
	var shots []sighting
	for _, l := range loads {
		account, own := l.stop(t)
		if account.LostTotal > 0 {
			t.Errorf("%d streams lost of %d, want none: %v", account.LostTotal, account.Sent, account.Lost)
		}
		for _, s := range own {
			shots = append(shots, sighting{s, l.zero.Add(s.Sent)})
		}
	}
	first := slices.MinFunc(shots, func(a, b sighting) int { return a.at.Compare(b.at) }).at
	var open, apart float64
	const samples = 40
	for i := range samples { // from the third second on, when as many end as begin, to the last but two
		at := first.Add(2*time.Second + time.Duration(i)*(seconds-4)*time.Second/samples)
		byWhom := map[string]int{}
		for _, s := range shots {
			if !s.at.After(at) && s.at.Add(s.Ended-s.Sent).After(at) {
				byWhom[s.Endpoint]++
			}
		}
		var counts []int
		for who, n := range byWhom {
			if who == "" {
				t.Fatalf("invalid run: %d streams open at %v do not say to whom", n, at)
			}
			counts = append(counts, n)
			open += float64(n) / samples
		}
		if len(counts) != replicas {
			t.Fatalf("at %v streams were open to %v, want %d endpoints", at.Sub(first), byWhom, replicas)
		}
		apart += math.Abs(float64(counts[0]-counts[1])) / samples
	}
	// Drawn by chance, n streams on two are √(2n/π) apart in the mean.
	if chance := math.Sqrt(2 * open / math.Pi); apart > chance/2 {
		t.Errorf("of %.1f streams that are open the two endpoints have %.2f more or less in the mean, want half of what chance does (%.2f) at most",
			open, apart, chance)
	} else {
		t.Logf("of %.1f streams that are open the two endpoints have %.2f more or less in the mean; chance does %.2f", open, apart, chance)
	}
}

// releaseOfCalls scales out and in and restarts everything under calls of both kinds: every one of them is answered
// with OK, and no client is told to send one again.
func releaseOfCalls(t *testing.T) {
	warm := func(n int, old ...endpoint) []endpoint {
		return awaitAll(t, "echo-v1", n, func(e endpoint) bool {
			return e.Stage == "Serving" && !slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation })
		})
	}
	scale(t, "echo-v1", 2)
	old := warm(2)
	loads := []*load{
		beginLoad(t, 80, unary("--poisson", grpcIngress)...),
		beginLoad(t, 10, bidi(15, "--poisson", grpcIngress)...),
		beginLoad(t, 20, "--http2", "--poisson", grpcIngress+"/grpc.health.v1.Health/none"), // answered by grpc-go: 415
	}
	loads[2].seconds(t, 2) // the others are older
	scale(t, "echo-v1", 3)
	old = append(old, warm(3)...)
	scale(t, "echo-v1", 2)
	warm(2)
	cli(t, "rollout", "restart", "deployment/echo-v1")
	warm(2, old...)
	loads[2].seconds(t, 3)
	for i, l := range loads {
		account, shots := l.stop(t)
		if n := len(lost(shots)); n > 0 {
			t.Errorf("load %d: %d lost of %d, want none: %v\n%+v", i, n, account.Sent, account.Lost, lost(shots)[:min(n, 5)])
		}
		if served := byEndpoint(shots); i < 2 && len(served) < 4 {
			t.Errorf("load %d: answered by %v, want the two of old, and two or three new ones", i, served)
		}
		t.Logf("load %d: %d sent, %d ok", i, account.Sent, account.OK)
	}
}

func byEndpoint(shots []shot) map[string]int {
	served := map[string]int{}
	for _, s := range shots {
		if s.Endpoint != "" {
			served[s.Endpoint]++
		}
	}
	return served
}

// killUnderCalls is the control: a load that saw nothing lost above sees it when an instance dies with streams open.
func killUnderCalls(t *testing.T, m *mesh) {
	t.Helper()
	scale(t, "echo-v1", 2)
	victims := awaitAll(t, "echo-v1", 2, func(e endpoint) bool { return e.Stage == "Serving" })
	l := beginLoad(t, 20, bidi(15, "--poisson", grpcIngress)...)
	l.seconds(t, 4)
	_, zero := l.progress.now()
	at := time.Since(zero)
	kill(t, m.application(t, victims[0]))
	l.seconds(t, 3)
	awaitAll(t, "echo-v1", 2, func(e endpoint) bool { return e.Stage == "Serving" })
	account, shots := l.stop(t)
	failed := lost(shots)
	if len(failed) == 0 {
		t.Errorf("an instance was killed with streams open, and of %d none was lost: what sees nothing proves nothing", account.Sent)
	}
	for _, s := range failed {
		known := s.Outcome == "grpc" && s.Status == 200 || slices.Contains([]string{"stream_reset", "5xx"}, s.Outcome)
		if !known || s.Ended < at-skew || s.Ended > at+shortly {
			t.Errorf("lost %+v; the instance was killed at %v, and costs a status or a reset soon after", s, at)
		}
	}
	t.Logf("killed: %d of %d lost: %v", account.LostTotal, account.Sent, account.Lost)
}

// connects is how many connections the load has made, by its account; it has ended.
func (l *load) connects(t *testing.T) int {
	t.Helper()
	return decode[struct {
		Connects int `json:"connects"`
	}](t, strings.TrimSpace(l.output.String())).Connects
}
