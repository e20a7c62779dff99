package proxy

import (
	"net/http"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
)

// What an endpoint says of itself in its answers is taken here, and goes no further: the codec lets none of it pass. Only
// who stands before an instance is believed that it leaves or has refused, and only of the incarnation that was asked:
// nobody speaks for another.

// heed takes it from the head of an answer. The outcome is again where the request was refused unseen and somebody else
// can be asked; else whole.
func (x *exchange) heed() outcome {
	if x.resp.Status < 200 && x.resp.Status != http.StatusSwitchingProtocols {
		return outcome{}
	}
	e := x.endpoint
	if report, ok := http1.Lookup(x.resp.Fields, FieldLoadBin); ok {
		e.heedLoad(report, evidence.ParseLoadTrailer)
	} else if report, ok := http1.Lookup(x.resp.Fields, FieldLoad); ok {
		e.heedLoad(report, evidence.ParseLoadHeader)
	}
	if !e.front {
		return outcome{}
	}
	if who, ok := http1.Lookup(x.resp.Fields, FieldDrain); ok && string(who) == e.Incarnation && e.Traffic.Signs.Leaves(time.Now()) {
		x.c.p.sign(e.Incarnation, SignLeaves)
	}
	who, ok := http1.Lookup(x.resp.Fields, FieldRefused)
	if ok && string(who) == e.Incarnation && x.resp.Status == http.StatusServiceUnavailable {
		return x.refusedUnseen()
	}
	return outcome{}
}

// heedTrailers takes it from an answer's trailers, before they go on.
func (x *exchange) heedTrailers() {
	if report, ok := http1.Lookup(x.answer.trailers, FieldLoadBin); ok {
		x.endpoint.heedLoad(report, evidence.ParseLoadTrailer)
	}
}

// heedLoad takes a load report, if one is due.
func (e *Endpoint) heedLoad(report []byte, parse func([]byte) (evidence.Load, error)) {
	now := time.Now()
	reports := &e.Traffic.Reports
	if !reports.Due(now) {
		return
	}
	load, err := parse(report)
	if err != nil {
		reports.Unread.Inc()
		return
	}
	reports.Note(&load, now)
}

// refusedUnseen is the outcome of a request that the application has not seen, whatever its method. It is sent elsewhere
// once, if there is anybody else and all that was sent of its body is still there; otherwise the refusal is its answer.
func (x *exchange) refusedUnseen() outcome {
	if x.declined || x.attempts > x.c.p.o.Retries || !x.othersThan(x.endpoint.Incarnation) {
		return outcome{}
	}
	x.join()
	if o := x.feeder.blame(); o.verdict != whole {
		return o
	}
	if x.feeder.spilt {
		return outcome{}
	}
	x.rewind()
	x.declined = true
	x.skip()
	now := time.Now()
	x.endpoint.answered(x.resp.Status, now.Sub(x.sentAt))
	return outcome{verdict: again, kind: ending.Refused, status: http.StatusServiceUnavailable, reason: "the instance takes no more requests"}
}

// othersThan says whether the request may be sent to anybody but an incarnation.
func (x *exchange) othersThan(incarnation string) bool {
	given, failed := x.given, x.failed
	x.failed = incarnation
	i := x.pick(x.pool, time.Now())
	x.given, x.failed = given, failed
	return i >= 0 && x.pool.Endpoints[i].Incarnation != incarnation
}

// skip passes over an answer that has come whole, so that its connection can go on.
func (x *exchange) skip() {
	b := x.conn.Buffer
	switch rest := int64(len(b.Bytes())); {
	case x.conn.Stream != nil:
	case x.resp.Framing == http1.NoBody && rest == 0:
		x.skipped = true
	case x.resp.Framing == http1.Length && rest == x.resp.ContentLength:
		b.Skip(int(rest))
		x.skipped = true
	}
}
