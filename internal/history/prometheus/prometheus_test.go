package prometheus_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/history/prometheus"
	"crossfade.dev/internal/series"
)

// began is when what real servers are told of began: some hours ago, at a whole hour.
func began() int64 { return time.Now().Add(-5*time.Hour).Unix() / 3600 * 3600 }

// exposition is two hours of a gateway's metrics, scraped each 15 s: at reviews:9080 ten requests a second of which one is lost, in
// 8 to 16 ms; 60 endpoints, of which the first get most; from outside twenty a second.
func exposition(from int64) string {
	var b strings.Builder
	write := func(name, labels string, at int64, v float64) { fmt.Fprintf(&b, "%s{%s} %g %d\n", name, labels, v, at) }
	metrics := []string{
		"crossfade_requests_ended", "crossfade_endpoint_requests", "crossfade_endpoint_timeouts", "crossfade_endpoint_cuts",
		"crossfade_endpoint_connect_failures", "crossfade_endpoint_due_requests",
	}
	each := func(f func(at int64, n float64)) {
		for n := int64(0); n <= 7200; n += 15 {
			f(from+n, float64(n))
		}
	}
	const reviews, ratings = `service="reviews",port="9080",subset=""`, `service="ratings",port="9080",subset=""`
	for _, metric := range metrics {
		fmt.Fprintf(&b, "# TYPE %s counter\n", metric)
		metric += "_total"
		switch metric {
		case "crossfade_requests_ended_total":
			each(func(at int64, n float64) { write(metric, reviews+`,kind="served",side=""`, at, 9*n) })
			each(func(at int64, n float64) { write(metric, reviews+`,kind="cut",side="endpoint"`, at, n) })
			each(func(at int64, n float64) { write(metric, ratings+`,kind="served",side=""`, at, 5*n) })
			each(func(at int64, n float64) { write(metric, `listener="http",kind="served",side=""`, at, 20*n) })
			each(func(at int64, n float64) { write(metric, `listener="mesh",kind="served",side=""`, at, 1000*n) })
		case "crossfade_endpoint_requests_total", "crossfade_endpoint_due_requests_total", "crossfade_endpoint_cuts_total":
			for e := range 60 {
				rate := float64(60 - e)
				if metric == "crossfade_endpoint_cuts_total" {
					rate = 0.5
				}
				each(func(at int64, n float64) {
					write(metric, fmt.Sprintf(`%s,endpoint="reviews-%02d"`, reviews, e), at, rate*n)
				})
			}
		default:
			each(func(at int64, _ float64) { write(metric, reviews+`,endpoint="reviews-00"`, at, 0) })
			for e := 1; e < 60; e++ {
				each(func(at int64, _ float64) { write(metric, fmt.Sprintf(`%s,endpoint="reviews-%02d"`, reviews, e), at, 0) })
			}
		}
	}
	b.WriteString("# TYPE crossfade_endpoint_share_ratio gauge\n")
	each(func(at int64, _ float64) {
		write("crossfade_endpoint_share_ratio", reviews+`,endpoint="reviews-00"`, at, 0.25)
	})
	b.WriteString("# TYPE crossfade_service_requests_active gauge\n")
	each(func(at int64, _ float64) { write("crossfade_service_requests_active", reviews, at, 3) })
	b.WriteString("# TYPE crossfade_service_request_duration_seconds histogram\n")
	for le, part := range map[string]float64{"0.0078125": 0, "0.015625": 1, "+Inf": 1} {
		each(func(at int64, n float64) {
			write("crossfade_service_request_duration_seconds_bucket", reviews+`,le="`+le+`"`, at, 9*n*part)
		})
	}
	b.WriteString("# EOF\n")
	return b.String()
}

// served starts Debian's Prometheus on two hours of metrics, and returns its address.
func served(t *testing.T, from int64) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	tool, toolErr := exec.LookPath("promtool")
	if err != nil || toolErr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no prometheus; scripts/setup installs it")
		}
		t.Skip("there is no prometheus; scripts/setup installs it")
	}
	dir := t.TempDir()
	text, data, config := filepath.Join(dir, "metrics"), filepath.Join(dir, "data"), filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(text, []byte(exposition(from)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "tsdb", "create-blocks-from", "openmetrics", text, data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "--config.file="+config, "--storage.tsdb.path="+data, "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() })
	ready(t, "http://"+address+"/-/ready")
	return "http://" + address
}

// ready waits until an address answers 200.
func ready(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := new(http.Client).Do(r); err == nil {
			a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not answer", address)
		case <-again.C:
		}
	}
}

func isNear(got float32, want float64) bool { return math.Abs(float64(got)-want) <= 0.01*want+0.001 }

// TestARealPrometheus: curves are what the metrics say, by step.
func TestARealPrometheus(t *testing.T) {
	from := began()
	c, err := prometheus.New(served(t, from), new(http.Client))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q series.Query) series.Curves {
		t.Helper()
		q.From, q.To, q.Step = from-600, from+7200, 300
		if wrong := q.Check(); wrong != "" {
			t.Fatal(wrong)
		}
		got, err := c.Curves(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if got.From != q.From || got.Step != 300 {
			t.Errorf("from %d by %d, want %d by 300", got.From, got.Step, q.From)
		}
		return got
	}
	whole := ask(series.Query{Service: "reviews:9080"}).Curves
	if len(whole) != 1 || len(whole[0].Requests) != 26 {
		t.Fatalf("got %+v, want one curve of 26 steps", whole)
	}
	for i := range 26 {
		w := &whole[0]
		if i < 2 { // before anything was scraped
			if !math.IsNaN(float64(w.Requests[i])) {
				t.Errorf("step %d: %v requests, want nothing known", i, w.Requests[i])
			}
			continue
		}
		if !isNear(w.Requests[i], 10) || !isNear(w.Lost[i], 1) || !isNear(w.Active[i], 3) || w.P99[i] < 7.8 || w.P99[i] > 15.7 || w.P50[i] >= w.P99[i] {
			t.Errorf("step %d: requests %v, lost %v, active %v, p50 %v, p99 %v; want 10, 1, 3, and 7.8 to 15.7", i, w.Requests[i], w.Lost[i], w.Active[i], w.P50[i], w.P99[i])
		}
	}
	if outside := ask(series.Query{Outside: true}).Curves; len(outside) != 1 || !isNear(outside[0].Requests[10], 20) || !isNear(outside[0].Lost[10], 0) {
		t.Errorf("from outside: got %+v, want 20 a second, and nothing lost", outside)
	}
	endpoints := ask(series.Query{Service: "reviews:9080", By: series.Endpoint}).Curves
	if len(endpoints) != series.MostCurves+1 {
		t.Fatalf("%d curves, want %d and the others", len(endpoints), series.MostCurves)
	}
	first, rest := endpoints[0], endpoints[series.MostCurves]
	if first.Name != "reviews-00" || !isNear(first.Requests[10], 60) || !isNear(first.Due[10], 60) || !isNear(first.Lost[10], 0.5) || !isNear(first.Share[10], 0.25) {
		t.Errorf("got %+v, want 60 a second of 60 due, half a one lost, a quarter of its weight", first)
	}
	if rest.Name != "others" || !isNear(rest.Requests[10], 55) || !isNear(rest.Lost[10], 5) {
		t.Errorf("got %+v, want the ten that are sent least: 55 a second, 5 lost", rest)
	}
	if none := ask(series.Query{Service: `no"such\service:1`}).Curves; len(none) != 1 || !math.IsNaN(float64(none[0].Requests[10])) {
		t.Errorf("of what there is not: got %+v, want nothing known", none)
	}
}

// TestWhatPrometheusAnswersIsBounded: errors say who answered what, and no secret of the address.
func TestWhatPrometheusAnswersIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"query timed out"}`)
		}, "422 Unprocessable Entity: query timed out"},
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("<html>", 1000)) }, "no JSON"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 33<<20)) }, "more than 32 MB"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		}, "302 Found"},
		"another one": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		}, "matrix"},
	} {
		s := httptest.NewServer(http.HandlerFunc(tt.answer))
		c, err := prometheus.New(strings.Replace(s.URL, "http://", "http://me:secret@", 1), s.Client())
		if err != nil {
			t.Fatal(err)
		}
		q := series.Query{Service: "a:1", From: 0, To: 60, Step: 60}
		if wrong := q.Check(); wrong != "" {
			t.Fatal(wrong)
		}
		_, err = c.Curves(t.Context(), q)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") || len(err.Error()) > 1000 {
			t.Errorf("%s: got %v, want %q, no secret, and no more than 1000 characters", name, err, tt.want)
		}
		s.Close()
		if _, err = c.Curves(t.Context(), q); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s, nobody there: got %v, want an error without the secret", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9090", "ftp://a", "http://", "http://a/?x=1", "http://a/#b", "http://[::1"} {
		if _, err := prometheus.New(address, new(http.Client)); err == nil {
			t.Errorf("%q: no error", address)
		}
	}
}
