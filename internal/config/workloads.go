package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"crossfade.dev/internal/fleet"
)

// What Kubernetes does where a Deployment does not say.
const (
	defaultReplicas = 1
	defaultGrace    = 30 * time.Second
	defaultDeadline = 10 * time.Minute // of progress
	defaultSurge    = "25%"
	defaultPeriod   = 10
	defaultTimeout  = 1
	defaultSuccess  = 1
	defaultFailure  = 3
)

const containers = "spec.template.spec.containers"

// addWorkload takes in a Deployment.
func (b *builder) addWorkload(o *object, d *apps.DeploymentSpec) {
	w := fleet.Workload{
		Name:      o.meta.Name,
		Namespace: o.meta.Namespace,
		Replicas:  defaultReplicas,
		Revision:  digest(d.Template),
		Labels:    d.Template.Labels,
		MinReady:  seconds(d.MinReadySeconds),
		Grace:     defaultGrace,
		Origin:    o.origin(""),
	}
	if d.Replicas != nil {
		w.Replicas = int(*d.Replicas)
		b.notNegative(o, "spec.replicas", int64(*d.Replicas))
		if w.Replicas > fleet.MaxReplicas {
			b.report(o, Invalid, "spec.replicas", "%d are too many; write %d or less", w.Replicas, fleet.MaxReplicas)
		}
	}
	b.notNegative(o, "spec.minReadySeconds", int64(d.MinReadySeconds))
	w.Deadline = defaultDeadline + w.MinReady
	if p := d.ProgressDeadlineSeconds; p != nil {
		w.Deadline = seconds(*p)
		if *p <= d.MinReadySeconds {
			b.report(o, Invalid, "spec.progressDeadlineSeconds", "is %d, it must be more than minReadySeconds, %d: a rollout stands still for so long by itself", *p, d.MinReadySeconds)
		}
	}
	if g := d.Template.Spec.TerminationGracePeriodSeconds; g != nil {
		w.Grace = seconds(*g)
		b.notNegative(o, "spec.template.spec.terminationGracePeriodSeconds", *g)
	}
	b.checkSelector(o, d)
	b.checkLabels(o, "spec.template.metadata.labels", w.Labels)
	b.strategy(o, d.Strategy, &w)
	switch list := d.Template.Spec.Containers; len(list) {
	case 0:
		b.report(o, Missing, containers, "is missing; a Deployment needs a container")
	case 1:
		b.container(o, containers+"[0]", &list[0], &w)
	default:
		b.report(o, Unsupported, containers+"[1]", "a second container is not supported yet; give it a Deployment of its own")
	}
	b.workloads, b.deployed = append(b.workloads, w), append(b.deployed, o)
}

func seconds[T int32 | int64](n T) time.Duration { return time.Duration(n) * time.Second }

func (b *builder) notNegative(o *object, path string, n int64) {
	const most = math.MaxInt32 // of seconds this is 68 years; a time.Duration holds 292
	if n < 0 || n > most {
		b.report(o, Invalid, path, "%d is out of range; it must be between 0 and %d", n, most)
	}
}

// checkSelector makes sure that a Deployment selects what its own template makes, as Kubernetes demands.
func (b *builder) checkSelector(o *object, d *apps.DeploymentSpec) {
	const path = "spec.selector.matchLabels"
	var want map[string]string
	if d.Selector != nil {
		want = d.Selector.MatchLabels
	}
	if len(want) == 0 {
		b.report(o, Missing, path, "is missing; repeat labels of spec.template.metadata.labels")
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if d.Template.Labels[name] != want[name] {
			b.report(o, Conflict, path+"["+name+"]", "spec.template.metadata.labels has no %s: %s; add it there", name, clip(want[name]))
		}
	}
}

func (b *builder) strategy(o *object, s apps.DeploymentStrategy, w *fleet.Workload) {
	w.MaxSurge, w.MaxUnavailable = defaultSurge, defaultSurge
	if s.Type == apps.RecreateDeploymentStrategyType {
		w.Recreate, w.MaxSurge, w.MaxUnavailable = true, "", ""
		if s.RollingUpdate != nil {
			b.report(o, Conflict, "spec.strategy.rollingUpdate", "has no meaning with type Recreate; remove it")
		}
		return
	}
	if s.RollingUpdate == nil {
		return
	}
	const path = "spec.strategy.rollingUpdate"
	w.MaxSurge = b.portion(o, path+".maxSurge", s.RollingUpdate.MaxSurge)
	w.MaxUnavailable = b.portion(o, path+".maxUnavailable", s.RollingUpdate.MaxUnavailable)
	if isZero(w.MaxSurge) && isZero(w.MaxUnavailable) {
		b.report(o, Invalid, path, "maxSurge and maxUnavailable are both 0: nothing could be replaced; raise one")
	}
}

func isZero(portion string) bool { return strings.TrimSuffix(portion, "%") == "0" }

// portion reads a number or a percentage of the replicas.
func (b *builder) portion(o *object, path string, v *intstr.IntOrString) string {
	if v == nil {
		return defaultSurge
	}
	text := v.String()
	digits := strings.TrimSuffix(text, "%")
	n, err := strconv.Atoi(digits)
	percent := digits != text
	if err != nil || n < 0 || v.Type == intstr.String && !percent || percent && strings.HasSuffix(path, ".maxUnavailable") && n > 100 {
		b.report(o, Invalid, path, `%s must be a number such as 1, or a percentage such as "25%%"`, strconv.Quote(clip(text)))
		return defaultSurge
	}
	return text
}

// container takes in the one container of a Deployment: the program to run.
func (b *builder) container(o *object, path string, c *core.Container, w *fleet.Workload) {
	if len(c.Command) == 0 {
		b.report(o, Missing, path+".command", "is missing; crossfade runs no images, say which program to start")
	}
	w.Command = slices.Concat(c.Command, c.Args)
	w.Dir = c.WorkingDir
	b.ports(o, path, c, w)
	b.environment(o, path, c, w)
	if c.ReadinessProbe != nil {
		w.Readiness = ofApplication(b.probe(o, path+".readinessProbe", c.ReadinessProbe, w))
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		w.PreStop = b.preStop(o, path+".lifecycle.preStop", c.Lifecycle.PreStop, w)
	}
}

func (b *builder) ports(o *object, path string, c *core.Container, w *fleet.Workload) {
	for i := range c.Ports {
		p := &c.Ports[i]
		at := fmt.Sprintf("%s.ports[%d]", path, i)
		if !b.checkPort(o, at+".containerPort", int64(p.ContainerPort)) {
			continue
		}
		for _, other := range w.Ports {
			if other.Number == uint32(p.ContainerPort) {
				b.report(o, Conflict, at+".containerPort", "port %d is there already; keep one", p.ContainerPort)
			}
			if p.Name != "" && other.Name == p.Name {
				b.report(o, Conflict, at+".name", "the name %q is there already; rename one", p.Name)
			}
		}
		w.Ports = append(w.Ports, fleet.ContainerPort{Name: p.Name, Number: uint32(p.ContainerPort)})
	}
}

func (b *builder) environment(o *object, path string, c *core.Container, w *fleet.Workload) {
	for i := range c.Env {
		e := &c.Env[i]
		at := fmt.Sprintf("%s.env[%d]", path, i)
		v := fleet.EnvVar{Name: e.Name, Value: e.Value}
		switch {
		case e.Name == "":
			b.report(o, Missing, at+".name", "is missing; name the variable")
		case strings.ContainsAny(e.Name, "=\x00"):
			b.report(o, Invalid, at+".name", `%q is no name for a variable`, clip(e.Name))
		}
		if from := e.ValueFrom; from != nil {
			if e.Value != "" {
				b.report(o, Conflict, at+".valueFrom", "only one of value and valueFrom may be set")
			}
			if from.FieldRef != nil {
				v.Field = from.FieldRef.FieldPath
			}
			if v.Field == "" {
				b.report(o, Missing, at+".valueFrom", "names no source; use fieldRef")
			}
		}
		w.Env = append(w.Env, v)
	}
}

// probe reads a readiness probe, with the defaults of Kubernetes.
func (b *builder) probe(o *object, path string, p *core.Probe, w *fleet.Workload) *fleet.Probe {
	out := &fleet.Probe{Check: fleet.Check{
		InitialDelay: seconds(p.InitialDelaySeconds),
		Interval:     seconds(cmp.Or(p.PeriodSeconds, defaultPeriod)),
		Timeout:      seconds(cmp.Or(p.TimeoutSeconds, defaultTimeout)),
		Healthy:      int(cmp.Or(p.SuccessThreshold, defaultSuccess)),
		Unhealthy:    int(cmp.Or(p.FailureThreshold, defaultFailure)),
	}}
	b.notNegative(o, path+".initialDelaySeconds", int64(p.InitialDelaySeconds))
	b.notNegative(o, path+".periodSeconds", int64(p.PeriodSeconds))
	b.notNegative(o, path+".timeoutSeconds", int64(p.TimeoutSeconds))
	b.notNegative(o, path+".successThreshold", int64(p.SuccessThreshold))
	b.notNegative(o, path+".failureThreshold", int64(p.FailureThreshold))
	if p.Exec != nil {
		out.Exec = p.Exec.Command
		b.command(o, path+".exec.command", out.Exec)
	}
	if p.HTTPGet != nil {
		out.Path = cmp.Or(p.HTTPGet.Path, "/")
		out.Port = b.portRef(o, path+".httpGet.port", p.HTTPGet.Port, w)
	}
	if p.TCPSocket != nil {
		out.Port = b.portRef(o, path+".tcpSocket.port", p.TCPSocket.Port, w)
	}
	if p.GRPC != nil {
		out.GRPC, out.Port = true, uint32(p.GRPC.Port)
		if p.GRPC.Service != nil {
			out.Service = *p.GRPC.Service
		}
		b.checkPort(o, path+".grpc.port", int64(p.GRPC.Port))
	}
	b.checkProbePort(o, path, out.Port, w)
	b.oneOf(o, path, "exec", "httpGet", "tcpSocket", "grpc")
	return out
}

func (b *builder) preStop(o *object, path string, h *core.LifecycleHandler, w *fleet.Workload) *fleet.PreStop {
	out := &fleet.PreStop{}
	if h.Exec != nil {
		out.Exec = h.Exec.Command
		b.command(o, path+".exec.command", out.Exec)
	}
	if h.HTTPGet != nil {
		out.Path = cmp.Or(h.HTTPGet.Path, "/")
		out.Port = b.portRef(o, path+".httpGet.port", h.HTTPGet.Port, w)
	}
	if h.Sleep != nil {
		out.Sleep = seconds(h.Sleep.Seconds)
		b.notNegative(o, path+".sleep.seconds", h.Sleep.Seconds)
		if out.Sleep > w.Grace {
			b.report(o, Invalid, path+".sleep.seconds", "%s is longer than terminationGracePeriodSeconds, which is %s", out.Sleep, w.Grace)
		}
	}
	b.oneOf(o, path, "exec", "httpGet", "sleep")
	return out
}

func (b *builder) command(o *object, path string, command []string) {
	if len(command) == 0 {
		b.report(o, Missing, path, "is missing; say what to run")
	}
}

// oneOf makes sure that just one of a few fields is set.
func (b *builder) oneOf(o *object, path string, names ...string) {
	var set []string
	for _, name := range names {
		if o.has(path + "." + name) {
			set = append(set, name)
		}
	}
	switch len(set) {
	case 0:
		b.report(o, Missing, path, "does nothing; set one of %s", strings.Join(names, ", "))
	case 1:
	default:
		b.report(o, Conflict, path+"."+set[1], "only one of %s may be set", strings.Join(set, " and "))
	}
}

// portRef reads a port that is given as a number or as the name of one of the container's ports.
func (b *builder) portRef(o *object, path string, ref intstr.IntOrString, w *fleet.Workload) uint32 {
	if ref.StrVal == "" {
		if !b.checkPort(o, path, int64(ref.IntVal)) {
			return 0
		}
		return uint32(ref.IntVal)
	}
	var names []string
	for _, p := range w.Ports {
		if p.Name == ref.StrVal {
			return p.Number
		}
		names = append(names, p.Name)
	}
	b.report(o, Reference, path, "the container has no port named %q%s", clip(ref.StrVal), didYouMean(ref.StrVal, names))
	return 0
}

// checkSelectors holds every service against the instances that configuration knows of.
func (b *builder) checkSelectors() {
	for _, name := range slices.Sorted(maps.Keys(b.hosts)) {
		h := b.hosts[name]
		if h.object.kind == "Service" && len(h.services) > 0 && len(h.services[0].Selector) == 0 && len(h.services[0].Endpoints) == 0 {
			b.warn(h.object, "spec.selector", "is missing, and no EndpointSlice names the Service; it will have no endpoints")
			continue
		}
		known := true
		for i := range h.services {
			known = b.checkTargets(h, &h.services[i]) && known
		}
		if known && h.rule != nil && len(h.services) > 0 {
			b.checkSubsets(h, &h.services[0])
			b.checkPlaces(h, &h.services[0])
		}
	}
}

// checkTargets makes sure that a service's port is one that its workloads listen on. It says whether the service
// has endpoints.
func (b *builder) checkTargets(h *host, s *fleet.Service) bool {
	found := len(s.Endpoints)+len(s.Resolve) > 0
	if len(s.Selector) == 0 {
		return found
	}
	for i := range b.instances {
		found = found || s.Selects(b.instances[i].Namespace, b.instances[i].Labels)
	}
	for i := range b.workloads {
		w := &b.workloads[i]
		if !s.Selects(w.Namespace, w.Labels) {
			continue
		}
		found = true
		want := cmp.Or(s.Target, strconv.Itoa(int(s.Port)))
		listens := func(p fleet.ContainerPort) bool { return p.Name == want || strconv.Itoa(int(p.Number)) == want }
		at := slices.IndexFunc(w.Ports, listens)
		if at >= 0 {
			b.checkProbed(h, s, w, w.Ports[at].Number)
		} else {
			b.report(h.object, Reference, portPath(h, s), "Deployment %s/%s at %s:%d has no containerPort %s; add it there",
				w.Namespace, w.Name, w.Origin.File, w.Origin.Line, want)
		}
	}
	if !found && !b.options.Registry {
		b.warn(h.object, selectorPath(h), "no Deployment, Pod or WorkloadEntry in namespace %s carries %s: the service will have no endpoints",
			s.Namespace, labelText(s.Selector))
	}
	return found
}

// checkSubsets names subsets that none of a service's endpoints belongs to.
func (b *builder) checkSubsets(h *host, s *fleet.Service) {
	for i := range h.rule.subsets {
		sub := &h.rule.subsets[i]
		found := slices.ContainsFunc(s.Endpoints, func(e fleet.Endpoint) bool { return fleet.Carries(e.Labels, sub.labels) }) ||
			slices.ContainsFunc(s.Resolve, func(n fleet.ResolveName) bool { return fleet.Carries(n.Labels, sub.labels) }) ||
			slices.ContainsFunc(b.instances, func(in fleet.Instance) bool {
				return s.Selects(in.Namespace, in.Labels) && fleet.Carries(in.Labels, sub.labels)
			}) ||
			slices.ContainsFunc(b.workloads, func(w fleet.Workload) bool {
				return s.Selects(w.Namespace, w.Labels) && fleet.Carries(w.Labels, sub.labels)
			})
		if !found && !b.options.Registry {
			b.warn(h.rule.object, sub.path+".labels", "no endpoint of %s carries %s: the subset will have no endpoints", h.name, labelText(sub.labels))
		}
	}
}

func selectorPath(h *host) string {
	if h.object.kind == "Service" {
		return "spec.selector"
	}
	return "spec.workloadSelector"
}

// portPath is the field that says which port of the instances a service means.
func portPath(h *host, s *fleet.Service) string {
	list := "spec.ports"
	for i := range h.services {
		if h.services[i].Port != s.Port {
			continue
		}
		if path := fmt.Sprintf("%s[%d].targetPort", list, i); h.object.has(path) {
			return path
		}
		return fmt.Sprintf("%s[%d]", list, i)
	}
	return list
}
