// Package history keeps what has happened, for people who look at a release: what data planes counted, second by second, who came
// and went, and what each release has come to. Control's reports and views go in; nothing of it decides anything.
//
// It is one worker: reports and views are folded in where they arrive, and what must survive a restart is written to disk. The
// sums that data planes report are kept together with what was made of them, so that a restart counts nothing twice and loses nothing
// that a data plane still knows.
//
// In memory there are seconds of a quarter of an hour and minutes of a day; for 500 services of 10,000 endpoints that all get
// requests each second, that is less than 200 MB. On disk, written every two seconds at most and for a hundredth of the time at most,
// are sums, 4,096 events and what release keeps, in a log of 64 MB or of twice what it has to hold, and 256 MB of minutes at most.
package history

import (
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// An Overview is everything at a glance. Services, gateways and edges are sorted by name.
type Overview struct {
	Time      time.Time     `json:"time"`
	Snapshot  uint64        `json:"snapshot"`
	Config    string        `json:"config"`             // digest of the configuration in force
	Rejected  string        `json:"rejected,omitempty"` // why the newest configuration is not in force; "" when it is
	Since     time.Time     `json:"since"`              // when counting began
	Outside   Totals        `json:"outside"`            // requests that came in from outside, at all listeners
	Gateways  []GatewayRow  `json:"gateways"`
	Services  []ServiceRow  `json:"services"`
	Edges     []Edge        `json:"edges"`
	Releases  []ReleaseRow  `json:"releases"`  // the newest first; those that run, and the last few
	Workloads []WorkloadRow `json:"workloads"` // what can be scaled and rolled
}

// Totals are what was counted since counting began, and how it goes now.
type Totals struct {
	Requests  uint64        `json:"requests"`
	Active    int64         `json:"active"`
	Ended     ending.Sums   `json:"ended"`
	Lost      uint64        `json:"lost"`     // of Ended
	Rejected  uint64        `json:"rejected"` // connections refused at a limit
	Connects  uint64        `json:"connects"`
	Codes     []fleet.Code  `json:"codes"`
	Calls     []fleet.Code  `json:"calls,omitempty"`
	Rate      Rates         `json:"rate"`
	Listeners []ListenerRow `json:"listeners,omitempty"`
}

// A ListenerRow is one listener of Totals.
type ListenerRow struct {
	Name     string       `json:"name"`
	Mesh     bool         `json:"mesh,omitempty"`
	Requests uint64       `json:"requests"`
	Active   int64        `json:"active"`
	Ended    ending.Sums  `json:"ended"`
	Codes    []fleet.Code `json:"codes"`
	Calls    []fleet.Code `json:"calls,omitempty"`
}

// Rates are how it goes now: over the last 10 whole seconds. Quantiles are 0 without an answer.
type Rates struct {
	Requests float64 `json:"requests"` // per second
	Lost     float64 `json:"lost"`     // per second
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
}

// A GatewayRow is one replica of a gateway.
type GatewayRow struct {
	ID        string `json:"id"`
	Group     string `json:"group"` // "" of one that no supervisor runs
	Namespace string `json:"namespace"`
	Stage     string `json:"stage"` // "starting", "serving", "draining", "drained", "gone"
	Rate      Rates  `json:"rate"`  // of requests from outside
	Active    int64  `json:"active"`
	Leave     string `json:"leave,omitempty"` // what its leave has come to, in a sentence
}

// A ServiceRow is one service.
type ServiceRow struct {
	Name      string        `json:"name"` // "reviews:9080"
	Host      string        `json:"host"`
	Namespace string        `json:"namespace"`
	Protocol  string        `json:"protocol"`
	Requests  uint64        `json:"requests"` // ended since counting began
	Lost      uint64        `json:"lost"`     // of them
	Ended     ending.Sums   `json:"ended"`
	Direct    ending.Sums   `json:"direct,omitzero"` // of Ended, those of callers who came to its instances past the gateways
	Rate      Rates         `json:"rate"`
	Stages    Stages        `json:"stages"`
	Spark     []float32     `json:"spark"`               // requests per second in each of the last 60 s, oldest first
	Versions  []VersionRow  `json:"versions"`            // sorted by name
	Endpoints []EndpointRow `json:"endpoints,omitempty"` // of a service with 50 or fewer, while there are 500 or fewer in all; always in [Service]
}

// Stages counts a service's endpoints.
type Stages struct {
	Starting int `json:"starting"`
	Warming  int `json:"warming"`
	Serving  int `json:"serving"`
	Draining int `json:"draining"`
	Ejected  int `json:"ejected"` // of those above, by any data plane
}

// A VersionRow is what a service's endpoints of one version get together.
type VersionRow struct {
	Name      string  `json:"name"` // their label "version"; without one, their workload's name and revision; "" for neither
	Endpoints int     `json:"endpoints"`
	Warming   int     `json:"warming"`
	Draining  int     `json:"draining"`
	Requests  float64 `json:"requests"` // per second, over the last 10 s
	Failed    float64 `json:"failed"`   // likewise
	Fraction  float64 `json:"fraction"` // of the service's requests, 0..1
}

// An EndpointRow is one endpoint of a service.
type EndpointRow struct {
	Incarnation string      `json:"id"`
	Name        string      `json:"name"`
	Address     string      `json:"address"`
	Version     string      `json:"version"`
	Workload    string      `json:"workload,omitempty"`
	Revision    string      `json:"revision,omitempty"`
	Stage       fleet.Stage `json:"stage"`
	Ejected     bool        `json:"ejected,omitempty"`
	Age         float64     `json:"age_s"` // since it was first offered
	Weight      float64     `json:"weight"`
	Factor      float64     `json:"factor"` // 1 unless people say otherwise
	Paused      bool        `json:"paused,omitempty"`
	Share       float64     `json:"share"`              // as data planes say it, the mean of those that report; as control's curve has it where none does
	Reason      string      `json:"reason,omitempty"`   // a word: why its share is what it is
	Sentence    string      `json:"sentence,omitempty"` // the same for people
	Due         float64     `json:"due"`                // requests per second, over the last 10 s
	Requests    float64     `json:"requests"`           // likewise
	Failed      float64     `json:"failed"`             // likewise
	P99         float64     `json:"p99_ms"`
	Active      int64       `json:"active"`
	Sent        uint64      `json:"sent"`              // attempts since counting began
	Front       bool        `json:"front,omitempty"`   // an agent stands before it
	Foreign     bool        `json:"foreign,omitempty"` // it registered itself
}

// An Edge is what passes from one place to another.
type Edge struct {
	From     string  `json:"from"`     // "" is outside, fleet.Direct whoever came past the gateways; else a workload's name
	To       string  `json:"to"`       // a service's name
	Requests float64 `json:"requests"` // per second, over the last 10 s
	Total    uint64  `json:"total"`
}

// A ReleaseRow is a release in a list.
type ReleaseRow struct {
	ID        string          `json:"id"`
	Kind      release.Kind    `json:"kind"`
	Name      string          `json:"name"`
	Namespace string          `json:"namespace"`
	What      string          `json:"what"`
	Began     time.Time       `json:"began"`
	Ended     time.Time       `json:"ended,omitzero"`
	Verdict   release.Verdict `json:"verdict"`
	Why       string          `json:"why"`
	Served    uint64          `json:"served"`
	Lost      uint64          `json:"lost"`
	Came      int             `json:"came"`
	Went      int             `json:"went"`
}

// A WorkloadRow is a deployment, as control runs it.
type WorkloadRow struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Kind      string `json:"kind"` // "deployment" or "gateway"
	Replicas  int    `json:"replicas"`
	Ready     int    `json:"ready"`
	Updated   int    `json:"updated"`
	Total     int    `json:"total"`
}

// A Service is one service with everything that its page shows but its curves.
type Service struct {
	ServiceRow

	Pools    []PoolRow     `json:"pools"`
	Origin   fleet.Origin  `json:"origin,omitzero"`
	Codes    []fleet.Code  `json:"codes"`
	Retries  uint64        `json:"retries"`
	Findings []string      `json:"findings"` // sentences about its configuration and its state that ask for something
	Events   []fleet.Event `json:"events"`   // about it, the newest first; bounded
}

// A PoolRow is the policy that is in force for a service or a subset.
type PoolRow struct {
	Subset    string        `json:"subset"`
	Algorithm string        `json:"algorithm"`
	Warmup    *fleet.Warmup `json:"warmup,omitempty"`
	Policy    fleet.Policy  `json:"policy"`
	Origin    fleet.Origin  `json:"origin,omitzero"` // of the DestinationRule; zero when defaults apply
	Sentences []string      `json:"sentences"`
}

// An EpisodeRow is an episode in a list.
type EpisodeRow struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Namespace string      `json:"namespace"`
	Workload  string      `json:"workload,omitempty"`
	Version   string      `json:"version,omitempty"`
	Services  []string    `json:"services"`
	Stage     fleet.Stage `json:"stage"`
	Running   bool        `json:"running"`
	Killed    bool        `json:"killed,omitempty"`
	Began     time.Time   `json:"began"`
	Offered   time.Time   `json:"offered,omitzero"`
	Warm      time.Time   `json:"warm,omitzero"`
	Left      time.Time   `json:"left,omitzero"`
	Ended     time.Time   `json:"ended,omitzero"`
	Share     float64     `json:"share"`
}
