package proxy

import "time"

// Fields by which a gateway and the front of an instance know of each other. None of them reaches a client, and none
// that a client sends is believed.
const (
	FieldGateway = "crossfade-gateway"         // request, gateway → front: who sends; without it, it is a caller that hears nothing of drains
	FieldDrain   = "crossfade-drain"           // response, front → caller: the incarnation that leaves
	FieldRefused = "crossfade-refused"         // response, front → caller: the incarnation, which has not seen the request; it may be sent elsewhere
	FieldLoad    = "endpoint-load-metrics"     // response: a load report of ORCA, "TEXT name=value,…"
	FieldLoadBin = "endpoint-load-metrics-bin" // trailer of gRPC: the same as protobuf
)

// A Front is what the data plane that stands before one instance is told, and what it saw. All methods may be called
// by several goroutines; what requests ask of it costs no lock.
type Front struct{}

// Orders are what a front is told, as a whole.
type Orders struct {
	Incarnation string
	Limit       int           // requests at once at the application; 0 is no limit
	MaxWait     time.Duration // of a request above the limit that may be retried elsewhere; others wait as long as it takes
	Leaving     bool          // mark every answer; end connections after it
	Refusing    bool          // refuse what may be retried elsewhere
	Report      bool          // load reports in every answer
	Warm        float64       // share of the instance, for load reports
	Born        time.Time     // of the instance, for load reports
}

// Seen is what a front saw since it began.
type Seen struct {
	Open        int       // requests at the application now, or waiting
	Waiting     int       // of them
	Total       uint64    // requests
	Foreign     uint64    // of them, from callers other than crossfade's gateways
	LastForeign time.Time // when such a request last came or ended; zero: never
	Refused     uint64
	Limited     uint64 // requests that had to wait
}

// Order tells the front what holds from now on.
func (f *Front) Order(Orders) {}

// Seen says what the front saw.
func (f *Front) Seen() Seen { return Seen{} }
