package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/store/file"
)

// patience bounds waits for what must happen; nothing is measured against it.
const patience = 30 * time.Second

// An app is an instance that others run: it answers with its name while it is well.
type app struct {
	server   *httptest.Server
	instance fleet.Instance
	sick     atomic.Bool
}

func newApp(t *testing.T, name string) *app {
	t.Helper()
	a := &app{}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.sick.Load() && r.URL.Path == "/health" {
			http.Error(w, "sick", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(a.server.Close)
	at := netip.MustParseAddrPort(a.server.Listener.Addr().String())
	a.instance = fleet.Instance{
		Name: name, Namespace: "default", Incarnation: name + "#1", Address: at.Addr(), Weight: 1, Ready: true,
		Ports: map[string]uint32{"http": uint32(at.Port())}, Labels: map[string]string{"app": "web"},
		Check: &fleet.Check{Path: "/health", Interval: 20 * time.Millisecond, Timeout: time.Second, Healthy: 1, Unhealthy: 2},
	}
	return a
}

// A town is a control with one service, and whoever runs its instances.
type town struct {
	t       *testing.T
	control *control.Control
	desired *fleet.Desired
	stop    context.CancelFunc
}

func newTown(t *testing.T, window time.Duration) *town {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port, for the gateway
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	town := &town{t: t, control: c, stop: func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}}
	t.Cleanup(town.stop)
	town.desired = &fleet.Desired{
		Digest: "one",
		Services: []fleet.Service{{
			Name: "web:80", Host: "web", Namespace: "default", Port: 80, Target: "http", Selector: map[string]string{"app": "web"},
			Pools: []fleet.Pool{{Policy: fleet.Policy{
				Algorithm: fleet.RoundRobin, Warmup: fleet.Warmup{Window: window, Minimum: 0.1, Aggression: 1},
			}}},
		}},
		Listeners: []fleet.Listener{{Name: "http", Address: address, Port: 80, Hosts: []fleet.VirtualHost{{
			Domains: []string{"*"},
			Routes:  []fleet.Route{{Destinations: []fleet.Destination{{Service: "web:80", Weight: 1}}}},
		}}}},
	}
	town.ok(c.Configure(ctx, town.desired))
	return town
}

func (w *town) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run reports the apps as running and lets those pass that are new.
func (w *town) run(apps ...*app) {
	w.t.Helper()
	r := fleet.Report{From: "local", Role: "local"}
	for _, a := range apps {
		r.Instances = append(r.Instances, a.instance)
	}
	w.ok(w.control.Report(w.t.Context(), r))
	for _, a := range apps {
		w.ok(w.control.Verdict(w.t.Context(), a.instance.Incarnation, true, "passed"))
	}
}

// A live is a gateway that runs.
type live struct {
	t    *testing.T
	loop *loop
	url  string
	stop func() error
}

func (w *town) gateway(state string, follow bool, also ...func(*Gateway)) *live {
	w.t.Helper()
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	g := &Gateway{ID: "gateway-1", State: state, Admin: admin, Timers: drain.Timers{Quiet: time.Second, Requests: 5 * time.Second, Long: 5 * time.Second}, Log: slog.New(slog.DiscardHandler)}
	g.Control = away{}
	if follow {
		g.Control = w.control
	}
	for _, f := range also {
		f(g)
	}
	l := newLoop(g)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- l.serve(ctx) }()
	stop := func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	w.t.Cleanup(func() { _ = stop() })
	return &live{w.t, l, "http://" + w.desired.Listeners[0].Address, stop}
}

// away is a control that cannot be reached.
type away struct{}

func (away) Follow(context.Context, fleet.Hello, func(fleet.View)) error { return errors.New("away") }

func (away) Report(context.Context, fleet.Report) error { return errors.New("away") }

// wait asks until ok, and fails the test when that does not come.
func (g *live) wait(what string, ok func() bool) {
	g.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			g.t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

func (g *live) get() string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(g.url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// share returns what an app's endpoint gets of its full weight, and why; -1 when there is none.
func (g *live) share(a *app) (float64, string) {
	state := g.loop.proxy.State()
	if state == nil {
		return -1, ""
	}
	for _, s := range state.Services() {
		for _, share := range s.Pools[0].Balancer.Shares(time.Now()) {
			if share.Endpoint.Incarnation == a.instance.Incarnation {
				return share.Share, string(share.Reason)
			}
		}
	}
	return -1, ""
}

func TestServesWhatControlSays(t *testing.T) {
	w := newTown(t, 0)
	a := newApp(t, "a")
	w.run(a)
	g := w.gateway("", true)
	g.wait("a answers", func() bool { return g.get() == "a" })
	g.wait("control knows the gateway", func() bool { return len(w.control.View().Gateways) == 1 })
	b := newApp(t, "b")
	w.run(b) // and a is gone
	g.wait("b answers", func() bool { return g.get() == "b" })
	if err := g.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	g.wait("control knows that it left", func() bool { return len(w.control.View().Gateways) == 0 })
}

// A gateway whose control is away boots from what it kept, and goes on with everyone's ramp.
func TestLastGoodSnapshotBootsAGateway(t *testing.T) {
	w := newTown(t, time.Hour)
	state := t.TempDir()
	a, b := newApp(t, "a"), newApp(t, "b")
	w.run(a)
	first := w.gateway(state, true)
	first.wait("a answers", func() bool { return first.get() == "a" })
	w.run(a, b)
	first.wait("b is known", func() bool { s, _ := first.share(b); return s >= 0 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	second := w.gateway(state, false)
	second.wait("somebody answers", func() bool { got := second.get(); return got == "a" || got == "b" })
	for _, x := range []*app{a, b} {
		if s, why := second.share(x); s < 0 {
			t.Errorf("%s is unknown after the restart (%s)", x.instance.Name, why)
		}
	}
}

// A gateway with an address of its own serves every port there, beside another one that serves where control says; what
// it keeps is what control said.
func TestServesAtItsOwnAddress(t *testing.T) {
	w := newTown(t, 0)
	_, port, err := net.SplitHostPort(w.desired.Listeners[0].Address)
	w.ok(err)
	a := newApp(t, "a")
	w.run(a)
	first := w.gateway("", true)
	first.wait("a answers", func() bool { return first.get() == "a" })
	state := t.TempDir()
	second := w.gateway(state, true, func(g *Gateway) { g.ID, g.Address = "gateway-2", netip.MustParseAddr("127.0.0.9") })
	own := "127.0.0.9:" + port
	second.url = "http://" + own
	second.wait("a answers there", func() bool { return second.get() == "a" })
	if got := second.loop.world().View.Listeners[0].Address; got != own {
		t.Errorf("its admin API shows a listener at %s, want %s", got, own)
	}
	if got := first.loop.world().View.Listeners[0].Address; got != "127.0.0.1:"+port {
		t.Errorf("the other one's listener is at %s", got)
	}
	w.ok(second.stop())
	kept, _, err := file.Load(filepath.Join(state, "gateway-2.json"), time.Now())
	w.ok(err)
	if got := kept.Listeners[0].Address; got != "127.0.0.1:"+port {
		t.Errorf("kept a listener at %s, want what control said", got)
	}
}

func TestNotReadyWithoutASnapshot(t *testing.T) {
	w := newTown(t, 0)
	g := w.gateway(t.TempDir(), false)
	world := g.loop.world()
	if world.Ready || !strings.Contains(world.ReadyReason, "no snapshot yet") {
		t.Errorf("ready %v (%s), want not ready and why", world.Ready, world.ReadyReason)
	}
}

// Who fails its checks is left out by the gateway itself, and comes back on a shortened ramp.
func TestEjectsAndTakesBack(t *testing.T) {
	w := newTown(t, time.Hour)
	a, b := newApp(t, "a"), newApp(t, "b")
	w.run(a, b)
	g := w.gateway("", true)
	g.wait("both are known", func() bool { s, _ := g.share(b); return s >= 0 })
	b.sick.Store(true)
	g.wait("b is ejected", func() bool { _, why := g.share(b); return why == "ejected" })
	for range 20 {
		if got := g.get(); got != "a" {
			t.Fatalf("%q answered while b was ejected, want a", got)
		}
	}
	g.wait("control was told", func() bool {
		events := w.control.View().Events
		for _, e := range events {
			if e.Kind == "endpoint.ejected" && e.Endpoint == "b" && e.From == "gateway-1" {
				return true
			}
		}
		return false
	})
	b.sick.Store(false)
	g.wait("b is back", func() bool { _, why := g.share(b); return why != "ejected" })
	g.wait("b answers again", func() bool { return g.get() == "b" })
}

// An endpoint that leaves is waited for: control learns that nothing is open any more only when that is so.
func TestReportsWhatIsOpenWhileSomebodyDrains(t *testing.T) {
	w := newTown(t, 0)
	inside, release := make(chan struct{}), make(chan struct{})
	slow := newApp(t, "slow")
	slow.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			close(inside)
			<-release
		}
		_, _ = io.WriteString(rw, "slow")
	})
	w.run(slow)
	g := w.gateway("", true)
	g.wait("slow is known", func() bool { s, _ := g.share(slow); return s > 0 })
	answer := make(chan string, 1)
	go func() { answer <- g.get() }()
	<-inside
	slow.instance.Leaving = true
	w.run(slow)
	drained := func() bool {
		for _, e := range w.control.View().Events {
			if e.Kind == "drained" {
				return true
			}
		}
		return false
	}
	n := w.control.View().Number
	g.wait("the gateway works by the snapshot in which it drains", func() bool { return g.loop.proxy.State().View().Number >= n })
	if drained() {
		t.Error("drained while a request is open")
	}
	close(release)
	if got := <-answer; got != "slow" {
		t.Errorf("the open request got %q, want its answer", got)
	}
	g.wait("it is drained", drained)
}

// An address that is taken is told of once, and served as soon as it is free.
func TestATakenAddressIsToldOnceAndTriedAgain(t *testing.T) {
	w := newTown(t, 0)
	taken, err := net.Listen("tcp", w.desired.Listeners[0].Address)
	w.ok(err)
	a := newApp(t, "a")
	w.run(a)
	g := w.gateway("", true)
	failures := func() int {
		n := 0
		for _, e := range w.control.View().Events {
			if e.Kind == "listener.failed" {
				n++
			}
		}
		return n
	}
	g.wait("control was told", func() bool { return failures() > 0 })
	if world := g.loop.world(); world.Ready || !strings.Contains(world.ReadyReason, "address already in use") {
		t.Errorf("ready %v (%s), want not ready and why", world.Ready, world.ReadyReason)
	}
	numbers := map[uint64]bool{}
	for range 5 { // changes that have nothing to do with it
		w.run(a, newApp(t, "b"))
		n := w.control.View().Number
		g.wait("the change is applied", func() bool { return g.loop.proxy.State().View().Number >= n })
		numbers[n] = true
	}
	if n := failures(); n != 1 || len(numbers) != 5 {
		t.Errorf("%d events after %d changes, want 1", n, len(numbers))
	}
	w.ok(taken.Close())
	g.wait("the address is served", func() bool { got := g.get(); return got == "a" || got == "b" })
}
