package local

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	document, err := in.document(values)
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
func (in *instance) hook(command []string, values map[string]string) *agentExec {
	run, _ := in.command(command, values)
	return &agentExec{run}
}

// The types below are an object of kind Agent as far as replicas need it; what its fields mean says the guide.
type (
	agentObject struct {
		APIVersion string    `json:"apiVersion"`
		Kind       string    `json:"kind"`
		Metadata   agentName `json:"metadata"`
		Spec       agentSpec `json:"spec"`
	}
	agentName struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	agentSpec struct {
		Service     string            `json:"service"`
		Name        string            `json:"name"`
		Incarnation string            `json:"incarnation"`
		Address     netip.Addr        `json:"address"`
		Ports       []agentPort       `json:"ports,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Locality    string            `json:"locality,omitempty"`
		Workload    string            `json:"workload"`
		Revision    string            `json:"revision"`
		Probe       *agentProbe       `json:"probe,omitempty"`
		PreStop     *agentPreStop     `json:"preStop,omitempty"`
		Grace       string            `json:"grace"`
		Inbound     []string          `json:"inbound,omitempty"`
		Admin       string            `json:"admin,omitempty"`
		Readiness   netip.AddrPort    `json:"readiness"`
		Offline     netip.AddrPort    `json:"offline"`
		Registry    string            `json:"registry,omitempty"`
		Feed        string            `json:"feed,omitempty"`
	}
	agentPort struct {
		Name   string `json:"name,omitempty"`
		Number uint32 `json:"number"`
	}
	agentProbe struct {
		HTTP         *agentGet    `json:"http,omitempty"`
		GRPC         *agentHealth `json:"grpc,omitempty"`
		TCP          *agentDial   `json:"tcp,omitempty"`
		Exec         *agentExec   `json:"exec,omitempty"`
		InitialDelay string       `json:"initialDelay,omitempty"`
		Interval     string       `json:"interval,omitempty"`
		Timeout      string       `json:"timeout,omitempty"`
		Healthy      int          `json:"healthy,omitempty"`
		Unhealthy    int          `json:"unhealthy,omitempty"`
	}
	agentGet struct {
		Path   string `json:"path"`
		Port   uint32 `json:"port,omitempty"`
		Scheme string `json:"scheme,omitempty"`
	}
	agentHealth struct {
		Port    uint32 `json:"port,omitempty"`
		Service string `json:"service,omitempty"`
	}
	agentDial struct {
		Port uint32 `json:"port,omitempty"`
	}
	agentExec struct {
		Command []string `json:"command"`
	}
	agentPreStop struct {
		Exec  *agentExec `json:"exec,omitempty"`
		HTTP  *agentGet  `json:"http,omitempty"`
		Sleep string     `json:"sleep,omitempty"`
	}
)

// document is what the agent of this life is told, as configuration reads it: JSON is YAML too.
func (in *instance) document(values map[string]string) ([]byte, error) {
	w := in.workload
	place, _ := fleet.LocalityOf(w.Labels) // what is no place, configuration has refused
	spec := agentSpec{
		Service:     in.service,
		Name:        in.name,
		Incarnation: in.now.incarnation,
		Address:     in.home.public,
		Labels:      w.Labels,
		Locality:    place.String(),
		Workload:    w.Name,
		Revision:    w.Revision,
		Grace:       max(w.Grace, time.Millisecond).String(), // one without a grace period is killed at once, or nearly
		Readiness:   netip.AddrPortFrom(in.home.public, readinessPort),
		Offline:     netip.AddrPortFrom(in.home.public, offlinePort),
		Registry:    in.agents.Registry,
		Feed:        in.agents.Feed,
	}
	for _, p := range w.Ports {
		spec.Ports = append(spec.Ports, agentPort{p.Name, p.Number})
	}
	for _, port := range inbound(w) {
		spec.Inbound = append(spec.Inbound, in.pass(port, port))
	}
	if len(spec.Inbound) > 0 {
		spec.Admin = netip.AddrPortFrom(in.home.public, adminPort).String()
	}
	spec.Probe, spec.PreStop = in.probe(values), in.preStop(values)
	if p := spec.Probe; p != nil && p.HTTP != nil {
		spec.Inbound = append(spec.Inbound, in.pass(healthPort, in.port(p.HTTP.Port)))
	} else if p != nil && p.GRPC != nil {
		spec.Inbound = append(spec.Inbound, in.pass(healthPort, in.port(p.GRPC.Port)))
	}
	return json.Marshal(agentObject{"crossfade.dev/v1alpha1", "Agent", agentName{in.name, w.Namespace}, spec})
}

// pass says that a port of the public address leads to one of the private address.
func (in *instance) pass(public, private uint16) string {
	return fmt.Sprintf("%v=%v", netip.AddrPortFrom(in.home.public, public), netip.AddrPortFrom(in.home.private, private))
}

// probe is the workload's readiness probe, with Kubernetes' defaults in place of what is not set.
func (in *instance) probe(values map[string]string) *agentProbe {
	p := in.workload.Readiness
	if p == nil {
		return nil
	}
	out := &agentProbe{
		Interval: orDefault(p.Interval, 10*time.Second), Timeout: orDefault(p.Timeout, time.Second),
		Healthy: p.Healthy, Unhealthy: p.Unhealthy,
	}
	if out.Healthy <= 0 {
		out.Healthy = 1
	}
	if out.Unhealthy <= 0 {
		out.Unhealthy = 3
	}
	if p.InitialDelay > 0 {
		out.InitialDelay = p.InitialDelay.String()
	}
	port := uint32(in.port(p.Port))
	switch {
	case len(p.Exec) > 0:
		out.Exec = in.hook(p.Exec, values)
	case p.Path != "":
		out.HTTP = &agentGet{Path: rooted(p.Path), Port: port}
		if p.HTTPS {
			out.HTTP.Scheme = "HTTPS"
		}
	case p.GRPC:
		out.GRPC = &agentHealth{port, p.Service}
	default:
		out.TCP = &agentDial{port}
	}
	return out
}

func (in *instance) preStop(values map[string]string) *agentPreStop {
	hook := in.workload.PreStop
	switch {
	case hook == nil:
		return nil
	case len(hook.Exec) > 0:
		return &agentPreStop{Exec: in.hook(hook.Exec, values)}
	case hook.Path != "":
		return &agentPreStop{HTTP: &agentGet{Path: rooted(hook.Path), Port: uint32(in.port(hook.Port))}}
	default:
		return &agentPreStop{Sleep: hook.Sleep.String()}
	}
}

// port returns the port that a check names, the first that the application listens on for 0.
func (in *instance) port(number uint32) uint16 {
	if number == 0 && len(in.workload.Ports) > 0 {
		number = in.workload.Ports[0].Number
	}
	return uint16(number)
}

func orDefault(d, usual time.Duration) string {
	if d <= 0 {
		d = usual
	}
	return d.String()
}

func rooted(path string) string { return "/" + strings.TrimPrefix(path, "/") }
