package proxy

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/route"
	"crossfade.dev/internal/upstream"
)

// An exchange is one request with its answer. Exchanges are recycled with the memory they have grown.
type exchange struct {
	c       *Conn
	own     Conn // what c is for a stream
	req     http1.Request
	resp    http1.Response
	edits   edits
	text    []byte // what the four below point into: they outlive the buffer that the head was parsed in
	method  []byte
	host    []byte
	path    []byte
	caller  []byte        // who the client says it is, in the mesh
	from    *caller       // who that is, nil if nobody knows
	kept    []byte        // what req.Fields point into once the client is read from again
	query   route.Request // how a rule is found
	target  []byte        // the path as it goes out, where it is rewritten
	piece   []byte        // what has come of the body when the request is sent, without its framing
	head    []byte        // the request as it goes out: its head; over HTTP/1.1 then piece, framed
	headLen int           // bytes of head before the body
	out     []byte        // of the answer: what is written next

	start    time.Time
	end      time.Time // when its answer was whole; zero before
	deadline time.Time // of the whole request; zero for none
	draw     uint64    // decides which of a route's destinations; the same in every attempt
	waited   bool      // the head came in pieces: the start is long ago
	attempts int
	resent   *upstream.Limits // that it counts against as one that is sent another time
	fresh    bool             // the next attempt wants a connection that never served
	declined bool             // a front has refused it: what the next one says is its answer
	failed   string           // incarnation that the last attempt failed on
	cause    error            // why it did, in the words of whoever made the connection: for the log, not for clients
	parsed   bool             // req can be used
	ready    bool             // it is prepared: an endpoint can be asked
	counted  bool             // as open, downstream
	protocol drain.Protocol   // as which
	upgrade  bool             // the client may have the protocol that it asked for
	reveal   bool             // the answer names its endpoint
	close    bool             // the answer says Connection: close
	feeder   feeder
	script   transcript    // what HTTP/2 says, in the words of HTTP/1.1, and back
	grpc     bool          // it is a call of gRPC over HTTP/2,
	timeout  time.Duration // and this is what it says of its deadline; 0 for none
	called   int           // likewise how it ended, once it has

	// Of parting; see part.go.
	calls    uint64      // of Conn.Part, before the request came: they do not mean it
	partBy   time.Time   // when its last words must have been said; zero while it is not to be parted
	spared   time.Time   // until when it is not parted, though it is to be: it has only just come
	ending   bool        // it goes on to the next seam
	isParted bool        // it has ended so
	informed bool        // its client has heard that we leave
	torn     bool        // it became a tunnel that broke
	ousted   atomic.Bool // its endpoint is parted
	ousters  uint64      // how many endpoints were when that was last looked at
	enlisted bool        // Conn.mu guards what follows, while it is:
	place    int         // in Conn.list
	giveUp   func()      // ends its waiting for a connection; nil when it has one

	tunnelled bool // likewise: it has become a tunnel
	stay      stay // at the front, where there is one

	// Of the last rule that was found.
	course         *course // nil for none
	match          *fleet.Match
	lane           *lane
	prefix         int   // how much of the path the match accounts for
	written        *lane // that head was written for,
	fronted, alone bool  // and for a front, and to go without the body: over HTTP/2

	// Of the present attempt.
	pool      *Pool
	routed    *Pool             // the first of them, which counts the request
	given     *fleet.HashCookie // the client gets this one with the answer; nil for none
	endpoint  *Endpoint         // counted as open there
	conn      *upstream.Conn
	sentAt    time.Time
	step      step
	asked     time.Time // since when the answer is waited for, where that is known; zero where it begins now
	interims  int       // answers that came before the final one
	closing   bool      // one of them said that the connection ends
	heard     bool      // something of an answer has come
	said      []byte    // over HTTP/2: the head that has come and was not parsed yet
	unsized   bool      // likewise: the answer has no body, and does not say so
	headAlone bool      // the endpoint's head was all of its answer
	skipped   bool      // its answer was taken whole, and goes nowhere
	answer    body
}

// A verdict is how an attempt ended.
type verdict uint8

const (
	whole   verdict = iota // the answer was passed on whole
	refused                // there is no answer to pass on: the client gets one of ours
	again                  // likewise, and the endpoint cannot have acted on the request
	cut                    // the answer began and cannot be finished
	gone                   // the client left
	paused                 // nothing has ended: the exchange goes on where it stands once the client can be waited for
)

// A step is how far an attempt that has a connection has come.
type step uint8

const (
	sending step = iota
	hearing
	delivering // the final answer, whose head has been read
)

// An outcome is a verdict with its reason; status is that of our own answer, code that in gRPC's words where it does not
// follow from the status. How the request ends is its kind, unless an endpoint's answer or whoever left says that: see kindOf.
type outcome struct {
	verdict verdict
	kind    ending.Kind
	status  int
	reason  string
	code    int
}

func newExchange(p *Proxy) *exchange {
	x := &exchange{feeder: newFeeder()}
	x.edits.prepare(p.o.Name, p.o.ID)
	return x
}

// forget makes x ready for another request. What grew far beyond the usual is not kept.
func (x *exchange) forget() {
	const usual = 64 << 10
	for _, b := range []*[]byte{&x.text, &x.kept, &x.target, &x.piece, &x.head, &x.out, &x.said, &x.feeder.out, &x.feeder.replay} {
		if cap(*b) > usual {
			*b = nil
		}
	}
	x.c, x.pool, x.routed, x.endpoint, x.conn = nil, nil, nil, nil, nil
	x.course, x.match, x.lane, x.written, x.prefix = nil, nil, nil, nil, 0
	x.query, x.fresh, x.declined, x.edits.place.Value = route.Request{}, false, false, x.edits.place.Value[:0]
	x.end, x.deadline, x.attempts, x.waited, x.failed, x.cause = time.Time{}, time.Time{}, 0, false, "", nil
	x.parsed, x.ready, x.upgrade, x.reveal, x.close = false, false, false, false, false
	x.method, x.host, x.path, x.caller, x.from, x.given = nil, nil, nil, nil, nil, nil
	x.grpc, x.timeout, x.feeder.lasting, x.unsized = false, 0, false, false
	x.partBy, x.spared, x.step = time.Time{}, time.Time{}, sending
	x.ending, x.isParted, x.informed, x.torn, x.tunnelled = false, false, false, false, false
	lower(&x.ousted)
	x.stay = stay{trailers: x.stay.trailers[:0]}
	x.script.forget(usual)
}

// run carries one request and says whether the connection may carry another. done is false when it has paused.
func (x *exchange) run(ctx context.Context) (another, done bool) {
	if !x.counted {
		x.start = time.Now()
		x.open()
	}
	if !x.ready {
		err := x.receive()
		if err == nil {
			err = x.prepare()
		}
		switch {
		case errors.Is(err, errInside):
			return false, false
		case err != nil:
			return x.conclude(x.misread(err)), true
		}
	}
	hop := x.wantsStreams()
	if x.c.inside && (hop || x.upgrade || !x.feeder.whole.Load()) { // the client will have to be read from
		return false, false
	}
	if hop {
		x.script.hop = true
		return true, true
	}
	for {
		o := x.attempt(ctx)
		switch {
		case o.verdict == paused:
			return false, false
		case o.verdict != again || !x.resend(&o):
			return x.conclude(o), true
		}
	}
}

// receive reads the request's head. The error is an *http1.Error, errTimeout, errInside or the connection's.
func (x *exchange) receive() error {
	c := x.c
	if c.stream != nil {
		return x.transcribe()
	}
	limit := x.start.Add(c.p.o.HeaderTimeout)
	var guard headGuard
	for {
		b := c.in.Bytes()
		if guard.due(b) {
			n, err := x.req.Parse(b)
			if err != nil {
				return err
			}
			if n > 0 {
				c.in.Skip(n)
				x.parsed = true
				return nil
			}
		}
		x.waited = true
		x.parts() // it may be spared for a moment only
		err := c.hear(x.spare(limit), x.parts)
		if errors.Is(err, upstream.ErrTooLarge) {
			return http1.TooLarge(c.in.Bytes())
		}
		if errors.Is(err, errTimeout) && time.Now().Before(limit) {
			continue // it is spared no longer
		}
		if err != nil {
			return err
		}
	}
}

// A headGuard says when a head that comes in pieces is worth parsing: when it may have ended, and when it has doubled.
// Otherwise a slow sender of long heads would have us parse all day.
type headGuard struct{ parsed, seen int }

// due says whether b, which is what has come so far, is to be parsed now.
func (g *headGuard) due(b []byte) bool {
	due := g.parsed == 0 || len(b) >= 2*g.parsed || endsHead(b[max(0, g.seen-3):])
	g.seen = len(b)
	if due {
		g.parsed = len(b)
	}
	return due
}

// endsHead says whether b may hold the end of a head.
func endsHead(b []byte) bool {
	return bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
}

// misread is the outcome of a request that could not be read.
func (x *exchange) misread(err error) outcome {
	var refusal *http1.Error
	switch {
	case errors.As(err, &refusal) && x.c.stranger():
		x.c.traffic.Malformed.Inc()
		return outcome{verdict: gone, reason: "the client does not speak HTTP"}
	case errors.As(err, &refusal):
		x.c.traffic.Malformed.Inc()
		return outcome{verdict: refused, status: refusal.Status, reason: refusal.Reason}
	case errors.Is(err, errTimeout):
		return outcome{verdict: refused, status: 408, reason: "the request's head did not come in time"}
	case errors.Is(err, errParted):
		return x.parted(503)
	default:
		return outcome{verdict: gone, reason: "the client left in the middle of a head"}
	}
}

// prepare takes what every attempt needs from the request, and what has come of its body. After it, only
// req.Fields and req.Upgrade point into the client's buffer; see keep.
func (x *exchange) prepare() error {
	r := &x.req
	x.text = append(append(append(x.text[:0], r.Method...), r.Host...), r.Path...)
	if x.c.listener.Mesh {
		x.text = callerOf(x.text, r.Fields)
	}
	rest := x.text
	for _, part := range []struct {
		to  *[]byte
		len int
	}{{&x.method, len(r.Method)}, {&x.host, len(r.Host)}, {&x.path, len(r.Path)}} {
		*part.to, rest = rest[:part.len], rest[part.len:]
	}
	x.caller = rest
	r.Method, r.Host, r.Path = x.method, x.host, x.path
	x.query = route.Request{Method: x.method, Host: x.host, Path: x.path, Fields: r.Fields, HTTPS: x.c.secure}
	x.draw = rand.Uint64()
	x.upgrade = r.Upgrade != nil
	x.reveal = x.edits.ready(x)
	f := &x.feeder
	x.piece = x.piece[:0]
	var err error
	if x.c.stream != nil {
		err = x.readReady()
	} else {
		f.body.start(r.Framing, plain, r.ContentLength, r.Nominates())
		var piece []byte
		piece, err = f.body.pass(&x.piece, x.c.in)
		x.piece = append(x.piece[:0], piece...) // it may lie in the client's buffer
	}
	f.start()
	x.ready = true
	return err
}

// keep copies what still points into the client's buffer, before that is read into again: the request may have
// to be matched and written once more.
func (x *exchange) keep() {
	r := &x.req
	need := len(r.Upgrade)
	for i := range r.Fields {
		need += len(r.Fields[i].Name) + len(r.Fields[i].Value)
	}
	if cap(x.kept) < need {
		x.kept = make([]byte, 0, need)
	}
	x.kept = x.kept[:0]
	keep := func(b []byte) []byte {
		from := len(x.kept)
		x.kept = append(x.kept, b...)
		return x.kept[from:]
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		f.Name, f.Value = keep(f.Name), keep(f.Value)
	}
	if r.Upgrade != nil {
		r.Upgrade = keep(r.Upgrade)
	}
}

// write writes the request as it goes out in the lane that was chosen, unless it is written so already.
func (x *exchange) write() {
	alone := x.multiplexed()
	if x.written == x.lane && x.fronted == x.endpoint.front && x.alone == alone {
		return
	}
	x.written, x.fronted, x.alone = x.lane, x.endpoint.front, alone
	x.head = http1.AppendRequest(x.head[:0], &x.req, x.edits.asked(x, x.lane))
	x.headLen = len(x.head)
	switch chunked := x.req.Framing == http1.Chunked; {
	case alone: // the body is sent as it is
	case chunked && x.feeder.body.done:
		x.head = http1.AppendLastChunk(http1.AppendChunk(x.head, x.piece), x.feeder.body.trailers)
	case chunked:
		x.head = http1.AppendChunk(x.head, x.piece)
	default:
		x.head = append(x.head, x.piece...)
	}
}

// idempotent says whether the request may be sent twice to no other effect than once (RFC 9110 section 9.2.2).
func (x *exchange) idempotent() bool {
	switch string(x.method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	default:
		return false
	}
}

func (x *exchange) late(now time.Time) bool { return !x.deadline.IsZero() && !now.Before(x.deadline) }

// sooner returns t, or the request's deadline when that comes first.
func (x *exchange) sooner(t time.Time) time.Time {
	if !x.deadline.IsZero() && x.deadline.Before(t) {
		return x.deadline
	}
	return t
}

// conclude tells the client what is still to be told and settles the account of the request.
func (x *exchange) conclude(o outcome) (another bool) {
	c := x.c
	switch o.verdict {
	case refused, again:
		another = x.refuse(&o)
	case whole:
		another = !x.close
	case cut:
		if x.answer.to == http1.UntilClose || c.stream != nil {
			c.end = endReset // a plain close would be a clean end
		}
	case gone, paused:
	}
	if x.close && (o.verdict == whole || o.verdict == refused) {
		c.end = endLinger
	}
	x.settle(&o)
	return another
}
