package http2

import (
	"encoding/binary"
	"time"
)

// A clock is something that happens if something else does not.
type clock struct {
	from  time.Time
	after time.Duration
	then  func(now time.Time)
}

// clocks returns those that run.
func (c *Conn) clocks() (running []clock) {
	start := func(runs bool, from time.Time, after time.Duration, then func(time.Time)) {
		if runs && after > 0 {
			running = append(running, clock{from, after, then})
		}
	}
	late := func(code Code, reason string) func(time.Time) {
		return func(time.Time) { c.timedOut(code, reason) }
	}
	decide := func(time.Time) { c.decide() }
	partial := c.partial.Load()
	start(!c.greeted, c.started, c.o.HandshakeTimeout, late(ProtocolError, "no SETTINGS came in time"))
	start(c.greeted && c.unacked, c.started, c.o.SettingsTimeout, late(SettingsTimeout, "SETTINGS were not acknowledged in time"))
	start(partial != 0, time.Unix(0, partial), c.o.FrameTimeout, late(ProtocolError, "the rest of a frame did not come in time"))
	start(!c.pingedAt.IsZero(), c.pingedAt, c.pingTime(), late(ProtocolError, "a PING was not answered in time"))
	start(c.pingedAt.IsZero(), time.Unix(0, c.heard.Load()), c.o.PingAfter, c.sendPing)
	start(c.leaving == expectant, c.started, firstStream, c.announce)
	start(c.leaving == announced, c.leftAt, c.leaveTime(), decide)
	start(!c.client && c.open == 0 && c.leaving == staying, c.idleSince, c.o.IdleTimeout, decide)
	return running
}

// pingTime is how long the peer may take to answer a PING.
func (c *Conn) pingTime() time.Duration {
	if c.checking {
		return c.checkTime
	}
	return c.o.PingTimeout
}

// tick does what is due, and sets the timer for what is due next.
func (c *Conn) tick() {
	c.mu.Lock()
	defer c.unlock()
	c.timerAt = time.Time{}
	now := time.Now()
	for {
		next, did := c.due(now)
		switch {
		case c.cause != nil || c.over:
		case did:
			continue // other clocks may run now
		case !next.IsZero():
			c.timer.Reset(next.Sub(now))
			c.timerAt = next
		}
		break
	}
	c.flush()
}

// due does one thing that is due, or returns when the next one is; zero for nothing.
func (c *Conn) due(now time.Time) (next time.Time, did bool) {
	if c.cause != nil || c.over {
		return next, false
	}
	for _, k := range c.clocks() {
		at := k.from.Add(k.after)
		if !now.Before(at) {
			k.then(now)
			return next, true
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, false
}

func (c *Conn) sendPing(now time.Time) {
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], uint64(now.UnixNano()))
	_ = c.framer.WritePing(false, data)
	c.pingedAt = now
}

// timedOut ends the connection for what the peer did not do.
func (c *Conn) timedOut(code Code, reason string) {
	c.o.Stats.TimedOut.Inc()
	c.breakOff(&ConnError{Code: code, Reason: reason})
	c.wakeReader()
}

// rearm has the timer go off at once if something may be due sooner than it knows. It is called when something new
// can become due.
func (c *Conn) rearm(now time.Time) {
	if c.timer == nil || c.cause != nil {
		return
	}
	soonest := c.o.FrameTimeout
	for _, d := range []time.Duration{c.o.SettingsTimeout, c.o.PingAfter, c.checkTime, c.o.LeaveAfter, c.o.IdleTimeout} {
		if d > 0 {
			soonest = min(soonest, d)
		}
	}
	if c.leaving == expectant {
		soonest = min(soonest, firstStream)
	}
	if at := now.Add(soonest); c.timerAt.IsZero() || at.Before(c.timerAt) {
		c.timer.Reset(soonest)
		c.timerAt = at
	}
}
