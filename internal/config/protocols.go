package config

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// The protocols of a service's port, as fleet names them.
const (
	protocolHTTP  = "http"
	protocolHTTP2 = "http2"
	protocolGRPC  = "grpc"
	protocolTCP   = "tcp"
)

// noGRPCWeb says why that is refused: Istio has Envoy turn calls of browsers into gRPC.
const noGRPCWeb = "nothing here turns gRPC-Web into gRPC; write http where the endpoints speak it themselves"

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
	case "http2", "kubernetes.io/h2c":
		return protocolHTTP2
	case "grpc":
		return protocolGRPC
	case "tcp", "tls", "https", "mongo", "mysql", "redis":
		b.warn(o, field, "the mesh port carries HTTP only; a %s port has to be connected to directly", strings.ToLower(word))
		return protocolTCP
	case "grpc-web":
		b.report(o, Unsupported, field, "%s is not supported yet: %s", word, noGRPCWeb)
		return protocolTCP
	case "kubernetes.io/wss":
		b.report(o, Unsupported, field, "%s is not supported yet; write http, and have a DestinationRule say tls", word)
		return protocolTCP
	case "udp":
		b.report(o, Unsupported, field, "%s is not supported yet; crossfade carries HTTP/1.1, HTTP/2 and gRPC", word)
		return protocolTCP
	}
	if unknown == "" {
		b.report(o, Invalid, field, "%q is no protocol; write HTTP, HTTP2 or GRPC", clip(word))
		return protocolTCP
	}
	return unknown
}

// versionOf is the version of HTTP in which the endpoints of a service are spoken to where no DestinationRule says.
func versionOf(s *fleet.Service) fleet.HTTP {
	if s.Protocol == protocolHTTP2 || s.Protocol == protocolGRPC {
		return fleet.HTTP2
	}
	return fleet.HTTP1
}

// version reads in which version of HTTP endpoints are spoken to; HTTP1 leaves it to the port. As in Istio, UPGRADE
// goes before what the port says, and useClientProtocol before both.
func (b *builder) version(o *object, path string, h *networking.ConnectionPoolSettings_HTTPSettings) fleet.HTTP {
	switch {
	case h.GetUseClientProtocol():
		if o.has(path + ".h2UpgradePolicy") {
			b.warn(o, path+".h2UpgradePolicy", "useClientProtocol goes before it; remove one of the two")
		}
		return fleet.HTTPSame
	case h.GetH2UpgradePolicy() == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE:
		return fleet.HTTP2
	}
	return fleet.HTTP1
}

// A refusal is where a DestinationRule says DO_NOT_UPGRADE.
type refusal struct {
	path string
	port uint32 // that it is for; 0 is all
}

// refuse notes where a rule says DO_NOT_UPGRADE.
func (r *hostRule) refuse(path string, t traffic) {
	pool := t.GetConnectionPool().GetHttp()
	if pool.GetUseClientProtocol() || pool.GetH2UpgradePolicy() != networking.ConnectionPoolSettings_HTTPSettings_DO_NOT_UPGRADE {
		return
	}
	at := refusal{path: path + ".connectionPool.http.h2UpgradePolicy"}
	if one, ok := t.(interface {
		GetPort() *networking.PortSelector
	}); ok {
		at.port = one.GetPort().GetNumber()
	}
	r.refusals = append(r.refusals, at)
}

// checkRefusals names every DO_NOT_UPGRADE that is for ports only which say themselves that they speak HTTP/2.
func (b *builder) checkRefusals() {
	for _, rule := range b.rules {
		for _, at := range rule.refusals {
			said := map[fleet.HTTP]bool{}
			for _, h := range b.hosts {
				for _, s := range h.web() {
					if h.rule == rule && (at.port == 0 || at.port == s.Port) {
						said[versionOf(s)] = true
					}
				}
			}
			if said[fleet.HTTP2] && !said[fleet.HTTP1] {
				b.warn(rule.object, at.path, "DO_NOT_UPGRADE takes nothing from a port that says http2 or grpc, as in Istio; remove it, or name the port http")
			}
		}
	}
}

// checkProbed names a port of a Service at which a Deployment is probed by gRPC while all else goes there in HTTP/1.1.
// Target is the port of the Deployment's container.
func (b *builder) checkProbed(h *host, s *fleet.Service, w *fleet.Workload, target uint32) {
	probed := w.Readiness != nil && w.Readiness.GRPC && w.Readiness.Port == target
	if !probed || s.Protocol != protocolHTTP || slices.ContainsFunc(s.Pools, func(p fleet.Pool) bool { return p.Policy.HTTP != fleet.HTTP1 }) {
		return
	}
	for i := range h.services {
		if h.services[i].Port != s.Port {
			continue
		}
		path, field := fmt.Sprintf("spec.ports[%d]", i), "name"
		if h.object.has(path + ".appProtocol") {
			field = "appProtocol"
		}
		b.warn(h.object, path+"."+field, "calls go to this port in HTTP/1.1, but Deployment %s/%s at %s:%d has a readinessProbe by gRPC there; write %s: grpc",
			w.Namespace, w.Name, w.Origin.File, w.Origin.Line, field)
		return
	}
}

// checkProbePort names a number of a probe's port that is none of the container's.
func (b *builder) checkProbePort(o *object, path string, number uint32, w *fleet.Workload) {
	for _, kind := range []string{".httpGet", ".tcpSocket", ".grpc"} {
		there := func(p fleet.ContainerPort) bool { return p.Number == number }
		if o.has(path+kind+".port") && number != 0 && number != readinessPort && len(w.Ports) > 0 && !slices.ContainsFunc(w.Ports, there) {
			b.warn(o, path+kind+".port", "no containerPort is %d; mend the number, or add the port to the container's", number)
		}
	}
}
