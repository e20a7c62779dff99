package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// A theatre is a machine and a control on virtual time. Everything that must never happen is written down
// when it does, for a test to find.
type theatre struct {
	t       *testing.T
	mu      sync.Mutex
	curtain time.Time
	log     []string // what happened to processes, with the time
	faults  []string

	// The machine.
	actors  map[string]*actor // by "public" or "private" address of what listens there
	boot    time.Duration     // until an application listens
	linger  time.Duration     // between SIGTERM and its end
	deaf    bool              // applications hear no SIGTERM
	mute    bool              // sidecars do not listen
	failing map[string]bool   // private addresses whose readiness probe fails
	taken   map[string]bool   // addresses where somebody else listens

	// Control.
	away      bool
	number    uint64
	workloads []fleet.Workload
	services  []fleet.Service
	instances []fleet.Instance
	stages    map[string]fleet.Stage
	draining  map[string]time.Time
	drain     time.Duration // until nobody sends to a leaving one
	lag       time.Duration // of a view and of a report on their way
	events    []fleet.Event
	bell      chan struct{} // closed at the next change
	reports   chan struct{} // closed at the next report
}

func newTheatre(workloads ...fleet.Workload) *theatre {
	return &theatre{
		curtain: time.Now(), actors: map[string]*actor{}, boot: time.Second, linger: 100 * time.Millisecond,
		failing: map[string]bool{}, taken: map[string]bool{}, drain: 500 * time.Millisecond,
		workloads: workloads, stages: map[string]fleet.Stage{}, draining: map[string]time.Time{}, bell: make(chan struct{}), reports: make(chan struct{}),
		services: []fleet.Service{{Name: "web:80", Namespace: "default", Selector: map[string]string{"app": "web"}}},
	}
}

// web is a workload of the theatre's service.
func web(replicas int) fleet.Workload {
	return fleet.Workload{
		Name: "web", Namespace: "default", Replicas: replicas, Revision: "1", Labels: map[string]string{"app": "web"},
		Command: []string{"/bin/app"}, Ports: []fleet.ContainerPort{{Name: "http", Number: 80}}, Grace: 30 * time.Second,
		Readiness: &fleet.Probe{Check: fleet.Check{Path: "/health", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}},
	}
}

// An actor is a process of the theatre.
type actor struct {
	theatre *theatre
	name    string
	address string // where it listens
	done    chan struct{}
	exit    process.Exit
	up      time.Time // when it begins to listen
	linger  time.Duration
	deaf    bool
	once    sync.Once
}

func (a *actor) Done() <-chan struct{} { return a.done }
func (a *actor) Exit() process.Exit    { return a.exit }

func (a *actor) Stop(grace time.Duration) error {
	a.theatre.note("TERM %s", a.name)
	a.theatre.mu.Lock()
	a.theatre.offeredMustNotStop(a)
	a.theatre.mu.Unlock()
	linger := a.linger
	if a.deaf {
		linger = grace + 1
	}
	time.Sleep(max(0, min(linger, grace)))
	if linger > grace {
		a.end(process.Exit{Code: 137, Signal: syscall.SIGKILL})
		return process.ErrKilled
	}
	a.end(process.Exit{})
	return nil
}

func (a *actor) end(exit process.Exit) {
	a.once.Do(func() {
		a.theatre.mu.Lock()
		a.exit = exit
		delete(a.theatre.actors, a.address)
		a.theatre.mu.Unlock()
		a.theatre.note("END %s: %v", a.name, exit)
		close(a.done)
	})
}

// offeredMustNotStop is the law of the house: whom requests may be sent to is not stopped in peace. What is
// sent to an application that does not listen yet, because control does not know of a crash, is lost anyway.
func (s *theatre) offeredMustNotStop(a *actor) {
	public, isApp := publicOf(a.address)
	if !isApp || a.deaf || time.Now().Before(a.up) {
		return
	}
	for _, in := range s.instances {
		if stage, shown := s.stages[in.Incarnation]; in.Address.String() == public && shown && stage != fleet.Gone && stage != fleet.Starting {
			s.faults = append(s.faults, fmt.Sprintf("%s was stopped while %v", a.name, stage))
		}
	}
}

func publicOf(private string) (string, bool) {
	rest, ok := strings.CutPrefix(private, "127.2.")
	return "127.1." + rest, ok
}

func (s *theatre) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%v ", time.Since(s.curtain).Round(10*time.Millisecond))+fmt.Sprintf(format, args...))
}

func (s *theatre) machine() *machine {
	return &machine{start: s.start, get: s.get, dial: s.dial, ask: s.ask, free: func(a netip.AddrPort) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[a.Addr().String()] {
			return fmt.Errorf("listen %v: %w", a, syscall.EADDRINUSE)
		}
		return nil
	}}
}

func (s *theatre) start(spec process.Spec) (process.Process, error) {
	a := &actor{theatre: s, name: spec.Name, done: make(chan struct{})}
	s.mu.Lock()
	a.up, a.linger, a.deaf = time.Now().Add(s.boot), s.linger, s.deaf
	s.mu.Unlock()
	switch spec.Path {
	case "/bin/missing":
		return nil, fmt.Errorf("start %s: %w", spec.Name, syscall.ENOENT)
	case "/bin/hook", "/bin/nohook":
		a.name += " " + spec.Path
		time.AfterFunc(300*time.Millisecond, func() { a.end(process.Exit{Code: map[bool]int{true: 1}[spec.Path == "/bin/nohook"]}) })
	case "/bin/crossfade":
		a.up, a.linger, a.deaf = time.Now().Add(20*time.Millisecond), 10*time.Millisecond, false
		a.address, _, _ = strings.Cut(spec.Args[slices.Index(spec.Args, "--admin")+1], ":")
	default:
		for _, v := range spec.Env {
			if host, ok := strings.CutPrefix(v, "HOST="); ok {
				a.address = host
			}
		}
	}
	s.note("START %s", a.name)
	if a.address != "" {
		s.mu.Lock()
		if s.actors[a.address] != nil {
			s.faults = append(s.faults, a.name+" was started where another runs")
		}
		s.actors[a.address] = a
		s.mu.Unlock()
	}
	return a, nil
}

func (s *theatre) dial(_ context.Context, address netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.actors[address.Addr().String()]; a == nil || time.Now().Before(a.up) {
		return syscall.ECONNREFUSED
	}
	return nil
}

func (s *theatre) get(ctx context.Context, url string) error {
	address, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	at := netip.MustParseAddrPort(address)
	if err := s.dial(ctx, at); err != nil {
		return err
	}
	s.mu.Lock()
	failing := s.failing[at.Addr().String()] || s.mute && at.Port() == adminPort
	s.mu.Unlock()
	switch {
	case path == "bye":
		s.note("GET %s", url)
	case failing:
		return errors.New("503 Service Unavailable")
	}
	return nil
}

func (s *theatre) ask(ctx context.Context, at netip.AddrPort, service string) error {
	if err := s.dial(ctx, at); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing[at.Addr().String()] {
		return fmt.Errorf("%q at port %d: gRPC NOT_SERVING", service, at.Port())
	}
	return nil
}

// Follow and Report make the theatre a control: who is ready is offered at once, who leaves is gone after
// the drain.
func (s *theatre) Follow(ctx context.Context, _ feed.Hello, apply func(fleet.View)) error {
	for {
		s.mu.Lock()
		away, view, bell := s.away, s.view(), s.bell
		s.mu.Unlock()
		time.Sleep(s.lag)
		if away {
			return errors.New("control is away")
		}
		apply(view)
		select {
		case <-bell:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *theatre) view() fleet.View {
	snap := fleet.Snapshot{Number: s.number, Config: "c", Workloads: slices.Clone(s.workloads)}
	for _, service := range s.services {
		for _, in := range s.instances {
			if in.Labels["app"] == "web" && s.stages[in.Incarnation] != fleet.Gone {
				service.Endpoints = append(service.Endpoints, fleet.Endpoint{
					Name: in.Name, Incarnation: in.Incarnation, Stage: s.stages[in.Incarnation],
					Address: netip.AddrPortFrom(in.Address, 80),
				})
			}
		}
		snap.Services = append(snap.Services, service)
	}
	return fleet.View{Snapshot: &snap, Taken: time.Now()}
}

func (s *theatre) Report(_ context.Context, r fleet.Report) error {
	time.Sleep(s.lag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("control is away")
	}
	s.events = append(s.events, r.Events...)
	s.instances = r.Instances
	s.fold()
	close(s.reports)
	s.reports = make(chan struct{})
	return nil
}

// fold makes the stages from the instances and rings the bell. The caller holds mu.
func (s *theatre) fold() {
	before := maps.Clone(s.stages)
	listed := map[string]bool{}
	for _, in := range s.instances {
		if in.Labels["app"] != "web" {
			continue // of no service
		}
		listed[in.Incarnation] = true
		stage := s.stages[in.Incarnation]
		switch {
		case in.Leaving && stage.Offered():
			s.stages[in.Incarnation] = fleet.Draining
			time.AfterFunc(s.drain, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if _, still := s.stages[in.Incarnation]; still {
					s.stages[in.Incarnation] = fleet.Gone
					s.ring()
				}
			})
		case in.Leaving && stage == fleet.Starting:
			s.stages[in.Incarnation] = fleet.Gone
		case in.Leaving:
		case in.Ready:
			s.stages[in.Incarnation] = fleet.Warming
		default:
			s.stages[in.Incarnation] = fleet.Starting
		}
	}
	maps.DeleteFunc(s.stages, func(incarnation string, _ fleet.Stage) bool { return !listed[incarnation] })
	if !maps.Equal(before, s.stages) {
		s.ring()
	}
}

func (s *theatre) ring() {
	s.number++
	close(s.bell)
	s.bell = make(chan struct{})
}

// play runs the runtime in a bubble while the script runs, then ends it and looks for faults.
func play(t *testing.T, script func(s *theatre), workloads ...fleet.Workload) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newTheatre(workloads...)
		s.t = t
		perform(t, s, func() { script(s) })
		for _, fault := range s.faults {
			t.Error(fault)
		}
		if len(s.actors) > 0 || len(s.instances) > 0 {
			t.Errorf("after the end got %d processes and %d instances, want none", len(s.actors), len(s.instances))
		}
		if t.Failed() {
			t.Logf("what happened:\n%s", strings.Join(s.log, "\n"))
		}
	})
}

// perform runs the runtime until the script has ended, and all is over.
func perform(t *testing.T, s *theatre, script func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	rt := Runtime{Feed: s, Self: "/bin/crossfade", Env: []string{}, machine: s.machine()}
	done := make(chan error, 1)
	s.mu.Lock() // before anything begins: what the script says first holds for the first
	go func() { done <- rt.Run(ctx) }()
	script()
	s.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

// The language of the scripts, which run with mu held: nothing happens but in after.

// after lets time pass.
func (s *theatre) after(d time.Duration) {
	s.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
}

func (s *theatre) scale(replicas int) { s.change(func(w *fleet.Workload) { w.Replicas = replicas }) }

func (s *theatre) change(f func(*fleet.Workload)) {
	s.workloads = slices.Clone(s.workloads)
	f(&s.workloads[0])
	s.ring()
}

// crash ends whoever listens at an address.
func (s *theatre) crash(address string, code int) {
	if a := s.actors[address]; a != nil {
		s.mu.Unlock()
		a.end(process.Exit{Code: code})
		s.mu.Lock()
	}
}

// shown returns "name stage address" of those that control shows, sorted.
func (s *theatre) shown() []string {
	var list []string
	for _, in := range s.instances {
		list = append(list, fmt.Sprintf("%s %v %v", in.Name, s.stages[in.Incarnation], in.Address))
	}
	slices.Sort(list)
	return list
}

func (s *theatre) want(want ...string) {
	s.t.Helper()
	if got := s.shown(); !slices.Equal(got, want) {
		s.t.Errorf("after %v got %q, want %q", time.Since(s.curtain), got, want)
	}
}

// incarnation returns that of the instance at 127.1.0.1.
func (s *theatre) incarnation() string {
	for _, in := range s.instances {
		if in.Address == homeAt(1).public {
			return in.Incarnation
		}
	}
	return ""
}

// told returns the kinds of the events that control has heard about web-1, in order, with the reasons: those after
// instance.starting, which is always the first.
func (s *theatre) told() []string {
	var kinds []string
	for _, e := range s.events {
		if e.Endpoint == "web-1" && e.Kind != "instance.starting" {
			kinds = append(kinds, strings.TrimSuffix(e.Kind+": "+e.Reason, ": "))
		}
	}
	return kinds
}
