package main

import (
	"fmt"
	"time"

	"golang.org/x/net/http2/hpack"

	"crossfade.dev/test/bench/wire"
)

// kind is what an item is measured by.
type kind int

const (
	cost    kind = iota // processor time per request, and the rate, as fast as answers come
	latency             // at a fixed rate
	memory              // of connections that are open and idle
)

// An item is one kind of work.
type item struct {
	name  string // as BENCH selects it
	title string
	kind  kind
	scene scene
	size  int  // of the answer's body
	post  int  // of the request's body, 0: GET
	anew  bool // a new connection for each request
	alone bool // of HTTP/2: one request at a time on a connection
}

// items are all there is to measure, those of one scene together.
func items() []item {
	plain := scene{name: "plain", routes: 1, members: 1}
	secured := scene{name: "tls", routes: 1, members: 1, tls: true}
	routed := scene{name: "routes", routes: 1000, members: 1}
	warming := scene{name: "endpoints", routes: 1, members: 100, warming: 10}
	h2 := scene{name: "h2", protocol: http2, routes: 1, members: 1}
	h2TLS := scene{name: "h2-tls", protocol: http2, routes: 1, members: 1, tls: true}
	calls := scene{name: "grpc", protocol: grpc, routes: 1, members: 1}
	callsTLS := scene{name: "grpc-tls", protocol: grpc, routes: 1, members: 1, tls: true}
	return []item{
		{name: "keepalive-200", title: "Keep-alive, 200 B", scene: plain, size: 200},
		{name: "keepalive-10k", title: "Keep-alive, 10 KB", scene: plain, size: 10 << 10},
		{name: "connection", title: "A new connection per request, 200 B", scene: plain, size: 200, anew: true},
		{name: "post-1k", title: "POST of 1 KB", scene: plain, size: 200, post: 1 << 10},
		{name: "latency", title: "Latency at a fixed rate, 200 B", kind: latency, scene: plain, size: 200},
		{name: "memory", title: "Idle connections", kind: memory, scene: plain, size: 200},
		{name: "tls", title: "TLS 1.3, keep-alive, 200 B", scene: secured, size: 200},
		{name: "routes", title: "1,000 routes, 200 B", scene: routed, size: 200},
		{name: "endpoints", title: "100 endpoints, 10 of them warming, 200 B", scene: warming, size: 200},
		{name: "h2-200", title: "HTTP/2, 200 B", scene: h2, size: 200},
		{name: "h2-200-tls", title: "HTTP/2 with TLS 1.3, 200 B", scene: h2TLS, size: 200},
		{name: "grpc-unary", title: "gRPC, unary, 200 B each way", scene: calls, size: 200, post: 200},
		{name: "grpc-alone", title: fmt.Sprintf("gRPC, unary, one call at a time on each of %d connections", connections), scene: calls, size: 200, post: 200, alone: true},
		{name: "grpc-unary-tls", title: "gRPC with TLS 1.3, unary, 200 B each way", scene: callsTLS, size: 200, post: 200},
	}
}

// What a closed loop keeps busy: connections with one request at a time, or fewer of HTTP/2 with several streams.
const (
	connections = 64
	sessions    = 8
	streams     = 16
)

// work is the item as the clients of one peer do it.
func (it item) work(r *runner, warm, measure time.Duration) wire.Work {
	w := wire.Work{
		Port: r.port, Size: it.size, Conns: connections, Anew: it.anew, Warm: warm, Measure: measure, PIDs: r.pids(),
	}
	if r.tls {
		w.TLS = &wire.TLS{Config: r.pair.client(r.protocol)}
	}
	if r.protocol != http1 {
		w.HTTP2 = it.calls(r)
		if !it.alone {
			w.Conns, w.HTTP2.Streams = sessions, streams
		}
		return w
	}
	for _, name := range r.hosts() {
		w.Requests = append(w.Requests, it.request(name))
	}
	return w
}

// calls are what a client asks over HTTP/2: with the fields that grpc-go sends, or a plain GET.
func (it item) calls(r *runner) *wire.HTTP2 {
	scheme := "http"
	if r.tls {
		scheme = "https"
	}
	h := &wire.HTTP2{Streams: 1, GRPC: r.protocol == grpc}
	if h.GRPC {
		h.Body = wire.Message(wire.Body(it.post))
		h.Fields = []hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: scheme},
			{Name: ":path", Value: fmt.Sprintf("/bench.Body/%d", it.size)},
			{Name: ":authority", Value: host},
			{Name: "content-type", Value: "application/grpc"},
			{Name: "user-agent", Value: "bench/1"},
			{Name: "te", Value: "trailers"},
			{Name: "grpc-timeout", Value: "10S"},
		}
		return h
	}
	h.Fields = []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: scheme},
		{Name: ":path", Value: fmt.Sprintf("/b/%d", it.size)},
		{Name: ":authority", Value: host},
		{Name: "user-agent", Value: "bench/1"},
		{Name: "accept", Value: "*/*"},
	}
	return h
}

func (it item) request(host string) []byte {
	method, rest := "GET", ""
	if it.anew {
		rest = "Connection: close\r\n"
	}
	if it.post > 0 {
		method = "POST"
		rest = fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", it.post)
	}
	head := fmt.Sprintf("%s /b/%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\nAccept: */*\r\n%s\r\n", method, it.size, host, rest)
	return append([]byte(head), wire.Body(it.post)...)
}
