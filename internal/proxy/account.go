package proxy

import (
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
)

// What happened to a request is counted in three places, at a front in a fourth (see Front.Direct). Downstream, every request is counted once, where it
// came in: Total = Active + the answers by status + Cut (the answer began and was not finished) + Aborted (the
// client left), and Total = Active + the sum of how they ended. Where it was routed to, it is counted once, too, however
// often it was sent: under the pool that was first chosen for it, and that pool's whole service. At endpoints, every attempt
// is counted: under the endpoint, its service, and the subset that it was routed to.

// open counts the request downstream.
func (x *exchange) open() {
	t := &x.c.traffic.Requests
	if !x.c.upgraded() {
		t.Total.Inc()
	}
	t.Active.Add(1)
	x.counted = true
	x.calls = 0
	if x.c.stream == nil { // a stream that is still opened after Conn.Part has no more than the moment of a young request
		x.calls = x.c.calls.Load()
	}
	x.count()
}

// settle counts how the request ended, and logs it if it is to be logged.
func (x *exchange) settle(o *outcome) {
	if !x.counted {
		return
	}
	x.counted = false
	x.settleResent()
	took := x.ended().Sub(x.start)
	status := o.status
	if o.verdict == whole || o.verdict == cut && x.step == delivering {
		status = x.resp.Status // which the client has seen
	}
	byUs := x.tallied(o)
	x.leaveFront(o)
	end := x.account(o, byUs, status, took)
	x.c.traffic.Requests.Active.Add(-1)
	if o.reason != "" || status >= 500 || byUs || x.c.p.o.AccessLog {
		x.log(o, status, end, took, byUs)
	}
}

// account counts the request's end where it came in, and where it was routed to. It returns the word for it.
func (x *exchange) account(o *outcome, byUs bool, status int, took time.Duration) (end string) {
	end = "answered"
	traffic := x.c.traffic
	switch {
	case o.verdict == cut, o.verdict == gone && byUs:
		traffic.Requests.Cut.Inc()
		end = "cut"
	case o.verdict == gone:
		traffic.Aborted.Inc()
		end = "aborted"
	case x.grpc && o.verdict != whole:
		x.called = o.call()
	}
	kind, answered := x.kindOf(o, byUs), o.verdict == whole || o.verdict == refused
	x.endedAt(&traffic.Requests, kind, answered, status, took)
	if t := x.stay.direct; t != nil {
		x.stay.direct = nil
		x.endedAt(t, kind, answered, status, took)
	}
	if x.routed == nil {
		return end
	}
	for _, t := range x.routed.requests {
		x.endedAt(t, kind, answered, status, took)
	}
	if x.from != nil && x.from.number > 0 {
		x.routed.Service.callers.Ended(x.from.number)
	}
	return end
}

// kindOf is how the request has ended.
func (x *exchange) kindOf(o *outcome, byUs bool) ending.Kind {
	switch {
	case byUs:
		return ending.Parted
	case o.verdict == gone:
		return ending.Aborted
	case o.verdict != whole || o.kind != ending.Served:
		return o.kind
	case x.resp.Status >= 500:
		return ending.ServerError
	case x.grpc && ending.FailedCall(x.called):
		return ending.CallError
	}
	return ending.Served
}

// endedAt counts the end of a request at one of the places that count requests.
func (x *exchange) endedAt(t *evidence.Traffic, kind ending.Kind, answered bool, status int, took time.Duration) {
	if answered {
		t.Answered(status, took)
		if x.grpc {
			t.Called(x.called)
		}
	}
	t.Ended(kind)
}

// ended is when the answer was whole, or now.
func (x *exchange) ended() time.Time {
	if x.end.IsZero() {
		return time.Now()
	}
	return x.end
}

// abandon settles what a panic left open.
func (x *exchange) abandon() {
	x.delist()
	if x.conn != nil {
		_ = x.conn.Close()
		if x.feeder.running {
			x.feeder.halt(x.c, x.conn)
		}
		x.endpoint.connsOf(x.pool).Put(x.conn, time.Now())
		x.conn = nil
	}
	x.release()
	x.settle(&outcome{verdict: cut, kind: ending.Fault, reason: "panic"})
}

func (x *exchange) log(o *outcome, status int, end string, took time.Duration, byUs bool) {
	r := record{
		when: x.start, took: took,
		listener: x.c.door.Name(), remote: string(x.c.remote),
		method: string(x.method), authority: string(x.host), path: string(x.path),
		status: status, end: end, attempts: x.attempts, reason: o.reason, byUs: byUs,
	}
	if x.tunnelled && x.c.stream != nil {
		r.status = 200 // is how HTTP/2 says 101 (RFC 8441 section 5)
	}
	if byUs {
		r.end = "cut" // whatever its client saw of that
	}
	if byUs && !x.isParted {
		r.reason = cutReason
	}
	if x.parsed {
		r.id = string(x.edits.logged)
	}
	r.route = x.routeName()
	if x.pool != nil {
		r.service = x.pool.Service.Name
	}
	r.endpoint = x.failed
	if o.reason != "" {
		r.cause = x.cause
	}
	x.c.p.journal.put(r)
}

// routeName is the name of the route that was taken with that of its match, as Istio joins them.
func (x *exchange) routeName() string {
	if x.course == nil {
		return ""
	}
	name := x.course.rule.Route.Name
	if x.match != nil && x.match.Name != "" {
		name += "." + x.match.Name
	}
	return name
}

// sent counts an attempt that got a connection.
func (e *Endpoint) sent(reused, retry bool) {
	if !reused {
		e.Traffic.Signs.Connected()
	}
	for i, t := range e.books {
		t.Total.Inc()
		if retry {
			t.Retry.Inc()
		}
		if !reused && i > 0 { // its own were counted where the connection was made
			t.Connects.Inc()
		}
	}
}

func (e *Endpoint) answered(status int, took time.Duration) {
	for _, t := range e.books {
		t.Answered(status, took)
	}
}

func (e *Endpoint) cut() {
	for _, t := range e.books {
		t.Cut.Inc()
	}
}

func (e *Endpoint) timedOut() {
	for _, t := range e.books {
		t.Timeout.Inc()
	}
}

// overflowed and unreachable leave the endpoint's own book to the connection pool.
func (e *Endpoint) overflowed() { e.others(func(t *evidence.Traffic) { t.Overflow.Inc() }) }

func (e *Endpoint) unreachable() { e.others(func(t *evidence.Traffic) { t.ConnectFail.Inc() }) }

func (e *Endpoint) others(count func(*evidence.Traffic)) {
	for _, t := range e.books[1:] {
		count(t)
	}
}
