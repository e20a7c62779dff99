package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// addServiceEntry takes in a ServiceEntry.
func (b *builder) addServiceEntry(o *object, s *networking.ServiceEntry) {
	exported := b.exported(o, s.ExportTo)
	if !o.has("spec.resolution") {
		b.report(o, Unsupported, "spec.resolution", "is missing, which means NONE, and that is not supported yet; write STATIC or DNS")
	}
	if len(s.Hosts) == 0 {
		b.report(o, Missing, "spec.hosts", "is missing; name at least one host")
	}
	if len(s.Ports) == 0 {
		b.report(o, Missing, "spec.ports", "is missing; name at least one port")
	}
	b.checkEntryEndpoints(o, s)
	ports := b.entryPorts(o, s)
	if !exported {
		return
	}
	for i, name := range s.Hosts {
		b.addEntryHost(o, s, ports, fmt.Sprintf("spec.hosts[%d]", i), strings.ToLower(name))
	}
}

// checkEntryEndpoints makes sure that a ServiceEntry says in one way where its endpoints are.
func (b *builder) checkEntryEndpoints(o *object, s *networking.ServiceEntry) {
	if len(s.Endpoints) > 0 && s.WorkloadSelector != nil {
		b.report(o, Conflict, "spec.workloadSelector", "only one of endpoints and workloadSelector may be set")
	}
	if len(s.Endpoints) == 0 && s.WorkloadSelector == nil && !byName(s) && o.broken["spec.resolution"] == "" {
		b.report(o, Missing, "spec.endpoints", "is missing; STATIC needs endpoints or a workloadSelector")
	}
	if s.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN && len(s.Endpoints) > 1 {
		b.report(o, Invalid, "spec.endpoints[1]", "DNS_ROUND_ROBIN takes one endpoint at most; use DNS for several")
	}
	for _, name := range slices.Sorted(maps.Keys(s.GetWorkloadSelector().GetLabels())) {
		if strings.Contains(name+s.WorkloadSelector.Labels[name], "*") {
			b.report(o, Invalid, "spec.workloadSelector.labels["+name+"]", "a wildcard cannot select; write the label out")
		}
	}
}

// byName says whether the endpoints of a ServiceEntry may be names, to be looked up.
func byName(s *networking.ServiceEntry) bool {
	return s.Resolution == networking.ServiceEntry_DNS || s.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN
}

func (b *builder) addEntryHost(o *object, s *networking.ServiceEntry, ports []fleet.Service, path, name string) {
	switch {
	case name == "*":
		b.report(o, Invalid, path, "\"*\" cannot be the host of a ServiceEntry; name every host")
		return
	case strings.HasPrefix(name, "*"):
		b.report(o, Unsupported, path, "a wildcard is not supported yet; name every host")
		return
	case !isName(name):
		b.report(o, Invalid, path, "%q is no host name", clip(name))
		return
	}
	h := &host{object: o, name: name}
	if other := b.hosts[name]; other != nil {
		b.report(o, Conflict, path, "%s is defined by %s at %s already", name, other.object.id(), other.object.where())
		return
	}
	b.hosts[name] = h
	for i := range ports {
		service := ports[i]
		service.Names = []string{name}
		if byName(s) && len(s.Endpoints) == 0 && s.WorkloadSelector == nil { // the host itself is looked up
			service.Resolve = []fleet.ResolveName{{
				Name: o.meta.Name, Host: name, Port: instancePort(&service, nil), Weight: 1,
				One: s.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN,
			}}
		}
		b.addPort(o, h, "spec.ports", &service)
	}
}

// entryPorts makes a service for each port of a ServiceEntry, still without a host.
func (b *builder) entryPorts(o *object, s *networking.ServiceEntry) []fleet.Service {
	var list []fleet.Service
	addresses := b.addresses(o, s)
	for i, p := range s.Ports {
		path := fmt.Sprintf("spec.ports[%d]", i)
		if p.GetName() == "" {
			b.report(o, Missing, path+".name", "is missing; give the port a name")
		}
		usable := b.checkPort(o, path+".number", int64(p.GetNumber()))
		if o.has(path + ".targetPort") {
			usable = b.checkPort(o, path+".targetPort", int64(p.GetTargetPort())) && usable
		}
		if slices.ContainsFunc(list, func(other fleet.Service) bool { return other.Port == p.GetNumber() }) {
			b.report(o, Conflict, path+".number", "port %d is there already; a port can be given once", p.GetNumber())
			usable = false
		}
		protocol := protocolHTTP
		if o.has(path + ".protocol") {
			protocol = b.speaks(o, path+".protocol", p.GetProtocol(), "")
		}
		if !usable {
			continue
		}
		service := fleet.Service{
			Namespace: o.meta.Namespace,
			Port:      p.GetNumber(),
			PortName:  p.GetName(),
			Protocol:  protocol,
			Selector:  s.GetWorkloadSelector().GetLabels(),
			Origin:    o.origin(path),
		}
		if t := p.GetTargetPort(); t != 0 && t != p.GetNumber() {
			service.Target = strconv.FormatUint(uint64(t), 10)
		}
		service.Endpoints = b.endpoints(o, s, addresses, &service)
		service.Resolve = resolveNames(o, s, addresses, &service)
		list = append(list, service)
	}
	return list
}

// addresses reads the addresses of a ServiceEntry's endpoints; one that cannot be used is the zero value.
func (b *builder) addresses(o *object, s *networking.ServiceEntry) []netip.Addr {
	list := make([]netip.Addr, len(s.Endpoints))
	for i, e := range s.Endpoints {
		path := fmt.Sprintf("spec.endpoints[%d]", i)
		if byName(s) && isDomain(e.GetAddress()) {
			b.checkEntry(o, path, e)
		} else if address, ok := b.address(o, path, e); ok {
			list[i] = address
		}
	}
	return list
}

// endpoints are those that a ServiceEntry lists, on the instances' port.
func (b *builder) endpoints(o *object, s *networking.ServiceEntry, addresses []netip.Addr, service *fleet.Service) []fleet.Endpoint {
	var list []fleet.Endpoint
	for i, e := range s.Endpoints {
		if !addresses[i].IsValid() {
			continue
		}
		at := netip.AddrPortFrom(addresses[i], uint16(instancePort(service, e)))
		if slices.ContainsFunc(list, func(e fleet.Endpoint) bool { return e.Address == at }) {
			b.report(o, Conflict, fmt.Sprintf("spec.endpoints[%d].address", i), "%s is there already; keep one", at)
			continue
		}
		list = append(list, fleet.Endpoint{
			Name:        fmt.Sprintf("%s-%d", o.meta.Name, i+1),
			Incarnation: fmt.Sprintf("entry/%s/%s", o.key(), at),
			Address:     at,
			Labels:      e.Labels,
			Locality:    localityOf(e.Locality, e.Labels),
			Weight:      max(1, e.Weight),
		})
	}
	slices.SortStableFunc(list, func(x, y fleet.Endpoint) int { return x.Address.Compare(y.Address) })
	return list
}

// instancePort is the port on which an endpoint of a ServiceEntry serves; e may be nil.
func instancePort(service *fleet.Service, e *networking.WorkloadEntry) uint32 {
	if own, named := e.GetPorts()[service.PortName]; named {
		return own
	}
	if n, err := strconv.ParseUint(service.Target, 10, 16); err == nil {
		return uint32(n)
	}
	return service.Port
}

// isDomain says whether an address is a name to look up.
func isDomain(address string) bool {
	_, err := netip.ParseAddr(address)
	return err != nil && isName(strings.ToLower(address))
}

// resolveNames are the names among a ServiceEntry's endpoints.
func resolveNames(o *object, s *networking.ServiceEntry, addresses []netip.Addr, service *fleet.Service) []fleet.ResolveName {
	var list []fleet.ResolveName
	for i, e := range s.Endpoints {
		if !byName(s) || addresses[i].IsValid() || !isDomain(e.GetAddress()) {
			continue
		}
		list = append(list, fleet.ResolveName{
			Name:     fmt.Sprintf("%s-%d", o.meta.Name, i+1),
			Host:     strings.ToLower(e.Address),
			Port:     instancePort(service, e),
			Weight:   max(1, e.Weight),
			Labels:   e.Labels,
			Locality: localityOf(e.Locality, e.Labels),
			One:      s.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN,
		})
	}
	return list
}
