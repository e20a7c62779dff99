package config

import (
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
