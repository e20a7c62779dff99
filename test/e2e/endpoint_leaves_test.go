//go:build integration

package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestWhatLastsIsToldThatItsEndpointLeaves replaces an instance to which a WebSocket and server-sent events are open that
// would never end. Both are served while the instance drains, and told in their own words before its grace period is over:
// it ends with nothing open.
func TestWhatLastsIsToldThatItsEndpointLeaves(t *testing.T) {
	launch(t, "httpbin", func(m *mesh) {
		m.rewriteIn(t, "gateway.yaml", regexp.MustCompile(`replicaCount: 10`), "replicaCount: 2")
		m.rewriteIn(t, "httpbin.yaml", regexp.MustCompile(`serviceAccountName: httpbin`), "$0\n      terminationGracePeriodSeconds: 6")
	})
	old := await(t, "httpbin", "Serving", "Warming")
	d := &departing{address: ingress}
	ended := map[string]chan string{"websocket": make(chan string, 1), "events": make(chan string, 1)}
	open := make(chan string, 2)
	for protocol, live := range map[string]func(func()) string{"websocket": d.webSocket, "events": d.events} {
		go func() {
			first := true
			ended[protocol] <- live(func() {
				if first {
					first = false
					open <- protocol
				}
			})
		}()
	}
	for range 2 {
		select {
		case <-open:
		case how := <-ended["websocket"]:
			t.Fatalf("the WebSocket ended before anything left: %s", how)
		case how := <-ended["events"]:
			t.Fatalf("the events ended before anything left: %s", how)
		case <-time.After(late):
			t.Fatalf("after %v nothing was heard", late)
		}
	}
	cli(t, "rollout", "restart", "deployment/httpbin")
	for protocol, want := range map[string]string{"websocket": toldOfClose, "events": afterAnEvent} {
		select {
		case how := <-ended[protocol]:
			if how != want {
				t.Errorf("%s ended so: %s, want %s", protocol, how, want)
			}
		case <-time.After(late):
			t.Fatalf("%s goes on, %v after its endpoint was told to leave", protocol, late)
		}
	}
	awaitAll(t, "httpbin", 1, func(e endpoint) bool { return e.Incarnation != old.Incarnation })
	happened := cli(t, "get", "events")
	for line := range strings.Lines(happened) {
		if strings.Contains(line, "drain.overdue") {
			t.Errorf("the instance was ended with something open: %s", line)
		}
	}
	if !strings.Contains(happened, "drained") {
		t.Errorf("the instance has not drained:\n%s", happened)
	}
}
