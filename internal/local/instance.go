package local

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// An instance is one replica: a name, a home, a sidecar, and the lives of its application one after another.
type instance struct {
	// Set before run, and not changed.
	key       string // unique: namespace/name
	name      string
	uid       string // of the replica; an incarnation is this and the number of the life
	workload  *fleet.Workload
	home      home
	bind      netip.Addr // where the application listens
	machine   *machine
	self      string // crossfade, for the sidecar; "" for none
	pathDirs  []string
	inherited []string // environment
	mesh      string
	output    io.Writer
	news      chan<- news

	// Closed by the runtime.
	leave chan struct{} // finish; the runtime has set bound before
	known chan struct{} // control knows that the instance leaves, or need not be waited for
	quiet chan struct{} // nobody sends requests any more
	bound time.Duration // of draining, and then of stopping

	// Only run's goroutine, and those that it calls, may touch these.
	now     state
	passing bool // the application's own probe
	proven  bool // it has answered a probe in this life
	listens bool // the sidecar
}

// A state is what the runtime must know of an instance.
type state struct {
	incarnation string // of the life that runs; "" when none does
	begun       bool   // application and sidecar have been started, or could not be: they cost no more than others
	ready       bool   // the application passes its probe and its sidecar listens
	ended       bool   // nothing is left of it
}

// A news is what an instance tells the runtime.
type news struct {
	of    *instance
	state state
	event fleet.Event // Kind is "" when there is nothing to tell people
}

// run is all the instance's life. It returns when it was told to leave and nothing of it is left.
func (in *instance) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var sidecar sync.WaitGroup
	up := make(latest[listening], 1)
	in.listens = in.self == "" || len(inbound(in.workload)) == 0
	if !in.listens && !in.dismissed() {
		sidecar.Go(func() { _ = in.keepSidecar(ctx, up) }) // a sidecar that had to be killed had nothing to do any more
	}
	in.live(ctx, up)
	cancel() // the sidecar goes last
	sidecar.Wait()
	in.now.ended = true
	in.tell("", "")
}

// live starts the application, and again whenever it dies, until the instance is told to leave.
func (in *instance) live(ctx context.Context, up latest[listening]) {
	short := 0
	for number := 0; !in.dismissed(); number++ {
		in.now.incarnation = fmt.Sprintf("%s-%d", in.uid, number)
		born := time.Now()
		exit, left := in.oneLife(ctx, up)
		if left {
			return
		}
		var wait time.Duration
		short, wait = backoffOfApp().After(short, time.Since(born))
		wait = process.Jitter(wait)
		hint := ""
		if exit.Err == nil {
			hint = in.hint()
		}
		in.end("instance.died", fmt.Sprintf("%v; starts again in %v%s", exit, wait.Round(time.Millisecond), hint))
		if !in.rest(wait, up) {
			return
		}
	}
}

// dismissed says whether the instance was told to leave.
func (in *instance) dismissed() bool {
	select {
	case <-in.leave:
		return true
	default:
		return false
	}
}

// hint says where the application must listen, to somebody whose application was never seen there in this life:
// the public address, which a program that binds to everything would need, belongs to the sidecar. Where the
// readiness probe asks another port than the first, it says both.
func (in *instance) hint() string {
	if in.proven || len(in.workload.Ports) == 0 {
		return ""
	}
	first, probed := in.port(0), in.port(0)
	if in.workload.Readiness != nil {
		probed = in.port(in.workload.Readiness.Port)
	}
	hint := fmt.Sprintf("; it was never ready: it must listen on $HOST:$PORT, here %v", netip.AddrPortFrom(in.bind, first))
	if in.bind != in.home.public {
		hint += fmt.Sprintf(", not on all addresses: its sidecar has the port on %v", in.home.public)
	}
	if probed != first {
		hint += fmt.Sprintf("; its readiness probe asks %v", netip.AddrPortFrom(in.bind, probed))
	}
	return hint
}

// oneLife runs the application until it ends, and says how, or until the instance has left.
func (in *instance) oneLife(ctx context.Context, up latest[listening]) (exit process.Exit, left bool) {
	app, err := in.startApp()
	if err != nil {
		return process.Exit{Code: -1, Err: err}, false
	}
	in.tell("instance.started", "")

	probing, stop := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer stop()
	verdicts := make(latest[verdict], 1)
	probes.Go(func() {
		if in.workload.Readiness == nil {
			in.watchPort(probing, verdicts)
			return
		}
		watch(probing, *in.workload.Readiness, in.probe, verdicts)
	})
	for {
		select {
		case <-app.Done():
			return app.Exit(), false
		case v := <-verdicts:
			in.judge(v)
		case s := <-up:
			in.hear(s)
		case <-in.leave:
			stop()
			in.retire(ctx, app)
			return process.Exit{}, true
		}
	}
}

// rest waits before the next life, and says whether there will be one.
func (in *instance) rest(wait time.Duration, up latest[listening]) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case s := <-up:
			in.hear(s)
		case <-in.leave:
			return false
		}
	}
}

func (in *instance) judge(v verdict) {
	in.passing = v.passing
	exec := in.workload.Readiness != nil && len(in.workload.Readiness.Exec) > 0 // says nothing of where it listens
	in.proven = in.proven || v.passing || !v.refused && !exec
	if v.passing {
		in.tell("probe.passed", "")
		return
	}
	if v.early {
		in.tell("probe.failed", "not ready yet; "+v.why)
		return
	}
	if v.refused {
		v.why += in.hint()
	}
	in.tell("probe.failed", v.why)
}

func (in *instance) hear(s listening) {
	in.listens = s.up
	if s.up {
		in.tell("", "")
		return
	}
	in.tell("sidecar.died", s.why)
}

// end tells that the application has ended.
func (in *instance) end(kind, why string) {
	event := in.event(kind, why)
	in.passing, in.proven = false, false
	in.now = state{begun: true}
	in.news <- news{of: in, state: in.now, event: event}
}

func (in *instance) tell(kind, why string) {
	in.now.begun = in.now.begun || kind == "sidecar.died" || in.now.incarnation != "" && in.listens
	in.now.ready = in.now.incarnation != "" && in.passing && in.listens
	in.news <- news{of: in, state: in.now, event: in.event(kind, why)}
}

func (in *instance) event(kind, why string) fleet.Event {
	return fleet.Event{Time: time.Now(), Kind: kind, Endpoint: in.name, Incarnation: in.now.incarnation, From: reporter, Reason: why}
}

// startApp starts the application.
func (in *instance) startApp() (process.Process, error) {
	return in.command(in.workload.Command, in.output)
}

// command starts a program as the application: in its directory, with its environment, which $(NAME) in the
// arguments stands for.
func (in *instance) command(command []string, output io.Writer) (process.Process, error) {
	if len(command) == 0 {
		return nil, fmt.Errorf("start %s: no command", in.name)
	}
	spec := process.Spec{Name: in.name, Dir: in.workload.Dir, Env: slices.Clone(in.inherited), Stdout: output, Stderr: output}
	values := map[string]string{}
	for _, v := range environment(in.workload, in.name, in.home, in.bind.String(), in.mesh) {
		values[v.name] = v.value
		spec.Env = append(spec.Env, v.name+"="+v.value)
	}
	path, err := find(expand(command[0], values), spec.Dir, in.pathDirs)
	if err != nil {
		return nil, err
	}
	spec.Path = path
	for _, arg := range command[1:] {
		spec.Args = append(spec.Args, expand(arg, values))
	}
	return in.machine.start(spec)
}

// execute runs a command as command does, to its end or that of ctx.
func (in *instance) execute(ctx context.Context, command []string, output io.Writer) error {
	p, err := in.command(command, output)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Stop(0) // it is killed, as it is told to
		return context.Cause(ctx)
	}
	if exit := p.Exit(); !exit.OK() {
		return fmt.Errorf("%s: %v", command[0], exit)
	}
	return nil
}
