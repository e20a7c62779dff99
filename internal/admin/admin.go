// Package admin shows a running program to people, scripts and Prometheus, under the paths that Envoy's users
// know: /stats, /clusters, /config_dump, /ready, /reset_counters. It adds a typed JSON API, which the command
// line decodes with the types of this package:
//
//	handler := admin.Handler(admin.Config{World: gateway.World, Program: "gateway", Log: log})
//	server := &admin.Server{Listener: listener, Handler: handler, Log: log}
//	err := server.Run(ctx)
//
// In /stats a pool is named as Istio names it to Envoy, and each of its addresses as Envoy does, with an
// underscore before the port:
//
//	cluster.outbound|9080||reviews.upstream_rq_200                            the whole service
//	cluster.outbound|9080|v2|reviews.upstream_rq_200                          a subset
//	cluster.outbound|9080||reviews.endpoint.127.1.0.3_9080.upstream_rq_200    an endpoint
//	cluster.inbound|9080||.upstream_rq_200                                    a sidecar's own application
//	http.http-8080.downstream_rq_2xx                                          a listener
//
// It reads the counters that the hot path writes, with atomic loads: however often it is asked, no request waits
// for it. Only loopback is served; see [Guard] and [Listen].
package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Config says what an admin API shows.
type Config struct {
	World   func() World // what exists now; called once or more per request, by many at a time
	Program string       // "gateway", "sidecar" or "control"
	ID      string       // unique among the programs of a fleet: "gateway-1"
	Version string
	Started time.Time                   // when the program began, on its monotonic clock
	Hosts   []string                    // host names to be asked under, besides localhost and the program's own addresses
	Leaver  Leaver                      // takes the program out of service; nil where that has its own way, or none
	Mounts  []Mount                     // what the program adds
	Reset   func(context.Context) error // sets to zero what World only shows copies of; nil where that is nothing
	Log     *slog.Logger                // nil is silent
}

// A Mount is a path that a program adds. It stands behind [Guard] like every other.
type Mount struct {
	Pattern string // as in [http.ServeMux]: "POST /api/v1/scale"
	Help    string // one line for the help page
	Handler http.Handler
}

// Handler returns the admin API. It starts nothing.
func Handler(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{Config: c}
	a.reset.Store(&c.Started)
	a.metrics = a.prometheus()
	mounts := slices.Concat(a.mounts(), a.leaving(), c.Mounts)
	mux := http.NewServeMux()
	for _, m := range mounts {
		mux.Handle(m.Pattern, m.Handler)
	}
	help := helpPage(c.Program, mounts)
	mux.Handle("GET /{$}", help)
	mux.Handle("GET /help", help)
	return Guard(mux, c.Hosts...)
}

// An api answers requests.
type api struct {
	Config
	reset    atomic.Pointer[time.Time] // when the counters were last at zero
	watchers atomic.Int64              // streams open
	metrics  http.Handler
}

func (a *api) mounts() []Mount {
	return []Mount{
		{"GET /ready", "200 when ready to serve, else 503 with the reason", http.HandlerFunc(a.ready)},
		{"GET /stats", "counters; ?filter=REGEX, ?usedonly, ?type=Counters|Gauges|Histograms, ?format=json|prometheus", http.HandlerFunc(a.stats)},
		{"GET /stats/prometheus", "counters, gauges and native histograms for Prometheus", a.metrics},
		{"POST /reset_counters", "set all counters to zero", http.HandlerFunc(a.resetCounters)},
		{"GET /clusters", "every endpoint of every service; ?format=json", http.HandlerFunc(a.clusters)},
		{"GET /config_dump", "the snapshot in force, without secrets", http.HandlerFunc(a.configDump)},
		{"GET /server_info", "version, uptime, state", http.HandlerFunc(a.serverInfo)},
		{"GET /api/v1/services", "services and their pools as JSON; ?service=NAME, ?watch=1", http.HandlerFunc(a.apiServices)},
		{"GET /api/v1/endpoints", "endpoints as JSON; ?service=NAME, ?subset=NAME, ?watch=1", http.HandlerFunc(a.apiEndpoints)},
		{"GET /api/v1/events", "what happened, as JSON; ?since=RFC3339|DURATION, ?watch=1", http.HandlerFunc(a.apiEvents)},
		{"GET /api/v1/sum", "everything that is counted, as JSON, for a supervisor; ?last=1: when the program ends", http.HandlerFunc(a.sum)},
		{"GET /api/v1/explain", "who gets what share and why, in sentences; ?service=NAME", http.HandlerFunc(a.apiExplain)},
	}
}

// world returns what exists now, made whole: see [World.normal].
func (a *api) world() World { return a.World().normal() }

func (a *api) ready(w http.ResponseWriter, _ *http.Request) {
	world := a.world()
	if !world.Ready {
		http.Error(w, "NOT READY: "+cmp.Or(world.ReadyReason, "no reason given"), http.StatusServiceUnavailable)
		return
	}
	writeText(w, "LIVE\n")
}

func (a *api) resetCounters(w http.ResponseWriter, r *http.Request) {
	if a.Reset != nil {
		if err := a.Reset(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	world := a.world()
	for _, p := range world.Pools {
		if p.Traffic != nil {
			p.Traffic.Reset()
		}
		if p.Requests != nil {
			p.Requests.Reset()
		}
		for _, t := range p.Endpoints {
			t.Reset()
		}
	}
	for _, d := range world.Listeners {
		d.Reset()
	}
	if world.Streams != nil {
		world.Streams.Reset()
	}
	now := time.Now()
	a.reset.Store(&now)
	a.Log.InfoContext(r.Context(), "counters reset", "from", r.RemoteAddr)
	writeText(w, "OK\n")
}

// helpPage lists the paths, sorted.
func helpPage(program string, mounts []Mount) http.Handler {
	mounts = slices.Clone(mounts)
	slices.SortFunc(mounts, func(x, y Mount) int { return cmp.Compare(path(x.Pattern), path(y.Pattern)) })
	var page strings.Builder
	fmt.Fprintf(&page, "crossfade %s: admin\n\n", program)
	for _, m := range mounts {
		fmt.Fprintf(&page, "  %-24s %s\n", m.Pattern, m.Help)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeText(w, page.String()) })
}

// writeText writes plain text. The client may have left; then there is nobody to tell.
func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text)
}
