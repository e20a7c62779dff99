package effects

import "strings"

// everywhere returns a service with an endpoint in each of four places, and a DestinationRule with a policy at one
// of the four places where one may stand.
func everywhere(place policyPlace, policy string) string {
	yaml := through("stock.example.com, PLACE", `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stock}
spec:
  hosts: [stock.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: http-more, protocol: HTTP}]
  endpoints:
  - {address: 127.0.1.1, locality: eu/a, labels: {app: stock, tier: gold}, weight: 10}
  - {address: 127.0.1.2, locality: us/b, labels: {app: stock, tier: tin}, weight: 10}
  - {address: 127.0.1.3, locality: asia/c, labels: {app: stock, tier: lead}, weight: 10}
  - {address: 127.0.1.4, locality: oceania/e, labels: {app: stock, tier: zinc}, weight: 10}
`+rule+strings.Replace(place.yaml, "POLICY", policy, 1))
	return strings.Replace(yaml, "PLACE", place.subset+"port: {number: "+place.port+"}", 1)
}

// keyed are the effects of consistent hashes.
func keyed() []effect {
	var list []effect
	for _, place := range policyPlaces {
		add := func(field, hash, from, to string, q ask, was, now string) {
			list = append(list, effect{
				of("DestinationRule", place.field+"loadBalancer.consistentHash."+field),
				everywhere(place, "loadBalancer: {consistentHash: {"+hash+"}}"), from, to, q, was, now,
			})
		}
		clients := func(header string) ask { return ask{url: shop, header: header, times: 90, keys: 9} }
		add("httpHeaderName", "httpHeaderName: x-user", "x-user", "x-other", clients("x-user: KEY"), "by key\n", "")
		add("httpQueryParameterName", "httpQueryParameterName: user", "user", "other", ask{url: shop + "?user=KEY", times: 90, keys: 9}, "by key\n", "")
		add("httpCookie.name", "httpCookie: {name: sid}", "name: sid", "name: other", clients("cookie: sid=KEY"), "by key\n", "")
		add("useSourceIp", "useSourceIp: true", "useSourceIp: true", "httpHeaderName: x-user", ask{url: shop, times: 60}, "only ", "rarely ")
		cookie := "httpCookie: {name: sid, ttl: 90s, path: /a, attributes: [{name: Secure}]}"
		add("httpCookie.ttl", cookie, "ttl: 90s", "ttl: 0s", ask{url: shop}, "< set-cookie: sid=VALUE; Max-Age=90; Path", "< set-cookie: sid=VALUE; Path")
		add("httpCookie.path", cookie, "path: /a", "path: /b", ask{url: shop}, "< set-cookie: sid=VALUE; Max-Age=90; Path=/a;", "< set-cookie: sid=VALUE; Max-Age=90; Path=/b;")
		add("httpCookie.attributes", cookie, "name: Secure", "name: Partitioned", ask{url: shop}, "< set-cookie: sid=VALUE; Max-Age=90; Path=/a; Secure;", "< set-cookie: sid=VALUE; Max-Age=90; Path=/a; Partitioned;")
		// A small table is uneven.
		many := ask{url: shop, header: "x-user: KEY", times: 300, keys: 300}
		add("ringHash.minimumRingSize", "httpHeaderName: x-user, ringHash: {minimumRingSize: 4096}", "Size: 4096", "Size: 3", many, "fairly\n", "")
		add("minimumRingSize", "httpHeaderName: x-user, minimumRingSize: 4096", "Size: 4096", "Size: 3", many, "fairly\n", "")
		add("maglev.tableSize", "httpHeaderName: x-user, maglev: {tableSize: 65537}", "Size: 65537", "Size: 5", many, "fairly\n", "")
	}
	bound := everywhere(policyPlaces[0], "loadBalancer: {consistentHash: {httpHeaderName: x-user}}")
	bound = strings.Replace(bound, "kind: DestinationRule\nmetadata: {name: stock}", "kind: DestinationRule\nmetadata: {name: stock, annotations: {crossfade.dev/hash-bound: \"1.5\"}}", 1)
	crowded := ask{url: shop, header: "x-user: 1", busy: 6}
	return append(list, effect{of("DestinationRule", "metadata.annotations[crossfade.dev/hash-bound]"), bound, `"1.5"`, `"100"`, crowded, "at 127.0.1.1:80\n", "at 127.0.1.3:80\n"})
}

// near keeps requests of a service at the endpoints that have a label first.
func near(host, label string) string {
	return `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: near}
spec:
  host: ` + host + `
  ` + preferring(label) + `
`
}

func preferring(label string) string {
	return "trafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [" + label + "]}}}"
}

// located are the effects of what says where an endpoint is.
func located() []effect {
	one := strings.Replace(entry, "weight: 40, labels", "weight: 1, locality: eu/a, labels", 1)
	one = through("pay.example.com", strings.Replace(one, "  subsets:", "  "+preferring("topology.kubernetes.io/region")+"\n  subsets:", 1))
	two := through("pay.example.com", strings.Replace(selected, "labels: {app: pay}, ports: {http: 8080}, weight: 1}", "labels: {app: pay}, ports: {http: 8080}, weight: 1, locality: eu/a}", 1)+peer+near("pay.example.com", "topology.kubernetes.io/region"))
	group := through("pay.example.com", strings.Replace(grouped, "labels: {tier: x}, weight: 1}", "labels: {tier: x}, weight: 1, locality: eu/a}", 1)+peer+near("pay.example.com", "topology.kubernetes.io/region"))
	slice := strings.Replace(through("stock", sliced+near("stock", "topology.kubernetes.io/zone=north")), "endpoints:\n- {", "endpoints:\n- {addresses: [127.0.2.2], conditions: {ready: true}, zone: south}\n- {", 1)
	q := ask{url: shop, times: 300, from: "eu/a"}
	return []effect{
		{of("ServiceEntry", "spec.endpoints[].locality"), one, "eu/a", "us/b", q, "only 127.0.2.2:8080\n", "evenly 127.0.2.2:8080\n"},
		{of("WorkloadEntry", "spec.locality"), two, "eu/a", "us/b", q, "only 127.0.2.1:8080\n", "evenly 127.0.2.1:8080\n"},
		{of("WorkloadGroup", "spec.template.locality"), group, "eu/a", "us/b", q, "only 127.0.2.1:8080\n", "evenly 127.0.2.1:8080\n"},
		{of("EndpointSlice", "endpoints[].zone"), slice, "zone: north}", "zone: east}", q, "only 127.0.2.1:8000\n", "evenly 127.0.2.1:8000\n"},
	}
}

// placed are the effects of where the gateway and the endpoints are, and of how few endpoints are left.
func placed() []effect {
	var list []effect
	for _, place := range policyPlaces {
		at := func(how, address string) string { return how + " " + address + ":" + place.port + "\n" }
		add := func(field, setting, from, to, stands, was, now string) {
			list = append(list, effect{
				of("DestinationRule", place.field+"loadBalancer.localityLbSetting."+field),
				everywhere(place, "loadBalancer: {localityLbSetting: {"+setting+"}}"), from, to,
				ask{url: shop, times: 300, from: stands},
				was, now,
			})
		}
		add("enabled", "enabled: true", "enabled: true", "enabled: false", "eu/a", at("only", "127.0.1.1"), at("rarely", "127.0.1.3"))
		add("distribute[].from", `distribute: [{from: eu/*, to: {us/*: 80, asia/*: 20}}]`, "from: eu/*", "from: us/*", "eu/a", at("mostly", "127.0.1.2"), at("rarely", "127.0.1.1"))
		add("distribute[].to", `distribute: [{from: eu/*, to: {us/*: 80, asia/*: 20}}]`, "{us/*: 80, asia/*: 20}", "{us/*: 20, asia/*: 80}", "eu/a", at("mostly", "127.0.1.2"), at("mostly", "127.0.1.3"))
		add("failover[].from", "failover: [{from: africa, to: us}]", "from: africa", "from: eu", "africa/d", at("only", "127.0.1.2"), at("rarely", "127.0.1.1"))
		add("failover[].to", "failover: [{from: africa, to: us}]", "to: us", "to: asia", "africa/d", at("only", "127.0.1.2"), at("only", "127.0.1.3"))
		add("failoverPriority", "failoverPriority: [tier=gold]", "tier=gold", "tier=tin", "africa/d", at("only", "127.0.1.1"), at("only", "127.0.1.2"))
		list = append(list, effect{
			of("DestinationRule", place.field+"outlierDetection.minHealthPercent"),
			everywhere(place, "outlierDetection: {minHealthPercent: 20}"), "minHealthPercent: 20", "minHealthPercent: 90",
			ask{url: shop, times: 300, sick: "127.0.1.2 127.0.1.3 127.0.1.4"},
			at("only", "127.0.1.1"), at("rarely", "127.0.1.1"),
		})
	}
	return list
}
