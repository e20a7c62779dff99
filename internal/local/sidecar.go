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

// healthPort is where the sidecar passes checks on to the application, as Istio's does: apart from the ports of
// the service, so that looking at a replica is not counted as using it.
const healthPort = 15021

// inbound returns the ports of the application that others may want to reach: those that it names.
func inbound(w *fleet.Workload) []uint16 {
	var ports []uint16
	for _, p := range w.Ports {
		ports = append(ports, uint16(p.Number))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// checkOf returns how control and gateways can see from outside that a replica serves: as its readiness probe
// does, through the sidecar's health port where there is a sidecar. What cannot be seen from there, an initial
// delay and the outcome of a command, is for us to decide: see fleet.Instance.Ready.
func checkOf(w *fleet.Workload, self string) *fleet.Check {
	if w.Readiness == nil || len(w.Readiness.Exec) > 0 {
		return nil
	}
	check := rules(*w.Readiness).Check
	check.InitialDelay = 0
	switch {
	case self == "":
	case passedOn(&check):
		check.Port = healthPort
	default:
		check.Port = 0 // any port of the sidecar tells as much as another
	}
	return &check
}

// passedOn says whether a check is one that the application itself must answer, and not only its sidecar.
func passedOn(c *fleet.Check) bool { return c.Path != "" || c.GRPC }

// sidecar returns the command line of the replica's sidecar.
func (in *instance) sidecar() process.Spec {
	args := []string{"gateway"}
	pass := func(public, private uint16) {
		args = append(args, "--inbound", fmt.Sprintf("%s=%s",
			netip.AddrPortFrom(in.home.public, public), netip.AddrPortFrom(in.home.private, private)))
	}
	for _, port := range inbound(in.workload) {
		pass(port, port)
	}
	if check := checkOf(in.workload, ""); check != nil && passedOn(check) {
		if check.Port == 0 && len(in.workload.Ports) > 0 {
			check.Port = in.workload.Ports[0].Number
		}
		pass(healthPort, uint16(check.Port))
	}
	args = append(args,
		"--admin", netip.AddrPortFrom(in.home.public, adminPort).String(),
		"--id", "sidecar/"+in.name,
		"--log-level", "error")
	args = append(args, leaveSoon()...)
	return process.Spec{Name: "sidecar/" + in.name, Path: in.self, Args: args, Env: in.inherited, Stdout: in.output, Stderr: in.output}
}

// leaveSoon are the flags of a sidecar that is told to leave when its application has gone, and nobody sends there any
// more: within sidecarGrace.
func leaveSoon() []string {
	return []string{"--drain", "2s", "--drain-long", "2s", "--drain-quiet", "1s", "--drain-spread", "0s"}
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
