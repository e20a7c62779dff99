package admin

import "crossfade.dev/internal/evidence"

// A field is one number of a traffic: what Envoy calls it, what Prometheus shall call it, and where it is. The
// two expositions are written from the same table, so that neither can miss one.
type field[T any] struct {
	envoy string // after the prefix "upstream_" or "downstream_", where there is one
	prom  string // after the prefix "crossfade_service_", "crossfade_endpoint_" or "crossfade_listener_"; "" is not shown
	help  string
	gauge bool
	value func(*T) int64
}

// trafficTable are the numbers of a pool and of an endpoint, beside its codes and latencies.
var trafficTable = []field[evidence.Counts]{
	{"upstream_rq_total", "requests_total", "Requests sent, retries included.", false, func(c *evidence.Counts) int64 { return int64(c.Total) }},
	{"upstream_rq_completed", "", "Whole answers received.", false, func(c *evidence.Counts) int64 { return int64(c.Answered()) }},
	{"upstream_rq_active", "requests_active", "Requests in flight.", true, func(c *evidence.Counts) int64 { return c.Active }},
	{"upstream_rq_retry", "retries_total", "Requests sent again because nothing had been sent.", false, func(c *evidence.Counts) int64 { return int64(c.Retry) }},
	{"upstream_rq_timeout", "timeouts_total", "Requests without an answer in time.", false, func(c *evidence.Counts) int64 { return int64(c.Timeout) }},
	{"upstream_rq_rx_reset", "cuts_total", "Answers cut off by the endpoint.", false, func(c *evidence.Counts) int64 { return int64(c.Cut) }},
	{"upstream_rq_pending_overflow", "overflows_total", "Requests refused because too many were waiting.", false, func(c *evidence.Counts) int64 { return int64(c.Overflow) }},
	{"upstream_cx_none_healthy", "no_endpoint_total", "Requests that nobody could be found for.", false, func(c *evidence.Counts) int64 { return int64(c.NoEndpoint) }},
	{"upstream_cx_total", "connections_total", "Connections opened.", false, func(c *evidence.Counts) int64 { return int64(c.Connects) }},
	{"upstream_cx_connect_fail", "connect_failures_total", "Connections that could not be opened.", false, func(c *evidence.Counts) int64 { return int64(c.ConnectFail) }},
	{"upstream_cx_active", "connections_active", "Connections open.", true, func(c *evidence.Counts) int64 { return c.ActiveConnects }},
}

// listenerTable are the numbers of a listener, beside the codes and latencies of its requests.
var listenerTable = []field[evidence.Downstream]{
	{"downstream_cx_total", "connections_total", "Connections accepted.", false, func(d *evidence.Downstream) int64 { return int64(d.Connects.Load()) }},
	{"downstream_cx_active", "connections_active", "Connections open.", true, func(d *evidence.Downstream) int64 { return d.ActiveConnects.Load() }},
	{"downstream_cx_overload_reject", "connections_refused_total", "Connections refused at the limit.", false, func(d *evidence.Downstream) int64 { return int64(d.Overflow.Load()) }},
	{"downstream_cx_protocol_error", "malformed_total", "Requests refused because they were malformed.", false, func(d *evidence.Downstream) int64 { return int64(d.Malformed.Load()) }},
	{"downstream_cx_panic", "panics_total", "Connections lost to a panic.", false, func(d *evidence.Downstream) int64 { return int64(d.Panics.Load()) }},
	{"downstream_rq_total", "requests_total", "Requests received.", false, func(d *evidence.Downstream) int64 { return int64(d.Requests.Total.Load()) }},
	{"downstream_rq_active", "requests_active", "Requests in flight.", true, func(d *evidence.Downstream) int64 { return d.Requests.Active.Load() }},
	{"downstream_rq_rx_reset", "aborts_total", "Requests whose client left before its answer was whole.", false, func(d *evidence.Downstream) int64 { return int64(d.Aborted.Load()) }},
	{"no_route", "no_route_total", "Requests that no route matched.", false, func(d *evidence.Downstream) int64 { return int64(d.NoRoute.Load()) }},
}
