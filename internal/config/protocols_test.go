package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// What a port is named, and what it says of itself, as Istio reads it.
func TestProtocolsOfPorts(t *testing.T) {
	for _, c := range []struct {
		port, protocol string
		http           fleet.HTTP
	}{
		{"{port: 80}", "http", fleet.HTTP1},
		{"{port: 80, name: web}", "http", fleet.HTTP1},
		{"{port: 80, name: http}", "http", fleet.HTTP1},
		{"{port: 80, name: http-2}", "http", fleet.HTTP1},
		{"{port: 80, name: http2}", "http2", fleet.HTTP2},
		{"{port: 80, name: http2-web}", "http2", fleet.HTTP2},
		{"{port: 80, name: grpc}", "grpc", fleet.HTTP2},
		{"{port: 80, name: grpc-api}", "grpc", fleet.HTTP2},
		{"{port: 80, name: grpcapi}", "http", fleet.HTTP1},
		{"{port: 80, name: tcp-db}", "tcp", fleet.HTTP1},
		{"{port: 80, name: web, appProtocol: kubernetes.io/h2c}", "http2", fleet.HTTP2},
		{"{port: 80, name: web, appProtocol: HTTP2}", "http2", fleet.HTTP2},
		{"{port: 80, name: web, appProtocol: grpc}", "grpc", fleet.HTTP2},
		{"{port: 80, name: grpc, appProtocol: http}", "http", fleet.HTTP1},
		{"{port: 80, name: grpc, appProtocol: kubernetes.io/ws}", "http", fleet.HTTP1},
	} {
		d := mustParse(t, "---\n{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: ["+c.port+"]}}\n")
		if s := &d.Services[0]; s.Protocol != c.protocol || s.Pools[0].Policy.HTTP != c.http {
			t.Errorf("%s: got %s, endpoints in %v; want %s, %v", c.port, s.Protocol, s.Pools[0].Policy.HTTP, c.protocol, c.http)
		}
	}
	for protocol, want := range map[string]string{"HTTP": "http HTTP/1.1", "http2": "http2 HTTP/2", "GRPC": "grpc HTTP/2", "TCP": "tcp HTTP/1.1"} {
		d := mustParse(t, istio("ServiceEntry", "a", "default", "hosts: [a.example.com], resolution: STATIC, endpoints: [{address: 127.0.0.9}], "+
			"ports: [{number: 80, name: a, protocol: "+protocol+"}]"))
		if s := &d.Services[0]; fmt.Sprint(s.Protocol, " ", s.Pools[0].Policy.HTTP) != want {
			t.Errorf("%s: got %s, endpoints in %v; want %s", protocol, s.Protocol, s.Pools[0].Policy.HTTP, want)
		}
	}
}

// With a DestinationRule, as in Istio: useClientProtocol goes before all, UPGRADE before what the port says, and a
// connectionPool replaces the whole of the one above it.
func TestWhichVersionEndpointsAreSpokenToIn(t *testing.T) {
	const (
		upgrade = "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}"
		not     = "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}"
		same    = "connectionPool: {http: {useClientProtocol: true}}"
		silent  = "connectionPool: {http: {useClientProtocol: false}}"
		other   = "loadBalancer: {simple: RANDOM}"
	)
	subset := func(whole, own string) string {
		return "trafficPolicy: {" + whole + "}, subsets: [{name: v1, trafficPolicy: {" + own + "}}]"
	}
	port := func(whole, own string) string {
		return "trafficPolicy: {" + whole + ", portLevelSettings: [{port: {number: 80}, " + own + "}]}, subsets: [{name: v1}]"
	}
	for _, c := range []struct{ rule, web, rpc string }{ // of the port http, whole and subset; of the port grpc
		{"subsets: [{name: v1}]", "HTTP/1.1 HTTP/1.1", "HTTP/2 HTTP/2"},
		{subset(other, other), "HTTP/1.1 HTTP/1.1", "HTTP/2 HTTP/2"},
		{subset(upgrade, other), "HTTP/2 HTTP/2", "HTTP/2 HTTP/2"},
		{subset(other, upgrade), "HTTP/1.1 HTTP/2", "HTTP/2 HTTP/2"},
		{subset(upgrade, not), "HTTP/2 HTTP/1.1", "HTTP/2 HTTP/2"},
		{subset(upgrade, silent), "HTTP/2 HTTP/1.1", "HTTP/2 HTTP/2"},
		{subset(not, other), "HTTP/1.1 HTTP/1.1", "HTTP/2 HTTP/2"},
		{subset(same, other), "same same", "same same"},
		{subset(same, upgrade), "same HTTP/2", "same HTTP/2"},
		{subset(same, silent), "same HTTP/1.1", "same HTTP/2"},
		{subset(silent, same), "HTTP/1.1 same", "HTTP/2 same"},
		{subset("connectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}", other), "same same", "same same"},
		{port(same, upgrade), "HTTP/2 HTTP/2", "same same"},
		{port(same, other), "HTTP/1.1 HTTP/1.1", "same same"},
		{port(other, same), "same same", "HTTP/2 HTTP/2"},
		{"trafficPolicy: {" + upgrade + ", tls: {mode: SIMPLE}}, subsets: [{name: v1}]", "HTTP/2 HTTP/2", "HTTP/2 HTTP/2"},
	} {
		d := mustParse(t, strings.Replace(service("a", "default", 80, 90), "http-90", "grpc-90", 1), istio("DestinationRule", "a", "default", "host: a, "+c.rule))
		got := map[string]string{}
		for _, s := range d.Services {
			for _, p := range s.Pools {
				got[s.Name] = strings.TrimPrefix(got[s.Name]+" "+p.Policy.HTTP.String(), " ")
			}
		}
		if diff := cmp.Diff(map[string]string{"a:80": c.web, "a:90": c.rpc}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

// Services that speak HTTP/2 or gRPC are reached through the mesh port, and behind Gateways of any protocol of HTTP.
func TestEveryVersionIsRouted(t *testing.T) {
	for _, protocol := range []string{"HTTP", "HTTP2", "GRPC", "http2"} {
		d := mustParse(t, strings.Replace(service("a", "default", 90), "http-90", "grpc-90", 1), service("b", "default", 80),
			strings.Replace(gatewayOn("front", 80, `"*"`), "protocol: HTTP", "protocol: "+protocol, 1),
			istio("VirtualService", "a", "default", "hosts: [a.com], gateways: [front], http: [{route: [{destination: {host: a}}]}]"))
		checkSends(t, d, []request{
			{"mesh", "a:90", "/", "a:90"},
			{"mesh", "a", "/", "a:90"},
			{"mesh", "b", "/", "b:80"},
			{"http-80", "a.com", "/", "a:90"},
		})
	}
}

func TestFaultsOfProtocolsAreNamed(t *testing.T) {
	const pool = "spec.trafficPolicy.connectionPool.http."
	rule := func(http string) string {
		return service("a", "default", 80) + istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {connectionPool: {http: {"+http+"}}}")
	}
	gateway := func(protocol, tls string) string {
		return strings.Replace(gatewayOn("front", 80, `"*"`), "protocol: HTTP}", "protocol: "+protocol+"}"+tls, 1)
	}
	for _, c := range []struct{ document, want string }{
		{rule("useClientProtocol: true, h2UpgradePolicy: UPGRADE"), "warning: " + pool + "h2UpgradePolicy: useClientProtocol goes before it; remove one of the two"},
		{rule("h2UpgradePolicy: UPGRAD"), "error: " + pool + "h2UpgradePolicy: must be one of DEFAULT, DO_NOT_UPGRADE, UPGRADE, not UPGRAD; did you mean UPGRADE?"},
		{rule(`useClientProtocol: "yes"`), "error: " + pool + `useClientProtocol: must be true or false, not the string "yes"`},
		{strings.Replace(service("a", "default", 80), "http-80", "grpc-web-80", 1), "error: spec.ports[0].name: grpc-web is not supported yet: " + noGRPCWeb},
		{gateway("GRPC-Web", ""), "error: spec.servers[0].port.protocol: GRPC-Web is not supported yet: " + noGRPCWeb},
		{gateway("H2C", ""), `error: spec.servers[0].port.protocol: "H2C" is no protocol; write HTTP, HTTPS, HTTP2 or GRPC`},
		{gateway("MONGO", ""), "error: spec.servers[0].port.protocol: MONGO is not supported yet; crossfade serves HTTP, HTTP2, GRPC and HTTPS"},
		{gateway("GRPC", ", tls: {mode: SIMPLE}"), "error: spec.servers[0].tls: a port that speaks HTTP has no use for certificates; write protocol: HTTPS, or keep only httpsRedirect"},
	} {
		_, findings := Parse([]File{{Name: "test.yaml", Data: []byte(c.document)}}, options())
		found := false
		for _, f := range findings {
			found = found || f.Severity.String()+": "+f.Field+": "+f.Message == c.want
		}
		if !found {
			t.Errorf("%s: no finding %q in:\n%s", c.document, c.want, text(findings))
		}
	}
}

// What is well-formed and yet not what its author can have meant is warned about, and nothing else is.
func TestProtocolsThatNobodyCanMeanAreWarnedAbout(t *testing.T) {
	const (
		useless = ".connectionPool.http.h2UpgradePolicy: DO_NOT_UPGRADE takes nothing from a port that says http2 or grpc, as in Istio; remove it, or name the port http"
		not     = "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}"
	)
	rule := func(spec string) string { return istio("DestinationRule", "a", "default", "host: a, "+spec) }
	service := func(port string) string {
		return "---\n{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [" + port + "]}}\n"
	}
	probed := func(probe string) string {
		return "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: " +
			"{metadata: {labels: {app: a}}, spec: {containers: [{command: [a], ports: [{name: main, containerPort: 90}], readinessProbe: {" + probe + "}}]}}}}\n"
	}
	const web, rpc = "{port: 80, name: http, targetPort: main}", "{port: 90, name: grpc}"
	mistaken := func(field string) []string {
		return []string{"spec.ports[0]." + field + ": calls go to this port in HTTP/1.1, but Deployment default/a at test.yaml:2 has a readinessProbe by gRPC there; write " + field + ": grpc"}
	}
	other := func(field string) []string {
		return []string{"spec.template.spec.containers[0].readinessProbe." + field + ": no containerPort is 91; mend the number, or add the port to the container's"}
	}
	for _, c := range []struct {
		document string
		want     []string
	}{
		{probed("grpc: {port: 90}") + service(web), mistaken("name")},
		{probed("grpc: {port: 90}") + service("{port: 90, name: rpc}"), mistaken("name")},
		{probed("grpc: {port: 90}") + service("{port: 90, name: grpc, appProtocol: http}"), mistaken("appProtocol")},
		{probed("grpc: {port: 90}") + service(rpc), nil},
		{probed("grpc: {port: 90}") + service("{port: 90, name: http2}"), nil},
		{probed("grpc: {port: 90}") + service(web) + rule("trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}"), nil},
		{probed("grpc: {port: 90}") + service(web) + rule("trafficPolicy: {connectionPool: {http: {useClientProtocol: true}}}"), nil},
		{probed("tcpSocket: {port: 90}") + service(web), nil},
		{probed("grpc: {port: 91}") + service(web), other("grpc.port")},
		{probed("httpGet: {path: /, port: 91}") + service(web), other("httpGet.port")},
		{probed("tcpSocket: {port: 91}") + service(web), other("tcpSocket.port")},
		{probed("httpGet: {path: /, port: main}") + service(web), nil},

		{probed("tcpSocket: {port: 90}") + service(rpc) + rule("trafficPolicy: {"+not+"}"), []string{"spec.trafficPolicy" + useless}},
		{probed("tcpSocket: {port: 90}") + service(web+", "+rpc) + rule("trafficPolicy: {"+not+"}"), nil},
		{
			probed("tcpSocket: {port: 90}") + service(web+", "+rpc) + rule("trafficPolicy: {portLevelSettings: [{port: {number: 80}, "+not+"}, {port: {number: 90}, "+not+"}]}"),
			[]string{"spec.trafficPolicy.portLevelSettings[1]" + useless},
		},
		{
			probed("tcpSocket: {port: 90}") + service(rpc) + rule("subsets: [{name: v1, labels: {app: a}, trafficPolicy: {"+not+"}}]"),
			[]string{"spec.subsets[0].trafficPolicy" + useless},
		},
	} {
		_, findings := Parse([]File{{Name: "test.yaml", Data: []byte(c.document)}}, options())
		var got []string
		for _, f := range findings {
			got = append(got, f.Field+": "+f.Message)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.document, diff)
		}
	}
}

// probeEffects are those of gRPC health checks.
func probeEffects() []effect {
	deployment := `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{command: [a], ports: [{containerPort: 90}], readinessProbe: {PROBE}}]}
`
	group := istio("WorkloadGroup", "vms", "default", "template: {}, probe: {PROBE}") +
		"---\n{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: vm-1, annotations: {istio.io/autoRegistrationGroup: vms}}, spec: {address: 127.0.0.9}}\n"
	var list []effect
	for _, p := range []struct{ field, document, look string }{
		{"Deployment " + probe, deployment, "Workloads/a/readiness/"},
		{"WorkloadGroup spec.probe.", group, "Instances/vm-1/check/"},
	} {
		add := func(field, from, to, look, want string) {
			list = append(list, effect{
				p.field + field, strings.Replace(p.document, "PROBE", from, 1), strings.Replace(p.document, "PROBE", to, 1), p.look + look, want,
			})
		}
		add("grpc.port", "tcpSocket: {port: 90}", "grpc: {port: 90}", "grpc", "true")
		add("grpc.port", "grpc: {port: 90}", "grpc: {port: 91}", "port", "91")
		add("grpc.service", "grpc: {port: 90}", "grpc: {port: 90, service: shop.Cart}", "service", `"shop.Cart"`)
		add("grpc.port", "grpc: {port: 90}", "grpc: {port: 0}", "Findings", "")
		list[len(list)-1].look, list[len(list)-1].want = "error", "grpc.port: 0 is no port; it must be between 1 and 65535"
	}
	return list
}

func TestEveryFieldOfGRPCChecksHasAnEffect(t *testing.T) {
	for _, e := range probeEffects() {
		t.Run(e.field, func(t *testing.T) { e.compare(t, outcome([]byte(e.old)), outcome([]byte(e.new))) })
	}
}
