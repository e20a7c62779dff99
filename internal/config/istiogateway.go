package config

import (
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An istioGateway is ASM's IstioGateway: a gateway to run, where Istio's Gateway says what one serves. ASM publishes no
// module with it, so what its documentation and its CustomResourceDefinition know stands here.
type istioGateway struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            istioGatewaySpec `json:"spec"`
	Status          any              `json:"status"`
}

type istioGatewaySpec struct {
	istioGatewaySettings `json:""`

	GatewayType string                          `json:"gatewayType"`
	ClusterIDs  []string                        `json:"clusterIds"`
	Overrides   map[string]istioGatewaySettings `json:"overrides"` // by the id of a cluster
}

// istioGatewaySettings are what can be said of a gateway in all clusters, or in one.
type istioGatewaySettings struct {
	ReplicaCount     *int32 `json:"replicaCount"`
	AutoscaleEnabled bool   `json:"autoscaleEnabled"`
	MinReplicas      *int32 `json:"minReplicas"`
	MaxReplicas      *int32 `json:"maxReplicas"`
	CPU              usage  `json:"cpu"`
	Memory           usage  `json:"memory"`

	ServiceType           string             `json:"serviceType"`
	ServiceAnnotations    map[string]string  `json:"serviceAnnotations"`
	ServiceLabels         map[string]string  `json:"serviceLabels"`
	LoadBalancerClass     string             `json:"loadBalancerClass"`
	LoadBalancerIP        string             `json:"loadBalancerIP"`
	ExternalTrafficPolicy string             `json:"externalTrafficPolicy"`
	Ports                 []core.ServicePort `json:"ports"`
	MeshExpansionPorts    []core.ServicePort `json:"meshExpansionPorts"`
	ApplicationPorts      string             `json:"applicationPorts"`

	PodLabels             map[string]string          `json:"podLabels"`
	PodAnnotations        map[string]string          `json:"podAnnotations"`
	Resources             *core.ResourceRequirements `json:"resources"`
	Env                   []core.EnvVar              `json:"env"`
	NodeSelector          map[string]string          `json:"nodeSelector"`
	Affinity              *core.Affinity             `json:"affinity"`
	Tolerations           []core.Toleration          `json:"tolerations"`
	SecretVolumes         []mounted                  `json:"secretVolumes"`
	ConfigVolumes         []mounted                  `json:"configVolumes"`
	RollingMaxSurge       string                     `json:"rollingMaxSurge"`
	RollingMaxUnavailable string                     `json:"rollingMaxUnavailable"`
	Lifecycle             *core.Lifecycle            `json:"lifecycle"`
	ReadinessProbe        lookedAt                   `json:"readinessProbe"`
	RunAsRoot             bool                       `json:"runAsRoot"`
	HostNetwork           bool                       `json:"hostNetwork"`
	DNSPolicy             string                     `json:"dnsPolicy"`
	Kernel                kernel                     `json:"kernel"`

	Compression                 compression `json:"compression"`
	SDS                         any         `json:"sds"`
	RequestedNetworkView        string      `json:"requestedNetworkView"`
	AutoCreateGatewayYAML       bool        `json:"autoCreateGatewayYaml"`
	DisableContainerPortExposed bool        `json:"disableContainerPortExposed"`
}

// A usage is how busy replicas are to be when their number follows the load.
type usage struct {
	TargetAverageUtilization int32 `json:"targetAverageUtilization"`
}

// A mounted is a Secret or a ConfigMap that a gateway reads as files.
type mounted struct {
	Name          string `json:"name"`
	SecretName    string `json:"secretName"`
	ConfigMapName string `json:"configMapName"`
	MountPath     string `json:"mountPath"`
}

// A lookedAt is how often a gateway is asked whether it is ready.
type lookedAt struct {
	FailureThreshold int32 `json:"failureThreshold"`
	PeriodSeconds    int32 `json:"periodSeconds"`
	SuccessThreshold int32 `json:"successThreshold"`
}

type kernel struct {
	Enabled    bool              `json:"enabled"`
	Parameters map[string]string `json:"parameters"`
}

type compression struct {
	Enabled                    bool     `json:"enabled"`
	MinContentLength           uint32   `json:"min_content_length"`
	ContentType                []string `json:"content_type"`
	DisableOnETagHeader        bool     `json:"disable_on_etag_header"`
	RemoveAcceptEncodingHeader bool     `json:"remove_accept_encoding_header"`
	Gzip                       any      `json:"gzip"`
}

// istioGatewayKind is the kind of ASM's gateways.
func istioGatewayKind() Kind {
	k := kubernetesKind[istioGateway]("IstioGateway", "istio.alibabacloud.com/v1", istioGatewayTable)
	k.Versions = append(k.Versions, "istio.alibabacloud.com/v1beta1")
	whole := k.shape
	k.shape = func(c *shapes) *shape {
		s := whole(c)
		spec := s.field("spec").shape.
			with("gatewayType", &shape{is: enumShape, values: []string{"ingress", "egress", "cross-network"}}).
			with("serviceType", &shape{is: enumShape, values: []string{"LoadBalancer", "ClusterIP", "NodePort"}})
		return s.with("spec", spec)
	}
	return k
}
