package settings

import (
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A Template is a document to begin with.
type Template struct {
	Kind  string `json:"kind"`
	Title string `json:"title"`
	YAML  string `json:"yaml"`
}

// templateTable are documents in which SERVICE stands for a service, PORT for its port, and ONE and TWO for its versions.
var templateTable = []Template{
	{"VirtualService", "Split a service between two versions", `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: SERVICE
spec:
  hosts:
    - SERVICE
  http:
    - route:
        - destination:
            host: SERVICE
            subset: ONE
          weight: 90
        - destination:
            host: SERVICE
            subset: TWO
          weight: 10
`},
	{"VirtualService", "Send some requests to one version, by a header", `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: SERVICE
spec:
  hosts:
    - SERVICE
  http:
    - match:
        - headers:
            x-canary:
              exact: "true"
      route:
        - destination:
            host: SERVICE
            subset: TWO
    - route:
        - destination:
            host: SERVICE
            subset: ONE
`},
	{"DestinationRule", "Warm up new endpoints of a service, and name its versions", `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: SERVICE
spec:
  host: SERVICE
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
      warmup:
        duration: 120s
  subsets:
    - name: ONE
      labels:
        version: ONE
    - name: TWO
      labels:
        version: TWO
`},
	{"Gateway", "Serve a port", `apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: web
spec:
  selector:
    istio: ingressgateway
  servers:
    - port:
        number: 80
        name: http
        protocol: HTTP
      hosts:
        - "*"
`},
	{"VirtualService", "Bind a service to a gateway's port", `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
spec:
  hosts:
    - SERVICE.example.com
  gateways:
    - web
  http:
    - route:
        - destination:
            host: SERVICE
            port:
              number: PORT
`},
	{"Lifecycle", "Start the instances of a service gracefully", `apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata:
  name: SERVICE
spec:
  service: SERVICE
  registration:
    delay: 5s
  warmup:
    duration: 120s
    curve: quadratic
    minimumPercent: 10
  drain:
    quiet: 10s
    callers: 90s
    timeout: 120s
`},
	{"IstioGateway", "Run the gateway in two replicas, and let them leave gracefully", `apiVersion: istio.alibabacloud.com/v1
kind: IstioGateway
metadata:
  name: ingressgateway
  namespace: istio-system
  annotations:
    asm.alibabacloud.com/gateway-drain-timeout-seconds: "30"
spec:
  gatewayType: ingress
  replicaCount: 2
`},
}

// templates are those documents, with the names of a service that there is.
func templates(d *fleet.Desired) []Template {
	service, port, versions := example(d)
	names := strings.NewReplacer("SERVICE", service, "PORT", port, "ONE", versions[0], "TWO", versions[1])
	list := make([]Template, len(templateTable))
	for i, t := range templateTable {
		t.YAML = names.Replace(t.YAML)
		list[i] = t
	}
	return list
}

// example is a service of the configuration to speak of, the one with the most versions, and two names of versions.
func example(d *fleet.Desired) (service, port string, versions []string) {
	service, port = "reviews", "9080"
	if d != nil {
		for i := range d.Services {
			s := &d.Services[i]
			if len(s.Selector) == 0 || s.Namespace != "default" {
				continue
			}
			if found := versionsOf(d, s); versions == nil || len(found) > len(versions) {
				service, port, versions = s.Host, strconv.Itoa(int(s.Port)), append([]string{}, found...)
			}
		}
	}
	for _, usual := range []string{"v1", "v2"} {
		if len(versions) < 2 && !slices.Contains(versions, usual) {
			versions = append(versions, usual)
		}
	}
	return service, port, versions
}

// versionsOf are the versions of a service's instances, sorted.
func versionsOf(d *fleet.Desired, s *fleet.Service) []string {
	var list []string
	for i := range d.Workloads {
		w := &d.Workloads[i]
		if version := w.Labels["version"]; version != "" && s.Selects(w.Namespace, w.Labels) && !slices.Contains(list, version) {
			list = append(list, version)
		}
	}
	slices.Sort(list)
	return list
}
