package http2

import "time"

// Leave says that the connection will end, and still takes streams: GOAWAY with the highest number (RFC 9113 section
// 6.8). What the peer sent before it heard is served. A client's connection only takes no more streams.
func (c *Conn) Leave() {
	c.mu.Lock()
	defer c.unlock()
	if c.client {
		c.decide()
	} else if c.leaving == staying && c.cause == nil {
		c.leaving, c.leftAt = announced, time.Now()
		c.goAway(maxStreamID, NoError, "")
		c.rearm()
	}
	c.flush()
}

// LeaveNow says which stream was the last; later ones are refused, and may be sent elsewhere. The connection ends with
// the last of its streams. At least one round trip should lie between Leave and LeaveNow.
func (c *Conn) LeaveNow() {
	c.mu.Lock()
	defer c.unlock()
	c.decide()
	c.flush()
}

func (c *Conn) decide() {
	if c.leaving == decided || c.cause != nil {
		return
	}
	c.goneAt = c.lastOfPeer()
	c.leaving, c.changed = decided, true
	c.goAway(c.goneAt, NoError, "")
	c.complete()
}
