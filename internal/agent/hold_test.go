package agent

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
)

// A proxied is a registration proxy before a registry in memory, with an application that is the test.
type proxied struct {
	gate  hold.Gate
	fails chan error // what its Run returns

	mu    sync.Mutex
	marks []hold.Mark // of the registration, each time it was released
	has   bool        // the registry has it
	rings chan struct{}
}

func newProxied() *proxied {
	p := &proxied{fails: make(chan error, 1), rings: make(chan struct{}, 1)}
	p.gate.Proxies, p.gate.Annotate = []hold.Proxy{p}, true
	return p
}

func (p *proxied) Run(ctx context.Context, _ *hold.Gate) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.fails:
		return err
	}
}

func (*proxied) Registry() string { return "memory" }

func (p *proxied) Release(_ context.Context, m hold.Mark) error {
	p.change(func() { p.has, p.marks = true, append(p.marks, m) })
	return nil
}

func (p *proxied) Withdraw(context.Context) error {
	p.change(func() { p.has = false })
	return nil
}

func (p *proxied) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	select {
	case p.rings <- struct{}{}:
	default:
	}
}

// register is what the application does, and does again.
func (p *proxied) register() {
	key := hold.Key{Registry: "memory", Name: "web"}
	if verdict, mark := p.gate.Register(key, p); verdict == hold.Pass {
		_ = p.Release(context.Background(), mark)
		p.gate.Settle(key, p, nil)
	}
}

// listed says whether the registry has it, and whether it is marked as leaving.
func (p *proxied) listed() (has, leaving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.has, p.has && p.marks[len(p.marks)-1].Leaving
}

func (p *proxied) await(t *testing.T, what string, ok func(has, leaving bool) bool) {
	t.Helper()
	after := time.After(patient)
	for !ok(p.listed()) {
		select {
		case <-p.rings:
		case <-after:
			t.Fatalf("the registry never had it %s", what)
		}
	}
}

func released(has, leaving bool) bool { return has && !leaving }

func withdrawn(has, _ bool) bool { return !has }

// What the application registers is held back until it can serve, and is what makes it ready; it goes when the instance
// leaves, and never comes back.
func TestAnApplicationThatRegistersItself(t *testing.T) {
	p := newProxied()
	offline := listens(t)
	r := beside(t, "server", func(r *run) {
		r.Registrar, r.Gate, r.Offline = nil, &p.gate, offline
		r.Probe = &fleet.Probe{Check: fleet.Check{Path: "/", Interval: 10 * time.Millisecond}}
		if err := os.Remove(r.up); err != nil {
			t.Error(err)
		}
	})
	r.diary.await(t, "instance.started")
	p.register()
	r.diary.await(t, "hold.registered")
	r.diary.await(t, "probe.failed")
	if has, _ := p.listed(); has {
		t.Fatal("it is registered before it can serve")
	}
	if err := os.WriteFile(r.up, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.await(t, "released", released)
	r.diary.await(t, "readiness.passed")
	if got := p.marks[0].Metadata["crossfade.incarnation"]; got != "web-1-0" {
		t.Errorf("got the incarnation %q said beside it, want web-1-0", got)
	}
	if code, body := get(t, http.MethodPost, "http://"+offline+"/offline"); code != http.StatusOK {
		t.Errorf("got %d %s", code, body)
	}
	if has, _ := p.listed(); has || !p.marks[len(p.marks)-1].Leaving {
		t.Errorf("got it registered: %v, and the marks %+v, want it marked as leaving, and then gone", has, p.marks)
	}
	p.register()
	r.diary.await(t, "hold.swallowed")
	if has, _ := p.listed(); has {
		t.Error("it came back")
	}
	r.stop(errTold)
	r.wait(t)
	if !r.exit.OK() || r.err != nil {
		t.Errorf("got %v, %v, want that it ended well", r.exit, r.err)
	}
	told := slices.DeleteFunc(r.diary.told(), func(kind string) bool { return strings.HasPrefix(kind, "probe.") })
	want := []string{
		"instance.started", "hold.registered", "hold.released", "registration.completed", "readiness.passed",
		"offline.requested", "hold.withdrawn", "deregistered", "drained", "hold.swallowed", "instance.stopped",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
}

// One that registers nothing is not ready, and its leave waits for nothing.
func TestAnApplicationThatRegistersNothing(t *testing.T) {
	p := newProxied()
	ready := listens(t)
	r := beside(t, "server", func(r *run) { r.Registrar, r.Gate, r.Readiness = nil, &p.gate, ready })
	r.diary.await(t, "probe.passed")
	if code, body := get(t, http.MethodGet, "http://"+ready+"/readiness"); code != http.StatusInternalServerError || !strings.Contains(body, hold.ErrNothing.Error()) {
		t.Errorf("got %d %s, want that nothing is registered yet", code, body)
	}
	r.stop(errTold)
	r.wait(t)
	if told := r.diary.told(); !r.exit.OK() || slices.Contains(told, "readiness.passed") || slices.Contains(told, "registration.failed") {
		t.Errorf("got %v, %v, want it never ready, and a leave in which nothing failed", r.exit, told)
	}
}

// People hear after a while that an application registers nothing; whoever asks for readiness does at once.
func TestThatNothingIsRegisteredIsToldLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunner(&Agent{Gate: &hold.Gate{}})
		for range 2 {
			r.listed(wanted{listing: Listed}, hold.ErrNothing)
			if r.publish.away == "" || len(r.link.events) != 0 {
				t.Errorf("got the reason %q, and the events %+v, want a reason, and no event yet", r.publish.away, r.link.events)
			}
			time.Sleep(quietly / 2)
		}
		for range 2 {
			r.listed(wanted{listing: Listed}, hold.ErrNothing)
		}
		if len(r.link.events) != 1 || r.link.events[0].Kind != "registration.failed" {
			t.Errorf("got %+v, want one registration.failed", r.link.events)
		}
		r.listed(wanted{listing: Listed}, nil)
		if r.publish.away != "" || !r.publish.idle.IsZero() || r.sight.Listing != Listed {
			t.Errorf("got %+v, want all forgotten", r.publish)
		}
	})
}

// Beside control, both must have the instance before it is ready; others than control hear of its leave although control
// has not drained it.
func TestAGateBesideControl(t *testing.T) {
	p := newProxied()
	cycle := fleet.PlainLifecycle()
	cycle.Name, cycle.Namespace, cycle.Service = "web", "default", "web"
	c := ruled(t, cycle)
	r := beside(t, "server", func(r *run) { r.Registrar, r.Gate, r.Control = nil, &p.gate, c })
	until(t, c, "it serving", stageIs(fleet.Serving))
	if slices.Contains(r.diary.told(), "registration.completed") {
		t.Error("its registration is complete before the application has registered")
	}
	p.register()
	p.await(t, "released", released)
	r.diary.await(t, "readiness.passed")
	r.stop(errTold)
	r.wait(t)
	if has, _ := p.listed(); has || !r.exit.OK() {
		t.Errorf("got it registered: %v, %v, want it gone, and that it ended well", has, r.exit)
	}
	until(t, c, "it gone, and what became of its registration", func(v fleet.View) bool {
		told := func(kind string) bool {
			return slices.ContainsFunc(v.Events, func(e fleet.Event) bool { return e.Kind == kind && e.Incarnation == "web-1-0" })
		}
		return len(v.Services[0].Endpoints) == 0 && told("hold.released") && told("hold.withdrawn")
	})
}

// Beside a registry of crossfade's, both have it, and what both lack is said.
func TestAGateBesideARegistry(t *testing.T) {
	p := newProxied()
	r := beside(t, "server", func(r *run) { r.Gate = &p.gate })
	r.memory.await(t, "the instance", one)
	if slices.Contains(r.diary.told(), "readiness.passed") {
		t.Error("it is ready before the application has registered")
	}
	p.register()
	r.diary.await(t, "readiness.passed")
	r.stop(errTold)
	p.await(t, "withdrawn", withdrawn)
	r.wait(t)
	if n := r.memory.listed(); n != 0 || !r.exit.OK() {
		t.Errorf("got %d listed, %v, want none, and that it ended well", n, r.exit)
	}
}

func TestWhatSeveralRegistriesSay(t *testing.T) {
	first, second := errors.New("one"), errors.New("two")
	two := registrars{newMemory(), newMemory(), newMemory()}
	err := two.each(func(r registry.Registrar) error {
		switch r {
		case two[0]:
			return first
		case two[2]:
			return second
		}
		return nil
	})
	if !errors.Is(err, first) || !errors.Is(err, second) || err.Error() != "one; two" {
		t.Errorf("got %v, want both", err)
	}
	if err := two.each(func(registry.Registrar) error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}

// An application without its registry is of no use to anybody: it is stopped, and people hear why.
func TestAProxyThatFails(t *testing.T) {
	p := newProxied()
	p.fails <- errors.New("its socket is gone")
	r := beside(t, "server", func(r *run) { r.Registrar, r.Gate = nil, &p.gate })
	r.wait(t)
	if r.err == nil || !strings.Contains(r.err.Error(), "registration proxies: memory: its socket is gone") {
		t.Errorf("got %v, want what happened to the proxy", r.err)
	}
}

// What is passed on as it is has the weight that its application gave it.
func TestNoRampWithoutAnnotation(t *testing.T) {
	for annotate, want := range map[bool]bool{true: true, false: false} {
		r := newRunner(&Agent{Gate: &hold.Gate{Annotate: annotate}})
		if got := r.settle(ramps()).Ramp; got != want {
			t.Errorf("annotate=%v: got a ramp: %v", annotate, got)
		}
	}
}

// An instance is registered when everybody has it who is to have it, and gone when nobody has; in between nobody knows.
func TestWhoHasIt(t *testing.T) {
	gate, memory, control := &hold.Gate{}, newMemory(), &awayControl{}
	for name, tt := range map[string]struct {
		agent       *Agent
		kept, heard Listing
		want        Listing
	}{
		"a gate":                       {&Agent{Gate: gate}, Listed, Absent, Listed},
		"a gate and a registry":        {&Agent{Gate: gate, Registrar: memory, Control: control}, Listed, Absent, Listed},
		"control":                      {&Agent{Control: control}, Absent, Leaving, Leaving},
		"a gate and control, both":     {&Agent{Gate: gate, Control: control}, Listed, Listed, Listed},
		"a gate and control, only it":  {&Agent{Gate: gate, Control: control}, Asked, Listed, Asked},
		"a gate and control, not it":   {&Agent{Gate: gate, Control: control}, Listed, Absent, Asked},
		"a gate and control, none":     {&Agent{Gate: gate, Control: control}, Absent, Absent, Absent},
		"a gate and control, only one": {&Agent{Gate: gate, Control: control}, Absent, Leaving, Asked},
	} {
		r := newRunner(tt.agent)
		r.publish.kept, r.publish.heard = tt.kept, tt.heard
		if got := r.have(); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// What registries are to have no more is taken out of them, while control goes on hearing that the instance leaves.
func TestGoneFromRegistriesOnly(t *testing.T) {
	r := newRunner(&Agent{Gate: &hold.Gate{}, Registrar: newMemory(), Control: &awayControl{}, Instance: fleet.Instance{Incarnation: "web-1-0"}})
	r.registrars = r.registrars[1:]
	in := fleet.Instance{Incarnation: "web-1-0"}
	if err := r.Registrar.Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.publish.now, r.publish.kept = wanted{listing: Leaving, in: in}, Leaving
	r.now.Listing, r.now.Gone = Leaving, true
	r.enlist(time.Now())
	want := <-r.publish.wants
	if newer, err := r.attempt(t.Context(), want); newer != nil || err != nil {
		t.Fatalf("got %+v, %v", newer, err)
	}
	r.listed(want, nil)
	if n := r.Registrar.(*memory).listed(); n != 0 || r.publish.kept != Absent {
		t.Errorf("got %d in the registry, and %v taken to be there, want none", n, r.publish.kept)
	}
	if told := r.whole(time.Now()).Instances; len(told) != 1 {
		t.Errorf("control is told of %+v, want the instance still", told)
	}
}
