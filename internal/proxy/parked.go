package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"crossfade.dev/internal/upstream"
)

// A plaintext connection is served inside one callback of its socket's RawConn.Read, which is called again each time
// that the socket may have something to read. Two things are saved: between requests the connection holds no buffer,
// and nobody asks the socket for what is not there. Go's poller notes that something has come for as long as the
// callback has not been left, so that nothing is missed meanwhile.
//
// Inside, the client cannot be read from by others, and Close waits. So a request leaves the callback (it pauses, and
// goes on outside, as in a connection that does not park) as soon as the client must be waited for or watched: when
// its head or body is not there yet, when it asks for an upgrade, when there is no idle connection to its endpoint,
// and when its answer takes longer than Options.WatchAfter.

// A parking is what a parked connection needs.
type parking struct {
	raw    syscall.RawConn
	turn   func(fd uintptr) (leave bool)
	inside bool    // we are in the callback,
	fd     uintptr // and this is the socket
	looked bool    // it has been read from since the callback was entered
	over   bool    // no other request is to be served
}

// errInside says that what is to be done cannot be done inside the callback.
var errInside = errors.New("not inside the callback")

// lookAgain is after which silence a parked connection is looked at once more. A client's FIN that came together with
// its request is not noted by the poller.
const lookAgain = time.Second

// parks says whether the connection can park, and makes it ready to.
func (c *Conn) parks(ctx context.Context) bool {
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok || c.p.o.Plain {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	c.raw = raw
	c.turn = func(fd uintptr) bool {
		c.fd, c.inside = fd, true
		leave := c.serveHere(ctx)
		c.inside = false
		return leave
	}
	return true
}

// park serves requests until one must go on outside: then it says true. It says false when the connection has ended.
func (c *Conn) park() (more bool) {
	for wait := lookAgain; ; wait = c.p.o.IdleTimeout {
		now := time.Now()
		limit := c.rested.Add(c.p.o.IdleTimeout)
		if !now.Before(limit) {
			c.end = endLinger
			return false
		}
		c.ring(now, wait)
		if c.isParting() { // whoever parts has set another deadline
			c.read = upstream.Alarm{}
			c.ring(now, wait)
		}
		c.looked = false // what the poller noted before is forgotten
		err := c.raw.Read(c.turn)
		switch {
		case c.x != nil, c.hails():
			return true
		case err == nil && !c.over: // nothing has come, and nothing is waited for
			c.end, c.shut = endLinger, true
			return false
		case c.over || !errors.Is(err, os.ErrDeadlineExceeded):
			return false
		}
	}
}

// ring sets the deadline of the silence that began with the last request's end; it is looked at after wait.
func (c *Conn) ring(now time.Time, wait time.Duration) {
	limit := now.Add(wait)
	if last := c.rested.Add(c.p.o.IdleTimeout); last.Before(limit) {
		limit = last
	}
	if c.read.Move(now, limit) {
		_ = c.nc.SetReadDeadline(limit) // a closed connection says so when it is read
	}
}

// serveHere serves the requests that have come, until the socket has nothing more: then the callback is to be called
// again. It is to be left when a request must go on outside, and when the connection has ended.
func (c *Conn) serveHere(ctx context.Context) (leave bool) {
	if c.in == nil {
		c.in = c.p.buffers.Get()
	}
	served := false
	for more := true; more || c.pipelined(); more = c.in.Full() || !c.looked {
		for !c.pipelined() {
			c.looked = true
			_, err := c.in.Receive(c.fd, c.p.o.MaxHead)
			if errors.Is(err, upstream.ErrLater) {
				return c.rest(served)
			}
			if err != nil {
				c.over = true
				return true
			}
		}
		if c.hails() {
			return true
		}
		again := c.serveOne(ctx)
		if c.x != nil {
			return true
		}
		if !again {
			c.over = true
			return true
		}
		served = true
	}
	return c.rest(served)
}

// rest makes the connection wait in the callback, without a buffer; unless it is to end.
func (c *Conn) rest(served bool) (leave bool) {
	if served { // else the silence goes on
		c.ring(c.rested, lookAgain)
	}
	if len(c.in.Bytes()) == 0 {
		c.p.buffers.Put(c.in)
		c.in = nil
	}
	return c.isParting()
}
