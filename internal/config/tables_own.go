package config

import "slices"

// lifecycleTable is about a Lifecycle.
var lifecycleTable = slices.Concat(
	[]Decision{
		{Field: "spec.service", Note: "the bare name of a Service in the same namespace; any where it is not given"},
		{Field: "spec.selector.matchLabels", Note: "of the instances; of two Lifecycles for one the one with more labels holds, then the one that names its service"},
	},
	lifecycleSettingsTable("spec."),
)

// lifecycleSettingsTable is about the settings that a Lifecycle and an Agent have in common.
func lifecycleSettingsTable(at string) []Decision {
	return slices.Concat(
		[]Decision{
			{Field: at + "enabled", Note: "true where it is not given; false: instances register as soon as they can serve, and do not warm up"},
			{Field: at + "registration.delay", Note: "from when an instance can serve and its warm-up requests are over, until it registers; none where it is not given"},
			{Field: at + "registration.weight", Note: "full where it is not given; ramp: while an instance warms up, registries whose consumers know no warm-up have its share of its weight"},
			{Field: at + "warmup.duration", Note: "120s where it is not given; 0s is no warm-up; a DestinationRule's goes before it"},
			{Field: at + "warmup.curve", Note: "quadratic where it is not given"},
			{Field: at + "warmup.aggression", Note: "of curve: power; the share is progress^(1/aggression)"},
			{Field: at + "warmup.minimumPercent", Note: "10 where it is not given"},
			{Field: at + "warmup.mode", Values: []string{"time"}},
			{Field: at + "warmupRequests.file", Note: "holds WarmupRequests; looked for beside the file that names it"},
		},
		requestTable(at+"warmupRequests.requests[]."),
		[]Decision{
			{Field: at + "warmupRequests.record.paths", Note: "beginnings of paths whose live requests may be kept: of safe methods, without credentials and the values of queries"},
			{Field: at + "warmupRequests.record.keep", Note: "100 where it is not given"},
			{Field: at + "warmupRequests.count", Note: "ends them after so many; where it is not given, latency that has settled does, or time"},
			{Field: at + "warmupRequests.time", Note: "ends them at the latest; 30s where it is not given"},
			{Field: at + "warmupRequests.concurrency", Note: "at most; 8 where it is not given"},
			{Field: at + "warmupRequests.onFailure", Note: "continue where it is not given; refuse: an instance that fails them does not register"},
			{Field: at + "readiness", Note: "when port 55199 answers 200; registered where it is not given"},
			{Field: at + "drain.quiet", Note: "without a request from callers that do not hear of leaves, before the instance stops; 10s where it is not given"},
			{Field: at + "drain.callers", Note: "longest wait for such callers; 90s where it is not given"},
			{Field: at + "drain.timeout", Note: "then it stops, whatever is open; 120s where it is not given"},
			{Field: at + "front.concurrency.least", Note: "requests at once that a new instance gets through its agent's front"},
			{Field: at + "front.concurrency.most", Note: "requests at once just before it is warm; then there is no limit"},
			{Field: at + "front.maxWait", Note: "of a request that may be retried; then it is refused"},
		},
	)
}

func requestTable(at string) []Decision {
	return []Decision{
		{Field: at + "protocol", Note: "http where it is not given"},
		{Field: at + "method", Note: "GET where it is not given; of gRPC package.Service/Method"},
		{Field: at + "path"},
		{Field: at + "host"},
		{Field: at + "headers"},
		{Field: at + "body"},
		{Field: at + "bodyBase64", Note: "of gRPC one message"},
		{Field: at + "port", Note: "the instance's first where it is not given"},
		{Field: at + "weight", Note: "how often, beside the others; 1 where it is not given"},
	}
}

// warmupFileTable is about WarmupRequests.
var warmupFileTable = requestTable("spec.requests[].")

// agentTable is about an Agent.
var agentTable = slices.Concat(
	[]Decision{
		{Field: "spec.service", Note: "metadata.name where it is not given"},
		{Field: "spec.name", Note: "of the instance"},
		{Field: "spec.incarnation", Note: "of this run; made anew for each where it is not given"},
		{Field: "spec.address"},
		{Field: "spec.port", Note: "short for ports with one that has no name"},
		{Field: "spec.ports[].name"},
		{Field: "spec.ports[].number"},
		{Field: "spec.labels", Note: instanceLabels},
		{Field: "spec.locality", Note: localityForm},
		{Field: "spec.weight", Note: "1 where it is not given"},
		{Field: "spec.workload"},
		{Field: "spec.revision"},
		{Field: "spec.probe.http.path", Note: "/ where it is not given"},
		{Field: "spec.probe.http.port", Note: firstPort},
		{Field: "spec.probe.http.scheme"},
		{Field: "spec.probe.grpc.port", Note: firstPort},
		{Field: "spec.probe.grpc.service", Note: asked},
		{Field: "spec.probe.tcp.port", Note: firstPort},
		{Field: "spec.probe.exec.command"},
		{Field: "spec.probe.initialDelay"},
		{Field: "spec.probe.interval", Note: "1s where it is not given"},
		{Field: "spec.probe.timeout", Note: "1s where it is not given"},
		{Field: "spec.probe.startTimeout", Note: "in which it must pass once"},
		{Field: "spec.probe.healthy", Note: "1 where it is not given"},
		{Field: "spec.probe.unhealthy", Note: "3 where it is not given"},
		{Field: "spec.preStop.exec.command"},
		{Field: "spec.preStop.http.path", Note: "/ where it is not given"},
		{Field: "spec.preStop.http.port", Note: firstPort},
		{Field: "spec.preStop.http.scheme", Values: []string{"HTTP"}},
		{Field: "spec.preStop.sleep"},
		{Field: "spec.grace", Note: "from SIGTERM to SIGKILL, preStop included"},
		{Field: "spec.inbound", Note: "ports that the agent stands in front of, or LISTEN=APP, both as address:port"},
		{Field: "spec.admin"},
		{Field: "spec.readiness", Note: ":55199 where it is not given"},
		{Field: "spec.offline", Note: "on loopback; 127.0.0.1:54199 where it is not given"},
		{Field: "spec.offlineToken", Note: "a file, looked for beside this one"},
		{Field: "spec.registry"},
		{Field: "spec.hold", Note: "URLs of the registries that the application registers with by itself, each with listen=ADDRESS:PORT, where it does so"},
		{Field: "spec.feed"},
		{Field: "spec.command", Note: "what stands behind -- goes before it"},
	},
	lifecycleSettingsTable("spec.lifecycle."),
)

const firstPort = "the instance's first where it is not given"
