package proxy

import (
	"errors"
	"io"
	"time"

	"crossfade.dev/internal/http1"
)

// passInterim passes a 1xx answer on to a client that understands it. 100 is for those who asked.
func (x *exchange) passInterim() error {
	if x.req.Minor == 0 || x.resp.Status == 100 && !x.req.Expect {
		return nil
	}
	x.out = http1.AppendResponse(x.out[:0], &x.resp, &x.edits.interim)
	if x.c.stream != nil {
		return x.writeHead(false)
	}
	return x.c.write(x.out)
}

// deliver passes the answer on, whose head has been read, or what is left of it.
func (x *exchange) deliver() outcome {
	if x.step != delivering {
		x.step = delivering
		x.frame()
		x.out = http1.AppendResponse(x.out[:0], &x.resp, x.edits.answered(x))
		x.feeder.answering.Store(true)
		if x.c.stream != nil {
			if err := x.writeHead(x.answer.done); err != nil {
				return outcome{verdict: gone, reason: "the client left before its answer"}
			}
		}
	}
	for {
		out, bad := x.answer.pass(&x.out, x.conn.Buffer)
		if err := x.tell(out); err != nil {
			return outcome{verdict: gone, reason: "the client left before its answer was whole"}
		}
		x.out = x.out[:0]
		switch {
		case bad != nil:
			x.endpoint.cut()
			return outcome{verdict: cut, reason: "the endpoint's answer broke in the middle"}
		case x.answer.done:
			x.end = time.Now()
			x.endpoint.answered(x.resp.Status, x.end.Sub(x.sentAt))
			if x.grpc {
				x.endpoint.called(x.callStatus(nil))
			}
			return outcome{verdict: whole}
		}
		x.flush()
		if err := x.fill(x.patience(x.c.p.o.StreamTimeout), window); err != nil {
			if errors.Is(err, errInside) {
				return outcome{verdict: paused}
			}
			if errors.Is(err, io.EOF) && x.answer.close(&x.out, x.tail()) {
				continue
			}
			return x.broken(err)
		}
	}
}

// tell passes the next of the answer's body on, and its end, where that is not in it.
func (x *exchange) tell(out []byte) error {
	if x.c.stream != nil {
		return x.tellStream(out)
	}
	if len(out) == 0 {
		return nil
	}
	return x.c.write(out)
}

// frame decides how the answer is framed for the client and whether its connection can go on.
func (x *exchange) frame() {
	early := !x.feeder.whole.Load() // the rest of the request will not be read
	x.close = x.req.Close || early || x.leaving()
	from := x.resp.Framing
	switch {
	case x.c.stream != nil:
		x.close = false
		switch {
		case from == http1.Chunked:
			x.resp.Framing = plain
		case from == http1.Length && x.conn.Stream != nil && !x.headAlone:
			from = http1.UntilClose // the stream holds to its length, and trailers may follow
		}
	case from == http1.UntilClose && x.req.Minor == 1:
		x.resp.Framing = http1.Chunked
	case from == http1.Chunked && x.req.Minor == 0, from == http1.UntilClose:
		x.resp.Framing = http1.UntilClose
		x.close = true
	}
	x.answer.start(from, x.resp.Framing, x.resp.ContentLength, x.resp.Nominates())
}

// broken is the outcome of an answer whose rest does not come.
func (x *exchange) broken(err error) outcome {
	x.join()
	if o := x.feeder.blame(); o.verdict != whole {
		if o.verdict == refused {
			o.verdict = cut // an answer has begun: there is no second one
		}
		return o
	}
	if errors.Is(err, errTimeout) {
		x.endpoint.timedOut()
		return outcome{verdict: cut, reason: "the endpoint stalled in the middle of its answer"}
	}
	x.endpoint.cut()
	return outcome{verdict: cut, reason: "the endpoint cut its answer"}
}
