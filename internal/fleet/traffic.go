package fleet

import (
	"time"

	"crossfade.dev/internal/ending"
)

// Traffic is what one data plane has counted since it began. Every number in it is a whole sum, never a difference; rows,
// and buckets of a row's latency, that have not changed since the last report that control took may be missing. So what a lost
// report said, the next one says too, and whoever was started anew goes on from the sums that it kept.
//
// An agent counts what came to its front past the gateways, and nothing else: Listeners alone, one for each port, see PortName.
type Traffic struct {
	Run       string            `json:"run"`     // of the process: with another one, its sums began at 0
	Span      time.Duration     `json:"span_ns"` // over which the sums have grown since the last report that was taken, by the data plane's own clock
	Listeners []ListenerTraffic `json:"listeners,omitempty"`
	Services  []ServiceTraffic  `json:"services,omitempty"`
	Endpoints []EndpointTraffic `json:"endpoints,omitempty"`

	StillCalled bool `json:"still_called,omitempty"` // agent, with its last report: callers came past the gateways until nobody listened any more. What they asked for then nobody counts
}

// A ListenerTraffic counts the requests that came in at one listener, each once:
// Requests = Active + Ended.
type ListenerTraffic struct {
	Name     string      `json:"name"`
	Mesh     bool        `json:"mesh,omitempty"` // they come from services, and are counted again where those were called from outside
	Requests uint64      `json:"requests"`
	Active   int64       `json:"active"`
	Connects uint64      `json:"connects"`
	Rejected uint64      `json:"rejected,omitempty"` // connections refused at a limit
	Ended    ending.Sums `json:"ended"`
	Codes    []Code      `json:"codes,omitempty"` // whole answers by status, those of our own included
	Calls    []Code      `json:"calls,omitempty"` // whole answers to calls, by status of gRPC
	Latency  Buckets     `json:"latency,omitempty"`
}

// A ServiceTraffic counts the requests that were routed to one pool of a service, each once, however often it was sent. What
// a subset counts its whole service counts too.
type ServiceTraffic struct {
	Service string            `json:"service"` // "reviews:9080"
	Subset  string            `json:"subset,omitempty"`
	Active  int64             `json:"active"`
	Retries uint64            `json:"retries,omitempty"` // sent again
	Ended   ending.Sums       `json:"ended"`
	Codes   []Code            `json:"codes,omitempty"` // what their clients were answered
	Latency Buckets           `json:"latency,omitempty"`
	Callers map[string]uint64 `json:"callers,omitempty"` // of those that have ended, by who asked: a workload's name, or "" for clients from outside; whole service only
}

// An EndpointTraffic counts what was sent to one endpoint of a service: attempts, not requests.
type EndpointTraffic struct {
	Service     string  `json:"service"`
	Incarnation string  `json:"incarnation"`
	Requests    uint64  `json:"requests"`         // sent, those sent again included
	Failed      uint64  `json:"failed,omitempty"` // 5xx, timeouts, cuts, refused connections
	Active      int64   `json:"active,omitempty"`
	Share       float64 `json:"share"`         // of its full weight, 0..1, now; the least of its pools
	Due         float64 `json:"due,omitempty"` // requests that were due to it, by its weight at the time of each, summed over its pools
	Got         uint64  `json:"got,omitempty"` // of those requests, that it got
	Reason      string  `json:"reason,omitempty"`
	Ejected     bool    `json:"ejected,omitempty"`
	Latency     Buckets `json:"latency,omitempty"`
}

// A Code is how many answers had one status.
type Code struct {
	Status int    `json:"status"`
	N      uint64 `json:"n"`
}

// CodesOf lists those that were counted at all, of a type that is one in all but its name.
func CodesOf[C ~struct {
	Status int    `json:"status"`
	N      uint64 `json:"n"`
}](counted []C) []Code {
	var list []Code
	for _, c := range counted {
		if code := Code(c); code.N > 0 {
			list = append(list, code)
		}
	}
	return list
}

// Buckets is a histogram as index and count of each bucket that holds something, by ascending index: those of
// meter.Histogram, whose lowest counts everything up to its upper edge.
type Buckets [][2]int64

// BucketsOf lists those that each yields, likely about as many as that.
func BucketsOf(each func(func(index int, n uint64)), likely int) Buckets {
	var list Buckets
	if likely > 0 {
		list = make(Buckets, 0, likely+1)
	}
	each(func(index int, n uint64) { list = append(list, [2]int64{int64(index), int64(n)}) }) //nolint:gosec // no count is so great
	return list
}
