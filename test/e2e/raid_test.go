//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A raider is a client of HTTP/2 that says whatever it likes.
type raider struct {
	nc       net.Conn
	settings map[http2.SettingID]uint32 // of the gateway

	mu     sync.Mutex // of what is written
	framer *http2.Framer
	encode *hpack.Encoder
	block  bytes.Buffer

	ready   chan struct{} // closed when settings are known
	over    chan struct{} // closed when the connection has ended
	goAway  *http2.ErrCode
	resets  map[uint32]http2.ErrCode
	answers map[uint32]string // :status by stream
}

// raid opens a connection, with settings of its own, and listens. A deaf one does not.
func raid(t *testing.T, deaf bool, settings ...http2.Setting) *raider {
	t.Helper()
	nc, err := net.Dial("tcp", ingress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	r := newRaider(nc, nc)
	if err := r.greet(settings...); err != nil {
		t.Fatal(err)
	}
	if !deaf {
		go r.listen()
		<-r.ready
	}
	return r
}

// newRaider is a raider on a connection that is heard through in.
func newRaider(nc net.Conn, in io.Reader) *raider {
	r := &raider{
		nc: nc, settings: map[http2.SettingID]uint32{}, framer: http2.NewFramer(nc, in), ready: make(chan struct{}),
		over: make(chan struct{}), resets: map[uint32]http2.ErrCode{}, answers: map[uint32]string{},
	}
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.encode = hpack.NewEncoder(&r.block)
	return r
}

// greet says what a connection begins with.
func (r *raider) greet(settings ...http2.Setting) error {
	_, err := io.WriteString(r.nc, http2.ClientPreface)
	return errors.Join(err, r.framer.WriteSettings(settings...))
}

// wantStatus waits for an answer, and looks at it.
func (r *raider) wantStatus(t *testing.T, id uint32, want string) {
	t.Helper()
	got := ""
	eventually(t, soon, func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		if got = r.answers[id]; got == "" {
			return "an answer on the stream"
		}
		return ""
	})
	if got != want {
		t.Errorf("stream %d: got status %s, want %s", id, got, want)
	}
}

// listen notes what the gateway says, until the connection ends.
func (r *raider) listen() {
	defer close(r.over)
	known := sync.OnceFunc(func() { close(r.ready) })
	defer known()
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			return
		}
		r.mu.Lock()
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = f.ForeachSetting(func(s http2.Setting) error {
					r.settings[s.ID] = s.Val
					return nil
				})
				_ = r.framer.WriteSettingsAck()
				known()
			}
		case *http2.GoAwayFrame:
			code := f.ErrCode
			r.goAway = &code
		case *http2.RSTStreamFrame:
			r.resets[f.StreamID] = f.ErrCode
		case *http2.MetaHeadersFrame:
			r.answers[f.StreamID] = f.PseudoValue("status")
		}
		r.mu.Unlock()
	}
}

// fields is a header block.
func (r *raider) fields(pairs ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = r.encode.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // to memory
	}
	return r.block.Bytes()
}

// ask opens a stream.
func (r *raider) ask(id uint32, method, path string, more ...string) error {
	pairs := append([]string{":method", method, ":scheme", "http", ":authority", "siege", ":path", path}, more...)
	return r.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: r.fields(pairs...), EndStream: method == http.MethodGet, EndHeaders: true,
	})
}

// bomb opens a stream with a few bytes that name a large field again and again.
func (r *raider) bomb(i int) error {
	r.block.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET", Sensitive: true},
		{Name: ":scheme", Value: "http", Sensitive: true},
		{Name: ":authority", Value: "siege", Sensitive: true},
		{Name: ":path", Value: quick, Sensitive: true},
	} {
		_ = r.encode.WriteField(f) // to memory; not into the table
	}
	if i == 0 {
		_ = r.encode.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 4000)})
	} else {
		const newest = 62 // of the table
		r.block.Write(bytes.Repeat([]byte{0x80 | newest}, 100))
	}
	return r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: r.block.Bytes(), EndStream: true, EndHeaders: true})
}

// stream is the number of the i-th stream.
func stream(i int) uint32 { return uint32(2*i + 1) }

// long opens a stream whose head takes several frames.
func (r *raider) long(id uint32, more []string) error {
	const frame = 16 << 10
	pairs := append([]string{":method", "GET", ":scheme", "http", ":authority", "siege", ":path", quick}, more...)
	block := r.fields(pairs...)
	first := block[:min(frame, len(block))]
	rest := block[len(first):]
	err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0})
	for err == nil && len(rest) > 0 {
		n := min(frame, len(rest))
		err = r.framer.WriteContinuation(id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	return err
}
