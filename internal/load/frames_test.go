package load

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Whatever a server sends, every stream comes to one end: a whole answer, or an error.
func FuzzAnswers(f *testing.F) {
	for _, t := range []turn{
		answers,
		func(p *peer, id uint32) bool { p.reset(id, http2.ErrCodeRefusedStream); return true },
		func(p *peer, id uint32) bool { p.goAway(id); return answers(p, id) },
		func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200", "content-length", "9")
			p.data(id, false, message("what")[:7])
			p.head(id, true, "grpc-status", "0")
			return true
		},
	} {
		var wire bytes.Buffer
		p := &peer{framer: http2.NewFramer(&wire, nil)}
		p.encoder = hpack.NewEncoder(&p.block)
		_ = p.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 7})
		_ = p.framer.WritePing(false, [8]byte{})
		_ = p.framer.WriteWindowUpdate(0, 1<<20)
		t(p, 1)
		t(p, 3)
		f.Add(wire.Bytes(), true)
		f.Add(wire.Bytes(), false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, grpc bool) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		go func() {
			_, _ = server.Write(wire)
			_ = server.Close()
		}()
		c := newSession(client, newAccount())
		r := request{fields: []hpack.HeaderField{{Name: ":method", Value: "GET"}}}
		streams := make([]*stream, 3)
		for i := range streams {
			streams[i] = &stream{key: "x", grpc: grpc, wake: make(chan struct{}, 1)}
			c.begin(&r, streams[i], true)
		}
		c.run()
		for i, s := range streams {
			if !s.done {
				t.Errorf("stream %d has not ended", i)
			}
			if s.err != nil {
				continue
			}
			if got, err := s.result(1); err == nil && (got.status < 200 || got.status > 999) {
				t.Errorf("stream %d ended with %+v", i, got)
			}
		}
	})
}
