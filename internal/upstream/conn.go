package upstream

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A Conn is one connection to an endpoint with its read buffer. Close is idempotent and may be called from any
// goroutine; it gives the place in the pool back. After Put nothing but Close may be called.
type Conn struct {
	net.Conn
	Buffer *Buffer // what was read and not yet used

	pool    *Pool
	raw     syscall.RawConn // nil: no way to look at the socket
	look    func(fd uintptr)
	quiet   bool      // what look found
	born    time.Time // when it was opened
	since   time.Time // when it was last put back
	served  int
	ended   atomic.Bool
	scratch [1]byte
}

func newConn(p *Pool, inner net.Conn, now time.Time) *Conn {
	c := &Conn{Conn: inner, Buffer: p.o.Buffers.Get(), pool: p, born: now, since: now}
	if s, ok := inner.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw, c.look = raw, c.peek // the method value is made once: it allocates
		}
	}
	return c
}

// Reused says that the connection served an earlier request: it may be dying unseen.
func (c *Conn) Reused() bool { return c.served > 0 }

// Served counts the requests that it served before this one.
func (c *Conn) Served() int { return c.served }

// Close ends the connection. Only the first call does anything.
func (c *Conn) Close() error {
	if c.ended.Swap(true) {
		return nil
	}
	err := c.Conn.Close()
	c.pool.traffic.ActiveConnects.Add(-1)
	c.pool.leave()
	return err
}

// alive looks, without waiting, whether an idle connection still is one: an endpoint that has closed it, or
// that sent something nobody asked for, is not to be trusted with a request.
func (c *Conn) alive() bool {
	if c.ended.Load() {
		return false
	}
	if c.raw == nil {
		return true
	}
	c.quiet = false
	err := c.raw.Control(c.look) // not Read: that waits for, and obeys, the deadline
	return err == nil && c.quiet
}

// peek reads without taking: only "nothing yet" is quiet.
func (c *Conn) peek(fd uintptr) {
	for {
		_, _, err := syscall.Recvfrom(int(fd), c.scratch[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			c.quiet = err == syscall.EAGAIN
			return
		}
	}
}
