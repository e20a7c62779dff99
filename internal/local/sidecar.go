package local

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// adminPort is where each sidecar answers about itself, on its public address.
const adminPort = 15000

// inbound returns the ports that others may want to reach: those that the application names, and the one
// where control checks it.
func inbound(w *fleet.Workload) []uint16 {
	var ports []uint16
	for _, p := range w.Ports {
		ports = append(ports, uint16(p.Number))
	}
	if check := checkOf(w); check != nil && check.Port != 0 {
		ports = append(ports, uint16(check.Port))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// checkOf returns how control can see from outside that a replica serves: as its readiness probe does. What
// cannot be seen from there, an initial delay and the outcome of a command, is for us to decide: see
// fleet.Instance.Ready.
func checkOf(w *fleet.Workload) *fleet.Check {
	if w.Readiness == nil || len(w.Readiness.Exec) > 0 {
		return nil
	}
	check := rules(*w.Readiness).Check
	check.InitialDelay = 0
	return &check
}

// sidecar returns the command line of the replica's sidecar.
func (in *instance) sidecar() process.Spec {
	args := []string{"gateway"}
	for _, port := range inbound(in.workload) {
		args = append(args, "--inbound", fmt.Sprintf("%s=%s",
			netip.AddrPortFrom(in.home.public, port), netip.AddrPortFrom(in.home.private, port)))
	}
	args = append(args,
		"--admin", netip.AddrPortFrom(in.home.public, adminPort).String(),
		"--id", "sidecar/"+in.name,
		"--log-level", "error")
	return process.Spec{Name: "sidecar/" + in.name, Path: in.self, Args: args, Env: in.inherited, Stdout: in.output, Stderr: in.output}
}

// A listening says whether a replica's sidecar listens, and if not, how it ended.
type listening struct {
	up  bool
	why string
}

// keepSidecar runs the sidecar until ctx ends, starts it again at once when it dies, and puts into up whether
// it listens.
func (in *instance) keepSidecar(ctx context.Context, up latest[listening]) error {
	var polls sync.WaitGroup
	defer polls.Wait()
	var stop context.CancelFunc = func() {}
	defer func() { stop() }()
	keeper := process.Keeper{
		Start:   func() (process.Process, error) { return in.machine.start(in.sidecar()) },
		Backoff: backoffOfSidecar(),
		Grace:   sidecarGrace,
		Started: func(process.Process) {
			var life context.Context
			life, stop = context.WithCancel(ctx)
			polls.Go(func() { in.awaitSidecar(life, up) })
		},
		Exited: func(exit process.Exit, _ time.Duration) {
			stop()
			polls.Wait()
			up.put(listening{why: exit.String()})
		},
	}
	return keeper.Run(ctx)
}

// awaitSidecar waits until the sidecar says that it listens.
func (in *instance) awaitSidecar(ctx context.Context, up latest[listening]) {
	url := fmt.Sprintf("http://%s/ready", netip.AddrPortFrom(in.home.public, adminPort))
	for {
		err := within(ctx, sidecarPoll*20, func(ctx context.Context) error { return in.machine.get(ctx, url) })
		if err == nil {
			up.put(listening{up: true})
			return
		}
		if !pause(ctx, sidecarPoll) {
			return
		}
	}
}
