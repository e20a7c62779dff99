package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/upstream"
)

// switchOver passes a 101 on and turns the two connections into a tunnel until both sides have ended.
func (x *exchange) switchOver() outcome {
	if !x.upgrade || !bytes.EqualFold(x.resp.Upgrade, x.req.Upgrade) {
		return x.unheard(&http1.Error{Status: 502, Reason: "it switched protocols unasked"})
	}
	if err := x.handshook(); err != nil {
		return x.unheard(err)
	}
	x.join()
	x.close = false
	x.out = http1.AppendResponse(x.out[:0], &x.resp, x.edits.answered(x))
	var err error
	if x.c.stream != nil {
		err = x.writeHead(false)
	} else {
		err = x.c.write(x.out)
	}
	if err != nil {
		return outcome{verdict: gone, reason: "the client left before its answer"}
	}
	took := time.Since(x.sentAt)
	x.resp.Close = true // neither connection carries HTTP any more
	x.close = true
	x.turnsOut(drain.WebSocket) // the only protocol that the codec lets a client ask for
	t := tunnel{idle: x.c.p.o.TunnelTimeout, stall: x.c.p.o.StallTimeout, x: x}
	t.seams.start(frames)
	x.delist()
	x.tunnelled = true
	x.enlist()
	x.torn = !t.run(
		side{x.c.nc, x.c.in},
		side{x.conn, x.conn.Buffer},
	)
	x.endpoint.answered(101, took)
	o := outcome{verdict: whole, kind: t.kind()}
	if x.isParted = x.isParted || x.torn && x.parts(); x.isParted {
		o.reason = x.partedReason()
	}
	return o
}

// A side is one end of a tunnel: its connection, and what was read from it and not yet passed on.
type side struct {
	net.Conn
	buffer *upstream.Buffer
}

// A tunnel carries bytes both ways. It ends when both sides have closed their half, when one is broken, or when
// neither has said anything for idle; and when it is parted.
type tunnel struct {
	idle, stall time.Duration
	x           *exchange     // whose tunnel it is; nil for nobody's
	seams       seams         // of what the endpoint says
	heard       atomic.Int64  // when either side last said something, in Unix nanoseconds
	by          atomic.Int64  // once it is parted, when both sides must have ended, likewise; before, 0
	torn        atomic.Uint32 // how, as 1 + ending.Kind; 0 while it is whole
}

// run says whether both sides have ended as they wished.
func (t *tunnel) run(client, endpoint side) (inOrder bool) {
	t.heard.Store(time.Now().UnixNano())
	thrown := make(chan any, 1) // room for one: nobody may be there to hear it
	go func() {
		defer func() { thrown <- recover() }()
		t.carry(client, endpoint, false)
	}()
	t.carry(endpoint, client, true)
	if v := <-thrown; v != nil {
		panic(v) // of this connection, not of the process
	}
	return t.torn.Load() == 0
}

// kind is how the tunnel has ended, unless we parted it. One that was silent for too long has served whom it could.
func (t *tunnel) kind() ending.Kind {
	if torn := t.torn.Load(); torn > 0 {
		return ending.Kind(torn - 1) //nolint:gosec // as it was stored
	}
	return ending.Served
}

// tear notes that the tunnel broke while something was read from, or written to, one side. Whoever is first is right.
func (t *tunnel) tear(client bool, err error) {
	kind := ending.Cut
	switch {
	case errors.Is(err, errTimeout):
		kind = ending.Served
	case client:
		kind = ending.Aborted
	}
	t.torn.CompareAndSwap(0, 1+uint32(kind))
}

// carry passes on what from says until it ends, then closes that half of to. When either breaks, both do, so that what
// was cut does not look whole. out is the direction to the client, which is that of the exchange's own goroutine.
func (t *tunnel) carry(from, to side, out bool) {
	var read, wrote upstream.Alarm
	ended, client := false, out // whose fault it is if it has not
	var why error
	defer func() {
		if !ended {
			t.tear(client, why)
			breakOff(from.Conn)
			breakOff(to.Conn)
		}
	}()
	for {
		parted := out && t.parts()
		if t.pass(from, to, &wrote, out, parted) != nil {
			return
		}
		if parted {
			ended = t.takeLeave(from, to, &read, &wrote)
			return
		}
		if err := t.listen(from, &read, out); err != nil && !errors.Is(err, errParted) {
			if ended = errors.Is(err, io.EOF) && closeHalf(to.Conn); !errors.Is(err, io.EOF) {
				client, why = !out, err
			}
			return
		}
	}
}

// pass passes on what was read, to a seam if it is to stop there.
func (t *tunnel) pass(from, to side, wrote *upstream.Alarm, out, stop bool) error {
	b := from.buffer.Bytes()
	if out {
		b = b[:t.seams.pass(b, stop)]
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := writeAll(to.Conn, wrote, b, patience{stall: t.stall}); err != nil {
		return err
	}
	from.buffer.Skip(len(b))
	push(to.Conn)
	return nil
}

// parts says whether the tunnel is to be ended.
func (t *tunnel) parts() bool { return t.x != nil && t.x.parts() }

// goingAway is a Close frame with the code 1001 (RFC 6455 section 7.4.1), as a server sends it: unmasked. Control frames
// are never compressed, and may stand between the fragments of a message.
const goingAway = "\x88\x02\x03\xe9"

// takeLeave ends a tunnel that is parted: the client gets the rest of the frame that is on its way, a Close frame, and
// nothing after it; the endpoint gets what the client says to that. ended is false where that takes too long or cannot be:
// then the tunnel is cut. One that the endpoint is closing has a moment to close.
func (t *tunnel) takeLeave(endpoint, client side, read, wrote *upstream.Alarm) (ended bool) {
	x := t.x
	defer func() { x.isParted = x.isParted || !ended }()
	t.by.Store(x.partBy.UnixNano())
	_ = client.SetReadDeadline(time.Unix(1, 0)) // who reads there shall look at it
	for !t.seams.at() {
		if t.listen(endpoint, read, false) != nil || t.pass(endpoint, client, wrote, true, true) != nil {
			return false
		}
	}
	if !t.seams.over {
		x.isParted = true
		if _, err := writeAll(client.Conn, wrote, []byte(goingAway), patience{stall: x.c.p.farewellTime()}); err != nil {
			return false
		}
		push(client.Conn)
		x.inform()
	}
	for {
		endpoint.buffer.Skip(len(endpoint.buffer.Bytes()))
		if err := t.listen(endpoint, read, false); err != nil {
			return errors.Is(err, io.EOF) && closeHalf(client.Conn)
		}
	}
}

// listen reads once from s. It returns errParted when the tunnel is to be ended, if that is to be heard.
func (t *tunnel) listen(s side, read *upstream.Alarm, hears bool) error {
	for {
		now := time.Now()
		limit := time.Unix(0, t.heard.Load()).Add(t.idle)
		by := t.by.Load()
		if by != 0 {
			limit = time.Unix(0, by)
		}
		if !now.Before(limit) {
			return errTimeout
		}
		if read.Move(now, limit) {
			_ = s.SetReadDeadline(limit) // a closed connection says so when it is read
		}
		switch { // looked at after the deadline was set: whoever says so sets another one after
		case hears && t.parts():
			return errParted
		case by != t.by.Load():
			continue
		}
		n, err := s.buffer.Fill(s.Conn, window)
		if n > 0 {
			t.heard.Store(time.Now().UnixNano())
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		*read = upstream.Alarm{} // it may be another's deadline that has passed: see rouse
	}
}

// breakOff closes nc so that the other end does not take it for an orderly end.
func breakOff(nc net.Conn) {
	under := nc
	if c, ok := nc.(*upstream.Conn); ok {
		under = c.Conn
	}
	switch c := under.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0)
	case Secured:
		c.Abort()
	}
	_ = nc.Close()
}

// closeHalf tells the other end of nc that no more comes, and says whether nc can do that.
func closeHalf(nc net.Conn) bool {
	if c, ok := nc.(*upstream.Conn); ok {
		nc = c.Conn
	}
	half, ok := nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
