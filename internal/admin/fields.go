package admin

import (
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// A field is one number of a traffic: what Envoy calls it, what Prometheus shall call it, and where it is. The
// two expositions are written from the same table, so that neither can miss one.
type field[T any] struct {
	envoy string // the last part of the name of its line in /stats
	prom  string // after the prefix "crossfade_service_", "crossfade_endpoint_" or "crossfade_listener_"; "" is not shown
	help  string
	gauge bool
	value func(*T) int64
	whole bool // it counts what never reached an endpoint: only a whole pool has it
}

// trafficTable are the numbers of a pool and of an endpoint, beside its codes and latencies.
var trafficTable = []field[evidence.Counts]{
	{envoy: "upstream_rq_total", prom: "requests_total", help: "Requests sent, retries included.", value: func(c *evidence.Counts) int64 { return int64(c.Total) }},
	{envoy: "upstream_rq_completed", help: "Whole answers received.", value: func(c *evidence.Counts) int64 { return int64(c.Answered()) }},
	{envoy: "upstream_rq_active", prom: "requests_active", help: "Requests in flight.", gauge: true, value: func(c *evidence.Counts) int64 { return c.Active }},
	{envoy: "upstream_rq_retry", prom: "retries_total", help: "Requests sent again because nothing had been sent.", value: func(c *evidence.Counts) int64 { return int64(c.Retry) }},
	{envoy: "upstream_rq_retry_overflow", prom: "retry_overflows_total", help: "Requests not sent again because too many were being sent again.", whole: true, value: func(c *evidence.Counts) int64 { return int64(c.RetryOverflow) }},
	{envoy: "upstream_rq_timeout", prom: "timeouts_total", help: "Requests without an answer in time.", value: func(c *evidence.Counts) int64 { return int64(c.Timeout) }},
	{envoy: "upstream_rq_rx_reset", prom: "cuts_total", help: "Answers cut off by the endpoint.", value: func(c *evidence.Counts) int64 { return int64(c.Cut) }},
	{envoy: "upstream_rq_pending_overflow", prom: "overflows_total", help: "Requests refused because too many were waiting.", value: func(c *evidence.Counts) int64 { return int64(c.Overflow) }},
	{envoy: "upstream_cx_none_healthy", prom: "no_endpoint_total", help: "Requests that nobody could be found for.", whole: true, value: func(c *evidence.Counts) int64 { return int64(c.NoEndpoint) }},
	{envoy: "upstream_cx_total", prom: "connections_total", help: "Connections opened.", value: func(c *evidence.Counts) int64 { return int64(c.Connects) }},
	{envoy: "upstream_cx_connect_fail", prom: "connect_failures_total", help: "Connections that could not be opened.", value: func(c *evidence.Counts) int64 { return int64(c.ConnectFail) }},
	{envoy: "upstream_cx_active", prom: "connections_active", help: "Connections open.", gauge: true, value: func(c *evidence.Counts) int64 { return c.ActiveConnects }},
}

// listenerTable are the numbers of a listener, beside the codes and latencies of its requests.
var listenerTable = []field[evidence.Downstream]{
	{envoy: "downstream_cx_total", prom: "connections_total", help: "Connections accepted.", value: func(d *evidence.Downstream) int64 { return int64(d.Connects.Load()) }},
	{envoy: "downstream_cx_active", prom: "connections_active", help: "Connections open.", gauge: true, value: func(d *evidence.Downstream) int64 { return d.ActiveConnects.Load() }},
	{envoy: "downstream_cx_http2_total", prom: "http2_connections_total", help: "Connections that spoke HTTP/2.", value: func(d *evidence.Downstream) int64 { return int64(d.HTTP2.Load()) }},
	{envoy: "downstream_cx_overload_reject", prom: "connections_refused_total", help: "Connections refused at the limit.", value: func(d *evidence.Downstream) int64 { return int64(d.Overflow.Load()) }},
	{envoy: "downstream_cx_protocol_error", prom: "malformed_total", help: "Requests refused because they were malformed.", value: func(d *evidence.Downstream) int64 { return int64(d.Malformed.Load()) }},
	{envoy: "downstream_cx_panic", prom: "panics_total", help: "Connections lost to a panic.", value: func(d *evidence.Downstream) int64 { return int64(d.Panics.Load()) }},
	{envoy: "downstream_rq_total", prom: "requests_total", help: "Requests received.", value: func(d *evidence.Downstream) int64 { return int64(d.Requests.Total.Load()) }},
	{envoy: "downstream_rq_active", prom: "requests_active", help: "Requests in flight.", gauge: true, value: func(d *evidence.Downstream) int64 { return d.Requests.Active.Load() }},
	{envoy: "downstream_rq_rx_reset", prom: "aborts_total", help: "Requests whose client left before its answer was whole.", value: func(d *evidence.Downstream) int64 { return int64(d.Aborted.Load()) }},
	{envoy: "ssl.handshake", prom: "tls_handshakes_total", help: "TLS connections made.", value: func(d *evidence.Downstream) int64 { return int64(d.Handshakes.Load()) }},
	{envoy: "ssl.connection_error", prom: "tls_errors_total", help: "TLS connections that could not be made.", value: func(d *evidence.Downstream) int64 { return int64(d.TLSErrors.Load()) }},
	{envoy: "no_route", prom: "no_route_total", help: "Requests that no route matched.", value: func(d *evidence.Downstream) int64 { return int64(d.NoRoute.Load()) }},
}

// streamsTable are the numbers of all clients' connections of HTTP/2.
var streamsTable = []field[http2.Stats]{
	{envoy: "streams", prom: "streams_total", help: "Requests that clients of HTTP/2 began, refused ones included.", value: func(s *http2.Stats) int64 { return int64(s.Streams.Load()) }},
	{envoy: "streams_refused", prom: "streams_refused_total", help: "Streams refused: too many at a time, or after the connection had left.", value: func(s *http2.Stats) int64 { return int64(s.Refused.Load()) }},
	{envoy: "rx_messaging_error", prom: "malformed_total", help: "Messages of HTTP/2 that broke a rule.", value: func(s *http2.Stats) int64 { return int64(s.Malformed.Load()) }},
	{envoy: "header_overflow", prom: "heads_too_large_total", help: "Heads that were too large.", value: func(s *http2.Stats) int64 { return int64(s.HeadTooLarge.Load()) }},
	{envoy: "rx_reset", prom: "resets_received_total", help: "Streams that clients reset.", value: func(s *http2.Stats) int64 { return int64(s.ResetsIn.Load()) }},
	{envoy: "tx_reset", prom: "resets_sent_total", help: "Streams that were reset.", value: func(s *http2.Stats) int64 { return int64(s.ResetsOut.Load()) }},
	{envoy: "goaway_received", prom: "goaways_received_total", help: "Connections that clients said they leave.", value: func(s *http2.Stats) int64 { return int64(s.GoAwaysIn.Load()) }},
	{envoy: "goaway_sent", prom: "goaways_sent_total", help: "Connections that clients were told will end.", value: func(s *http2.Stats) int64 { return int64(s.GoAwaysOut.Load()) }},
	{envoy: "tx_flush_timeout", prom: "stalls_total", help: "Streams whose client did not take its answer in time.", value: func(s *http2.Stats) int64 { return int64(s.Stalled.Load()) }},
	{envoy: "connections_broken", prom: "connections_broken_total", help: "Connections that ended for what the client did.", value: func(s *http2.Stats) int64 { return int64(s.Broken.Load()) }},
	{envoy: "connections_timed_out", prom: "connections_timed_out_total", help: "Connections that ended for what the client did not do.", value: func(s *http2.Stats) int64 { return int64(s.TimedOut.Load()) }},
	{envoy: "floods", prom: "floods_total", help: "Connections that ended for too much of something.", value: floods},
}

func floods(s *http2.Stats) int64 {
	var n uint64
	for i := range s.Floods {
		n += s.Floods[i].Load()
	}
	return int64(n)
}
