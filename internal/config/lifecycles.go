package config

import (
	"cmp"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
)

// quadraticAggression is that of a share that is the square of progress.
const quadraticAggression = 0.5

// readinessPort is where an agent says whether its instance is ready.
const readinessPort = 55199

// addLifecycle takes in a Lifecycle.
func (b *builder) addLifecycle(o *object, s *lifecycleSpec) {
	l := b.settledLifecycle(o, "spec", &s.lifecycleSettings)
	l.Name, l.Namespace, l.Service, l.Origin = o.meta.Name, o.meta.Namespace, s.Service, o.origin("")
	if s.Service != "" && !isLabel(s.Service) {
		b.report(o, Invalid, "spec.service", `%q is no name of a service: the bare name of one in namespace %s`, clip(s.Service), l.Namespace)
	}
	if s.Selector != nil {
		const path = "spec.selector"
		l.Labels = s.Selector.MatchLabels
		b.checkMatchLabels(o, path+".matchLabels", l.Labels)
		if len(l.Labels) == 0 {
			b.report(o, Missing, path, "selects by no label; write matchLabels, or remove it for all instances")
		}
	}
	b.lifecycles, b.lived = append(b.lifecycles, l), append(b.lived, o)
}

func (b *builder) checkMatchLabels(o *object, path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case len(validation.IsQualifiedName(name)) > 0:
			b.report(o, Invalid, path+"["+name+"]", "%q is no name of a label", clip(name))
		case len(validation.IsValidLabelValue(labels[name])) > 0:
			b.report(o, Invalid, path+"["+name+"]", "%q is no value of a label", clip(labels[name]))
		}
	}
}

// settledLifecycle reads the settings of a Lifecycle, with the defaults of those that are not given.
func (b *builder) settledLifecycle(o *object, path string, s *lifecycleSettings) fleet.Lifecycle {
	l := fleet.DefaultLifecycle()
	l.Off = s.Enabled != nil && !*s.Enabled
	l.Delay = b.bounded(o, path+".registration.delay", time.Duration(s.Registration.Delay))
	b.ownWarmup(o, path+".warmup", &s.Warmup, &l.Warmup)
	if l.Ramp = s.Registration.Weight == ramped; l.Ramp && (l.Off || l.Warmup.Window == 0) {
		b.warn(o, path+".registration.weight", "there is no warm-up to follow: it is as full")
	}
	if s.WarmupRequests != nil {
		l.Requests = b.warmupRequests(o, path+".warmupRequests", s.WarmupRequests)
	}
	l.Ready = fleet.ReadyWhen(s.Readiness)
	if l.Ready == fleet.ReadyWarm && (l.Off || l.Warmup.Window == 0) {
		b.warn(o, path+".readiness", "there is no warm-up to wait for: it is as registered")
	}
	b.leave(o, path+".drain", &s.Drain, &l.Leave)
	b.front(o, path+".front", &s.Front, &l.Front)
	return l
}

// bounded names a time that is too long.
func (b *builder) bounded(o *object, path string, d time.Duration) time.Duration {
	if d > fleet.MaxLifecycleTime {
		b.report(o, Invalid, path, "%s is too long; write %s or less", d, fleet.MaxLifecycleTime)
	}
	return d
}

// ownWarmup reads the warm-up by share of instances themselves.
func (b *builder) ownWarmup(o *object, path string, s *warmupSpec, w *fleet.Warmup) {
	if s.Duration != nil {
		w.Window = b.bounded(o, path+".duration", time.Duration(*s.Duration))
	}
	if m := s.MinimumPercent; m != nil {
		b.percent(o, path+".minimumPercent", *m)
		w.Minimum = *m / 100
	}
	switch s.Curve {
	case linear:
		w.Aggression = 1
	case power:
		if s.Aggression == nil {
			b.report(o, Missing, path+".aggression", "is missing; a share is progress^(1/aggression), so that 0.5 is quadratic and 1 a straight line")
		}
	default:
		w.Aggression = quadraticAggression
	}
	a := s.Aggression
	switch {
	case a == nil:
	case s.Curve != power:
		b.report(o, Conflict, path+".aggression", "has no meaning with curve: %s; write curve: power, or remove it", cmp.Or(s.Curve, quadratic))
	case !(*a >= curve.Flattest && *a <= curve.Steepest):
		b.report(o, Invalid, path+".aggression", "%g must be between %g and %g: beyond these a curve is a step", *a, curve.Flattest, float64(curve.Steepest))
	default:
		w.Aggression = *a
	}
}

// leave reads how instances leave. What is not given is no longer than what is that bounds it.
func (b *builder) leave(o *object, path string, s *drainSpec, l *fleet.Leave) {
	l.Timeout = b.bounded(o, path+".timeout", cmp.Or(time.Duration(s.Timeout), l.Timeout))
	l.Callers = b.bounded(o, path+".callers", cmp.Or(time.Duration(s.Callers), min(l.Callers, l.Timeout)))
	l.Quiet = b.bounded(o, path+".quiet", cmp.Or(time.Duration(s.Quiet), min(l.Quiet, l.Callers)))
	if l.Quiet > l.Callers {
		b.report(o, Conflict, path+".quiet", "%s would never pass: nobody waits for callers longer than %s; lower it, or raise callers", l.Quiet, l.Callers)
	}
	if l.Callers > l.Timeout {
		b.report(o, Conflict, path+".callers", "%s is longer than the whole leave may take, %s; lower it, or raise timeout", l.Callers, l.Timeout)
	}
}

// front reads what an agent in front of its instance passes on while that is cold.
func (b *builder) front(o *object, path string, s *frontSpec, l *fleet.FrontLimits) {
	const most = 1_000_000
	l.Least = b.count(o, path+".concurrency.least", s.Concurrency.Least, most, 0)
	l.Most = b.count(o, path+".concurrency.most", s.Concurrency.Most, most, 0)
	l.MaxWait = b.bounded(o, path+".maxWait", time.Duration(s.MaxWait))
	if l.Least > 0 && l.Most > 0 && l.Least > l.Most {
		b.report(o, Conflict, path+".concurrency.least", "%d is more than most, %d; an instance would take less the warmer it is", l.Least, l.Most)
	}
}

// count reads a number from 1 to most; without is what holds where it is not given.
func (b *builder) count(o *object, path string, n *int32, most, without int) int {
	if n == nil {
		return without
	}
	if *n < 1 || int(*n) > most {
		b.report(o, Invalid, path, "%d is out of range; it must be between 1 and %d", *n, most)
		return without
	}
	return int(*n)
}

// checkTwice names Lifecycles that are for the same instances.
func (b *builder) checkTwice() {
	first := map[string]*object{}
	for i := range b.lifecycles {
		l, o := &b.lifecycles[i], b.lived[i]
		whom := digest([]any{l.Namespace, l.Service, l.Labels})
		if other := first[whom]; other != nil {
			b.report(o, Conflict, "metadata.name", "%s at %s is for the same instances; put both into one", other.id(), other.where())
			continue
		}
		first[whom] = o
	}
}

// checkLifecycles holds Lifecycles against each other, and against the instances that configuration knows of.
func (b *builder) checkLifecycles() {
	b.indexLives()
	b.checkTwice()
	for i := range b.lifecycles {
		l, o := &b.lifecycles[i], b.lived[i]
		if isLabel(l.Service) && b.hosts[fqdn(l.Service, l.Namespace)] == nil {
			b.warn(o, "spec.service", "there is no Service %s in namespace %s: it holds for nobody", l.Service, l.Namespace)
		}
		if l.Ready == fleet.ReadyWarm {
			b.checkGating(o, l)
		}
	}
}

// checkGating names a Lifecycle by which instances would be ready when they are warm, and get requests when they are
// ready: they would never be either.
func (b *builder) checkGating(o *object, l *fleet.Lifecycle) {
	const cycle = "%s at %s gets requests only once its probe of port %d passes, and would be ready only once requests have warmed it; write registered, or probe the application itself"
	for i := range b.instances {
		in := &b.instances[i]
		if in.Check != nil && in.Check.Port == readinessPort && b.holdsFor(l, in.Namespace, in.Labels) {
			at := in.Origin
			b.report(o, Conflict, "spec.readiness", cycle, at.Kind+" "+at.Name, whereOf(at), readinessPort)
			return
		}
	}
}

// holdsFor says whether a Lifecycle is the one for an instance.
func (b *builder) holdsFor(l *fleet.Lifecycle, namespace string, labels map[string]string) bool {
	services := b.servicesOf(namespace, labels)
	found, ok := fleet.LifecycleOf(b.lifecyclesFor(namespace, services, labels), namespace, services, labels)
	return ok && found.Name == l.Name && found.Namespace == l.Namespace
}

// warmInstances gives those instances their warm-up that configuration itself brings in: no agent stands beside them
// that could say so.
func (b *builder) warmInstances() {
	for i := range b.instances {
		in := &b.instances[i]
		in.Warmup = b.warmupFor(in.Namespace, b.servicesOf(in.Namespace, in.Labels), in.Labels)
	}
	for name, h := range b.hosts {
		own, namespace, ok := localName(name)
		if !ok || h.object.kind != "Service" {
			continue
		}
		for i := range h.services {
			for j := range h.services[i].Endpoints { // of EndpointSlices
				e := &h.services[i].Endpoints[j]
				e.Warmup = b.warmupFor(namespace, []string{own}, e.Labels)
			}
		}
	}
}

// warmupFor is the own warm-up of an instance; nil is none. What is wrong with its labels has a finding.
func (b *builder) warmupFor(namespace string, services []string, labels map[string]string) *fleet.Warmup {
	if l, err := fleet.LifecycleFor(b.lifecyclesFor(namespace, services, labels), namespace, services, labels); err == nil && l.Warmup.Window > 0 {
		return &l.Warmup
	}
	return nil
}

// ofApplication returns p unless it asks the agent, as with MSE: that answers for an application that it has found able
// to serve by itself, and would wait for its own answer.
func ofApplication(p *fleet.Probe) *fleet.Probe {
	if p.Port == readinessPort && (p.Path == "/readiness" || p.Path == "/health") {
		return nil
	}
	return p
}

// checkLossless names labels of graceful start that are wrong, or that nothing comes of.
func (b *builder) checkLossless(o *object, path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !strings.HasPrefix(name, fleet.LosslessPrefix) {
			continue
		}
		field, one := path+"["+name+"]", map[string]string{name: labels[name]}
		wrong := (*fleet.LabelError)(nil)
		switch _, err := fleet.DefaultLifecycle().For(one); {
		case errors.As(err, &wrong) && !slices.Contains(fleet.LosslessLabels(), name):
			b.report(o, UnknownField, field, "unknown label%s", didYouMean(name, fleet.LosslessLabels()))
		case errors.As(err, &wrong):
			b.report(o, Invalid, field, "%s", wrong.Message)
		case o.kind == "ServiceEntry":
			b.warn(o, field, "does nothing for what a ServiceEntry lists; give the service a DestinationRule with a warmup")
		case name == fleet.LosslessNotice && labels[name] == "false":
			b.warn(o, field, "who calls through crossfade hears of a leave in any case")
		}
	}
}

// checkEnabled names labels of graceful start that say how, on instances that nothing says it should be on for.
func (b *builder) checkEnabled() {
	for i := range b.workloads {
		w, o := &b.workloads[i], b.deployed[i]
		if _, said := w.Labels[fleet.LosslessEnable]; said {
			continue
		}
		services := b.servicesOf(w.Namespace, w.Labels)
		if _, found := fleet.LifecycleOf(b.lifecyclesFor(w.Namespace, services, w.Labels), w.Namespace, services, w.Labels); found {
			continue
		}
		for _, name := range []string{fleet.LosslessDelay, fleet.LosslessWarmup} {
			if _, has := w.Labels[name]; has {
				b.warn(o, "spec.template.metadata.labels["+name+"]", `does nothing without %s: "true" beside it, or a Lifecycle`, fleet.LosslessEnable)
			}
		}
	}
}

func whereOf(at fleet.Origin) string {
	return (&object{file: at.File, start: place{line: at.Line}}).where()
}

// besides is where a file is that a document in another one names.
func besides(file, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(file), name)
}
