//go:build integration

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"
)

// drainGateways is how many gateways share the ports of this world.
const drainGateways = 3

// TestDrain is what is promised of a gateway that leaves: nothing is lost by it. Each of its parts has a control, a
// program that leaves otherwise under the same load, which must lose: TestDrainControl….
func TestDrain(t *testing.T) {
	need(t, "hey")
	w := launchDrain(t, drainGateways)
	all := newDrainAccount() // of everything that went through the gateways
	for round := range rounds(1, 3) {
		t.Run(fmt.Sprintf("fresh connections %d", round), func(t *testing.T) { w.fresh(t, all) })
		t.Run(fmt.Sprintf("another port %d", round), func(t *testing.T) { w.secure(t, all) })
		t.Run(fmt.Sprintf("keep-alive POST %d", round), func(t *testing.T) { w.posts(t, all) })
		t.Run(fmt.Sprintf("streaming POST %d", round), func(t *testing.T) { w.streams(t, all) })
		t.Run(fmt.Sprintf("calls %d", round), func(t *testing.T) { w.calls(t, all) })
	}
	t.Run("conservation", func(t *testing.T) { w.conservation(t, all) })
	if t.Failed() {
		return // what comes now kills on top of it
	}
	for round := range rounds(1, 3) {
		t.Run(fmt.Sprintf("what lasts %d", round), w.lasting)
		t.Run(fmt.Sprintf("crashes %d", round), w.crashes)
	}
	t.Run("the seed's experiment", w.seed)
	t.Run("the whole gateway leaves", w.leavesWhole)
}

// posts has clients keep their connections through restarts.
func (w *drainWorld) posts(t *testing.T, all *drainAccount) {
	t.Helper()
	since := time.Now()
	a := postWhile(t, ingress, 40, thinkTimes, func(more func(int)) {
		for range rounds(2, 5) {
			w.restart(t)
			more(2000)
		}
	})
	a.wantWhole(t, "keep-alive POSTs through restarts", 2000)
	w.wantTried(t, since, 100*rounds(2, 5)) // nearly all of the clients keep one
	all.add(a)
}

// streams has clients keep 64 streams open through restarts, from near and far.
func (w *drainWorld) streams(t *testing.T, all *drainAccount) {
	t.Helper()
	since := time.Now()
	for _, roundTrip := range roundTrips {
		a := streamWhile(t, ingress, roundTrip, func(more func(int)) {
			for range rounds(5, 20) {
				w.restart(t)
				more(2 * streamingPosts)
			}
		})
		a.wantWhole(t, fmt.Sprintf("streaming POSTs at a round trip of %v", roundTrip), 500)
		all.add(a)
	}
	w.wantTried(t, since, len(roundTrips)*rounds(5, 20)/2) // there is one at a time, which a restart ends
}

// calls has clients of gRPC, which never send a call twice, call through restarts: unary calls, and streams of two
// seconds.
func (w *drainWorld) calls(t *testing.T, all *drainAccount) {
	t.Helper()
	since := time.Now()
	const perSecond, streamsPerSecond = 100, 20
	restarts, seconds := rounds(2, 14), rounds(10, 90) // the load outlasts them
	loads := []*load{
		beginLoad(t, perSecond, "--requests", strconv.Itoa(perSecond*seconds), "--grpc", "echo.Echo/Unary",
			"--data", "\n\x05hello", "--connections", "2", grpcIngress),
		beginLoad(t, streamsPerSecond, "--requests", strconv.Itoa(streamsPerSecond*seconds), "--grpc", "echo.Echo/BidiStream", "--messages", "20",
			"--every", "100ms", "--data", "\n\x05hello", "--connections", "4", grpcIngress),
	}
	for range restarts {
		loads[1].seconds(t, 2)
		w.restart(t)
	}
	a := newDrainAccount()
	for _, l := range loads {
		account, _ := l.end(t)
		a.enter("grpc", account)
	}
	a.wantWhole(t, "calls through restarts", uint64((perSecond+streamsPerSecond)*seconds))
	w.wantTried(t, since, 3*restarts)
	all.add(a)
}

// enter adds what a load counted.
func (a *drainAccount) enter(protocol string, of account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent += of.Sent
	a.ok[protocol] += of.OK
	for how, n := range of.Lost {
		if n > 0 {
			a.lost[protocol+": "+how] += n
		}
	}
	if of.Abandoned > 0 {
		a.lost[protocol+": abandoned by the client"] += of.Abandoned
	}
}

// conservation sees that the drain reports of all gateways that there were count what the clients counted.
func (w *drainWorld) conservation(t *testing.T, all *drainAccount) {
	t.Helper()
	now := time.Now()
	w.restart(t) // those that are there now have not reported yet
	w.awaitLeft(t, now, drainGateways)
	w.wantSameOfControl(t)
	completed, cut := map[string]uint64{}, uint64(0)
	for _, r := range w.left(time.Time{}) {
		for protocol, p := range r.Protocols {
			completed[protocol] += p.Ever.Completed
			if e := p.Ever; e.Opened != uint64(e.Open)+e.Completed+e.Failed+e.Cut || e.Failed > 0 {
				t.Errorf("%s: of %s: opened %d, want open %d + completed %d + failed %d + cut %d, and none failed",
					r.ID, protocol, e.Opened, e.Open, e.Completed, e.Failed, e.Cut)
			}
		}
		cut += r.Cut
	}
	t.Logf("%d leaves; the clients: %s", len(w.left(time.Time{})), all)
	if cut > 0 {
		t.Errorf("the drain reports say that %d requests were cut, want none", cut)
	}
	for _, protocol := range slices.Sorted(maps.Keys(all.ok)) {
		if got, want := completed[protocol], all.ok[protocol]; got != want {
			t.Errorf("of %s the drain reports counted %d whole answers, the clients %d", protocol, got, want)
		}
		delete(completed, protocol)
	}
	if len(completed) > 0 {
		t.Errorf("the drain reports count what no client sent: %v", completed)
	}
}

// wantSameOfControl sees that control tells of the latest leave of each gateway what the gateway's own file says.
func (w *drainWorld) wantSameOfControl(t *testing.T) {
	t.Helper()
	told := map[departure]drainReport{}
	for _, r := range decode[[]drainReport](t, ask(t, "GET", "http://"+controlAdmin+"/api/v1/drains")) {
		told[departure{r.ID, r.Began}] = r
	}
	last := map[string]drainReport{}
	for _, r := range w.left(time.Time{}) {
		last[r.ID] = r
	}
	for id, r := range last {
		if got := told[departure{r.ID, r.Began}]; got.Stage != r.Stage || got.Cut != r.Cut || !maps.Equal(got.Protocols, r.Protocols) {
			t.Errorf("of %s control says %+v, its file %+v", id, got, r)
		}
	}
}
