package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

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
	t := tunnel{idle: x.c.p.o.TunnelTimeout, stall: x.c.p.o.StallTimeout}
	t.run(
		side{x.c.nc, x.c.in},
		side{x.conn, x.conn.Buffer},
	)
	x.endpoint.answered(101, took)
	return outcome{verdict: whole}
}

// A side is one end of a tunnel: its connection, and what was read from it and not yet passed on.
type side struct {
	net.Conn
	buffer *upstream.Buffer
}

// A tunnel carries bytes both ways. It ends when both sides have closed their half, when one is broken, or when
// neither has said anything for idle.
type tunnel struct {
	idle, stall time.Duration
	heard       atomic.Int64 // when either side last said something, in Unix nanoseconds
}

func (t *tunnel) run(a, b side) {
	t.heard.Store(time.Now().UnixNano())
	thrown := make(chan any, 1) // room for one: nobody may be there to hear it
	go func() {
		defer func() { thrown <- recover() }()
		t.carry(a, b)
	}()
	t.carry(b, a)
	if v := <-thrown; v != nil {
		panic(v) // of this connection, not of the process
	}
}

// carry passes on what from says until it ends, then closes that half of to. When either breaks, both do, so that what
// was cut does not look whole.
func (t *tunnel) carry(from, to side) {
	var read, wrote upstream.Alarm
	ended := false
	defer func() {
		if !ended {
			breakOff(from.Conn)
			breakOff(to.Conn)
		}
	}()
	for {
		if b := from.buffer.Bytes(); len(b) > 0 {
			if _, err := writeAll(to.Conn, &wrote, b, patience{stall: t.stall}); err != nil {
				return
			}
			from.buffer.Skip(len(b))
			push(to.Conn)
		}
		if err := t.listen(from, &read); err != nil {
			ended = errors.Is(err, io.EOF) && closeHalf(to.Conn)
			return
		}
	}
}

// listen reads once from s.
func (t *tunnel) listen(s side, read *upstream.Alarm) error {
	for {
		now := time.Now()
		limit := time.Unix(0, t.heard.Load()).Add(t.idle)
		if !now.Before(limit) {
			return errTimeout
		}
		if read.Move(now, limit) {
			_ = s.SetReadDeadline(limit) // a closed connection says so when it is read
		}
		n, err := s.buffer.Fill(s.Conn, window)
		if n > 0 {
			t.heard.Store(time.Now().UnixNano())
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
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
