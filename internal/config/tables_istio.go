package config

import "slices"

const (
	useFiles   = "name PEM files in serverCertificate, privateKey and caCertificates"
	noCallers  = "crossfade does not know yet which namespace a caller is in"
	everywhere = `"*", which is the default; also what leaves out no namespace of this configuration, and "~" for none`
)

var gatewayTable = []Decision{
	{Field: "spec.selector", Note: "must be carried by this gateway: istio=ingressgateway, app=istio-ingressgateway, and what --label adds"},
	{Field: "spec.servers[].port.number", Note: "below 1024 served at +8000 unless privileged ports are asked for"},
	{Field: "spec.servers[].port.name"},
	{Field: "spec.servers[].port.protocol", Note: "HTTP, HTTP2 or GRPC, which are the same: clients choose their version of HTTP; or HTTPS, where they choose by ALPN"},
	{Field: "spec.servers[].hosts", Note: `also "namespace/host", "./host" and "*/host"`},
	{Field: "spec.servers[].name", Effect: Inert, Note: "a label for people"},
	{Field: "spec.servers[].tls.httpsRedirect", Note: "301 to https, for every host of the server"},
	{Field: "spec.servers[].tls.mode", Values: []string{"SIMPLE", "MUTUAL"}},
	{Field: "spec.servers[].tls.serverCertificate", Note: "a PEM file; a relative path starts at the file that names it; read again when it changes"},
	{Field: "spec.servers[].tls.privateKey", Note: "a PEM file"},
	{Field: "spec.servers[].tls.caCertificates", Note: "a PEM file; MUTUAL only"},
	{Field: "spec.servers[].tls.subjectAltNames", Note: "one of which a client's certificate must carry; MUTUAL only"},
	{Field: "spec.servers[].tls.minProtocolVersion", Note: "TLS 1.2 where it is not given"},
	{Field: "spec.servers[].tls.maxProtocolVersion", Note: "TLS 1.3 where it is not given"},
	{Field: "spec.servers[].tls.cipherSuites", Note: "of TLS 1.2 and below, under the names that Envoy uses"},
	{Field: "spec.servers[].tls.credentialName", Effect: Refused, Note: useFiles},
	{Field: "spec.servers[].tls.credentialNames", Effect: Refused, Note: useFiles},
	{Field: "spec.servers[].tls.tlsCertificates", Effect: Refused, Note: useFiles},
}

var virtualServiceTable = slices.Concat(
	[]Decision{
		{Field: "spec.hosts", Note: "none makes it a delegate"},
		{Field: "spec.gateways", Note: `"mesh" where it is not given`},
		{Field: "spec.exportTo", Note: everywhere},
		{Field: "spec.http[].name"},
	},
	matchTable("spec.http[].match[]."),
	[]Decision{
		{Field: "spec.http[].route[].destination.host"},
		{Field: "spec.http[].route[].destination.subset"},
		{Field: "spec.http[].route[].destination.port.number"},
		{Field: "spec.http[].route[].weight", Note: "relative to the sum of the route's weights, whatever that is"},
	},
	headersTable("spec.http[].route[].headers."),
	[]Decision{
		{Field: "spec.http[].redirect.uri"},
		{Field: "spec.http[].redirect.authority"},
		{Field: "spec.http[].redirect.port"},
		{Field: "spec.http[].redirect.derivePort"},
		{Field: "spec.http[].redirect.scheme"},
		{Field: "spec.http[].redirect.redirectCode", Note: "301 where it is not given"},
		{Field: "spec.http[].directResponse.status"},
		{Field: "spec.http[].directResponse.body.string"},
		{Field: "spec.http[].directResponse.body.bytes"},
		{Field: "spec.http[].delegate.name"},
		{Field: "spec.http[].delegate.namespace", Note: "the VirtualService's own where it is not given"},
		{Field: "spec.http[].rewrite.uri"},
		{Field: "spec.http[].rewrite.authority"},
		{Field: "spec.http[].rewrite.uriRegexRewrite.match", Note: "RE2"},
		{Field: "spec.http[].rewrite.uriRegexRewrite.rewrite", Note: `\1 for groups`},
		{Field: "spec.http[].timeout"},
		{Field: "spec.http[].retries", Effect: Unenforced, Note: "a failed request is answered as it failed"},
		{Field: "spec.http[].fault", Effect: Unenforced, Note: "requests would be served without it"},
		{Field: "spec.http[].mirror", Effect: Unenforced, Note: "nothing would be mirrored"},
		{Field: "spec.http[].mirrors", Effect: Unenforced, Note: "nothing would be mirrored"},
		{Field: "spec.http[].mirrorPercent", Effect: Unenforced, Note: "nothing would be mirrored"},
		{Field: "spec.http[].mirrorPercentage", Effect: Unenforced, Note: "nothing would be mirrored"},
		{Field: "spec.http[].corsPolicy", Effect: Unenforced, Note: "preflights would be passed on"},
	},
	headersTable("spec.http[].headers."),
)

func matchTable(at string) []Decision {
	list := []Decision{{Field: at + "name"}}
	for _, field := range []string{"uri", "scheme", "method", "authority"} {
		list = append(list, stringTable(at+field)...)
	}
	for _, field := range []string{"headers[]", "withoutHeaders[]", "queryParams[]"} {
		list = append(list, stringTable(at+field)...)
	}
	return append(list,
		Decision{Field: at + "port", Note: "that the request addresses"},
		Decision{Field: at + "ignoreUriCase", Note: "of exact and prefix"},
		Decision{Field: at + "sourceLabels", Note: "of the instance that calls on the mesh port; elsewhere of the gateway"},
		Decision{Field: at + "gateways"},
		Decision{Field: at + "sourceNamespace", Effect: Refused, Note: noCallers},
	)
}

func stringTable(at string) []Decision {
	return []Decision{
		{Field: at + ".exact"},
		{Field: at + ".prefix"},
		{Field: at + ".regex", Note: "RE2, of the whole value"},
	}
}

func headersTable(at string) []Decision {
	var list []Decision
	for _, side := range []string{"request.", "response."} {
		for _, field := range []string{"set", "add", "remove"} {
			list = append(list, Decision{Field: at + side + field})
		}
	}
	return list
}

var destinationRuleTable = slices.Concat(
	[]Decision{
		{Field: "metadata.annotations[crossfade.dev/shift-budget]", Note: "how many times their traffic warm endpoints may carry while others warm up"},
		{Field: "metadata.annotations[crossfade.dev/hash-bound]", Note: "of each consistentHash in the rule: keys pass over an endpoint whose load is more than so many times the mean; 1 or more"},
		{Field: "metadata.annotations[crossfade.dev/load-reports]", Note: "pass: what endpoints say of their load (ORCA, endpoint-load-metrics) goes on to clients, which otherwise never see it; or strip"},
		{Field: "spec.host"},
		{Field: "spec.exportTo", Note: everywhere},
		{Field: "spec.workloadSelector.matchLabels", Note: "of the data plane that sends the requests: this gateway's; goes before a rule without a selector"},
		{Field: "spec.subsets[].name"},
		{Field: "spec.subsets[].labels"},
	},
	policyTable("spec.trafficPolicy."),
	portPolicyTable("spec.trafficPolicy."),
	policyTable("spec.subsets[].trafficPolicy."),
	portPolicyTable("spec.subsets[].trafficPolicy."),
)

var serviceEntryTable = []Decision{
	{Field: "spec.hosts"},
	{Field: "spec.exportTo", Note: everywhere},
	{Field: "spec.location", Effect: Inert, Note: "decides about Istio's mutual TLS and telemetry only"},
	{Field: "spec.resolution", Values: []string{"STATIC", "DNS", "DNS_ROUND_ROBIN"}, Note: "NONE needs the address that the caller wanted to reach, which an HTTP proxy is not told"},
	{Field: "spec.ports[].number"},
	{Field: "spec.ports[].name"},
	{Field: "spec.ports[].protocol", Note: "HTTP, HTTP2 and GRPC are routed, the latter two in HTTP/2; TCP, TLS, HTTPS, MONGO, MYSQL and REDIS are known, the mesh port does not carry them"},
	{Field: "spec.ports[].targetPort"},
	{Field: "spec.endpoints[].address", Note: "an IP address; with DNS also a name"},
	{Field: "spec.endpoints[].ports"},
	{Field: "spec.endpoints[].labels", Note: instanceLabels},
	{Field: "spec.endpoints[].locality", Note: localityForm},
	{Field: "spec.endpoints[].weight", Note: "1 where it is not given"},
	{Field: "spec.endpoints[].serviceAccount", Effect: Inert, Note: noIdentity},
	{Field: "spec.workloadSelector.labels"},
	{Field: "spec.subjectAltNames", Effect: Unenforced, Note: "whoever answers at the address is believed"},
}

// Identities are what mutual TLS and access to a cluster's API are granted to; crossfade has neither yet, and
// every kind that could ask for them is refused.
const noIdentity = "an identity, to which nothing is granted here"

var workloadEntryTable = []Decision{
	{Field: "metadata.annotations[istio.io/autoRegistrationGroup]", Note: "the WorkloadGroup whose template and probe hold for it"},
	{Field: "spec.address", Note: "an IP address"},
	{Field: "spec.ports"},
	{Field: "spec.labels", Note: instanceLabels},
	{Field: "spec.locality", Note: localityForm},
	{Field: "spec.weight", Note: "1 where it is not given"},
	{Field: "spec.serviceAccount", Effect: Inert, Note: noIdentity},
}

var workloadGroupTable = []Decision{
	{Field: "spec.metadata.labels", Note: "of every entry of the group"},
	{Field: "spec.metadata.annotations", Effect: Inert, Note: "nothing is done with annotations of instances"},
	{Field: "spec.template.ports"},
	{Field: "spec.template.labels", Note: instanceLabels},
	{Field: "spec.template.locality", Note: localityForm},
	{Field: "spec.template.weight"},
	{Field: "spec.template.serviceAccount", Effect: Inert, Note: noIdentity},
	{Field: "spec.probe.httpGet.path"},
	{Field: "spec.probe.httpGet.port"},
	{Field: "spec.probe.httpGet.scheme", Values: []string{"HTTP", "HTTPS"}, Note: "HTTPS: the certificate is not looked at, as in Kubernetes"},
	{Field: "spec.probe.tcpSocket.port"},
	{Field: "spec.probe.grpc.port"},
	{Field: "spec.probe.grpc.service", Note: asked},
	{Field: "spec.probe.initialDelaySeconds"},
	{Field: "spec.probe.periodSeconds", Note: "10 where it is not given"},
	{Field: "spec.probe.timeoutSeconds", Note: "1 where it is not given"},
	{Field: "spec.probe.successThreshold", Note: "1 where it is not given"},
	{Field: "spec.probe.failureThreshold", Note: "3 where it is not given"},
}
