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
	discovery "k8s.io/api/discovery/v1"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// A builder makes a Desired from objects. What does not fit together it names.
type builder struct {
	options  Options
	findings []Finding

	hosts      map[string]*host // by fully qualified name
	named      map[string]*host // by the name of each of its services
	rules      []*hostRule      // DestinationRules
	gateways   map[string]*gateway
	virtuals   []*virtual
	byGateway  map[string][]*virtual // see through
	pairs      int                   // of matches that were merged for delegates
	delegates  map[string]*virtual   // VirtualServices without hosts, by key
	regexes    map[string]fault      // those that were looked at
	namespaces []string              // of all objects, sorted
	groups     map[string]*group     // WorkloadGroups, by key
	entries    []workloadEntry
	sliced     []*endpointSlice
	listeners  []fleet.Listener
	workloads  []fleet.Workload
	deployed   []*object // that the workloads come from
	instances  []fleet.Instance
	serving    *gatewayGroup // the IstioGateway; nil where there is none
	lifecycles []fleet.Lifecycle
	lived      []*object // that the lifecycles come from
	lives      lifeIndex

	requests map[string]*requestFile // warm-up requests, by file
	absent   map[string]error        // files that were named and could not be read
	stored   bool                    // what is read lies in a store, not in a file
}

func newBuilder(o Options) *builder {
	if o.Labels == nil {
		o.Labels = DefaultLabels()
	}
	return &builder{
		options: o, hosts: map[string]*host{}, named: map[string]*host{}, gateways: map[string]*gateway{},
		delegates: map[string]*virtual{}, regexes: map[string]fault{}, groups: map[string]*group{}, requests: map[string]*requestFile{},
	}
}

// build puts the objects of all files together. Their order does not matter. Absent are files that objects name, and why
// they could not be read.
func build(objects []*object, absent map[string]error, o Options) (*fleet.Desired, []Finding) {
	b := newBuilder(o)
	b.absent = absent
	objects = b.unique(objects)
	b.namespaces = namespacesOf(objects)
	b.addGatewayGroup(objects)
	b.addRequestFiles(objects)
	for _, obj := range objects {
		b.declare(obj)
	}
	b.addEntries()
	b.addSlices()
	b.applyRules()
	b.checkGatewayGroup()
	b.resolveRoutes(objects)
	b.addGatewayListeners()
	b.addMeshListener()
	b.checkSelectors()
	b.checkRefusals()
	b.checkLifecycles()
	b.checkEnabled()
	b.checkRequestFiles()
	b.warmInstances()
	d := b.desired()
	b.checkRollouts(d.Services)
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
	if o.faulty(path) {
		return
	}
	at := o.at(path)
	b.findings = append(b.findings, Finding{
		File: o.file, Line: at.line, Column: at.column, Severity: severity, Rule: rule,
		Object: o.id(), Field: path, Message: fmt.Sprintf(format, args...),
	})
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
	return slices.CompactFunc(objects, func(second, first *object) bool {
		if first.id() != second.id() {
			return false
		}
		b.report(second, Conflict, "metadata.name", "%s is defined at %s already; rename or remove one", second.id(), first.where())
		return true
	})
}

func namespacesOf(objects []*object) []string {
	var list []string
	for _, o := range objects {
		switch o.kind {
		case "Gateway", "IstioGateway", "Namespace": // nobody in there calls a service by what is hidden
		default:
			list = append(list, o.meta.Namespace)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// declare takes in what an object says by itself.
func (b *builder) declare(o *object) {
	b.checkAnnotations(o)
	b.checkOwnLabels(o)
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
		b.entries = append(b.entries, workloadEntry{o, spec(body)})
	case *istioObject[networking.WorkloadGroup]:
		b.addGroup(o, spec(body))
	case *core.Pod:
		b.addPod(o, body)
	case *discovery.EndpointSlice:
		b.addSlice(o, body)
	case *core.Endpoints: //nolint:staticcheck // older clusters still write them
		b.addEndpoints(o, body)
	case *apps.Deployment:
		b.addWorkload(o, &body.Spec)
	case *lifecycle:
		b.addLifecycle(o, &body.Spec)
	case *agent:
		b.agent(o, &body.Spec)
		b.warn(o, "kind", "nothing here starts it: it is for crossfade agent --config")
	default: // the WarmupRequests are in already, and so is the IstioGateway; of Namespace and ServiceAccount their tables say why nothing comes of them
	}
}

// spec returns an object's spec.
func spec[T any](o *istioObject[T]) *T { return o.Spec }

// The annotations of a DestinationRule that are crossfade's own.
const (
	shiftBudget = "crossfade.dev/shift-budget"
	hashBound   = "crossfade.dev/hash-bound"
	loadReports = "crossfade.dev/load-reports"
)

// checkAnnotations names annotations of crossfade's and Istio's own that nothing comes of.
func (b *builder) checkAnnotations(o *object) {
	for _, name := range slices.Sorted(maps.Keys(o.meta.Annotations)) {
		domain, _, _ := strings.Cut(name, "/")
		path := "metadata.annotations[" + name + "]"
		switch {
		case name == autoGroup && o.kind == "WorkloadEntry":
		case name == shiftBudget || name == hashBound || name == loadReports:
			if o.kind != "DestinationRule" {
				b.report(o, Invalid, path, "belongs on a DestinationRule; move it there")
			}
		case name == fleet.WarmupLabel:
			b.report(o, Invalid, path, "is a label of instances, not an annotation; move it to their labels")
		case domain == "crossfade.dev":
			b.report(o, UnknownField, path, "unknown annotation%s", didYouMean(name, []string{shiftBudget, hashBound, loadReports}))
		case domain == "istio.io" || strings.HasSuffix(domain, ".istio.io"):
			b.warn(o, path, "crossfade does not act on this annotation")
		default:
			b.checkGatewayAnnotation(o, name, path)
		}
	}
}

// desired puts everything in its order.
func (b *builder) desired() *fleet.Desired {
	d := &fleet.Desired{Listeners: b.listeners, Workloads: b.workloads, Instances: b.instances, Lifecycles: b.lifecycles}
	for _, h := range b.hosts {
		d.Services = append(d.Services, h.services...)
	}
	slices.SortFunc(d.Services, func(x, y fleet.Service) int { return cmp.Compare(x.Name, y.Name) })
	if b.serving != nil {
		d.Groups = []fleet.GatewayGroup{b.serving.GatewayGroup}
	}
	d.Digest = digest(struct {
		Services  []fleet.Service
		Listeners []fleet.Listener
		Workloads []fleet.Workload
		Instances []fleet.Instance
		Groups    []fleet.GatewayGroup `json:",omitempty"` // so that the digest of what has none stays what it was

		Lifecycles []fleet.Lifecycle `json:",omitempty"` // likewise
	}{d.Services, d.Listeners, d.Workloads, d.Instances, d.Groups, d.Lifecycles})
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
