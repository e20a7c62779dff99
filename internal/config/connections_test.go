package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// connecting are the effects of how many connections and requests there may be.
var connecting = []balancing{
	{"connectionPool.tcp.maxConnections", "connectionPool: {tcp: {maxConnections: 7}}", "connectionPool: {tcp: {maxConnections: 8}}", "connections", `{"max":8}`},
	{"connectionPool.tcp.maxConnections", "loadBalancer: {}", "connectionPool: {tcp: {maxConnections: 2147483647}}", "connections", `{"max":2147483647}`}, // Istio's way to write none
	{"connectionPool.tcp.maxConnections", "loadBalancer: {}", "connectionPool: {tcp: {max_connections: 8}}", "connections", `{"max":8}`},
	{"connectionPool.tcp.maxConnections", "connectionPool: {tcp: {maxConnections: 7}}", "connectionPool: {tcp: {maxConnections: 0}}", "connections", "null"},
	{"connectionPool.tcp.connectTimeout", "loadBalancer: {}", "connectionPool: {tcp: {connectTimeout: 30ms}}", "connections", `{"connect_timeout_ns":30000000}`},
	{"connectionPool.tcp.maxConnectionDuration", "loadBalancer: {}", "connectionPool: {tcp: {maxConnectionDuration: 1h}}", "connections", `{"max_lifetime_ns":3600000000000}`},
	{"connectionPool.tcp.idleTimeout", "loadBalancer: {}", "connectionPool: {tcp: {idleTimeout: 5s}}", "connections", `{"idle_timeout_ns":5000000000}`},
	{"connectionPool.tcp.idleTimeout", "connectionPool: {tcp: {idleTimeout: 5s}}", "connectionPool: {tcp: {idleTimeout: 0s}}", "connections/idle_timeout_ns", "3153600000000000000"},
	{"connectionPool.http.http1MaxPendingRequests", "loadBalancer: {}", "connectionPool: {http: {http1MaxPendingRequests: 3}}", "connections", `{"pending":3}`},
	{"connectionPool.http.http2MaxRequests", "loadBalancer: {}", "connectionPool: {http: {http2MaxRequests: 3}}", "connections", `{"requests":3}`},
	{"connectionPool.http.maxRequestsPerConnection", "loadBalancer: {}", "connectionPool: {http: {maxRequestsPerConnection: 3}}", "connections", `{"per_connection":3}`},
	{"connectionPool.http.maxRetries", "loadBalancer: {}", "connectionPool: {http: {maxRetries: 3}}", "connections", `{"retries":3}`},
	{"connectionPool.http.idleTimeout", "connectionPool: {tcp: {idleTimeout: 5s}}", "connectionPool: {tcp: {idleTimeout: 5s}, http: {idleTimeout: 6s}}", "connections", `{"idle_timeout_ns":6000000000}`},
	{"connectionPool.http.maxConcurrentStreams", "loadBalancer: {}", "connectionPool: {http: {maxConcurrentStreams: 3}}", "connections", `{"streams":3}`},
}

// A connectionPool replaces the whole of the one above it, and is inherited where there is none, but not by a port, as
// in Istio.
func TestWhichConnectionPoolHolds(t *testing.T) {
	const (
		wide   = "connectionPool: {tcp: {maxConnections: 100, connectTimeout: 2s}}"
		narrow = "connectionPool: {http: {maxRetries: 3}}"
		empty  = "connectionPool: {}"
		other  = "loadBalancer: {simple: RANDOM}"
	)
	isWide, isNarrow := &fleet.Connections{Max: 100, ConnectTimeout: 2 * time.Second}, &fleet.Connections{Retries: 3}
	subset := func(own string) string {
		return "trafficPolicy: {" + wide + "}, subsets: [{name: v1, trafficPolicy: {" + own + "}}]"
	}
	port := func(own string) string {
		return "trafficPolicy: {" + wide + ", portLevelSettings: [{port: {number: 80}, " + own + "}]}"
	}
	for _, c := range []struct {
		rule string
		pool int
		want *fleet.Connections
	}{
		{"trafficPolicy: {" + other + "}", 0, nil},
		{"trafficPolicy: {" + wide + ", " + other + "}", 0, isWide},
		{"trafficPolicy: {" + empty + "}", 0, nil},
		{subset(other), 1, isWide},
		{subset(narrow), 1, isNarrow},
		{subset(narrow), 0, isWide},
		{subset(empty), 1, nil},
		{subset("portLevelSettings: [{port: {number: 80}, " + narrow + "}]"), 1, isNarrow},
		{subset("portLevelSettings: [{port: {number: 80}, " + other + "}]"), 1, nil},
		{port(other), 0, nil},
		{port(narrow), 0, isNarrow},
	} {
		d := mustParse(t, strings.Join([]string{
			service("a", "default", 80), istio("DestinationRule", "a", "default", "host: a, "+c.rule),
		}, ""))
		if diff := cmp.Diff(c.want, d.Services[0].Pools[c.pool].Policy.Connections); diff != "" {
			t.Errorf("%s: pool %d (-want +got):\n%s", c.rule, c.pool, diff)
		}
	}
}
