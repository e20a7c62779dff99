package effects

import (
	"slices"
	"strings"
)

// A policy effect looks at a service with an old endpoint, 127.0.1.1, and one that came ten seconds ago, 127.0.9.0,
// both on ports 80 and 81.
func balanced(rule string) string {
	return through("stock.example.com, PLACE", `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stock}
spec:
  hosts: [stock.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: http-more, protocol: HTTP}]
  endpoints: [{address: 127.0.1.1, labels: {app: stock}}, {address: 127.0.9.0, labels: {app: stock}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other}
spec:
  hosts: [other.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.1.2}]
`+rule)
}

const (
	fresh = "127.0.9.0"
	rule  = `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock}
spec:
  host: stock.example.com
`
)

// A policyPlace is where in a DestinationRule a policy may stand, and what it is then about.
type policyPlace struct{ field, yaml, subset, port string }

var policyPlaces = []policyPlace{
	{"spec.trafficPolicy.", "  trafficPolicy: {POLICY}\n", "", "80"},
	{"spec.trafficPolicy.portLevelSettings[].", "  trafficPolicy: {portLevelSettings: [{port: {number: 81}, POLICY}]}\n", "", "81"},
	{"spec.subsets[].trafficPolicy.", "  subsets: [{name: all, labels: {app: stock}, trafficPolicy: {POLICY}}]\n", "subset: all, ", "80"},
	{"spec.subsets[].trafficPolicy.portLevelSettings[].", "  subsets: [{name: all, labels: {app: stock}, trafficPolicy: {portLevelSettings: [{port: {number: 81}, POLICY}]}}]\n", "subset: all, ", "81"},
}

// balancing are the effects of DestinationRule's load balancing, at each of the four places where it may stand.
func balancing() []effect {
	var list []effect
	for _, place := range policyPlaces {
		at := func(policy string) string {
			yaml := balanced(rule + strings.Replace(place.yaml, "POLICY", policy, 1))
			return strings.Replace(yaml, "PLACE", place.subset+"port: {number: "+place.port+"}", 1)
		}
		add := func(field, policy, from, to, was, now string) {
			list = append(list, effect{of("DestinationRule", place.field+field), at(policy), from, to, ask{url: shop, times: 300}, was, now})
		}
		rarely, evenly := "rarely "+fresh+":"+place.port+"\n", "evenly "+fresh+":"+place.port+"\n"
		add("loadBalancer.simple", "loadBalancer: {simple: ROUND_ROBIN}", "ROUND_ROBIN", "LEAST_REQUEST", "in turn\n", "")
		add("loadBalancer.simple", "loadBalancer: {simple: ROUND_ROBIN}", "ROUND_ROBIN", "RANDOM", "in turn\n", "")
		add("loadBalancer.warmupDurationSecs", "loadBalancer: {warmupDurationSecs: 100s}", "100s", "5s", rarely, evenly)
		warmup := "loadBalancer: {warmup: {duration: 100s, minimumPercent: 5, aggression: 1}}"
		add("loadBalancer.warmup.duration", warmup, "100s", "5s", rarely, evenly)
		add("loadBalancer.warmup.minimumPercent", warmup, "minimumPercent: 5", "minimumPercent: 100", rarely, evenly)
		add("loadBalancer.warmup.aggression", warmup, "aggression: 1", "aggression: 9", rarely, evenly)
		if strings.Contains(place.yaml, "81") {
			add("port.number", warmup, "number: 81}, load", "number: 80}, load", rarely, evenly)
		}
	}
	return slices.Concat(list, ruling(), keyed(), placed(), located())
}

// ruling are the effects of which rule holds for whom.
func ruling() []effect {
	slow := strings.Replace(balanced(rule+"  exportTo: [\"*\"]\n  trafficPolicy: {loadBalancer: {warmupDurationSecs: 100s}}\n"), "PLACE", "port: {number: 80}", 1)
	rarely, evenly := "rarely "+fresh+":80\n", "evenly "+fresh+":80\n"
	// The old endpoint has been left alone with three young ones: they all carried as much as it does.
	crowd := strings.Replace(slow, "{address: 127.0.9.0, labels: {app: stock}}", "{address: 127.0.9.0}, {address: 127.0.9.1}, {address: 127.0.9.2}", 1)
	crowd = strings.Replace(crowd, "metadata: {name: stock}\nspec:\n  host:", "metadata: {name: stock, annotations: {crossfade.dev/shift-budget: \"1\"}}\nspec:\n  host:", 1)
	return []effect{
		{of("DestinationRule", "spec.host"), slow, "host: stock.example.com\n", "host: other.example.com\n", ask{url: shop, times: 300}, rarely, evenly},
		{of("DestinationRule", "spec.exportTo"), slow, `exportTo: ["*"]`, `exportTo: ["~"]`, ask{url: shop, times: 300}, rarely, evenly},
		{of("DestinationRule", "spec.workloadSelector.matchLabels"), strings.Replace(slow, `exportTo: ["*"]`, "workloadSelector: {matchLabels: {istio: ingressgateway}}", 1), "ingressgateway", "egressgateway", ask{url: shop, times: 300}, rarely, "refused: "},
		{of("DestinationRule", "metadata.annotations[crossfade.dev/shift-budget]"), crowd, `"1"`, `"9"`, ask{url: shop, times: 300}, "rarely 127.0.1.1:80\n", "mostly 127.0.1.1:80\n"},
	}
}
