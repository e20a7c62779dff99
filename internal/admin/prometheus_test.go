package admin

import (
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// scrape asks as Prometheus does, accepting protobuf or text, and parses the answer.
func scrape(t *testing.T, h http.Handler, accept expfmt.Format) map[string]*dto.MetricFamily {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/stats/prometheus", http.NoBody)
	r.Host = "localhost"
	r.Header.Set("Accept", string(accept))
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	resp := recorder.Result()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("scrape: got %s: %s", resp.Status, recorder.Body)
	}
	if got := expfmt.ResponseFormat(resp.Header); got.FormatType() != accept.FormatType() {
		t.Fatalf("answer is %s, want %s", got, accept)
	}
	decoder := expfmt.NewDecoder(resp.Body, accept)
	families := map[string]*dto.MetricFamily{}
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); err != nil {
			break
		}
		families[family.GetName()] = family
	}
	return families
}

// find returns the one metric of a family that has the labels, written "name=value,name=value" in order.
func find(t *testing.T, families map[string]*dto.MetricFamily, family, labels string) *dto.Metric {
	t.Helper()
	var there []string
	for _, m := range families[family].GetMetric() {
		var pairs []string
		for _, l := range m.GetLabel() {
			pairs = append(pairs, l.GetName()+"="+l.GetValue())
		}
		got := strings.Join(pairs, ",")
		if got == labels {
			return m
		}
		there = append(there, got)
	}
	t.Fatalf("no %s{%s}; there are %q", family, labels, there)
	return nil
}

const (
	ofReviews   = "port=9080,service=reviews,subset="
	ofReviewsV2 = "address=127.1.0.4:9080,endpoint=reviews-v2-1,port=9080,service=reviews,subset="
)

func TestPrometheusText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		families := scrape(t, serve(bookinfo()), expfmt.NewFormat(expfmt.TypeTextPlain))
		for metric, want := range map[[2]string]float64{
			{"crossfade_service_requests_total", ofReviews}:                        340,
			{"crossfade_service_answers_total", "code=503," + ofReviews}:           2,
			{"crossfade_service_requests_active", ofReviews}:                       4,
			{"crossfade_endpoint_requests_total", ofReviewsV2}:                     31,
			{"crossfade_endpoint_share_ratio", ofReviewsV2}:                        0.1025,
			{"crossfade_endpoint_share_ratio", ofReviewsV2 + "v2"}:                 1,
			{"crossfade_endpoint_fraction_ratio", ofReviewsV2}:                     0.093,
			{"crossfade_endpoint_due_requests_total", ofReviewsV2}:                 31.6,
			{"crossfade_endpoint_age_seconds", ofReviewsV2}:                        12.3,
			{"crossfade_listener_connections_total", "listener=http-8080"}:         50,
			{"crossfade_listener_answers_total", "code=404,listener=http-8080"}:    1,
			{"crossfade_snapshot_number", ""}:                                      12,
			{"crossfade_ready", ""}:                                                1,
			{"crossfade_build_info", "program=gateway,version=v0.1.0"}:             1,
			{"crossfade_endpoint_stage_info", stageLabels(ofReviewsV2, "Warming")}: 1,
		} {
			m := find(t, families, metric[0], metric[1])
			if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
				t.Errorf("%s{%s} is %v, want %v", metric[0], metric[1], got, want)
			}
		}
		took := find(t, families, "crossfade_service_request_duration_seconds", ofReviews).GetHistogram()
		// Of 1 ms, 2 ms … 340 ms and two of 1 s: at most 2^-3 s are 125.
		for _, b := range took.GetBucket() {
			if b.GetUpperBound() == 0.125 && b.GetCumulativeCount() != 125 {
				t.Errorf("%d answers took at most 125 ms, want 125", b.GetCumulativeCount())
			}
		}
		if n := len(took.GetBucket()); n != classicLast-classicFirst+2 || took.GetSampleCount() != 342 {
			t.Errorf("%d classic buckets and a count of %d, want 18 and 342", n, took.GetSampleCount())
		}
		if families["go_goroutines"] == nil {
			t.Error("the Go runtime's own metrics are missing")
		}
	})
}

// How requests ended comes for each listener and each pool: what was served always, losses once there are any.
func TestEndsAreExposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t)
		w.Listeners["http-8080"].Requests.Ended(ending.NoEndpoint)
		h := serve(w)
		for labels, want := range map[string]float64{
			"kind=no-endpoint,listener=http-8080,port=,service=,side=gateway,subset=": 1,
			"kind=served,listener=http-8080,port=,service=,side=,subset=":             0,
			"kind=served,listener=,port=9080,service=reviews,side=,subset=":           1,
			"kind=cut,listener=,port=9080,service=reviews,side=endpoint,subset=":      1,
			"kind=cut,listener=,port=9080,service=reviews,side=endpoint,subset=v2":    1,
		} {
			if got := find(t, scrape(t, h, expfmt.NewFormat(expfmt.TypeTextPlain)), "crossfade_requests_ended_total", labels).GetCounter().GetValue(); got != want {
				t.Errorf("%s: got %v, want %v", labels, got, want)
			}
		}
		ask(h, http.MethodPost, "/reset_counters")
		if got := find(t, scrape(t, h, expfmt.NewFormat(expfmt.TypeTextPlain)), "crossfade_requests_ended_total",
			"kind=served,listener=,port=9080,service=reviews,side=,subset=").GetCounter().GetValue(); got != 0 {
			t.Errorf("got %v served after a reset, want 0", got)
		}
	})
}

// stageLabels puts the stage where it sorts: between service and subset.
func stageLabels(labels, stage string) string {
	return strings.Replace(labels, ",subset=", ",stage="+stage+",subset=", 1)
}

// What an observer of Prometheus' own client would have exposed is what we expose: the same native buckets for
// the same durations.
func TestNativeHistogramAgreesWithTheClientLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "theirs", NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: 1.0 / (1 << 17),
		})
		ours := new(evidence.Traffic)
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			octave := rapid.IntRange(0, 36).Draw(t, "octave")
			d := time.Duration(rapid.Int64Range(0, 1<<octave).Draw(t, "ns"))
			theirs.Observe(d.Seconds())
			ours.Answered(200, d)
		}
		var want, got dto.Metric
		if err := theirs.Write(&want); err != nil {
			t.Fatal(err)
		}
		metrics := make(chan prometheus.Metric, 1)
		counts := ours.Counts()
		exposition{metrics: metrics}.latency(prometheus.NewDesc("ours", "", nil, nil), &counts.Latency, true)
		if err := (<-metrics).Write(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(native(want.GetHistogram()), native(got.GetHistogram())); diff != "" {
			t.Fatalf("native buckets (-theirs +ours):\n%s", diff)
		}
		w, g := want.GetHistogram(), got.GetHistogram()
		if g.GetSchema() != w.GetSchema() || g.GetZeroCount() != w.GetZeroCount() || g.GetSampleCount() != w.GetSampleCount() ||
			math.Abs(g.GetSampleSum()-w.GetSampleSum()) > 1e-6 {
			t.Fatalf("theirs %v\nours   %v", w, g)
		}
	})
}

// native decodes spans and deltas into counts by bucket.
func native(h *dto.Histogram) map[int32]int64 {
	buckets := map[int32]int64{}
	var index int32
	var count int64
	deltas := h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			if count != 0 {
				buckets[index] = count
			}
			index++
		}
	}
	return buckets
}

func TestPrometheusProtobufCarriesNativeHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := bookinfo()
		families := scrape(t, serve(world), expfmt.NewFormat(expfmt.TypeProtoDelim))
		h := find(t, families, "crossfade_service_request_duration_seconds", ofReviews).GetHistogram()
		counts := world.Pools[1].Traffic.Counts()
		want := maps.Collect(func(yield func(int32, int64) bool) {
			counts.Latency.Buckets(func(i int, n uint64) bool { return yield(int32(i), int64(n)) })
		})
		if diff := cmp.Diff(want, native(h)); diff != "" {
			t.Errorf("native buckets (-want +got):\n%s", diff)
		}
		if h.GetSchema() != 3 || h.GetSampleCount() != 342 || len(h.GetBucket()) == 0 {
			t.Errorf("schema %d, count %d, %d classic buckets", h.GetSchema(), h.GetSampleCount(), len(h.GetBucket()))
		}
		if created := h.GetCreatedTimestamp().AsTime(); !created.Equal(time.Now().Add(-75 * time.Second)) {
			t.Errorf("counted since %v, want the start of the program", created)
		}
	})
}

// Every family has the unit in its name, help, and the labels that the others have.
func TestMetricNamesFollowTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, f := range scrape(t, serve(bookinfo()), expfmt.NewFormat(expfmt.TypeTextPlain)) {
			if !strings.HasPrefix(name, "crossfade_") {
				continue
			}
			if f.GetType() == dto.MetricType_COUNTER != strings.HasSuffix(name, "_total") {
				t.Errorf("%s is a %s", name, f.GetType())
			}
			if !strings.HasSuffix(f.GetHelp(), ".") {
				t.Errorf("%s has no sentence for help: %q", name, f.GetHelp())
			}
			for _, m := range f.GetMetric() {
				labels := m.GetLabel()
				if !slices.IsSortedFunc(labels, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }) {
					t.Errorf("%s has labels %v", name, labels)
				}
			}
		}
	})
}

// What agents told control is counted by kind.
func TestAgentEventsAreCounted(t *testing.T) {
	world := func() World { return World{AgentEvents: map[string]uint64{"instance.died": 2, "probe.passed": 5}} }
	families := scrape(t, Handler(Config{World: world, Program: "control"}), expfmt.NewFormat(expfmt.TypeTextPlain))
	for kind, want := range map[string]float64{"instance.died": 2, "probe.passed": 5} {
		if got := find(t, families, "crossfade_agent_events_total", "kind="+kind).GetCounter().GetValue(); got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}

// What control has of its registries is a metric of each.
func TestRegistriesAreCounted(t *testing.T) {
	world := func() World {
		return World{Registries: []fleet.RegistryState{
			{Name: "nacos", Instances: 5, Foreign: 3, Unread: 2, Lost: 1}, {Name: "zookeeper", Away: true, Instances: 7},
		}}
	}
	families := scrape(t, Handler(Config{World: world, Program: "control"}), expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, test := range []struct {
		name, registry string
		want           float64
	}{
		{"up", "nacos", 1},
		{"up", "zookeeper", 0},
		{"instances", "nacos", 5},
		{"instances", "zookeeper", 7},
		{"foreign_instances", "nacos", 3},
		{"unread_entries", "nacos", 2},
		{"lost_instances", "nacos", 1},
	} {
		got := find(t, families, "crossfade_registry_"+test.name, "registry="+test.registry).GetGauge().GetValue()
		if got != test.want {
			t.Errorf("%s of %s: %v, want %v", test.name, test.registry, got, test.want)
		}
	}
}
