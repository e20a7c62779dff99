package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"crossfade.dev/internal/fleet"
)

// The annotations by which an IstioGateway says how long open requests have when a replica leaves.
const (
	drainSeconds = "asm.alibabacloud.com/gateway-drain-timeout-seconds"
	drainSwitch  = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-connection-drain"
	drainOlder   = drainSwitch + "-timeout"
	olderDrainAt = "spec.serviceAnnotations[" + drainOlder + "]"
)

// What ASM allows them to say, in seconds.
const (
	drainLeast     = 10
	drainMost      = 890 // behind a load balancer: CLB and NLB
	drainOlderMost = 30
)

// drainLimits is that in words, where the type of the gateway is not known.
const drainLimits = "10 to 890 (10 or more for serviceType ClusterIP and NodePort)"

// A gatewayGroup is an IstioGateway, read.
type gatewayGroup struct {
	fleet.GatewayGroup

	object *object
}

// addGatewayGroup takes in the IstioGateway, and gives what serves here its labels: Gateways select by them.
func (b *builder) addGatewayGroup(objects []*object) {
	for _, o := range objects {
		g, ok := o.body.(*istioGateway)
		if !ok {
			continue
		}
		group := b.gatewayGroup(o, &g.Spec)
		if b.serving != nil {
			b.report(o, Conflict, "metadata.name", "%s at %s is there already, and one control serves the listeners of one; remove one of them, or give it a control of its own",
				b.serving.object.id(), b.serving.object.where())
			continue
		}
		b.serving = group
	}
	if b.serving != nil {
		b.options.Labels = b.serving.Labels
	}
}

// gatewayGroup reads an IstioGateway.
func (b *builder) gatewayGroup(o *object, s *istioGatewaySpec) *gatewayGroup {
	if name := o.meta.Name; isName(name) && (!isLabel(name) || len("istio-"+name) > 63) {
		b.report(o, Invalid, "metadata.name", `%q is no name for an IstioGateway: lower-case letters, digits and "-" only, 57 at most`, clip(name))
	}
	own := b.ownLabels(o, s.PodLabels)
	g := &gatewayGroup{
		object: o,
		GatewayGroup: fleet.GatewayGroup{
			Name:      o.meta.Name,
			Namespace: o.meta.Namespace,
			Labels:    b.gatewayLabels(o, own),
			Replicas:  b.gatewayReplicas(o, s),
			Drain:     b.drainTimeout(o, s),
			Origin:    o.origin(""),
		},
	}
	if !maps.Equal(own, DefaultLabels()) { // those are what replicas carry already when an IstioGateway is written down
		g.Revision = digest(own)
	}
	return g
}

// gatewayReplicas reads how many replicas there are to be.
func (b *builder) gatewayReplicas(o *object, s *istioGatewaySpec) int {
	const path = "spec.replicaCount"
	n := defaultReplicas
	if s.ReplicaCount != nil {
		n = int(*s.ReplicaCount)
	}
	switch {
	case n < 1:
		b.report(o, Invalid, path, "%d replicas would serve nobody; write 1 or more, or remove the IstioGateway and its Gateways", n)
	case n > fleet.MaxGatewayReplicas:
		b.report(o, Invalid, path, "%d are too many; write %d or less", n, fleet.MaxGatewayReplicas)
	}
	for field, bound := range map[string]*int32{"spec.minReplicas": s.MinReplicas, "spec.maxReplicas": s.MaxReplicas} {
		switch {
		case bound == nil:
		case *bound < 1 || *bound > fleet.MaxGatewayReplicas:
			b.report(o, Invalid, field, "%d is out of range; write what replicaCount is, 1 to %d, or remove this", *bound, fleet.MaxGatewayReplicas)
		case int(*bound) != n && !o.faulty(path):
			b.report(o, Unsupported, field, "replicas that follow the load are not supported yet, and replicaCount is %d; write %d here, too, or remove this", n, n)
		}
	}
	return n
}

// ownLabels are what the replicas of an IstioGateway carry by its name and its podLabels.
func (b *builder) ownLabels(o *object, more map[string]string) map[string]string {
	labels := map[string]string{"istio": o.meta.Name, "app": "istio-" + o.meta.Name}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		field, value := "spec.podLabels["+name+"]", more[name]
		switch has, taken := labels[name]; {
		case len(validation.IsQualifiedName(name)) > 0:
			b.report(o, Invalid, field, "%q is no name of a label", clip(name))
		case len(validation.IsValidLabelValue(value)) > 0:
			b.report(o, Invalid, field, "%q is no value of a label", clip(value))
		case strings.HasPrefix(name, "crossfade.dev/"):
			b.report(o, Invalid, field, "is a label of instances; a gateway has no use for it, remove it")
		case taken && has != value:
			b.report(o, Conflict, field, "is %s already, by the name of the IstioGateway; remove this, or rename that", has)
		default:
			labels[name] = value
		}
	}
	return labels
}

// gatewayLabels are the own labels of an IstioGateway, with what control was told that gateways carry.
func (b *builder) gatewayLabels(o *object, own map[string]string) map[string]string {
	labels, usual := maps.Clone(own), DefaultLabels()
	for _, name := range slices.Sorted(maps.Keys(b.options.Labels)) {
		value := b.options.Labels[name]
		switch has, taken := labels[name]; {
		case usual[name] == value: // the name of the IstioGateway says it
		case taken && has != value:
			b.report(o, Conflict, "metadata.name", "makes or carries the label %s=%s, and crossfade was started with --label %s=%s; leave that out",
				name, has, name, value)
		default:
			labels[name] = value
		}
	}
	return labels
}

// drainTimeout reads how long open requests have when a replica leaves; 0 is as the gateway's program says. The newer
// annotation goes before the older one.
func (b *builder) drainTimeout(o *object, s *istioGatewaySpec) time.Duration {
	older, field := b.olderDrainTimeout(o, s)
	text, ok := o.meta.Annotations[drainSeconds]
	if !ok {
		return older
	}
	if older > 0 {
		b.warn(o, field, "metadata.annotations[%s] goes before it; remove the older ones", drainSeconds)
	}
	switch s.ServiceType {
	case "":
		return b.wholeSeconds(o, drainAt, text, drainMost, " for a gateway of serviceType LoadBalancer (the default); ClusterIP and NodePort have no upper limit")
	case "LoadBalancer":
		return b.wholeSeconds(o, drainAt, text, drainMost, " for a gateway of serviceType LoadBalancer; ClusterIP and NodePort have no upper limit")
	}
	return b.wholeSeconds(o, drainAt, text, 0, "")
}

// olderDrainTimeout reads the pair of annotations that ASM had before 1.26, and says which field the timeout is; 0 is
// none.
func (b *builder) olderDrainTimeout(o *object, s *istioGatewaySpec) (d time.Duration, field string) {
	const path = "spec.serviceAnnotations"
	on, field := path+"["+drainSwitch+"]", olderDrainAt
	b.checkServiceAnnotations(o, path, s)
	b.checkOlderPair(o, s, on, field)
	text, timed := s.ServiceAnnotations[drainOlder]
	if timed {
		d = b.wholeSeconds(o, field, text, drainOlderMost, "; metadata.annotations["+drainSeconds+"] may say up to 890")
	}
	_, newer := o.meta.Annotations[drainSeconds]
	switch state := s.ServiceAnnotations[drainSwitch]; {
	case state == "off" && timed:
		b.warn(o, field, `%s is "off": nothing comes of it`, drainSwitch)
		return 0, ""
	case state == "on" && (s.ServiceType == "ClusterIP" || s.ServiceType == "NodePort"):
		b.warn(o, on, "a Service of type %s has no load balancer that could drain; write metadata.annotations[%s]", s.ServiceType, drainSeconds)
		return 0, ""
	case d > 0 && !newer:
		b.add(Warning, o, Deprecated, field, `is the older way; write metadata.annotations[%s]: "%s"`, drainSeconds, text)
	}
	return d, field
}

// checkOlderPair makes sure that of the older pair of annotations both are there, or neither.
func (b *builder) checkOlderPair(o *object, s *istioGatewaySpec, on, field string) {
	state, switched := s.ServiceAnnotations[drainSwitch]
	_, timed := s.ServiceAnnotations[drainOlder]
	switch {
	case switched && state != "on" && state != "off":
		b.report(o, Invalid, on, `%q must be "on" or "off"`, clip(state))
	case timed && !switched:
		b.report(o, Missing, on, `is missing, and without it nothing comes of %s; write "on"`, drainOlder)
	case state == "on" && !timed:
		b.report(o, Missing, field, `is missing; say for how many seconds, as in "30"`)
	}
}

// wholeSeconds reads a number of seconds of at least drainLeast; most is 0 where there is no upper limit, and why is
// what to know about it.
func (b *builder) wholeSeconds(o *object, field, text string, most int, why string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 31)
	allowed := func(n uint64) bool { return n >= drainLeast && (most == 0 || n <= uint64(most)) }
	limit := fmt.Sprintf("%d or more", drainLeast)
	if most > 0 {
		limit = fmt.Sprintf("%d to %d", drainLeast, most)
	}
	if err != nil || !allowed(n) {
		if d, err := time.ParseDuration(text); err == nil && d%time.Second == 0 && d > 0 && allowed(uint64(d/time.Second)) {
			why += fmt.Sprintf(`; write "%d"`, d/time.Second)
		}
		b.report(o, Invalid, field, "%q must be a whole number of seconds, %s%s", clip(text), limit, why)
		return 0
	}
	return time.Duration(n) * time.Second
}

// checkServiceAnnotations names annotations of a gateway's Service that look as if they were about draining.
func (b *builder) checkServiceAnnotations(o *object, path string, s *istioGatewaySpec) {
	for _, name := range slices.Sorted(maps.Keys(s.ServiceAnnotations)) {
		field := path + "[" + name + "]"
		switch {
		case name == drainSwitch || name == drainOlder:
		case name == drainSeconds:
			b.report(o, Invalid, field, "belongs into metadata.annotations; move it there")
		case strings.HasPrefix(name, drainSwitch):
			b.report(o, UnknownField, field, "unknown annotation%s", didYouMean(name, []string{drainSwitch, drainOlder}))
		}
	}
}

// checkGatewayAnnotation names an annotation of draining that stands where nothing comes of it.
func (b *builder) checkGatewayAnnotation(o *object, name, field string) {
	switch {
	case o.kind != "IstioGateway" && name == drainSeconds:
		b.report(o, Invalid, field, "belongs on an IstioGateway; move it there")
	case o.kind != "IstioGateway" || name == drainSeconds:
	case name == drainSwitch || name == drainOlder:
		b.report(o, Invalid, field, "belongs into spec.serviceAnnotations; move it there")
	case nearest(name, []string{drainSeconds}) != "":
		b.report(o, UnknownField, field, "unknown annotation%s", didYouMean(name, []string{drainSeconds}))
	case strings.HasPrefix(name, "asm.alibabacloud.com/"):
		b.warn(o, field, "crossfade does not act on this annotation")
	}
}

// checkGatewayGroup names an IstioGateway that has nothing to serve.
func (b *builder) checkGatewayGroup() {
	if b.serving == nil {
		return
	}
	for _, g := range b.gateways {
		if fleet.Carries(b.serving.Labels, g.selector) {
			return
		}
	}
	b.warn(b.serving.object, "metadata.name", "no Gateway selects istio=%s: its replicas serve nothing for outside; write a Gateway whose spec.selector is istio: %s",
		b.serving.Name, b.serving.Name)
}

// whoCarries says whose labels Gateways have to select, and how another could be had.
func (b *builder) whoCarries(name, value string) string {
	if b.serving == nil {
		return fmt.Sprintf("this gateway does not carry %s=%s; it carries %s: select that, or start it with --label %s=%s",
			name, value, labelText(b.options.Labels), name, value)
	}
	return fmt.Sprintf("%s at %s does not carry %s=%s; it carries %s: select that, or rename it or add to its spec.podLabels",
		b.serving.object.id(), b.serving.object.where(), name, value, labelText(b.options.Labels))
}
