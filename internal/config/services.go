package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"

	"crossfade.dev/internal/fleet"
)

// A host is everything behind one fully qualified name: a fleet.Service for each of its ports.
type host struct {
	object   *object
	name     string // as in fleet.Service.Host
	services []fleet.Service
	byPort   map[uint32]int // index into services
	rule     *hostRule      // the DestinationRule that holds for it; nil if there is none
}

// service returns the service on a port, or nil.
func (h *host) service(port uint32) *fleet.Service {
	if i, ok := h.byPort[port]; ok {
		return &h.services[i]
	}
	return nil
}

// web returns the services that speak HTTP, of whatever version: gRPC is HTTP too.
func (h *host) web() []*fleet.Service {
	var web []*fleet.Service
	for i := range h.services {
		if h.services[i].Protocol != protocolTCP {
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
		protocol := b.protocol(o, path, p.Name, p.AppProtocol)
		usable, reached := b.checkPort(o, path+".port", int64(p.Port)), b.checkTarget(o, path+".targetPort", p)
		if !usable || !reached {
			continue
		}
		b.addPort(o, h, path+".port", &fleet.Service{
			Namespace: namespace,
			Port:      uint32(p.Port),
			PortName:  p.Name,
			Target:    target(p),
			Protocol:  protocol,
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
	policy := defaultPolicy()
	policy.HTTP = versionOf(s)
	s.Pools = []fleet.Pool{{Policy: policy}}
	if h.byPort == nil {
		h.byPort = map[uint32]int{}
	}
	h.byPort[s.Port] = len(h.services)
	h.services = append(h.services, *s)
}
