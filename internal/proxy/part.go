package proxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/http2"
)

// Parting ends what is open before it is over, each in the words of its protocol.
//
// Nobody is ended from outside: whoever parts something says so, then rouses who may be waiting, and each exchange looks
// for itself whether it is meant, whenever it is about to wait. To rouse is to let a deadline pass, which does no harm to
// those who are not meant: they set it again, and go on waiting. What may be reached so are the client's connection of
// HTTP/1.1, and the endpoints' connections of exchanges that are enlisted, as all are that wait for long.

var errParted = errors.New("parted")

// Whys of outcomes, for clients and the log.
const (
	partedReason = "the gateway is leaving, and the time for requests is over: try again"
	lastedReason = "the gateway is leaving, and the time for what lasts is over: try again"
	oustedReason = "the endpoint is leaving, and the time for what is open to it is over: try again"
	cutReason    = "the gateway cut the connection"
)

// A parting is what a connection knows of its end.
type parting struct {
	calls    atomic.Uint64 // of Part; in the upper half, those with long
	settled  atomic.Bool   // reads may be roused: there is no handshake of TLS under way
	long     atomic.Int32  // exchanges that last
	toldOnce atomic.Bool   // its client has heard that we leave
	hurried  atomic.Bool   // whoever writes next sets the deadline anew

	mu   sync.Mutex  // also held while deadlines are set from outside, and while the connection goes over to HTTP/2
	list []*exchange // that wait for long, or have
}

const longCall = 1 << 32

// Part ends what is open on the connection, and then the connection: requests, or with long also what lasts by its nature
// (see drain.Protocol). It returns at once. What comes later is served, and told that the connection ends; and a request
// that has only just come has a moment to be answered: whoever parts what seems idle does not end what is not.
//
//   - Of what has no answer yet, the client gets a 503 with Connection: close, and time to read it; calls of gRPC get the
//     status UNAVAILABLE.
//   - Calls whose answer has begun end with that status as trailers, after a whole message; server-sent events end in
//     order, after a whole event; a WebSocket's client gets a Close frame with the code 1001 after a whole frame, nothing
//     after it, and a moment for its reply, which the endpoint gets. Where that whole does not come in a moment, it is cut.
//   - Any other answer is cut, so that it does not look whole.
//   - A client of HTTP/2 hears which stream was the last; its connection ends with the last that is open. Where none is, it
//     hears so, without long, no sooner than it has had the time to learn that there will be a last one.
//   - A client of HTTP/1.1 that has nothing open, and has sent nothing, finds our half of the connection closed. A request
//     that crosses that on the way is lost, and counted as cut: no answer can follow the end, and no endpoint has seen it.
func (c *Conn) Part(long bool) {
	call := uint64(1)
	if long {
		call |= longCall
	}
	c.calls.Add(call)
	c.rouse()
	if c.h2.Load() != nil && long {
		time.AfterFunc(c.p.farewellTime()+grace, c.Cut) // streams whose client takes nothing cannot be roused
	}
}

// farewellTime is how long what was parted has for its last words: for the rest of an event or a frame, for the reply to a
// Close frame. It is part of what a client has to read its last answer, usually 2 s; a request that has only just come has
// half of that to be answered.
func (p *Proxy) farewellTime() time.Duration { return p.o.LingerTimeout * 2 / 5 }

// rouse wakes who waits on the connection.
func (c *Conn) rouse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch h2 := c.h2.Load(); {
	case h2 != nil: // deadlines are its own
		c.partStreams(h2)
	case c.settled.Load():
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		if c.calls.Load() >= longCall || c.long.Load() == 0 {
			_ = c.nc.SetWriteDeadline(time.Now().Add(c.p.farewellTime()))
			c.hurried.Store(true)
		}
	}
	for _, x := range c.list {
		x.rouse()
	}
}

// partStreams ends a connection of HTTP/2: at once, or, where nothing is open and nothing was asked of what lasts, as soon
// as its client has heard. A request may be on its way to it, and not every client sends one elsewhere that came too late.
func (c *Conn) partStreams(h2 *http2.Server) {
	if open, _ := h2.OpenStreams(); open == 0 && c.calls.Load() < longCall {
		h2.Leave()
	} else {
		h2.LeaveNow()
	}
	c.tell()
}

// isParting says whether the connection is to end once nothing is open.
func (c *Conn) isParting() bool { return c.root().calls.Load() > 0 }

// enlist lets x be roused: it holds a connection to its endpoint, or is about to wait for one.
func (x *exchange) enlist() {
	c := x.c.root()
	if x.enlisted {
		return
	}
	x.enlisted = true
	c.mu.Lock()
	defer c.mu.Unlock()
	x.place = len(c.list)
	c.list = append(c.list, x)
	if c.p.ousted.has(x.endpoint.Incarnation) {
		x.ousted.Store(true)
	}
}

// delist takes that back, before its connection is somebody else's.
func (x *exchange) delist() {
	if !x.enlisted {
		return
	}
	x.enlisted = false
	c := x.c.root()
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.list) - 1
	c.list[x.place] = c.list[last]
	c.list[x.place].place = x.place
	c.list[last] = nil
	c.list = c.list[:last]
}

// rouse wakes x where it waits. The list is locked.
func (x *exchange) rouse() {
	if x.giveUp != nil {
		x.giveUp()
		return
	}
	_ = x.conn.SetReadDeadline(time.Unix(1, 0))
	if x.tunnelled {
		_ = x.c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// parts says whether x is to be ended. It is asked by the exchange's own goroutine.
func (x *exchange) parts() bool {
	if n := x.c.p.ousted.calls.Load(); n != x.ousters && x.endpoint != nil { // who never waits for long is not on the list
		x.ousters = n
		if x.c.p.ousted.has(x.endpoint.Incarnation) {
			x.ousted.Store(true)
		}
	}
	calls := x.c.root().calls.Load()
	meant := calls != x.calls && (calls/longCall != x.calls/longCall || !x.protocol.Lasts()) || x.ousted.Load()
	if !meant || !x.partBy.IsZero() {
		return meant
	}
	now := time.Now()
	if !x.protocol.Lasts() {
		if x.spared = x.start.Add(x.c.p.farewellTime() / 2); now.Before(x.spared) {
			return false
		}
	}
	x.partBy = now.Add(x.c.p.farewellTime())
	return true
}

// spare returns limit, or when x is no longer spared, if it is to be parted and that is sooner.
func (x *exchange) spare(limit time.Time) time.Time {
	if !x.spared.IsZero() && x.partBy.IsZero() && x.spared.Before(limit) {
		return x.spared
	}
	return limit
}

// parted is the outcome of an exchange that was parted: status is that of an answer of our own, 0 where another one has
// begun.
func (x *exchange) parted(status int) outcome {
	o := outcome{verdict: cut, kind: ending.Parted, reason: x.partedReason()}
	if x.isParted = true; status != 0 {
		o.verdict, o.status = refused, status
		x.inform()
	}
	return o
}

func (x *exchange) partedReason() string {
	switch {
	case x.ousted.Load():
		return oustedReason
	case x.protocol.Lasts():
		return lastedReason
	}
	return partedReason
}

// inform counts the request as told, and its connection, unless it is the endpoint that leaves.
func (x *exchange) inform() {
	if x.informed = true; !x.ousted.Load() {
		x.c.tell()
	}
}

// wait is a place to wait for a connection, from which x can be roused. Whoever is done calls end.
func (x *exchange) wait(ctx context.Context) (waiting context.Context, end func()) {
	waiting, giveUp := context.WithCancel(ctx)
	x.giveUp = giveUp
	x.enlist()
	if x.parts() { // looked at after it could be roused
		giveUp()
	}
	return waiting, func() {
		x.delist()
		giveUp()
		x.giveUp = nil
	}
}

// An ouster remembers which incarnations were parted, until nobody can be on the way to one who does not know.
type ouster struct {
	calls atomic.Uint64 // of add
	mu    sync.Mutex
	when  map[string]time.Time
}

const rememberOusted = 10 * time.Minute

func (o *ouster) has(incarnation string) bool {
	if o.calls.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, is := o.when[incarnation]
	return is
}

func (o *ouster) add(incarnation string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.when == nil {
		o.when = map[string]time.Time{}
	}
	for i, since := range o.when {
		if now.Sub(since) > rememberOusted {
			delete(o.when, i)
		}
	}
	o.when[incarnation] = now
	o.calls.Add(1)
}

// PartEndpoint ends whatever is open to an incarnation, as [Conn.Part] would, but for the clients' connections: those
// stay. It is called once the state in force offers that incarnation to nobody any more. It returns at once.
func (p *Proxy) PartEndpoint(incarnation string) {
	p.ousted.add(incarnation, time.Now())
	for _, c := range p.conns.all() {
		c.mu.Lock()
		for _, x := range c.list {
			if x.endpoint.Incarnation == incarnation {
				x.ousted.Store(true)
				x.rouse()
			}
		}
		c.mu.Unlock()
	}
}

// A crowd is the clients' connections that are served.
type crowd struct {
	mu  sync.Mutex
	set map[*Conn]struct{}
}

func (s *crowd) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[*Conn]struct{}{}
	}
	s.set[c] = struct{}{}
}

func (s *crowd) drop(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, c)
}

func (s *crowd) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.set))
	for c := range s.set {
		all = append(all, c)
	}
	return all
}
