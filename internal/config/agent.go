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
	Offline      string // on loopback
	OfflineToken string // a file
	Registry     string // a URL, or "control"
	Feed         string

	Lifecycle *fleet.Lifecycle // its own: goes before what control has for its service
	Command   []string
	Origin    fleet.Origin
}

// An agent is an Agent, as people write it.
type agent struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            agentSpec `json:"spec"`
	Status          any       `json:"status"`
}

type agentSpec struct {
	Service     string            `json:"service"`
	Name        string            `json:"name"`
	Incarnation string            `json:"incarnation"`
	Address     string            `json:"address"`
	Port        *int32            `json:"port"`
	Ports       []agentPort       `json:"ports"`
	Labels      map[string]string `json:"labels"`
	Weight      *uint32           `json:"weight"`
	Locality    string            `json:"locality"`
	Workload    string            `json:"workload"`
	Revision    string            `json:"revision"`

	Probe   *agentProbe   `json:"probe"`
	PreStop *agentPreStop `json:"preStop"`
	Grace   span          `json:"grace"`

	Inbound      []string `json:"inbound"`
	Admin        string   `json:"admin"`
	Readiness    string   `json:"readiness"`
	Offline      string   `json:"offline"`
	OfflineToken string   `json:"offlineToken"`
	Registry     string   `json:"registry"`
	Feed         string   `json:"feed"`

	Lifecycle *lifecycleSettings `json:"lifecycle"`
	Command   []string           `json:"command"`
}

type agentPort struct {
	Name   string `json:"name"`
	Number int32  `json:"number"`
}

type agentProbe struct {
	HTTP *agentGet     `json:"http"`
	GRPC *agentHealth  `json:"grpc"`
	TCP  *agentConnect `json:"tcp"`
	Exec *agentExec    `json:"exec"`

	InitialDelay pause  `json:"initialDelay"`
	Interval     span   `json:"interval"`
	Timeout      span   `json:"timeout"`
	StartTimeout span   `json:"startTimeout"`
	Healthy      *int32 `json:"healthy"`
	Unhealthy    *int32 `json:"unhealthy"`
}

type agentGet struct {
	Path   string    `json:"path"`
	Port   *int32    `json:"port"`
	Scheme getScheme `json:"scheme"`
}

type agentHealth struct {
	Port    *int32 `json:"port"`
	Service string `json:"service"`
}

type agentConnect struct {
	Port *int32 `json:"port"`
}

type agentExec struct {
	Command []string `json:"command"`
}

type agentPreStop struct {
	Exec  *agentExec `json:"exec"`
	HTTP  *agentGet  `json:"http"`
	Sleep pause      `json:"sleep"`
}

// A getScheme is what an HTTP GET is sent over.
type getScheme string

const overTLS getScheme = "HTTPS"

func (getScheme) shape() *shape {
	return &shape{is: enumShape, values: []string{"HTTP", string(overTLS)}}
}
