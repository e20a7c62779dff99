package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// A builder makes a Desired from objects. What does not fit together it names.
type builder struct {
	options  Options
	findings []Finding

	hosts     map[string]*host // by fully qualified name
	named     map[string]*host // by the name of each of its services
	rules     []*hostRule      // DestinationRules
	gateways  map[string]*gateway
	virtuals  []*virtual
	listeners []fleet.Listener
	workloads []fleet.Workload
	instances []fleet.Instance
}

// build puts the objects of all files together. Their order does not matter.
func build(objects []*object, o Options) (*fleet.Desired, []Finding) {
	if o.Labels == nil {
		o.Labels = DefaultLabels()
	}
	b := &builder{options: o, hosts: map[string]*host{}, named: map[string]*host{}, gateways: map[string]*gateway{}}
	objects = b.unique(objects)
	for _, obj := range objects {
		b.declare(obj)
	}
	b.applyRules()
	b.resolveRoutes(objects)
	b.addGatewayListeners()
	b.addMeshListener()
	b.checkSelectors()
	d := b.desired()
	b.selfCheck(d)
	return d, b.findings
}

// report adds an error about a field, unless the reader has found fault with that field already.
func (b *builder) report(o *object, rule Rule, path, format string, args ...any) {
	b.add(Error, o, rule, path, format, args...)
}

// warn says that nothing comes of a field.
func (b *builder) warn(o *object, path, format string, args ...any) {
	b.add(Warning, o, Unused, path, format, args...)
}

func (b *builder) add(severity Severity, o *object, rule Rule, path, format string, args ...any) {
	for p := range o.broken {
		if within(p, path) || within(path, p) {
			return
		}
	}
	at := o.at(path)
	b.findings = append(b.findings, Finding{
		File: o.file, Line: at.line, Column: at.column, Severity: severity, Rule: rule,
		Object: o.id(), Field: path, Message: fmt.Sprintf(format, args...),
	})
}

// within says whether a field is another one, or below it.
func within(field, other string) bool {
	rest, ok := strings.CutPrefix(field, other)
	return ok && other != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// unique sorts objects by kind, namespace and name, and keeps the first of each.
func (b *builder) unique(objects []*object) []*object {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(x, y *object) int {
		return cmp.Or(
			cmp.Compare(x.kind, y.kind),
			cmp.Compare(x.meta.Namespace, y.meta.Namespace),
			cmp.Compare(x.meta.Name, y.meta.Name),
			cmp.Compare(x.file, y.file),
			cmp.Compare(x.start.line, y.start.line),
		)
	})
	return slices.CompactFunc(objects, func(first, second *object) bool {
		if first.id() != second.id() {
			return false
		}
		b.report(second, Conflict, "metadata.name", "%s is defined at %s already; rename or remove one", second.id(), first.where())
		return true
	})
}

// declare takes in what an object says by itself.
func (b *builder) declare(o *object) {
	b.checkAnnotations(o)
	switch body := o.body.(type) {
	case *core.Service:
		b.addService(o, &body.Spec)
	case *istioObject[networking.ServiceEntry]:
		b.addServiceEntry(o, spec(body))
	case *istioObject[networking.DestinationRule]:
		b.addRule(o, spec(body))
	case *istioObject[networking.Gateway]:
		b.addGateway(o, spec(body))
	case *istioObject[networking.VirtualService]:
		b.addVirtual(o, spec(body))
	case *istioObject[networking.WorkloadEntry]:
		b.addInstance(o, spec(body))
	case *apps.Deployment:
		b.addWorkload(o, &body.Spec)
	default: // Namespace and ServiceAccount: their tables say why nothing comes of them
	}
}

// spec returns an object's spec, an empty one if it has none.
func spec[T any](o *istioObject[T]) *T {
	if o.Spec == nil {
		return new(T)
	}
	return o.Spec
}

const shiftBudget = "crossfade.dev/shift-budget"

// checkAnnotations names annotations of crossfade's and Istio's own that nothing comes of.
func (b *builder) checkAnnotations(o *object) {
	for _, name := range slices.Sorted(maps.Keys(o.meta.Annotations)) {
		domain, _, _ := strings.Cut(name, "/")
		path := "metadata.annotations[" + name + "]"
		switch {
		case name == shiftBudget && o.kind == "DestinationRule":
		case name == shiftBudget:
			b.report(o, Invalid, path, "belongs on a DestinationRule; move it there")
		case domain == "crossfade.dev":
			b.report(o, UnknownField, path, "unknown annotation%s", didYouMean(name, []string{shiftBudget}))
		case domain == "istio.io" || strings.HasSuffix(domain, ".istio.io"):
			b.warn(o, path, "crossfade does not act on this annotation")
		}
	}
}

// desired puts everything in its order.
func (b *builder) desired() *fleet.Desired {
	d := &fleet.Desired{Listeners: b.listeners, Workloads: b.workloads, Instances: b.instances}
	for _, h := range b.hosts {
		d.Services = append(d.Services, h.services...)
	}
	slices.SortFunc(d.Services, func(x, y fleet.Service) int { return cmp.Compare(x.Name, y.Name) })
	d.Digest = digest(struct {
		Services  []fleet.Service
		Listeners []fleet.Listener
		Workloads []fleet.Workload
		Instances []fleet.Instance
	}{d.Services, d.Listeners, d.Workloads, d.Instances})
	return d
}

// digest is a short name for a value: the same for equal values, and for no others.
func digest(v any) string {
	data, err := json.Marshal(v)
	if err != nil { // only values that JSON has no words for, and nothing here holds any
		return "invalid: " + err.Error()
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// selfCheck makes sure that every data plane will be able to compile what was built.
func (b *builder) selfCheck(d *fleet.Desired) {
	for i := range d.Listeners {
		if _, err := route.Compile(&d.Listeners[i]); err != nil && !HasErrors(b.findings) {
			l := &d.Listeners[i]
			b.findings = append(b.findings, Finding{
				File: l.Origin.File, Line: l.Origin.Line, Column: 1, Rule: Conflict, Message: err.Error(),
			})
		}
	}
}
