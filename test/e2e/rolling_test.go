//go:build integration

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	rollingReplicas = 3
	rollingPause    = 5 * time.Second // from one restart of all replicas to the next
	rollingLasting  = 8               // clients of each kind with something that lasts
)

// rollingTurns is how often all replicas are replaced.
func rollingTurns() int {
	if full() {
		return 120
	}
	return 5
}

const rollingYAML = `apiVersion: istio.alibabacloud.com/v1
kind: IstioGateway
metadata: {name: ingressgateway, namespace: istio-system}
spec: {gatewayType: ingress, replicaCount: 3}
`

// supervise starts a supervisor with timers that fit a test, and waits until it serves.
func (y *yard) supervise(t *testing.T, args ...string) *worker {
	t.Helper()
	w := begin(t, y.command(y.supervision(args...)...))
	w.awaitReady(t, "127.0.0.1:15021")
	return w
}

// supervision is the command line of a supervisor.
func (y *yard) supervision(args ...string) []string {
	return append([]string{
		"supervise", "--feed", "unix:" + y.feed, "--state", y.state, "--log-level", "WARN",
		"--drain-min", "0", "--drain-notice", "0", "--drain-quiet", "1s", "--drain", "20s", "--drain-long", "2s",
		"--drain-spread", "1s", "--grace", "60s",
	}, args...)
}

// TestRollingRestarts replaces all replicas again and again under everything that clients do: requests that end by
// their nature are all answered; what lasts is told that its gateway leaves, in the words of its protocol, and begins
// anew. Nobody who lives on grows.
func TestRollingRestarts(t *testing.T) {
	y := newYard(t, map[string]string{"istiogateway.yaml": rollingYAML})
	supervisor := y.supervise(t)
	y.awaitReplicas(t, supervisor)
	s := beginRolling(t)
	s.loads[0].seconds(t, 2)
	watch := newGauges(y.control.cmd.Process.Pid, supervisor.cmd.Process.Pid)
	for range rollingTurns() {
		cli(t, "rollout", "restart", "gateway/ingressgateway")
		watch.sample(t, rollingPause)
	}
	sent, missed, how := s.stop(t)
	if missed > 0 {
		t.Errorf("%d of %d were lost, want none\n%s", missed, sent, how)
	}
	for _, c := range s.lasting {
		if c.told == 0 {
			t.Errorf("%s: nobody was told of a leave in %d restarts: this run proves nothing", c.name, rollingTurns())
		}
	}
	if n := len(watch.replicas); n < rollingReplicas+2*rollingTurns() {
		t.Errorf("invalid run: %d processes have served in %d restarts of %d replicas", n, rollingTurns(), rollingReplicas)
	}
	watch.judge(t)
	t.Logf("%d restarts of %d replicas, %d processes; %d sent, %d lost\n%s\n%s",
		rollingTurns(), rollingReplicas, len(watch.replicas), sent, missed, how, watch)
	t.Run("a kill loses", func(t *testing.T) { killReplicas(t, supervisor) })
}

// killReplicas is the control: the same clients notice when replicas do not leave but die.
func killReplicas(t *testing.T, supervisor *worker) {
	t.Helper()
	s := beginRolling(t)
	s.loads[0].seconds(t, 1)
	for _, p := range replicasOf(t, supervisor.cmd.Process.Pid) {
		kill(t, p)
	}
	s.loads[0].seconds(t, 2)
	sent, missed, how := s.stop(t)
	if missed == 0 {
		t.Errorf("replicas were killed, and of %d requests none was lost: what sees nothing proves nothing\n%s", sent, how)
	}
	t.Logf("killed: %d of %d lost\n%s", missed, sent, how)
}

// awaitReplicas waits until there are as many as there are to be.
func (y *yard) awaitReplicas(t *testing.T, supervisor *worker) {
	t.Helper()
	eventually(t, soon, func() string {
		if n := len(replicasOf(t, supervisor.cmd.Process.Pid)); n != rollingReplicas {
			return fmt.Sprintf("%d replicas, of which there are %d", rollingReplicas, n)
		}
		return ""
	})
}

// replicasOf returns the gateways below a supervisor, those that leave included.
func replicasOf(t *testing.T, supervisor int) []proc {
	t.Helper()
	return slices.DeleteFunc(descendants(t, supervisor), func(p proc) bool { return !isGateway(p) })
}
