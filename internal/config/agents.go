package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
)

// How an agent probes its application where nobody says otherwise.
const (
	defaultProbeInterval  = time.Second
	defaultProbeTimeout   = time.Second
	defaultProbeHealthy   = 1
	defaultProbeUnhealthy = 3
	maxProbes             = 1000
)

// agent reads an Agent.
func (b *builder) agent(o *object, s *agentSpec) *Agent {
	a := &Agent{
		Service:     cmp.Or(s.Service, o.meta.Name),
		Namespace:   o.meta.Namespace,
		Name:        s.Name,
		Incarnation: s.Incarnation,
		Ports:       b.agentPorts(o, s),
		Labels:      s.Labels,
		Locality:    localityOf(s.Locality, s.Labels),
		Workload:    s.Workload,
		Revision:    s.Revision,
		Grace:       b.bounded(o, "spec.grace", time.Duration(s.Grace)),
		Registry:    s.Registry,
		Hold:        s.Hold,
		Feed:        s.Feed,
		Command:     s.Command,
		Origin:      o.origin(""),
	}
	if s.Service != "" && !isLabel(s.Service) {
		b.report(o, Invalid, "spec.service", `%q is no name of a service: the bare name of one in namespace %s`, clip(s.Service), a.Namespace)
	}
	b.checkIdentity(o, s)
	if s.Address != "" {
		a.Address, _ = b.ip(o, "spec.address", s.Address)
	}
	if a.Weight = 1; s.Weight != nil {
		a.Weight = *s.Weight
	}
	b.checkInstance(o, "spec", s.Locality, s.Labels)
	b.checkMatchLabels(o, "spec.labels", s.Labels)
	if s.Probe != nil {
		a.Probe, a.StartTimeout = b.agentProbe(o, "spec.probe", s.Probe)
	}
	if s.PreStop != nil {
		a.PreStop = b.agentPreStop(o, "spec.preStop", s.PreStop)
	}
	b.agentDoors(o, s, a)
	if s.Lifecycle != nil {
		l := b.settledLifecycle(o, "spec.lifecycle", s.Lifecycle)
		l.Name, l.Namespace, l.Origin = o.meta.Name, o.meta.Namespace, o.origin("spec.lifecycle")
		a.Lifecycle = &l
	}
	return a
}

// checkIdentity checks what an instance is called.
func (b *builder) checkIdentity(o *object, s *agentSpec) {
	for field, text := range map[string]string{"spec.name": s.Name, "spec.workload": s.Workload} {
		if text != "" && !isName(text) {
			b.report(o, Invalid, field, `%q is not a name: lower-case letters, digits, "-" and "." only, 253 at most`, clip(text))
		}
	}
	for field, text := range map[string]string{"spec.incarnation": s.Incarnation, "spec.revision": s.Revision} {
		if len(text) > 128 || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			b.report(o, Invalid, field, "%q is no id: letters, digits and signs of ASCII only, 128 at most", clip(text))
		}
	}
}

// agentPorts reads the ports that the application listens on.
func (b *builder) agentPorts(o *object, s *agentSpec) []fleet.ContainerPort {
	var list []fleet.ContainerPort
	for i, p := range s.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		if !b.checkPort(o, at+".number", int64(p.Number)) {
			continue
		}
		if p.Name != "" && !isPortName(p.Name) {
			b.report(o, Invalid, at+".name", `%q is no name of a port: letters, digits and "-" only, 62 at most`, clip(p.Name))
		}
		for _, other := range list {
			if other.Number == uint32(p.Number) {
				b.report(o, Conflict, at+".number", "port %d is there already; keep one", p.Number)
			}
			if p.Name != "" && other.Name == p.Name {
				b.report(o, Conflict, at+".name", "the name %q is there already; rename one", p.Name)
			}
		}
		list = append(list, fleet.ContainerPort{Name: p.Name, Number: uint32(p.Number)})
	}
	if s.Port != nil && b.checkPort(o, "spec.port", int64(*s.Port)) {
		list = append(list, fleet.ContainerPort{Number: uint32(*s.Port)})
		if len(s.Ports) > 0 {
			b.report(o, Conflict, "spec.port", "only one of port and ports may be set")
		}
	}
	return list
}

// agentProbe reads how an agent sees that its application can serve.
func (b *builder) agentProbe(o *object, path string, s *agentProbe) (*fleet.Probe, time.Duration) {
	p := &fleet.Probe{Check: fleet.Check{
		InitialDelay: b.bounded(o, path+".initialDelay", time.Duration(s.InitialDelay)),
		Interval:     b.bounded(o, path+".interval", cmp.Or(time.Duration(s.Interval), defaultProbeInterval)),
		Timeout:      b.bounded(o, path+".timeout", cmp.Or(time.Duration(s.Timeout), defaultProbeTimeout)),
		Healthy:      b.count(o, path+".healthy", s.Healthy, maxProbes, defaultProbeHealthy),
		Unhealthy:    b.count(o, path+".unhealthy", s.Unhealthy, maxProbes, defaultProbeUnhealthy),
	}}
	switch {
	case s.HTTP != nil:
		p.Path, p.Port = b.agentGet(o, path+".http", s.HTTP)
		p.HTTPS = s.HTTP.Scheme == overTLS
	case s.GRPC != nil:
		p.GRPC, p.Service, p.Port = true, s.GRPC.Service, b.optionalPort(o, path+".grpc.port", s.GRPC.Port)
	case s.TCP != nil:
		p.Port = b.optionalPort(o, path+".tcp.port", s.TCP.Port)
	case s.Exec != nil:
		p.Exec = s.Exec.Command
		b.command(o, path+".exec.command", p.Exec)
	}
	b.oneOf(o, path, "http", "grpc", "tcp", "exec")
	return p, b.bounded(o, path+".startTimeout", time.Duration(s.StartTimeout))
}

func (b *builder) agentGet(o *object, path string, s *agentGet) (string, uint32) {
	if s.Path != "" && s.Path[0] != '/' {
		b.report(o, Invalid, path+".path", `%q is no path; write it as in "/ready"`, clip(s.Path))
	}
	return cmp.Or(s.Path, "/"), b.optionalPort(o, path+".port", s.Port)
}

// optionalPort reads a port; 0, the application's first, is one that is not given.
func (b *builder) optionalPort(o *object, path string, n *int32) uint32 {
	if n == nil || !b.checkPort(o, path, int64(*n)) {
		return 0
	}
	return uint32(*n)
}

// agentPreStop reads what happens before the application is told to stop.
func (b *builder) agentPreStop(o *object, path string, s *agentPreStop) *fleet.PreStop {
	p := &fleet.PreStop{Sleep: b.bounded(o, path+".sleep", time.Duration(s.Sleep))}
	if s.Exec != nil {
		p.Exec = s.Exec.Command
		b.command(o, path+".exec.command", p.Exec)
	}
	if s.HTTP != nil {
		p.Path, p.Port = b.agentGet(o, path+".http", s.HTTP)
	}
	b.oneOf(o, path, "exec", "http", "sleep")
	return p
}

// agentDoors reads where an agent listens, and whom it speaks to.
func (b *builder) agentDoors(o *object, s *agentSpec, a *Agent) {
	for i, text := range s.Inbound {
		b.checkInbound(o, fmt.Sprintf("spec.inbound[%d]", i), text)
	}
	a.Inbound, a.Admin, a.Readiness, a.Offline = s.Inbound, s.Admin, s.Readiness, s.Offline
	for field, text := range map[string]string{"spec.admin": s.Admin, "spec.readiness": s.Readiness, "spec.offline": s.Offline} {
		if text != "" && !isListen(text) {
			b.report(o, Invalid, field, `%q is nothing to listen on; write address:port, or :port for every address`, clip(text))
		}
	}
	if at, err := netip.ParseAddrPort(s.Offline); s.Offline != "" && isListen(s.Offline) && (err != nil || !at.Addr().IsLoopback()) {
		b.report(o, Invalid, "spec.offline", "%s is not on loopback only, and whoever reaches it takes the instance out of service; write it as in 127.0.0.1:54199", s.Offline)
	}
	if s.OfflineToken != "" {
		a.OfflineToken = besides(o.file, s.OfflineToken)
	}
	if s.Registry != "" && s.Registry != "control" && !strings.Contains(s.Registry, "://") {
		b.report(o, Invalid, "spec.registry", `%q is no registry; write control, file://DIR or a URL as in etcd://ADDRESS:PORT`, clip(s.Registry))
	}
	for i, text := range s.Hold {
		if _, err := hold.ParseURL(text); err != nil {
			b.report(o, Invalid, fmt.Sprintf("spec.hold[%d]", i), "%q: %v", clip(registry.ShownURL(text)), err)
		}
	}
}

// checkInbound checks what an agent listens on in front of its application.
func (b *builder) checkInbound(o *object, path, text string) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
		return
	}
	listen, app, _ := strings.Cut(text, "=")
	_, err := netip.ParseAddrPort(listen)
	_, err2 := netip.ParseAddrPort(app)
	if err != nil || err2 != nil {
		b.report(o, Invalid, path, `%q is neither a port nor LISTEN=APP, both as address:port`, clip(text))
	}
}

// isListen says whether s is somewhere to listen: a port at an address, or at every one.
func isListen(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, err2 := strconv.ParseUint(port, 10, 16)
	_, err3 := netip.ParseAddr(host)
	return err == nil && err2 == nil && n > 0 && (host == "" || err3 == nil)
}

// LoadAgent reads the one Agent of a file, with the files beside it that it names. The Agent is nil if any finding is
// an error. Findings come in the order of files and lines.
func LoadAgent(path string) (*Agent, []Finding) {
	b, objects := begin(path)
	broken := HasErrors(b.findings)
	b.addRequestFiles(objects)
	var first *object
	var out *Agent
	for _, o := range objects {
		body, is := o.body.(*agent)
		switch {
		case is && first == nil:
			first = o
			b.checkAnnotations(o)
			b.checkOwnLabels(o)
			out = b.agent(o, &body.Spec)
		case is:
			b.report(o, Conflict, "metadata.name", "%s at %s is there already; an agent is told one", first.id(), first.where())
		case o.kind != requestsKind:
			b.report(o, Unsupported, "kind", "does not belong into the file of an agent; it holds one Agent, and WarmupRequests")
		}
	}
	if first == nil && !broken {
		b.findings = append(b.findings, Finding{File: path, Rule: Missing, Message: "there is no object of kind Agent here"})
	}
	b.checkRequestFiles()
	findings := tidy(b.findings)
	if HasErrors(findings) {
		return nil, findings
	}
	return out, findings
}

// begin reads a file for itself, and the files beside it that it names. What is wrong so far the builder has.
func begin(path string) (*builder, []*object) {
	l := newLoader(Options{})
	l.look(path)
	b := newBuilder(l.options)
	b.absent, b.findings = l.absent, slices.Clone(l.findings)
	var objects []*object
	for _, f := range l.files {
		b.findings = append(b.findings, f.findings...)
		objects = append(objects, f.objects...)
	}
	return b, objects
}

// ParseLifecycles reads Lifecycles as they are kept in a store, each document one; name is what findings call the text.
// They come sorted by namespace and name, and are nil if any finding is an error.
func ParseLifecycles(name string, text []byte) ([]fleet.Lifecycle, []Finding) {
	l := newLoader(Options{})
	f := l.parse(File{Name: name, Data: text})
	b := newBuilder(l.options)
	b.stored = true
	for _, o := range b.unique(f.objects) {
		body, ok := o.body.(*lifecycle)
		if !ok {
			b.report(o, Unsupported, "kind", "is not kept in a store; a Lifecycle is")
			continue
		}
		b.checkAnnotations(o)
		b.checkOwnLabels(o)
		b.addLifecycle(o, &body.Spec)
	}
	b.checkTwice()
	findings := tidy(append(slices.Clone(f.findings), b.findings...))
	if len(f.objects) == 0 && !HasErrors(findings) {
		findings = append(findings, Finding{File: name, Rule: Missing, Message: "there is no object of kind Lifecycle here"})
	}
	if HasErrors(findings) {
		return nil, findings
	}
	return b.lifecycles, findings
}

// namedFile is the file that an object names for its warm-up requests; "" where it names none.
func (o *object) namedFile() string {
	var s *warmupRequests
	switch body := o.body.(type) {
	case *lifecycle:
		s = body.Spec.WarmupRequests
	case *agent:
		if body.Spec.Lifecycle != nil {
			s = body.Spec.Lifecycle.WarmupRequests
		}
	}
	if s == nil || s.File == "" {
		return ""
	}
	return besides(o.file, s.File)
}

// LoadWarmupRequests reads the WarmupRequests of a file, which holds nothing else. The requests are nil if any finding is
// an error.
func LoadWarmupRequests(path string) ([]fleet.WarmupRequest, []Finding) {
	b, objects := begin(path)
	b.addRequestFiles(objects)
	for _, o := range objects {
		if o.kind != requestsKind {
			b.report(o, Unsupported, "kind", "does not belong into a file of requests; it holds WarmupRequests")
		}
	}
	var list []fleet.WarmupRequest
	for _, file := range slices.Sorted(maps.Keys(b.requests)) {
		list = append(list, b.requests[file].requests...)
	}
	if len(list) == 0 && !HasErrors(b.findings) {
		b.findings = append(b.findings, Finding{File: path, Rule: Missing, Message: "there is no object of kind " + requestsKind + " here"})
	}
	findings := tidy(b.findings)
	if HasErrors(findings) {
		return nil, findings
	}
	return list, findings
}
