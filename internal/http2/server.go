package http2

import (
	"encoding/binary"
	"net"

	frame "golang.org/x/net/http2"
)

// A Server is a client's connection, from the server's side.
type Server struct {
	Conn
	before []byte
}

// NewServer returns the connection on nc, from which before has been read already. Serve must be called on it.
func NewServer(nc net.Conn, before []byte, o *Options) *Server {
	c := &Server{before: append([]byte(nil), before...)}
	c.prepare(nc, o, false)
	c.greet()
	return c
}

// Upgrade makes stream 1 of a request that came over HTTP/1.1 with Upgrade: h2c, and settings of what its
// HTTP2-Settings said, decoded from base64url. It is called before Serve, once 101 was written; request is copied. A
// request with a body cannot be upgraded.
func (c *Server) Upgrade(request *Head, settings []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(settings)%6 != 0 {
		return &ConnError{Code: FrameSizeError, Reason: "HTTP2-Settings are not whole settings"}
	}
	for ; len(settings) > 0; settings = settings[6:] {
		one := frame.Setting{ID: frame.SettingID(binary.BigEndian.Uint16(settings)), Val: binary.BigEndian.Uint32(settings[2:])}
		if one.ID == frame.SettingInitialWindowSize && one.Val > maxWindow {
			return &ConnError{Code: FlowControlError, Reason: "INITIAL_WINDOW_SIZE has no such value"}
		}
		if err := c.setting(one); err != nil {
			return err
		}
	}
	c.lastID = 1
	s := c.take(1)
	s.head, s.received, s.recvEnd = request.clone(), true, true
	s.head.End = true
	c.begin(s)
	return nil
}

// Serve calls handle, in a goroutine that is its own meanwhile, for every stream that the client opens. It returns when the
// connection has ended and all handlers have returned: nil if it ended in order, else a *ConnError or the socket's error.
//
// A stream that is not whole when its handler returns is reset. handle must not panic.
func (c *Server) Serve(handle func(*Stream)) error {
	c.handle = handle
	c.o.Memory.hands.come()
	defer c.o.Memory.hands.leave()
	return c.run(func() error {
		c.mu.Lock()
		if s := c.streams[1]; s != nil {
			c.running++
			c.o.Memory.hands.serve(s)
		}
		c.mu.Unlock()
		return c.preface()
	})
}

func (c *Server) preface() error {
	if len(c.before) > 0 {
		c.in.preload(c.before)
		c.before = nil
	}
	b, err := c.in.peek(len(Preface))
	if err != nil {
		return err
	}
	if string(b) != Preface {
		return &ConnError{Code: ProtocolError, Reason: "the connection does not start with the preface"}
	}
	c.in.skip(len(Preface))
	return nil
}
