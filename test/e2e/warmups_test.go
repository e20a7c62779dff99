//go:build integration

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The loads on examples/warmups: requests a second to each service.
const (
	policyRate = 60
	sharedRate = 60 // of all gateways together
)

// recipes are the policies of examples/warmups/policies.yaml, and what each may differ from its curve.
func recipes() []recipe {
	return []recipe{
		{"round-robin", 0.1, 1, 0.995, 1.005},
		{"least-request", 0.1, 1, 0.88, 1.2},
		{"random", 0.1, 1, 0.98, 1.02},
		{"eager", 0.1, 2, 0.995, 1.005},
		{"quadratic", 0.1, 0.5, 0.995, 1.005},
		{"careful", 0.01, 1, 0.995, 1.005},
		{"ring-hash", 0.1, 1, 1, 1},
		{"maglev", 0.1, 1, 1, 1},
	}
}

// windowOf is the window that examples/warmups speaks of, or what a test has time for.
func windowOf(short time.Duration) time.Duration {
	if full() {
		return 120 * time.Second
	}
	return short
}

// durationLines are the lines of the example that say how long a window is.
var durationLines = regexp.MustCompile(`(?m)^( *duration: ).*$`)

func (m *mesh) setDurations(t *testing.T, window time.Duration) {
	t.Helper()
	m.rewriteIn(t, "policies.yaml", durationLines, fmt.Sprintf("${1}%gs", window.Seconds()))
}

// TestWarmups compares what newcomers get with their curves, service by service of examples/warmups: first by every
// policy at one gateway, while people move the newcomer of another service; then where several gateways share the
// traffic.
func TestWarmups(t *testing.T) {
	m := launch(t, "warmups", func(m *mesh) {
		m.setDurations(t, time.Second)                                                                    // those of old are warm soon
		m.rewriteIn(t, "services.yaml", regexp.MustCompile("periodSeconds: 1"), "$0, timeoutSeconds: 10") // on a busy machine, too
		m.write(t, "operated.yaml", operatedYAML)
	})
	for _, r := range recipes() {
		await(t, r.service, "Serving")
	}
	t.Run("policies", func(t *testing.T) { policies(t, m, windowOf(20*time.Second)) })
	if !t.Failed() { // what goes on starts from a fleet that is warm
		t.Run("gateways", func(t *testing.T) { gateways(t, m, windowOf(20*time.Second)/2) })
	}
}

// policies scales every service from one replica to two, all at once, each under its own load.
func policies(t *testing.T, m *mesh, window time.Duration) {
	t.Helper()
	saved(t, "config.applied", func() { m.setDurations(t, window) })
	keys := policyRate * afterSeconds() * 4 / 5 // each has its turn after the window, and one at the most in a tenth of it
	var trials []*trial
	for i, r := range recipes() {
		tr := newTrial(t, r, policyRate)
		if r.service == "ring-hash" || r.service == "maglev" {
			tr.keys = uint64(keys)
		}
		args := []string{fmt.Sprintf("--seed=%d", i+1)}
		for user := range keys {
			args = append(args, fmt.Sprintf("http://%s/%s/details/0?user=%d", ingress, r.service, user))
		}
		tr.begin(t, policyRate, args...)
		trials = append(trials, tr)
	}
	run(t, trials, window, people)
	t.Logf("window %v, %d requests a second to each service\n%s", window, policyRate, judgeTrials(t, trials, window))
}

// gateways scales two services from two replicas to three while four gateways share the traffic, each with little
// of it: together they follow the curve, as if they were one.
func gateways(t *testing.T, m *mesh, window time.Duration) {
	t.Helper()
	const n = 4
	doors := m.shareAmong(t, n)
	saved(t, "config.applied", func() { m.setDurations(t, window) })
	var trials []*trial
	for _, r := range recipes() {
		if r.service != "careful" && r.service != "least-request" {
			continue
		}
		tr := newTrial(t, r, sharedRate)
		for i, door := range doors {
			tr.begin(t, sharedRate/n, fmt.Sprintf("--seed=%d", i+1), "http://"+door+"/"+r.service+"/details/0")
		}
		trials = append(trials, tr)
	}
	run(t, trials, window, func(*testing.T) {})
	t.Logf("window %v, %d gateways, %d requests a second to each service in all\n%s", window, n, sharedRate, judgeTrials(t, trials, window))
}

// afterSeconds is how long the loads go on after the window: a sixth of it, as in the seed, but long enough to see.
func afterSeconds() int {
	if full() {
		return 20
	}
	return 6
}

// run lets the newcomers come and follows them until they serve, and the loads for a while longer. Meanwhile there is
// time for something that has nothing to do with them.
func run(t *testing.T, trials []*trial, window time.Duration, meanwhile func(*testing.T)) {
	t.Helper()
	for _, tr := range trials {
		for _, l := range tr.loads {
			l.seconds(t, 1)
		}
	}
	for _, tr := range trials {
		scale(t, tr.service, len(tr.old)+1)
	}
	follow(t, trials, window, "Warming", "Serving")
	meanwhile(t)
	follow(t, trials, window, "Serving")
	for _, tr := range trials {
		for _, l := range tr.loads {
			l.until(t, tr.births[len(tr.births)-1].at.Add(window+time.Duration(afterSeconds())*time.Second))
		}
	}
	for _, tr := range trials {
		tr.finish(t)
	}
}

// judgeTrials returns the table and says what of it is wrong.
func judgeTrials(t *testing.T, trials []*trial, window time.Duration) string {
	t.Helper()
	var table strings.Builder
	table.WriteString("| policy | of the window | requests | newcomer got | expected | points | expected | z |\n|---|---|---|---|---|---|---|---|\n")
	for _, tr := range trials {
		tr.checkAges(t, window)
		tr.settle(t, window)
		row := func(ages string, from, to time.Duration) {
			p := tr.part(t, from, to, window)
			fmt.Fprintf(&table, "| %s | %s | %d | %d | %.1f | %.2f | %.2f | %+.2f |\n", tr.service, ages, p.sent, p.got, p.expected,
				points(p.got, p.sent-p.got), 100*p.expected/float64(p.sent), p.z())
			if !tr.allowed(p) {
				t.Errorf("%s, %s: the newcomer got %d of %d requests, want %.1f (it is off by %+.1f standard deviations)",
					tr.service, ages, p.got, p.sent, p.expected, p.z())
			}
		}
		row("first sixth", 0, window/6)
		for i := range 10 {
			tenth := window / 10
			row(fmt.Sprintf("tenth %d", i+1), time.Duration(i)*tenth, time.Duration(i+1)*tenth)
		}
		if tr.keys == 0 {
			row("after", window, window+time.Duration(afterSeconds())*time.Second)
		} else {
			fmt.Fprintf(&table, "| %s | after | of %d users %d are the newcomer's | | | %.2f | | |\n", tr.service, tr.keys, len(tr.own), points(len(tr.own), int(tr.keys)-len(tr.own)))
		}
	}
	return table.String()
}
