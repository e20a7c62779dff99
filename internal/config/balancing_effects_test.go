package config

import (
	"slices"
	"strings"
	"testing"
)

// A balancing changes one field of a trafficPolicy. It is shown wherever a trafficPolicy can stand; see policyPlaces.
type balancing struct {
	field    string // below the trafficPolicy, as in Kinds
	old, new string // of what is in the trafficPolicy
	look     string // below the pool's policy
	want     string // what is there then; it was something else before
}

// Localities and hashes of two kinds, in which balancings change something.
const (
	byHeader = "loadBalancer: {consistentHash: {httpHeaderName: X-User}}"
	byCookie = "loadBalancer: {consistentHash: {httpCookie: {name: who, path: /, ttl: 10s, attributes: [{name: Secure}]}}}"
	spread   = "loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {eu/a: 80, eu/b: 20}}]}}"
	standIn  = "loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}"
)

var balancings = []balancing{
	{"loadBalancer.simple", "loadBalancer: {simple: RANDOM}", "loadBalancer: {simple: PASSTHROUGH}", "algorithm", `"PASSTHROUGH"`},

	{"loadBalancer.consistentHash.httpHeaderName", byHeader, strings.Replace(byHeader, "X-User", `":authority"`, 1), "hash", `{"header":":authority"}`},
	{"loadBalancer.consistentHash.httpHeaderName", "loadBalancer: {simple: RANDOM}", byHeader, "algorithm", `"RING_HASH"`},
	{"loadBalancer.consistentHash.httpHeaderName", "loadBalancer: {simple: RANDOM}", byHeader, "hash", `{"header":"x-user"}`},
	{"loadBalancer.consistentHash.httpCookie.name", byCookie, strings.Replace(byCookie, "who", "me", 1), "hash/cookie/name", `"me"`},
	{"loadBalancer.consistentHash.httpCookie.path", byCookie, strings.Replace(byCookie, "path: /", "path: /shop", 1), "hash/cookie/path", `"/shop"`},
	{"loadBalancer.consistentHash.httpCookie.ttl", byCookie, strings.Replace(byCookie, "10s", "1m", 1), "hash/cookie/ttl_ns", "60000000000"},
	{"loadBalancer.consistentHash.httpCookie.ttl", byCookie, strings.Replace(byCookie, "10s", "0s", 1), "hash/cookie/ttl_ns", "null"},
	{"loadBalancer.consistentHash.httpCookie.ttl", byCookie, strings.Replace(byCookie, " ttl: 10s,", "", 1), "hash/cookie/ttl_ns", "-1"},
	{"loadBalancer.consistentHash.httpCookie.attributes", byCookie, strings.Replace(byCookie, "{name: Secure}", "{name: SameSite, value: Strict}", 1), "hash/cookie/attributes", `[{"name":"SameSite","value":"Strict"}]`},
	{"loadBalancer.consistentHash.httpCookie.attributes", byCookie, strings.Replace(byCookie, "Secure", "HttpOnly", 1), "hash/cookie/attributes", "null"},
	{"loadBalancer.consistentHash.useSourceIp", byHeader, "loadBalancer: {consistentHash: {useSourceIp: true}}", "hash", `{"source_ip":true}`},
	{"loadBalancer.consistentHash.httpQueryParameterName", byHeader, "loadBalancer: {consistentHash: {httpQueryParameterName: q}}", "hash", `{"query":"q"}`},
	{"loadBalancer.consistentHash.ringHash.minimumRingSize", byHeader, strings.Replace(byHeader, "X-User", "X-User, ringHash: {minimumRingSize: 7}", 1), "hash/table_size", "7"},
	{"loadBalancer.consistentHash.minimumRingSize", byHeader, strings.Replace(byHeader, "X-User", "X-User, minimumRingSize: 8", 1), "hash/table_size", "8"},
	{"loadBalancer.consistentHash.maglev.tableSize", byHeader, strings.Replace(byHeader, "X-User", "X-User, maglev: {tableSize: 251}", 1), "hash/table_size", "251"},
	{"loadBalancer.consistentHash.maglev.tableSize", byHeader, strings.Replace(byHeader, "X-User", "X-User, maglev: {}", 1), "algorithm", `"MAGLEV"`},

	{"loadBalancer.localityLbSetting.enabled", "loadBalancer: {}", "loadBalancer: {localityLbSetting: {}}", "locality", "{}"},
	{"loadBalancer.localityLbSetting.enabled", "loadBalancer: {}", "loadBalancer: {localityLbSetting: {enabled: true}}", "locality", "{}"},
	{"loadBalancer.localityLbSetting.enabled", standIn, strings.Replace(standIn, "{failover", "{enabled: false, failover", 1), "locality", "null"},
	{"loadBalancer.localityLbSetting.distribute[].from", spread, strings.Replace(spread, "from: eu", "from: us/a/1", 1), "locality/distribute/0/from", `"us/a/1"`},
	{"loadBalancer.localityLbSetting.distribute[].to", spread, strings.Replace(spread, "eu/a: 80, eu/b: 20", `"*": 100`, 1), "locality/distribute/0/to", `{"*":100}`},
	{"loadBalancer.localityLbSetting.failover[].from", standIn, strings.Replace(standIn, "from: eu", "from: asia", 1), "locality/failover", `[{"from":"asia","to":"us"}]`},
	{"loadBalancer.localityLbSetting.failover[].to", standIn, strings.Replace(standIn, "to: us", "to: asia", 1), "locality/failover", `[{"from":"eu","to":"asia"}]`},
	{"loadBalancer.localityLbSetting.failoverPriority", "loadBalancer: {}", "loadBalancer: {localityLbSetting: {failoverPriority: [rack, tier=gold]}}", "locality/priority", `["rack","tier=gold"]`},

	{"connectionPool.http.h2UpgradePolicy", "loadBalancer: {}", "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", "http", `"HTTP/2"`},
	{"connectionPool.http.h2UpgradePolicy", "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "http", "null"},
	{"connectionPool.http.useClientProtocol", "loadBalancer: {}", "connectionPool: {http: {useClientProtocol: true}}", "http", `"same"`},

	{"outlierDetection.minHealthPercent", "loadBalancer: {}", "outlierDetection: {minHealthPercent: 35}", "panic", "0.35"},
	{"outlierDetection.minHealthPercent", "outlierDetection: {minHealthPercent: 35}", "outlierDetection: {minHealthPercent: 0}", "panic", "null"},
}

// policyPlaces are where a trafficPolicy can stand: the field, a DestinationRule with one there, and the pool that
// it is about.
var policyPlaces = []struct{ field, rule, pool string }{
	{"spec.trafficPolicy.", "host: a, trafficPolicy: {POLICY}", "0"},
	{"spec.trafficPolicy.portLevelSettings[].", "host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}, POLICY}]}", "0"},
	{"spec.subsets[].trafficPolicy.", "host: a, subsets: [{name: v1, trafficPolicy: {POLICY}}]", "v1"},
	{"spec.subsets[].trafficPolicy.portLevelSettings[].", "host: a, subsets: [{name: v1, trafficPolicy: {portLevelSettings: [{port: {number: 80}, POLICY}]}}]", "v1"},
}

// balancingEffects are the effects of balancings, each with the documents before and after.
func balancingEffects() []effect {
	around := service("a", "default", 80)
	annotated := strings.Replace(istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {"+byHeader+"}"), "name: a", `name: a, annotations: {crossfade.dev/hash-bound: "1.5"}`, 1)
	list := []effect{{
		"DestinationRule metadata.annotations[crossfade.dev/hash-bound]",
		around + annotated, around + strings.Replace(annotated, "1.5", "2", 1), "Services/a:80/pools/0/policy/hash/bound", "2",
	}}
	for _, p := range policyPlaces {
		rule := around + istio("DestinationRule", "a", "default", p.rule)
		for _, b := range slices.Concat(balancings, connecting) {
			list = append(list, effect{
				"DestinationRule " + p.field + b.field,
				strings.Replace(rule, "POLICY", b.old, 1), strings.Replace(rule, "POLICY", b.new, 1),
				"Services/a:80/pools/" + p.pool + "/policy/" + b.look, b.want,
			})
		}
	}
	return list
}

func TestEveryBalancerSettingHasAnEffect(t *testing.T) {
	for _, e := range balancingEffects() {
		t.Run(e.field, func(t *testing.T) { e.compare(t, outcome([]byte(e.old)), outcome([]byte(e.new))) })
	}
}
