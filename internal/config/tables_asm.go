package config

const (
	noPod       = "no Pod is made of it: a replica is a process on this machine"
	noBalancer  = "no load balancer is made of it; one of your own looks at /healthz/ready of each gateway"
	drainAt     = "metadata.annotations[" + drainSeconds + "]"
	followsLoad = "is for a number of replicas that follows the load"
	portsServed = "the servers of Gateways say which ports are served"
	readyItself = "a replica says itself when it is ready"
	compressed  = "only with compression.enabled"
)

// istioGatewayTable is about ASM's IstioGateway.
var istioGatewayTable = []Decision{
	{Field: "metadata.name", Note: "becomes the labels istio=NAME and app=istio-NAME, which Gateways select; ingressgateway where there is no IstioGateway"},
	{Field: "metadata.namespace", Note: `"istio-system" where it is not given, as in ASM`},
	{Field: drainAt, Note: "whole seconds, as text, that open requests have when a replica leaves: 10 to 890 with serviceType LoadBalancer, 10 or more with ClusterIP and NodePort; a change applies without a restart, where ASM restarts"},
	{Field: "spec.gatewayType", Values: []string{"ingress"}, Note: "what is meant where it is not given, too"},
	{Field: "spec.replicaCount", Note: "processes that share the listening sockets, 1 to 100; 1 where it is not given"},
	{Field: "spec.minReplicas", Note: "must be replicaCount: it does not follow the load yet"},
	{Field: "spec.maxReplicas", Note: "must be replicaCount: it does not follow the load yet"},
	{Field: "spec.autoscaleEnabled", Values: []string{"false"}},
	{Field: "spec.cpu.targetAverageUtilization", Effect: Inert, Note: followsLoad},
	{Field: "spec.memory.targetAverageUtilization", Effect: Inert, Note: followsLoad},
	{Field: "spec.serviceType", Note: "bounds the drain timeout; LoadBalancer where it is not given"},
	{Field: "spec.serviceAnnotations", Note: drainSwitch + `: "on" with …-timeout: "10" to "30" is the older drain timeout; the newer annotation goes before it. Others are for a load balancer in a cloud`},
	{Field: "spec.podLabels", Note: "carried by every replica, beside istio and app: what Gateways and rules select"},
	{Field: "spec.clusterIds", Effect: Inert, Note: "there is one machine"},
	{Field: "spec.serviceLabels", Effect: Inert, Note: noBalancer},
	{Field: "spec.loadBalancerClass", Effect: Inert, Note: noBalancer},
	{Field: "spec.loadBalancerIP", Effect: Inert, Note: "control's --gateway-address says where gateways listen"},
	{Field: "spec.externalTrafficPolicy", Effect: Inert, Note: noBalancer},
	{Field: "spec.ports[].name", Effect: Inert, Note: portsServed},
	{Field: "spec.ports[].port", Effect: Inert, Note: portsServed},
	{Field: "spec.ports[].targetPort", Effect: Inert, Note: portsServed},
	{Field: "spec.ports[].protocol", Effect: Inert, Note: portsServed},
	{Field: "spec.ports[].nodePort", Effect: Inert, Note: portsServed},
	{Field: "spec.ports[].appProtocol", Effect: Inert, Note: portsServed},
	{Field: "spec.resources", Effect: Inert, Note: noPod},
	{Field: "spec.nodeSelector", Effect: Inert, Note: noPod},
	{Field: "spec.affinity", Effect: Inert, Note: noPod},
	{Field: "spec.tolerations", Effect: Inert, Note: noPod},
	{Field: "spec.runAsRoot", Effect: Inert, Note: "replicas run as whoever runs crossfade"},
	{Field: "spec.hostNetwork", Effect: Inert, Note: noPod},
	{Field: "spec.dnsPolicy", Effect: Inert, Note: noPod},
	{Field: "spec.readinessProbe.failureThreshold", Effect: Inert, Note: readyItself},
	{Field: "spec.readinessProbe.periodSeconds", Effect: Inert, Note: readyItself},
	{Field: "spec.readinessProbe.successThreshold", Effect: Inert, Note: readyItself},
	{Field: "spec.disableContainerPortExposed", Effect: Inert, Note: noPod},
	{Field: "spec.kernel.enabled", Values: []string{"false"}},
	{Field: "spec.kernel.parameters", Effect: Inert, Note: "only with kernel.enabled"},
	{Field: "spec.compression.enabled", Values: []string{"false"}},
	{Field: "spec.compression.min_content_length", Effect: Inert, Note: compressed},
	{Field: "spec.compression.content_type", Effect: Inert, Note: compressed},
	{Field: "spec.compression.disable_on_etag_header", Effect: Inert, Note: compressed},
	{Field: "spec.compression.remove_accept_encoding_header", Effect: Inert, Note: compressed},
	{Field: "spec.autoCreateGatewayYaml", Values: []string{"false"}},
}
