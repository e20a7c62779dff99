package proxy

import (
	"sync/atomic"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
)

// A tally counts requests by protocol, for the report of a leave.
//
// A request is opened when its first byte has come, or the head of its stream, as HTTP1 or HTTP2, and goes over to
// another protocol when it turns out to be one: a call with its head, server-sent events with the head of their answer,
// a WebSocket or another tunnel when the endpoint has switched.
type tally struct {
	opened, completed, failed, cut, told [drain.Protocols]atomic.Uint64
}

// Tally returns what became of the requests since the proxy was made.
//
//   - Opened are those that the listeners count as Total, Open those that they count as Active.
//   - Completed: the client got a whole answer, also one of our own, such as the 400 to a malformed request or the 503
//     where no endpoint is; or a tunnel was ended by one of its sides.
//   - Failed: the endpoint broke off its answer or the tunnel, the client left, or a fault of ours ended it.
//   - Cut: [Conn.Part], [Proxy.PartEndpoint] or [Conn.Cut] ended it before it was over, with a word or without; and a
//     request that came to an idle connection on which Part had ended our half already.
//   - Told, whatever else became of it: its answer said Connection: close because we leave, or Part ended it with a 503, a
//     status of gRPC, a Close frame, or after a whole event.
//
// Opened of HTTP1 and HTTP2 falls when one of theirs goes over to another protocol.
func (p *Proxy) Tally() drain.Tally { return p.tally.read() }

func (t *tally) read() (all drain.Tally) {
	for i := range all {
		c := &all[i]
		c.Completed, c.Failed, c.Cut = t.completed[i].Load(), t.failed[i].Load(), t.cut[i].Load()
		c.Told = t.told[i].Load()
		ended := c.Completed + c.Failed + c.Cut
		c.Opened = max(ended, t.opened[i].Load()) // read last: who has ended was opened
		c.Open = int(c.Opened - ended)
	}
	return all
}

// open counts a request as one that has begun.
func (t *tally) open(p drain.Protocol) { t.opened[p].Add(1) }

// turn counts one of protocol from as one of protocol to.
func (t *tally) turn(from, to drain.Protocol) {
	t.opened[to].Add(1)
	t.opened[from].Add(^uint64(0))
}

// An endedAs is how a request has ended.
type endedAs uint8

const (
	endedWell endedAs = iota
	endedBroken
	endedByUs
)

// end counts one that has ended.
func (t *tally) end(p drain.Protocol, as endedAs, told bool) {
	switch as {
	case endedWell:
		t.completed[p].Add(1)
	case endedBroken:
		t.failed[p].Add(1)
	case endedByUs:
		t.cut[p].Add(1)
	}
	if told {
		t.told[p].Add(1)
	}
}

// Told returns how many clients' connections have heard that they will end because we leave: with an answer, by GOAWAY,
// or when they were parted.
func (p *Proxy) Told() uint64 { return p.told.Load() }

// Told says whether the connection's client has heard that the connection will end because we leave.
func (c *Conn) Told() bool { return c.root().toldOnce.Load() }

// tell counts the connection as told.
func (c *Conn) tell() {
	if c = c.root(); !c.toldOnce.Load() && !c.toldOnce.Swap(true) {
		c.p.told.Add(1)
	}
}

// Open returns how many requests are open on the connection: those that end by their nature, and those that last.
func (c *Conn) Open() (requests, long int) {
	total := 0
	if h2 := c.h2.Load(); h2 != nil {
		total, _ = h2.OpenStreams()
	} else if c.since.Load() == 0 {
		total = 1
	}
	long = min(total, int(c.long.Load()))
	return total - long, long
}

// count opens x in the tally.
func (x *exchange) count() {
	x.protocol = drain.HTTP1
	if x.c.stream != nil {
		x.protocol = drain.HTTP2
	}
	x.c.p.tally.open(x.protocol)
}

// uncount takes x back, which is counted anew as something else.
func (x *exchange) uncount() { x.c.p.tally.opened[x.protocol].Add(^uint64(0)) }

// turnsOut has x counted as what it has turned out to be.
func (x *exchange) turnsOut(p drain.Protocol) {
	if p == x.protocol {
		return
	}
	x.c.p.tally.turn(x.protocol, p)
	if t := x.frontTally(); t != nil {
		t.turn(x.protocol, p)
	}
	if p.Lasts() && !x.protocol.Lasts() {
		x.c.root().long.Add(1)
	}
	x.protocol = p
}

// tallied ends x in the tally, and says whether it was cut.
func (x *exchange) tallied(o *outcome) (byUs bool) {
	broke := o.verdict == cut || o.verdict == gone || x.torn
	as := endedWell
	switch {
	case x.isParted, broke && x.c.isCut():
		x.c.lose()
		as, byUs = endedByUs, true
	case broke:
		as = endedBroken
	}
	x.c.p.tally.end(x.protocol, as, x.informed)
	if t := x.frontTally(); t != nil {
		t.end(x.protocol, as, x.informed)
	}
	if x.protocol.Lasts() {
		x.c.root().long.Add(-1)
	}
	return byUs
}

// missed counts a request that came when no answer could be given any more.
func (c *Conn) missed() {
	c.traffic.Requests.Total.Inc()
	c.traffic.Requests.Cut.Inc()
	c.traffic.Requests.Ended(ending.Parted)
	c.p.tally.opened[drain.HTTP1].Add(1)
	c.p.tally.cut[drain.HTTP1].Add(1)
	c.missedDirect()
	c.lose()
}

// root is the connection that c is, or is a stream of.
func (c *Conn) root() *Conn {
	if c.under != nil {
		return c.under
	}
	return c
}
