package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/upstream"
)

// A client that speaks HTTP/2 is served stream by stream: to an exchange, a stream is a connection that carries one
// request. Its head is written down (see transcript.go); its bodies are read and written plain.

// leaveAfter is how long a client that is told to leave may still open streams: longer than what it sends is on its way.
const leaveAfter = time.Second

// negotiated says whether TLS agreed on HTTP/2.
func (c *Conn) negotiated() bool {
	t, ok := c.nc.(interface{ ConnectionState() tls.ConnectionState })
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

// hails says whether the first bytes may be how HTTP/2 begins.
func (c *Conn) hails() bool {
	if c.begun || c.x != nil {
		return false
	}
	b := c.in.Bytes()
	starts, _ := http2.StartsPreface(b)
	return starts && len(b) > 0
}

// prefaced says whether the connection begins as HTTP/2 does, and waits until that is clear.
func (c *Conn) prefaced() bool {
	for limit := time.Now().Add(c.p.o.HeaderTimeout); c.hails(); {
		if _, whole := http2.StartsPreface(c.in.Bytes()); whole {
			return true
		}
		if c.fill(limit, window) != nil {
			return false
		}
	}
	return false
}

// stranger says whether the connection's first line is three words of which none is HTTP's, neither a target nor a version:
// such as a preface that went wrong. An answer would mean nothing to who sent it.
func (c *Conn) stranger() bool {
	if c.begun {
		return false
	}
	line, _, _ := bytes.Cut(c.in.Bytes(), []byte{'\n'})
	words := bytes.Fields(line)
	return len(words) == 3 && validPath(string(words[0])) && validPath(string(words[1])) && validPath(string(words[2])) &&
		!bytes.ContainsAny(words[1], "/*") && !bytes.ContainsRune(words[2], '/')
}

// streams returns the server of the connection's streams.
func (c *Conn) streams() *http2.Server {
	return http2.NewServer(c.nc, c.in.Bytes(), c.p.h2(c.listener.edge))
}

// serveStreams serves the connection as HTTP/2 from here on.
func (c *Conn) serveStreams(ctx context.Context, h2 *http2.Server) {
	c.p.buffers.Put(c.in)
	c.in = nil
	c.read, c.wrote = upstream.Alarm{}, upstream.Alarm{}
	c.seen.Store(&sight{c.state, c.listener})
	c.state, c.listener = nil, nil // streams look for themselves
	c.traffic.HTTP2.Inc()
	c.mu.Lock()
	_ = c.nc.SetDeadline(time.Time{}) // from here on they are the server's: see rouse
	c.h2.Store(h2)
	c.mu.Unlock()
	if c.door.leaving.Load() || c.cut.Load() || c.p.o.Front.leaves() {
		c.Leave()
	}
	if c.isParting() {
		c.partStreams(h2)
	}
	err := h2.Serve(func(s *http2.Stream) { c.serveStream(ctx, s) })
	if _, broken := errors.AsType[*http2.ConnError](err); broken {
		c.p.o.Log.DebugContext(ctx, "a connection of HTTP/2 broke", "listener", c.door.Name(), "remote", string(c.remote), "error", err)
	}
}

// h2 returns what connections of HTTP/2 allow. A gateway of ours carries the requests of many clients on one
// connection: however many of their bodies are not read, there is room for the others'. A stranger who sends bodies that
// nobody reads keeps only himself waiting, once there are sixteen of them, and little memory busy.
func (p *Proxy) h2(stranger bool) *http2.Options {
	o := &http2.Options{
		MaxStreams: cmp.Or(p.o.MaxStreams, 250), MaxHead: p.o.MaxHead, StreamWindow: 128 << 10, ConnWindow: 2 << 20,
		ExtendedConnect: true, Stats: &p.streams, Memory: &p.memory,
		HandshakeTimeout: p.o.HeaderTimeout, FrameTimeout: p.o.HeaderTimeout,
		StallTimeout: p.o.StallTimeout, IdleTimeout: p.o.IdleTimeout, LeaveAfter: leaveAfter,
	}
	if !stranger {
		o.StreamWindow = 256 << 10
		o.ConnWindow = 2 * o.MaxStreams * o.StreamWindow // up to a half is read before the other side is told
	}
	return o
}

// Leave tells a client of HTTP/2 that its connection will end: it opens no more streams there once it has heard. One of
// HTTP/1.1 is told with its next answer, by [Door.Leave].
func (c *Conn) Leave() {
	if c.cut.Load() {
		c.Cut()
	}
	if h2 := c.h2.Load(); h2 != nil {
		h2.Leave()
		c.tell()
	}
}

// serveStream serves one stream.
func (c *Conn) serveStream(ctx context.Context, s *http2.Stream) {
	x, ok := c.p.exchanges.Get().(*exchange)
	if !ok {
		return
	}
	own := &x.own
	own.become(c, s)
	x.c, own.x = own, x
	defer func() {
		if v := recover(); v != nil {
			own.panicked(ctx, v)
			s.Reset(http2.InternalError)
			return // with the exchange: nobody knows what it is worth
		}
	}()
	x.run(ctx)
	if own.end == endReset {
		s.Reset(own.code)
	}
	c.p.buffers.Put(own.in)
	own.in, own.x, own.under, own.stream, own.nc = nil, nil, nil, nil, nil
	x.forget()
	c.p.exchanges.Put(x)
}

// become makes c what an exchange sees of a stream of under.
func (c *Conn) become(under *Conn, s *http2.Stream) {
	c.p, c.door, c.secure, c.tls, c.remote = under.p, under.door, under.secure, under.tls, under.remote
	c.traffic, c.under, c.stream, c.nc = under.traffic, under, s, http2.Pipe{Stream: s}
	seen := under.seen.Load()
	c.state, c.listener = seen.state, seen.listener
	c.read, c.wrote = upstream.Alarm{}, upstream.Alarm{}
	c.end, c.begun, c.code = endPlain, true, http2.InternalError
	lower(&c.hush)
}

// lose counts a request that Cut or Part lost.
func (c *Conn) lose() {
	if c.under != nil {
		c = c.under
	}
	c.lost.Add(1)
}

// transcribe writes the stream's request down and parses it.
func (x *exchange) transcribe() error {
	h := x.c.stream.Request()
	x.grpc = isGRPC(h)
	x.script.text = x.script.appendRequest(x.script.text[:0], h)
	n, err := x.req.Parse(x.script.text)
	if err != nil {
		return err
	}
	if n != len(x.script.text) {
		return &http1.Error{Status: 400, Reason: "the request's head does not end where it ends"}
	}
	x.parsed = true
	if x.grpc {
		x.feeder.lasting, x.timeout = true, callTimeout(&x.req)
		x.turnsOut(drain.GRPC)
	}
	return nil
}

// writeHead writes the head that x.out has.
func (x *exchange) writeHead(end bool) error {
	h, err := x.script.readResponse(x.out, x.method)
	x.out = x.out[:0]
	if err != nil {
		return err
	}
	if x.unsized {
		h.Sized = false
	}
	return x.c.stream.WriteHead(h, end)
}

// tellStream is tell for a stream.
func (x *exchange) tellStream(out []byte) error {
	s, b := x.c.stream, &x.answer
	if b.from == http1.NoBody || len(out) == 0 && !b.done || b.from == http1.Length && b.done && len(out) == 0 {
		return nil // nothing, or the head said that nothing follows
	}
	trailers := x.reports(b)
	if _, err := s.WriteBody(out, b.done && trailers == nil); err != nil {
		return err
	}
	if b.done && trailers != nil {
		return s.WriteTrailers(trailers)
	}
	return nil
}

// trailing returns the trailers of a body that is done, nil for none. It changes them.
func trailing(b *body) []http1.Field {
	if !b.done || len(b.trailers) == 0 {
		return nil
	}
	kept := b.trailers[:0]
	for _, f := range b.trailers {
		if http1.MayTrail(f.Name) || b.loads && http1.EqualFold(f.Name, FieldLoadBin) {
			kept = append(kept, f)
		}
	}
	if b.trailers = kept; len(kept) == 0 {
		return nil
	}
	return kept
}

// flush has the client get what was written, before something is waited for.
func (x *exchange) flush() {
	if x.c.stream == nil || x.conn.Stream != nil && x.conn.Stream.Ready() {
		return
	}
	x.c.stream.Flush()
}

// replyStream writes the answer of our own that x.out has; to a call of gRPC, in the words of gRPC.
func (x *exchange) replyStream(o *outcome) error {
	if x.grpc && o.reason != "" {
		return x.c.stream.WriteHead(x.marked(x.script.refusal(o)), true)
	}
	method := x.method
	if !x.parsed {
		method = x.c.stream.Request().Method
	}
	h, err := x.script.readResponse(x.out, method)
	if err != nil {
		return err
	}
	if x.c.stream.Request().Protocol != nil && h.Status < 300 {
		h.Status = 502 // or it would say that the tunnel stands (RFC 8441 section 5)
	}
	_, text, _ := bytes.Cut(x.out, []byte("\r\n\r\n"))
	if err := x.c.stream.WriteHead(h, len(text) == 0); err != nil || len(text) == 0 {
		return err
	}
	_, err = x.c.stream.WriteBody(text, true)
	return err
}

// guard ends the endpoint's stream when the client leaves, also while that is what the feeder waits for. What it returns
// ends the guard.
func (f *feeder) guard(c *Conn, conn *upstream.Conn) (end func()) {
	var mu sync.Mutex // the connection is somebody else's once the guard has ended
	var over, left bool
	c.stream.OnGone(func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			left = true
			_ = conn.Close()
		}
	})
	return func() {
		c.stream.OnGone(nil)
		mu.Lock()
		defer mu.Unlock()
		if over = true; left {
			f.why = clientLeft
		}
	}
}

// attend is watch for a stream: its connection says when the client has left.
func (f *feeder) attend(c *Conn) stop {
	gone := make(chan struct{})
	c.stream.OnGone(func() { close(gone) })
	defer c.stream.OnGone(nil)
	select {
	case <-gone:
		return clientLeft
	case <-f.halted:
		return notStopped
	}
}

// wantsStreams says whether a client of HTTP/1.1 asks to go on in HTTP/2 (h2c, RFC 7540 section 3.2), and may. A request
// with a body is better served as it is.
func (x *exchange) wantsStreams() bool {
	c := x.c
	if c.stream != nil || c.secure || x.req.Minor == 0 || x.req.Framing != http1.NoBody && x.req.ContentLength != 0 {
		return false
	}
	asked, ok := http1.Lookup(x.req.Fields, "Upgrade")
	if !ok || !http1.EqualFold(asked, "h2c") || !nominated(x.req.Fields, "upgrade") || !nominated(x.req.Fields, settingsName) {
		return false
	}
	_, ok = http1.Lookup(x.req.Fields, settingsName)
	return ok
}

const settingsName = "HTTP2-Settings"

// nominated says whether Connection names a field.
func nominated(fields []http1.Field, name string) bool {
	for i := range fields {
		if !http1.EqualFold(fields[i].Name, "Connection") {
			continue
		}
		for option := range bytes.SplitSeq(fields[i].Value, []byte{','}) {
			if http1.EqualFold(bytes.TrimSpace(option), name) {
				return true
			}
		}
	}
	return false
}

// hop switches the connection to HTTP/2, where x becomes its first stream. It says that the connection serves no more.
func (c *Conn) hop(ctx context.Context, x *exchange) (again bool) {
	encoded, _ := http1.Lookup(x.req.Fields, settingsName)
	settings, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(encoded, "=")))
	x.out = http1.AppendRequest(x.out[:0], &x.req, &http1.Edit{})
	first, bad := x.script.readRequest(x.out, plaintext)
	h2 := c.streams()
	if err == nil && bad == nil {
		if name, ok := http1.Lookup(x.req.Fields, callerName); ok { // it belongs to the connection, which is still this one
			first.Fields = append(first.Fields, http1.Field{Name: []byte(callerName), Value: name})
		}
		err = h2.Upgrade(first, settings)
	}
	switch {
	case err != nil || bad != nil:
		c.traffic.Malformed.Inc()
		x.close = true
		x.conclude(outcome{verdict: refused, status: 400, reason: "the request's HTTP2-Settings are malformed"})
	case c.write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")) != nil:
		x.conclude(outcome{verdict: gone, reason: "the client left before its answer"})
	default:
		c.hopped = true
		c.traffic.Requests.Active.Add(-1)
		x.uncount()
		x.counted = false
	}
	c.x = nil
	x.forget()
	c.p.exchanges.Put(x)
	c.since.Store(time.Now().UnixNano())
	if c.hopped {
		c.serveStreams(ctx, h2)
	}
	return false
}

// upgraded says whether the stream is a request that has been counted, before it became one.
func (c *Conn) upgraded() bool { return c.under != nil && c.under.hopped && c.stream.ID() == 1 }
