package http2

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"time"

	frame "golang.org/x/net/http2"

	"crossfade.dev/internal/http1"
)

const (
	frameHead = 9        // bytes before a frame's payload
	outBound  = 64 << 10 // bytes that wait to be written, beyond which bodies wait too
	outUsual  = 16 << 10 // what is written without being asked
)

// A packet is what leaves in one write.
type packet struct{ b []byte }

// An outlet takes frames to the packet that leaves next.
type outlet struct {
	memory *Memory
	next   *packet
}

func (o *outlet) Write(b []byte) (int, error) {
	p := o.packet()
	p.b = append(p.b, b...)
	return len(b), nil
}

func (o *outlet) packet() *packet {
	if o.next == nil {
		o.next = o.memory.packet()
	}
	return o.next
}

func (o *outlet) drop() {
	if o.next != nil {
		o.memory.putPacket(o.next)
		o.next = nil
	}
}

func (o *outlet) len() int {
	if o.next == nil {
		return 0
	}
	return len(o.next.b)
}

// flush writes what waits, unless somebody does already. mu is held before and after, but not meanwhile.
//
// Where several handlers run, whoever comes first lets the others have their say before it writes.
func (c *Conn) flush() {
	if c.flushing || c.out.len() == 0 {
		return
	}
	c.flushing = true
	if c.running > 1 || c.client && c.open > 1 {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for round := 0; c.out.len() > 0; round++ {
		if round == 2 { // the caller has a stream of its own to serve
			go c.carryOn()
			return
		}
		c.writeOut()
	}
	c.flushing = false
	c.calm.Broadcast()
}

// carryOn is a flush that has begun already.
func (c *Conn) carryOn() {
	c.mu.Lock()
	for c.out.len() > 0 {
		c.writeOut()
	}
	c.flushing = false
	c.calm.Broadcast()
	c.unlock()
}

func (c *Conn) writeOut() {
	p := c.out.next
	c.out.next, c.owed = nil, 0
	c.begun += uint64(len(p.b))
	var err error
	for left := p.b; len(left) > 0 && err == nil; {
		c.extend()
		c.mu.Unlock()
		var n int
		n, err = c.nc.Write(left)
		c.mu.Lock()
		if left = left[n:]; n > 0 && c.cause == nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // slow, but alive
		}
		if err != nil {
			c.begun -= uint64(len(left))
		}
	}
	c.o.Memory.putPacket(p)
	if err != nil && c.cause == nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.o.Stats.TimedOut.Inc()
		}
		c.breakOff(err)
		_ = c.nc.Close() // the reader hears it
	}
	c.wakeBlocked()
}

// extend gives the peer time to take some of what is written next. It is not done for every write: it costs.
func (c *Conn) extend() {
	switch now := time.Now(); {
	case c.cause != nil:
		_ = c.nc.SetWriteDeadline(now.Add(lingerTime))
	case c.writeBy.Sub(now) < c.o.StallTimeout/2:
		c.writeBy = now.Add(c.o.StallTimeout)
		_ = c.nc.SetWriteDeadline(c.writeBy)
	}
}

// flushSoon has what waits written by somebody who may be kept waiting. The reader may not: a peer that waits for us
// to read would wait for ever.
func (c *Conn) flushSoon() {
	if !c.flushing && c.out.len() > 0 {
		c.flushing = true
		go c.carryOn()
	}
}

// frameHeader appends the header of a frame whose payload of n bytes follows.
func (c *Conn) frameHeader(t frame.FrameType, flags frame.Flags, id uint32, n int) *packet {
	p := c.out.packet()
	p.b = append(p.b, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	p.b = binary.BigEndian.AppendUint32(p.b, id)
	return p
}

func (c *Conn) putData(id uint32, b []byte, end bool) {
	var flags frame.Flags
	if end {
		flags = frame.FlagDataEndStream
	}
	p := c.frameHeader(frame.FrameData, flags, id, len(b))
	p.b = append(p.b, b...)
	c.useful++
}

// putHead appends a head, or trailers if h is nil.
func (c *Conn) putHead(id uint32, h *Head, fields []http1.Field, end bool) {
	flags := frame.FlagHeadersEndHeaders
	if end {
		flags |= frame.FlagHeadersEndStream
	}
	start := c.out.len()
	p := c.frameHeader(frame.FrameHeaders, flags, id, 0)
	if h != nil {
		p.b = c.encoder.appendHead(p.b, h)
	} else {
		p.b = c.encoder.appendTrailers(p.b, fields)
	}
	c.useful++
	n := len(p.b) - start - frameHead
	if n <= frameSize {
		p.b[start], p.b[start+1], p.b[start+2] = byte(n>>16), byte(n>>8), byte(n)
		return
	}
	block := append([]byte(nil), p.b[start+frameHead:]...)
	p.b = p.b[:start]
	t, flags := frame.FrameHeaders, flags&^frame.FlagHeadersEndHeaders
	for len(block) > 0 {
		k := min(len(block), frameSize)
		if k == len(block) {
			flags |= frame.FlagContinuationEndHeaders // the same bit in both types
		}
		c.frameHeader(t, flags, id, k)
		_, _ = c.out.Write(block[:k])
		block = block[k:]
		t, flags = frame.FrameContinuation, 0
	}
}

func (c *Conn) putReset(id uint32, code Code) {
	_ = c.framer.WriteRSTStream(id, code)
	c.o.Stats.ResetsOut.Inc()
}

func (c *Conn) goAway(last uint32, code Code, reason string) {
	_ = c.framer.WriteGoAway(last, code, []byte(reason))
	c.o.Stats.GoAwaysOut.Inc()
}

// owe counts an answer that the peer makes us give. One that makes us give them and takes none is too much.
func (c *Conn) owe() error {
	if c.owed++; c.owed > maxOwed {
		return c.flood(AnswerFlood)
	}
	return nil
}
