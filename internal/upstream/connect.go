package upstream

import (
	"context"
	"fmt"
	"time"
)

// connect makes a connection in a place that was taken.
func (p *Pool) connect(ctx context.Context, deadline time.Time, speak protocol) (*Conn, error) {
	bound := p.o.ConnectTimeout
	if !deadline.IsZero() {
		bound = min(bound, time.Until(deadline))
	}
	if bound <= 0 || ctx.Err() != nil {
		p.leave()
		return nil, ErrWait
	}
	dialing, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	raw, err := p.o.Dial(dialing, p.addr)
	if err != nil {
		return nil, p.unconnected(ctx, err)
	}
	inner, w := raw, (*wire)(nil)
	if p.o.TLS != nil {
		if inner, w, err = p.shake(dialing, raw, speak); err != nil {
			_ = raw.Close()
			return nil, p.unconnected(ctx, err)
		}
	}
	p.traffic.Connects.Inc()
	p.traffic.ActiveConnects.Add(1)
	return newConn(p, inner, w, time.Now()), nil
}

// unconnected gives the place of a connection back that could not be made.
func (p *Pool) unconnected(ctx context.Context, err error) error {
	p.leave()
	if ctx.Err() == nil { // a caller that went away says nothing about the endpoint
		p.traffic.ConnectFail.Inc()
	}
	return fmt.Errorf("%w: %w", ErrConnect, err)
}
