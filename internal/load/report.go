package load

import (
	"fmt"
	"time"
)

// A Report is the account of a run. Its JSON names are stable; fields named _ns are nanoseconds.
//
//	planned ≥ sent + unsent
//	sent    = ok + lost + abandoned
//	ok + 5xx + grpc = Σ statuses = Σ endpoints + no_endpoint
//	ok + grpc = Σ grpc_statuses, of calls
//	rejected + stream_reset = Σ resets
type Report struct {
	Mode        string   `json:"mode"` // "open" or "closed"
	URLs        []string `json:"urls"`
	Addresses   []string `json:"addresses"`   // what each URL was resolved to
	Rate        float64  `json:"target_rate"` // per second; 0 in the closed loop
	Poisson     bool     `json:"poisson"`
	Seed        uint64   `json:"seed"`
	Protocol    Protocol `json:"protocol"` // "http/1.1", "h2", "grpc"
	Connections int      `json:"connections"`
	Streams     int      `json:"streams"`  // at once on a connection
	Messages    int      `json:"messages"` // of a stream of calls, each way; 0 is a unary call, or none
	KeepAlive   bool     `json:"keepalive"`
	Interrupted bool     `json:"interrupted"`

	Sent         uint64            `json:"sent"`
	OK           uint64            `json:"ok"`
	LostTotal    uint64            `json:"lost_total"`
	Lost         Losses            `json:"lost"`
	Abandoned    uint64            `json:"abandoned"`     // in flight when interrupted: neither ok nor lost
	Unsent       uint64            `json:"unsent"`        // were due, but no connection came free before the run ended
	Late         uint64            `json:"late"`          // of Sent: sent later than due
	LateMax      time.Duration     `json:"late_max_ns"`   // furthest behind
	Connects     uint64            `json:"connects"`      // connections attempted
	IdleClosed   uint64            `json:"idle_closed"`   // closed by the peer between two requests; no loss
	Statuses     map[int]uint64    `json:"statuses"`      // of whole answers
	GRPCStatuses map[string]uint64 `json:"grpc_statuses"` // of whole answers to calls, by name
	Resets       map[string]uint64 `json:"resets"`        // streams that the server reset, by the name of the code
	GoAways      map[string]uint64 `json:"goaways"`       // GOAWAY frames, by the name of the code
	Endpoints    map[string]uint64 `json:"endpoints"`     // whole answers by who said to have answered
	NoEndpoint   uint64            `json:"no_endpoint"`   // whole answers that did not say
	OtherDetails map[string]uint64 `json:"other_details"` // what the losses of kind other were

	Latency       Latency       `json:"latency"`
	Elapsed       time.Duration `json:"elapsed_ns"`
	SentPerSecond float64       `json:"sent_per_second"`
	OKPerSecond   float64       `json:"ok_per_second"`

	Seconds []Second `json:"seconds"`
}

// Latency describes the time that ok answers took, to three digits (the maximum exactly): in the open loop from
// the moment a request was due, in the closed loop from its sending, in both to the last byte.
type Latency struct {
	From string        `json:"from"` // "due" or "sent"
	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// A Second is what happened in one second of a run: requests sent in it, and requests that ended in it.
type Second struct {
	Second    int           `json:"second"` // 0 is the first
	Sent      uint64        `json:"sent"`
	Late      uint64        `json:"late"` // of Sent
	OK        uint64        `json:"ok"`
	Lost      Losses        `json:"lost"`
	Abandoned uint64        `json:"abandoned"`
	InFlight  uint64        `json:"in_flight"` // when it ended
	P99       time.Duration `json:"p99_ns"`    // of the requests that were ok in it; 0 without any
}

// describe notes what was asked for.
func (r *Report) describe(plan Plan, requests []request) {
	r.Mode, r.Latency.From = "closed", "sent"
	if plan.Rate > 0 {
		r.Mode, r.Latency.From = "open", "due"
	}
	for _, request := range requests {
		r.URLs = append(r.URLs, request.url)
		r.Addresses = append(r.Addresses, request.address.String())
	}
	r.Rate, r.Poisson, r.Seed = plan.Rate, plan.Poisson, plan.Seed
	r.Protocol, r.Connections, r.Streams, r.Messages = plan.Protocol, plan.Connections, plan.Streams, plan.Messages
	r.KeepAlive = !plan.NoKeepAlive
	r.LostTotal = r.Lost.Total()
}

// Check says where the numbers do not add up; the error is [ErrUnaccounted]. Run has called it.
func (r *Report) Check() error {
	var sum Second
	for _, s := range r.Seconds {
		sum.Sent += s.Sent
		sum.Late += s.Late
		sum.OK += s.OK
		sum.Abandoned += s.Abandoned
		s.Lost.Each(func(kind Outcome, n uint64) { *sum.Lost.of(kind) += n })
	}
	totals := Second{Sent: r.Sent, Late: r.Late, OK: r.OK, Lost: r.Lost, Abandoned: r.Abandoned}
	whole := r.OK + r.Lost.ServerError + r.Lost.GRPCError
	calls, resets := uint64(0), r.Lost.Rejected+r.Lost.StreamReset
	if r.Protocol == GRPC {
		calls = r.OK + r.Lost.GRPCError
	}
	switch {
	case r.Sent != r.OK+r.Lost.Total()+r.Abandoned:
		return fmt.Errorf("%w: sent %d, but ok %d, lost %d, abandoned %d", ErrUnaccounted, r.Sent, r.OK, r.Lost.Total(), r.Abandoned)
	case whole != total(r.Statuses) || whole != total(r.Endpoints)+r.NoEndpoint:
		return fmt.Errorf("%w: %d whole answers, but statuses %v, endpoints %v and %d without", ErrUnaccounted, whole, r.Statuses, r.Endpoints, r.NoEndpoint)
	case calls != total(r.GRPCStatuses) || resets != total(r.Resets):
		return fmt.Errorf("%w: %d answers to calls and %d resets, but %v and %v", ErrUnaccounted, calls, resets, r.GRPCStatuses, r.Resets)
	case sum != totals:
		return fmt.Errorf("%w: the seconds add up to %+v, the whole to %+v", ErrUnaccounted, sum, totals)
	}
	return nil
}

func total[K comparable](counts map[K]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}
