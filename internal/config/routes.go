package config

import (
	"fmt"
	"math"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// A virtual is a VirtualService, read.
type virtual struct {
	object   *object
	spec     *networking.VirtualService
	hosts    []string // fully qualified, or wildcards; parallel to spec.hosts
	gateways []string // keys of Gateways; parallel to spec.gateways, "" for mesh
	mesh     bool     // is for calls between services
}

// addVirtual takes in a VirtualService.
func (b *builder) addVirtual(o *object, s *networking.VirtualService) {
	v := &virtual{object: o, spec: s, mesh: len(s.Gateways) == 0}
	for _, name := range s.Gateways {
		v.mesh = v.mesh || name == meshGateway
		v.gateways = append(v.gateways, gatewayKey(name, o.meta.Namespace))
	}
	if len(s.Hosts) == 0 {
		b.report(o, Missing, "spec.hosts", "is missing; name the hosts that the routes are for")
	}
	for i, text := range s.Hosts {
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
	if len(s.Http) == 0 && o.broken["spec.tcp"] == "" && o.broken["spec.tls"] == "" {
		b.report(o, Missing, "spec.http", "is missing; without routes every request would be refused")
	}
	b.virtuals = append(b.virtuals, v)
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

// resolveRoutes holds every VirtualService against the services and Gateways that there are.
func (b *builder) resolveRoutes(objects []*object) {
	var names []string
	for _, o := range objects {
		if o.kind == "Gateway" {
			names = append(names, o.key(), o.meta.Name)
		}
	}
	for _, v := range b.virtuals {
		for i, key := range v.gateways {
			if key != "" && b.gateways[key] == nil {
				b.report(v.object, Reference, fmt.Sprintf("spec.gateways[%d]", i), "there is no Gateway %s%s", key,
					didYouMean(v.spec.Gateways[i], append(names, meshGateway)))
			}
		}
		b.routes(v, 0)
	}
}

// routes makes the routes of a VirtualService. port is the one that requests arrive on, which is where
// a destination's port comes from when nothing else says; 0 when it is not known.
func (b *builder) routes(v *virtual, port uint32) []fleet.Route {
	var list []fleet.Route
	for i, h := range v.spec.Http {
		path := fmt.Sprintf("spec.http[%d]", i)
		r := fleet.Route{Name: h.GetName(), Origin: v.object.origin(path), Timeout: h.GetTimeout().AsDuration()}
		if r.Timeout < 0 {
			b.report(v.object, Invalid, path+".timeout", "%s is below zero; leave it out for no timeout", r.Timeout)
		}
		for j, m := range h.GetMatch() {
			r.Matches = append(r.Matches, b.match(v.object, fmt.Sprintf("%s.match[%d]", path, j), m))
		}
		if len(h.GetRoute()) == 0 {
			if !b.hasOther(v.object, path) {
				b.report(v.object, Missing, path+".route", "is missing; name at least one destination")
			}
			continue
		}
		r.Destinations = b.destinations(v.object, path+".route", h.Route, port)
		if len(r.Destinations) > 0 {
			list = append(list, r)
		}
	}
	return list
}

// hasOther says whether a route does something else than send requests to a service; the reader has named it.
func (b *builder) hasOther(o *object, path string) bool {
	for _, other := range []string{"redirect", "directResponse", "delegate"} {
		if o.broken[path+"."+other] != "" {
			return true
		}
	}
	return false
}

func (b *builder) match(o *object, path string, m *networking.HTTPMatchRequest) fleet.Match {
	match := fleet.Match{Origin: o.origin(path)}
	var field, text string
	switch uri := m.GetUri().GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		match.Path.Exact = uri.Exact
		field, text = ".uri.exact", uri.Exact
	case *networking.StringMatch_Prefix:
		match.Path.Prefix = uri.Prefix
		field, text = ".uri.prefix", uri.Prefix
	case *networking.StringMatch_Regex:
		match.Path.Regex = uri.Regex
		field, text = ".uri.regex", uri.Regex
		if _, err := route.CompileRegex(text); err != nil {
			b.report(o, Invalid, path+field, "%s; see RE2's syntax", err)
		}
	default:
		if m.GetUri() != nil {
			b.report(o, Missing, path+".uri", "is empty; set exact, prefix or regex, or remove it")
		}
		return match
	}
	switch {
	case text == "":
		b.report(o, Invalid, path+field, "is empty; remove the match to match everything")
	case match.Path.Regex == "" && text[0] != '/' && text != "*":
		b.warn(o, path+field, "%q matches nothing: a path begins with \"/\"", clip(text))
	}
	return match
}

func (b *builder) destinations(o *object, path string, from []*networking.HTTPRouteDestination, port uint32) []fleet.Destination {
	var list []fleet.Destination
	sum := uint64(0)
	for i, d := range from {
		at := fmt.Sprintf("%s[%d]", path, i)
		weight := d.GetWeight()
		if weight < 0 {
			b.report(o, Invalid, at+".weight", "%d is below zero", weight)
			weight = 0
		}
		sum += uint64(weight)
		service, ok := b.destination(o, at+".destination", d.GetDestination(), port)
		if ok {
			list = append(list, fleet.Destination{Service: service, Subset: d.Destination.Subset, Weight: uint32(weight)})
		}
	}
	switch {
	case len(from) == 1:
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
	if d.GetHost() == "" {
		b.report(o, Missing, path+".host", "is missing; name a service")
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
