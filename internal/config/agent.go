package config

import (
	"net/netip"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/internal/fleet"
)

// An Agent says what an agent does that stands beside one instance. What is zero is not said in the file: defaults, and
// flags that go before the file, are the agent's.
type Agent struct {
	Service     string // of its instance: spec.service, else metadata.name
	Namespace   string
	Name        string
	Incarnation string
	Address     netip.Addr
	Ports       []fleet.ContainerPort
	Labels      map[string]string
	Weight      uint32
	Locality    fleet.Locality
	Workload    string
	Revision    string

	Probe        *fleet.Probe
	StartTimeout time.Duration // in which the probe must pass once
	PreStop      *fleet.PreStop
	Grace        time.Duration

	Inbound      []string // each "9080", or LISTEN=APP, both as address:port
	Admin        string   // address:port, as those below; ":port" is every address
	Readiness    string
	Offline      string   // on loopback
	OfflineToken string   // a file
	Registry     string   // a URL, or "control"
	Hold         []string // URLs, as of hold.ParseURL: registries that the application registers with by itself
	Feed         string

	Lifecycle *fleet.Lifecycle // its own: goes before what control has for its service
	Command   []string
	Origin    fleet.Origin
}

// An agent is an Agent, as people write it.
type agent struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            agentSpec `json:"spec,omitzero"`
	Status          any       `json:"status,omitzero"`
}

type agentSpec struct {
	Service     string            `json:"service,omitzero"`
	Name        string            `json:"name,omitzero"`
	Incarnation string            `json:"incarnation,omitzero"`
	Address     string            `json:"address,omitzero"`
	Port        *int32            `json:"port,omitzero"`
	Ports       []agentPort       `json:"ports,omitzero"`
	Labels      map[string]string `json:"labels,omitzero"`
	Weight      *uint32           `json:"weight,omitzero"`
	Locality    string            `json:"locality,omitzero"`
	Workload    string            `json:"workload,omitzero"`
	Revision    string            `json:"revision,omitzero"`

	Probe   *agentProbe   `json:"probe,omitzero"`
	PreStop *agentPreStop `json:"preStop,omitzero"`
	Grace   span          `json:"grace,omitzero"`

	Inbound      []string `json:"inbound,omitzero"`
	Admin        string   `json:"admin,omitzero"`
	Readiness    string   `json:"readiness,omitzero"`
	Offline      string   `json:"offline,omitzero"`
	OfflineToken string   `json:"offlineToken,omitzero"`
	Registry     string   `json:"registry,omitzero"`
	Hold         []string `json:"hold,omitzero"`
	Feed         string   `json:"feed,omitzero"`

	Lifecycle *lifecycleSettings `json:"lifecycle,omitzero"`
	Command   []string           `json:"command,omitzero"`
}

type agentPort struct {
	Name   string `json:"name,omitzero"`
	Number int32  `json:"number,omitzero"`
}

type agentProbe struct {
	HTTP *agentGet     `json:"http,omitzero"`
	GRPC *agentHealth  `json:"grpc,omitzero"`
	TCP  *agentConnect `json:"tcp,omitzero"`
	Exec *agentExec    `json:"exec,omitzero"`

	InitialDelay pause  `json:"initialDelay,omitzero"`
	Interval     span   `json:"interval,omitzero"`
	Timeout      span   `json:"timeout,omitzero"`
	StartTimeout span   `json:"startTimeout,omitzero"`
	Healthy      *int32 `json:"healthy,omitzero"`
	Unhealthy    *int32 `json:"unhealthy,omitzero"`
}

type agentGet struct {
	Path   string    `json:"path,omitzero"`
	Port   *int32    `json:"port,omitzero"`
	Scheme getScheme `json:"scheme,omitzero"`
}

type agentHealth struct {
	Port    *int32 `json:"port,omitzero"`
	Service string `json:"service,omitzero"`
}

type agentConnect struct {
	Port *int32 `json:"port,omitzero"`
}

type agentExec struct {
	Command []string `json:"command,omitzero"`
}

type agentPreStop struct {
	Exec  *agentExec `json:"exec,omitzero"`
	HTTP  *agentGet  `json:"http,omitzero"`
	Sleep pause      `json:"sleep,omitzero"`
}

// A getScheme is what an HTTP GET is sent over.
type getScheme string

const overTLS getScheme = "HTTPS"

func (getScheme) shape() *shape {
	return &shape{is: enumShape, values: []string{"HTTP", string(overTLS)}}
}
