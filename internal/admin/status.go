package admin

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// A ServiceList is the answer of /api/v1/services.
type ServiceList struct {
	Snapshot uint64          `json:"snapshot"`
	Rejected *Rejection      `json:"rejected,omitempty"`
	Services []ServiceStatus `json:"services"`
}

// A Rejection says that the newest configuration was not applied: what is in force is older than what is on disk.
type Rejection struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// A ServiceStatus is one service. With ?watch=1 each line of the answer is one of these.
type ServiceStatus struct {
	Name      string       `json:"name"` // "reviews:9080"
	Host      string       `json:"host"`
	Namespace string       `json:"namespace,omitempty"`
	Port      uint32       `json:"port"`
	Protocol  string       `json:"protocol,omitempty"`
	Inbound   bool         `json:"inbound,omitempty"`
	Pools     []PoolStatus `json:"pools"`
	Origin    fleet.Origin `json:"origin,omitzero"`
	Removed   bool         `json:"removed,omitempty"` // while watching: it is no more
}

// A PoolStatus is one pool of a service: the whole of it, or a subset.
type PoolStatus struct {
	Subset    string            `json:"subset,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Policy    fleet.Policy      `json:"policy"`
	Endpoints int               `json:"endpoints"`
	Stages    Stages            `json:"stages"`
	Groups    []GroupStatus     `json:"groups,omitempty"`  // the nearest first; absent where it makes no difference where endpoints are
	Traffic   *TrafficStatus    `json:"traffic,omitempty"` // absent where the program carries none
	Own       []OwnWarmup       `json:"own,omitempty"`     // warm-ups that endpoints have themselves and that are in force, the shortest first; absent where Policy has one
	Origin    fleet.Origin      `json:"origin,omitzero"`   // the DestinationRule; absent when defaults apply
}

// An OwnWarmup is a warm-up that so many endpoints of a pool have themselves.
type OwnWarmup struct {
	Warmup    fleet.Warmup `json:"warmup"`
	Endpoints int          `json:"endpoints"`
}

// A GroupStatus is the part of a pool whose endpoints are equally near, or that requests are distributed to.
type GroupStatus struct {
	Level string  `json:"level"` // what its endpoints have in common: "zone", "eu/a/*"
	Part  float64 `json:"part"`  // of the pool's requests, 0..1
	Able  float64 `json:"able"`  // part of the pool's requests that it could take, 0..1
}

// Stages counts endpoints by stage.
type Stages struct {
	Starting int `json:"starting"`
	Warming  int `json:"warming"`
	Serving  int `json:"serving"`
	Draining int `json:"draining"`
	Gone     int `json:"gone"`
}

// A TrafficStatus is what was counted since the counters were last reset, and what is in flight.
type TrafficStatus struct {
	Requests uint64            `json:"requests"` // attempts: retries and those that could not be sent included
	Active   int64             `json:"active"`
	Retries  uint64            `json:"retries"`
	Answers  map[string]uint64 `json:"answers,omitempty"`  // by status
	Timeouts uint64            `json:"timeouts,omitempty"` // no answer in time
	Cuts     uint64            `json:"cuts,omitempty"`     // the endpoint closed before its answer was whole
	Unsent   uint64            `json:"unsent,omitempty"`   // nobody to send to, no connection, too many waiting for one
	Failed   uint64            `json:"failed"`             // of Requests: answers 5xx, timeouts, cuts, unsent
	P50      time.Duration     `json:"p50_ns"`
	P99      time.Duration     `json:"p99_ns"`
}

// An EndpointList is the answer of /api/v1/endpoints.
type EndpointList struct {
	Snapshot  uint64           `json:"snapshot"`
	Endpoints []EndpointStatus `json:"endpoints"`
}

// An EndpointStatus is one endpoint in one pool. With ?watch=1 each line of the answer is one of these.
type EndpointStatus struct {
	Service     string            `json:"service"`
	Subset      string            `json:"subset,omitempty"`
	Name        string            `json:"name"`
	Address     netip.AddrPort    `json:"address"`
	Incarnation string            `json:"incarnation"`
	Labels      map[string]string `json:"labels,omitempty"`
	Locality    fleet.Locality    `json:"locality,omitzero"`
	Stage       fleet.Stage       `json:"stage"`
	Age         time.Duration     `json:"age_ns"`                // since it was first offered to requests
	Weight      uint32            `json:"weight"`                // full, steady-state weight, as configured
	Factor      *float64          `json:"factor,omitempty"`      // what people multiply it by; absent is 1
	Warmup      *fleet.Warmup     `json:"warmup,omitempty"`      // that is in force; absent when it is off
	WarmupFrom  string            `json:"warmup_from,omitempty"` // whose it is: "DestinationRule default/reviews", "its own"
	Registries  []string          `json:"registries,omitempty"`  // that list it, sorted
	Foreign     bool              `json:"foreign,omitempty"`     // it registered itself there: no agent of ours stands beside it
	Paused      bool              `json:"paused,omitempty"`      // somebody has paused its warm-up
	Ejected     bool              `json:"ejected,omitempty"`
	EjectedFor  string            `json:"ejected_for,omitempty"`
	Ramp        *Ramp             `json:"ramp,omitempty"`    // absent where the program does not balance
	Note        string            `json:"note,omitempty"`    // in words: since when and why it is not ready, or who moved it on its warm-up
	Traffic     *TrafficStatus    `json:"traffic,omitempty"` // absent where the program carries none
	Load        *LoadStatus       `json:"load,omitempty"`    // absent where it says nothing of it
	Removed     bool              `json:"removed,omitempty"` // while watching: it is no more
}

// A Ramp is what an endpoint gets of its pool's requests, and why.
type Ramp struct {
	Progress  float64       `json:"progress"`          // on the warm-up curve, 0..1
	Share     float64       `json:"share"`             // part of its full weight, 0..1
	Effective float64       `json:"effective"`         // weight × factor × share
	Level     string        `json:"level,omitempty"`   // of its group; see GroupStatus
	Part      float64       `json:"part,omitempty"`    // of the pool's requests that its group gets, 0..1; absent without a group
	Fraction  float64       `json:"fraction"`          // of the pool's requests that it should get now, 0..1
	Expected  float64       `json:"expected"`          // requests that were due to it since it joined
	Actual    uint64        `json:"actual"`            // requests that it got since it joined
	Keyed     bool          `json:"keyed,omitempty"`   // requests follow their keys, not Expected
	Rebased   bool          `json:"rebased,omitempty"` // a change of the warm-up has moved it, so that its share did not jump
	Remaining time.Duration `json:"remaining_ns,omitempty"`
	Reason    warmup.Reason `json:"reason,omitempty"`
}

// An EventList is the answer of /api/v1/events, oldest first. With ?watch=1 each line is one fleet.Event.
type EventList struct {
	Snapshot uint64        `json:"snapshot"`
	Events   []fleet.Event `json:"events"`
}

// A Problem is the answer to a request that cannot be answered.
type Problem struct {
	Error       string   `json:"error"`
	Suggestions []string `json:"suggestions,omitempty"` // names that were perhaps meant
}

// Forced says that this program leaves the endpoint out, and that it gets requests all the same, for nobody else,
// or too few others, are left.
func (e EndpointStatus) Forced() bool { return e.Ejected && e.Ramp != nil && e.Ramp.Fraction > 0 }

// Gets says whether the endpoint is one that requests may be sent to, as far as control knows: it is in service, and its
// weight is not 0.
func (e EndpointStatus) Gets() bool { return e.Stage.Offered() && e.Weight > 0 && e.factor() > 0 }

// rejection returns why the newest configuration was not applied; nil when it was.
func (w World) rejection() *Rejection {
	for _, e := range slices.Backward(w.View.Events) {
		switch e.Kind {
		case "config.applied":
			return nil
		case "config.rejected":
			return &Rejection{Time: e.Time, Reason: e.Reason}
		}
	}
	return nil
}

// services returns the status of the services that name means.
func (w World) services(name string) []ServiceStatus {
	list := []ServiceStatus{}
	for _, p := range w.poolsOf(name) {
		if n := len(list); n == 0 || list[n-1].Name != p.Service.Name {
			s := p.Service
			list = append(list, ServiceStatus{
				Name: s.Name, Host: s.Host, Namespace: s.Namespace, Port: s.Port, Protocol: s.Protocol,
				Inbound: s.Inbound, Origin: s.Origin,
			})
		}
		last := &list[len(list)-1]
		last.Pools = append(last.Pools, p.status())
	}
	return list
}

func (p Pool) status() PoolStatus {
	members := p.members()
	s := PoolStatus{
		Subset: p.Pool.Subset, Labels: p.Pool.Labels, Policy: p.Pool.Policy, Endpoints: len(members),
		Groups: p.groups(), Traffic: trafficStatus(p.Traffic), Origin: p.Pool.Origin,
	}
	s.Own = ownWarmups(&p.Pool.Policy, members)
	for _, e := range members {
		switch e.Stage {
		case fleet.Starting:
			s.Stages.Starting++
		case fleet.Warming:
			s.Stages.Warming++
		case fleet.Serving:
			s.Stages.Serving++
		case fleet.Draining:
			s.Stages.Draining++
		case fleet.Gone:
			s.Stages.Gone++
		}
	}
	return s
}

func (p Pool) groups() []GroupStatus {
	if len(p.Groups) == 0 || len(p.Groups) == 1 && p.Groups[0].Level == "" {
		return nil
	}
	list := make([]GroupStatus, len(p.Groups))
	for i, g := range p.Groups {
		list[i] = GroupStatus{Level: g.Level, Part: finite(g.Part), Able: finite(g.Able)}
	}
	return list
}

func trafficStatus(t *evidence.Traffic) *TrafficStatus {
	if t == nil {
		return nil
	}
	c := t.Counts()
	unsent := c.Overflow + c.NoEndpoint + c.ConnectFail
	s := &TrafficStatus{
		Requests: c.Total + unsent, Active: c.Active, Retries: c.Retry,
		Timeouts: c.Timeout, Cuts: c.Cut, Unsent: unsent,
		Failed: c.Class(5) + c.Timeout + c.Cut + unsent,
		P50:    c.Latency.Quantile(0.5), P99: c.Latency.Quantile(0.99),
	}
	for _, code := range c.Codes {
		if code.N > 0 {
			if s.Answers == nil {
				s.Answers = make(map[string]uint64, len(c.Codes))
			}
			s.Answers[statusText(code.Status)] = code.N
		}
	}
	return s
}

// endpoints returns the status of the endpoints of one pool of each service that name means.
func (w World) endpoints(name, subset string, now time.Time) []EndpointStatus {
	list := []EndpointStatus{}
	for _, p := range w.poolsOf(name) {
		if p.Pool.Subset == subset {
			list = append(list, w.endpointsOf(p, now)...)
		}
	}
	return list
}

// endpointsOf returns the status of the pool's endpoints.
func (w World) endpointsOf(p Pool, now time.Time) []EndpointStatus {
	shares := p.shares()
	members, places := p.members(), p.places()
	policy := &p.Pool.Policy
	list := make([]EndpointStatus, len(members))
	for i, e := range members {
		mark, at := w.Overlay[e.Incarnation], places[e]
		list[i] = EndpointStatus{
			Service: p.Service.Name, Subset: p.Pool.Subset, Name: e.Name, Address: e.Address,
			Incarnation: e.Incarnation, Labels: e.Labels, Locality: e.Locality, Stage: e.Stage,
			Age: w.View.Age(e, now), Weight: e.Weight, Factor: e.Factor, Paused: at.Paused, Ejected: mark.Ejected,
			Note: w.note(e, at), Ramp: ramp(shares[e.Incarnation]), Traffic: trafficStatus(p.Endpoints[e.Incarnation]),
			Load: loadStatus(p.Endpoints[e.Incarnation], now),
		}
		if mark.Ejected {
			list[i].EjectedFor = mark.Reason
		}
		if in := w.instance(e.Incarnation); in != nil {
			list[i].Registries, list[i].Foreign = in.Registries, in.Foreign
		}
		current := policy.WarmupOf(e)
		if current.Window > 0 {
			list[i].Warmup, list[i].WarmupFrom = &current, warmupFrom(policy, e, p.Pool.Origin)
		}
		if r := list[i].Ramp; r != nil {
			r.Keyed = keyText(*policy) != ""
			r.advance(current, at, mark, list[i].Age, now)
		}
	}
	return list
}

// advance takes a ramp from the moment of the shares that are in force to now.
func (r *Ramp) advance(w fleet.Warmup, at fleet.Member, mark fleet.Mark, age time.Duration, now time.Time) {
	published := warmup.Progress(w, at, age)
	r.Progress = finite(warmup.Reached(w, at, age, mark, now))
	r.Rebased = at != fleet.Member{Endpoint: at.Endpoint} && !at.Manual && !at.Drained && !at.Recovered && r.Progress == published && published < 1
	if !at.Paused {
		r.Remaining = time.Duration((1 - r.Progress) * float64(max(0, w.Window)))
	}
}

func ramp(s *balancer.Share) *Ramp {
	if s == nil {
		return nil
	}
	r := &Ramp{
		Share: finite(s.Share), Effective: finite(s.Effective),
		Fraction: finite(s.Fraction), Expected: finite(s.Expected), Actual: s.Actual, Reason: s.Reason,
	}
	if s.Level != "" {
		r.Level, r.Part = s.Level, finite(s.Part)
	}
	return r
}

// finite keeps what JSON cannot say out of it.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
