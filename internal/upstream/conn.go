package upstream

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"crossfade.dev/internal/http2"
)

// A Conn is one connection to an endpoint, or one stream of HTTP/2, with its read buffer. Close is idempotent and may be
// called from any goroutine. That of a connection gives its place in the pool back, and may be called after Put, as
// nothing else may; that of a stream resets it, and not even that may be called after Put.
type Conn struct {
	net.Conn
	Buffer *Buffer       // what was read and not yet used
	Stream *http2.Stream // whose bodies these are; nil: a connection of HTTP/1.1

	Reading, Writing Alarm // the deadlines: those who set one otherwise leave the zero Alarm

	link *link // what the stream is on; nil: a connection

	pool     *Pool
	wire     *wire           // what TLS runs over; nil: plaintext
	raw      syscall.RawConn // nil: no way to look at the socket
	look     func(fd uintptr)
	converse func(fd uintptr) bool
	question question
	quiet    bool      // what look found
	born     time.Time // when it was opened, or the stream was
	since    time.Time // when it was last put back; zero: never
	served   int
	counted  atomic.Bool // among the requests of the pool's Limits
	ended    atomic.Bool
	scratch  [1]byte
}

// newConn returns the connection that speaks by inner over w, nil where inner is the socket itself.
func newConn(p *Pool, inner net.Conn, w *wire, now time.Time) *Conn {
	c := &Conn{Conn: inner, pool: p, wire: w, born: now}
	socket := inner
	if w != nil {
		socket = w.Conn
	}
	if s, ok := socket.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw, c.look, c.converse = raw, c.peek, c.turn // method values are made once: they allocate
		}
	}
	return c
}

// Reused says that the connection served an earlier request: it may be dying unseen.
func (c *Conn) Reused() bool { return c.served > 0 }

// Served counts the requests that it served before this one.
func (c *Conn) Served() int { return c.served }

// Close ends the connection. Only the first call does anything. Over TLS it takes no leave, so that what was sent
// does not look whole.
func (c *Conn) Close() error {
	if c.Stream != nil {
		c.Stream.Reset(http2.Cancel)
		return nil
	}
	if c.wire != nil {
		return c.end(c.wire.Conn)
	}
	return c.end(c.Conn)
}

// retire is Close for a connection that has nothing under way.
func (c *Conn) retire() { _ = c.end(c.Conn) }

func (c *Conn) end(at net.Conn) error {
	if c.ended.Swap(true) {
		return nil
	}
	err := at.Close()
	c.pool.o.Limits.done(c)
	c.pool.traffic.ActiveConnects.Add(-1)
	c.pool.leave()
	return err
}

// clear takes the deadlines back.
func (c *Conn) clear() error {
	c.Reading, c.Writing = Alarm{}, Alarm{}
	return c.SetDeadline(time.Time{})
}

// alive looks, without waiting, whether an idle connection still is one: an endpoint that has closed it, or
// that sent something nobody asked for, is not to be trusted with a request.
func (c *Conn) alive() bool {
	return !c.ended.Load() && c.calm() && (c.wire == nil || c.wire.drained(c))
}

// calm says whether nothing has come to the socket that was not read, as far as there is a way to look.
func (c *Conn) calm() bool {
	if c.raw == nil {
		return true
	}
	c.quiet = false
	err := c.raw.Control(c.look) // not Read: that waits for, and obeys, the deadline
	return err == nil && c.quiet
}

// peek reads without taking: only "nothing yet" is quiet.
func (c *Conn) peek(fd uintptr) { c.quiet = silent(fd, c.scratch[:]) }
