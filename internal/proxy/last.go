package proxy

import (
	"strconv"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/http1"
)

// sort finds out what an answer is whose body comes so framed, and where it may be ended.
func (x *exchange) sort(from http1.Framing) {
	kind, _ := http1.Lookup(x.resp.Fields, "Content-Type")
	switch {
	case x.grpc && is(kind, grpcType):
		x.answer.seams.start(messages)
	case is(kind, "text/event-stream"):
		x.turnsOut(drain.Events)
		if _, encoded := http1.Lookup(x.resp.Fields, "Content-Encoding"); !encoded && from != http1.Length && x.resp.Framing != http1.Length {
			x.answer.seams.start(events)
		}
	}
}

// is says whether a Content-Type is this one, with whatever parameters or suffix.
func is(kind []byte, this string) bool {
	if len(kind) < len(this) || !http1.EqualFold(kind[:len(this)], this) {
		return false
	}
	return len(kind) == len(this) || kind[len(this)] == ';' || kind[len(this)] == '+' || kind[len(this)] == ' '
}

// takeLeave ends an answer of which a part has been passed on, at a seam. over is false while that is still to come.
func (x *exchange) takeLeave() (o outcome, over bool) {
	s := &x.answer.seams
	switch {
	case s.at():
	case s.of != seamless && time.Now().Before(x.partBy):
		x.ending = true
		return outcome{}, false
	default:
		return x.parted(0), true
	}
	o = x.parted(0)
	var err error
	if x.grpc {
		x.called = codeUnavailable
		err = x.c.stream.WriteTrailers(callTrailers(codeUnavailable, o.reason))
	} else {
		x.answer.end(&x.out, nil)
		err = x.tell(x.out)
		x.out = x.out[:0]
	}
	if err != nil {
		return o, true
	}
	x.inform()
	o.verdict = whole
	x.resp.Close = true // the endpoint has more to say
	x.close = x.close || !x.ousted.Load()
	return o, true
}

// callTrailers say how a call ended.
func callTrailers(code int, message string) []http1.Field {
	return []http1.Field{
		{Name: []byte("grpc-status"), Value: strconv.AppendInt(nil, int64(code), 10)},
		{Name: []byte("grpc-message"), Value: appendPercent(nil, message)},
	}
}
