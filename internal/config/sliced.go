package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"crossfade.dev/internal/fleet"
)

// An endpointSlice is an EndpointSlice or one subset of an Endpoints, read: who serves a Service.
type endpointSlice struct {
	object  *object
	field   string            // that names the Service
	service string            // its name
	ports   map[string]uint32 // by the name of the Service's port
	list    []fleet.Endpoint  // without ports
}

// addSlice takes in an EndpointSlice.
func (b *builder) addSlice(o *object, s *discovery.EndpointSlice) {
	field := "metadata.labels[" + discovery.LabelServiceName + "]"
	own := &endpointSlice{object: o, field: field, service: s.Labels[discovery.LabelServiceName], ports: map[string]uint32{}}
	if own.service == "" {
		b.report(o, Missing, field, "is missing; name the Service that the endpoints are of")
		return
	}
	for i := range s.Ports {
		p, path := &s.Ports[i], fmt.Sprintf("ports[%d].port", i)
		if p.Port == nil {
			b.report(o, Missing, path, "is missing; give a port number")
		} else if b.checkPort(o, path, int64(*p.Port)) {
			own.ports[deref(p.Name)] = uint32(*p.Port)
		}
	}
	for i := range s.Endpoints {
		e, path := &s.Endpoints[i], fmt.Sprintf("endpoints[%d]", i)
		if len(e.Addresses) == 0 {
			b.report(o, Missing, path+".addresses", "is missing; give an IP address")
			continue
		}
		c := e.Conditions
		if c.Ready != nil && !*c.Ready || c.Terminating != nil && *c.Terminating {
			continue
		}
		if address, ok := b.ip(o, path+".addresses[0]", e.Addresses[0]); ok {
			b.checkFamily(o, path+".addresses[0]", s.AddressType, address)
			endpoint := own.endpoint(address, e.TargetRef)
			endpoint.Locality.Zone = deref(e.Zone)
			own.list = append(own.list, endpoint)
		}
	}
	b.sliced = append(b.sliced, own)
}

func (b *builder) checkFamily(o *object, path string, want discovery.AddressType, address netip.Addr) {
	if got := map[bool]discovery.AddressType{true: discovery.AddressTypeIPv4, false: discovery.AddressTypeIPv6}[address.Is4()]; want != got {
		b.report(o, Conflict, path, "%s is of type %s; addressType says %q", address, got, want)
	}
}

func deref[T ~string](s *T) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// endpoint makes an endpoint on an address, still without a port.
func (s *endpointSlice) endpoint(address netip.Addr, ref *core.ObjectReference) fleet.Endpoint {
	e := fleet.Endpoint{
		Name:        s.service + "-" + strings.NewReplacer(".", "-", ":", "-").Replace(address.String()),
		Incarnation: podIncarnation("", s.object.meta.Namespace+"/"+s.service, address.String()),
		Address:     netip.AddrPortFrom(address, 0),
		Weight:      1,
	}
	if ref != nil {
		e.Name = cmp.Or(ref.Name, e.Name)
		if ref.UID != "" {
			e.Incarnation = podIncarnation(string(ref.UID), "", "")
		}
	}
	return e
}

// addEndpoints takes in an Endpoints: each of its subsets is a slice.
func (b *builder) addEndpoints(o *object, e *core.Endpoints) { //nolint:staticcheck // older clusters still write them
	for i := range e.Subsets {
		s, path := &e.Subsets[i], fmt.Sprintf("subsets[%d]", i)
		own := &endpointSlice{object: o, field: "metadata.name", service: o.meta.Name, ports: map[string]uint32{}}
		for j := range s.Ports {
			if at := fmt.Sprintf("%s.ports[%d].port", path, j); b.checkPort(o, at, int64(s.Ports[j].Port)) {
				own.ports[s.Ports[j].Name] = uint32(s.Ports[j].Port)
			}
		}
		for j := range s.Addresses {
			if address, ok := b.ip(o, fmt.Sprintf("%s.addresses[%d].ip", path, j), s.Addresses[j].IP); ok {
				own.list = append(own.list, own.endpoint(address, s.Addresses[j].TargetRef))
			}
		}
		b.sliced = append(b.sliced, own)
	}
}

// addSlices gives Services the endpoints that EndpointSlices list. A Service whose selector finds instances has
// those: slices list the same ones once more. Where there are both, slices go before Endpoints, which mirror them.
func (b *builder) addSlices() {
	slices.SortStableFunc(b.sliced, func(x, y *endpointSlice) int { return cmp.Compare(x.object.kind, y.object.kind) })
	from := map[*host]string{}
	for _, s := range b.sliced {
		h := b.hosts[fqdn(s.service, s.object.meta.Namespace)]
		switch {
		case h == nil || h.object.kind != "Service":
			b.report(s.object, Reference, s.field, "%s", b.noService(fqdn(s.service, s.object.meta.Namespace), s.object.meta.Namespace))
		case b.selects(h):
			b.warn(s.object, s.field, "the selector of %s finds its instances; these endpoints are not used", h.object.id())
		case from[h] != "" && from[h] != s.object.kind: // Kubernetes mirrors one in the other
		default:
			from[h] = s.object.kind
			b.fill(h, s)
		}
	}
}

// selects says whether instances that configuration names belong to a Service.
func (b *builder) selects(h *host) bool {
	if len(h.services) == 0 || len(h.services[0].Selector) == 0 {
		return false
	}
	namespace, selector := h.services[0].Namespace, h.services[0].Selector
	return slices.ContainsFunc(b.instances, func(in fleet.Instance) bool { return in.Namespace == namespace && fleet.Carries(in.Labels, selector) }) ||
		slices.ContainsFunc(b.workloads, func(w fleet.Workload) bool { return w.Namespace == namespace && fleet.Carries(w.Labels, selector) })
}

func (b *builder) fill(h *host, s *endpointSlice) {
	found := false
	for i := range h.services {
		service := &h.services[i]
		port, ok := s.ports[service.PortName]
		if !ok {
			continue
		}
		found = true
		for _, e := range s.list {
			e.Address = netip.AddrPortFrom(e.Address.Addr(), uint16(port))
			if !slices.ContainsFunc(service.Endpoints, func(other fleet.Endpoint) bool { return other.Address == e.Address }) {
				service.Endpoints = append(service.Endpoints, e)
			}
		}
		slices.SortStableFunc(service.Endpoints, func(x, y fleet.Endpoint) int { return x.Address.Compare(y.Address) })
	}
	if !found && len(s.ports) > 0 {
		b.warn(s.object, s.field, "%s at %s has no port of these names: the endpoints are not used", h.object.id(), h.object.where())
	}
}
