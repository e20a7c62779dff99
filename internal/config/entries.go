package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	core "k8s.io/api/core/v1"

	"crossfade.dev/internal/fleet"
)

// autoGroup is the annotation by which Istio ties a WorkloadEntry to the WorkloadGroup that it registered under.
const autoGroup = "istio.io/autoRegistrationGroup"

// A workloadEntry is a WorkloadEntry that waits for the WorkloadGroups.
type workloadEntry struct {
	object *object
	spec   *networking.WorkloadEntry
}

// A group is a WorkloadGroup, read.
type group struct {
	object   *object
	template *networking.WorkloadEntry
	labels   map[string]string
	check    *fleet.Check
	used     bool
}

// addGroup takes in a WorkloadGroup.
func (b *builder) addGroup(o *object, g *networking.WorkloadGroup) {
	own := &group{object: o, template: g.Template, labels: union(g.GetTemplate().GetLabels(), g.GetMetadata().GetLabels())}
	if g.Template == nil {
		b.report(o, Missing, "spec.template", "is missing; say what the entries of the group have in common")
		own.template = &networking.WorkloadEntry{}
	}
	b.checkEntry(o, "spec.template", own.template)
	b.checkLabels(o, "spec.metadata.labels", g.GetMetadata().GetLabels())
	own.check = b.groupProbe(o, "spec.probe", g.Probe)
	b.groups[o.key()] = own
}

// groupProbe reads how the instances of a group are checked, with the defaults of Kubernetes; nil is no probe.
func (b *builder) groupProbe(o *object, path string, p *networking.ReadinessProbe) *fleet.Check {
	if p == nil {
		return nil
	}
	for field, n := range map[string]int32{
		"initialDelaySeconds": p.InitialDelaySeconds, "periodSeconds": p.PeriodSeconds, "timeoutSeconds": p.TimeoutSeconds,
		"successThreshold": p.SuccessThreshold, "failureThreshold": p.FailureThreshold,
	} {
		b.notNegative(o, path+"."+field, int64(n))
	}
	out := &fleet.Check{
		InitialDelay: seconds(p.InitialDelaySeconds),
		Interval:     seconds(cmp.Or(p.PeriodSeconds, defaultPeriod)),
		Timeout:      seconds(cmp.Or(p.TimeoutSeconds, defaultTimeout)),
		Healthy:      int(cmp.Or(p.SuccessThreshold, defaultSuccess)),
		Unhealthy:    int(cmp.Or(p.FailureThreshold, defaultFailure)),
	}
	if h := p.GetHttpGet(); h != nil {
		out.Path, out.Port, out.HTTPS = cmp.Or(h.Path, "/"), h.Port, strings.EqualFold(h.Scheme, "HTTPS")
		b.checkPort(o, path+".httpGet.port", int64(h.Port))
	}
	if t := p.GetTcpSocket(); t != nil {
		out.Port = t.Port
		b.checkPort(o, path+".tcpSocket.port", int64(t.Port))
	}
	if g := p.GetGrpc(); g != nil {
		out.GRPC, out.Service, out.Port = true, g.Service, g.Port
		b.checkPort(o, path+".grpc.port", int64(g.Port))
	}
	b.oneOf(o, path, "httpGet", "tcpSocket", "exec", "grpc")
	return out
}

// addEntries takes in the WorkloadEntries: instances that somebody else runs.
func (b *builder) addEntries() {
	for _, e := range b.entries {
		b.addEntry(e.object, e.spec)
	}
	for _, key := range slices.Sorted(maps.Keys(b.groups)) {
		if g := b.groups[key]; !g.used {
			b.warn(g.object, "", "no WorkloadEntry belongs to %s: annotate those that do with %s: %s", g.object.id(), autoGroup, g.object.meta.Name)
		}
	}
}

func (b *builder) addEntry(o *object, e *networking.WorkloadEntry) {
	g := b.groupOf(o)
	address, ok := b.address(o, "spec", e)
	if !ok {
		return
	}
	t := g.template
	ports, labels := union(e.Ports, t.GetPorts()), union(e.Labels, g.labels)
	b.instances = append(b.instances, fleet.Instance{
		Name:        o.meta.Name,
		Namespace:   o.meta.Namespace,
		Incarnation: fmt.Sprintf("entry/%s/%s", o.key(), address),
		Address:     address,
		Ports:       ports,
		Labels:      labels,
		Locality:    localityOf(cmp.Or(e.Locality, t.GetLocality()), labels),
		Weight:      max(1, cmp.Or(e.Weight, t.GetWeight())),
		Check:       g.check,
		Ready:       true,
		Origin:      o.origin(""),
	})
}

// groupOf returns the WorkloadGroup that a WorkloadEntry belongs to, an empty one if it belongs to none.
func (b *builder) groupOf(o *object) *group {
	name, ok := o.meta.Annotations[autoGroup]
	if !ok {
		return &group{}
	}
	if g := b.groups[o.meta.Namespace+"/"+name]; g != nil {
		g.used = true
		return g
	}
	var names []string
	for _, g := range b.groups {
		names = append(names, g.object.meta.Name)
	}
	b.report(o, Reference, "metadata.annotations["+autoGroup+"]", "there is no WorkloadGroup %s in namespace %s%s",
		name, o.meta.Namespace, didYouMean(name, names))
	return &group{}
}

// addPod takes in a Pod that a cluster runs: an instance, once it has an address and is ready.
func (b *builder) addPod(o *object, p *core.Pod) {
	const at = "status.podIP"
	switch {
	case p.Status.PodIP == "":
		b.report(o, Unsupported, at, "is missing, and crossfade does not run Pods; write a Deployment, or say where the Pod runs")
		return
	case p.DeletionTimestamp != nil:
		b.warn(o, "metadata.deletionTimestamp", "the Pod is being deleted; it is left out")
		return
	case !ready(p):
		b.warn(o, "status.conditions", "the Pod is not ready; it is left out")
		return
	}
	address, ok := b.ip(o, at, p.Status.PodIP)
	if !ok {
		return
	}
	b.checkLabels(o, "metadata.labels", p.Labels)
	in := fleet.Instance{
		Name:        o.meta.Name,
		Namespace:   o.meta.Namespace,
		Incarnation: podIncarnation(string(p.UID), o.key(), p.Status.PodIP),
		Address:     address,
		Labels:      p.Labels,
		Locality:    localityOf("", p.Labels),
		Weight:      1,
		Ready:       true,
		Origin:      o.origin(""),
	}
	for i := range p.Spec.Containers {
		for j := range p.Spec.Containers[i].Ports {
			port := &p.Spec.Containers[i].Ports[j]
			path := fmt.Sprintf("spec.containers[%d].ports[%d].containerPort", i, j)
			if b.checkPort(o, path, int64(port.ContainerPort)) && port.Name != "" {
				if in.Ports == nil {
					in.Ports = map[string]uint32{}
				}
				in.Ports[port.Name] = uint32(port.ContainerPort)
			}
		}
	}
	b.instances = append(b.instances, in)
}

// podIncarnation tells one run of a Pod from the next: by its uid, else by where it is.
func podIncarnation(uid, key, address string) string {
	if uid != "" {
		return "pod/" + uid
	}
	return "pod/" + key + "/" + address
}

// ready says whether a Pod can serve; one that does not say can.
func ready(p *core.Pod) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == core.PodReady {
			return c.Status == core.ConditionTrue
		}
	}
	return true
}
