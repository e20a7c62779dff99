package http2

import (
	"errors"
	"math"
	"time"

	frame "golang.org/x/net/http2"
)

// rare handles the frames that say something about the connection, and those that say nothing to us.
func (c *Conn) rare() error {
	f, err := c.framer.ReadFrame()
	if err != nil {
		return c.readError(err)
	}
	c.mu.Lock()
	defer c.unlock()
	switch f := f.(type) {
	case *frame.SettingsFrame:
		return c.settings(f)
	case *frame.PingFrame:
		return c.ping(f)
	case *frame.GoAwayFrame:
		c.goneAway(f)
		return nil
	case *frame.PriorityFrame:
		return c.priority(f)
	case *frame.PushPromiseFrame:
		return &ConnError{Code: ProtocolError, Reason: "PUSH_PROMISE"}
	default:
		return c.spend(PriorityFlood)
	}
}

// readError makes a *ConnError of what a framer says.
func (c *Conn) readError(err error) error {
	code, ok := errors.AsType[frame.ConnectionError](err)
	if !ok {
		return err
	}
	b := &ConnError{Code: Code(code), Reason: "a frame is malformed"}
	if detail := c.framer.ErrorDetail(); detail != nil {
		b.Reason = detail.Error()
	}
	return b
}

// priority is not obeyed: RFC 9113 section 5.3.2. A stream that depends on itself is still an error, as it was.
func (c *Conn) priority(f *frame.PriorityFrame) error {
	if err := c.spend(PriorityFlood); err != nil || f.StreamDep != f.StreamID {
		return err
	}
	if s := c.streams[f.StreamID]; s != nil {
		return c.punish(s, ProtocolError, "a stream depends on itself")
	}
	c.putReset(f.StreamID, ProtocolError)
	return c.excess()
}

func (c *Conn) settings(f *frame.SettingsFrame) error {
	if f.IsAck() {
		if c.unacked {
			c.unacked = false
			c.acknowledged()
		}
		return nil
	}
	if err := c.spend(SettingsFlood); err != nil {
		return err
	}
	if !c.greeted {
		c.peer.maxStreams = math.MaxInt32 // a peer that does not say has no limit
	}
	for i := range f.NumSettings() {
		if err := c.setting(f.Setting(i)); err != nil {
			return err
		}
	}
	_ = c.framer.WriteSettingsAck()
	c.greeted, c.changed = true, true
	return c.owe()
}

// acknowledged is when the peer knows our window: until then it may have thought of the usual one.
func (c *Conn) acknowledged() {
	change := int64(c.o.StreamWindow) - c.ours
	c.ours += change
	for _, s := range c.streams {
		s.recv += change
	}
}

func (c *Conn) setting(s frame.Setting) error {
	wrong := false
	switch s.ID {
	case frame.SettingHeaderTableSize:
		c.resizeTable(min(s.Val, tableSize))
	case frame.SettingEnablePush:
		wrong = s.Val > 1 || c.client && s.Val == 1
	case frame.SettingMaxConcurrentStreams:
		c.peer.maxStreams = min(s.Val, math.MaxInt32)
	case frame.SettingInitialWindowSize:
		return c.resize(int64(s.Val))
	case frame.SettingMaxFrameSize:
		wrong = s.Val < frameSize || s.Val > 1<<24-1 // we send no larger ones than everybody takes
	case frame.SettingEnableConnectProtocol:
		wrong = s.Val > 1 || c.peer.extended && s.Val == 0
		c.peer.extended = s.Val == 1
	case frame.SettingMaxHeaderListSize, frame.SettingNoRFC7540Priorities: // advice
	}
	if wrong {
		return &ConnError{Code: ProtocolError, Reason: s.ID.String() + " has no such value"}
	}
	return nil
}

func (c *Conn) resizeTable(size uint32) {
	if size != c.peer.tableSize {
		c.peer.tableSize = size
		c.encoder.resize(int(size))
	}
}

// resize changes what the peer takes on every stream: RFC 9113 section 6.9.2. A window may become negative.
func (c *Conn) resize(window int64) error {
	change := window - c.peer.window
	c.peer.window = window
	for _, s := range c.streams {
		if s.send += change; s.send > maxWindow {
			return &ConnError{Code: FlowControlError, Reason: "a stream's window is too large"}
		}
		s.wake.Broadcast()
	}
	return nil
}

func (c *Conn) ping(f *frame.PingFrame) error {
	if f.IsAck() && string(f.Data[:]) == leavePing {
		c.leaveHeard(time.Now())
		return nil
	}
	if f.IsAck() {
		c.pingedAt = time.Time{} // we have one at a time
		if c.checking {
			c.checking, c.checkTime, c.changed = false, 0, true
		}
		return nil
	}
	if err := c.spend(PingFlood); err != nil {
		return err
	}
	_ = c.framer.WritePing(true, f.Data)
	return c.owe()
}

// goneAway ends the streams that the peer has not and will not look at: those may be sent again.
func (c *Conn) goneAway(f *frame.GoAwayFrame) {
	c.o.Stats.GoAwaysIn.Inc()
	c.peerLeft, c.changed = true, true
	if c.client {
		for id, s := range c.streams {
			if id > f.LastStreamID {
				c.fail(s, &StreamError{Code: f.ErrCode, Remote: true, Unprocessed: true, Reason: "the peer left"})
			}
		}
	}
	if f.ErrCode != NoError && c.open > 0 {
		c.farewell = &ConnError{Code: f.ErrCode, Remote: true, Reason: string(f.DebugData())}
	}
	c.complete()
}
