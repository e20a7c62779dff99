package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/meter"
)

const maxScrapes = 4 // at a time

// prometheus returns the exposition: what the world counts, and the process itself.
func (a *api) prometheus() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(a),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(a.Log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}

// A collector makes metrics of a world when Prometheus asks. It keeps nothing: the counters are where the hot
// path writes them. Which metrics there are depends on the world, so it describes none beforehand.
type collector struct {
	api *api

	service, endpoint, listener, streams places
	ramp                                 []*prometheus.Desc // in the order of rampTable
	stage, weight, age, reason, load     *prometheus.Desc
	group                                *prometheus.Desc
	ready, snapshot, viewAge             *prometheus.Desc
	config, build                        *prometheus.Desc
	agentEvents                          *prometheus.Desc
	ended                                *prometheus.Desc
	leave                                leaveMetrics
	registries                           []*prometheus.Desc // in the order of registryTable
}

// Places are the metrics of one kind of place that requests pass.
type places struct {
	fields []*prometheus.Desc // in the order of a table of fields; nil where it shows none
	codes  *prometheus.Desc
	calls  *prometheus.Desc
	took   *prometheus.Desc
}

// rampTable are the numbers of an endpoint's share.
var rampTable = []struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*balancer.Share) float64
}{
	{"share_ratio", "Part of its full weight that the endpoint gets now.", prometheus.GaugeValue, func(s *balancer.Share) float64 { return s.Share }},
	{"progress_ratio", "How far the endpoint is on its warm-up curve.", prometheus.GaugeValue, func(s *balancer.Share) float64 { return s.Progress }},
	{"fraction_ratio", "Part of the pool's requests that the endpoint should get now.", prometheus.GaugeValue, func(s *balancer.Share) float64 { return s.Fraction }},
	{"due_requests_total", "Requests that were due to the endpoint since it joined.", prometheus.CounterValue, func(s *balancer.Share) float64 { return s.Expected }},
	{"picked_requests_total", "Requests that the endpoint got since it joined.", prometheus.CounterValue, func(s *balancer.Share) float64 { return float64(s.Actual) }},
}

func newCollector(a *api) *collector {
	ofService := []string{"service", "port", "subset"}
	ofEndpoint := append(slices.Clone(ofService), "endpoint", "address")
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("crossfade_"+name, help, labels, nil)
	}
	c := &collector{
		api:      a,
		service:  newPlaces("service", ofService, trafficTable, true),
		endpoint: newPlaces("endpoint", ofEndpoint, trafficTable, false),
		listener: newPlaces("listener", []string{"listener"}, listenerTable, true),
		streams:  newPlaces("http2", nil, streamsTable, true),
		stage:    desc("endpoint_stage_info", "The endpoint's stage, as a label; always 1.", append(slices.Clone(ofEndpoint), "stage")...),
		weight:   desc("endpoint_weight", "Full, steady-state weight of the endpoint: what configuration says, times what people multiply it by.", ofEndpoint...),
		age:      desc("endpoint_age_seconds", "Time since the endpoint was first offered to requests.", ofEndpoint...),
		load:     desc("endpoint_load", "What the endpoint says of its own load: a part of what it has, or per second.", append(slices.Clone(ofEndpoint), "metric")...),
		reason:   desc("endpoint_reason_info", "Why the endpoint's share is what it is, as a label; always 1, absent for an ordinary full share.", append(slices.Clone(ofEndpoint), "reason")...),
		group:    desc("service_group_ratio", "Part of the pool's requests that the endpoints of one group get: those that are equally near, or in one place.", append(slices.Clone(ofService), "level")...),
		ready:    desc("ready", "1 when the program is ready to serve."),
		snapshot: desc("snapshot_number", "Number of the snapshot in force."),
		viewAge:  desc("view_age_seconds", "Time since the snapshot in force was taken."),
		config:   desc("config_info", "Digest of the configuration in force, as a label; always 1.", "digest"),
		leave:    newLeaveMetrics(desc),

		ended: desc("requests_ended_total", "Requests by how they ended and on which side they were lost: at the listener that each came in at, and at the pool that it was routed to and that pool's whole service.",
			"listener", "service", "port", "subset", "kind", "side"),

		agentEvents: desc("agent_events_total", "Events that agents told control, by kind: instance.died, registration.completed, …", "kind"),

		build: desc("build_info", "Version of the program, as a label; always 1.", "program", "version"),
	}
	for _, f := range rampTable {
		c.ramp = append(c.ramp, desc("endpoint_"+f.name, f.help, ofEndpoint...))
	}
	for _, f := range registryTable {
		c.registries = append(c.registries, desc("registry_"+f.name, f.help, "registry"))
	}
	return c
}

// newPlaces describes the metrics of one kind of place; whole says that it is more than one endpoint.
func newPlaces[T any](place string, labels []string, fields []field[T], whole bool) places {
	prefix := "crossfade_" + place + "_"
	p := places{
		fields: make([]*prometheus.Desc, len(fields)),
		codes:  prometheus.NewDesc(prefix+"answers_total", "Whole answers, by status.", append(slices.Clone(labels), "code"), nil),
		calls:  prometheus.NewDesc(prefix+"grpc_answers_total", "Whole answers to calls of gRPC, by its status.", append(slices.Clone(labels), "code"), nil),
		took:   prometheus.NewDesc(prefix+"request_duration_seconds", "Time from a request to its whole answer.", labels, nil),
	}
	for i, f := range fields {
		if f.prom != "" && (whole || !f.whole) {
			p.fields[i] = prometheus.NewDesc(prefix+f.prom, f.help, labels, nil)
		}
	}
	return p
}

// Describe describes nothing; see [collector].
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the world as it is now.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	world, now := c.api.world(), time.Now()
	out := exposition{metrics: metrics, since: *c.api.reset.Load()}
	out.gauge(c.build, 1, c.api.Program, c.api.Version)
	out.gauge(c.config, 1, world.View.Config)
	out.gauge(c.snapshot, float64(world.View.Number))
	out.gauge(c.viewAge, world.viewAge(now).Seconds())
	var ready float64
	if world.Ready {
		ready = 1
	}
	out.gauge(c.ready, ready)
	for _, p := range world.Pools {
		c.pool(out, world, p, now)
	}
	if world.Streams != nil {
		send(out, c.streams, streamsTable, world.Streams)
	}
	c.leave.collect(out, &world)
	for kind, n := range world.AgentEvents {
		out.number(c.agentEvents, prometheus.CounterValue, float64(n), kind)
	}
	for i := range world.Registries {
		for j, f := range registryTable {
			out.gauge(c.registries[j], f.value(&world.Registries[i]), world.Registries[i].Name)
		}
	}
	for name, d := range world.Listeners {
		send(out, c.listener, listenerTable, d, name)
		counts := d.Requests.Counts()
		out.answers(c.listener, &counts, true, name)
		out.ends(c.ended, &counts, name, "", "", "")
	}
}

// pool sends the metrics of a pool and of its endpoints. What an endpoint counted does not depend on the pool, so
// it comes once, with the whole service; its share does.
func (c *collector) pool(out exposition, world World, p Pool, now time.Time) {
	name := p.Service.Host
	if p.Service.Inbound {
		name = "inbound"
	}
	labels := []string{name, strconv.FormatUint(uint64(p.Service.Port), 10), p.Pool.Subset}
	if p.Traffic != nil {
		counts := p.counts()
		send(out, c.service, trafficTable, &counts, labels...)
		out.answers(c.service, &counts, true, labels...)
	}
	if p.Requests != nil {
		counts := p.Requests.Counts()
		out.ends(c.ended, &counts, append([]string{""}, labels...)...)
	}
	for _, g := range p.groups() {
		out.gauge(c.group, g.Part, append(slices.Clone(labels), g.Level)...)
	}
	for _, at := range p.addresses() {
		e := at.Youngest
		labels := append(slices.Clone(labels), e.Name, e.Address.String())
		if p.Pool.Subset == "" {
			out.gauge(c.stage, 1, append(slices.Clone(labels), e.Stage.String())...)
			out.gauge(c.weight, finite(e.Full()), labels...)
			out.gauge(c.age, world.View.Age(e, now).Seconds(), labels...)
			if p.Endpoints != nil {
				send(out, c.endpoint, trafficTable, &at.Counts, labels...)
				out.answers(c.endpoint, &at.Counts, false, labels...)
				out.load(c.load, &at.Counts, labels...)
			}
		}
		if at.Share != nil {
			if at.Share.Reason != "" {
				out.gauge(c.reason, 1, append(slices.Clone(labels), string(at.Share.Reason))...)
			}
			for i, f := range rampTable {
				out.number(c.ramp[i], f.kind, finite(f.value(at.Share)), labels...)
			}
		}
	}
}

// An exposition sends metrics.
type exposition struct {
	metrics chan<- prometheus.Metric
	since   time.Time // when the counters were last at zero
}

// send sends the numbers of one place.
func send[T any](out exposition, p places, fields []field[T], value *T, labels ...string) {
	for i, f := range fields {
		kind := prometheus.CounterValue
		if f.gauge {
			kind = prometheus.GaugeValue
		}
		if p.fields[i] != nil {
			out.number(p.fields[i], kind, float64(f.value(value)), labels...)
		}
	}
}

// answers sends a place's codes and latencies; classic adds buckets for scrapers that know no native ones.
func (x exposition) answers(p places, c *evidence.Counts, classic bool, labels ...string) {
	for _, code := range c.Codes {
		x.number(p.codes, prometheus.CounterValue, float64(code.N), append(slices.Clone(labels), statusText(code.Status))...)
	}
	for _, code := range c.Calls {
		x.number(p.calls, prometheus.CounterValue, float64(code.N), append(slices.Clone(labels), evidence.CallName(code.Status))...)
	}
	x.latency(p.took, &c.Latency, classic, labels...)
}

// ends sends how a place's requests have ended: those that were served, and every way in which any was lost.
func (x exposition) ends(d *prometheus.Desc, c *evidence.Counts, labels ...string) {
	for i, n := range c.Ends {
		if kind := ending.Kind(i); n > 0 || kind == ending.Served { //nolint:gosec // there are twelve
			x.number(d, prometheus.CounterValue, float64(n), append(slices.Clone(labels), kind.String(), string(kind.Side()))...)
		}
	}
}

func (x exposition) gauge(d *prometheus.Desc, value float64, labels ...string) {
	x.number(d, prometheus.GaugeValue, value, labels...)
}

func (x exposition) number(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
	metric, err := prometheus.NewConstMetric(d, kind, value, valid(labels)...)
	x.send(d, metric, err)
}

func (x exposition) latency(d *prometheus.Desc, s *meter.Snapshot, classic bool, labels ...string) {
	buckets := make(map[int]int64)
	for i, n := range s.Buckets {
		buckets[i] = int64(n)
	}
	metric, err := prometheus.NewConstNativeHistogram(
		d, s.Count, s.Sum.Seconds(), buckets, nil, s.Low(), meter.Schema, meter.ZeroThreshold, x.since, valid(labels)...,
	)
	if err == nil && classic {
		metric = withClassic{metric, s}
	}
	x.send(d, metric, err)
}

func (x exposition) send(d *prometheus.Desc, metric prometheus.Metric, err error) {
	if err != nil {
		metric = prometheus.NewInvalidMetric(d, err)
	}
	x.metrics <- metric
}

// valid makes labels that Prometheus accepts.
func valid(labels []string) []string {
	clean := make([]string, len(labels))
	for i, l := range labels {
		clean[i] = strings.ToValidUTF8(l, "_")
	}
	return clean
}

// Classic buckets end at powers of two, from 2^-10 s (about 1 ms) to 2^6 s (64 s). There a native bucket ends too,
// so that their counts are exact.
const (
	classicFirst = -10
	classicLast  = 6
)

// withClassic is a native histogram with classic buckets besides.
type withClassic struct {
	prometheus.Metric

	latency *meter.Snapshot
}

// Write writes the native histogram and adds the classic buckets.
func (m withClassic) Write(out *dto.Metric) error {
	if err := m.Metric.Write(out); err != nil {
		return fmt.Errorf("write histogram: %w", err)
	}
	buckets := make([]*dto.Bucket, 0, classicLast-classicFirst+1)
	for octave := classicFirst; octave <= classicLast; octave++ {
		edge := octave << meter.Schema
		buckets = append(buckets, &dto.Bucket{UpperBound: new(meter.Edge(edge)), CumulativeCount: new(m.latency.AtMost(edge))})
	}
	out.Histogram.Bucket = buckets
	return nil
}
