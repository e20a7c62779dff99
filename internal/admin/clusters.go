package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// clusters answers GET /clusters, in Envoy's shape with crossfade's facts behind.
func (a *api) clusters(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query(), "format"); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	format, err := oneOf("format", r.URL.Query().Get("format"), "", "text", "json")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	world, now := a.world(), time.Now()
	if format == "json" {
		writeJSON(w, http.StatusOK, clustersJSON(world, now))
		return
	}
	var text strings.Builder
	for _, p := range world.Pools {
		name := p.envoyName()
		fmt.Fprintf(&text, "%s::observability_name::%s\n", name, name)
		fmt.Fprintf(&text, "%s::lb_policy::%s\n", name, p.Pool.Policy.Algorithm)
		fmt.Fprintf(&text, "%s::warmup_window_s::%g\n", name, p.Pool.Policy.Warmup.Window.Seconds())
		if key := keyText(p.Pool.Policy); key != "" {
			fmt.Fprintf(&text, "%s::hash_key::%s\n", name, key)
		}
		for _, b := range boundsOf(p.Pool.Policy.Connections) {
			fmt.Fprintf(&text, "%s::default_priority::%s::%d\n", name, b.envoy, b.n)
		}
		for _, g := range p.groups() {
			fmt.Fprintf(&text, "%s::group::%s::%.4f\n", name, g.Level, g.Part)
		}
		for _, e := range world.endpointsOf(p, now) {
			counts := p.Endpoints[e.Incarnation].Counts()
			for _, pair := range clusterFacts(e, &counts) {
				fmt.Fprintf(&text, "%s::%s::%s::%s\n", name, e.Address, pair[0], pair[1])
			}
		}
	}
	writeText(w, text.String())
}

// clusterFacts returns what /clusters says of an endpoint: Envoy's names first, in its order, then crossfade's.
func clusterFacts(e EndpointStatus, c *evidence.Counts) [][2]string {
	facts := [][2]string{}
	for _, s := range clusterStats(c) {
		facts = append(facts, [2]string{s.Name, s.Value})
	}
	facts = append(
		facts,
		[2]string{"hostname", e.Name},
		[2]string{"health_flags", healthFlags(e)},
		[2]string{"weight", strconv.FormatUint(uint64(e.Weight), 10)},
		[2]string{"factor", strconv.FormatFloat(e.factor(), 'g', -1, 64)},
		[2]string{"region", e.Locality.Region},
		[2]string{"zone", e.Locality.Zone},
		[2]string{"sub_zone", e.Locality.SubZone},
		[2]string{"incarnation", e.Incarnation},
		[2]string{"stage", e.Stage.String()},
		[2]string{"age_s", strconv.FormatFloat(e.Age.Seconds(), 'f', 1, 64)},
	)
	if e.Warmup != nil {
		facts = append(
			facts,
			[2]string{"warmup_window_s", strconv.FormatFloat(e.Warmup.Window.Seconds(), 'g', -1, 64)},
			[2]string{"warmup_from", e.WarmupFrom},
		)
	}
	if r := e.Ramp; r != nil {
		four := func(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }
		facts = append(
			facts,
			[2]string{"progress", four(r.Progress)},
			[2]string{"share", four(r.Share)},
			[2]string{"group", r.Level},
			[2]string{"fraction", four(r.Fraction)},
			[2]string{"expected", strconv.FormatFloat(r.Expected, 'f', 1, 64)},
			[2]string{"actual", strconv.FormatUint(r.Actual, 10)},
			[2]string{"reason", string(r.Reason)},
		)
	}
	return facts
}

// A clusterStat is one count of an endpoint in /clusters, under Envoy's names.
type clusterStat struct {
	Name  string `json:"name"`
	Value string `json:"value"` // a 64-bit number is a string in Envoy's JSON
	Type  string `json:"type,omitempty"`
}

func clusterStats(c *evidence.Counts) []clusterStat {
	whole := func(n uint64) string { return strconv.FormatUint(n, 10) }
	failed := c.Class(5)
	return []clusterStat{
		{"cx_active", strconv.FormatInt(c.ActiveConnects, 10), "GAUGE"},
		{"cx_connect_fail", whole(c.ConnectFail), "COUNTER"},
		{"cx_total", whole(c.Connects), "COUNTER"},
		{"rq_active", strconv.FormatInt(c.Active, 10), "GAUGE"},
		{"rq_error", whole(failed + c.Timeout + c.Cut), "COUNTER"},
		{"rq_success", whole(c.Answered() - failed), "COUNTER"},
		{"rq_timeout", whole(c.Timeout), "COUNTER"},
		{"rq_total", whole(c.Total), "COUNTER"},
	}
}

// healthFlags says what is wrong with an endpoint, in Envoy's words: "/failed_active_hc/…", or "healthy".
func healthFlags(e EndpointStatus) string {
	var flags string
	if e.Ejected {
		flags = "/failed_active_hc"
	}
	switch e.Stage {
	case fleet.Starting:
		flags += "/pending_active_hc"
	case fleet.Draining:
		flags += "/eds_status_draining"
	case fleet.Gone:
		flags += "/pending_dynamic_removal"
	case fleet.Warming, fleet.Serving:
	}
	if flags == "" {
		return "healthy"
	}
	return flags
}

// The JSON of /clusters?format=json, in Envoy's shape.
type (
	clustersBody struct {
		Clusters []clusterStatus `json:"cluster_statuses"`
	}
	clusterStatus struct {
		Name  string         `json:"name"`
		Hosts []clusterEntry `json:"host_statuses"`
	}
	clusterEntry struct {
		Address   clusterAddress `json:"address"`
		Stats     []clusterStat  `json:"stats"`
		Health    clusterHealth  `json:"health_status"`
		Weight    uint32         `json:"weight"`
		Hostname  string         `json:"hostname"`
		Locality  fleet.Locality `json:"locality,omitzero"`
		Crossfade EndpointStatus `json:"crossfade"`
	}
	clusterAddress struct {
		Socket struct {
			Address string `json:"address"`
			Port    uint16 `json:"port_value"`
		} `json:"socket_address"`
	}
	clusterHealth struct {
		EDS            string `json:"eds_health_status"`
		FailedActive   bool   `json:"failed_active_health_check,omitempty"`
		PendingActive  bool   `json:"pending_active_hc,omitempty"`
		PendingRemoval bool   `json:"pending_dynamic_removal,omitempty"`
	}
)

func clustersJSON(world World, now time.Time) clustersBody {
	body := clustersBody{Clusters: []clusterStatus{}}
	for _, p := range world.Pools {
		status := clusterStatus{Name: p.envoyName(), Hosts: []clusterEntry{}}
		for _, e := range world.endpointsOf(p, now) {
			counts := p.Endpoints[e.Incarnation].Counts()
			entry := clusterEntry{
				Stats: clusterStats(&counts), Weight: e.Weight, Hostname: e.Name, Locality: e.Locality, Crossfade: e,
				Health: clusterHealth{
					EDS: "HEALTHY", FailedActive: e.Ejected,
					PendingActive: e.Stage == fleet.Starting, PendingRemoval: e.Stage == fleet.Gone,
				},
			}
			if e.Stage == fleet.Draining {
				entry.Health.EDS = "DRAINING"
			}
			entry.Address.Socket.Address = e.Address.Addr().String()
			entry.Address.Socket.Port = e.Address.Port()
			status.Hosts = append(status.Hosts, entry)
		}
		body.Clusters = append(body.Clusters, status)
	}
	return body
}
