package proxy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/upstream"
)

// Outward are the ways in which endpoints are spoken to over TLS, by upstream.KeyOf. Those that two states have in
// common are the same, with what they have read and the connections that were made with them.
type outward map[string]*upstream.TLS

// TLS returns how endpoints are spoken to over TLS, for somebody to refresh: before the state is swapped in, and
// whenever files change.
func (s *State) TLS() []*upstream.TLS {
	list := make([]*upstream.TLS, 0, len(s.tls))
	for _, key := range slices.Sorted(maps.Keys(s.tls)) {
		list = append(list, s.tls[key])
	}
	return list
}

// A way is how the endpoints of a pool are spoken to, and what bounds that. Two that are equal are the same.
type way struct {
	tls    *upstream.TLS     // nil: in plaintext
	conns  fleet.Connections // zero: within the data plane's own bounds
	limits *upstream.Limits  // those of conns that hold for all endpoints together; nil: none
}

// ways returns how each of a service's pools speaks to its endpoints. What counts against limits is carried over from
// prev while these stay the same, whatever else changes; new ones begin at nothing, and what is open under the old ones
// ends under them.
func (c *compiler) ways(prev *Service, s *fleet.Service) []way {
	list := make([]way, len(s.Pools))
	for i := range s.Pools {
		p, w := &s.Pools[i], &list[i]
		w.tls = c.tls(p.Policy.TLS)
		if p.Policy.Connections == nil {
			continue
		}
		w.conns = *p.Policy.Connections
		bounds := upstream.Bounds{Conns: w.conns.Max, Pending: w.conns.Pending, Requests: w.conns.Requests, Retries: w.conns.Retries}
		switch known := prev.pool(p.Subset); {
		case bounds == upstream.Bounds{}:
		case known != nil && known.way.limits.Bounds() == bounds:
			w.limits = known.way.limits
		default:
			w.limits = upstream.NewLimits(bounds)
		}
	}
	return list
}

// distinct returns each of the ways once, the first one first.
func distinct(ways []way) []way {
	list := make([]way, 0, 1)
	for _, w := range ways {
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}

// tls returns how endpoints are spoken to over TLS; nil is in plaintext.
func (c *compiler) tls(spec *fleet.ClientTLS) *upstream.TLS {
	if spec == nil {
		return nil
	}
	key := upstream.KeyOf(spec)
	for _, known := range []outward{c.next.tls, c.prev.tls} {
		if t := known[key]; t != nil {
			return c.keepTLS(t)
		}
	}
	return c.keepTLS(upstream.NewTLS(spec))
}

// keepTLS makes t one of those of the next state.
func (c *compiler) keepTLS(t *upstream.TLS) *upstream.TLS {
	if t == nil {
		return nil
	}
	if c.next.tls == nil {
		c.next.tls = outward{}
	}
	c.next.tls[t.Key()] = t
	return t
}

// options returns o as it is for connections that are made in the way.
func (w *way) options(o upstream.Options) upstream.Options {
	o.TLS, o.Limits = w.tls, w.limits
	o.MaxRequests = cmp.Or(w.conns.PerConnection, o.MaxRequests)
	o.MaxStreams = cmp.Or(w.conns.Streams, o.MaxStreams)
	o.ConnectTimeout = cmp.Or(w.conns.ConnectTimeout, o.ConnectTimeout)
	o.IdleTimeout = cmp.Or(w.conns.IdleTimeout, o.IdleTimeout)
	o.MaxLifetime = cmp.Or(w.conns.MaxLifetime, o.MaxLifetime)
	return o
}

// connect gives e its connections, one pool for each of the ways: those of old, nil for none, where it has them; it was
// spoken to in the ways of before.
func (c *compiler) connect(e, old *Endpoint, ways, before []way) {
	for i := range ways {
		var conns *upstream.Pool
		if known := slices.Index(before, ways[i]); old != nil && known >= 0 {
			conns = old.in(known)
		} else {
			conns = upstream.New(e.Address, ways[i].options(c.o.Upstream), e.Traffic)
		}
		if i == 0 {
			e.conns = conns
		} else {
			e.also = append(e.also, conns)
		}
	}
}

// in returns the connections to e in the i-th way of its service.
func (e *Endpoint) in(i int) *upstream.Pool {
	if i == 0 {
		return e.conns
	}
	return e.also[i-1]
}

// connsOf returns the connections to e that requests to a pool take.
func (e *Endpoint) connsOf(p *Pool) *upstream.Pool { return e.in(p.also) }

// each calls do with all of e's connections.
func (e *Endpoint) each(do func(*upstream.Pool)) {
	do(e.conns)
	for _, p := range e.also {
		do(p)
	}
}

// sameConns says whether two have the same connections.
func (e *Endpoint) sameConns(other *Endpoint) bool {
	return e.conns == other.conns && slices.Equal(e.also, other.also)
}

// A getter waits for a connection until the context ends, or that time has come.
type getter func(ctx context.Context, until time.Time) (*upstream.Conn, error)

// await waits for a connection to the endpoint.
func (x *exchange) await(ctx context.Context, get getter) (*upstream.Conn, error) {
	for {
		conn, roused, err := x.awaitOnce(ctx, get)
		if err == nil || !roused || x.parts() {
			return conn, err
		}
	}
}

// awaitOnce is await until x is roused.
func (x *exchange) awaitOnce(ctx context.Context, get getter) (conn *upstream.Conn, roused bool, err error) {
	waiting, end := x.wait(ctx)
	defer end()
	conn, err = get(waiting, x.spare(x.until()))
	return conn, waiting.Err() != nil && ctx.Err() == nil, err
}

// unconnected is the outcome of an attempt that got no connection. Nothing was sent.
func (x *exchange) unconnected(err error) outcome {
	switch {
	case x.parts():
		return x.parted(503)
	case errors.Is(err, errLeft):
		return outcome{verdict: gone, reason: "the client left while its request waited"}
	case errors.Is(err, errBody):
		return x.misread(err)
	case errors.Is(err, errTurned):
		x.endpoint.overflowed()
		return x.turn()
	case errors.Is(err, upstream.ErrRequests):
		x.endpoint.overflowed()
		return outcome{verdict: refused, kind: ending.Overflow, status: 503, reason: "the service has as many requests as its limits allow"}
	case errors.Is(err, upstream.ErrLimited):
		x.endpoint.overflowed()
		return outcome{verdict: refused, kind: ending.Overflow, status: 503, reason: "as many requests wait for a connection to the service as its limits allow"}
	case errors.Is(err, upstream.ErrOverflow):
		x.endpoint.overflowed()
		return outcome{verdict: again, kind: ending.Overflow, status: 503, reason: "too many requests wait for the endpoint"}
	case x.late(time.Now()):
		x.endpoint.timedOut()
		return outcome{verdict: refused, kind: ending.Timeout, status: 504, reason: "the endpoint took no connection in time"}
	case errors.Is(err, upstream.ErrWait):
		x.endpoint.timedOut()
		return outcome{verdict: refused, kind: ending.Timeout, status: 503, reason: "no connection to the endpoint became free"}
	default:
		x.endpoint.unreachable()
		x.unreached(err)
		x.cause = err
		return outcome{verdict: again, kind: ending.Refused, status: 503, reason: "the endpoint took no connection"}
	}
}

// until is when waiting for a connection ends. Where it may take longer to make one than everybody waits, it is waited
// for as long.
func (x *exchange) until() time.Time {
	return x.sooner(x.sentAt.Add(max(x.c.p.o.WaitTimeout, x.pool.way.conns.ConnectTimeout)))
}

// resend says whether the request, of which that became, may be sent another time: it has tries and time left, and the limits
// of the pool that it failed in let it. They count it so until settleResent.
func (x *exchange) resend(o *outcome) bool {
	x.settleResent()
	limits := x.pool.way.limits
	switch {
	case x.attempts > x.c.p.o.Retries || x.late(time.Now()):
		return false
	case !limits.Retry():
		for _, t := range x.pool.books {
			t.RetryOverflow.Inc()
		}
		o.kind = ending.Overflow
		return false
	}
	x.resent = limits
	return true
}

func (x *exchange) settleResent() {
	x.resent.Retried()
	x.resent = nil
}
