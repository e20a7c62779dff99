package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// crossfade is what we are here for, as a user would run it: control on a directory of configuration, and a gateway
// that follows it. Only the gateway is measured; it has routes, counters, warm-up, limits and timeouts on.
func crossfade(binary string) peer {
	return peer{
		name: "crossfade", version: []string{binary, "--version"},
		about: "control and gateway; LEAST_REQUEST with warm-up, a timeout",
		plan: func(at place) (plan, error) {
			config, socket := filepath.Join(at.dir, "config"), filepath.Join(at.dir, "feed.sock")
			if err := os.MkdirAll(config, 0o700); err != nil {
				return plan{}, err
			}
			if err := write(filepath.Join(config, "gateway.yaml"), crossfadeRoutes(at)); err != nil {
				return plan{}, err
			}
			steady := at.members - at.warming
			if err := write(filepath.Join(config, "steady.yaml"), workloads(at.endpoints()[:steady], "steady")); err != nil {
				return plan{}, err
			}
			return plan{
				data: []string{binary, "gateway", "--feed", "unix:" + socket, "--state", filepath.Join(at.dir, "gateway"), "--drain", "1s", "--drain-min", "0s", "--drain-notice", "0s", "--log-level", "warn"},
				aside: [][]string{{
					binary, "control", "-f", config, "--socket", socket, "--state", filepath.Join(at.dir, "control"),
					"--gateway-address", "127.0.0.1", "--log-level", "warn",
				}},
				rewarm: func(round int) error {
					// Another name is another incarnation, and so a new warm-up.
					return write(filepath.Join(config, "warming.yaml"), workloads(at.endpoints()[steady:], fmt.Sprintf("round%d", round)))
				},
			}, nil
		},
	}
}

func crossfadeRoutes(at place) string {
	var b strings.Builder
	server := fmt.Sprintf("port: {number: %d, name: http, protocol: HTTP}, hosts: [\"*\"]", at.port)
	if at.tls {
		server = fmt.Sprintf("port: {number: %d, name: https, protocol: HTTPS}, hosts: [\"*\"], "+
			"tls: {mode: SIMPLE, serverCertificate: %s, privateKey: %s}", at.port, at.pair.certificate, at.pair.key)
	}
	spoken := map[protocol]string{http1: "HTTP", http2: "HTTP2", grpc: "GRPC"}[at.protocol]
	fmt.Fprintf(&b, `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  selector: {istio: ingressgateway}
  servers: [{%s}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app}
spec:
  hosts: [app.internal]
  ports: [{number: 9000, name: http, protocol: %s}]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: bench}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app.internal
  trafficPolicy:
    loadBalancer:
      simple: LEAST_REQUEST
      warmup: {duration: %s, minimumPercent: 10}
`, server, spoken, window)
	for i, name := range at.hosts() {
		fmt.Fprintf(&b, `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: route-%d}
spec:
  hosts: [%s]
  gateways: [front]
  http:
    - timeout: 15s
      route: [{destination: {host: app.internal, port: {number: 9000}}}]
`, i, name)
	}
	return b.String()
}

// workloads are endpoints of the service: each port of 127.0.0.1 a WorkloadEntry.
func workloads(ports []int, prefix string) string {
	docs := make([]string, len(ports))
	for i, port := range ports {
		docs[i] = fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: %s-%d}
spec: {address: 127.0.0.1, ports: {http: %d}, labels: {app: bench}}
`, prefix, i, port)
	}
	return strings.Join(docs, "---\n")
}
