package config

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// settingsYAML are settings of a Lifecycle, or of an Agent's own, all but file, none of which is the default.
const settingsYAML = `enabled: false, registration: {delay: 1s}, warmup: {duration: 60s, curve: power, aggression: 2, minimumPercent: 20}, ` +
	`warmupRequests: {requests: [` + requestYAML + `], record: {paths: [/r], keep: 5}, count: 6, time: 7s, concurrency: 3, onFailure: refuse}, ` +
	`readiness: registered, drain: {quiet: 2s, callers: 3s, timeout: 4s}, front: {concurrency: {least: 4, most: 9}, maxWait: 5s}`

// requestYAML are two requests that say everything between them.
const requestYAML = `{protocol: http2, method: PUT, path: /a, host: h, headers: {x: y}, body: text, port: 81, weight: 2}, {protocol: grpc, method: s/m, bodyBase64: YQ==}`

// requestEffects are those of each field of a request; at is where the requests are in the outcome.
func requestEffects(add func(field, from, to, look, want string), at string) {
	add("protocol", "http2", "http", at+"/0/protocol", `"http"`)
	add("method", "PUT", "POST", at+"/0/method", `"POST"`)
	add("method", "s/m", "s/n", at+"/1/method", `"s/n"`)
	add("path", "path: /a", "path: /b", at+"/0/path", `"/b"`)
	add("host", "host: h", "host: i", at+"/0/host", `"i"`)
	add("headers", "x: y", "x: z", at+"/0/headers", `[{"name":"x","value":"z"}]`)
	add("body", "body: text", "body: Text", at+"/0/body", `"VGV4dA=="`)
	add("bodyBase64", "YQ==", "Yg==", at+"/1/body", `"Yg=="`)
	add("port", "port: 81", "port: 82", at+"/0/port", "82")
	add("weight", "weight: 2", "weight: 3", at+"/0/weight", "3")
}

// settingEffects are those of each setting; at is where the Lifecycle is in the outcome.
func settingEffects(add func(field, from, to, look, want string), at string) {
	add("enabled", "enabled: false", "enabled: true", at+"/off", "null")
	add("registration.delay", "delay: 1s", "delay: 2s", at+"/delay_ns", "2000000000")
	add("registration.weight", "delay: 1s", "delay: 1s, weight: ramp", at+"/ramp", "true")
	add("warmup.duration", "duration: 60s", "duration: 0s", at+"/warmup/window_ns", "0")
	add("warmup.curve", "curve: power, aggression: 2", "curve: linear", at+"/warmup/aggression", "1")
	add("warmup.curve", "curve: power, aggression: 2", "curve: quadratic", at+"/warmup/aggression", "0.5")
	add("warmup.aggression", "aggression: 2", "aggression: 3", at+"/warmup/aggression", "3")
	add("warmup.minimumPercent", "minimumPercent: 20", "minimumPercent: 30", at+"/warmup/minimum", "0.3")
	requests := at + "/requests"
	add("warmupRequests.file", "requests: ["+requestYAML+"]", "file: w.yaml", requests+"/requests", `[{"method":"GET","path":"/of-w","protocol":"http","weight":1}]`)
	requestEffects(func(field, from, to, look, want string) {
		add("warmupRequests.requests[]."+field, from, to, look, want)
	}, requests+"/requests")
	add("warmupRequests.record.paths", "[/r]", "[/s, /t]", requests+"/record/paths", `["/s","/t"]`)
	add("warmupRequests.record.keep", "keep: 5", "keep: 6", requests+"/record/keep", "6")
	add("warmupRequests.count", "count: 6", "count: 8", requests+"/count", "8")
	add("warmupRequests.time", "time: 7s", "time: 8s", requests+"/time_ns", "8000000000")
	add("warmupRequests.concurrency", "concurrency: 3", "concurrency: 5", requests+"/concurrency", "5")
	add("warmupRequests.onFailure", "refuse", "continue", requests+"/refuse", "null")
	add("readiness", "readiness: registered", "readiness: warm", at+"/ready", `"warm"`)
	add("drain.quiet", "quiet: 2s", "quiet: 1s", at+"/leave/quiet_ns", "1000000000")
	add("drain.callers", "callers: 3s", "callers: 4s", at+"/leave/callers_ns", "4000000000")
	add("drain.timeout", "timeout: 4s", "timeout: 5s", at+"/leave/timeout_ns", "5000000000")
	add("front.concurrency.least", "least: 4", "least: 5", at+"/front/least", "5")
	add("front.concurrency.most", "most: 9", "most: 10", at+"/front/most", "10")
	add("front.maxWait", "maxWait: 5s", "maxWait: 6s", at+"/front/max_wait_ns", "6000000000")
}

// agentFields is an Agent's spec, all but its lifecycle.
const agentFields = `service: shop, name: shop-1, incarnation: i1, address: 10.0.0.1, ports: [{name: http, number: 80}], labels: {app: shop}, weight: 2, ` +
	`locality: eu/a, workload: shop-v1, revision: r1, probe: {http: {path: /p, port: 81}, initialDelay: 1s, interval: 2s, timeout: 3s, startTimeout: 4s, healthy: 5, unhealthy: 6}, ` +
	`preStop: {http: {path: /s, port: 82}}, grace: 7s, inbound: ["83"], admin: "127.0.0.1:84", readiness: ":85", offline: "127.0.0.1:86", offlineToken: t, ` +
	`registry: "file:///a", feed: "unix:/f", command: [c, d]`

func agentEffects() []effect {
	const ports = "ports: [{name: http, number: 80}]"
	const get, bye = "http: {path: /p, port: 81}", "http: {path: /s, port: 82}"
	var list []effect
	all := agentYAML("a", agentFields)
	add := func(field, from, to, look, want string) {
		list = append(list, effect{"Agent spec." + field, all, strings.Replace(all, from, to, 1), "Agent/" + look, want})
	}
	add("service", "service: shop", "service: other", "Service", `"other"`)
	add("service", "service: shop, ", "", "Service", `"a"`)
	add("name", "name: shop-1", "name: shop-2", "Name", `"shop-2"`)
	add("incarnation", "i1", "i2", "Incarnation", `"i2"`)
	add("address", "10.0.0.1", "10.0.0.2", "Address", `"10.0.0.2"`)
	add("port", ports, "port: 90", "Ports", `[{"number":90}]`)
	add("ports[].name", "name: http", "name: web", "Ports/0/name", `"web"`)
	add("ports[].number", "number: 80", "number: 88", "Ports/0/number", "88")
	add("labels", "app: shop", "app: other", "Labels", `{"app":"other"}`)
	add("weight", "weight: 2", "weight: 0", "Weight", "0")
	add("locality", "eu/a", "us", "Locality", `{"region":"us"}`)
	add("workload", "shop-v1", "shop-v2", "Workload", `"shop-v2"`)
	add("revision", "r1", "r2", "Revision", `"r2"`)
	add("probe.http.path", "path: /p", "path: /q", "Probe/path", `"/q"`)
	add("probe.http.port", "port: 81", "port: 91", "Probe/port", "91")
	add("probe.http.scheme", "port: 81", "port: 81, scheme: HTTPS", "Probe/https", "true")
	add("probe.grpc.port", get, "grpc: {port: 91}", "Probe/port", "91")
	add("probe.grpc.service", get, "grpc: {service: s}", "Probe/service", `"s"`)
	add("probe.tcp.port", get, "tcp: {port: 91}", "Probe/port", "91")
	add("probe.exec.command", get, "exec: {command: [x]}", "Probe/exec", `["x"]`)
	add("probe.initialDelay", "initialDelay: 1s", "initialDelay: 0s", "Probe/initial_delay_ns", "null")
	add("probe.interval", "interval: 2s", "interval: 9s", "Probe/interval_ns", "9000000000")
	add("probe.timeout", "timeout: 3s", "timeout: 9s", "Probe/timeout_ns", "9000000000")
	add("probe.startTimeout", "startTimeout: 4s", "startTimeout: 9s", "StartTimeout", "9000000000")
	add("probe.healthy", " healthy: 5", " healthy: 9", "Probe/healthy", "9")
	add("probe.unhealthy", "unhealthy: 6", "unhealthy: 9", "Probe/unhealthy", "9")
	add("preStop.http.path", "path: /s", "path: /t", "PreStop/path", `"/t"`)
	add("preStop.http.port", "port: 82", "port: 92", "PreStop/port", "92")
	add("preStop.exec.command", bye, "exec: {command: [x]}", "PreStop/exec", `["x"]`)
	add("preStop.sleep", bye, "sleep: 3s", "PreStop/sleep_ns", "3000000000")
	add("grace", "grace: 7s", "grace: 9s", "Grace", "9000000000")
	add("inbound", `["83"]`, `["93", "10.0.0.1:94=127.0.0.1:94"]`, "Inbound", `["93","10.0.0.1:94=127.0.0.1:94"]`)
	add("admin", "127.0.0.1:84", "127.0.0.1:94", "Admin", `"127.0.0.1:94"`)
	add("readiness", `":85"`, `"127.0.0.1:95"`, "Readiness", `"127.0.0.1:95"`)
	add("offline", "127.0.0.1:86", "127.0.0.2:96", "Offline", `"127.0.0.2:96"`)
	add("offlineToken", "offlineToken: t", "offlineToken: /u", "OfflineToken", `"/u"`)
	add("registry", "file:///a", "file:///b", "Registry", `"file:///b"`)
	add("hold", "feed:", `hold: ["etcd://a?listen=127.0.0.1:1"], feed:`, "Hold", `["etcd://a?listen=127.0.0.1:1"]`)
	add("feed", "unix:/f", "unix:/g", "Feed", `"unix:/g"`)
	add("command", "[c, d]", "[e]", "Command", `["e"]`)
	its := agentYAML("a", "lifecycle: {"+settingsYAML+"}")
	settingEffects(func(field, from, to, look, want string) {
		list = append(list, effect{"Agent spec.lifecycle." + field, its, strings.Replace(its, from, to, 1), "Agent/" + look, want})
	}, "Lifecycle")
	return list
}

// lifeEffects are those of crossfade's own kinds: each changes the first text into the second.
func lifeEffects() []effect {
	list := agentEffects()
	all := lifecycleYAML("l", "default", "service: shop, selector: {matchLabels: {version: v1}}, "+settingsYAML)
	add := func(field, from, to, look, want string) {
		list = append(list, effect{"Lifecycle spec." + field, all, strings.Replace(all, from, to, 1), "Lifecycles/l/" + look, want})
	}
	add("service", "service: shop", "service: other", "service", `"other"`)
	add("selector.matchLabels", "version: v1", "version: v2", "labels", `{"version":"v2"}`)
	settingEffects(func(field, from, to, look, want string) {
		add(field, from, to, strings.TrimPrefix(look, "/"), want)
	}, "")
	return append(list, fileEffects()...)
}

// fileEffects are those of WarmupRequests, which a Lifecycle names.
func fileEffects() []effect {
	var list []effect
	all := "apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: w}\nspec: {requests: [" + requestYAML + "]}\n"
	requestEffects(func(field, from, to, look, want string) {
		list = append(list, effect{requestsKind + " spec.requests[]." + field, all, strings.Replace(all, from, to, 1), look, want})
	}, "Lifecycles/l/requests/requests")
	return list
}

// TestEveryFieldOfALifeHasAnEffect loads each document as it is written down: in a file, with others beside it.
func TestEveryFieldOfALifeHasAnEffect(t *testing.T) {
	for _, e := range lifeEffects() {
		t.Run(e.field, func(t *testing.T) {
			if e.old == e.new {
				t.Fatalf("nothing changes in\n%s", e.old)
			}
			e.compare(t, lived(t, e.old), lived(t, e.new))
		})
	}
}

// lived is what becomes of a document that stands in a file of its own.
func lived(t *testing.T, yaml string) any {
	t.Helper()
	dir := t.TempDir()
	file, requests := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "w.yaml")
	write(t, requests, "apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: w}\nspec: {requests: [{path: /of-w}]}\n")
	switch {
	case strings.Contains(yaml, "kind: Agent"):
		write(t, file, yaml)
		a, findings := LoadAgent(file)
		return plainly(t, map[string]any{"Agent": a, "Findings": text(findings)})
	case strings.Contains(yaml, "kind: "+requestsKind):
		write(t, requests, yaml)
		yaml = lifecycleYAML("l", "default", "warmupRequests: {file: w.yaml}")
	}
	write(t, file, yaml)
	d, findings := Load(file, options())
	if d == nil {
		t.Fatalf("%s does not load:\n%s", yaml, text(findings))
	}
	return plainly(t, map[string]any{"Lifecycles": d.Lifecycles, "Findings": text(findings)})
}

// plainly turns a value into JSON's types.
func plainly(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
