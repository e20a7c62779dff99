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
	{Field: "metadata.ownerReferences", Effect: Inert, Note: byCluster},
	{Field: "metadata.finalizers", Effect: Inert, Note: byCluster},
	{Field: "status", Effect: Inert, Note: byCluster},
}

var serviceTable = []Decision{
	{Field: "spec.selector"},
	{Field: "spec.type", Values: []string{"ClusterIP"}, Note: "a Gateway is what opens a port to the outside"},
	{Field: "spec.sessionAffinity", Values: []string{"None"}},
	{Field: "spec.clusterIP", Effect: Inert, Note: "services go by name; where their endpoints are is not changed by it"},
	{Field: "spec.clusterIPs", Effect: Inert, Note: byCluster},
	{Field: "spec.ipFamilies", Effect: Inert, Note: byCluster},
	{Field: "spec.ipFamilyPolicy", Effect: Inert, Note: byCluster},
	{Field: "spec.internalTrafficPolicy", Values: []string{"Cluster"}},
	{Field: "spec.ports[].name", Note: "says the protocol, as in Istio: http-web, http2-web, grpc-api, tcp-db; endpoints are spoken to in HTTP/2 where it is http2 or grpc, else in HTTP/1.1, also where Istio's sidecars would find out"},
	{Field: "spec.ports[].appProtocol", Note: "goes before the name; kubernetes.io/h2c is http2"},
	{Field: "spec.ports[].port"},
	{Field: "spec.ports[].protocol", Values: []string{"TCP"}},
	{Field: "spec.ports[].targetPort"},
}

const (
	noImage  = "the command runs as a local process"
	template = "spec.template.spec.containers[]."
	probe    = template + "readinessProbe."
	preStop  = template + "lifecycle.preStop."
	asked    = "what grpc.health.v1.Health/Check asks about; the server as a whole where it is not given"
)

var deploymentTable = []Decision{
	{Field: "spec.replicas", Note: "1 where it is not given"},
	{Field: "spec.selector.matchLabels", Note: "must be among the template's labels"},
	{Field: "spec.minReadySeconds", Note: "how long old instances stay after new ones are ready; with a warm-up write its window in seconds, so that they stay until the new ones are warm; 0 where it is not given"},
	{Field: "spec.progressDeadlineSeconds", Note: "a release of it that comes no nearer for so long has stalled; 600, and minReadySeconds more, where it is not given"},
	{Field: "spec.strategy.type", Values: []string{"RollingUpdate", "Recreate"}},
	{Field: "spec.strategy.rollingUpdate.maxSurge", Note: "25% where it is not given"},
	{Field: "spec.strategy.rollingUpdate.maxUnavailable", Note: "25% where it is not given"},
	{Field: "spec.template.metadata.labels", Note: templateLabels},
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
	{Field: probe + "httpGet.port", Note: "55199 with path /readiness or /health is the agent's own, which is ready when the instance is registered: the application is then asked on its first port"},
	{Field: probe + "httpGet.scheme", Values: []string{"HTTP"}},
	{Field: probe + "tcpSocket.port"},
	{Field: probe + "grpc.port"},
	{Field: probe + "grpc.service", Note: asked},
	{Field: probe + "grpc.mode", Values: []string{"Plaintext"}},
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

var endpointSliceTable = []Decision{
	{Field: "metadata.labels", Note: "kubernetes.io/service-name names the Service that the endpoints are of"},
	{Field: "addressType", Values: []string{"IPv4", "IPv6"}},
	{Field: "endpoints[].addresses", Note: "the first of each, as in Kubernetes"},
	{Field: "endpoints[].conditions.ready", Note: "one that is not ready is left out"},
	{Field: "endpoints[].conditions.serving", Effect: Inert, Note: "ready says it"},
	{Field: "endpoints[].conditions.terminating", Note: "one that terminates is left out"},
	{Field: "endpoints[].targetRef", Note: "its name names the endpoint, its uid tells one incarnation from the next"},
	{Field: "endpoints[].zone"},
	{Field: "endpoints[].nodeName", Effect: Inert, Note: noPlacement},
	{Field: "endpoints[].hostname", Effect: Inert, Note: "names of single Pods are not looked up here"},
	{Field: "endpoints[].hints", Effect: Inert, Note: byCluster},
	{Field: "endpoints[].deprecatedTopology", Effect: Inert, Note: byCluster},
	{Field: "ports[].name", Note: "of the Service's port"},
	{Field: "ports[].port"},
	{Field: "ports[].protocol", Values: []string{"TCP"}},
	{Field: "ports[].appProtocol", Effect: Inert, Note: "the Service's ports say it"},
}

// Where an instance runs decides nothing as long as locality is not weighed.
const noPlacement = "which machine an instance runs on decides nothing here"

var endpointsTable = []Decision{
	{Field: "subsets[].addresses[].ip"},
	{Field: "subsets[].addresses[].targetRef", Note: "its name names the endpoint, its uid tells one incarnation from the next"},
	{Field: "subsets[].addresses[].hostname", Effect: Inert, Note: "names of single Pods are not looked up here"},
	{Field: "subsets[].addresses[].nodeName", Effect: Inert, Note: noPlacement},
	{Field: "subsets[].notReadyAddresses", Effect: Inert, Note: "what is not ready is left out"},
	{Field: "subsets[].ports[].name", Note: "of the Service's port"},
	{Field: "subsets[].ports[].port"},
	{Field: "subsets[].ports[].protocol", Values: []string{"TCP"}},
	{Field: "subsets[].ports[].appProtocol", Effect: Inert, Note: "the Service's ports say it"},
}

var podTable = []Decision{
	{Field: "metadata.labels", Note: "what Services and subsets select by"},
	{Field: "metadata.uid", Note: "tells one incarnation from the next"},
	{Field: "metadata.deletionTimestamp", Note: "a Pod that is being deleted is left out"},
	{Field: "metadata.deletionGracePeriodSeconds", Effect: Inert, Note: byCluster},
	{Field: "spec", Effect: Inert, Note: "somebody else runs the Pod; crossfade runs Deployments"},
	{Field: "spec.containers[].ports[].name"},
	{Field: "spec.containers[].ports[].containerPort"},
	{Field: "status", Effect: Inert, Note: byCluster},
	{Field: "status.podIP", Note: "a Pod is an instance once it has an address"},
	{Field: "status.conditions[].type"},
	{Field: "status.conditions[].status", Note: "a Pod whose condition Ready is not True is left out"},
}
