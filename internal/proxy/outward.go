package proxy

import (
	"errors"
	"maps"
	"slices"
	"time"

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

// way returns how endpoints are spoken to under a policy; nil is in plaintext.
func (c *compiler) way(p *fleet.Policy) *upstream.TLS {
	if p.TLS == nil {
		return nil
	}
	key := upstream.KeyOf(p.TLS)
	for _, known := range []outward{c.next.tls, c.prev.tls} {
		if t := known[key]; t != nil {
			return c.keepWay(t)
		}
	}
	return c.keepWay(upstream.NewTLS(p.TLS))
}

// keepWay makes t one of the next state's ways.
func (c *compiler) keepWay(t *upstream.TLS) *upstream.TLS {
	if t == nil {
		return nil
	}
	if c.next.tls == nil {
		c.next.tls = outward{}
	}
	c.next.tls[t.Key()] = t
	return t
}

// ways returns how the endpoints of a service are spoken to, that of the whole service first, each once.
func (c *compiler) ways(s *fleet.Service) []*upstream.TLS {
	list := make([]*upstream.TLS, 0, 1)
	for i := range s.Pools {
		if t := c.way(&s.Pools[i].Policy); !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// connect gives e its connections, one pool for each of the ways: those of old, nil for none, where it has them.
func (c *compiler) connect(e, old *Endpoint, ways []*upstream.TLS) {
	for i, t := range ways {
		conns := old.speaking(t)
		if conns == nil {
			o := c.o.Upstream
			o.TLS = t
			conns = upstream.New(e.Address, o, e.Traffic)
		}
		if i == 0 {
			e.conns = conns
		} else {
			e.also = append(e.also, conns)
		}
	}
}

// speaking returns e's connections in one way, nil if it has none.
func (e *Endpoint) speaking(t *upstream.TLS) (found *upstream.Pool) {
	if e != nil {
		e.each(func(p *upstream.Pool) {
			if p.TLS() == t {
				found = p
			}
		})
	}
	return found
}

// connsOf returns the connections to e that requests to a pool take.
func (e *Endpoint) connsOf(p *Pool) *upstream.Pool {
	if p.also == 0 {
		return e.conns
	}
	return e.also[p.also-1]
}

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

// unconnected is the outcome of an attempt that got no connection. Nothing was sent.
func (x *exchange) unconnected(err error) outcome {
	switch {
	case errors.Is(err, upstream.ErrOverflow):
		x.endpoint.overflowed()
		return outcome{again, 503, "too many requests wait for the endpoint"}
	case x.late(time.Now()):
		x.endpoint.timedOut()
		return outcome{refused, 504, "the endpoint took no connection in time"}
	case errors.Is(err, upstream.ErrWait):
		x.endpoint.timedOut()
		return outcome{refused, 503, "no connection to the endpoint became free"}
	default:
		x.endpoint.unreachable()
		x.cause = err
		return outcome{again, 503, "the endpoint took no connection"}
	}
}
