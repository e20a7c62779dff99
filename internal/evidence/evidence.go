// Package evidence holds what answered requests showed: per endpoint, per pool and per listener. The hot path
// adds to it with atomic operations only.
package evidence

import (
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/meter"
)

// Traffic counts the requests that passed one place: an endpoint, a pool, or a listener. Its fields carry Envoy's names.
type Traffic struct {
	Total          meter.Counter // upstream_rq_total: requests sent, retries included
	Retry          meter.Counter // upstream_rq_retry: requests sent again because nothing had been sent
	RetryOverflow  meter.Counter // upstream_rq_retry_overflow: not sent again, as the limits let no more of them
	Timeout        meter.Counter // upstream_rq_timeout: no answer in time
	Cut            meter.Counter // upstream_rq_rx_reset: the endpoint cut the connection before a whole answer
	Overflow       meter.Counter // upstream_rq_pending_overflow: refused, too many were waiting
	NoEndpoint     meter.Counter // upstream_cx_none_healthy: nobody to send to
	Connects       meter.Counter // upstream_cx_total
	ConnectFail    meter.Counter // upstream_cx_connect_fail
	ActiveConnects meter.Gauge   // upstream_cx_active
	Active         InFlight      // upstream_rq_active: requests in flight
	Latency        meter.Histogram
	Reports        Reports // of an endpoint's load
	Signs          Signs   // that an endpoint goes, or is gone
	codes          [5]atomic.Pointer[statuses]
	calls          atomic.Pointer[statuses] // of gRPC
	ends           atomic.Pointer[endings]  // of whole requests: nil at endpoints, which see attempts

	resets sync.Mutex // guards the following
	past   *Counts    // what was there before resets; nil before the first
}

// endings counts by kind.
type endings [ending.Kinds]meter.Counter

// Ended counts one request that has ended, whatever came of it. Each request ends once at each place that counts it as
// Total.
func (t *Traffic) Ended(kind ending.Kind) { made(&t.ends)[kind].Inc() }

// statuses counts the answers of one class: 200 to 299, say.
type statuses struct {
	counts [100]meter.Counter
	known  [100]atomic.Bool // counted before the last reset; the hot path never looks
}

// Answered counts one whole answer by its status and time. A status outside 100–599 counts as 500.
func (t *Traffic) Answered(status int, took time.Duration) {
	if status < 100 || status > 599 {
		status = 500
	}
	made(&t.codes[status/100-1]).counts[status%100].Inc()
	t.Latency.Observe(took)
}

// made returns the block behind p, and makes it first if it has to: once in the life of the process.
func made[T any](p *atomic.Pointer[T]) *T {
	block := p.Load()
	for block == nil {
		p.CompareAndSwap(nil, new(T))
		block = p.Load()
	}
	return block
}

// Codes calls yield with every status that was ever counted, in order, and its count: 0 after a Reset.
func (t *Traffic) Codes(yield func(status int, n uint64)) {
	for class := range t.codes {
		block := t.codes[class].Load()
		if block == nil {
			continue
		}
		block.each((class+1)*100, yield)
	}
}

// MaxCall is the greatest status of gRPC (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
const MaxCall = 16

var callNames = [MaxCall + 1]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// CallName returns the name of a status of gRPC, "" for one that there is not.
func CallName(status int) string {
	if status < 0 || status > MaxCall {
		return ""
	}
	return callNames[status]
}

// Called counts one whole answer to a call of gRPC by the status that it ended with; one that there is not is 2, UNKNOWN.
// Answered counts it too.
func (t *Traffic) Called(status int) {
	const unknown = 2
	if status < 0 || status > MaxCall {
		status = unknown
	}
	made(&t.calls).counts[status].Inc()
}

// Calls calls yield with every status of gRPC that was ever counted, in order, and its count: 0 after a Reset.
func (t *Traffic) Calls(yield func(status int, n uint64)) {
	if block := t.calls.Load(); block != nil {
		block.each(0, yield)
	}
}

func (s *statuses) each(base int, yield func(status int, n uint64)) {
	for i := range s.counts {
		if n := s.counts[i].Load(); n > 0 || s.known[i].Load() {
			yield(base+i, n)
		}
	}
}

// add adds n, which may be 0: then the status is known.
func (s *statuses) add(i int, n uint64) {
	s.counts[i].Add(n)
	s.known[i].Store(true)
}

// A Book keeps one Traffic per key for as long as the key exists. The next book is made from the previous
// one, so that counts survive every change of the world. A nil book is empty.
type Book map[string]*Traffic

// Next returns the book for keys: known ones keep their Traffic, new ones start at zero.
func (b Book) Next(keys []string) Book {
	next, gauges := make(Book, len(keys)), newLedger(len(keys))
	for _, key := range keys {
		if t := b[key]; t != nil {
			next[key] = t
		} else {
			next[key] = &Traffic{Active: InFlight{far: gauges.next()}}
		}
	}
	return next
}

// Downstream counts what came in at one listener. Its fields carry Envoy's names.
type Downstream struct {
	Connects       meter.Counter // downstream_cx_total
	ActiveConnects meter.Gauge   // downstream_cx_active
	HTTP2          meter.Counter // downstream_cx_http2_total: connections that spoke HTTP/2
	Overflow       meter.Counter // downstream_cx_overload_reject: connections refused at the limit
	Panics         meter.Counter // connections lost to a panic
	Malformed      meter.Counter // downstream_cx_protocol_error: requests refused by the codec
	NoRoute        meter.Counter // no_route
	Aborted        meter.Counter // downstream_rq_rx_reset: the client left before its answer was whole
	Handshakes     meter.Counter // ssl.handshake: TLS connections that were made
	TLSErrors      meter.Counter // ssl.connection_error: TLS connections that could not be made
	Requests       Traffic       // downstream_rq_*: every request with its answer, our own errors included

	resets             sync.Mutex // guards the following
	connects, overflow uint64     // before resets
}

// counters are all of them, but for those of the requests.
func (d *Downstream) counters() []*meter.Counter {
	return []*meter.Counter{
		&d.Connects, &d.HTTP2, &d.Overflow, &d.Panics, &d.Malformed, &d.NoRoute, &d.Aborted, &d.Handshakes, &d.TLSErrors,
	}
}

// Add counts what other counted, with what is open there.
func (d *Downstream) Add(other *Downstream) {
	theirs := other.counters()
	for i, c := range d.counters() {
		c.Add(theirs[i].Load())
	}
	d.ActiveConnects.Add(other.ActiveConnects.Load())
	counts := other.Requests.Counts()
	d.Requests.Add(&counts)
}
