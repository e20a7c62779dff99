//go:build integration

package e2e

import (
	"math"
	"net/http"
	"testing"
	"time"
)

// requests is what the tests below send to see who gets what. ROUND_ROBIN's stride is then at most half a point off,
// and the curve's minimum is 36 requests.
var requests = []string{"-n", "400", "-c", "4", "-q", "50"}

// TestRestarts kills what may be killed, one after another: the gateway, an application, control.
func TestRestarts(t *testing.T) {
	m := start(t, func(m *mesh) { m.setWindow(t, 4*time.Second) })
	scale(t, "reviews-v2", 1)
	await(t, "reviews-v2", "Serving")
	saved(t, "config.applied", func() { m.setWindow(t, 10*time.Minute) }) // whoever ramps again now is seen
	t.Run("the gateway keeps ages", func(t *testing.T) { gatewayRestart(t, m) })
	t.Run("an application ramps", func(t *testing.T) { instanceRestart(t, m) })
	saved(t, "config.applied", func() { m.setWindow(t, 2*time.Second) })
	t.Run("control away is harmless", func(t *testing.T) { controlAway(t, m) })
}

// controlAway stops control dead under load, kills it, and lets it come back.
func controlAway(t *testing.T, m *mesh) {
	t.Helper()
	v1, v2 := await(t, "reviews-v1", "Serving"), await(t, "reviews-v2", "Serving")
	load := startLoad(t, 100)

	before := m.control(t)
	pause(t, before) // away without being dead: nobody tells the gateway
	hey(t, requests...)
	m.killed(t, before, isControl)
	eventually(t, soon, func() string {
		if m.status(t, "http://"+controlAdmin+"/ready") != http.StatusOK {
			return "control's /ready"
		}
		return ""
	})
	scale(t, "reviews-v3", 1) // the new control is heard
	await(t, "reviews-v3", "Serving")
	for _, was := range []endpoint{v1, v2} {
		e := await(t, deploymentOf(was), "Serving", "Warming")
		if e.Incarnation != was.Incarnation || e.Stage != "Serving" || e.Age < was.Age {
			t.Errorf("after control's restart: got %s in stage %s, incarnation %s, age %v; want Serving, %s, at least %v",
				e.Name, e.Stage, e.Incarnation, e.Age, was.Incarnation, was.Age)
		}
	}
	account, shots := load.stop(t)
	if n := len(lost(shots)); n > 0 || account.Abandoned > 0 {
		t.Errorf("%d requests lost and %d abandoned of %d, want none: %+v", n, account.Abandoned, account.Sent, lost(shots)[:min(n, 10)])
	}
}

// gatewayRestart kills the gateway under a warm fleet: what serves again afterwards knows that the
// fleet is warm.
func gatewayRestart(t *testing.T, m *mesh) {
	t.Helper()
	v1, v2 := await(t, "reviews-v1", "Serving"), await(t, "reviews-v2", "Serving")
	m.killed(t, m.gateway(t), isGateway)
	m.waitReady(t)

	for _, was := range []endpoint{v1, v2} {
		e := await(t, deploymentOf(was), "Serving", "Warming")
		if e.Incarnation != was.Incarnation || e.Age < was.Age || e.Ramp.Share != 1 {
			t.Errorf("after the gateway's restart: got incarnation %s, age %v, share %v of %s; want %s, at least %v, 1",
				e.Incarnation, e.Age, e.Ramp.Share, e.Name, was.Incarnation, was.Age)
		}
	}
	resetCounters(t, v1, v2)
	hey(t, requests...)
	wantPoints(t, "v2 after the gateway's restart", points(answered(t, v2), answered(t, v1)), 50, evenTolerance)
}

// instanceRestart kills one application: the same address comes back as another incarnation, and ramps.
func instanceRestart(t *testing.T, m *mesh) {
	t.Helper()
	v1, v2 := await(t, "reviews-v1", "Serving"), await(t, "reviews-v2", "Serving")
	kill(t, m.application(t, v2))
	again := await(t, "reviews-v2", "Warming")
	if again.Address != v2.Address || again.Incarnation == v2.Incarnation {
		t.Errorf("after kill -9 got incarnation %s at %s, want another than %s at %s", again.Incarnation, again.Address, v2.Incarnation, v2.Address)
	}
	if again.Ramp.Share != minimum {
		t.Errorf("the new incarnation, %v old, has share %v, want the minimum", again.Age, again.Ramp.Share)
	}
	resetCounters(t, v1, again)
	hey(t, requests...)
	share := curve(again.Age, 10*time.Minute)
	wantPoints(t, "the new incarnation", points(answered(t, again), answered(t, v1)), 100*share/(1+share), 1)
}

// TestReloadMidRampDoesNotJump makes the window twenty times as long, and then short again, while v2 is half-way.
func TestReloadMidRampDoesNotJump(t *testing.T) {
	const short, long = 10 * time.Second, 200 * time.Second
	m := start(t, func(m *mesh) { m.setWindow(t, time.Second) })
	await(t, "reviews-v1", "Serving")
	saved(t, "config.applied", func() { m.setWindow(t, short) })
	scale(t, "reviews-v2", 1)
	await(t, "reviews-v2", "Warming")
	share := func() float64 {
		t.Helper()
		return await(t, "reviews-v2", "Warming", "Serving").Ramp.Share
	}
	eventually(t, soon, func() string {
		if share() < 0.4 {
			return "a share of 0.4"
		}
		return ""
	})

	// Until the new window applies the share grows by the old one, at most by what the pause since then allows;
	// from then on it stands nearly still. By the new window alone it would fall to the minimum.
	saved(t, "config.applied", func() { m.setWindow(t, long) })
	kept := share()
	if kept < 0.4 || kept == 1 {
		t.Fatalf("half-way, with a longer window, the share went to %.3f, want it kept between 0.4 and 1", kept)
	}
	v1, v2 := await(t, "reviews-v1", "Serving"), await(t, "reviews-v2", "Warming")
	resetCounters(t, v1, v2)
	hey(t, requests...)
	after := share()
	if grown := after - kept; grown < 0 || grown > 0.1 {
		t.Errorf("in the time of 400 requests the share went from %.3f to %.3f, want it to grow by 0.005 a second", kept, after)
	}
	mean := (kept + after) / 2
	wantPoints(t, "v2 half-way", points(answered(t, v2), answered(t, v1)), 100*mean/(1+mean), 1.5)

	saved(t, "config.applied", func() { m.setWindow(t, short) })
	if got := share(); got < after || math.IsNaN(got) {
		t.Errorf("half-way, with a shorter window, the share fell from %.3f to %.3f", after, got)
	}
	if e := await(t, "reviews-v2", "Serving"); e.Incarnation != v2.Incarnation {
		t.Errorf("reviews-v2 is incarnation %s now, want %s all along", e.Incarnation, v2.Incarnation)
	}
}
