package admin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
)

// A kind is what a stat is, under the name that ?type= has for it.
type kind string

const (
	counter   kind = "Counters"
	gauge     kind = "Gauges"
	histogram kind = "Histograms"
)

// A stat is one line of /stats.
type stat struct {
	name    string
	kind    kind
	value   int64           // of a counter or gauge
	latency *meter.Snapshot // of a histogram
}

func (s stat) used() bool {
	if s.kind == histogram {
		return s.latency.Count > 0
	}
	return s.value != 0
}

// stats answers GET /stats.
func (a *api) stats(w http.ResponseWriter, r *http.Request) {
	query, err := parseStatsQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if query.format == "prometheus" {
		a.metrics.ServeHTTP(w, r)
		return
	}
	all := slices.DeleteFunc(a.world().stats(time.Since(a.Started)), func(s stat) bool { return !query.wants(s) })
	if query.format == "json" {
		writeJSON(w, http.StatusOK, statsJSON(all))
		return
	}
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "%s: %s\n", s.name, s.text())
	}
	writeText(w, text.String())
}

// A statsQuery says which stats are wanted, and how.
type statsQuery struct {
	filter   *regexp.Regexp // nil wants all
	usedOnly bool
	kind     kind   // "" wants all
	format   string // "text", "json", "prometheus"
}

// What a filter may be: far more than anybody types, and little enough to be tried on every name.
const (
	maxFilter        = 1024 // bytes
	maxFilterProgram = 4096 // instructions; repetitions make many of few bytes
)

// parseStatsQuery reads the parameters of /stats, Envoy's. What it does not know it refuses.
func parseStatsQuery(values url.Values) (statsQuery, error) {
	query := statsQuery{format: "text"}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		var err error
		switch name {
		case "filter":
			query.filter, err = compileFilter(value)
		case "usedonly":
			query.usedOnly = true
		case "type":
			query.kind, err = oneOf("type", kind(value), "", counter, gauge, histogram)
		case "format":
			query.format, err = oneOf("format", value, "text", "json", "prometheus")
		default:
			err = fmt.Errorf("parameter %q is not known; there are filter, usedonly, type and format", name)
		}
		if err != nil {
			return statsQuery{}, err
		}
	}
	if query.format == "prometheus" && len(values) > 1 {
		return statsQuery{}, errors.New("format=prometheus takes no other parameter: its stats have names of their own")
	}
	return query, nil
}

// compileFilter compiles a filter; the empty one is nil and wants all.
func compileFilter(filter string) (*regexp.Regexp, error) {
	if filter == "" {
		return nil, nil //nolint:nilnil // no filter is an answer, not an error
	}
	if len(filter) > maxFilter {
		return nil, fmt.Errorf("filter is longer than %d bytes", maxFilter)
	}
	parsed, err := syntax.Parse(filter, syntax.Perl)
	if broken, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fmt.Errorf("filter: %s: %q", broken.Code, broken.Expr) // quoted: it may hold anything
	}
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if len(program.Inst) > maxFilterProgram {
		return nil, errors.New("filter repeats too much")
	}
	return regexp.Compile(filter)
}

// oneOf returns value when it is one of allowed.
func oneOf[T ~string](name string, value T, allowed ...T) (T, error) {
	if slices.Contains(allowed, value) {
		return value, nil
	}
	return "", fmt.Errorf("%s %q is not one of %q", name, value, allowed)
}

func (q statsQuery) wants(s stat) bool {
	return (q.kind == "" || q.kind == s.kind) &&
		(!q.usedOnly || s.used()) &&
		(q.filter == nil || q.filter.MatchString(s.name))
}

// stats returns everything that the world counts, sorted by name.
func (w World) stats(uptime time.Duration) []stat {
	var live int64
	if w.Ready {
		live = 1
	}
	all := statList{
		{name: "server.live", kind: gauge, value: live},
		{name: "server.uptime", kind: gauge, value: int64(uptime / time.Second)},
		{name: "crossfade.snapshot", kind: gauge, value: int64(w.View.Number)},
	}
	for _, p := range w.Pools {
		all.pool(p, w.Overlay)
	}
	for name, d := range w.Listeners {
		all.listener("http."+statName(name)+".", d)
	}
	if w.Streams != nil {
		for _, f := range streamsTable {
			all.add("http2."+f.envoy, counter, f.value(w.Streams))
		}
	}
	slices.SortFunc(all, func(x, y stat) int { return cmp.Compare(x.name, y.name) })
	return all
}

// A statList is stats being gathered.
type statList []stat

func (l *statList) add(name string, k kind, value int64) {
	*l = append(*l, stat{name: name, kind: k, value: value})
}

// pool adds a pool's stats and, under the whole service, those of each address. The one endpoint of an inbound
// service would only repeat it.
func (l *statList) pool(p Pool, overlay fleet.Overlay) {
	prefix := "cluster." + statName(p.envoyName()) + "."
	counts := p.counts()
	l.traffic(prefix, &counts, true)
	var healthy int64
	members := p.members()
	for _, e := range members {
		if e.Stage.Offered() && !overlay[e.Incarnation].Ejected {
			healthy++
		}
	}
	l.add(prefix+"membership_total", gauge, int64(len(members)))
	l.add(prefix+"membership_healthy", gauge, healthy)
	switch {
	case p.Service.Inbound:
		l.codes(prefix+"external.upstream_rq_", &counts)
		l.add(prefix+"external.upstream_rq_completed", counter, int64(counts.Answered()))
	case p.Pool.Subset == "":
		for _, at := range p.addresses() {
			l.traffic(prefix+"endpoint."+statName(at.Youngest.Address.String())+".", &at.Counts, false)
		}
	}
}

// traffic adds what passed a place: a whole pool, or one endpoint.
func (l *statList) traffic(prefix string, counts *evidence.Counts, whole bool) {
	for _, f := range trafficTable {
		if whole || !f.whole {
			l.add(prefix+f.envoy, kindOf(f.gauge), f.value(counts))
		}
	}
	l.codes(prefix+"upstream_rq_", counts)
	l.calls(prefix, counts)
	*l = append(*l, stat{name: prefix + "upstream_rq_time", kind: histogram, latency: &counts.Latency})
}

// codes adds the classes, and every status that was ever seen. 200 is there from the start: scripts look for it.
func (l *statList) codes(prefix string, counts *evidence.Counts) {
	for class := 1; class <= 5; class++ {
		l.add(prefix+strconv.Itoa(class)+"xx", counter, int64(counts.Class(class)))
	}
	seen200 := false
	for _, code := range counts.Codes {
		l.add(prefix+strconv.Itoa(code.Status), counter, int64(code.N))
		seen200 = seen200 || code.Status == http.StatusOK
	}
	if !seen200 {
		l.add(prefix+"200", counter, 0)
	}
}

// calls adds every status of gRPC that was ever seen, by number.
func (l *statList) calls(prefix string, counts *evidence.Counts) {
	for _, code := range counts.Calls {
		l.add(prefix+"grpc."+strconv.Itoa(code.Status), counter, int64(code.N))
	}
}

func (l *statList) listener(prefix string, d *evidence.Downstream) {
	for _, f := range listenerTable {
		l.add(prefix+f.envoy, kindOf(f.gauge), f.value(d))
	}
	counts := d.Requests.Counts()
	for class := 1; class <= 5; class++ {
		l.add(prefix+"downstream_rq_"+strconv.Itoa(class)+"xx", counter, int64(counts.Class(class)))
	}
	l.add(prefix+"downstream_rq_completed", counter, int64(counts.Answered()))
	l.calls(prefix, &counts)
	*l = append(*l, stat{name: prefix + "downstream_rq_time", kind: histogram, latency: &counts.Latency})
}

func kindOf(isGauge bool) kind {
	if isGauge {
		return gauge
	}
	return counter
}

// statName writes a name as Envoy does inside a stat: a colon would end it, so it becomes an underscore.
func statName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ':' || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, name)
}
