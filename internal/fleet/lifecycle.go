package fleet

import (
	"cmp"
	"slices"
	"time"
)

// A Lifecycle says how the instances of a service come up and how they leave. An agent reads it once, when its instance
// starts: a change holds for starts after it.
type Lifecycle struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Service   string            `json:"service,omitempty"` // instances of this service; "" is any
	Labels    map[string]string `json:"labels,omitempty"`  // that have all of these; nil is any
	Off       bool              `json:"off,omitempty"`     // they register as soon as they can serve, and do not warm up

	Delay    time.Duration   `json:"delay_ns,omitempty"` // from when it can serve, and is warmed by requests, until it registers
	Warmup   Warmup          `json:"warmup"`             // by share, in whoever sends to it; a DestinationRule's wins
	Ramp     bool            `json:"ramp,omitempty"`     // while it warms up, the registry has its share of its weight: for consumers that know no warm-up
	Requests *WarmupRequests `json:"requests,omitempty"` // before anybody else can send any; nil is none
	Ready    ReadyWhen       `json:"ready,omitempty"`    // when the readiness port answers 200
	Leave    Leave           `json:"leave"`
	Front    FrontLimits     `json:"front"`

	Origin Origin `json:"origin,omitzero"`
}

// DefaultLifecycle is what MSE's graceful start has by default: 120 s on a quadratic curve, from a tenth.
func DefaultLifecycle() Lifecycle {
	return Lifecycle{Warmup: Warmup{Window: 120 * time.Second, Minimum: 0.1, Aggression: 0.5}, Leave: DefaultLeave()}
}

// PlainLifecycle holds for an instance that no Lifecycle is for: it registers when it can serve, without a warm-up of
// its own, and leaves as all do.
func PlainLifecycle() Lifecycle { return Lifecycle{Off: true, Leave: DefaultLeave()} }

// ReadyWhen says when an instance's readiness port answers 200.
type ReadyWhen string

// The moments.
const (
	ReadyRegistered ReadyWhen = "registered" // the registry has it; the default
	ReadyWarm       ReadyWhen = "warm"       // its warm-up by share is over too
)

// Leave says how an instance leaves. A zero value is its default.
type Leave struct {
	Quiet   time.Duration `json:"quiet_ns,omitempty"`   // without a request from callers that did not hear of it, before it stops
	Callers time.Duration `json:"callers_ns,omitempty"` // longest wait for such callers; nobody waits for them who never came
	Timeout time.Duration `json:"timeout_ns,omitempty"` // then it stops, whatever is open
}

// DefaultLeave returns how an instance leaves where nobody says otherwise.
func DefaultLeave() Leave {
	return Leave{Quiet: 10 * time.Second, Callers: 90 * time.Second, Timeout: 120 * time.Second}
}

// FrontLimits bound what an agent that stands in front of its instance passes on while the instance is cold. A zero
// value is its default.
type FrontLimits struct {
	Least   int           `json:"least,omitempty"`       // requests at once when it is new
	Most    int           `json:"most,omitempty"`        // requests at once just before it is warm; then there is no limit
	MaxWait time.Duration `json:"max_wait_ns,omitempty"` // of a request that may be retried elsewhere; then it is refused
}

// What WarmupRequests and a Record are where nobody says otherwise.
const (
	DefaultRequestTime        = 30 * time.Second
	DefaultRequestConcurrency = 8
	DefaultRecordKeep         = 100
)

// WarmupRequests are sent to an instance before it is registered.
type WarmupRequests struct {
	Requests    []WarmupRequest `json:"requests,omitempty"`
	Record      *Record         `json:"record,omitempty"` // record live requests, and warm new instances up with those of others; nil is off
	Count       int             `json:"count,omitempty"`  // ends it after so many; 0 leaves it to convergence and Time
	Time        time.Duration   `json:"time_ns"`          // ends it at the latest; 0 is DefaultRequestTime
	Concurrency int             `json:"concurrency"`      // at most, 0 is DefaultRequestConcurrency; it begins with one
	Refuse      bool            `json:"refuse,omitempty"` // an instance that fails them does not register; otherwise it does
}

// A WarmupRequest is one kind of request.
type WarmupRequest struct {
	Protocol string   `json:"protocol"` // "http", "http2" or "grpc"
	Method   string   `json:"method"`   // of HTTP; of gRPC it is package.Service/Method
	Path     string   `json:"path,omitempty"`
	Host     string   `json:"host,omitempty"`
	Headers  []Header `json:"headers,omitempty"`
	Body     []byte   `json:"body,omitempty"` // of gRPC one message, as it stands on the wire without its prefix
	Port     uint32   `json:"port,omitempty"` // 0 is the instance's first
	Weight   uint32   `json:"weight"`         // how often, beside the others
}

// A Record says which live requests an agent in front of its instance may keep. Only safe methods are kept, without
// credentials and without the values of their queries.
type Record struct {
	Paths []string `json:"paths"` // prefixes
	Keep  int      `json:"keep"`  // requests at most
}

// LifecycleOf returns the Lifecycle that holds for an instance of a namespace, with these labels, in these services: the
// most particular one, by the number of its labels, then because it names a service; of two alike the first by name.
func LifecycleOf(all []Lifecycle, namespace string, services []string, labels map[string]string) (Lifecycle, bool) {
	var fitting []Lifecycle
	for _, l := range all {
		if l.Namespace == namespace && (l.Service == "" || slices.Contains(services, l.Service)) && Carries(labels, l.Labels) {
			fitting = append(fitting, l)
		}
	}
	if len(fitting) == 0 {
		return Lifecycle{}, false
	}
	return slices.MinFunc(fitting, func(a, b Lifecycle) int {
		return cmp.Or(cmp.Compare(len(b.Labels), len(a.Labels)), cmp.Compare(b.Service, a.Service), cmp.Compare(a.Name, b.Name))
	}), true
}
