package gateway

import (
	"testing"
	"time"
)

// A replica that begins in the place of another goes by what control says now, not by what was true when the other one
// ended; only where control is away does it go by what the replicas of its group have kept.
func TestAReplicaAsksControlFirst(t *testing.T) {
	w := newTown(t, 0)
	state := t.TempDir()
	a, b := newApp(t, "a"), newApp(t, "b")
	w.run(a)
	replica := func(id string) func(*Gateway) {
		return func(g *Gateway) {
			g.ID, g.Group, g.Loan = id, "istio-system/ingressgateway", &lender{lost: make(chan struct{})}
		}
	}
	first := w.gateway(state, true, replica("ingressgateway-1"))
	first.wait("a answers", func() bool { return first.get() == "a" })
	w.ok(first.stop())

	w.run(b) // a is there no more, and would answer all the same
	second := w.gateway(state, true, replica("ingressgateway-2"))
	heard := ""
	second.wait("somebody answers", func() bool {
		heard = second.get()
		return heard == "a" || heard == "b"
	})
	if heard != "b" {
		t.Errorf("the first answer is from %s, which is gone", heard)
	}
	w.ok(second.stop())

	w.stop()
	third := w.gateway(state, false, replica("ingressgateway-3"))
	third.wait("b answers by what the second has kept", func() bool { return third.get() == "b" })
}

// A replica that waits for control is not held up by that when it is told to stop.
func TestAReplicaThatWaitsCanStop(t *testing.T) {
	w := newTown(t, 0)
	g := w.gateway(t.TempDir(), false, func(g *Gateway) { g.Loan = &lender{lost: make(chan struct{})} })
	ended := make(chan error, 1)
	go func() { ended <- g.stop() }()
	select {
	case err := <-ended:
		w.ok(err)
	case <-time.After(patience):
		t.Error("it has not stopped")
	}
}
