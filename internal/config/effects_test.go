package config

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// An effect changes one field of testdata/good/everything.yaml and says what becomes of it.
type effect struct {
	field    string // kind and field, as in Kinds
	old, new string // of the file; old stands there just once
	look     string // where in the Desired; elements of lists by index, name or subset
	want     string // what is there then; it was something else before
}

var effects = []effect{
	{"Gateway metadata.name", "gateways: [edge/front]", "gateways: [edge/back]", "error", `there is no Gateway edge/back`},
	{"Gateway metadata.namespace", "  namespace: edge\n", "  namespace: rim\n", "error", `there is no Gateway edge/front`},
	{"Gateway spec.selector", "selector: {istio: ingressgateway}", "selector: {app: istio-ingressgateway}", "Listeners/http-80/selector", `{"app":"istio-ingressgateway"}`},
	{"Gateway spec.servers[].port.number", "number: 80, name: http, protocol: HTTP}\n    hosts", "number: 9000, name: http, protocol: HTTP}\n    hosts", "Listeners/0/address", `"0.0.0.0:9000"`},
	{"Gateway spec.servers[].port.name", "{number: 80, name: http, protocol: HTTP}\n    hosts", "{number: 80, protocol: HTTP}\n    hosts", "error", `spec.servers[0].port.name: is missing`},
	{"Gateway spec.servers[].port.protocol", "name: http, protocol: HTTP}\n    hosts", "name: http, protocol: TCP}\n    hosts", "error", `TCP is not supported yet`},
	{"Gateway spec.servers[].hosts", `"default/shop.example.com", "*.example.org"`, `"prod/shop.example.com", "*.example.org"`, "Listeners/http-80/hosts", "null"},

	{"VirtualService spec.hosts", "hosts: [shop.example.com]", "hosts: [a.example.org, shop.example.com]", "Listeners/http-80/hosts/0/domains", `["a.example.org","shop.example.com"]`},
	{"VirtualService spec.gateways", "gateways: [edge/front]", "gateways: [mesh]", "Listeners/http-80/hosts", "null"},
	{"VirtualService spec.http[].name", "name: checkout", "name: checking", "Listeners/http-80/hosts/0/routes/0/name", `"checking"`},
	{"VirtualService spec.http[].match[].uri.exact", "exact: /checkout", "exact: /check", "Listeners/http-80/hosts/0/routes/0/matches/0/path", `{"exact":"/check"}`},
	{"VirtualService spec.http[].match[].uri.prefix", "prefix: /cart/", "prefix: /carts/", "Listeners/http-80/hosts/0/routes/0/matches/1/path", `{"prefix":"/carts/"}`},
	{"VirtualService spec.http[].match[].uri.regex", "/v[0-9]+/pay", "/v[0-9]*", "Listeners/http-80/hosts/0/routes/0/matches/2/path", `{"regex":"/v[0-9]*"}`},
	{"VirtualService spec.http[].route[].destination.host", "{host: pay.example.com}", "{host: legacy.example.com}", "Listeners/http-80/hosts/0/routes/1/destinations/0/service", `"legacy.example.com:8080"`},
	{"VirtualService spec.http[].route[].destination.subset", "subset: v1, port", "subset: v3, port", "Listeners/http-80/hosts/0/routes/0/destinations/0/subset", `"v3"`},
	{"VirtualService spec.http[].route[].destination.port.number", "subset: v1, port: {number: 8000}", "subset: v1, port: {number: 80}", "Listeners/http-80/hosts/0/routes/0/destinations/0/service", `"shop:80"`},
	{"VirtualService spec.http[].route[].weight", "weight: 90", "weight: 99", "Listeners/http-80/hosts/0/routes/0/destinations/0/weight", "99"},
	{"VirtualService spec.http[].timeout", "timeout: 1m30s", "timeout: 500ms", "Listeners/http-80/hosts/0/routes/0/timeout_ns", "500000000"},

	{"DestinationRule metadata.annotations[crossfade.dev/shift-budget]", `"1.5"`, `"3"`, "Services/shop:80/pools/0/policy/shift_budget", "3"},
	{"DestinationRule metadata.annotations[crossfade.dev/load-reports]", `load-reports: pass`, `load-reports: strip`, "Services/shop:80/pools/0/policy/load_reports", ""},
	{"DestinationRule spec.host", "host: shop\n  exportTo", "host: \"*.svc.cluster.local\"\n  exportTo", "Services/stock.prod:8000/pools/0/policy/algorithm", `"ROUND_ROBIN"`},
	{"DestinationRule spec.subsets[].name", "name: v3", "name: v4", "Services/shop:80/pools/3/subset", `"v4"`},
	{"DestinationRule spec.subsets[].labels", "labels: {version: v3}", "labels: {version: v4, canary: \"true\"}", "Services/shop:80/pools/v3/labels", `{"canary":"true","version":"v4"}`},
	{"DestinationRule spec.trafficPolicy.loadBalancer.simple", "simple: ROUND_ROBIN\n      warmup: {duration: 120s", "simple: LEAST_CONN\n      warmup: {duration: 120s", "Services/shop:80/pools/0/policy/algorithm", `"LEAST_REQUEST"`},
	{"DestinationRule spec.trafficPolicy.loadBalancer.simple", "simple: ROUND_ROBIN\n      warmup: {duration: 120s", "simple: RANDOM\n      warmup: {duration: 120s", "Services/shop:80/pools/0/policy/algorithm", `"RANDOM"`},
	{"DestinationRule spec.trafficPolicy.loadBalancer.warmupDurationSecs", "{warmup_duration_secs: 1m30s}", "{warmupDurationSecs: 2s}", "Services/pay.example.com:80/pools/0/policy/warmup/window_ns", "2000000000"},
	{"DestinationRule spec.trafficPolicy.loadBalancer.warmup.duration", "warmup: {duration: 120s", "warmup: {duration: 1m", "Services/shop:80/pools/v1/policy/warmup/window_ns", "60000000000"},
	{"DestinationRule spec.trafficPolicy.loadBalancer.warmup.minimumPercent", "minimumPercent: 5,", "minimumPercent: 50,", "Services/shop:80/pools/0/policy/warmup/minimum", "0.5"},
	{"DestinationRule spec.trafficPolicy.loadBalancer.warmup.aggression", "aggression: 0.5", "aggression: 1.5", "Services/shop:80/pools/0/policy/warmup/aggression", "1.5"},
	{"DestinationRule spec.subsets[].trafficPolicy.loadBalancer.simple", "simple: ROUND_ROBIN\n        warmup: {duration: 500ms", "simple: LEAST_REQUEST\n        warmup: {duration: 500ms", "Services/shop:80/pools/v2/policy/algorithm", `"LEAST_REQUEST"`},
	{"DestinationRule spec.subsets[].trafficPolicy.loadBalancer.warmupDurationSecs", "warmupDurationSecs: 100s", "warmupDurationSecs: 1s", "Services/shop:80/pools/v3/policy/warmup/window_ns", "1000000000"},
	{"DestinationRule spec.subsets[].trafficPolicy.loadBalancer.warmup.duration", "duration: 500ms", "duration: 5s", "Services/shop:80/pools/v2/policy/warmup/window_ns", "5000000000"},
	{"DestinationRule spec.subsets[].trafficPolicy.loadBalancer.warmup.minimumPercent", "minimumPercent: 20", "minimumPercent: 0", "Services/shop:80/pools/v2/policy/warmup/minimum", "null"},
	{"DestinationRule spec.subsets[].trafficPolicy.loadBalancer.warmup.aggression", "aggression: 2}", "aggression: 3}", "Services/shop:80/pools/v2/policy/warmup/aggression", "3"},

	{"ServiceEntry spec.hosts", "hosts: [legacy.example.com]", "hosts: [legacy.example.net]", "Services/0/name", `"legacy.example.net:8080"`},
	{"ServiceEntry spec.ports[].number", "{number: 80, name: http, protocol: HTTP, targetPort: 8080}", "{number: 81, name: http, protocol: HTTP, targetPort: 8080}", "Services/1/name", `"pay.example.com:81"`},
	{"ServiceEntry spec.ports[].name", "name: http, protocol: HTTP, targetPort", "name: web, protocol: HTTP, targetPort", "Services/pay.example.com:80/endpoints/pay-2/address", `"127.0.0.6:8080"`},
	{"ServiceEntry spec.ports[].protocol", "protocol: HTTP, targetPort", "protocol: TCP, targetPort", "Services/pay.example.com:80/protocol", `"tcp"`},
	{"ServiceEntry spec.ports[].targetPort", "targetPort: 8080}", "targetPort: 8085}", "Services/pay.example.com:80/endpoints/pay-1/address", `"127.0.0.7:8085"`},
	{"ServiceEntry spec.endpoints[].address", "address: 127.0.0.7", "address: 127.0.0.8", "Services/pay.example.com:80/endpoints/pay-1/address", `"127.0.0.8:8080"`},
	{"ServiceEntry spec.endpoints[].ports", "ports: {http: 9090}", "ports: {http: 9091}", "Services/pay.example.com:80/endpoints/pay-2/address", `"127.0.0.6:9091"`},
	{"ServiceEntry spec.endpoints[].labels", "labels: {zone: a}", "labels: {zone: b}", "Services/pay.example.com:80/endpoints/pay-1/labels", `{"zone":"b"}`},
	{"ServiceEntry spec.endpoints[].locality", "locality: eu/north/1", "locality: us", "Services/pay.example.com:80/endpoints/pay-1/locality", `{"region":"us"}`},
	{"ServiceEntry spec.endpoints[].weight", "weight: 3", "weight: 4", "Services/pay.example.com:80/endpoints/pay-1/weight", "4"},
	{"ServiceEntry spec.workloadSelector.labels", "workloadSelector: {labels: {app: legacy}}", "workloadSelector: {labels: {app: old}}", "Services/legacy.example.com:8080/selector", `{"app":"old"}`},

	{"WorkloadEntry spec.address", "address: 127.0.0.9", "address: 127.0.0.10", "Instances/legacy-1/address", `"127.0.0.10"`},
	{"WorkloadEntry spec.ports", "ports: {http: 8081}", "ports: {http: 8082}", "Instances/legacy-1/ports", `{"http":8082}`},
	{"WorkloadEntry spec.labels", "  labels: {app: legacy}\n  locality", "  labels: {app: old}\n  locality", "Instances/legacy-1/labels", `{"app":"old"}`},
	{"WorkloadEntry spec.locality", "locality: eu/north\n", "locality: eu/south\n", "Instances/legacy-1/locality/zone", `"south"`},
	{"WorkloadEntry spec.weight", "weight: 2\n", "weight: 5\n", "Instances/legacy-1/weight", "5"},

	{"Service spec.selector", "selector: {app: shop}\n", "selector: {app: shop, version: v1}\n", "Services/shop:80/selector", `{"app":"shop","version":"v1"}`},
	{"Service spec.ports[].name", "name: http, port: 8000", "name: tcp-shop, port: 8000", "Services/shop:8000/protocol", `"tcp"`},
	{"Service spec.ports[].appProtocol", "appProtocol: http}", "appProtocol: tcp}", "Services/stock.prod:8000/protocol", `"tcp"`},
	{"Service spec.ports[].port", "port: 80, targetPort: 8001", "port: 88, targetPort: 8001", "Services/2/name", `"shop:8000"`},
	{"Service spec.ports[].targetPort", "targetPort: web", "targetPort: 8001", "Services/shop:8000/target", `"8001"`},

	{"Deployment spec.replicas", "replicas: 3", "replicas: 0", "Workloads/shop/replicas", "0"},
	{"Deployment spec.selector.matchLabels", "matchLabels: {app: shop}", "matchLabels: {app: stop}", "error", "spec.template.metadata.labels has no app: stop"},
	{"Deployment spec.minReadySeconds", "minReadySeconds: 5", "minReadySeconds: 6", "Workloads/shop/min_ready_ns", "6000000000"},
	{"Deployment spec.progressDeadlineSeconds", "progressDeadlineSeconds: 90", "progressDeadlineSeconds: 6", "Workloads/shop/deadline_ns", "6000000000"},
	{"Deployment spec.strategy.type", "strategy: {type: Recreate}", "strategy: {type: RollingUpdate}", "Workloads/stock/recreate", "null"},
	{"Deployment spec.strategy.rollingUpdate.maxSurge", "maxSurge: 2", "maxSurge: 50%", "Workloads/shop/max_surge", `"50%"`},
	{"Deployment spec.strategy.rollingUpdate.maxUnavailable", "maxUnavailable: 10%", "maxUnavailable: 0", "Workloads/shop/max_unavailable", `"0"`},
	{"Deployment spec.template.metadata.labels", "labels: {app: shop, version: v1}", "labels: {app: shop, version: v9}", "Workloads/shop/labels", `{"app":"shop","version":"v9"}`},
	{"Deployment spec.template.metadata.annotations", `build: "1"`, `build: "2"`, "Workloads/shop/revision", ""},
	{"Deployment spec.template.spec.terminationGracePeriodSeconds", "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 0", "Workloads/shop/grace_ns", "0"},
	{"Deployment spec.template.spec.containers[].image", "shop:1", "shop:2", "Workloads/shop/revision", ""},
	{"Deployment spec.template.spec.containers[].command", "command: [shop]", "command: [shop, serve]", "Workloads/shop/command", `["shop","serve","--listen=$(HOST):$(PORT)"]`},
	{"Deployment spec.template.spec.containers[].args", `args: ["--listen=$(HOST):$(PORT)"]`, `args: [-v]`, "Workloads/shop/command", `["shop","-v"]`},
	{"Deployment spec.template.spec.containers[].workingDir", "workingDir: /tmp", "workingDir: /", "Workloads/shop/dir", `"/"`},
	{"Deployment spec.template.spec.containers[].env[].name", "name: COLOUR", "name: COLOR", "Workloads/shop/env/0/name", `"COLOR"`},
	{"Deployment spec.template.spec.containers[].env[].value", "value: blue", "value: green", "Workloads/shop/env/COLOUR/value", `"green"`},
	{"Deployment spec.template.spec.containers[].env[].valueFrom.fieldRef.fieldPath", "fieldPath: metadata.name", "fieldPath: status.podIP", "Workloads/shop/env/WHO/field", `"status.podIP"`},
	{"Deployment spec.template.spec.containers[].ports[].name", "{name: admin, containerPort: 8001}", "{name: amin, containerPort: 8001}", "error", `the container has no port named "admin"`},
	{"Deployment spec.template.spec.containers[].ports[].containerPort", "containerPort: 8002", "containerPort: 8003", "Workloads/shop/ports/web/number", "8003"},
	{"Deployment spec.template.spec.containers[].readinessProbe.httpGet.path", "path: /ready", "path: /healthz", "Workloads/shop/readiness/path", `"/healthz"`},
	{"Deployment spec.template.spec.containers[].readinessProbe.httpGet.port", "port: admin", "port: web", "Workloads/shop/readiness/port", "8002"},
	{"Deployment spec.template.spec.containers[].readinessProbe.tcpSocket.port", "tcpSocket: {port: 7000}", "tcpSocket: {port: 7001}", "Workloads/worker/readiness/port", "7001"},
	{"Deployment spec.template.spec.containers[].readinessProbe.exec.command", "[stock, ready]", "[stock, up]", "Workloads/stock/readiness/exec", `["stock","up"]`},
	{"Deployment spec.template.spec.containers[].readinessProbe.initialDelaySeconds", "initialDelaySeconds: 1", "initialDelaySeconds: 9", "Workloads/shop/readiness/initial_delay_ns", "9000000000"},
	{"Deployment spec.template.spec.containers[].readinessProbe.periodSeconds", "periodSeconds: 2", "periodSeconds: 9", "Workloads/shop/readiness/interval_ns", "9000000000"},
	{"Deployment spec.template.spec.containers[].readinessProbe.timeoutSeconds", "timeoutSeconds: 3", "timeoutSeconds: 9", "Workloads/shop/readiness/timeout_ns", "9000000000"},
	{"Deployment spec.template.spec.containers[].readinessProbe.successThreshold", "successThreshold: 4", "successThreshold: 9", "Workloads/shop/readiness/healthy", "9"},
	{"Deployment spec.template.spec.containers[].readinessProbe.failureThreshold", "failureThreshold: 5", "failureThreshold: 9", "Workloads/shop/readiness/unhealthy", "9"},
	{"Deployment spec.template.spec.containers[].lifecycle.preStop.exec.command", "[stock, leave]", "[stock, bye]", "Workloads/stock/pre_stop/exec", `["stock","bye"]`},
	{"Deployment spec.template.spec.containers[].lifecycle.preStop.httpGet.path", "path: /leave", "path: /bye", "Workloads/shop/pre_stop/path", `"/bye"`},
	{"Deployment spec.template.spec.containers[].lifecycle.preStop.httpGet.port", "path: /leave, port: 8001", "path: /leave, port: 8002", "Workloads/shop/pre_stop/port", "8002"},
	{"Deployment spec.template.spec.containers[].lifecycle.preStop.sleep.seconds", "sleep: {seconds: 3}", "sleep: {seconds: 4}", "Workloads/worker/pre_stop/sleep_ns", "4000000000"},
}

func TestEveryAppliedFieldHasAnEffect(t *testing.T) {
	for file, list := range map[string][]effect{"everything.yaml": effects, "routing.yaml": routingEffects, "asm-gateway.yaml": gatewayEffects} {
		base, err := os.ReadFile("testdata/good/" + file)
		if err != nil {
			t.Fatal(err)
		}
		before := outcome(base)
		for _, e := range list {
			t.Run(e.field, func(t *testing.T) { e.check(t, string(base), before) })
		}
	}
}

// check changes base, of which before is the outcome, and looks at what that changes.
func (e effect) check(t *testing.T, base string, before any) {
	t.Helper()
	if n := strings.Count(base, e.old); n != 1 {
		t.Fatalf("%q stands %d times in the file, want once", e.old, n)
	}
	e.compare(t, before, outcome([]byte(strings.Replace(base, e.old, e.new, 1))))
}

// compare looks at what became of a change.
func (e effect) compare(t *testing.T, before, after any) {
	t.Helper()
	if e.look == "error" {
		if got := look(after, "Findings"); !strings.Contains(got, strings.ReplaceAll(e.want, `"`, `\"`)) {
			t.Errorf("got findings %s, want %q among them", got, e.want)
		}
		return
	}
	was, got := look(before, e.look), look(after, e.look)
	if was == got {
		t.Errorf("%s did not change: %s; findings: %s", e.look, got, look(after, "Findings"))
	}
	if e.want != "" && got != e.want {
		t.Errorf("%s: got %s, want %s; findings: %s", e.look, got, e.want, look(after, "Findings"))
	}
}

// TestEffectsAreComplete fails when a field is applied and no effect above shows it.
func TestEffectsAreComplete(t *testing.T) {
	shown := map[string]bool{}
	for _, e := range slices.Concat(effects, routingEffects, gatewayEffects, tlsEffects, balancingEffects(), clientTLSEffects(""), probeEffects(), lifeEffects()) {
		shown[e.field] = true
	}
	common := map[string]bool{}
	for _, d := range metadataTable {
		common[d.Field] = true
	}
	for _, k := range Kinds() {
		for _, d := range k.Decisions {
			onlyDefault := len(d.Values) == 1 // nothing else could be shown
			if d.Effect == Applied && !onlyDefault && !common[d.Field] && !shown[k.Name+" "+d.Field] {
				t.Errorf("%s %s is applied, but no effect shows it", k.Name, d.Field)
			}
		}
	}
}

// outcome loads a file into JSON's types.
func outcome(data []byte) any {
	return outcomeOf(Parse([]File{{Name: "everything.yaml", Data: data}}, options()))
}

func outcomeOf(desired *fleet.Desired, findings []Finding) any {
	all := map[string]any{"Findings": text(findings)}
	if desired != nil {
		all["Services"], all["Listeners"] = desired.Services, desired.Listeners
		all["Workloads"], all["Instances"], all["Groups"] = desired.Workloads, desired.Instances, desired.Groups
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	var v any
	if err := json.Unmarshal(encoded, &v); err != nil {
		panic(err)
	}
	return v
}

// look follows a path and returns what is there as JSON, "null" if there is nothing.
func look(v any, path string) string {
	for step := range strings.SplitSeq(path, "/") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			v = element(at, step)
		default:
			return "null"
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(data)
}

func element(list []any, step string) any {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && (m["name"] == step || m["subset"] == step) {
			return e
		}
	}
	if i, err := strconv.Atoi(step); err == nil && i < len(list) {
		return list[i]
	}
	return nil
}
