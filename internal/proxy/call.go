package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/upstream"
)

// To an endpoint that speaks HTTP/2, a request is a stream. Its head is read from what was written for HTTP/1.1, and
// the answer's is written down so; see transcript.go.

// multiplexed says whether the endpoint is spoken to over HTTP/2.
func (x *exchange) multiplexed() bool {
	switch x.pool.Policy.HTTP {
	case fleet.HTTP2:
		return true
	case fleet.HTTPSame:
		return x.c.stream != nil
	case fleet.HTTP1:
	}
	return false
}

// call opens a stream for the request.
func (x *exchange) call(ctx context.Context, conns *upstream.Pool) (*upstream.Conn, error) {
	scheme := plaintext
	if conns.TLS() != nil {
		scheme = secure
	}
	h, err := x.script.readRequest(x.head[:x.headLen], scheme)
	if err != nil {
		return nil, err
	}
	x.unsized = false
	end := x.bodiless() && h.Protocol == nil
	conn, err := conns.OpenNow(x.sentAt, h, end)
	if !errors.Is(err, upstream.ErrLater) {
		return conn, err
	}
	return x.await(ctx, func(ctx context.Context, until time.Time) (*upstream.Conn, error) {
		return conns.Open(ctx, x.sentAt, until, h, end)
	})
}

// bodiless says whether the request has no body, as far as it goes out over HTTP/2.
func (x *exchange) bodiless() bool {
	return x.feeder.whole.Load() && len(x.piece) == 0 && trailing(&x.feeder.body) == nil
}

// sendStream is send over HTTP/2, where the head has been sent. What the endpoint does not take at once of the piece is
// the feeder's: the answer may come first, and the client may leave.
func (x *exchange) sendStream() outcome {
	s, f := x.conn.Stream, &x.feeder
	whole := f.whole.Load()
	f.sent.Store(whole)
	if x.bodiless() {
		return outcome{}
	}
	trailers := trailing(&f.body)
	n, err := http2.Ready{Stream: s}.WriteBody(x.piece, whole && trailers == nil)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.sent.Store(false)
		f.first = x.piece[n:]
	case err != nil:
		return outcome{} // it may have answered before it stopped listening; if not, that says why
	case trailers != nil:
		_ = s.WriteTrailers(trailers) // likewise
		return outcome{}
	case whole:
		return outcome{}
	}
	s.Flush()
	x.feed()
	return outcome{}
}

// pushFirst sends what was left of the request's first piece.
func (f *feeder) pushFirst(c *Conn, conn *upstream.Conn) stop {
	f.fed = true
	_, err := writeAll(conn, &conn.Writing, f.first, patience{stall: f.patience(c, c.p.o.StallTimeout), hush: &c.hush})
	if err == nil {
		err = f.pushStream(conn.Stream)
	}
	if err != nil {
		return endpointClosed
	}
	f.progress.Store(time.Now().UnixNano())
	f.sent.Store(f.body.done)
	return notStopped
}

// pushStream has the endpoint get what was written of the body, and its end.
func (f *feeder) pushStream(s *http2.Stream) error {
	if !f.body.done {
		s.Flush()
		return nil
	}
	if trailers := trailing(&f.body); trailers != nil {
		return s.WriteTrailers(trailers)
	}
	_, err := s.WriteBody(nil, true)
	return err
}

// listen reads once from the endpoint.
func (x *exchange) listen(most int) (n int, err error) {
	s := x.conn.Stream
	if s == nil || x.step == delivering {
		return x.conn.Buffer.Fill(x.conn, most)
	}
	h, err := s.ReadHead()
	if err != nil {
		return 0, err
	}
	var key []byte
	if x.upgrade {
		key, _ = http1.Lookup(x.req.Fields, keyName)
	}
	x.said = appendResponse(x.said[:0], h, x.upgrade, key)
	x.unsized, x.headAlone = h.End && !h.Sized, h.End
	return len(x.said), nil
}

// headHeard is called when n bytes were an answer's head.
func (x *exchange) headHeard(n int) {
	if x.conn.Stream == nil {
		x.conn.Buffer.Skip(n)
		return
	}
	x.said = x.said[:0]
	if x.unsized && x.resp.Framing == http1.UntilClose {
		x.resp.Framing, x.resp.ContentLength = http1.Length, 0
	}
}

// tail returns the trailers of an answer that ended with its stream.
func (x *exchange) tail() []http1.Field {
	if x.conn.Stream == nil {
		return nil
	}
	return x.conn.Stream.Trailers()
}

// unprocessed says whether the endpoint cannot have acted on the request, and makes it ready to be sent again. That
// it is as long as what was sent of its body is still there.
func (x *exchange) unprocessed(err error) bool {
	var reset *http2.StreamError
	f := &x.feeder
	if !errors.As(err, &reset) || !reset.Unprocessed || x.heard || f.spilt {
		return false
	}
	x.rewind()
	return true
}

// rewind makes the request, of whose body nothing is spilt, ready to be sent again.
func (x *exchange) rewind() {
	f := &x.feeder
	x.piece = f.appendReplay(x.piece)
	x.written = nil // it was written before all of this had come
	f.why, f.first, f.replay, f.fed = notStopped, nil, f.replay[:0], false
	f.progress.Store(0)
}

// appendReplay appends what is kept of the body, without the framing that it went out in.
func (f *feeder) appendReplay(dst []byte) []byte {
	if f.body.to != http1.Chunked {
		return append(dst, f.replay...)
	}
	var chunks http1.Chunks
	for b := f.replay; len(b) > 0 && !chunks.Done(); {
		data, n, err := chunks.Next(b)
		if err != nil {
			break // not what we wrote
		}
		dst, b = append(dst, data...), b[n:]
	}
	return dst
}

// keep keeps a piece of the body that is about to be sent, while all that was sent is small.
func (f *feeder) keep(piece []byte) {
	if f.spilt || len(f.replay)+len(piece) > window {
		f.replay, f.spilt = f.replay[:0], true
		return
	}
	f.replay = append(f.replay, piece...)
}

// handshook says whether the endpoint has understood the key of a WebSocket that we made for it.
func (x *exchange) handshook() error {
	if x.c.stream == nil || x.conn.Stream != nil {
		return nil // the client looks itself, or there is no key
	}
	want := acceptOf(x.script.key[:])
	accept, _ := http1.Lookup(x.resp.Fields, acceptName)
	if string(accept) != string(want[:]) {
		return &http1.Error{Status: 502, Reason: "it did not understand the WebSocket's key"}
	}
	return nil
}

// speaksStreams says whether b begins as what an endpoint of HTTP/2 says first: a frame of SETTINGS (RFC 9113 section 3.4).
func speaksStreams(b []byte) bool {
	const settings = 4
	return len(b) >= 9 && b[0] == 0 && b[3] == settings && b[4] == 0 && string(b[5:9]) == "\x00\x00\x00\x00"
}

// push has the other side get what was written to nc.
func push(nc net.Conn) {
	switch c := nc.(type) {
	case http2.Pipe:
		c.Flush()
	case *upstream.Conn:
		if c.Stream != nil {
			c.Stream.Flush()
		}
	}
}
