package effects

import (
	"strings"
	"testing"
)

// through is a gateway that sends everything to the service called svc.
func through(service, rest string) string {
	return `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [front]
  http: [{route: [{destination: {host: ` + service + `}}]}]
` + rest
}

// meshed are the services themselves, for calls through the mesh port.
func meshed(url string) ask { return ask{url: url, caller: "web-1"} }

const entry = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay}
spec:
  hosts: [pay.example.com]
  exportTo: ["*"]
  resolution: STATIC
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 8080}
  endpoints:
  - {address: 127.0.2.1, ports: {http: 9090}, weight: 1, labels: {zone: a}}
  - {address: 127.0.2.2, weight: 40, labels: {zone: b}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pay}
spec:
  host: pay.example.com
  subsets: [{name: a, labels: {zone: a}}]
`

const selected = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay}
spec:
  hosts: [pay.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: pay}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: pay-1}
spec: {address: 127.0.2.1, labels: {app: pay}, ports: {http: 8080}, weight: 1}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: old-1}
spec: {address: 127.0.2.2, labels: {app: old}, ports: {http: 8080}}
`

const named = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay}
spec:
  hosts: [pay.example.com]
  resolution: DNS_ROUND_ROBIN
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: many.internal}]
`

// entries are the effects of ServiceEntry and WorkloadEntry.
func entries() []effect {
	pay := through("pay.example.com", entry)
	part := strings.Replace(pay, "{host: pay.example.com}", "{host: pay.example.com, subset: a}", 1)
	by := through("pay.example.com", selected)
	first, second := "at 127.0.2.1:8080\n", "at 127.0.2.2:8080\n"
	return []effect{
		{of("ServiceEntry", "spec.hosts"), pay, "hosts: [pay.example.com]", "hosts: [buy.example.com]", meshed("http://pay.example.com/"), "status 200\n", "refused: "},
		{of("ServiceEntry", "spec.exportTo"), pay, `exportTo: ["*"]`, `exportTo: ["~"]`, meshed("http://pay.example.com/"), "status 200\n", "refused: "},
		{of("ServiceEntry", "spec.ports[].number"), strings.Replace(pay, "{host: pay.example.com}", "{host: pay.example.com, port: {number: 80}}", 1), "{number: 80, name: http, protocol: HTTP, target", "{number: 81, name: http, protocol: HTTP, target", ask{url: shop}, "status 200\n", "refused: "},
		{of("ServiceEntry", "spec.ports[].name"), part, "name: http, protocol: HTTP, target", "name: web, protocol: HTTP, target", ask{url: shop}, "at 127.0.2.1:9090\n", "at 127.0.2.1:8080\n"},
		{of("ServiceEntry", "spec.ports[].protocol"), entry, "protocol: HTTP", "protocol: TCP", meshed("http://pay.example.com/"), "status 200\n", "status 404\n"},
		{of("ServiceEntry", "spec.ports[].targetPort"), pay, "targetPort: 8080", "targetPort: 8088", ask{url: shop, times: 200}, "mostly 127.0.2.2:8080\n", "mostly 127.0.2.2:8088\n"},
		{of("ServiceEntry", "spec.endpoints[].address"), pay, "address: 127.0.2.2", "address: 127.0.2.3", ask{url: shop, times: 200}, "mostly 127.0.2.2:8080\n", "mostly 127.0.2.3:8080\n"},
		{of("ServiceEntry", "spec.endpoints[].ports"), part, "ports: {http: 9090}", "ports: {http: 9091}", ask{url: shop}, "at 127.0.2.1:9090\n", "at 127.0.2.1:9091\n"},
		{of("ServiceEntry", "spec.endpoints[].labels"), part, "labels: {zone: b}", "labels: {zone: a}", ask{url: shop, times: 200}, "mostly 127.0.2.1:9090\n", "mostly 127.0.2.2:8080\n"},
		{of("ServiceEntry", "spec.endpoints[].weight"), pay, "weight: 40", "weight: 1", ask{url: shop, times: 300}, "mostly 127.0.2.2:8080\n", "evenly 127.0.2.2:8080\n"},
		{of("ServiceEntry", "spec.resolution"), through("pay.example.com", named), "DNS_ROUND_ROBIN", "DNS", ask{url: shop, times: 300}, "mostly 127.0.3.3:80\n", "evenly 127.0.3.4:80\n"},
		{of("ServiceEntry", "spec.workloadSelector.labels"), by, "workloadSelector: {labels: {app: pay}}", "workloadSelector: {labels: {app: old}}", ask{url: shop}, first, second},
		{of("WorkloadEntry", "spec.address"), by, "127.0.2.1", "127.0.2.9", ask{url: shop}, first, "at 127.0.2.9:8080\n"},
		{of("WorkloadEntry", "spec.ports"), by, "labels: {app: pay}, ports: {http: 8080}", "labels: {app: pay}, ports: {http: 8081}", ask{url: shop}, first, "at 127.0.2.1:8081\n"},
		{of("WorkloadEntry", "spec.labels"), by, "labels: {app: old}", "labels: {app: pay}", ask{url: shop, times: 300}, "mostly 127.0.2.1:8080\n", "evenly 127.0.2.1:8080\n"},
		{of("WorkloadEntry", "spec.weight"), strings.Replace(by, "{app: old}", "{app: pay}", 1), "weight: 1}", "weight: 50}", ask{url: shop, times: 300}, "evenly 127.0.2.1:8080\n", "mostly 127.0.2.1:8080\n"},
		{of("WorkloadEntry", "metadata.annotations[istio.io/autoRegistrationGroup]"), through("pay.example.com", grouped), "autoRegistrationGroup: first", "autoRegistrationGroup: second", ask{url: shop}, first, "at 127.0.2.1:8089\n"},
		{of("WorkloadGroup", "spec.metadata.labels"), through("pay.example.com", grouped), "labels: {app: pay}}\n  template: {ports: {http: 8080}", "labels: {app: old}}\n  template: {ports: {http: 8080}", ask{url: shop}, first, "status 503\n"},
		{of("WorkloadGroup", "spec.template.ports"), through("pay.example.com", grouped), "http: 8080}", "http: 8086}", ask{url: shop}, first, "at 127.0.2.1:8086\n"},
		{of("WorkloadGroup", "spec.template.labels"), through("pay.example.com", grouped), "labels: {tier: x}, weight: 1}", "labels: {tier: x, app: old}, weight: 1}", ask{url: shop}, first, "status 503\n"},
		{of("WorkloadGroup", "spec.template.weight"), through("pay.example.com", grouped+peer), "weight: 1}", "weight: 50}", ask{url: shop, times: 300}, "evenly 127.0.2.1:8080\n", "mostly 127.0.2.1:8080\n"},
	}
}

const grouped = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay}
spec:
  hosts: [pay.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: pay}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: first}
spec:
  metadata: {labels: {app: pay}}
  template: {ports: {http: 8080}, labels: {tier: x}, weight: 1}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: second}
spec:
  metadata: {labels: {app: pay}}
  template: {ports: {http: 8089}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: pay-1, annotations: {istio.io/autoRegistrationGroup: first}}
spec: {address: 127.0.2.1}
`

const peer = `---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: pay-2}
spec: {address: 127.0.2.2, labels: {app: pay}, ports: {http: 8080}}
`

const kubernetes = `---
apiVersion: v1
kind: Service
metadata: {name: stock}
spec:
  selector: {app: stock}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Pod
metadata: {name: stock-1, uid: g-h-i, labels: {app: stock}}
spec:
  containers:
  - {name: main, ports: [{name: web, containerPort: 8002}, {name: other, containerPort: 8003}]}
status:
  podIP: 127.0.2.1
  conditions:
  - {type: Initialized, status: "False"}
  - {type: Ready, status: "True"}
`

const sliced = `---
apiVersion: v1
kind: Service
metadata: {name: stock}
spec:
  ports: [{name: http, port: 80, targetPort: 8000}]
---
apiVersion: v1
kind: Service
metadata: {name: legacy}
spec:
  ports: [{name: http, port: 80, targetPort: 8000}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: stock-abc, labels: {kubernetes.io/service-name: stock}}
addressType: IPv4
endpoints:
- {addresses: [127.0.2.1], conditions: {ready: true, terminating: false}, zone: north}
ports: [{name: http, port: 8000, protocol: TCP}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: legacy}
subsets:
- addresses: [{ip: 127.0.2.5}]
  ports: [{name: http, port: 8001, protocol: TCP}]
`

// orchestrated are the effects of Kubernetes' kinds.
func orchestrated() []effect {
	pod := through("stock", kubernetes)
	slice, legacy := through("stock", sliced), through("legacy", sliced)
	const at, none = "at 127.0.2.1:8002\n", "status 503\n"
	return []effect{
		{of("Service", "spec.selector"), pod, "selector: {app: stock}", "selector: {app: other}", ask{url: shop}, at, none},
		{of("Service", "spec.ports[].name"), kubernetes, "name: http", "name: tcp-web", meshed("http://stock/"), "status 200\n", "status 404\n"},
		{of("Service", "spec.ports[].appProtocol"), strings.Replace(kubernetes, "name: http", "appProtocol: http, name: web", 1), "appProtocol: http", "appProtocol: tcp", meshed("http://stock/"), "status 200\n", "status 404\n"},
		{of("Service", "spec.ports[].port"), strings.Replace(pod, "{host: stock}", "{host: stock, port: {number: 80}}", 1), "port: 80,", "port: 88,", ask{url: shop}, at, "refused: "},
		{of("Service", "spec.ports[].targetPort"), pod, "targetPort: web", "targetPort: other", ask{url: shop}, at, "at 127.0.2.1:8003\n"},
		{of("Pod", "metadata.labels"), pod, "labels: {app: stock}", "labels: {app: shop}", ask{url: shop}, at, none},
		{of("Pod", "metadata.deletionTimestamp"), pod, "uid: g-h-i", `uid: g-h-i, deletionTimestamp: "2026-01-01T00:00:00Z"`, ask{url: shop}, at, none},
		{of("Pod", "spec.containers[].ports[].name"), pod, "name: web, containerPort", "name: http, containerPort", ask{url: shop}, at, none},
		{of("Pod", "spec.containers[].ports[].containerPort"), pod, "8002", "8009", ask{url: shop}, at, "at 127.0.2.1:8009\n"},
		{of("Pod", "status.podIP"), pod, "127.0.2.1", "127.0.2.2", ask{url: shop}, at, "at 127.0.2.2:8002\n"},
		{of("Pod", "status.conditions[].status"), pod, `"True"`, `"Unknown"`, ask{url: shop}, at, none},
		{of("Pod", "status.conditions[].type"), pod, "Initialized", "Ready", ask{url: shop}, at, none},
		{of("EndpointSlice", "metadata.labels"), slice, "service-name: stock", "service-name: legacy", ask{url: shop}, "at 127.0.2.1:8000\n", none},
		{of("EndpointSlice", "addressType"), slice, "addressType: IPv4", "addressType: IPv6", ask{url: shop}, "at 127.0.2.1:8000\n", "refused: "},
		{of("EndpointSlice", "endpoints[].addresses"), slice, "[127.0.2.1]", "[127.0.2.2]", ask{url: shop}, "at 127.0.2.1:8000\n", "at 127.0.2.2:8000\n"},
		{of("EndpointSlice", "endpoints[].conditions.ready"), slice, "ready: true", "ready: false", ask{url: shop}, "at 127.0.2.1:8000\n", none},
		{of("EndpointSlice", "endpoints[].conditions.terminating"), slice, "terminating: false", "terminating: true", ask{url: shop}, "at 127.0.2.1:8000\n", none},
		{of("EndpointSlice", "ports[].name"), slice, "ports: [{name: http, port: 8000, protocol", "ports: [{name: web, port: 8000, protocol", ask{url: shop}, "at 127.0.2.1:8000\n", none},
		{of("EndpointSlice", "ports[].port"), slice, "port: 8000, protocol", "port: 8007, protocol", ask{url: shop}, "at 127.0.2.1:8000\n", "at 127.0.2.1:8007\n"},
		{of("Endpoints", "subsets[].addresses[].ip"), legacy, "127.0.2.5", "127.0.2.6", ask{url: shop}, "at 127.0.2.5:8001\n", "at 127.0.2.6:8001\n"},
		{of("Endpoints", "subsets[].ports[].name"), legacy, "ports: [{name: http, port: 8001", "ports: [{name: web, port: 8001", ask{url: shop}, "at 127.0.2.5:8001\n", none},
		{of("Endpoints", "subsets[].ports[].port"), legacy, "8001", "8004", ask{url: shop}, "at 127.0.2.5:8001\n", "at 127.0.2.5:8004\n"},
	}
}

// A caller that a rule asks for is a Pod here: what it is called and which labels it has decide.
func TestCallersAreKnownOnTheMeshPort(t *testing.T) {
	e := effect{
		vs("spec.http[].match[].sourceLabels"), kubernetes + `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stock}
spec:
  hosts: [stock]
  http:
  - match: [{sourceLabels: {app: stock}}]
    directResponse: {status: 299}
  - route: [{destination: {host: stock}}]
`, "sourceLabels: {app: stock}", "sourceLabels: {app: shop}", ask{url: "http://stock/", caller: "stock-1"}, "status 299\n", "status 200\n",
	}
	e.check(t)
}
