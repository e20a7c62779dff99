package proxy

import (
	"strconv"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// againAfter is when who was refused may come again, where there is nobody else to go to.
const againAfter = time.Second

// compile makes orders ready to be written into answers.
func (f *Front) compile(o Orders) *orders {
	incarnation := []byte(o.Incarnation)
	return &orders{
		Orders:  o,
		drain:   http1.Field{Name: []byte(FieldDrain), Value: incarnation},
		refused: http1.Field{Name: []byte(FieldRefused), Value: incarnation},
		again:   http1.Field{Name: []byte("Retry-After"), Value: strconv.AppendInt(nil, int64(againAfter/time.Second), 10)},
		header:  http1.Field{Name: []byte(FieldLoad)},
		trailer: http1.Field{Name: []byte(FieldLoadBin)},
		boot:    evidence.BootID(o.Incarnation),
	}
}

// mark marks the application's answer on its way out, whose head has come. What the application says of its own load
// stands: it knows better.
func (f *Front) mark(x *exchange, r *http1.Edit) {
	o := f.orders.Load()
	x.stay.heard = true
	if x.protocol.Lasts() || r.Upgrade {
		f.giveBack(&x.stay)
	}
	if o.Leaving {
		r.Set = append(r.Set, o.drain)
	}
	if !o.Report {
		return
	}
	now := time.Now()
	f.gauge.note(x.resp.Status, now.Sub(x.sentAt))
	switch {
	case x.grpc && !x.headAlone: // its trailers say so
	case x.resp.House && reported(x.resp.Fields):
	case x.grpc:
		r.Add = append(r.Add, http1.Field{Name: o.trailer.Name, Value: f.load(o, now).trailer})
	default:
		r.Add = append(r.Add, http1.Field{Name: o.header.Name, Value: f.load(o, now).header})
	}
}

// reported says whether there is a load report among fields.
func reported(fields []http1.Field) bool {
	for _, name := range [...]string{FieldLoad, FieldLoadBin} {
		if _, has := http1.Lookup(fields, name); has {
			return true
		}
	}
	return false
}

// reports returns the trailers of the answer that go on, nil for none. It changes them. Where there is a front that is to
// report, those of a call have a load report among them.
func (x *exchange) reports(b *body) []http1.Field {
	f := x.c.p.o.Front
	if f == nil || !x.grpc || len(b.trailers) == 0 {
		return trailing(b)
	}
	own, has := http1.Lookup(b.trailers, FieldLoadBin)
	trailers, o := trailing(b), f.orders.Load()
	switch {
	case len(trailers) == 0 || !has && !o.Report:
		return trailers
	case !has:
		own = f.load(o, time.Now()).trailer
	}
	x.stay.trailers = append(append(x.stay.trailers[:0], trailers...), http1.Field{Name: o.trailer.Name, Value: own})
	return x.stay.trailers
}

// turn refuses a request that the application has not seen.
func (x *exchange) turn() outcome {
	x.stay.turned = true
	reason := "the instance is cold, and has as many requests as it can take: send it elsewhere"
	if x.c.p.o.Front.orders.Load().Refusing {
		reason = "the instance is leaving: send it elsewhere"
	}
	return outcome{verdict: refused, kind: ending.Overflow, status: 503, reason: reason}
}

// excuse adds to the fields of an answer of our own what the front says in all of them, and in those to requests that are
// refused.
func (f *Front) excuse(x *exchange, fields []http1.Field) []http1.Field {
	o := f.orders.Load()
	if o.Leaving {
		fields = append(fields, o.drain)
	}
	if x.stay.turned {
		fields = append(fields, o.refused, o.again)
	}
	return fields
}

// marked is excuse for the answer to a call.
func (x *exchange) marked(h *http2.Head) *http2.Head {
	if f := x.c.p.o.Front; f != nil {
		h.Fields = f.excuse(x, h.Fields)
	}
	return h
}

// turnedStream refuses a stream in the words of HTTP/2, if it is one and is to be refused: whoever sent it hears that nobody
// has seen it.
func (x *exchange) turnedStream() bool {
	if x.c.stream == nil || !x.stay.turned {
		return false
	}
	x.c.end, x.c.code, x.close = endReset, http2.RefusedStream, false
	return true
}
