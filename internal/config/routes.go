package config

import (
	"fmt"
	"math"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// A virtual is a VirtualService, read.
type virtual struct {
	object   *object
	spec     *networking.VirtualService
	hosts    []string // fully qualified, or wildcards; parallel to spec.hosts
	gateways []string // keys of Gateways; parallel to spec.gateways, "" for mesh
	mesh     bool     // is for calls between services
	plans    []plan
	used     bool // of a delegate: somebody delegates to it
}

// delegate says whether a VirtualService holds routes for others: those that have no hosts do. Of one whose hosts could
// not be read nobody knows.
func (v *virtual) delegate() bool { return len(v.spec.Hosts) == 0 && !v.object.faulty("spec.hosts") }

// addVirtual takes in a VirtualService.
func (b *builder) addVirtual(o *object, s *networking.VirtualService) {
	exported := b.exported(o, s.ExportTo)
	v := &virtual{object: o, spec: s, mesh: len(s.Gateways) == 0}
	for _, name := range s.Gateways {
		v.mesh = v.mesh || name == meshGateway
		v.gateways = append(v.gateways, gatewayKey(name, o.meta.Namespace))
	}
	if v.mesh && len(v.gateways) == 0 {
		v.gateways = []string{""}
	}
	b.virtualHostNames(v)
	if len(s.Http) == 0 && o.broken["spec.tcp"] == "" && o.broken["spec.tls"] == "" {
		b.report(o, Missing, "spec.http", "is missing; without routes every request would be refused")
	}
	v.plans = b.plans(v)
	switch {
	case !exported:
	case v.delegate():
		if len(s.Gateways) > 0 {
			b.report(o, Invalid, "spec.gateways", "a VirtualService without hosts is a delegate, and belongs to the gateways of those that delegate to it; name hosts, or remove this")
		}
		b.delegates[o.key()] = v
	default:
		b.virtuals = append(b.virtuals, v)
	}
}

func (b *builder) virtualHostNames(v *virtual) {
	o := v.object
	for i, text := range v.spec.Hosts {
		path := fmt.Sprintf("spec.hosts[%d]", i)
		full := fqdn(text, o.meta.Namespace)
		switch {
		case !isHost(text):
			b.report(o, Invalid, path, `%q is no host; write "reviews", "shop.example.com", "*.example.com" or "*"`, clip(text))
			full = ""
		case slices.Contains(v.hosts, full):
			b.report(o, Conflict, path, "%q is named twice; keep one", text)
			full = ""
		case full == "*" && v.mesh:
			b.report(o, Invalid, path, `"*" cannot be used for calls between services; name services, or bind it to a Gateway in spec.gateways`)
			full = ""
		}
		v.hosts = append(v.hosts, full)
	}
}

// gatewayKey writes out a Gateway's name: "name", "namespace/name" or the older "name.namespace.svc.…"; "" is mesh.
func gatewayKey(name, namespace string) string {
	switch {
	case name == meshGateway:
		return ""
	case strings.HasPrefix(name, "./"):
		return namespace + name[1:]
	case strings.Contains(name, "/"):
		return name
	case strings.Contains(name, "."):
		parts := strings.SplitN(name, ".", 3)
		return parts[1] + "/" + parts[0]
	default:
		return namespace + "/" + name
	}
}

// resolveRoutes holds every VirtualService against the delegates, services and Gateways that there are.
func (b *builder) resolveRoutes(objects []*object) {
	names := []string{meshGateway}
	for _, o := range objects {
		if o.kind == "Gateway" {
			names = append(names, o.key(), o.meta.Name)
		}
	}
	for _, v := range b.virtuals {
		for i, name := range v.spec.Gateways {
			b.checkGateway(v.object, fmt.Sprintf("spec.gateways[%d]", i), name, names)
		}
		b.checkMatchGateways(v, names)
		v.plans = b.withDelegates(v)
		b.checkShadowed(v)
		b.routes(v, arrival{})
	}
	b.checkDelegates()
}

func (b *builder) checkGateway(o *object, path, name string, names []string) {
	if key := gatewayKey(name, o.meta.Namespace); key != "" && b.gateways[key] == nil {
		b.report(o, Reference, path, "there is no Gateway %s%s", key, didYouMean(name, names))
	}
}

// An arrival is where requests come in. The zero value stands for anywhere.
type arrival struct {
	gateways []string // keys of Gateways whose servers let the request in, "" for mesh; nil is any
	port     uint32   // as configuration names it; 0 is not known
}

func (a arrival) mesh() bool { return slices.Contains(a.gateways, "") }

// routes makes the routes of a VirtualService for one place where requests arrive. Its port is where a
// destination's comes from when nothing else says.
func (b *builder) routes(v *virtual, at arrival) []fleet.Route {
	var list []fleet.Route
	for i := range v.plans {
		p := &v.plans[i]
		r := p.route
		r.Matches = nil
		for j := range p.matches {
			if m, ok := b.admit(&p.matches[j], at); ok {
				r.Matches = append(r.Matches, m)
			}
		}
		if len(p.matches) > 0 && len(r.Matches) == 0 {
			continue // it is for requests that arrive elsewhere
		}
		if len(p.to) > 0 {
			r.Destinations = b.destinations(p, at.port)
		}
		if len(r.Destinations) > 0 || r.Redirect != nil || r.Respond != nil {
			list = append(list, r)
		}
	}
	return list
}

// admit turns a match into what is left of it for the requests that arrive at a place; it is not ok when no
// such request can match.
func (b *builder) admit(m *planMatch, at arrival) (fleet.Match, bool) {
	out := m.Match
	if at.gateways == nil {
		return out, true
	}
	if m.gateways != nil && !slices.ContainsFunc(at.gateways, func(key string) bool { return slices.Contains(m.gateways, key) }) {
		return out, false
	}
	if at.port != 0 && out.Port != 0 {
		if out.Port != at.port {
			return out, false
		}
		out.Port = 0
	}
	if !at.mesh() {
		if !fleet.Carries(b.options.Labels, out.SourceLabels) {
			return out, false
		}
		out.SourceLabels = nil
	}
	return out, true
}

func (b *builder) destinations(p *plan, port uint32) []fleet.Destination {
	var list []fleet.Destination
	o, path := p.object, p.path+".route"
	sum := uint64(0)
	for i, d := range p.to {
		at := fmt.Sprintf("%s[%d]", path, i)
		weight := d.GetWeight()
		if weight < 0 {
			b.report(o, Invalid, at+".weight", "%d is below zero", weight)
			weight = 0
		}
		sum += uint64(weight)
		service, ok := b.destination(o, at+".destination", d.GetDestination(), port)
		if ok {
			list = append(list, fleet.Destination{
				Service: service, Subset: d.Destination.Subset, Weight: uint32(weight), Headers: p.edits[i],
			})
		}
	}
	switch {
	case len(p.to) == 1:
		if len(list) == 1 && list[0].Weight == 0 { // as in Istio: alone, it gets everything
			list[0].Weight = 100
		}
	case sum == 0:
		b.report(o, Invalid, path, "no destination has a weight; give them weights, such as 90 and 10")
		return nil
	case sum > math.MaxUint32:
		b.report(o, Invalid, path, "the weights sum to %d, more than %d", sum, uint32(math.MaxUint32))
	}
	return list
}

// destination finds the service that a destination means.
func (b *builder) destination(o *object, path string, d *networking.Destination, arrival uint32) (service string, ok bool) {
	if d.GetHost() == "" { // plans has named it
		return "", false
	}
	full := fqdn(d.Host, o.meta.Namespace)
	h := b.hosts[full]
	if h == nil {
		b.report(o, Reference, path+".host", "%s", b.noService(full, o.meta.Namespace))
		return "", false
	}
	if d.Subset != "" && (h.rule == nil || h.rule.subset(d.Subset) == nil) {
		b.noSubset(o, path+".subset", h, d)
		return "", false
	}
	port, ok := b.destinationPort(o, path, h, d, arrival)
	if !ok {
		return "", false
	}
	if s := h.service(port); s != nil {
		return s.Name, true
	}
	field := path + ".port"
	if !o.has(field) {
		b.report(o, Missing, field, "is missing; %s has several ports: %s", h.name, h.ports())
		return "", false
	}
	b.report(o, Reference, field+".number", "%s has no port %d; it has %s", h.name, port, h.ports())
	return "", false
}

func (b *builder) noSubset(o *object, path string, h *host, d *networking.Destination) {
	if h.rule == nil {
		b.report(o, Reference, path, "subset %q is not defined: there is no DestinationRule for %s", d.Subset, h.name)
		return
	}
	b.report(o, Reference, path, "%s at %s defines no subset %q%s", h.rule.object.id(), h.rule.object.where(), d.Subset,
		didYouMean(d.Subset, h.rule.names()))
}

// destinationPort is the port that a destination names, else the only one that the service has, else the one
// that the request arrived on. It is not ok when it cannot be known yet, or when the service has no usable port.
func (b *builder) destinationPort(o *object, path string, h *host, d *networking.Destination, arrival uint32) (uint32, bool) {
	switch {
	case o.has(path + ".port"):
		return d.GetPort().GetNumber(), b.checkPort(o, path+".port.number", int64(d.GetPort().GetNumber()))
	case len(h.services) == 1:
		return h.services[0].Port, true
	default:
		return arrival, arrival != 0 && len(h.services) > 0
	}
}
