package gateway

import (
	"log/slog"
	"math"
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/health"
	"crossfade.dev/internal/warmup"
)

// A ramp is a loop with one endpoint that warms up in 100 s beside a warm one, on a clock of its own. Seconds are
// counted from when the endpoint was first offered.
type ramp struct {
	*testing.T

	loop  *loop
	begin time.Time
}

func newRamp(t *testing.T) *ramp {
	t.Helper()
	return &ramp{t, newLoop(&Gateway{ID: "gateway-1", Control: away{}, Log: slog.New(slog.DiscardHandler)}), time.Now()}
}

func (r *ramp) at(second float64) time.Time {
	return r.begin.Add(time.Duration(second * float64(time.Second)))
}

// control publishes the endpoint's stage, as control keeps its age: that goes on through a blip.
func (r *ramp) control(second float64, stage fleet.Stage) {
	r.Helper()
	address := netip.MustParseAddrPort("127.0.0.1:1")
	v := fleet.View{Taken: r.at(second), Snapshot: &fleet.Snapshot{Services: []fleet.Service{{
		Name: "web:80", Host: "web", Port: 80,
		Pools: []fleet.Pool{{
			Policy:  fleet.Policy{Warmup: fleet.Warmup{Window: 100 * time.Second, Minimum: 0.01}},
			Members: []fleet.Member{{Endpoint: 0}, {Endpoint: 1, Base: 1}},
		}},
		Endpoints: []fleet.Endpoint{
			{Name: "new", Incarnation: "new#1", Address: address, Weight: 1, Stage: stage, Age: r.at(second).Sub(r.begin)},
			{Name: "old", Incarnation: "old#1", Address: address, Weight: 1, Stage: fleet.Serving, Age: time.Hour},
		},
	}}}}
	if err := r.loop.apply(r.Context(), v, r.at(second)); err != nil {
		r.Fatal(err)
	}
}

func (r *ramp) check(second float64, healthy bool) {
	r.loop.mark(r.Context(), health.Verdict{Key: "new#1", Healthy: healthy, Reason: "3 checks failed"}, r.at(second))
}

func (r *ramp) want(second, progress float64, reason warmup.Reason) {
	r.Helper()
	if err := r.loop.recompile(r.Context(), r.at(second)); err != nil {
		r.Fatal(err)
	}
	s := r.loop.proxy.State().Services()[0].Pools[0].Balancer.Shares(r.at(second))[0]
	const tick = 0.01 // a share is that of the middle of its tick
	if math.Abs(s.Progress-progress) > tick || s.Reason != reason {
		r.Errorf("at %g s: progress %.3f (%s), want %.3f (%s)", second, s.Progress, s.Reason, progress, reason)
	}
	if _, found := r.loop.find("new#1", r.at(second)); math.Abs(found-progress) > tick {
		r.Errorf("at %g s: an ejection would note %.3f, want %.3f", second, found, progress)
	}
}

// Whom only control took out goes on where it was.
func TestABlipAloneResumes(t *testing.T) {
	r := newRamp(t)
	r.control(0, fleet.Warming)
	r.control(60, fleet.Starting)
	r.control(65, fleet.Warming)
	r.want(70, 0.70, warmup.New)
}

// Where control and the gateway see the same trouble at once, the gateway's rule holds: half of what was reached,
// whoever takes it back first.
func TestABlipAndFailedChecksAtOnceHalve(t *testing.T) {
	for name, back := range map[string]func(*ramp){
		"control first": func(r *ramp) { r.control(65, fleet.Warming); r.check(66, true) },
		"checks first":  func(r *ramp) { r.check(66, true); r.control(67, fleet.Warming) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRamp(t)
			r.control(0, fleet.Warming)
			r.check(60, false)
			r.control(60.5, fleet.Starting)
			back(r)
			r.want(76, 0.30+0.10, warmup.Recovered)
		})
	}
	t.Run("control sees it first", func(t *testing.T) {
		r := newRamp(t)
		r.control(0, fleet.Warming)
		r.control(59.5, fleet.Starting)
		r.check(60, false)
		r.control(65, fleet.Warming)
		r.check(66, true)
		r.want(76, 0.30+0.10, warmup.Recovered)
	})
}

// Who fails again on the way back loses half of what it has then; and nobody is ahead of control.
func TestEveryEjectionHalvesWhatIsThere(t *testing.T) {
	r := newRamp(t)
	r.control(0, fleet.Warming)
	r.check(60, false)
	r.check(66, true)
	r.want(76, 0.40, warmup.Recovered)
	r.check(76, false)
	r.check(80, true)
	r.want(80, 0.20, warmup.Recovered)
	r.want(110, 0.50, warmup.Recovered)
	r.want(159, 0.99, warmup.Recovered)
	r.want(161, 1, warmup.Full)
}

// Who was whole counts as 1, however long ago that was.
func TestAWarmEndpointComesBackAtHalf(t *testing.T) {
	r := newRamp(t)
	r.control(0, fleet.Warming)
	r.control(1000, fleet.Serving)
	r.check(1000, false)
	r.check(1010, true)
	r.want(1010, 0.5, warmup.Recovered)
	r.want(1061, 1, warmup.Full)
}

// A restart at the same address is another incarnation: what was noted about the last one is forgotten.
func TestAnEjectionIsForgottenWithItsIncarnation(t *testing.T) {
	r := newRamp(t)
	r.control(0, fleet.Warming)
	r.check(10, false)
	if len(r.loop.overlay) != 1 {
		t.Fatalf("got %v, want the ejection noted", r.loop.overlay)
	}
	empty := fleet.View{Taken: r.at(11), Snapshot: &fleet.Snapshot{}}
	if err := r.loop.apply(t.Context(), empty, r.at(11)); err != nil {
		t.Fatal(err)
	}
	if len(r.loop.overlay) != 0 {
		t.Errorf("got %v, want nothing", r.loop.overlay)
	}
}

// Who is in several pools goes back by the one in which it had come least far.
func TestAnEjectionNotesTheLeastProgress(t *testing.T) {
	r := newRamp(t)
	r.control(0, fleet.Warming)
	view := r.loop.view
	service := view.Services[0]
	service.Name, service.Host = "early:80", "early"
	first := service.Pools[0]
	first.Policy.Warmup = fleet.Warmup{} // here everybody has arrived
	subset := first
	subset.Subset, subset.Policy.Warmup = "slow", fleet.Warmup{Window: 200 * time.Second}
	service.Pools = []fleet.Pool{first, subset}
	view.Snapshot = &fleet.Snapshot{Services: []fleet.Service{service, view.Services[0]}}
	if err := r.loop.apply(r.Context(), view, r.at(0)); err != nil {
		t.Fatal(err)
	}
	r.check(60, false)
	if got := r.loop.overlay["new#1"].Progress; got != 0.3 {
		t.Errorf("ejected at 60 s: noted %v, want 0.3 of the longest window", got)
	}
}
