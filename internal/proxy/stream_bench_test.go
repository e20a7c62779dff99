package proxy

import (
	"io"
	"testing"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// BenchmarkCall is a unary call of gRPC with its client, its endpoint and what lies between, all in one process.
func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	answer := &http2.Head{Status: 200, Fields: call("/").Fields[:1]}
	trailers := []http1.Field{{Name: []byte("grpc-status"), Value: []byte("0")}}
	message := []byte("\x00\x00\x00\x00\x02hi")
	w := newWorld(b, Options{}, serveStreams(b, func(s *http2.Stream) {
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
		_ = s.WriteHead(answer, false)
		_, _ = s.WriteBody(message, false)
		_ = s.WriteTrailers(trailers)
	}))
	w.speak(fleet.HTTP2)
	c := w.dialStreams()
	head := call("/x/m")
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := c.Open(head, false)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = s.WriteBody(message, true)
			if _, err := s.ReadHead(); err != nil {
				b.Error(err)
			}
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			s.Close()
		}
	})
}

// BenchmarkStream is likewise a GET, answered with 200 bytes.
func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	body := make([]byte, 200)
	answer := &http2.Head{Status: 200, Sized: true, ContentLength: 200, Fields: []http1.Field{
		{Name: []byte("content-type"), Value: []byte("text/plain")}, {Name: []byte("date"), Value: []byte("Sun, 22 Nov 2026 06:00:00 GMT")},
	}}
	w := newWorld(b, Options{}, serveStreams(b, func(s *http2.Stream) {
		_ = s.WriteHead(answer, false)
		_, _ = s.WriteBody(body, true)
	}))
	w.speak(fleet.HTTP2)
	c := w.dialStreams()
	head := get("/some/path?with=query")
	head.Fields = []http1.Field{{Name: []byte("user-agent"), Value: []byte("bench/1.0")}, {Name: []byte("accept"), Value: []byte("*/*")}}
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := c.Open(head, true)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := s.ReadHead(); err != nil {
				b.Error(err)
			}
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			s.Close()
		}
	})
}
