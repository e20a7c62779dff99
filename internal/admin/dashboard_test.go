package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

const dashboard = "../../deploy/grafana/crossfade.json"

// everything is a world of which every metric is shown.
func everything() World {
	w := bookinfo()
	w.Drain, w.Leaves = new(drain.Report), newLeaves()
	w.AgentEvents = map[string]uint64{"instance.died": 1}
	w.Registries = []fleet.RegistryState{{Name: "etcd"}}
	return w
}

// expressions are what a dashboard asks Prometheus for.
func expressions(t *testing.T, text []byte) []string {
	t.Helper()
	var d struct {
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var all []string
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %d is there twice", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	for _, v := range d.Templating.List {
		all = append(all, v.Definition)
	}
	return all
}

var (
	metric  = regexp.MustCompile(`(crossfade_[a-z0-9_]+)(\{[^}]*\})?`)
	matcher = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouped = regexp.MustCompile(`\b(?:by|without)\s*\(([^)]*)\)`)
)

// absent says which metrics and labels of an expression there are none of.
func absent(families map[string]*dto.MetricFamily, expression string) (none []string) {
	all := map[string]bool{"le": true}
	for _, found := range metric.FindAllStringSubmatch(expression, -1) {
		name := found[1]
		family := families[name]
		if base, cut := strings.CutSuffix(name, "_bucket"); cut && families[base].GetType() == dto.MetricType_HISTOGRAM {
			family = families[base]
		}
		if family == nil {
			none = append(none, name)
			continue
		}
		labels := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()], all[l.GetName()] = true, true
			}
		}
		for _, of := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !labels[of[1]] {
				none = append(none, name+"{"+of[1]+"}")
			}
		}
	}
	for _, by := range grouped.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(by[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !all[label] {
				none = append(none, "by "+label)
			}
		}
	}
	return none
}

// Whatever the dashboard asks for exists, with the labels that it asks by.
func TestTheDashboardShowsWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	list := expressions(t, text)
	if len(list) < 20 {
		t.Fatalf("the dashboard has %d expressions: was it read?", len(list))
	}
	synctest.Test(t, func(t *testing.T) {
		families := scrape(t, serve(everything()), expfmt.NewFormat(expfmt.TypeTextPlain))
		for _, expression := range list {
			if none := absent(families, expression); len(none) > 0 {
				t.Errorf("%s: there is no %v", expression, none)
			}
		}
		for _, tt := range []struct {
			expression string
			want       []string
		}{
			{`sum by (code) (rate(crossfade_listener_answers_total{listener!="mesh"}[1m]))`, nil},
			{`histogram_quantile(0.9, sum by (le) (crossfade_listener_request_duration_seconds_bucket))`, nil},
			{`crossfade_nothing_total`, []string{"crossfade_nothing_total"}},
			{`crossfade_ready_bucket`, []string{"crossfade_ready_bucket"}},
			{`sum by (color) (crossfade_listener_answers_total{subset="v1"})`, []string{"crossfade_listener_answers_total{subset}", "by color"}},
		} {
			if got := absent(families, tt.expression); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.expression, got, tt.want)
			}
		}
	})
}
