package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	core "k8s.io/api/core/v1"

	"crossfade.dev/internal/fleet"
)

// The protocols of a service's port, as fleet names them.
const (
	protocolHTTP = "http"
	protocolTCP  = "tcp"
)

// A host is everything behind one fully qualified name: a fleet.Service for each of its ports.
type host struct {
	object   *object
	name     string // as in fleet.Service.Host
	services []fleet.Service
	rule     *hostRule // the DestinationRule that holds for it; nil if there is none
}

// service returns the service on a port, or nil.
func (h *host) service(port uint32) *fleet.Service {
	for i := range h.services {
		if h.services[i].Port == port {
			return &h.services[i]
		}
	}
	return nil
}

// web returns the services that speak HTTP.
func (h *host) web() []*fleet.Service {
	var web []*fleet.Service
	for i := range h.services {
		if h.services[i].Protocol == protocolHTTP {
			web = append(web, &h.services[i])
		}
	}
	return web
}

func (h *host) ports() string {
	var ports []string
	for i := range h.services {
		ports = append(ports, strconv.FormatUint(uint64(h.services[i].Port), 10))
	}
	return strings.Join(ports, ", ")
}

// addService takes in a Kubernetes Service.
func (b *builder) addService(o *object, s *core.ServiceSpec) {
	name, namespace := o.meta.Name, o.meta.Namespace
	if isName(name) && !isLabel(name) {
		b.report(o, Invalid, "metadata.name", `%q is not a name for a Service: no dots, 63 characters at most`, clip(name))
	}
	h := &host{object: o, name: shortHost(name, namespace)}
	b.hosts[fqdn(name, namespace)] = h
	if len(s.Ports) == 0 {
		b.report(o, Missing, "spec.ports", "is missing; a Service needs at least one port")
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		path := fmt.Sprintf("spec.ports[%d]", i)
		if len(s.Ports) > 1 && p.Name == "" {
			b.report(o, Missing, path+".name", "is missing; name the ports of a Service that has several")
		}
		if !b.checkPort(o, path+".port", int64(p.Port)) || !b.checkTarget(o, path+".targetPort", p) {
			continue
		}
		b.addPort(o, h, path+".port", &fleet.Service{
			Namespace: namespace,
			Port:      uint32(p.Port),
			PortName:  p.Name,
			Target:    target(p),
			Protocol:  b.protocol(o, path, p.Name, p.AppProtocol),
			Names:     spellings(name, namespace),
			Selector:  s.Selector,
			Origin:    o.origin(path),
		})
	}
}

// checkPort says whether n can be a port. Zero is what a port that is not given reads as.
func (b *builder) checkPort(o *object, path string, n int64) bool {
	switch {
	case n == 0 && !o.has(path):
		b.report(o, Missing, path, "is missing; give a port number")
	case n < 1 || n > math.MaxUint16:
		b.report(o, Invalid, path, "%d is no port; it must be between 1 and 65535", n)
	default:
		return true
	}
	return false
}

func (b *builder) checkTarget(o *object, path string, p *core.ServicePort) bool {
	if !o.has(path) {
		return true
	}
	if name := p.TargetPort.StrVal; name != "" {
		if !isLabel(name) || len(name) > 15 {
			b.report(o, Invalid, path, "%q is no name of a port: 15 lower-case letters, digits and \"-\" at most; write a number without quotes", clip(name))
			return false
		}
		return true
	}
	return b.checkPort(o, path, int64(p.TargetPort.IntVal))
}

// target is the instances' port, as fleet.Service has it: empty where it is the service's own.
func target(p *core.ServicePort) string {
	if p.TargetPort.StrVal == "" && (p.TargetPort.IntVal == 0 || p.TargetPort.IntVal == p.Port) {
		return ""
	}
	return p.TargetPort.String()
}

// addPort adds a service to its host, with default policy.
func (b *builder) addPort(o *object, h *host, path string, s *fleet.Service) {
	s.Host = h.name
	s.Name = fmt.Sprintf("%s:%d", s.Host, s.Port)
	if h.service(s.Port) != nil {
		b.report(o, Conflict, path, "port %d is there already; a port can be given once", s.Port)
		return
	}
	if other := b.named[s.Name]; other != nil {
		b.report(o, Conflict, "metadata.name", "%s is a name of %s at %s already; rename one",
			s.Name, other.object.id(), other.object.where())
		return
	}
	b.named[s.Name] = h
	s.Pools = []fleet.Pool{{Policy: defaultPolicy()}}
	h.services = append(h.services, *s)
}

// protocol reads what a port of a Kubernetes Service speaks from appProtocol, else from the part of its name
// before the first "-", as Istio does. A port that does not say is taken for HTTP.
func (b *builder) protocol(o *object, path, name string, app *string) string {
	field := path + ".name"
	word, _, _ := strings.Cut(name, "-")
	if strings.HasPrefix(name, "grpc-web") {
		word = "grpc-web"
	}
	if app != nil {
		field, word = path+".appProtocol", *app
	}
	return b.speaks(o, field, word, protocolHTTP)
}

// speaks turns Istio's name of a protocol into fleet's; unknown is the answer for a word that is no protocol.
func (b *builder) speaks(o *object, field, word, unknown string) string {
	switch strings.ToLower(word) {
	case "http", "kubernetes.io/ws":
		return protocolHTTP
	case "tcp", "tls", "https", "mongo", "mysql", "redis":
		b.warn(o, field, "the mesh port carries HTTP only; a %s port has to be connected to directly", strings.ToLower(word))
		return protocolTCP
	case "http2", "grpc", "grpc-web", "udp", "kubernetes.io/h2c", "kubernetes.io/wss":
		b.report(o, Unsupported, field, "%s is not supported yet; crossfade speaks HTTP/1.1", word)
		return protocolTCP
	}
	if unknown == "" {
		b.report(o, Invalid, field, "%q is no protocol; write HTTP", clip(word))
		return protocolTCP
	}
	return unknown
}

// addServiceEntry takes in a ServiceEntry with static endpoints or a selector.
func (b *builder) addServiceEntry(o *object, s *networking.ServiceEntry) {
	if !o.has("spec.resolution") {
		b.report(o, Unsupported, "spec.resolution", "is missing, which means NONE, and that is not supported yet; write STATIC")
	}
	if len(s.Hosts) == 0 {
		b.report(o, Missing, "spec.hosts", "is missing; name at least one host")
	}
	if len(s.Ports) == 0 {
		b.report(o, Missing, "spec.ports", "is missing; name at least one port")
	}
	if len(s.Endpoints) > 0 && s.WorkloadSelector != nil {
		b.report(o, Conflict, "spec.workloadSelector", "only one of endpoints and workloadSelector may be set")
	}
	if len(s.Endpoints) == 0 && s.WorkloadSelector == nil {
		b.report(o, Missing, "spec.endpoints", "is missing; STATIC needs endpoints or a workloadSelector")
	}
	ports := b.entryPorts(o, s)
	for i, name := range s.Hosts {
		b.addEntryHost(o, ports, fmt.Sprintf("spec.hosts[%d]", i), strings.ToLower(name))
	}
}

func (b *builder) addEntryHost(o *object, ports []fleet.Service, path, name string) {
	switch {
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
		if !b.checkPort(o, path+".number", int64(p.GetNumber())) ||
			(o.has(path+".targetPort") && !b.checkPort(o, path+".targetPort", int64(p.GetTargetPort()))) {
			continue
		}
		service := fleet.Service{
			Namespace: o.meta.Namespace,
			Port:      p.GetNumber(),
			PortName:  p.GetName(),
			Protocol:  protocolHTTP,
			Selector:  s.GetWorkloadSelector().GetLabels(),
			Origin:    o.origin(path),
		}
		if t := p.GetTargetPort(); t != 0 && t != p.GetNumber() {
			service.Target = strconv.FormatUint(uint64(t), 10)
		}
		if o.has(path + ".protocol") {
			service.Protocol = b.speaks(o, path+".protocol", p.GetProtocol(), "")
		}
		service.Endpoints = b.endpoints(o, s, addresses, &service)
		list = append(list, service)
	}
	return list
}

// addresses reads the addresses of a ServiceEntry's endpoints; one that cannot be used is the zero value.
func (b *builder) addresses(o *object, s *networking.ServiceEntry) []netip.Addr {
	list := make([]netip.Addr, len(s.Endpoints))
	for i, e := range s.Endpoints {
		path := fmt.Sprintf("spec.endpoints[%d]", i)
		address, ok := b.address(o, path, e)
		if !ok {
			continue
		}
		list[i] = address
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
		port := service.Port
		if n, err := strconv.ParseUint(service.Target, 10, 16); err == nil {
			port = uint32(n)
		}
		if own, named := e.Ports[service.PortName]; named {
			port = own
		}
		at := netip.AddrPortFrom(addresses[i], uint16(port))
		if slices.ContainsFunc(list, func(e fleet.Endpoint) bool { return e.Address == at }) {
			b.report(o, Conflict, fmt.Sprintf("spec.endpoints[%d].address", i), "%s is there already; keep one", at)
			continue
		}
		list = append(list, fleet.Endpoint{
			Name:        fmt.Sprintf("%s-%d", o.meta.Name, i+1),
			Incarnation: fmt.Sprintf("entry/%s/%s", o.key(), at),
			Address:     at,
			Labels:      e.Labels,
			Locality:    locality(e.Locality),
			Weight:      max(1, e.Weight),
		})
	}
	slices.SortStableFunc(list, func(x, y fleet.Endpoint) int { return x.Address.Compare(y.Address) })
	return list
}
