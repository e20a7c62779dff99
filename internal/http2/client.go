package http2

import (
	"net"
	"time"
)

// A Client is a connection to an endpoint.
type Client struct{ Conn }

// NewClient returns a client on nc. Streams may be opened at once; Run must be called for anything to be read.
func NewClient(nc net.Conn, o *Options) *Client {
	c := new(Client)
	c.prepare(nc, o, true)
	c.lastID = 0
	c.greet()
	return c
}

// Run reads what the endpoint sends until the connection ends. It returns nil if it ended in order.
func (c *Client) Run() error { return c.run(func() error { return nil }) }

// Limit returns how many streams may be open at a time: what the peer allows, 100 until its SETTINGS have come, and none
// during Check. It is not ok once either side leaves: no more are taken then.
func (c *Client) Limit() (streams int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit(), c.takes()
}

func (c *Client) limit() int {
	if c.checking {
		return 0
	}
	return int(c.peer.maxStreams)
}

// takes says whether the connection takes more streams, now or when others have ended.
func (c *Client) takes() bool {
	return c.cause == nil && c.leaving == staying && !c.peerLeft && c.lastID < maxStreamID-1
}

// Check sends a PING, if there is none under way, and takes no streams until it is answered. A connection on which it
// is not answered within that time ends.
func (c *Client) Check(within time.Duration) {
	c.mu.Lock()
	defer c.unlock()
	if c.checking || !c.takes() {
		return
	}
	c.checking, c.checkTime, c.changed = true, within, true
	now := time.Now()
	if c.pingedAt.IsZero() {
		c.sendPing(now)
	}
	c.rearm(now)
	c.flush()
}

// Heard returns when the endpoint last said anything, or when Run began.
func (c *Client) Heard() time.Time { return time.Unix(0, c.heard.Load()) }

// Extended says whether the endpoint is known to serve extended CONNECT (RFC 8441).
func (c *Client) Extended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.extended
}

// Open starts a request; end says that it has no body. It does not wait. The error is ErrNoRoom, ErrLeaving, ErrClosed,
// or ErrField; then nothing was sent. Close must be called on the stream.
func (c *Client) Open(h *Head, end bool) (*Stream, error) {
	if !sendable(h) {
		return nil, ErrField
	}
	c.mu.Lock()
	defer c.unlock()
	switch {
	case c.cause != nil || c.over:
		return nil, ErrClosed
	case !c.takes():
		return nil, ErrLeaving
	case c.open >= c.limit():
		return nil, ErrNoRoom
	}
	if c.lastID == 0 {
		c.lastID = 1
	} else {
		c.lastID += 2
	}
	s := c.take(c.lastID)
	s.bodiless = string(h.Method) == "HEAD"
	s.headAt = c.begun + uint64(c.out.len())
	c.begin(s)
	c.putHead(s.id, h, nil, end)
	s.sendEnd = end
	if end {
		c.flush()
	}
	return s, nil
}

// sendable says whether a request can stand on the wire, and on that of an HTTP/1.1 endpoint behind it.
func sendable(h *Head) bool {
	return validToken(h.Method) && (h.Protocol == nil || validToken(h.Protocol)) &&
		all(h.Scheme, inTarget) && all(h.Authority, inTarget) && all(h.Path, inTarget) && writable(h.Fields)
}
