package holdtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
)

// A scene is one test in a world of its own: a gate, its proxy, and the services that are this test's.
type scene struct {
	*testing.T
	World
	gate  *hold.Gate
	proxy Proxy
	told  chan error // by the gate's Run

	mu     sync.Mutex
	events []string
}

// port is that of the application's instance; others have greater ones.
const port = 9080

func newScene(t *testing.T, w World) *scene {
	t.Helper()
	return &scene{T: t, World: w}
}

// begin runs a gate before the registry, and returns an application that talks to its proxy.
func (s *scene) begin(change func(*hold.Gate)) App {
	s.Helper()
	s.proxy = s.Open()
	s.gate = &hold.Gate{Proxies: []hold.Proxy{s.proxy}, Annotate: true, Tell: func(kind, reason string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, kind)
	}}
	if change != nil {
		change(s.gate)
	}
	s.told = make(chan error, 1000)
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.gate.Run(ctx, func(err error) { s.told <- err }) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("Run ended with %v", err)
		}
	})
	return s.World.App(s.proxy.Addr(), port)
}

// service is a name that no other test has.
func (s *scene) service(name string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(s.Name())) // it never fails
	return fmt.Sprintf("%s-%08x", name, sum.Sum32())
}

// instance is what an agent publishes of the application.
func instance() fleet.Instance {
	return fleet.Instance{
		Name: "a", Namespace: "default", Incarnation: "a-1", Address: netip.MustParseAddr("127.0.0.1"), Ports: map[string]uint32{"http": port},
		Labels: map[string]string{"app": "a"}, Weight: 1, Ready: true, Warmup: &fleet.Warmup{Window: time.Minute, Aggression: 1},
	}
}

// release has the gate release everything, as an agent does: it goes on until it has.
func (s *scene) release() { s.Helper(); s.put(instance()) }

func (s *scene) put(in fleet.Instance) {
	s.Helper()
	s.persist("Put", func(ctx context.Context) error { return s.gate.Put(ctx, in) })
}

func (s *scene) remove() {
	s.Helper()
	s.persist("Remove", func(ctx context.Context) error { return s.gate.Remove(ctx, instance().Incarnation) })
}

func (s *scene) persist(what string, do func(context.Context) error) {
	s.Helper()
	late := time.Now().Add(patience)
	for {
		err := do(s.Context())
		if err == nil {
			return
		}
		if time.Now().After(late) {
			s.Fatalf("%s: %v", what, err)
		}
		s.pause()
	}
}

func (s *scene) pause() {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-s.Context().Done():
	}
}

// must fails the test when the application could not do something.
func (s *scene) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *scene) registers(app App, service string) {
	s.Helper()
	s.must("the application registers in "+service, app.Register(s.Context(), service))
}

func (s *scene) deregisters(app App, service string) {
	s.Helper()
	s.must("the application takes itself out of "+service, app.Deregister(s.Context(), service))
}

func (s *scene) reconnects(app App) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	s.must("the application connects again", app.Reconnect(ctx))
}

// believes fails the test unless the application finds itself in a service.
func (s *scene) believes(app App, service string) {
	s.Helper()
	if !s.Room.Self {
		return
	}
	there, err := app.Sees(s.Context(), service)
	s.must("the application looks for itself in "+service, err)
	if !there {
		s.Errorf("the application does not find itself in %s", service)
	}
}

// find is what others find of the application now; nil is nothing.
func (s *scene) find(service string) *Seen {
	s.Helper()
	for _, seen := range s.look(service) {
		if seen.Port == port {
			return &seen
		}
	}
	return nil
}

// look is what a peer finds in a service. One whose connection was lost, as on a machine with too much to do, has found
// out nothing, and looks again.
func (s *scene) look(service string) []Seen {
	s.Helper()
	for late := time.Now().Add(patience); ; s.pause() {
		list, err := s.Peer(s.Context(), service)
		if err == nil {
			return list
		}
		if time.Now().After(late) {
			s.Fatalf("a peer looks into %s: %v", service, err)
		}
	}
}

// seen and unseen are what others find at this moment.
func (s *scene) seen(service string) *Seen {
	s.Helper()
	found := s.find(service)
	if found == nil {
		s.Fatalf("others do not find it in %s", service)
	}
	return found
}

func (s *scene) unseen(service string) {
	s.Helper()
	if found := s.find(service); found != nil {
		s.Fatalf("others find it in %s: %+v", service, *found)
	}
}

// staysUnseen registers somebody else without a proxy and has others find that one: what was on its way before would have
// come too.
func (s *scene) staysUnseen(service string) {
	s.Helper()
	other := s.World.App("", port+1)
	defer other.Kill()
	s.registers(other, service)
	s.until("others find whoever has no proxy", func() bool {
		s.unseen(service)
		return slices.ContainsFunc(s.look(service), func(seen Seen) bool { return seen.Port == port+1 })
	})
	s.unseen(service)
	s.deregisters(other, service)
}

// until waits for something.
func (s *scene) until(what string, fulfilled func() bool) {
	s.Helper()
	for late := time.Now().Add(patience); !fulfilled(); s.pause() {
		if time.Now().After(late) {
			s.Fatalf("never saw that %s", what)
		}
	}
}

// comes and goes wait for what others find. A registry that is away has nobody find anything.
func (s *scene) comes(service string) {
	s.Helper()
	s.until("others find it in "+service, func() bool { return s.has(service) })
}

func (s *scene) goes(service string) {
	s.Helper()
	s.until("others find it in "+service+" no more", func() bool {
		list, err := s.Peer(s.Context(), service)
		return err == nil && !of(list)
	})
}

func (s *scene) has(service string) bool {
	list, err := s.Peer(s.Context(), service)
	return err == nil && of(list)
}

func of(list []Seen) bool {
	return slices.ContainsFunc(list, func(seen Seen) bool { return seen.Port == port })
}

// hears waits for what Run tells: that the registry is away, or back.
func (s *scene) hears(away bool) {
	s.Helper()
	select {
	case err := <-s.told:
		if away != errors.Is(err, registry.ErrAway) {
			s.Fatalf("Run told %v; that the registry is away: %v", err, away)
		}
	case <-time.After(patience):
		s.Fatal("Run told nothing")
	}
}

// tells says how often an event was told.
func (s *scene) tells(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e == kind {
			n++
		}
	}
	return n
}

// wants fails the test unless an event was told so often.
func (s *scene) wants(kind string, n int) {
	s.Helper()
	if got := s.tells(kind); got != n {
		s.Errorf("%s was told %d times, want %d: %v", kind, got, n, s.events)
	}
}

// is fails the test unless an error is what it should be.
func (s *scene) is(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s = %v, want %v", what, err, want)
	}
}

// briefly is a context for what is not to succeed.
func (s *scene) briefly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.Context(), 300*time.Millisecond)
}
