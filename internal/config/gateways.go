package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// A gateway is a Gateway, read.
type gateway struct {
	object   *object
	selector map[string]string
	servers  []server
}

// A server is one of a Gateway's: a port, and what may be asked for there.
type server struct {
	path     string
	port     uint32
	hosts    []serverHost
	redirect bool             // plaintext requests are sent to https
	tls      *fleet.ServerTLS // nil serves plaintext

	byName map[string][]serverHost // see near
	wild   []serverHost
}

// protocol is what a server speaks: "http" or "https".
func (s *server) protocol() string {
	if s.tls != nil {
		return "https"
	}
	return "http"
}

// near returns the hosts of a server that may have something in common with a name: all for a wildcard, otherwise
// that name and the wildcards.
func (s *server) near(name string) []serverHost {
	if strings.HasPrefix(name, "*") {
		return s.hosts
	}
	if s.byName == nil {
		s.byName = map[string][]serverHost{}
		for _, h := range s.hosts {
			if strings.HasPrefix(h.name, "*") {
				s.wild = append(s.wild, h)
			} else {
				s.byName[h.name] = append(s.byName[h.name], h)
			}
		}
	}
	return append(slices.Clip(s.byName[name]), s.wild...)
}

// A serverHost is a host name, maybe a wildcard, and the namespace whose VirtualServices may use it: "*" is any.
type serverHost struct {
	path      string
	namespace string
	name      string
}

// addGateway takes in a Gateway.
func (b *builder) addGateway(o *object, g *networking.Gateway) {
	gw := &gateway{object: o, selector: g.Selector}
	b.gateways[o.key()] = gw
	for _, name := range slices.Sorted(maps.Keys(g.Selector)) {
		if got := b.options.Labels[name]; got != g.Selector[name] {
			b.report(o, Reference, "spec.selector["+name+"]", "%s", b.whoCarries(name, clip(g.Selector[name])))
		}
	}
	if len(g.Servers) == 0 {
		b.report(o, Missing, "spec.servers", "is missing; name at least one port to serve")
	}
	for i, s := range g.Servers {
		path := fmt.Sprintf("spec.servers[%d]", i)
		own := server{path: path, port: s.GetPort().GetNumber(), hosts: b.serverHosts(o, path, s.GetHosts())}
		if s.GetPort().GetProtocol() != "" { // else nobody knows what tls would have to say
			b.serverTLS(o, &own, s)
		}
		if b.checkServer(o, path, s) {
			gw.servers = append(gw.servers, own)
		}
	}
}

func labelText(labels map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, name+"="+labels[name])
	}
	return strings.Join(pairs, ", ")
}

func (b *builder) checkServer(o *object, path string, s *networking.Server) bool {
	if len(s.GetHosts()) == 0 {
		b.report(o, Missing, path+".hosts", `is missing; name the hosts to serve, or "*" for all`)
	}
	if s.GetPort() == nil {
		b.report(o, Missing, path+".port", "is missing; name the port to serve")
		return false
	}
	if s.Port.Name == "" {
		b.report(o, Missing, path+".port.name", "is missing; give the port a name")
	}
	switch protocol := s.Port.Protocol; strings.ToUpper(protocol) {
	case "HTTP", "HTTP2", "GRPC", "HTTPS": // clients choose between HTTP/1.1 and HTTP/2 on each of them
	case "":
		b.report(o, Missing, path+".port.protocol", "is missing; write HTTP, HTTPS, HTTP2 or GRPC")
	case "GRPC-WEB":
		b.report(o, Unsupported, path+".port.protocol", "%s is not supported yet: %s", protocol, noGRPCWeb)
	case "TCP", "TLS", "MONGO", "MYSQL", "REDIS", "UDP":
		b.report(o, Unsupported, path+".port.protocol", "%s is not supported yet; crossfade serves HTTP, HTTP2, GRPC and HTTPS", protocol)
	default:
		b.report(o, Invalid, path+".port.protocol", "%q is no protocol; write HTTP, HTTPS, HTTP2 or GRPC", clip(protocol))
	}
	return b.checkPort(o, path+".port.number", int64(s.Port.Number))
}

func (b *builder) serverHosts(o *object, path string, hosts []string) []serverHost {
	var list []serverHost
	for i, text := range hosts {
		h := serverHost{path: fmt.Sprintf("%s.hosts[%d]", path, i), namespace: "*", name: strings.ToLower(text)}
		if namespace, name, scoped := strings.Cut(h.name, "/"); scoped {
			h.namespace, h.name = namespace, name
			if namespace == "." {
				h.namespace = o.meta.Namespace
			}
		}
		if !isHost(h.name) || (h.namespace != "*" && !isLabel(h.namespace)) {
			b.report(o, Invalid, h.path, `%q is no host; write "shop.example.com", "*.example.com", "*" or "namespace/host"`, clip(text))
			continue
		}
		list = append(list, h)
	}
	return list
}

// checkServers names hosts that two servers on one port both want.
func (b *builder) checkServers() {
	type claim struct {
		port uint32
		host string
	}
	type owner struct {
		gateway *gateway
		host    serverHost
	}
	owners := map[claim][]owner{}
	for _, key := range slices.Sorted(maps.Keys(b.gateways)) {
		g := b.gateways[key]
		for _, s := range g.servers {
			for _, h := range s.hosts {
				c := claim{s.port, h.name}
				for _, other := range owners[c] {
					if h.namespace == "*" || other.host.namespace == "*" || h.namespace == other.host.namespace {
						b.report(g.object, Conflict, h.path, "%s serves %s on port %d already, at %s:%d; keep one",
							other.gateway.object.id(), h.name, s.port, other.gateway.object.file,
							other.gateway.object.at(other.host.path).line)
						break
					}
				}
				owners[c] = append(owners[c], owner{g, h})
			}
		}
	}
}
