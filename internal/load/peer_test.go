package load

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is the server's side of one connection of HTTP/2, frame by frame.
type peer struct {
	nc      net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	nth     int // requests that came before on this connection
}

// A turn is what a scripted server does with one request, when all of it has come. It returns whether the connection
// stays open.
type turn func(p *peer, id uint32) (keep bool)

// head writes a header block: names and values by turns.
func (p *peer) head(id uint32, end bool, fields ...string) {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end})
}

func (p *peer) data(id uint32, end bool, text string) {
	_ = p.framer.WriteData(id, end, []byte(text))
}

func (p *peer) reset(id uint32, code http2.ErrCode) { _ = p.framer.WriteRSTStream(id, code) }

func (p *peer) goAway(last uint32) { _ = p.framer.WriteGoAway(last, http2.ErrCodeNo, nil) }

// answers is a turn that gives a whole answer.
func answers(p *peer, id uint32) bool {
	p.head(id, false, ":status", "200", "x-crossfade-endpoint", "one")
	p.data(id, true, "ok")
	return true
}

// converses serves a connection until a turn ends it.
func converses(nc net.Conn, script func() turn, settings ...http2.Setting) {
	defer nc.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	p := &peer{nc: nc, framer: http2.NewFramer(nc, nc)}
	p.encoder = hpack.NewEncoder(&p.block)
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if p.framer.WriteSettings(settings...) != nil {
		return
	}
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return
		}
		whole := false
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = p.framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			whole = f.StreamEnded()
		case *http2.DataFrame:
			whole = f.StreamEnded()
			if n := f.Length; n > 0 {
				_ = p.framer.WriteWindowUpdate(0, n)
				_ = p.framer.WriteWindowUpdate(f.StreamID, n)
			}
		}
		if whole {
			if !script()(p, f.Header().StreamID) {
				return
			}
			p.nth++
		}
	}
}

// takesTurns returns a script that does each turn once, and the last one for ever.
func takesTurns(turns ...turn) func() turn {
	var mu sync.Mutex
	n := -1
	return func() turn {
		mu.Lock()
		defer mu.Unlock()
		n = min(n+1, len(turns)-1)
		return turns[n]
	}
}

// listenHTTP2 runs a scripted server on loopback until the test ends, and returns its URL.
func listenHTTP2(t *testing.T, script func() turn, settings ...http2.Setting) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { converses(nc, script, settings...) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return "http://" + listener.Addr().String() + "/"
}

// inBubbleHTTP2 is inBubble for HTTP/2.
func inBubbleHTTP2(plan Plan, script func() turn, settings ...http2.Setting) Plan {
	plan = inBubble(plan, nil)
	if plan.Protocol == HTTP1 {
		plan.Protocol = HTTP2
	}
	plan.dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		client, server := buffered()
		go converses(server, script, settings...)
		return client, nil
	}
	return plan
}

// buffered returns a pipe whose ends do not wait for each other to write: what a client says and what a server says at
// the same time would stop both of a net.Pipe.
func buffered() (client, server net.Conn) {
	client, a := net.Pipe()
	b, server := net.Pipe()
	forward := func(to, from net.Conn) {
		chunks := make(chan []byte, 1<<16)
		go func() {
			defer close(chunks)
			for {
				chunk := make([]byte, 32<<10)
				n, err := from.Read(chunk)
				if err != nil {
					return
				}
				chunks <- chunk[:n]
			}
		}()
		go func() {
			defer to.Close()
			for chunk := range chunks {
				_, _ = to.Write(chunk) // who has hung up misses it
			}
		}()
	}
	forward(b, a)
	forward(a, b)
	return client, server
}

// serveHTTP2 runs net/http's server of HTTP/2 until the test ends: in clear, or with TLS.
func serveHTTP2(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: &protocols}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	return "http://" + listener.Addr().String()
}

// message is one of gRPC's, as it goes over the wire.
func message(text string) string { return string(framed([]byte(text))) }

// echoing connects to a server that gives every DATA frame back and says OK in the end.
func echoing(context.Context, netip.AddrPort) (net.Conn, error) {
	client, server := buffered()
	go func() {
		defer server.Close()
		_, _ = io.ReadFull(server, make([]byte, len(http2.ClientPreface)))
		p := &peer{framer: http2.NewFramer(server, server)}
		p.encoder = hpack.NewEncoder(&p.block)
		_ = p.framer.WriteSettings()
		for {
			f, err := p.framer.ReadFrame()
			if err != nil {
				return // the client has gone
			}
			switch f := f.(type) {
			case *http2.HeadersFrame:
				p.head(f.StreamID, false, ":status", "200", "content-type", "application/grpc")
			case *http2.DataFrame:
				p.data(f.StreamID, false, string(f.Data()))
				if f.StreamEnded() {
					p.head(f.StreamID, true, "grpc-status", "0")
				}
			}
		}
	}()
	return client, nil
}
