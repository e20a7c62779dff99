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

// A theatre is a machine, a registry and a control on virtual time. Everything that must never happen is written
// down when it does, for a test to find.
type theatre struct {
	t       *testing.T
	mu      sync.Mutex
	curtain time.Time
	log     []string // what happened to processes, with the time
	faults  []string

	// The machine.
	files   map[string][]byte
	actors  map[string]*actor // agents that run, by the address where everybody finds them
	boot    time.Duration     // until an application can serve
	linger  time.Duration     // of an application, between SIGTERM and its end
	deaf    bool              // agents hear no SIGTERM
	mute    bool              // agents do not find control
	failing map[string]bool   // addresses where the readiness probe fails
	taken   map[string]bool   // addresses where somebody else listens

	// The registry: what agents say of themselves, there or to control. One that is killed leaves its entry behind.
	entries map[string]fleet.Instance

	// Control.
	away      bool
	number    uint64
	workloads []fleet.Workload
	services  []fleet.Service
	instances []fleet.Instance
	dead      map[string]bool
	stages    map[string]fleet.Stage
	drain     time.Duration // until nobody sends to a leaving one
	lag       time.Duration // of a view and of a report on their way
	events    []fleet.Event
	bell      chan struct{} // closed at the next change
	reports   chan struct{} // closed at the next report
}

func newTheatre(workloads ...fleet.Workload) *theatre {
	return &theatre{
		curtain: time.Now(), files: map[string][]byte{}, actors: map[string]*actor{}, boot: time.Second, linger: 100 * time.Millisecond,
		failing: map[string]bool{}, taken: map[string]bool{}, entries: map[string]fleet.Instance{}, drain: 500 * time.Millisecond,
		workloads: workloads, dead: map[string]bool{}, stages: map[string]fleet.Stage{}, bell: make(chan struct{}), reports: make(chan struct{}),
		services: []fleet.Service{{Name: "web:80", Host: "web", Namespace: "default", Selector: map[string]string{"app": "web"}}},
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

func (s *theatre) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%v ", time.Since(s.curtain).Round(10*time.Millisecond))+fmt.Sprintf(format, args...))
}

func (s *theatre) machine() *machine {
	return &machine{
		start: s.start,
		write: func(path string, text []byte) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.files[path] = text
			return nil
		},
		remove: func(path string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.files, path)
		},
		free: func(a netip.AddrPort) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.taken[a.Addr().String()] || s.taken[a.String()] {
				return fmt.Errorf("listen %v: %w", a, syscall.EADDRINUSE)
			}
			return nil
		},
	}
}

// Follow and Report make the theatre a control: who is ready is offered at once, who leaves is gone after the
// drain, and who is reported dead is believed to be.
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
	snap := fleet.Snapshot{Number: s.number, Config: "c", Workloads: slices.Clone(s.workloads), Instances: slices.Clone(s.instances)}
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
	for _, incarnation := range r.Dead {
		s.dead[incarnation] = true
		for _, a := range s.actors {
			if a.told.Incarnation == incarnation {
				s.faults = append(s.faults, a.name+" was reported dead, and lives")
			}
		}
	}
	if len(r.Instances) > 0 {
		s.faults = append(s.faults, "instances were reported, for which agents speak")
	}
	s.fold()
	close(s.reports)
	s.reports = make(chan struct{})
	return nil
}

// fold makes the instances from the entries, and the stages from the instances, and rings the bell. The caller
// holds mu.
func (s *theatre) fold() {
	if s.away {
		return
	}
	before, had := maps.Clone(s.stages), s.instances
	s.instances = nil
	for _, incarnation := range slices.Sorted(maps.Keys(s.entries)) {
		if in := s.entries[incarnation]; !s.dead[incarnation] {
			s.instances = append(s.instances, in)
		}
	}
	slices.SortStableFunc(s.instances, func(a, b fleet.Instance) int { return a.Address.Compare(b.Address) })
	listed := map[string]bool{}
	for _, in := range s.instances {
		if in.Labels["app"] == "web" { // or of no service
			listed[in.Incarnation] = true
			s.stages[in.Incarnation] = s.next(in)
		}
	}
	maps.DeleteFunc(s.stages, func(incarnation string, _ fleet.Stage) bool { return !listed[incarnation] })
	if !maps.Equal(before, s.stages) || !slices.EqualFunc(had, s.instances, func(a, b fleet.Instance) bool {
		return a.Incarnation == b.Incarnation && a.Ready == b.Ready && a.Leaving == b.Leaving
	}) {
		s.ring()
	}
}

// next is the stage that an instance comes to.
func (s *theatre) next(in fleet.Instance) fleet.Stage {
	switch stage := s.stages[in.Incarnation]; {
	case in.Leaving && stage.Offered():
		time.AfterFunc(s.drain, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, still := s.stages[in.Incarnation]; still {
				s.stages[in.Incarnation] = fleet.Gone
				s.ring()
			}
		})
		return fleet.Draining
	case in.Leaving && stage == fleet.Starting:
		return fleet.Gone
	case in.Leaving:
		return stage
	case in.Ready:
		return fleet.Warming
	default:
		return fleet.Starting
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
		perform(t, s, 0, func() { script(s) })
		for _, fault := range s.faults {
			t.Error(fault)
		}
		if len(s.actors) > 0 || len(s.instances) > 0 || len(s.files) > 0 {
			t.Errorf("after the end got %d processes, %d instances and %d files, want none", len(s.actors), len(s.instances), len(s.files))
		}
		if t.Failed() {
			t.Logf("what happened:\n%s", strings.Join(s.log, "\n"))
		}
	})
}

// perform runs the runtime until the script has ended, and all is over.
func perform(t *testing.T, s *theatre, quit time.Duration, script func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	rt := Runtime{Feed: s, Agents: Agents{Self: "/bin/crossfade", Dir: "/run"}, Env: []string{}, Quit: quit, machine: s.machine()}
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

// leave makes control unreachable, or reachable again.
func (s *theatre) leave(away bool) {
	s.away = away
	s.fold()
	s.ring()
}

// crash ends the application at an address, and its agent with it; kill the agent, and its application with it.
func (s *theatre) crash(address string, code int) { s.fall(address, process.Exit{Code: code}) }

func (s *theatre) kill(address string) {
	s.fall(address, process.Exit{Code: 137, Signal: syscall.SIGKILL})
}

func (s *theatre) fall(address string, exit process.Exit) {
	if a := s.actors[address]; a != nil {
		s.mu.Unlock()
		a.end(exit)
		s.mu.Lock()
	}
}

// fail has the readiness probe at an address fail, or pass.
func (s *theatre) fail(address string, failing bool) {
	s.failing[address] = failing
	if a := s.actors[address]; a != nil && !time.Now().Before(a.up) {
		s.mu.Unlock()
		a.put(func(in *fleet.Instance) { in.Ready = !failing })
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
		if e.Endpoint == "web-1" {
			kinds = append(kinds, strings.TrimSuffix(e.Kind+": "+e.Reason, ": "))
		}
	}
	return kinds[min(1, len(kinds)):]
}
