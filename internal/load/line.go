package load

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A line is a place for one connection of HTTP/2 to an address. The workers that share it send over the session that
// stands there; one that leaves is followed by another, and ends when its last stream has.
type line struct {
	plan    *Plan
	account *account
	running *sync.WaitGroup // has every session that was begun

	turn    chan struct{} // held by who looks at current
	current *session
}

func newLine(plan *Plan, account *account, running *sync.WaitGroup) *line {
	return &line{plan: plan, account: account, running: running, turn: make(chan struct{}, 1)}
}

// session returns one that takes streams, connected now if need be.
func (l *line) session(ctx context.Context, r *request) (*session, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.current != nil && l.current.serves() {
		return l.current, nil
	}
	l.current = nil
	nc, err := connect(ctx, l.plan, l.account, r)
	if err != nil {
		return nil, err
	}
	c := newSession(nc, l.account)
	l.running.Go(c.run)
	if err := c.settle(ctx); err != nil {
		c.retire()
		return nil, err
	}
	l.current = c
	return c, nil
}

// close ends the session; no stream is open any more.
func (l *line) close() {
	if l.current != nil {
		l.current.retire()
	}
}

// A caller sends one worker's requests over a line.
type caller struct {
	line *line
	plan *Plan
	key  string // the field that names the endpoint, in small letters
}

func newCaller(l *line) *caller {
	return &caller{line: l, plan: l.plan, key: strings.ToLower(l.plan.EndpointHeader)}
}

// close leaves the line to the others.
func (*caller) close() {}

// exchange sends one request, once, and waits for its whole answer. It returns by deadline, or soon after hard ends;
// then the outcome is Abandoned, whatever else went wrong.
func (w *caller) exchange(hard context.Context, r *request, deadline time.Time) result {
	ctx, cancel := context.WithDeadline(hard, deadline)
	defer cancel()
	s := &stream{key: w.key, grpc: w.plan.Protocol == GRPC, bare: w.plan.Method == http.MethodHead, wake: make(chan struct{}, 1)}
	c, err := w.open(ctx, r, s)
	if err != nil {
		return failure(hard, err, false)
	}
	if err = w.converse(ctx, c, r, s); err != nil {
		c.cancel(s)
		return failure(hard, err, false)
	}
	if s.err != nil {
		return failure(hard, s.err, s.begun)
	}
	got, err := s.result(max(w.plan.Messages, 1))
	if err != nil {
		return failure(hard, err, true)
	}
	return got
}

// patience is how many sessions may leave before a stream was begun on them; then the server takes connections but
// no requests, and the request is lost by that.
const patience = 10

// open begins a stream on a session that takes it. Sessions may leave at any time: until then nothing was sent.
func (w *caller) open(ctx context.Context, r *request, s *stream) (*session, error) {
	for range patience {
		c, err := w.line.session(ctx, r)
		if err != nil {
			return nil, err
		}
		switch err := c.open(ctx, r, s, !r.hasBody); {
		case errors.Is(err, errLeaving):
			continue
		case err != nil:
			return nil, err
		}
		if w.plan.NoKeepAlive {
			c.retire()
		}
		return c, nil
	}
	return nil, &streamError{outcome: Unprocessed, text: "the server takes connections and no streams"}
}

// converse sends the body, or the messages one by one, until the stream is done.
func (w *caller) converse(ctx context.Context, c *session, r *request, s *stream) error {
	if w.plan.Messages == 0 && r.hasBody {
		if err := c.send(ctx, s, r.body, true); err != nil {
			return err
		}
	}
	for i := range w.plan.Messages {
		if i > 0 && w.plan.Every > 0 {
			if err := c.rest(ctx, s, w.plan.Every); err != nil {
				return err
			}
		}
		if err := c.send(ctx, s, r.body, i == w.plan.Messages-1); err != nil {
			return err
		}
		if err := c.await(ctx, s, i+1); err != nil {
			return err
		}
	}
	return c.await(ctx, s, math.MaxInt)
}
