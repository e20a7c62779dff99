package load

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"time"
)

// maxHead bounds the head of an answer.
const maxHead = 1 << 20

var (
	errHeadTooLarge = errors.New("head of the answer too large")
	errStrayBytes   = errors.New("bytes after the end of the answer")
	errSwitched     = errors.New("answer switches protocols")
)

// A result is how one request went.
type result struct {
	outcome  Outcome
	status   int    // of a whole answer; else 0
	grpc     string // the status of a whole answer to a call, by its name; else ""
	reset    string // the code of a stream that the server reset, by its name; else ""
	endpoint string // who answered, if the answer was whole and said so
	detail   string // of an outcome that needs one
}

// failure is how a request went that ended in an error; begun means that a byte of its answer had come.
func failure(hard context.Context, err error, begun bool) result {
	if hard.Err() != nil {
		return result{outcome: Abandoned}
	}
	lost := result{outcome: classify(err, begun)}
	if ended, ok := errors.AsType[*streamError](err); ok {
		lost.reset = ended.reset
	}
	if lost.outcome == Other {
		lost.detail = detail(err)
	}
	return lost
}

// A link is a worker's connection of HTTP/1.1 to one address, opened when first needed and kept from request to
// request. It is used by one goroutine.
type link struct {
	plan    *Plan
	key     string // canonical name of the endpoint header
	account *account
	conn    net.Conn // nil when closed
	quiet   func() bool
	unwatch func() bool // see open
	left    int64       // bytes that the answer's head may still take
	ended   error       // what the last read from conn ended with
	in      *bufio.Reader
}

func newLink(plan *Plan, account *account) *link {
	l := &link{plan: plan, key: textproto.CanonicalMIMEHeaderKey(plan.EndpointHeader), account: account}
	l.in = bufio.NewReaderSize(l, 16<<10)
	return l
}

// Read reads from the connection within the budget of a head; bodies have no budget.
func (l *link) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHeadTooLarge
	}
	n, err := l.conn.Read(p)
	l.left -= int64(n)
	l.ended = err
	return n, err
}

// exchange sends one request, once, and reads its answer to the end. It returns by deadline, or soon after hard
// ends; then the outcome is Abandoned, whatever else went wrong.
func (l *link) exchange(hard context.Context, r *request, deadline time.Time) result {
	answered, err := l.attempt(hard, r, deadline)
	if err == nil && !answered.keep {
		l.close()
	}
	if err == nil {
		return answered.result
	}
	l.close()
	return failure(hard, err, answered.begun)
}

// An answer is what attempt saw. With an error only begun counts.
type answer struct {
	result
	begun bool // a byte of it came
	keep  bool // the connection can be used again
}

func (l *link) attempt(hard context.Context, r *request, deadline time.Time) (answer, error) {
	if err := l.ready(hard, r, deadline); err != nil {
		return answer{}, err
	}
	_, sending := l.conn.Write(r.wire)
	if isTimeout(sending) {
		return answer{}, sending
	}
	// A peer may answer before it has read a whole request, and close: that answer counts.
	got, err := l.receive(r)
	if sending != nil {
		got.keep = false
		if err != nil && !got.begun {
			err = sending
		}
	}
	return got, err
}

// ready makes sure of an open connection with the deadline set. A connection that the peer closed while it was
// idle is replaced: nothing was sent on it, so nothing is lost.
func (l *link) ready(hard context.Context, r *request, deadline time.Time) error {
	if l.conn != nil {
		if l.conn.SetDeadline(deadline) == nil && l.quiet() {
			return hard.Err()
		}
		l.close()
		l.account.idleClosed()
	}
	return l.open(hard, r, deadline)
}

func (l *link) open(hard context.Context, r *request, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(hard, deadline)
	defer cancel()
	conn, err := connect(ctx, l.plan, l.account, r)
	if err != nil {
		return err
	}
	l.conn, l.quiet = conn, quiet(conn)
	l.in.Reset(l)
	// The order matters: whoever sets a deadline looks at hard afterwards, so that its end is never overwritten.
	l.unwatch = context.AfterFunc(hard, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	return hard.Err()
}

// receive reads one whole answer, checked against its own framing.
func (l *link) receive(r *request) (answer, error) {
	var got answer
	response, err := l.head(r, &got)
	if err != nil {
		return got, err
	}
	l.left = math.MaxInt64
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return got, err
	}
	if l.in.Buffered() > 0 {
		return got, errStrayBytes
	}
	got.status = response.StatusCode
	if got.status >= http.StatusInternalServerError {
		got.outcome = ServerError
	}
	if names := response.Header[l.key]; len(names) > 0 {
		got.endpoint = names[0]
	}
	got.keep = !response.Close && !l.plan.NoKeepAlive
	return got, nil
}

// head reads the head of the answer, passing over interim ones.
func (l *link) head(r *request, got *answer) (*http.Response, error) {
	l.left, l.ended = maxHead, nil
	for {
		if _, err := l.in.Peek(1); err != nil {
			return nil, err
		}
		got.begun = true
		response, err := http.ReadResponse(l.in, r.reading)
		switch {
		case err != nil && l.ended != nil:
			return nil, l.ended // half a line reads as a malformed one: the cause is that it ended
		case err != nil:
			return nil, err
		case response.StatusCode == http.StatusSwitchingProtocols:
			return nil, errSwitched
		case response.StatusCode >= http.StatusOK:
			return response, nil
		}
		got.begun = false
	}
}

// close ends the connection; a later request opens another.
func (l *link) close() {
	if l.conn == nil {
		return
	}
	l.unwatch()
	_ = l.conn.Close() // nothing of ours is in flight any more
	l.conn = nil
}
