package local

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// The ports of an agent, on its replica's public address, beside those of the application.
const (
	adminPort     = 15000 // where it answers about what passed through it
	healthPort    = 15021 // where it passes checks on to the application, so that looking at a replica is not counted as using it
	readinessPort = 55199
	offlinePort   = 54199
)

// inbound returns the ports of the application that others may want to reach: those that it names.
func inbound(w *fleet.Workload) []uint16 {
	var ports []uint16
	for _, p := range w.Ports {
		ports = append(ports, uint16(p.Number))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// spec writes down what the agent of the next life is told, and returns how it is started.
func (in *instance) spec() (process.Spec, error) {
	told := environment(in.workload, in.name, in.home, in.mesh)
	values := valuesOf(told)
	spec := process.Spec{
		Name: in.name, Path: in.agents.Self, Dir: in.workload.Dir, Env: slices.Clone(in.inherited), Stdout: in.output, Stderr: in.output,
	}
	for _, v := range told {
		spec.Env = append(spec.Env, v.name+"="+v.value)
	}
	if len(in.workload.Command) == 0 {
		return process.Spec{}, fmt.Errorf("start %s: no command", in.name)
	}
	command, err := in.command(in.workload.Command, values)
	if err != nil {
		return process.Spec{}, err
	}
	document, err := in.told(values).Document()
	if err != nil {
		return process.Spec{}, err
	}
	if err := in.machine.write(in.file(), document); err != nil {
		return process.Spec{}, fmt.Errorf("tell the agent of %s: %w", in.name, err)
	}
	spec.Args = append([]string{
		"agent", "--config", in.file(), "--bind", in.home.private.String(), "--start-timeout", "0s", "--log-level", "error", "--",
	}, command...)
	return spec, nil
}

// file is where the agent reads what it is told.
func (in *instance) file() string {
	return filepath.Join(in.agents.Dir, in.name+"-"+in.uid+".yaml")
}

// command is a command of the workload's as it is run: the program by its path, and no variable left in it. Where the
// program cannot be found it stays as it is written, beside the error.
func (in *instance) command(command []string, values map[string]string) ([]string, error) {
	run := make([]string, len(command))
	for i, arg := range command {
		run[i] = expand(arg, values)
	}
	path, err := find(run[0], in.workload.Dir, in.pathDirs)
	if err == nil {
		run[0] = path
	}
	return run, err
}

// hook is a command that is run later, if ever: that it cannot be found is told then.
func (in *instance) hook(command []string, values map[string]string) []string {
	run, _ := in.command(command, values)
	return run
}

// told is what the agent of this life is told.
func (in *instance) told(values map[string]string) *config.Agent {
	w := in.workload
	place, _ := fleet.LocalityOf(w.Labels) // what is no place, configuration has refused
	a := &config.Agent{
		Service:     in.service,
		Name:        in.name,
		Namespace:   w.Namespace,
		Incarnation: in.now.incarnation,
		Address:     in.home.public,
		Ports:       w.Ports,
		Labels:      w.Labels,
		Weight:      1,
		Locality:    place,
		Workload:    w.Name,
		Revision:    w.Revision,
		Probe:       in.probe(values),
		PreStop:     in.preStop(values),
		Grace:       max(w.Grace, time.Millisecond), // one without a grace period is killed at once, or nearly
		Readiness:   in.door(readinessPort),
		Offline:     in.door(offlinePort),
		Registry:    in.agents.Registry,
		Feed:        in.agents.Feed,
	}
	for _, port := range inbound(w) {
		a.Inbound = append(a.Inbound, in.pass(port, port))
	}
	if len(a.Inbound) > 0 {
		a.Admin = in.door(adminPort)
	}
	if p := a.Probe; p != nil && (p.Path != "" || p.GRPC) {
		a.Inbound = append(a.Inbound, in.pass(healthPort, uint16(p.Port))) //nolint:gosec // a port
	}
	return a
}

// door is a port of the public address.
func (in *instance) door(port uint16) string {
	return netip.AddrPortFrom(in.home.public, port).String()
}

// pass says that a port of the public address leads to one of the private address.
func (in *instance) pass(public, private uint16) string {
	return fmt.Sprintf("%v=%v", netip.AddrPortFrom(in.home.public, public), netip.AddrPortFrom(in.home.private, private))
}

// probe is the workload's readiness probe, with Kubernetes' defaults in place of what is not set.
func (in *instance) probe(values map[string]string) *fleet.Probe {
	if in.workload.Readiness == nil {
		return nil
	}
	p := *in.workload.Readiness
	p.InitialDelay = max(p.InitialDelay, 0)
	p.Interval, p.Timeout = cmp.Or(max(p.Interval, 0), 10*time.Second), cmp.Or(max(p.Timeout, 0), time.Second)
	p.Healthy, p.Unhealthy = cmp.Or(max(p.Healthy, 0), 1), cmp.Or(max(p.Unhealthy, 0), 3)
	p.Port = uint32(in.port(p.Port))
	if len(p.Exec) > 0 {
		p.Exec = in.hook(p.Exec, values)
	}
	if p.Path != "" {
		p.Path = rooted(p.Path)
	}
	return &p
}

func (in *instance) preStop(values map[string]string) *fleet.PreStop {
	if in.workload.PreStop == nil {
		return nil
	}
	p := *in.workload.PreStop
	switch {
	case len(p.Exec) > 0:
		p.Exec = in.hook(p.Exec, values)
	case p.Path != "":
		p.Path, p.Port = rooted(p.Path), uint32(in.port(p.Port))
	}
	return &p
}

// port returns the port that a check names, the first that the application listens on for 0.
func (in *instance) port(number uint32) uint16 {
	if number == 0 && len(in.workload.Ports) > 0 {
		number = in.workload.Ports[0].Number
	}
	return uint16(number)
}

func rooted(path string) string { return "/" + strings.TrimPrefix(path, "/") }
