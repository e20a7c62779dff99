package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

// agentFlags are what a command line says of an agent. Each goes before what its file says.
type agentFlags struct {
	file string
	said config.Agent
	logs logFlags

	ports, labels, inbound []string
	hold                   []string
	probe, preStop         string
	probed                 fleet.Check
	life                   lifecycleFlags
	bind                   netip.Addr
	place                  localityFlag
}

// lifecycleFlags go before what any Lifecycle says.
type lifecycleFlags struct {
	delay, warmup time.Duration
	weight        string
	curve         string
	aggression    float64
	minimum       float64
	requests      string
	ready         string
	leave         fleet.Leave
}

func (f *agentFlags) add(flags *pflag.FlagSet) {
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVarP(&f.file, "config", "c", "", "file with an object of kind Agent; flags go before it")
	f.addInstance(flags)
	f.addApplication(flags)
	f.addDoors(flags)
	f.life.add(flags)
	f.logs.add(flags)
}

func (f *agentFlags) addInstance(flags *pflag.FlagSet) {
	a := &f.said
	flags.StringVar(&a.Service, "service", "", "the service that the instance belongs to: its label app, unless a label says otherwise")
	flags.StringVar(&a.Namespace, "namespace", "", "of the instance (default default)")
	flags.StringVar(&a.Name, "name", "", "of the instance, for people (default: its service and the beginning of its incarnation)")
	flags.StringVar(&a.Incarnation, "incarnation", "", "id of this run, never used before (default: a random one)")
	flags.TextVar(&a.Address, "address", netip.Addr{}, "IP address at which others reach the instance (default: $POD_IP, else that by which this machine reaches the registry)")
	flags.StringArrayVar(&f.ports, "port", nil, "port at which they do, as 9080 or http=9080; may be repeated, the first one comes first")
	flags.StringArrayVar(&f.labels, "label", nil, "label of the instance, as NAME=VALUE; may be repeated")
	flags.Uint32Var(&a.Weight, "weight", 1, "full weight of the instance")
	flags.Var(&f.place, "locality", "where the instance is: REGION[/ZONE[/SUBZONE]]")
	flags.StringVar(&a.Workload, "workload", "", "the Deployment that the instance belongs to")
	flags.StringVar(&a.Revision, "revision", "", "of that Deployment's template")
}

func (f *agentFlags) addApplication(flags *pflag.FlagSet) {
	a := &f.said
	flags.TextVar(&f.bind, "bind", netip.Addr{}, "IP address at which the application listens (default: 127.0.0.1 behind --inbound PORT, else --address)")
	flags.StringVar(&f.probe, "probe", "", "what says that the application can serve: http://[:PORT]/PATH, https://…, grpc://[:PORT][/SERVICE], tcp://[:PORT] or exec:COMMAND (default: that it takes connections)")
	flags.DurationVar(&f.probed.Interval, "probe-interval", time.Second, "between probes")
	flags.DurationVar(&f.probed.Timeout, "probe-timeout", time.Second, "of one probe")
	flags.DurationVar(&f.probed.InitialDelay, "probe-delay", 0, "before the first probe")
	flags.IntVar(&f.probed.Healthy, "probe-healthy", 1, "passes in a row after which the application can serve")
	flags.IntVar(&f.probed.Unhealthy, "probe-unhealthy", 3, "failures in a row after which it cannot any more")
	flags.DurationVar(&a.StartTimeout, "start-timeout", 0, "in which the probe must pass once, or the application is stopped; 0 is as long as it takes")
	flags.StringVar(&f.preStop, "pre-stop", "", "what is done before SIGTERM, when it is safe to stop: exec:COMMAND, http://[:PORT]/PATH or sleep:DURATION")
	flags.DurationVar(&a.Grace, "grace", 0, "what --pre-stop and SIGTERM have together until SIGKILL (default 30s)")
	flags.StringArrayVar(&f.inbound, "inbound", nil, "stand in front of the application: PORT (of --address, passed on to 127.0.0.1:PORT) or LISTEN=APP, both as address:port; may be repeated. Port 15021 is for checks")
	flags.StringVar(&a.Admin, "admin", "", "address of the admin API of what stands in front (default 127.0.0.1:15000)")
}

func (f *agentFlags) addDoors(flags *pflag.FlagSet) {
	a := &f.said
	flags.StringVar(&a.Readiness, "readiness-address", defaultReadiness, `where GET /readiness, /health and /liveness are answered; "" is nowhere`)
	flags.StringVar(&a.Offline, "offline", defaultOffline, `loopback address of /offline, which has the instance leave and answers when it is safe to stop; "" is none`)
	flags.StringVar(&a.OfflineToken, "offline-token-file", "", "file with the token that who asks for /offline must show, as Authorization: Bearer TOKEN")
	flags.StringVar(&a.Registry, "registry", "", "where the instance is registered: "+registryHelp+", or control, which --feed leads to (default with --feed: control; otherwise nowhere)")
	flags.StringArrayVar(&f.hold, "hold", nil, "hold back what the application registers by itself, at the registry that it is told: "+holdHelp+"; may be repeated")
	flags.StringVar(&a.Feed, "feed", "", "where control's feed is: "+feed.OpenHelp)
}

func (f *lifecycleFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.delay, "delay", 0, "from when the application can serve until it is registered")
	flags.StringVar(&f.weight, "registration-weight", fullWeight, "which weight registries have of it while its share grows, for consumers that know no warm-up: full, or ramp for its share of it")
	flags.DurationVar(&f.warmup, "warmup", 0, "window in which its share grows, in whoever sends to it; a DestinationRule's goes before it")
	flags.StringVar(&f.curve, "curve", "quadratic", "on which it grows: quadratic, linear or power")
	flags.Float64Var(&f.aggression, "aggression", 1, "of --curve power: share = progress^(1/aggression)")
	flags.Float64Var(&f.minimum, "minimum", 10, "share at the beginning, in percent")
	flags.StringVar(&f.requests, "warmup-requests", "", "file with an object of kind WarmupRequests: sent before the instance is registered")
	flags.StringVar(&f.ready, "readiness", string(fleet.ReadyRegistered), "when readiness is answered with 200: registered or warm")
	leave := fleet.DefaultLeave()
	flags.DurationVar(&f.leave.Quiet, "drain-quiet", leave.Quiet, "without a request from callers that hear nothing of a leave, before the instance stops")
	flags.DurationVar(&f.leave.Callers, "drain-callers", leave.Callers, "longest wait for such callers")
	flags.DurationVar(&f.leave.Timeout, "drain-timeout", leave.Timeout, "after which the instance stops, whatever is open; where neither a Lifecycle holds nor this is given, --grace")
}

// agent is what the flags and the file say together.
func (f *agentFlags) agent(flags *pflag.FlagSet) (config.Agent, []config.Finding, error) {
	var a config.Agent
	var findings []config.Finding
	if f.file != "" {
		var read *config.Agent
		if read, findings = config.LoadAgent(f.file); read == nil {
			return a, findings, exitError{2, fmt.Errorf("%s: no agent was started; mend the errors above", f.file)}
		}
		a = *read
	}
	if err := f.over(flags, &a); err != nil {
		return a, findings, exitError{2, err}
	}
	return a, findings, nil
}

// over puts what flags say in the place of what the file says.
func (f *agentFlags) over(flags *pflag.FlagSet, a *config.Agent) error {
	said := &f.said
	for name, set := range map[string]func(){
		"service": func() { a.Service = said.Service }, "namespace": func() { a.Namespace = said.Namespace }, "name": func() { a.Name = said.Name },
		"incarnation": func() { a.Incarnation = said.Incarnation }, "address": func() { a.Address = said.Address },
		"weight": func() { a.Weight = said.Weight }, "locality": func() { a.Locality = f.place.Locality },
		"workload": func() { a.Workload = said.Workload }, "revision": func() { a.Revision = said.Revision },
		"start-timeout": func() { a.StartTimeout = said.StartTimeout }, "grace": func() { a.Grace = said.Grace },
		"inbound": func() { a.Inbound = f.inbound }, "admin": func() { a.Admin = said.Admin },
		"readiness-address": func() { a.Readiness = said.Readiness }, "offline": func() { a.Offline = said.Offline },
		"offline-token-file": func() { a.OfflineToken = said.OfflineToken }, "registry": func() { a.Registry = said.Registry }, "hold": func() { a.Hold = f.hold },
		"feed": func() { a.Feed = said.Feed },
	} {
		if flags.Changed(name) {
			set()
		}
	}
	if a.Readiness == "" && !flags.Changed("readiness-address") {
		a.Readiness = defaultReadiness
	}
	if a.Offline == "" && !flags.Changed("offline") {
		a.Offline = defaultOffline
	}
	if err := errors.Join(f.overPorts(a), f.overLabels(a), f.overProbe(flags, a), f.overPreStop(a)); err != nil {
		return err
	}
	return f.check(flags, a)
}

func (f *agentFlags) overPorts(a *config.Agent) error {
	var ports []fleet.ContainerPort
	for _, text := range f.ports {
		name, number, named := strings.Cut(text, "=")
		if !named {
			name, number = "", text
		}
		n, err := parsePort(number)
		if err != nil {
			return fmt.Errorf("--port %s: want PORT or NAME=PORT, from 1 to 65535", text)
		}
		ports = append(ports, fleet.ContainerPort{Name: name, Number: n})
	}
	if ports != nil {
		a.Ports = ports
	}
	return nil
}

func parsePort(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

func (f *agentFlags) overLabels(a *config.Agent) error {
	for _, text := range f.labels {
		name, value, err := config.ParseLabel(text)
		if err != nil {
			return fmt.Errorf("--label %s: %w", text, err)
		}
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[name] = value
	}
	return nil
}

func (f *agentFlags) overProbe(flags *pflag.FlagSet, a *config.Agent) error {
	if f.probe != "" {
		p, err := parseProbe(f.probe)
		if err != nil {
			return fmt.Errorf("--probe %s: %w", f.probe, err)
		}
		p.Interval, p.Timeout, p.Healthy, p.Unhealthy = time.Second, time.Second, 1, 3
		a.Probe = p
	}
	timed := slices.ContainsFunc([]string{"probe-interval", "probe-timeout", "probe-delay", "probe-healthy", "probe-unhealthy"}, flags.Changed)
	if !timed {
		return nil
	}
	if a.Probe == nil {
		return errors.New("--probe-interval and its like are of a probe: say --probe, too")
	}
	for name, set := range map[string]func(p *fleet.Probe){
		"probe-interval": func(p *fleet.Probe) { p.Interval = f.probed.Interval }, "probe-timeout": func(p *fleet.Probe) { p.Timeout = f.probed.Timeout },
		"probe-delay":   func(p *fleet.Probe) { p.InitialDelay = f.probed.InitialDelay },
		"probe-healthy": func(p *fleet.Probe) { p.Healthy = f.probed.Healthy }, "probe-unhealthy": func(p *fleet.Probe) { p.Unhealthy = f.probed.Unhealthy },
	} {
		if flags.Changed(name) {
			set(a.Probe)
		}
	}
	return nil
}

func (f *agentFlags) overPreStop(a *config.Agent) error {
	if f.preStop == "" {
		return nil
	}
	if text, is := strings.CutPrefix(f.preStop, "sleep:"); is {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("--pre-stop %s: want a duration, as sleep:5s", f.preStop)
		}
		a.PreStop = &fleet.PreStop{Sleep: d}
		return nil
	}
	p, err := parseProbe(f.preStop)
	if err != nil || p.HTTPS || len(p.Exec) == 0 && p.Path == "" {
		return fmt.Errorf("--pre-stop %s: want exec:COMMAND, http://[:PORT]/PATH or sleep:DURATION", f.preStop)
	}
	a.PreStop = &fleet.PreStop{Exec: p.Exec, Path: p.Path, Port: p.Port}
	return nil
}

var errProbe = errors.New("want http://[:PORT]/PATH, https://[:PORT]/PATH, grpc://[:PORT][/SERVICE], tcp://[:PORT] or exec:COMMAND")

// parseProbe reads a probe as flags have it.
func parseProbe(text string) (*fleet.Probe, error) {
	if command, is := strings.CutPrefix(text, "exec:"); is {
		words := strings.Fields(command)
		if len(words) == 0 {
			return nil, errProbe
		}
		return &fleet.Probe{Exec: words}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() != "" || u.User != nil || u.Fragment != "" {
		return nil, errProbe // it is asked where it listens, and nowhere else
	}
	p := &fleet.Probe{}
	if u.Port() != "" {
		if p.Port, err = parsePort(u.Port()); err != nil {
			return nil, errProbe
		}
	}
	switch u.Scheme {
	case "http", "https":
		p.Path, p.HTTPS = u.RequestURI(), u.Scheme == "https"
	case "grpc":
		p.GRPC, p.Service = true, strings.TrimPrefix(u.Path, "/")
	case "tcp":
		if u.Path != "" {
			return nil, errProbe
		}
	default:
		return nil, errProbe
	}
	return p, nil
}
