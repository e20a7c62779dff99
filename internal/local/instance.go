package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// An instance is one replica: a name, a home, and agents that run its application there, one after another.
type instance struct {
	// Set before run, and not changed.
	key       string // unique: namespace/name
	name      string
	uid       string // of the replica; an incarnation is this and the number of the life
	workload  *fleet.Workload
	service   string // one that it belongs to; its workload's name where it belongs to none
	home      home
	agents    Agents
	machine   *machine
	pathDirs  []string
	inherited []string // environment
	mesh      string
	output    io.Writer
	patience  time.Duration // from when it is told to leave until it hangs
	quit      time.Duration // likewise, from when it is told to hurry
	news      chan<- news

	hurry chan struct{} // closed by the runtime: what it still waits for takes too long

	// Only run's goroutine, and those that it calls, may touch these.
	lives   int
	now     state
	agent   process.Process // the latest; nil before the first
	overdue bool            // it had to be killed, though it was told to hurry
}

// A state is what the runtime must know of an instance.
type state struct {
	incarnation string // of the life that runs, or is about to; "" when none does
	died        bool   // a life has ended, or could not begin
	ended       bool   // nothing is left of it
}

// A news is what an instance tells the runtime.
type news struct {
	of    *instance
	state state
	event fleet.Event // Kind is "" when there is nothing to tell people
}

// run is all the instance's life. It returns when ctx has ended, which tells the agent to leave, and nothing of it
// is left.
func (in *instance) run(ctx context.Context) {
	var urging sync.WaitGroup
	keeper := process.Keeper{
		Start:   in.start,
		Backoff: backoffOfAgent(),
		Grace:   in.patience,
		Started: func(agent process.Process) {
			in.agent = agent
			urging.Go(func() { in.urge(agent) })
		},
		Exited: in.exited,
	}
	err := keeper.Run(ctx)
	urging.Wait()
	switch {
	case in.overdue || errors.Is(err, process.ErrKilled):
		in.end("instance.killed", "its agent did not leave in time")
	case in.now.incarnation != "" && in.agent != nil && in.agent.Exit().Signal != 0:
		in.end("instance.died", "its agent was "+in.agent.Exit().String()+", while leaving")
	case in.now.incarnation != "":
		in.end("", "") // the agent has told the rest
	}
	in.machine.remove(in.file())
	in.now.ended = true
	in.tell("", "")
}

// start begins the next life: another agent, another incarnation. The runtime knows of it before anybody else does.
func (in *instance) start() (process.Process, error) {
	in.now.incarnation = fmt.Sprintf("%s-%d", in.uid, in.lives)
	in.lives++
	in.tell("", "")
	spec, err := in.spec()
	if err != nil {
		return nil, err
	}
	return in.machine.start(spec)
}

// urge hurries an agent that is told to leave, when the runtime says so: what it is asked a second time it does
// without waiting for anybody.
func (in *instance) urge(agent process.Process) {
	select {
	case <-in.hurry:
		in.overdue = errors.Is(agent.Stop(in.quit), process.ErrKilled)
	case <-agent.Done():
	}
}

// exited tells how a life ended that nobody had told to, and when the next begins. An agent tells of its
// application's death by itself, unless it has not lived to.
func (in *instance) exited(exit process.Exit, wait time.Duration) {
	again := fmt.Sprintf("again in %v", wait.Round(time.Millisecond))
	switch {
	case exit.Err != nil:
		in.end("instance.died", fmt.Sprintf("%v; starts %s", exit, again))
	case exit.Signal != 0:
		in.end("instance.died", fmt.Sprintf("its agent was %v; starts %s", exit, again))
	default:
		in.end("instance.starting", fmt.Sprintf("%s: %v", again, exit))
	}
}

// end tells that a life has ended.
func (in *instance) end(kind, why string) {
	event := in.event(kind, why)
	in.now = state{died: true}
	in.news <- news{of: in, state: in.now, event: event}
}

func (in *instance) tell(kind, why string) {
	in.news <- news{of: in, state: in.now, event: in.event(kind, why)}
}

func (in *instance) event(kind, why string) fleet.Event {
	return fleet.Event{Time: time.Now(), Kind: kind, Endpoint: in.name, Incarnation: in.now.incarnation, From: reporter, Reason: why}
}
