package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Effect is what crossfade does with a field.
type Effect uint8

// The effects. A field that the schema knows and no decision names is not supported yet: using it is an error.
const (
	Applied    Effect = iota // it does here what its owner documents
	Inert                    // accepted, because where crossfade runs there is nothing that it could change
	Unenforced               // read and checked, but not done yet: an error, or a warning under Options.Lenient
	Refused                  // read and checked, but not done yet: an error always, since leaving it undone could do harm
)

// A Decision says what crossfade does with one field of a kind, and with everything below it that has no
// decision of its own. Lists and mappings are written "[]", as in "spec.servers[].port.number".
type Decision struct {
	Field  string
	Effect Effect
	Values []string // those of its values that are applied; nil means all
	Note   string   // what it does, or why it does nothing
	Since  string   // the release that it holds since; "" means the first, 0.1
}

// A Kind is a kind of object, and what crossfade does with its fields.
type Kind struct {
	Name      string
	Versions  []string // its apiVersions, newest first
	Decisions []Decision

	read  func(fields map[string]any) (any, error) // of the plain values of JSON
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
		istioKind[networking.WorkloadGroup]("WorkloadGroup", workloadGroupTable),
		istioGatewayKind(),
		kubernetesKind[lifecycle]("Lifecycle", ownVersion, lifecycleTable),
		kubernetesKind[warmupFile](requestsKind, ownVersion, warmupFileTable),
		kubernetesKind[agent]("Agent", ownVersion, agentTable),
		kubernetesKind[core.Service]("Service", "v1", serviceTable),
		kubernetesKind[discovery.EndpointSlice]("EndpointSlice", "discovery.k8s.io/v1", endpointSliceTable),
		kubernetesKind[core.Endpoints]("Endpoints", "v1", endpointsTable), //nolint:staticcheck // older clusters still write them
		kubernetesKind[core.Pod]("Pod", "v1", podTable),
		kubernetesKind[apps.Deployment]("Deployment", "apps/v1", deploymentTable),
		kubernetesKind[core.Namespace]("Namespace", "v1", namespaceTable),
		kubernetesKind[core.ServiceAccount]("ServiceAccount", "v1", serviceAccountTable),
	}
}

// An istioObject is an object whose spec is one of Istio's messages.
type istioObject[T any] struct{ Spec *T }

func istioKind[T any, P interface {
	*T
	protoreflect.ProtoMessage
}](name string, decisions []Decision) Kind {
	return Kind{
		Name:      name,
		Versions:  []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"},
		Decisions: withMetadata(decisions),
		read: func(fields map[string]any) (any, error) {
			o := &istioObject[T]{Spec: new(T)}
			return o, readMessage(fields["spec"], P(o.Spec))
		},
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
		Decisions: withMetadata(decisions),
		read: func(fields map[string]any) (any, error) {
			v := new(T)
			return v, readInto(fields, v)
		},
		shape: func(c *shapes) *shape { return c.goType(reflect.TypeFor[T]()) },
	}
}

// readMessage reads a message from the plain values of its JSON form; nil is an empty one.
func readMessage(value any, m protoreflect.ProtoMessage) error {
	if value == nil {
		return nil
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(data, m)
}

// readInto reads a typed value from the plain values of its JSON form.
func readInto(value, typed any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, typed)
}

// withMetadata puts the decisions about the metadata of every kind before those of one, which win.
func withMetadata(decisions []Decision) []Decision {
	common := slices.DeleteFunc(slices.Clone(metadataTable), func(d Decision) bool {
		return slices.ContainsFunc(decisions, func(own Decision) bool { return own.Field == d.Field })
	})
	return append(common, decisions...)
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
		"ConfigMap", "Event", "LimitRange", "Node", "PersistentVolume", "PersistentVolumeClaim",
		"PodTemplate", "ReplicationController", "ResourceQuota", "Secret",
	},
	"apps":                         {"ControllerRevision", "DaemonSet", "ReplicaSet", "StatefulSet"},
	"autoscaling":                  {"HorizontalPodAutoscaler"},
	"batch":                        {"CronJob", "Job"},
	"networking.k8s.io":            {"Ingress", "IngressClass", "NetworkPolicy"},
	"policy":                       {"PodDisruptionBudget"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"kustomize.config.k8s.io":      {"Kustomization"},
	"networking.istio.io":          {"EnvoyFilter", "ProxyConfig", "Sidecar"},
	"security.istio.io":            {"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"},
	"telemetry.istio.io":           {"Telemetry"},
	"extensions.istio.io":          {"WasmPlugin"},
	"gateway.networking.k8s.io":    {"Gateway", "GatewayClass", "GRPCRoute", "HTTPRoute", "ReferenceGrant", "TCPRoute", "TLSRoute", "UDPRoute"},
	"install.istio.io":             {"IstioOperator"},
	"istio.alibabacloud.com":       {"ASMLocalRateLimiter", "TrafficLabel"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
}
