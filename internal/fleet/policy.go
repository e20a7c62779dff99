package fleet

import (
	"fmt"
	"time"
)

// An Algorithm chooses among the endpoints of a pool.
type Algorithm uint8

// The algorithms, under Istio's names. The zero value is Istio's default.
const (
	LeastRequest Algorithm = iota
	RoundRobin
	Random
	RingHash // consistent hash on a ring
	Maglev   // consistent hash by Maglev's table
	// Passthrough sends a request to the endpoint whose address it names, whatever its share; one that names a
	// service goes where Random sends it.
	Passthrough
)

var algorithmNames = [...]string{"LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "RING_HASH", "MAGLEV", "PASSTHROUGH"}

func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// MarshalText writes the algorithm's name.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an algorithm's name.
func (a *Algorithm) UnmarshalText(b []byte) error {
	for i, name := range algorithmNames {
		if name == string(b) {
			*a = Algorithm(i)
			return nil
		}
	}
	return fmt.Errorf("unknown algorithm %q", b)
}

// A Policy says how a pool's endpoints share its requests.
type Policy struct {
	Algorithm   Algorithm       `json:"algorithm"`
	Warmup      Warmup          `json:"warmup,omitzero"`
	ShiftBudget float64         `json:"shift_budget,omitempty"` // λ: warm endpoints carry at most λ times what they did; 0 means DefaultShiftBudget
	Hash        *Hash           `json:"hash,omitempty"`         // of RingHash and Maglev
	Panic       float64         `json:"panic,omitempty"`        // below this part of endpoints in service, those that are left out get requests too, 0..1; 0 means never
	Locality    *LocalityPolicy `json:"locality,omitempty"`     // nil: where endpoints are makes no difference
	TLS         *ClientTLS      `json:"tls,omitempty"`          // nil: endpoints are spoken to in plaintext
	HTTP        HTTP            `json:"http,omitzero"`          // which version of HTTP endpoints are spoken to in
	LoadReports bool            `json:"load_reports,omitempty"` // what endpoints say of their load (ORCA) goes on to clients; otherwise it ends here
	Connections *Connections    `json:"connections,omitempty"`  // what the pool's connections and requests may come to; nil: the data plane's own bounds
}

// HTTP is the version of HTTP that endpoints are spoken to in.
type HTTP uint8

// The versions.
const (
	HTTP1    HTTP = iota
	HTTP2         // in plaintext by prior knowledge, over TLS by ALPN
	HTTPSame      // that in which the request came
)

var httpNames = [...]string{"HTTP/1.1", "HTTP/2", "same"}

func (h HTTP) String() string {
	if int(h) < len(httpNames) {
		return httpNames[h]
	}
	return fmt.Sprintf("HTTP(%d)", uint8(h))
}

// MarshalText writes the version's name.
func (h HTTP) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads a version's name.
func (h *HTTP) UnmarshalText(b []byte) error {
	for i, name := range httpNames {
		if name == string(b) {
			*h = HTTP(i)
			return nil
		}
	}
	return fmt.Errorf("unknown version of HTTP %q", b)
}

// Connections bound what one data plane has open to the endpoints of a pool, all of them together. A zero value is
// the data plane's own bound.
type Connections struct {
	Max            int           `json:"max,omitempty"`            // connections at once
	Pending        int           `json:"pending,omitempty"`        // requests that wait for a connection
	Requests       int           `json:"requests,omitempty"`       // requests at once
	Retries        int           `json:"retries,omitempty"`        // requests at once that are sent a second time
	PerConnection  int           `json:"per_connection,omitempty"` // requests that one connection carries in its life
	Streams        int           `json:"streams,omitempty"`        // requests at once on one connection of HTTP/2
	ConnectTimeout time.Duration `json:"connect_timeout_ns,omitempty"`
	IdleTimeout    time.Duration `json:"idle_timeout_ns,omitempty"` // of a connection without a request
	MaxLifetime    time.Duration `json:"max_lifetime_ns,omitempty"` // no other request after it
}

// A LocalityPolicy keeps requests near to who sends them, or spreads them over places. A zero value keeps them
// near: first the sender's own sub-zone, then its zone, its region, all others.
type LocalityPolicy struct {
	Distribute []Distribution `json:"distribute,omitempty"` // the first whose From holds for the sender decides, instead of all else
	Priority   []string       `json:"priority,omitempty"`   // labels, "name" or "name=value": the more of the first ones an endpoint has as the sender has them (or as written), the nearer it is; instead of region, zone and sub-zone
	Failover   []Failover     `json:"failover,omitempty"`   // which region stands in for which before all others
}

// A Distribution says what part of the requests from one place goes to which. Places are "region/zone/sub-zone",
// where "*" at the end stands for all below: "eu/*", "eu/a/*", "*".
type Distribution struct {
	From string            `json:"from"`
	To   map[string]uint32 `json:"to"` // weights
}

// A Failover names the region whose endpoints take over from those of another.
type Failover struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// A Hash says what a consistent hash is taken of, and its table. Exactly one of Header, Cookie, Query and
// SourceIP is set; a request that lacks it is sent to anyone.
type Hash struct {
	Header    string      `json:"header,omitempty"`
	Cookie    *HashCookie `json:"cookie,omitempty"`
	Query     string      `json:"query,omitempty"`
	SourceIP  bool        `json:"source_ip,omitempty"`
	TableSize uint64      `json:"table_size,omitempty"` // RingHash: points at least, 0 means 1024; Maglev: a prime, 0 means 65537
	Bound     float64     `json:"bound,omitempty"`      // an endpoint with more than Bound times the mean load is passed over; 0 is off
}

// A HashCookie is a cookie that keeps a client at an endpoint.
type HashCookie struct {
	Name       string        `json:"name"`
	Path       string        `json:"path,omitempty"`
	TTL        time.Duration `json:"ttl_ns,omitempty"`     // a client without the cookie is given one that lasts so long; 0 is a session cookie; below 0 is none: such a client is sent to anyone
	Attributes []Header      `json:"attributes,omitempty"` // of the cookie that is given, besides those above: "Secure" without a value, "SameSite" with "Strict"
}

// DefaultShiftBudget is λ where neither configuration nor reported utilisation says otherwise.
const DefaultShiftBudget = 2.0

// A Warmup is the curve on which a new endpoint's share grows. The zero value is off.
type Warmup struct {
	Window     time.Duration `json:"window_ns"`            // 0 is off
	Minimum    float64       `json:"minimum,omitempty"`    // share at age 0, as a fraction 0..1
	Aggression float64       `json:"aggression,omitempty"` // share = progress^(1/aggression); 0 means 1
}
