package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
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
	ended := false
	if x.step != delivering {
		var err error
		if ended, err = x.begin(); err != nil {
			return outcome{verdict: gone, reason: "the client left before its answer"}
		}
	}
	for {
		o, over := x.passOn(ended)
		if over {
			return o
		}
		x.flush()
		_, err := x.fill(x.feeder.patience(x.c, x.c.p.o.StreamTimeout), window)
		switch {
		case err == nil, errors.Is(err, errParted):
		case errors.Is(err, errInside):
			return outcome{verdict: paused}
		case errors.Is(err, io.EOF) && x.answer.close(&x.out, x.tail()):
		default:
			return x.broken(err)
		}
	}
}

// passOn passes on what has come of the answer, which says that it ended if that was all. over is false while more is to
// come.
func (x *exchange) passOn(ended bool) (o outcome, over bool) {
	b := &x.answer
	b.stop = x.parts()
	out, bad := b.pass(&x.out, x.conn.Buffer)
	if ended && bad == nil && !b.stop {
		b.close(&out, x.tail())
	}
	if b.done && x.grpc {
		x.heedTrailers()
	}
	if err := x.tell(out); err != nil {
		return x.untold(err), true
	}
	x.out = x.out[:0]
	switch {
	case bad != nil:
		x.endpoint.cut()
		return outcome{verdict: cut, kind: ending.Cut, reason: "the endpoint's answer broke in the middle"}, true
	case b.done:
		x.end = time.Now()
		x.endpoint.answered(x.resp.Status, x.end.Sub(x.sentAt))
		if x.grpc {
			x.called = x.callStatus()
			x.endpoint.called(x.called)
		}
		return outcome{verdict: whole}, true
	case b.stop:
		return x.takeLeave()
	}
	return outcome{}, false
}

// untold is the outcome of an answer that the client did not take.
func (x *exchange) untold(err error) outcome {
	if errors.Is(err, os.ErrDeadlineExceeded) && x.parts() {
		return x.parted(0)
	}
	return outcome{verdict: gone, reason: "the client left before its answer was whole"}
}

// begin writes the answer's head, and takes what of its body came with it. It says whether that was all.
func (x *exchange) begin() (ended bool, err error) {
	x.step = delivering
	x.frame()
	x.out = http1.AppendResponse(x.out[:0], &x.resp, x.edits.answered(x))
	x.feeder.answering.Store(true)
	if s := x.conn.Stream; s != nil && !x.answer.done {
		_, err = x.conn.Buffer.Fill(http2.Ready{Stream: s}, window) // another error is there for the next one, too
		ended = errors.Is(err, io.EOF)
	}
	if x.c.stream == nil {
		return ended, nil // it goes out with the body
	}
	return ended, x.writeHead(x.answer.done)
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
	x.close = x.leaves() || x.req.Close || early
	from := x.resp.Framing
	switch {
	case from == http1.Length && x.conn.Stream != nil && !x.headAlone:
		from = http1.UntilClose // the stream holds to its length, and its end is still to come, perhaps after trailers
		if x.c.stream != nil {
			x.close = false
		}
	case x.c.stream != nil:
		x.close = false
		if from == http1.Chunked {
			x.resp.Framing = plain
		}
	case from == http1.UntilClose && x.req.Minor == 1:
		x.resp.Framing = http1.Chunked
	case from == http1.Chunked && x.req.Minor == 0, from == http1.UntilClose:
		x.resp.Framing = http1.UntilClose
		x.close = true
	}
	x.answer.start(from, x.resp.Framing, x.resp.ContentLength, x.resp.Nominates())
	x.answer.loads = x.pool.Policy.LoadReports || x.pool.Service.Inbound && x.c.p.o.Front == nil // which has reports of its own to add
	x.sort(from)
}

// broken is the outcome of an answer whose rest does not come.
func (x *exchange) broken(err error) outcome {
	x.join()
	if o := x.feeder.blame(); o.verdict != whole {
		if o.verdict == refused {
			o.verdict, o.kind = cut, ending.Aborted // an answer has begun: there is no second one
		}
		return o
	}
	if errors.Is(err, errTimeout) {
		if x.ending {
			return x.parted(0)
		}
		x.endpoint.timedOut()
		return outcome{verdict: cut, kind: ending.Timeout, reason: "the endpoint stalled in the middle of its answer"}
	}
	x.endpoint.cut()
	x.doubt()
	var reset *http2.StreamError
	if errors.As(err, &reset) && reset.Remote && reset.Cause == nil && reset.Code != http2.NoError {
		x.c.code = reset.Code // a client of HTTP/2 hears why
	}
	return outcome{verdict: cut, kind: ending.Cut, reason: "the endpoint cut its answer"}
}
