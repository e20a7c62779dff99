package http2

import "net"

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

// Room returns how many more streams may be opened now: what the peer allows, 100 until it says, and none once either
// side leaves.
func (c *Client) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room()
}

func (c *Client) room() int {
	if c.cause != nil || c.leaving != staying || c.peerLeft || c.lastID >= maxStreamID-1 {
		return 0
	}
	return max(0, int(c.peer.maxStreams)-c.open)
}

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
	case c.room() > 0:
	case c.open >= int(c.peer.maxStreams) && c.leaving == staying && !c.peerLeft:
		return nil, ErrNoRoom
	default:
		return nil, ErrLeaving
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
