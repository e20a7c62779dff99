package load

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/net/http2"
)

// read takes frames until the connection ends, and returns why it did.
func (c *session) read() error {
	for {
		f, err := c.framer.ReadFrame()
		c.mu.Lock()
		if _, ok := f.(*http2.SettingsFrame); !ok {
			c.frames++
		}
		var stray http2.StreamError
		switch {
		case err == nil:
			err = c.take(f)
		case errors.As(err, &stray):
			err = c.refuse(c.streams[stray.StreamID], stray.StreamID, stray.Code, broken("%v: %v", err, c.framer.ErrorDetail()))
		case !c.greeted && !isEnd(err) && !isReset(err) && !isTimeout(err):
			err = fmt.Errorf("%w: %w", errNotHTTP2, err)
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// take does what a frame says. An error ends the connection.
func (c *session) take(f http2.Frame) error {
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.greeted {
		return fmt.Errorf("%w: it begins with %v", errNotHTTP2, f.Header().Type)
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = c.framer.WritePing(true, f.Data)
			c.ring()
		}
	case *http2.GoAwayFrame:
		c.takeGoAway(f)
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.MetaHeadersFrame:
		return c.takeHead(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.PushPromiseFrame:
		return errors.New("PUSH_PROMISE, which was switched off")
	}
	return nil // PRIORITY, and what we do not know
}

// known returns an open stream, or nil for one that has ended. One that has not begun is an error.
func (c *session) known(id uint32) (*stream, error) {
	if id%2 == 0 || id >= c.next {
		return nil, fmt.Errorf("a frame on stream %d, which is not open", id)
	}
	return c.streams[id], nil
}

// refuse resets a stream whose answer breaks a rule. s may be nil: it has ended.
func (c *session) refuse(s *stream, id uint32, code http2.ErrCode, err error) error {
	_ = c.framer.WriteRSTStream(id, code)
	c.ring()
	if s != nil {
		c.finish(s, err)
	}
	return nil
}

func (c *session) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingMaxConcurrentStreams:
			c.room = int(min(setting.Val, lastStream))
		case http2.SettingInitialWindowSize:
			for _, s := range c.streams {
				s.sending += int64(setting.Val) - c.window
				s.ring()
			}
			c.window = int64(setting.Val)
		case http2.SettingMaxFrameSize:
			c.frame = int(setting.Val)
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(setting.Val)
			c.encoder.SetMaxDynamicTableSize(min(setting.Val, 4096))
		default: // nothing that limits these requests
		}
		return nil
	})
	if err != nil {
		return err
	}
	_ = c.framer.WriteSettingsAck()
	c.ring()
	c.stir()
	if !c.greeted {
		c.greeted = true
		close(c.settled)
	}
	return nil
}

func (c *session) takeWindow(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.sending += int64(f.Increment); c.sending > math.MaxInt32 {
			return errors.New("the connection's window is too large")
		}
		for _, s := range c.streams {
			s.ring()
		}
		return nil
	}
	s, err := c.known(f.StreamID)
	if s == nil || err != nil {
		return err
	}
	if s.sending += int64(f.Increment); s.sending > math.MaxInt32 {
		return c.refuse(s, s.id, http2.ErrCodeFlowControl, broken("the stream's window is too large"))
	}
	s.ring()
	return nil
}

// takeGoAway gives up the streams that the server does not take; it waits for the others.
func (c *session) takeGoAway(f *http2.GoAwayFrame) {
	c.account.goAway(f.ErrCode)
	for id, s := range c.streams {
		if id > f.LastStreamID {
			c.finish(s, &streamError{outcome: Unprocessed, text: "the server's GOAWAY came before the stream"})
		}
	}
	c.leave()
}

func (c *session) takeReset(f *http2.RSTStreamFrame) error {
	s, err := c.known(f.StreamID)
	if s == nil || err != nil {
		return err
	}
	lost := &streamError{outcome: StreamReset, reset: f.ErrCode.String(), text: "the server reset the stream"}
	if f.ErrCode == http2.ErrCodeRefusedStream {
		lost.outcome = Rejected
	}
	c.finish(s, lost)
	return nil
}

func (c *session) takeHead(f *http2.MetaHeadersFrame) error {
	s, err := c.known(f.StreamID)
	if s == nil || err != nil {
		return err
	}
	if err := s.head(f); err != nil {
		return c.refuse(s, s.id, http2.ErrCodeProtocol, err)
	}
	if f.StreamEnded() {
		c.complete(s)
	}
	return nil
}

func (c *session) takeData(f *http2.DataFrame) error {
	s, err := c.known(f.StreamID)
	if err != nil {
		return err
	}
	n := int64(f.Length) // with the padding
	if c.allowed -= n; c.allowed < 0 {
		return errors.New("more data than the connection's window")
	}
	if c.allowed < sessionWindow/2 {
		_ = c.framer.WriteWindowUpdate(0, uint32(sessionWindow-c.allowed))
		c.allowed = sessionWindow
		c.ring()
	}
	if s == nil {
		return nil
	}
	if s.allowed -= n; s.allowed < 0 {
		return c.refuse(s, s.id, http2.ErrCodeFlowControl, broken("more data than the stream's window"))
	}
	if err := s.data(f.Data()); err != nil {
		return c.refuse(s, s.id, http2.ErrCodeProtocol, err)
	}
	if f.StreamEnded() {
		c.complete(s)
		return nil
	}
	if s.allowed < streamWindow/2 {
		_ = c.framer.WriteWindowUpdate(s.id, uint32(streamWindow-s.allowed))
		s.allowed = streamWindow
		c.ring()
	}
	if s.grpc {
		s.ring()
	}
	return nil
}

// complete ends a stream with its answer; a request that is still going out has no reader any more.
func (c *session) complete(s *stream) {
	if !s.ended {
		_ = c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
		c.ring()
	}
	c.finish(s, s.whole())
}
