package effects

import "strings"

// living is a service whose pool has no warm-up, with an old endpoint and one that came ten seconds ago, for which a
// Lifecycle holds. No agent stands beside them: what an agent does with the rest of a Lifecycle is shown where agents are.
func living(spec string) string {
	return through("stock.default.svc.cluster.local", `---
apiVersion: v1
kind: Service
metadata: {name: stock}
spec: {selector: {app: stock}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: stock-1}
spec: {address: 127.0.1.1, labels: {app: stock}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: stock-2}
spec: {address: 127.0.9.0, labels: {app: stock, version: v2, LABELS}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock}
spec: {host: stock, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: stock}
spec: {`+spec+`}
`)
}

// lifecycles are the effects of a Lifecycle's warm-up where the service's own policy has none.
func lifecycles() []effect {
	rarely, evenly := "rarely "+fresh+":80\n", "evenly "+fresh+":80\n"
	asked := ask{url: shop, times: 300}
	var list []effect
	add := func(field, spec, from, to, was, now string) {
		yaml := strings.Replace(living(spec), ", LABELS", "", 1)
		list = append(list, effect{of("Lifecycle", field), yaml, from, to, asked, was, now})
	}
	warm := "service: stock, warmup: {duration: 100s, minimumPercent: 5, curve: power, aggression: 1}"
	add("spec.service", warm, "service: stock", "service: other", rarely, evenly)
	add("spec.selector.matchLabels", "selector: {matchLabels: {version: v2}}", "{matchLabels: {version: v2}}", "{matchLabels: {version: v1}}", rarely, evenly)
	add("spec.enabled", "enabled: true", "enabled: true", "enabled: false", rarely, evenly)
	add("spec.warmup.duration", warm, "100s", "0s", rarely, evenly)
	add("spec.warmup.minimumPercent", warm, "minimumPercent: 5", "minimumPercent: 100", rarely, evenly)
	add("spec.warmup.aggression", warm, "aggression: 1}", "aggression: 9}", rarely, evenly)
	add("spec.warmup.curve", strings.Replace(warm, "aggression: 1", "aggression: 9", 1), "curve: power, aggression: 9", "curve: linear", evenly, rarely)
	labelled := strings.Replace(living("service: other"), "LABELS", `mse.lossless.enable: "true", mse.lossless.warmupTime: "100"`, 1)
	const ruled = "spec.trafficPolicy.loadBalancer.warmup.duration"
	own := strings.Replace(living(warm), ", LABELS", "", 1)
	return append(list,
		effect{of("WorkloadEntry", "spec.labels"), labelled, `enable: "true"`, `enable: "false"`, asked, rarely, evenly},
		effect{of("WorkloadEntry", "spec.labels"), labelled, `"100"`, `"5"`, asked, rarely, evenly},
		effect{of("DestinationRule", ruled), own, "{simple: RANDOM}", "{simple: RANDOM, warmup: {duration: 5s}}", asked, rarely, evenly},
	)
}
