// Package fleet holds the nouns of the house: what exists, as plain values.
//
// A [Snapshot] is everything at one moment. It is immutable once published: whoever holds one may read it
// for ever without a lock, and nobody writes to it. Control makes the next snapshot from the previous one;
// data planes put an [Overlay] of their own on top and never change what control said.
package fleet

import (
	"math"
	"net/netip"
	"time"

	"crossfade.dev/internal/drain"
)

// A Snapshot is an immutable, numbered value of everything that exists. Ages in it are those at the moment
// it was made; see [View].
type Snapshot struct {
	Number    uint64     `json:"number"`
	Config    string     `json:"config"` // digest of the configuration in force
	Listeners []Listener `json:"listeners,omitempty"`
	Services  []Service  `json:"services,omitempty"`  // sorted by Name
	Workloads []Workload `json:"workloads,omitempty"` // what people want to run
	Instances []Instance `json:"instances,omitempty"` // all that is reported or configured, sorted by Incarnation
	Gateways  []string   `json:"gateways,omitempty"`  // ids of the gateways that serve, sorted
	Events    []Event    `json:"events,omitempty"`    // the latest, oldest first; bounded

	Groups   []GatewayGroup `json:"groups,omitempty"`   // gateways that people want to run in replicas, sorted by namespace and name
	Replicas []Replica      `json:"replicas,omitempty"` // of them, as supervisors report, sorted by ID
	Drains   []drain.Report `json:"drains,omitempty"`   // the latest leaves of data planes, oldest first; bounded

	Lifecycles []Lifecycle `json:"lifecycles,omitempty"` // sorted by namespace and name; an agent is given the one that holds for it
}

// A View is a snapshot together with the local, monotonic time at which its ages were true. Ages travel
// between machines as durations; only the holder's own clock turns them into a moment.
type View struct {
	*Snapshot
	Taken time.Time
}

// Age returns the endpoint's age at now, never below zero. An age too great for a duration is the greatest.
func (v View) Age(e *Endpoint, now time.Time) time.Duration {
	since := now.Sub(v.Taken)
	age := max(0, e.Age) + since
	if since > 0 && age < 0 {
		return math.MaxInt64
	}
	return max(0, age)
}

// A Service is a name and port that requests are routed to. A Kubernetes Service with two ports is two of these.
type Service struct {
	Name      string            `json:"name"` // unique: Host + ":" + Port, as in "reviews:9080"
	Host      string            `json:"host"` // as people write it: "reviews", "reviews.prod", "api.example.com"
	Namespace string            `json:"namespace,omitempty"`
	Port      uint32            `json:"port"`
	PortName  string            `json:"port_name,omitempty"`
	Target    string            `json:"target,omitempty"`   // port of the instances: a number or a port's name; empty means Port
	Protocol  string            `json:"protocol,omitempty"` // "http", "http2", "grpc" or "tcp"; in which version its endpoints are spoken to, Policy.HTTP says
	Inbound   bool              `json:"inbound,omitempty"`  // the one instance that a sidecar stands before: Name is "inbound:9080", Host is empty
	Names     []string          `json:"names,omitempty"`    // every host name it answers to between services
	Selector  map[string]string `json:"selector,omitempty"` // labels of the instances that belong to it; nil selects none
	Pools     []Pool            `json:"pools"`              // Pools[0] holds all endpoints; the others are its subsets
	Endpoints []Endpoint        `json:"endpoints,omitempty"`
	Resolve   []ResolveName     `json:"resolve,omitempty"` // names whose addresses are endpoints too
	Origin    Origin            `json:"origin,omitzero"`
}

// A ResolveName is a name in the DNS whose addresses are endpoints of a service, for as long as it has them.
type ResolveName struct {
	Name     string            `json:"name"` // what its endpoints are called, with the address behind it: "pay-1"
	Host     string            `json:"host"` // to look up, in lower case
	Port     uint32            `json:"port"` // of the endpoints
	Weight   uint32            `json:"weight"`
	Labels   map[string]string `json:"labels,omitempty"`
	Locality Locality          `json:"locality,omitzero"`
	One      bool              `json:"one,omitempty"` // new connections go to the first address of the latest answer (DNS_ROUND_ROBIN); otherwise each is an endpoint
}

// A Pool is the part of a service's endpoints that one policy applies to: all of them, or a subset.
type Pool struct {
	Subset   string            `json:"subset,omitempty"` // "" is the whole service
	Labels   map[string]string `json:"labels,omitempty"` // an endpoint belongs when it has all of them
	Policy   Policy            `json:"policy"`
	Members  []Member          `json:"members,omitempty"`
	Capacity float64           `json:"capacity,omitempty"` // in force: effective weight that stood before those came who warm now; 0 when none warms. See warmup.Capacity
	Places   []Place           `json:"places,omitempty"`   // likewise by locality, where the policy has a Locality
	Origin   Origin            `json:"origin,omitzero"`    // the DestinationRule; zero when defaults apply
}

// A Place is the part of a pool's Capacity that stood in one locality.
type Place struct {
	Locality Locality `json:"locality"`
	Capacity float64  `json:"capacity"`
}

// A Member places an endpoint on its pool's warm-up curve: progress = Base + (age − At) / window.
// Control moves Base and At when the window or the curve changes, so that the share does not jump, when somebody
// skips or restarts the warm-up, and when the endpoint's weight becomes 0 and is more again.
type Member struct {
	Endpoint  int           `json:"endpoint"` // index into Service.Endpoints
	Base      float64       `json:"base,omitempty"`
	At        time.Duration `json:"at_ns,omitempty"`
	Moved     time.Duration `json:"moved_ns,omitempty"`  // age at which somebody skipped or restarted its warm-up: what data planes noted before that no longer counts; 0 when nobody did
	Paused    bool          `json:"paused,omitempty"`    // progress stays Base, however old the endpoint becomes
	Manual    bool          `json:"manual,omitempty"`    // somebody, or the endpoint's own label, moved it on the curve: the reason of its share until it is whole
	Drained   bool          `json:"drained,omitempty"`   // its weight is 0, and nothing is earned: progress stays Base
	Recovered bool          `json:"recovered,omitempty"` // its weight was 0: the reason of its share until it is whole
}

// An Endpoint is one address of one instance of a service.
type Endpoint struct {
	Name        string            `json:"name"`        // of the instance: "reviews-v2-1"
	Incarnation string            `json:"incarnation"` // changes when the process does, even on the same address
	Address     netip.AddrPort    `json:"address"`
	Labels      map[string]string `json:"labels,omitempty"`
	Locality    Locality          `json:"locality,omitzero"`
	Weight      uint32            `json:"weight"`           // full, steady-state weight, as configured; 0 is drained
	Factor      *float64          `json:"factor,omitempty"` // what people or the fleet loop multiply Weight by; nil is 1, 0 is drained
	Stage       Stage             `json:"stage"`
	Age         time.Duration     `json:"age_ns"` // since control first offered this incarnation; see View.Age
	Check       *Check            `json:"check,omitempty"`
	Bound       time.Duration     `json:"bound_ns,omitempty"` // while it is draining: after so long whoever runs it ends it, whatever is open; 0 is not known
	Warmup      *Warmup           `json:"warmup,omitempty"`   // its own, by which it warms up in pools whose policy has none
	Front       bool              `json:"front,omitempty"`    // an agent's front stands before it: see proxy.Front
}

// Full returns the endpoint's full, steady-state weight: Weight times Factor. A factor below 0 counts as 0, one
// above a million as a million, and one that is no number as none.
func (e *Endpoint) Full() float64 {
	if e.Factor == nil || math.IsNaN(*e.Factor) {
		return float64(e.Weight)
	}
	return float64(e.Weight) * min(max(0, *e.Factor), 1e6)
}

// A Locality says where an endpoint, or a data plane, is, from wide to narrow.
type Locality struct {
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	SubZone string `json:"sub_zone,omitempty"`
}

// A Check says how to see from outside that an endpoint can serve.
type Check struct {
	Path         string        `json:"path,omitempty"`    // an HTTP GET that must answer 200–399; empty means a TCP connection suffices
	HTTPS        bool          `json:"https,omitempty"`   // the GET is sent over TLS, whatever certificate is shown
	GRPC         bool          `json:"grpc,omitempty"`    // a call of grpc.health.v1.Health/Check over plaintext HTTP/2 must answer SERVING; Path is then not used
	Service      string        `json:"service,omitempty"` // the service that GRPC asks about; "" is the server as a whole
	Port         uint32        `json:"port,omitempty"`    // 0 means the endpoint's own
	InitialDelay time.Duration `json:"initial_delay_ns,omitempty"`
	Interval     time.Duration `json:"interval_ns"`
	Timeout      time.Duration `json:"timeout_ns"`
	Healthy      int           `json:"healthy"`   // passes in a row that make it healthy
	Unhealthy    int           `json:"unhealthy"` // failures in a row that make it unhealthy
}

// An Instance is one run of an application, as whoever runs it reports it.
type Instance struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Workload    string            `json:"workload,omitempty"` // the Deployment it belongs to
	Revision    string            `json:"revision,omitempty"` // of the workload's template
	Incarnation string            `json:"incarnation"`
	Address     netip.Addr        `json:"address"`
	Ports       map[string]uint32 `json:"ports,omitempty"` // named ports
	Labels      map[string]string `json:"labels,omitempty"`
	Locality    Locality          `json:"locality,omitzero"`
	Weight      uint32            `json:"weight"`
	Check       *Check            `json:"check,omitempty"`
	Ready       bool              `json:"ready,omitempty"`      // whoever runs it says that it can serve; control offers it once its Check passes too
	Leaving     bool              `json:"leaving,omitempty"`    // asked to stop: drain it, then say so
	Bound       time.Duration     `json:"bound_ns,omitempty"`   // while it is leaving: see Endpoint
	Warmup      *Warmup           `json:"warmup,omitempty"`     // its own: see Endpoint
	Front       bool              `json:"front,omitempty"`      // see Endpoint
	Published   *Published        `json:"published,omitempty"`  // what it says of its age; nil: nothing
	Ramp        float64           `json:"ramp,omitempty"`       // of Weight, as registries show it to consumers that know no warm-up: 0 is all of it
	Foreign     bool              `json:"foreign,omitempty"`    // no agent gave it its Incarnation: that is what a registry knows of its registration
	Registries  []string          `json:"registries,omitempty"` // that list it, sorted; control fills it in
	Origin      Origin            `json:"origin,omitzero"`
}

// Published is what an instance says of its own age when it registers. It counts only for an incarnation that control
// did not see arrive.
type Published struct {
	Started    time.Time     `json:"started"`    // its process, by its machine's clock
	Registered time.Time     `json:"registered"` // likewise
	Age        time.Duration `json:"age_ns"`     // how long it had been offered when it registered: more than 0 when it did so again
}

// Desired is what people asked for: a directory of configuration, read as a whole. Its services list only
// the endpoints that configuration names; control adds the instances that others report.
type Desired struct {
	Digest    string
	Services  []Service
	Listeners []Listener
	Workloads []Workload
	Instances []Instance // WorkloadEntry
	Groups    []GatewayGroup

	Lifecycles []Lifecycle
}

// An Origin is the place in configuration that something came from.
type Origin struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"` // namespace/name
}

// An Event is something that happened to an endpoint, a gateway or the configuration, for people to read.
type Event struct {
	Time        time.Time `json:"time"` // wall clock of who saw it; never used to decide anything
	Kind        string    `json:"kind"` // "warmup.started", "config.applied", …
	Service     string    `json:"service,omitempty"`
	Endpoint    string    `json:"endpoint,omitempty"`
	Incarnation string    `json:"incarnation,omitempty"`
	From        string    `json:"from,omitempty"` // the program that saw it
	Reason      string    `json:"reason,omitempty"`
	By          string    `json:"by,omitempty"` // who asked for it, where somebody did
}

// A Report is what one program tells control: the whole of what it knows, each time.
type Report struct {
	From      string         `json:"from"`                // unique id of the program: "gateway-1", "local"
	Role      string         `json:"role"`                // "gateway", "local", "supervisor" or "agent"
	Applied   uint64         `json:"applied,omitempty"`   // newest snapshot that it works by
	Instances []Instance     `json:"instances,omitempty"` // agent: the one beside it, Ready when no registry says so
	Dead      []string       `json:"dead,omitempty"`      // local: incarnations that it saw die, and that a registry may still have
	Open      map[string]int `json:"open,omitempty"`      // gateway: requests open, by incarnation; absent is none
	Events    []Event        `json:"events,omitempty"`    // since its last report
	Leaving   bool           `json:"leaving,omitempty"`   // its last report: it has drained and sends nothing any more

	Replicas []Replica     `json:"replicas,omitempty"` // supervisor: everything it runs
	Drain    *drain.Report `json:"drain,omitempty"`    // gateway, agent: how far its leave is, or what it came to

	Recorded []WarmupRequest `json:"recorded,omitempty"` // agent: live requests, for instances that start later
	Traffic  *Traffic        `json:"traffic,omitempty"`  // gateway: what it has counted; agent: what came to its front past the gateways, by port. Control keeps it for those who look, and decides nothing by it
}

// An Overlay is what one data plane knows about endpoints on top of a snapshot, by incarnation.
// A nil overlay knows nothing.
type Overlay map[string]Mark

// A Mark is what a data plane noted about one endpoint.
type Mark struct {
	Ejected  bool      `json:"ejected,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Returned time.Time `json:"returned,omitzero"` // when it last came back; zero when it never left
	Progress float64   `json:"progress"`          // what it had reached when it left
}
