package http2

import "time"

// Leave says that the connection will end, and still takes streams: GOAWAY with the highest number (RFC 9113 section
// 6.8). What the peer sent before it heard is served. A client's connection only takes no more streams.
//
// A peer that has only just come is told once it has begun its first stream, which is served: heard before that, GOAWAY
// would send it away with what it came for, and perhaps to us again.
func (c *Conn) Leave() {
	c.mu.Lock()
	defer c.unlock()
	switch now := time.Now(); {
	case c.client:
		c.decide()
	case c.leaving != staying || c.cause != nil:
	case c.lastID == 0 && (c.started.IsZero() || now.Sub(c.started) < firstStream):
		c.leaving = expectant
		c.rearm(now)
	default:
		c.announce(now)
	}
	c.flushSoon()
}

// firstStream is how long a peer that comes while we leave may take for its first stream. Who dials does so to ask, at once.
const firstStream = 2 * time.Second

// announce tells the peer that we leave.
func (c *Conn) announce(now time.Time) {
	c.leaving, c.leftAt = announced, now
	c.goAway(maxStreamID, NoError, "")
	if c.o.LeaveAfter > 0 {
		_ = c.framer.WritePing(false, [8]byte([]byte(leavePing)))
	}
	c.rearm(now)
}

// leavePing goes with a GOAWAY. Whatever the peer sent before it had heard of the leave, it sent before the answer: once
// that has come, a round trip has passed, however long those take.
//
// Options.LeaveAfter is waited for even so. A peer's goroutine may have been given a stream's number just before another
// one heard, and send what it has to say after that one's answer; how much later, its machine's load says, and no round
// trip.
const leavePing = "leaving!"

// leaveBound is for that answer. A peer that gives none may be so far away, but hardly is.
const leaveBound = 5 * time.Second

// leaveTime is how long after Leave it is decided which stream was the last; 0 for never.
func (c *Conn) leaveTime() time.Duration {
	if c.heardIt || c.o.LeaveAfter == 0 {
		return c.o.LeaveAfter
	}
	return max(c.o.LeaveAfter, leaveBound)
}

// leaveHeard is called when the peer has heard that we leave.
func (c *Conn) leaveHeard(now time.Time) {
	c.heardIt = true
	if c.leaving == announced && c.o.LeaveAfter > 0 && now.Sub(c.leftAt) >= c.o.LeaveAfter {
		c.decide()
		c.flushSoon()
	}
}

// LeaveNow says which stream was the last; later ones are refused, and may be sent elsewhere. The connection ends with
// the last of its streams. At least one round trip should lie between Leave and LeaveNow.
func (c *Conn) LeaveNow() {
	c.mu.Lock()
	defer c.unlock()
	c.decide()
	c.flushSoon()
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
