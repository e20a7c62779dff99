package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
)

// What an endpoint says of its load is shown as such, wherever endpoints are, and through the sum of several replicas.
func TestLoadReportsAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t)
		e := w.Pools[1].Endpoints["i-2"]
		e.Reports.Note(&evidence.Load{
			Application: 0.5, Requests: 120,
			Named: []evidence.Metric{{Name: evidence.WarmAge, Value: 12}, {Name: "queue.length", Value: 3}, {Name: evidence.WarmShare, Value: 0.25}},
		}, time.Now())
		e.Reports.Unread.Inc()
		time.Sleep(2 * time.Second)
		const sentence = "It says of its load: 0.5 of what it can do is in use, 120 requests per second, queue.length 3 (2 s ago). " +
			"1 report of its load could not be read."
		for _, world := range []World{w, travelled(t, w).World(w.View)} {
			h := serve(world)
			explained := get(t, h, "/api/v1/explain?service=reviews:9080")
			if n := strings.Count(explained, sentence); n != 2 { // in the service and in its subset
				t.Errorf("explained %d times, want 2:\n%s", n, explained)
			}
			var list EndpointList
			if err := json.Unmarshal([]byte(get(t, h, "/api/v1/endpoints?service=reviews:9080")), &list); err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Endpoints {
				if said := s.Load != nil; said != (s.Incarnation == "i-2") || said && (s.Load.Application != 0.5 || s.Load.Since != 2*time.Second || s.Load.Unread != 1) {
					t.Errorf("%s: %+v", s.Name, s.Load)
				}
			}
			metrics := get(t, h, "/stats/prometheus")
			if want := `crossfade_endpoint_load{address="127.1.0.4:9080",endpoint="reviews-v2-1",metric="rps_fractional",port="9080",service="reviews",subset=""} 120`; !strings.Contains(metrics, want) {
				t.Errorf("metrics have no %s:\n%s", want, grep(metrics, "endpoint_load"))
			}
			if strings.Contains(metrics, "warm.") || strings.Contains(metrics, "queue.") {
				t.Errorf("what an endpoint made up is a metric:\n%s", grep(metrics, "warm"))
			}
		}
	})
}

func grep(text, word string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
