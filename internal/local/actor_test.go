package local

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// An actor is an agent, with the application that it runs.
type actor struct {
	theatre *theatre
	name    string
	told    *config.Agent
	public  string
	up      time.Time // when the application can serve
	linger  time.Duration
	deaf    bool

	asked int           // how often it was told to leave
	hurry chan struct{} // closed the second time
	done  chan struct{}
	exit  process.Exit
	once  sync.Once
}

func (a *actor) Done() <-chan struct{} { return a.done }
func (a *actor) Exit() process.Exit    { return a.exit }

func (a *actor) Stop(grace time.Duration) error {
	s := a.theatre
	s.note("TERM %s", a.name)
	s.mu.Lock()
	a.asked++
	asked := a.asked
	s.mu.Unlock()
	switch {
	case a.deaf:
	case asked == 1:
		go a.retire()
	case asked == 2:
		close(a.hurry)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-a.done:
		return nil
	case <-timer.C:
		a.end(process.Exit{Code: 137, Signal: syscall.SIGKILL})
		return process.ErrKilled
	}
}

// live comes up: control hears of it, and then that it can serve.
func (a *actor) live() {
	s := a.theatre
	const found = 50 * time.Millisecond
	s.mu.Lock()
	boot, mute := time.Until(a.up), s.mute
	s.mu.Unlock()
	if mute || !a.lasts(found) {
		return
	}
	a.put(func(in *fleet.Instance) {})
	if a.lasts(boot - found) {
		a.put(func(in *fleet.Instance) { in.Ready = !s.failing[a.public] })
	}
}

// lasts lets time pass, and says whether the actor still plays.
func (a *actor) lasts(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.done:
		return false
	}
}

// put changes what the agent says of itself.
func (a *actor) put(change func(*fleet.Instance)) {
	s := a.theatre
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.actors[a.public] != a {
		return
	}
	in, has := s.entries[a.told.Incarnation]
	if !has {
		in = fleet.Instance{
			Name: a.told.Name, Namespace: "default", Workload: a.told.Workload, Revision: a.told.Revision, Incarnation: a.told.Incarnation,
			Address: a.told.Address, Labels: a.told.Labels, Weight: 1, Leaving: a.asked > 0 && !a.deaf,
		}
	}
	change(&in)
	s.entries[in.Incarnation] = in
	s.fold()
}

// retire leaves: control shows that it drains, then that nobody sends to it; then the application ends.
func (a *actor) retire() {
	s := a.theatre
	s.mu.Lock()
	in, known := s.entries[a.told.Incarnation]
	s.mu.Unlock()
	if known {
		a.put(func(in *fleet.Instance) { in.Leaving = true })
	}
	callers := time.NewTimer(fleet.DefaultLeave().Callers)
	defer callers.Stop()
	for waiting := known && in.Ready; waiting; {
		s.mu.Lock()
		stage, shown := s.stages[a.told.Incarnation]
		bell := s.bell
		s.mu.Unlock()
		if !shown || stage == fleet.Gone {
			break
		}
		select {
		case <-bell:
		case <-a.hurry:
			waiting = false
		case <-callers.C:
			waiting = false
		case <-a.done:
			return
		}
	}
	if a.lasts(a.linger) {
		a.end(process.Exit{})
	}
}

// end is the end of the agent. It takes its entry with it, unless it was killed.
func (a *actor) end(exit process.Exit) {
	a.once.Do(func() {
		s := a.theatre
		s.mu.Lock()
		a.exit = exit
		if s.actors[a.public] == a {
			delete(s.actors, a.public)
		}
		if exit.Signal == 0 {
			delete(s.entries, a.told.Incarnation)
		}
		s.fold()
		s.mu.Unlock()
		s.note("END %s: %v", a.name, exit)
		close(a.done)
	})
}

func (s *theatre) start(spec process.Spec) (process.Process, error) {
	a := &actor{theatre: s, name: spec.Name, hurry: make(chan struct{}), done: make(chan struct{})}
	s.mu.Lock()
	a.up, a.linger, a.deaf = time.Now().Add(s.boot), s.linger, s.deaf
	text := s.files[spec.Args[slices.Index(spec.Args, "--config")+1]]
	var err error
	if a.told, err = written(text); err != nil {
		s.faults = append(s.faults, fmt.Sprintf("%s was told %q: %v", a.name, text, err))
	}
	a.public = a.told.Address.String()
	if s.actors[a.public] != nil {
		s.faults = append(s.faults, a.name+" was started where another runs")
	}
	s.actors[a.public] = a
	s.mu.Unlock()
	s.note("START %s", a.name)
	if spec.Args[len(spec.Args)-1] == "/bin/false" {
		time.AfterFunc(time.Millisecond, func() { a.end(process.Exit{Code: 1}) })
	}
	go a.live()
	return a, nil
}

// written reads what an agent is told, as configuration does.
func written(text []byte) (*config.Agent, error) {
	file, err := os.CreateTemp("", "agent-*.yaml")
	if err != nil {
		return &config.Agent{}, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return &config.Agent{}, err
	}
	return read(file.Name())
}
