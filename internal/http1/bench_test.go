package http1

import "testing"

var smallRequest = []byte(lines("GET /reviews/0 HTTP/1.1", "Host: reviews:9080", "User-Agent: hey/0.0.1", "Accept-Encoding: gzip"))

var browserRequest = []byte(lines("GET /productpage?u=normal HTTP/1.1", "Host: bookinfo.example.com",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-GB,en;q=0.5",
	"Accept-Encoding: gzip, deflate, br, zstd", "Connection: keep-alive", "Referer: http://bookinfo.example.com/",
	"Cookie: session=eyJ1c2VyIjoiamFzb24ifQ.aBcDeF.0123456789abcdefghijklmnopq", "Upgrade-Insecure-Requests: 1",
	"Priority: u=0, i"))

var typicalResponse = []byte(lines("HTTP/1.1 200 OK", "Date: Sat, 21 Nov 2026 23:18:34 GMT", "Content-Type: application/json",
	"Content-Length: 375", "Server: reviews", "Cache-Control: no-store", "X-Request-Id: 4c5f4f1e-8f0d-4a6b-9d0e-1f2a3b4c5d6e"))

var typicalEdit = Edit{
	Set:  []Field{field("X-Forwarded-Proto", "http"), field("X-Request-Id", "0123456789abcdef0123456789abcdef")},
	Join: []Field{field("X-Forwarded-For", "127.0.0.1"), field("Via", "1.1 crossfade")},
}

func benchmarkRequest(b *testing.B, in []byte) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	var r Request
	for b.Loop() {
		if n, err := r.Parse(in); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkParseSmallRequest(b *testing.B)   { benchmarkRequest(b, smallRequest) }
func BenchmarkParseBrowserRequest(b *testing.B) { benchmarkRequest(b, browserRequest) }

func BenchmarkParseResponse(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalResponse)))
	method := []byte("GET")
	var r Response
	for b.Loop() {
		if n, err := r.Parse(typicalResponse, method); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	b.ReportAllocs()
	var r Request
	if _, err := r.Parse(smallRequest); err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 4096)
	for b.Loop() {
		out = AppendRequest(out[:0], &r, &typicalEdit)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	b.ReportAllocs()
	var r Response
	if _, err := r.Parse(typicalResponse, []byte("GET")); err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 4096)
	for b.Loop() {
		out = AppendResponse(out[:0], &r, &Edit{})
	}
}

func BenchmarkChunks(b *testing.B) {
	wire := AppendLastChunk(AppendChunk(nil, make([]byte, 10<<10)), nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	var c Chunks
	for b.Loop() {
		c.Reset()
		for in := wire; len(in) > 0; {
			_, n, err := c.Next(in)
			if err != nil {
				b.Fatal(err)
			}
			in = in[n:]
		}
	}
}
