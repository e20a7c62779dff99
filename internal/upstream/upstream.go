// Package upstream keeps the connections to endpoints: one Pool for each address.
//
// A Pool hands out connections of HTTP/1.1 ([Pool.Get]), each to one request at a time, and streams of HTTP/2
// ([Pool.Open]) on connections that many share; both as a [Conn]. It gives no request to a connection of which it does
// not believe that it lives, and bounds how many are open and how many requests wait for one.
//
// A connection of HTTP/2 has a goroutine that makes it, reads from it, and ends with it. Nothing else runs by itself:
// expired connections are dropped when somebody comes by (Get, Open, Put, Sweep).
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// Why a Pool gives no connection. In every case nothing has been sent: the request may go elsewhere.
var (
	ErrConnect  = errors.New("no connection")                           // the endpoint did not take it, or is not who it should be; wraps the cause
	ErrOverflow = errors.New("too many requests wait")                  // MaxConns are open and MaxPending wait
	ErrWait     = errors.New("no connection became free")               // the deadline passed, or the context ended first
	ErrNoTunnel = errors.New("the endpoint serves no extended CONNECT") // RFC 8441
	// ErrLimited is an ErrOverflow that all endpoints under the same Limits would answer with: Pending wait.
	ErrLimited = fmt.Errorf("%w under limits that endpoints share", ErrOverflow)
	// ErrRequests is an ErrLimited: Requests have a connection.
	ErrRequests = fmt.Errorf("%w: too many have a connection", ErrLimited)
)

// Options bound a Pool. A zero value means the default.
type Options struct {
	MaxConns       int           // open at once, idle ones included; 1024, or what Limits allow where that is more
	MaxPending     int           // requests that wait for one of them; likewise; negative: none
	MaxIdle        int           // kept for reuse, of HTTP/1.1; 256; negative: none
	IdleTimeout    time.Duration // an idle connection is dropped after it; 60 s
	MaxLifetime    time.Duration // no reuse after it; 0: for ever
	MaxRequests    int           // that one connection carries in its life; 0: any number
	MaxStreams     int           // requests at once on one connection of HTTP/2, if the endpoint allows as many; 100
	ConnectTimeout time.Duration // 5 s
	Limits         *Limits       // what this pool and others may come to together; nil: no more than the bounds above
	Buffers        *Buffers      // where read buffers come from; nil: the pool's own
	TLS            *TLS          // how the endpoint is spoken to; nil: in plaintext
	HTTP2          http2.Options // of connections of HTTP/2; MaxStreams and Changed are the pool's
	// Dial opens a connection, under TLS the one below it; nil: TCP.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	limits := o.Limits.Bounds()
	o.MaxConns = orDefault(o.MaxConns, max(1024, limits.Conns))
	o.MaxPending = orDefault(o.MaxPending, max(1024, limits.Pending))
	o.MaxIdle = orDefault(o.MaxIdle, 256)
	o.IdleTimeout = orDefault(o.IdleTimeout, time.Minute)
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 5*time.Second)
	o.MaxStreams = orDefault(o.MaxStreams, 100)
	o.HTTP2 = streaming(o)
	if o.Buffers == nil {
		o.Buffers = new(Buffers)
	}
	if o.Dial == nil {
		o.Dial = dialTCP
	}
	return o
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}

// New returns a pool that has no connection yet. It counts Connects, ConnectFail, ActiveConnects and Overflow
// in t.
func New(addr netip.AddrPort, o Options, t *evidence.Traffic) *Pool {
	return &Pool{addr: addr, o: o.withDefaults(), traffic: t}
}
