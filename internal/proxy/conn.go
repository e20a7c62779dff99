package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/upstream"
)

// window is how much of a body is read at once.
const window = 32 << 10

// A Door is what the connections of one listening socket share.
type Door struct {
	name    atomic.Pointer[string]
	leaving atomic.Bool
	secure  atomic.Bool
}

// NewDoor returns the door to the listener of that name.
func NewDoor(listener string) *Door {
	d := new(Door)
	d.Rename(listener)
	return d
}

// Name returns the name of the listener whose routes the door's requests take.
func (d *Door) Name() string { return *d.name.Load() }

// Rename leads the door's connections to another listener's routes when the next state is swapped in.
func (d *Door) Rename(listener string) { d.name.Store(&listener) }

// Leave says Connection: close on every answer from now on. Requests are served as before: a client is told,
// never hung up on.
func (d *Door) Leave() { d.leaving.Store(true) }

// Stay takes Leave back. Who has been told goes all the same.
func (d *Door) Stay() { d.leaving.Store(false) }

// A Conn is a client's connection, or one stream of a connection that speaks HTTP/2; see stream.go. Its methods may be
// called from any goroutine.
type Conn struct {
	p      *Proxy
	nc     net.Conn
	door   *Door
	secure bool         // the client speaks https
	tls    Secured      // nc, where it is one
	remote []byte       // the client's address, for X-Forwarded-For
	since  atomic.Int64 // when the last request ended, in Unix nanoseconds; 0 while one is open
	cut    atomic.Bool
	parting
	h2     atomic.Pointer[http2.Server] // what it speaks, once that is HTTP/2
	under  *Conn                        // a stream's: the connection that it is on; else nil
	stream *http2.Stream                // likewise
	code   http2.Code                   // likewise: with which it is reset, where its answer is cut
	seen   atomic.Pointer[sight]        // of a connection with streams: what the last of them that looked has found

	// Only Serve's goroutine, or the feeder that it waits for, touches what follows.
	in          *upstream.Buffer // nil while a parked connection has nothing unread
	parking                      // zero for one that does not park
	read, wrote upstream.Alarm
	hush        atomic.Bool // whoever reads from the client is to stop
	state       *State      // the newest that was looked at, and in it:
	listener    *Listener
	traffic     *evidence.Downstream
	x           *exchange // the open request
	rested      time.Time // when the last request ended
	end         goodbye
	hopped      bool              // the client went on from HTTP/1.1 to HTTP/2
	begun       bool              // a request has been served: it speaks HTTP/1.1
	lost        atomic.Int64      // requests, by Cut and Part
	shut        bool              // our half is closed, though nothing was asked for
	direct      *evidence.Traffic // where a front counts the caller past the gateways who sent the last request; nil: nobody, or a gateway
}

// A goodbye is how a connection is closed.
type goodbye uint8

const (
	endPlain  goodbye = iota // the client has left, or nothing more can be said
	endLinger                // after an answer that the client must be able to read
	endReset                 // in mid-answer, where a plain close would look like the answer's end
)

// NewConn returns the connection accepted as nc at door. Serve must be called on it.
func (p *Proxy) NewConn(nc net.Conn, door *Door) *Conn {
	c := &Conn{p: p, nc: nc, door: door}
	_, c.secure = nc.(interface{ ConnectionState() tls.ConnectionState })
	c.tls, _ = nc.(Secured)
	c.rested = time.Now()
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort().Addr().Unmap().AppendTo(nil)
	} else {
		c.remote = []byte("unknown")
	}
	c.since.Store(c.rested.UnixNano())
	return c
}

// scheme is what the client speaks.
func (c *Conn) scheme() string {
	if c.secure {
		return secure
	}
	return plaintext
}

// Busy says whether a request is open, and if not, since when.
func (c *Conn) Busy() (since time.Time, busy bool) {
	if h2 := c.h2.Load(); h2 != nil {
		open, idle := h2.OpenStreams()
		return idle, open > 0
	}
	ns := c.since.Load()
	return time.Unix(0, ns), ns == 0
}

// Cut closes the connection at once, in the middle of whatever it does.
func (c *Conn) Cut() {
	c.cut.Store(true)
	if _, busy := c.Busy(); busy && c.tls != nil {
		c.tls.Abort() // taking leave would make half an answer look whole
		return
	}
	if h2 := c.h2.Load(); h2 != nil {
		h2.Close()
	}
	_ = c.nc.Close()
}

// isCut says whether Cut was called, of a stream that of its connection.
func (c *Conn) isCut() bool { return c.cut.Load() || c.under != nil && c.under.cut.Load() }

// Serve serves the connection's requests until it ends, and closes it. It returns how many of them Cut and Part lost. ctx
// ends only waits for connections to endpoints; what ends a connection from outside is Cut, or Part. A panic ends this
// connection and is counted.
func (c *Conn) Serve(ctx context.Context) (lost int) {
	c.look(c.p.state.Load())
	if c.listener == nil {
		_ = c.nc.Close()
		return 0
	}
	c.traffic = c.listener.Traffic
	c.traffic.Connects.Inc()
	c.traffic.ActiveConnects.Add(1)
	c.p.conns.add(c)
	defer c.finish(ctx, &lost)
	if c.tls != nil && !c.shake(ctx) {
		return 0
	}
	c.settled.Store(true)
	if c.negotiated() {
		c.serveStreams(ctx, c.streams())
		return 0
	}
	await := c.await
	if c.parks(ctx) {
		await = c.park
	} else {
		c.in = c.p.buffers.Get()
	}
	for again := true; again; {
		switch again = await(); {
		case !again:
		case c.prefaced():
			c.serveStreams(ctx, c.streams())
			again = false
		default:
			again = c.serveOne(ctx)
		}
	}
	return 0
}

// look finds the connection's listener in s. A listener that is gone keeps its last routes for as long as it
// has connections.
func (c *Conn) look(s *State) {
	if s == nil || s == c.state {
		return
	}
	switch l := s.Listener(c.door.Name()); {
	case l != nil:
		c.listener = l
	case c.listener != nil:
		c.listener = c.listener.outlive(s)
	}
	if c.state = s; c.under != nil {
		c.under.seen.Store(&sight{c.state, c.listener})
	}
}

// A sight is a state with the listener that a connection has in it.
type sight struct {
	state    *State
	listener *Listener
}

// serveOne serves one request, or goes on with the one that has paused. While c.x is left, it has.
func (c *Conn) serveOne(ctx context.Context) (again bool) {
	if c.x == nil {
		x, ok := c.p.exchanges.Get().(*exchange)
		if !ok {
			return false
		}
		c.since.Store(0)
		c.x, x.c = x, c
	}
	x := c.x
	again, done := x.run(ctx)
	if !done {
		return false
	}
	if x.script.hop {
		return c.hop(ctx, x)
	}
	c.rested, c.begun = x.ended(), true
	c.x = nil
	x.forget()
	c.p.exchanges.Put(x)
	c.since.Store(c.rested.UnixNano())
	return again
}

// await waits for the first byte of the next request. On a connection that is being parted, one that has come already
// is still served.
func (c *Conn) await() bool {
	const moment = time.Millisecond
	limit := time.Now().Add(c.p.o.IdleTimeout)
	for !c.pipelined() {
		err := c.hear(limit, c.isParting)
		if errors.Is(err, errParted) {
			if err = c.fill(time.Now().Add(moment), c.p.o.MaxHead); errors.Is(err, errTimeout) {
				c.shut = true
			}
		}
		if err != nil {
			if errors.Is(err, errTimeout) {
				c.end = endLinger
			}
			return false
		}
	}
	return true
}

// pipelined says whether something of the next request has been read. One empty line is not a request: old
// clients send it after a body, and the codec passes it over.
func (c *Conn) pipelined() bool {
	b := c.in.Bytes()
	return string(b) != "\r" && len(bytes.TrimPrefix(b, []byte("\r\n"))) > 0
}

var (
	errTimeout = errors.New("nothing came in time")
	errHushed  = errors.New("told to stop reading")
)

// fill reads once from the client. The error is errTimeout after limit, errHushed, errInside, upstream.ErrTooLarge, or
// the connection's.
func (c *Conn) fill(limit time.Time, most int) error { return c.fillUnless(nil, limit, most) }

// hear is fill for a head, unless over says that none is waited for any more: then it returns errParted. It may return
// without having read, so that the caller looks again.
func (c *Conn) hear(limit time.Time, over func() bool) error {
	return c.fillUnless(over, limit, c.p.o.MaxHead)
}

func (c *Conn) fillUnless(over func() bool, limit time.Time, most int) error {
	if c.inside {
		return errInside
	}
	for {
		now := time.Now()
		if c.read.Move(now, limit) {
			_ = c.nc.SetReadDeadline(limit) // a closed connection says so when it is read
		}
		switch { // looked at after the deadline was set: whoever says so sets another one after
		case c.hush.Load():
			return errHushed
		case over != nil && over():
			return errParted
		}
		n, err := c.in.Fill(c.nc, most)
		switch {
		case n > 0:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case c.hush.Load():
			return errHushed
		case !time.Now().Before(limit):
			return errTimeout
		}
		c.read = upstream.Alarm{} // it may be another's deadline that has passed: see rouse
		if over != nil {
			return nil
		}
	}
}

// write writes all of b to the client, which must take some of it every StallTimeout.
func (c *Conn) write(b []byte) error {
	if c.inside && !c.cut.Load() {
		n, err := upstream.Send(c.fd, b)
		if !errors.Is(err, upstream.ErrLater) {
			return err
		}
		b = b[n:]
	}
	if c.hurried.Load() {
		c.hurried.Store(false)
		c.wrote = upstream.Alarm{}
	}
	_, err := writeAll(c.nc, &c.wrote, b, patience{stall: c.p.o.StallTimeout})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.end = endReset // it reads nothing: what waits for it in the socket would stay there
	}
	return err
}

// finish closes the connection as c.end says. It is deferred by Serve.
func (c *Conn) finish(ctx context.Context, lost *int) {
	if v := recover(); v != nil {
		c.inside = false
		c.panicked(ctx, v)
	}
	switch tcp, isTCP := c.nc.(*net.TCPConn); {
	case c.end == endLinger && !c.cut.Load():
		c.linger()
	case c.end == endReset && isTCP:
		_ = tcp.SetLinger(0)
	case c.end == endReset && c.tls != nil:
		c.tls.Abort()
	}
	_ = c.nc.Close()
	c.p.conns.drop(c)
	c.p.buffers.Put(c.in)
	c.traffic.ActiveConnects.Add(-1)
	*lost = int(c.lost.Load())
}

// panicked settles what a panic left open. A panic in the feeder arrives here too; see exchange.feed.
func (c *Conn) panicked(ctx context.Context, v any) {
	c.traffic.Panics.Inc()
	c.p.o.Log.ErrorContext(ctx, "a connection was lost to a panic", "panic", v, "stack", string(debug.Stack()))
	if x := c.x; x != nil {
		x.abandon()
	}
	c.end = endReset
}

// linger waits until the client has closed too: a connection that is closed with bytes unread is reset, and the
// reset may overtake the answer (RFC 9112 section 9.6).
func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.in == nil {
		c.in = c.p.buffers.Get()
	}
	c.in.Skip(len(c.in.Bytes()))
	for limit := time.Now().Add(c.p.o.LingerTimeout); c.fill(limit, window) == nil && time.Now().Before(limit); {
		if c.shut && c.pipelined() {
			c.shut = false
			c.missed()
		}
		c.in.Skip(len(c.in.Bytes()))
	}
}

// Refuse turns the connection away because there are too many, and closes it. It is called instead of Serve
// and does not block.
func (c *Conn) Refuse() {
	c.look(c.p.state.Load())
	if c.listener != nil {
		c.listener.Traffic.Overflow.Inc()
	}
	if c.tls != nil { // an answer would take a handshake
		c.tls.Abort()
		return
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, _ = c.nc.Write(http1.AppendAnswer(nil, &http1.Answer{
		Status: 503, Body: []byte("Service Unavailable: too many connections.\n"), Close: true,
	}))
	_ = c.nc.Close()
}
