package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Effect is what crossfade does with a field.
type Effect uint8

// The effects. A field that the schema knows and no decision names is not supported yet: using it is an error.
const (
	Applied Effect = iota // it does here what its owner documents
	Inert                 // accepted, because where crossfade runs there is nothing that it could change
)

// A Decision says what crossfade does with one field of a kind, and with everything below it that has no
// decision of its own. Lists and mappings are written "[]", as in "spec.servers[].port.number".
type Decision struct {
	Field  string
	Effect Effect
	Values []string // those of its values that are applied; nil means all
	Note   string   // what it does, or why it does nothing
}

// A Kind is a kind of object, and what crossfade does with its fields.
type Kind struct {
	Name      string
	Versions  []string // its apiVersions, newest first
	Decisions []Decision

	read  func([]byte) (any, error) // of its JSON form
	shape func(*shapes) *shape
}

// Kinds returns the kinds of object that crossfade reads, with the decisions that the loader works by.
func Kinds() []Kind {
	return []Kind{
		istioKind[networking.Gateway]("Gateway", gatewayTable),
		istioKind[networking.VirtualService]("VirtualService", virtualServiceTable),
		istioKind[networking.DestinationRule]("DestinationRule", destinationRuleTable),
		istioKind[networking.ServiceEntry]("ServiceEntry", serviceEntryTable),
		istioKind[networking.WorkloadEntry]("WorkloadEntry", workloadEntryTable),
		kubernetesKind[core.Service]("Service", "v1", serviceTable),
		kubernetesKind[apps.Deployment]("Deployment", "apps/v1", deploymentTable),
		kubernetesKind[core.Namespace]("Namespace", "v1", namespaceTable),
		kubernetesKind[core.ServiceAccount]("ServiceAccount", "v1", serviceAccountTable),
	}
}

// An istioObject is an object whose spec is one of Istio's messages.
type istioObject[T any] struct {
	Metadata meta.ObjectMeta `json:"metadata"`
	Spec     *T              `json:"spec"`
}

func istioKind[T any, P interface {
	*T
	protoreflect.ProtoMessage
}](name string, decisions []Decision) Kind {
	return Kind{
		Name:      name,
		Versions:  []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"},
		Decisions: slices.Concat(metadataTable, decisions),
		read:      readAs[istioObject[T]],
		shape: func(c *shapes) *shape {
			s := c.goType(reflect.TypeFor[istioFields]())
			return s.with("spec", c.message(P(new(T)).ProtoReflect().Descriptor()))
		},
	}
}

// istioFields are the fields of an Istio object, all but the spec.
type istioFields struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            any `json:"spec"`
	Status          any `json:"status"`
}

func kubernetesKind[T any](name, version string, decisions []Decision) Kind {
	return Kind{
		Name:      name,
		Versions:  []string{version},
		Decisions: slices.Concat(metadataTable, decisions),
		read:      readAs[T],
		shape:     func(c *shapes) *shape { return c.goType(reflect.TypeFor[T]()) },
	}
}

func readAs[T any](data []byte) (any, error) {
	v := new(T)
	return v, json.Unmarshal(data, v)
}

// with returns a copy of an object's shape in which one field has another shape.
func (s *shape) with(name string, other *shape) *shape {
	return &shape{is: objectShape, fields: func() field {
		fields := maps.Clone(s.all())
		fields[name] = &fieldShape{name: name, shape: other}
		return fields
	}}
}

// knownElsewhereTable names kinds that crossfade does not read yet, by API group.
var knownElsewhereTable = map[string][]string{
	"": {
		"ConfigMap", "Endpoints", "Event", "LimitRange", "Node", "PersistentVolume", "PersistentVolumeClaim",
		"Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Secret",
	},
	"apps":                         {"ControllerRevision", "DaemonSet", "ReplicaSet", "StatefulSet"},
	"autoscaling":                  {"HorizontalPodAutoscaler"},
	"batch":                        {"CronJob", "Job"},
	"discovery.k8s.io":             {"EndpointSlice"},
	"networking.k8s.io":            {"Ingress", "IngressClass", "NetworkPolicy"},
	"policy":                       {"PodDisruptionBudget"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"kustomize.config.k8s.io":      {"Kustomization"},
	"networking.istio.io":          {"EnvoyFilter", "ProxyConfig", "Sidecar", "WorkloadGroup"},
	"security.istio.io":            {"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"},
	"telemetry.istio.io":           {"Telemetry"},
	"extensions.istio.io":          {"WasmPlugin"},
	"gateway.networking.k8s.io":    {"Gateway", "GatewayClass", "GRPCRoute", "HTTPRoute", "ReferenceGrant", "TCPRoute", "TLSRoute", "UDPRoute"},
	"install.istio.io":             {"IstioOperator"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
}
