package proxy

import (
	"context"
	"time"
)

// A Secured is a client's connection that speaks TLS: a net.Conn that [Proxy.NewConn] knows by these methods,
// with a ConnectionState as that of *tls.Conn.
type Secured interface {
	// Shake does the handshake, by the given time. It is called once, before anything is read.
	Shake(ctx context.Context, by time.Time) error
	// Serves says whether a request for this authority may be served on the connection: a client that asked for
	// one name and proved what it takes there must not get what another name guards.
	Serves(authority []byte) bool
	// Abort closes the connection without taking leave, so that what was sent cannot look whole.
	Abort()
}

// Secure says whether the door's listener is for TLS alone: requests on plaintext connections that are still
// open are then refused with 421.
func (d *Door) Secure(only bool) { d.secure.Store(only) }

// shake does the handshake and counts it.
func (c *Conn) shake(ctx context.Context) (ok bool) {
	if err := c.tls.Shake(ctx, time.Now().Add(c.p.o.HeaderTimeout)); err != nil {
		c.traffic.TLSErrors.Inc()
		c.p.o.Log.DebugContext(ctx, "a TLS handshake failed", "listener", c.door.Name(), "remote", string(c.remote), "error", err)
		return false
	}
	c.traffic.Handshakes.Inc()
	c.rested = time.Now()
	c.since.Store(c.rested.UnixNano())
	return true
}

// misdirected says whether a request for host must not be served on this connection.
func (c *Conn) misdirected(host []byte) bool {
	if c.tls != nil {
		return !c.tls.Serves(host)
	}
	return c.door.secure.Load() && !c.secure
}
