package config

// What is written by a cluster, not by people, says nothing about what people want.
const byCluster = "written by the cluster"

// metadataTable is about the metadata of every kind.
var metadataTable = []Decision{
	{Field: "apiVersion"},
	{Field: "kind"},
	{Field: "metadata.name"},
	{Field: "metadata.namespace", Note: `"default" where it is not given`},
	{Field: "metadata.labels", Effect: Inert, Note: "nothing selects objects of configuration by label"},
	{Field: "metadata.annotations", Note: "crossfade.dev/… as documented; others say nothing to crossfade"},
	{Field: "metadata.creationTimestamp", Effect: Inert, Note: byCluster},
	{Field: "metadata.generation", Effect: Inert, Note: byCluster},
	{Field: "metadata.managedFields", Effect: Inert, Note: byCluster},
	{Field: "metadata.resourceVersion", Effect: Inert, Note: byCluster},
	{Field: "metadata.selfLink", Effect: Inert, Note: byCluster},
	{Field: "metadata.uid", Effect: Inert, Note: byCluster},
	{Field: "status", Effect: Inert, Note: byCluster},
}

var gatewayTable = []Decision{
	{Field: "spec.selector", Note: "must be carried by this gateway: istio=ingressgateway, app=istio-ingressgateway"},
	{Field: "spec.servers[].port.number", Note: "below 1024 served at +8000 unless privileged ports are asked for"},
	{Field: "spec.servers[].port.name"},
	{Field: "spec.servers[].port.protocol", Note: "HTTP"},
	{Field: "spec.servers[].hosts", Note: `also "namespace/host" and "./host"`},
	{Field: "spec.servers[].name", Effect: Inert, Note: "a label for people"},
}

var virtualServiceTable = []Decision{
	{Field: "spec.hosts"},
	{Field: "spec.gateways", Note: `"mesh" where it is not given`},
	{Field: "spec.exportTo", Values: []string{"*"}, Note: "everywhere, which is the default"},
	{Field: "spec.http[].name"},
	{Field: "spec.http[].match[].uri.exact"},
	{Field: "spec.http[].match[].uri.prefix"},
	{Field: "spec.http[].match[].uri.regex", Note: "RE2, of the whole path"},
	{Field: "spec.http[].route[].destination.host"},
	{Field: "spec.http[].route[].destination.subset"},
	{Field: "spec.http[].route[].destination.port.number"},
	{Field: "spec.http[].route[].weight"},
	{Field: "spec.http[].timeout"},
}

var destinationRuleTable = []Decision{
	{Field: "metadata.annotations[crossfade.dev/shift-budget]", Note: "how many times their traffic warm endpoints may carry while others warm up"},
	{Field: "spec.host"},
	{Field: "spec.exportTo", Values: []string{"*"}, Note: "everywhere, which is the default"},
	{Field: "spec.subsets[].name"},
	{Field: "spec.subsets[].labels"},
	{Field: "spec.trafficPolicy.loadBalancer.simple", Values: balancersTable},
	{Field: "spec.trafficPolicy.loadBalancer.warmupDurationSecs", Note: "the older spelling of warmup.duration"},
	{Field: "spec.trafficPolicy.loadBalancer.warmup.duration"},
	{Field: "spec.trafficPolicy.loadBalancer.warmup.minimumPercent", Note: "10 where it is not given"},
	{Field: "spec.trafficPolicy.loadBalancer.warmup.aggression", Note: "1 where it is not given"},
	{Field: "spec.subsets[].trafficPolicy.loadBalancer.simple", Values: balancersTable, Note: "replaces the whole loadBalancer of spec.trafficPolicy"},
	{Field: "spec.subsets[].trafficPolicy.loadBalancer.warmupDurationSecs"},
	{Field: "spec.subsets[].trafficPolicy.loadBalancer.warmup.duration"},
	{Field: "spec.subsets[].trafficPolicy.loadBalancer.warmup.minimumPercent"},
	{Field: "spec.subsets[].trafficPolicy.loadBalancer.warmup.aggression"},
}

// balancersTable are the values of loadBalancer.simple that the balancer rooms have; LEAST_CONN is Istio's old name
// of LEAST_REQUEST.
var balancersTable = []string{"ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED"}

var serviceEntryTable = []Decision{
	{Field: "spec.hosts"},
	{Field: "spec.exportTo", Values: []string{"*"}, Note: "everywhere, which is the default"},
	{Field: "spec.location", Effect: Inert, Note: "decides about Istio's mutual TLS and telemetry only"},
	{Field: "spec.resolution", Values: []string{"STATIC"}},
	{Field: "spec.ports[].number"},
	{Field: "spec.ports[].name"},
	{Field: "spec.ports[].protocol", Note: "HTTP is routed; TCP, TLS, HTTPS, MONGO, MYSQL and REDIS are known, the mesh port does not carry them"},
	{Field: "spec.ports[].targetPort"},
	{Field: "spec.endpoints[].address", Note: "an IP address"},
	{Field: "spec.endpoints[].ports"},
	{Field: "spec.endpoints[].labels"},
	{Field: "spec.endpoints[].locality"},
	{Field: "spec.endpoints[].weight", Note: "1 where it is not given"},
	{Field: "spec.endpoints[].serviceAccount", Effect: Inert, Note: noIdentity},
	{Field: "spec.workloadSelector.labels"},
}

// Identities are what mutual TLS and access to a cluster's API are granted to; crossfade has neither yet, and
// every kind that could ask for them is refused.
const noIdentity = "an identity, to which nothing is granted here"

var workloadEntryTable = []Decision{
	{Field: "spec.address", Note: "an IP address"},
	{Field: "spec.ports"},
	{Field: "spec.labels"},
	{Field: "spec.locality"},
	{Field: "spec.weight", Note: "1 where it is not given"},
	{Field: "spec.serviceAccount", Effect: Inert, Note: noIdentity},
}

var serviceTable = []Decision{
	{Field: "spec.selector"},
	{Field: "spec.type", Values: []string{"ClusterIP"}, Note: "a Gateway is what opens a port to the outside"},
	{Field: "spec.sessionAffinity", Values: []string{"None"}},
	{Field: "spec.ports[].name", Note: "says the protocol, as in Istio: http-web, tcp-db"},
	{Field: "spec.ports[].appProtocol", Note: "goes before the name"},
	{Field: "spec.ports[].port"},
	{Field: "spec.ports[].protocol", Values: []string{"TCP"}},
	{Field: "spec.ports[].targetPort"},
}

const (
	noImage  = "the command runs as a local process"
	template = "spec.template.spec.containers[]."
	probe    = template + "readinessProbe."
	preStop  = template + "lifecycle.preStop."
)

var deploymentTable = []Decision{
	{Field: "spec.replicas", Note: "1 where it is not given"},
	{Field: "spec.selector.matchLabels", Note: "must be among the template's labels"},
	{Field: "spec.minReadySeconds"},
	{Field: "spec.strategy.type", Values: []string{"RollingUpdate", "Recreate"}},
	{Field: "spec.strategy.rollingUpdate.maxSurge", Note: "25% where it is not given"},
	{Field: "spec.strategy.rollingUpdate.maxUnavailable", Note: "25% where it is not given"},
	{Field: "spec.template.metadata.labels"},
	{Field: "spec.template.metadata.annotations", Note: "a change replaces the instances, as kubectl rollout restart relies on"},
	{Field: "spec.template.metadata.creationTimestamp", Effect: Inert, Note: byCluster},
	{Field: "spec.template.spec.serviceAccountName", Effect: Inert, Note: noIdentity},
	{Field: "spec.template.spec.serviceAccount", Effect: Inert, Note: noIdentity},
	{Field: "spec.template.spec.restartPolicy", Values: []string{"Always"}},
	{Field: "spec.template.spec.terminationGracePeriodSeconds", Note: "30 where it is not given"},
	{Field: template + "name", Effect: Inert, Note: "there is one container"},
	{Field: template + "image", Note: "a change replaces the instances; what runs is the command"},
	{Field: template + "imagePullPolicy", Effect: Inert, Note: noImage},
	{Field: template + "command"},
	{Field: template + "args"},
	{Field: template + "workingDir"},
	{Field: template + "env[].name"},
	{Field: template + "env[].value"},
	{Field: template + "env[].valueFrom.fieldRef.apiVersion", Values: []string{"v1"}},
	{Field: template + "env[].valueFrom.fieldRef.fieldPath", Values: []string{"status.podIP", "metadata.name", "metadata.namespace"}},
	{Field: template + "ports[].name"},
	{Field: template + "ports[].containerPort"},
	{Field: template + "ports[].protocol", Values: []string{"TCP"}},
	{Field: probe + "httpGet.path"},
	{Field: probe + "httpGet.port"},
	{Field: probe + "httpGet.scheme", Values: []string{"HTTP"}},
	{Field: probe + "tcpSocket.port"},
	{Field: probe + "exec.command"},
	{Field: probe + "initialDelaySeconds"},
	{Field: probe + "periodSeconds", Note: "10 where it is not given"},
	{Field: probe + "timeoutSeconds", Note: "1 where it is not given"},
	{Field: probe + "successThreshold", Note: "1 where it is not given"},
	{Field: probe + "failureThreshold", Note: "3 where it is not given"},
	{Field: preStop + "exec.command"},
	{Field: preStop + "httpGet.path"},
	{Field: preStop + "httpGet.port"},
	{Field: preStop + "httpGet.scheme", Values: []string{"HTTP"}},
	{Field: preStop + "sleep.seconds"},
}

var namespaceTable = []Decision{
	{Field: "spec", Effect: Inert, Note: "a namespace is there as soon as something names it"},
}

var serviceAccountTable = []Decision{
	{Field: "secrets", Effect: Inert, Note: noIdentity},
	{Field: "imagePullSecrets", Effect: Inert, Note: noImage},
	{Field: "automountServiceAccountToken", Effect: Inert, Note: noIdentity},
}
