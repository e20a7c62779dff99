// Package release recognises releases in what control says exists and in what data planes have counted, and judges them: which
// instances came and went, how each came up and left, what was served meanwhile, and what was lost, of which kind and on which side.
//
// It is a pure step: views and sums in, episodes and releases out; `now` is an argument.
package release

import (
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// A Verdict is what a release has come to.
type Verdict string

// The verdicts.
const (
	Running  Verdict = "running"  // it is not over
	Stalled  Verdict = "stalled"  // it is not over, and has come no nearer to its end for as long as its progress deadline; it runs again when it does
	Lossless Verdict = "lossless" // requests passed, and none was lost
	Lossy    Verdict = "lossy"    // at least one was lost
	Unproven Verdict = "unproven" // nothing passed while it ran, or too little is known, or it never came to be: that nothing was lost says nothing
)

// Over says whether a verdict is one: nothing changes it any more.
func (v Verdict) Over() bool { return v != Running && v != Stalled }

// A Kind is what sort of change a release is.
type Kind string

// The kinds.
const (
	Rollout Kind = "rollout" // instances of a workload, or of a service, are replaced by those of another revision
	Scale   Kind = "scale"   // there are to be more or fewer of them
	Gateway Kind = "gateway" // replicas of a gateway are replaced, or their number changes
)

// Mesh stands for a service where requests are counted that services sent to the gateways; "" is what came in from outside.
const Mesh = "mesh"

// A Release is one change of what runs, from the moment in which it was asked for, or first seen, until everybody new is warm,
// everybody old is gone, and a little after.
type Release struct {
	ID        string    `json:"id"` // "reviews-v2-20261122-180512": unique, safe in paths
	Kind      Kind      `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"` // of the workload, the service, or the gateway
	What      string    `json:"what"` // in words: "3 replicas → 5", "revision 5f2c → 81aa"
	Services  []string  `json:"services"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended,omitzero"`   // when the last of it was warm or gone; zero while it runs
	Counted   time.Time `json:"counted,omitzero"` // until when Requests and During are counted: some seconds after Ended, for last reports
	Verdict   Verdict   `json:"verdict"`
	Why       string    `json:"why"`                    // the verdict in a sentence
	Overtaken string    `json:"overtaken_by,omitempty"` // the release that was asked for before this one was as wanted

	Came []string `json:"came"` // episodes of those that came, in order; a gateway's are its replicas' ids, which have no episodes
	Went []string `json:"went"` // of those that went, likewise

	Requests  ending.Sums            `json:"requests"` // that ended at its services from Began until Counted; a gateway's: those that came in, from outside or from services
	Losses    []Loss                 `json:"losses"`   // those of Requests that were lost, the most first
	Failing   []Failing              `json:"failing"`  // whose attempts failed meanwhile, the most first; bounded. An attempt may fail and its request be served
	Doubts    []string               `json:"doubts"`   // why nothing is proven: what is missing in the count
	Before    Quantiles              `json:"before"`   // of answers in the minute before
	During    Quantiles              `json:"during"`
	After     Quantiles              `json:"after"`      // in the minute after Counted; empty until then
	LostAfter uint64                 `json:"lost_after"` // at its services in the minute after Counted: in no verdict of its own, though a request that waited long may have been sent while it ran
	Warm      []WarmTime             `json:"warm"`       // of each that came, in order
	Drains    DrainSum               `json:"drains"`
	Events    []fleet.Event          `json:"events"`     // about it, oldest first; bounded
	ByService map[string]ending.Sums `json:"by_service"` // what Requests is the sum of
}

// A Loss is how many requests were lost in one way.
type Loss struct {
	Kind    string      `json:"kind"` // ending.Kind's
	Side    ending.Side `json:"side"`
	Service string      `json:"service"`
	N       uint64      `json:"n"`
}

// A Failing is an endpoint of which attempts failed.
type Failing struct {
	Episode  string `json:"episode"`
	Name     string `json:"name"`
	Attempts uint64 `json:"attempts"` // that were sent to it
	Failed   uint64 `json:"failed"`   // of those, and connections to it that could not be made: it may be more
}

// Quantiles describe answers of some time.
type Quantiles struct {
	Answers uint64  `json:"answers"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

// A WarmTime is how long one instance took.
type WarmTime struct {
	Episode string        `json:"episode"`
	Name    string        `json:"name"`
	Ready   time.Duration `json:"ready_ns"` // from its start until it was first offered; 0 is not known
	Warm    time.Duration `json:"warm_ns"`  // from there until its share was 1; 0 where it had no warm-up
	Done    bool          `json:"done"`     // its share was 1, so that Warm is known
}

// A DrainSum is what became of what was open to those that went.
type DrainSum struct {
	Instances int    `json:"instances"`
	Drained   int    `json:"drained"`   // of Instances: nothing was open any more when they ended
	Cut       uint64 `json:"cut"`       // requests that were ended because the time was over
	Killed    int    `json:"killed"`    // of Instances: they ended without leaving
	Completed uint64 `json:"completed"` // requests that were open when a leave began, or came later, and were served
}

// An Episode is the life of one instance as people look at it: how it started, and how it was shut down.
type Episode struct {
	ID        string            `json:"id"` // its incarnation
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Workload  string            `json:"workload,omitempty"`
	Revision  string            `json:"revision,omitempty"`
	Version   string            `json:"version,omitempty"` // its label
	Address   string            `json:"address,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Services  []string          `json:"services"`
	Stage     fleet.Stage       `json:"stage"`
	Running   bool              `json:"running"`          // it has not ended
	Began     time.Time         `json:"began"`            // first seen, or its process's start where that was told
	Offered   time.Time         `json:"offered,omitzero"` // its warm-up began
	Warm      time.Time         `json:"warm,omitzero"`    // its share was 1
	Left      time.Time         `json:"left,omitzero"`    // its leave began
	Ended     time.Time         `json:"ended,omitzero"`
	Killed    bool              `json:"killed,omitempty"`  // it ended without leaving
	Warmup    *fleet.Warmup     `json:"warmup,omitempty"`  // that it came up by
	Marks     []Mark            `json:"marks"`             // oldest first
	From      int64             `json:"from"`              // Unix seconds of the first of Points
	Points    []Point           `json:"points,omitempty"`  // by second: from 30 s before Offered to 60 s after Warm, then, after a gap, from 30 s before Left to 30 s after Ended
	Partial   bool              `json:"partial,omitempty"` // it was there before anybody looked: its start is not known
}

// A Mark is one event of an episode.
type Mark struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // fleet.Event's: "instance.started", "probe.passed", …
	Text string    `json:"text,omitempty"`
}

// A Point is one second of an episode.
type Point struct {
	At       int64   `json:"t"`        // Unix seconds
	Requests float32 `json:"requests"` // that it was sent
	Due      float32 `json:"due"`      // that were due to it
	Share    float32 `json:"share"`    // 0..1
	Failed   float32 `json:"failed"`
	P99      float32 `json:"p99_ms,omitempty"`
	Reason   string  `json:"reason,omitempty"` // why its share is what it is, where that is news
}
