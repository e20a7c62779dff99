package proxy

import "crossfade.dev/internal/http1"

// refuse answers for an endpoint that cannot, or that the route does not ask.
func (x *exchange) refuse(o *outcome) (another bool) {
	x.close = !x.parsed || x.req.Close || !x.feeder.whole.Load() || x.leaves()
	a := http1.Answer{
		Status:    o.status,
		Head:      x.parsed && string(x.method) == "HEAD",
		Close:     x.close,
		KeepAlive: !x.close && x.req.Minor == 0,
	}
	switch {
	case o.reason != "":
		x.edits.explain(o)
		a.Body, a.Fields = x.edits.text, x.edits.fields(nil)
	case x.course != nil && x.course.respond != nil:
		a.Body, a.Fields = x.course.respond.Body, x.edits.fields(x.course)
	default:
		a.Fields = x.edits.fields(x.course)
	}
	o.verdict = refused
	if f := x.c.p.o.Front; f != nil {
		if a.Fields = f.excuse(x, a.Fields); x.turnedStream() {
			return false
		}
	}
	if err := x.reply(&a, o); err != nil {
		o.verdict = gone
		return false
	}
	return !x.close
}

// reply writes an answer of our own.
func (x *exchange) reply(a *http1.Answer, o *outcome) error {
	x.out = http1.AppendAnswer(x.out[:0], a)
	if x.c.stream != nil {
		return x.replyStream(o)
	}
	return x.c.write(x.out)
}

// leaving says whether the client is to be told that its connection ends with this answer. A client that has
// sent the next request already gets that one answered too.
func (x *exchange) leaving() bool {
	return (x.c.door.leaving.Load() || x.c.isParting() || x.c.p.o.Front.leaves()) && (x.feeder.running || !x.c.pipelined())
}

// leaves is leaving for an answer that is about to say so.
func (x *exchange) leaves() bool {
	leaving := x.leaving()
	if leaving && !x.req.Close && x.c.stream == nil {
		x.inform()
	}
	return leaving
}
