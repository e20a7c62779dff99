package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// One file per path: what it answers for the world of bookinfo, byte for byte. Whoever changes an answer changes
// its file, with go test -update, and looks at the difference.
func TestAnswers(t *testing.T) {
	for file, target := range map[string]string{
		"ready.txt":           "/ready",
		"stats.txt":           "/stats",
		"stats.json":          "/stats?format=json&filter=reviews.upstream",
		"stats-filtered.txt":  "/stats?filter=v2.*upstream_rq_[2t]&usedonly",
		"stats-times.txt":     "/stats?type=Histograms&usedonly",
		"clusters.txt":        "/clusters",
		"clusters.json":       "/clusters?format=json",
		"config_dump.json":    "/config_dump",
		"help.txt":            "/",
		"services.json":       "/api/v1/services",
		"endpoints.json":      "/api/v1/endpoints?service=reviews",
		"endpoints-v2.json":   "/api/v1/endpoints?service=reviews:9080&subset=v2",
		"events.json":         "/api/v1/events",
		"events-since.json":   "/api/v1/events?since=1m",
		"explain.json":        "/api/v1/explain?service=reviews",
		"explain-absent.json": "/api/v1/explain?service=revews",
	} {
		t.Run(file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				golden(t, file, read(t, ask(serve(bookinfo()), http.MethodGet, target)))
			})
		})
	}
}

func TestServerInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got ServerInfo
		if err := json.Unmarshal([]byte(get(t, serve(bookinfo()), "/server_info")), &got); err != nil {
			t.Fatal(err)
		}
		got.PID, got.Go = 0, ""
		want := ServerInfo{
			Version: "v0.1.0", State: "LIVE", Program: "gateway", ID: "gateway-1", Uptime: "75s", Snapshot: 12, Config: "sha256:c0ffee",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("server info (-want +got):\n%s", diff)
		}
	})
}

// The seed's own commands: curl localhost:15000/stats | grep inbound | grep upstream_rq_200.
func TestSidecarCountsUnderTheSeedsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(sidecar(333))
		grep := func() (found []string) {
			for line := range strings.Lines(get(t, h, "/stats")) {
				if strings.Contains(line, "inbound") && strings.Contains(line, "upstream_rq_200") {
					found = append(found, strings.TrimSpace(line))
				}
			}
			return found
		}
		want := []string{"cluster.inbound|9080||.external.upstream_rq_200: 333", "cluster.inbound|9080||.upstream_rq_200: 333"}
		if diff := cmp.Diff(want, grep()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		if resp := ask(h, http.MethodPost, "/reset_counters"); resp.StatusCode != http.StatusOK || read(t, resp) != "OK\n" {
			t.Errorf("reset answered %s", resp.Status)
		}
		want = []string{"cluster.inbound|9080||.external.upstream_rq_200: 0", "cluster.inbound|9080||.upstream_rq_200: 0"}
		if diff := cmp.Diff(want, grep()); diff != "" {
			t.Errorf("stats after reset (-want +got):\n%s", diff)
		}
	})
}

// Every counter is zero after a reset and every gauge as it was, and no name is lost.
func TestResetZeroesCountersAndKeepsGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := bookinfo()
		h := serve(world)
		before := world.stats(0)
		if resp := ask(h, http.MethodGet, "/reset_counters"); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET /reset_counters: got %d, want 405", resp.StatusCode)
		}
		if n := len(slices.DeleteFunc(world.stats(0), func(s stat) bool { return s.kind == gauge || !s.used() })); n == 0 {
			t.Fatal("nothing is counted before the reset")
		}
		ask(h, http.MethodPost, "/reset_counters")
		after := world.stats(0)
		if len(before) != len(after) {
			t.Fatalf("%d stats before, %d after", len(before), len(after))
		}
		for i, s := range after {
			switch {
			case s.name != before[i].name:
				t.Errorf("stat %d is %s, was %s", i, s.name, before[i].name)
			case s.kind == gauge && s.value != before[i].value:
				t.Errorf("%s is %d after the reset, was %d", s.name, s.value, before[i].value)
			case s.kind != gauge && s.used():
				t.Errorf("%s is %s after the reset, want nothing", s.name, s.text())
			}
		}
	})
}

func TestResetKeepsNothingFromThoseWhoCountOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := sidecar(10)
		h := serve(world)
		ask(h, http.MethodPost, "/reset_counters")
		for range 7 {
			world.Pools[0].Traffic.Answered(200, time.Millisecond)
		}
		if got, want := get(t, h, "/stats?filter=9080\\|\\|\\.upstream_rq_200"), "cluster.inbound|9080||.upstream_rq_200: 7\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(World{ReadyReason: "no snapshot yet"})
		resp := ask(h, http.MethodGet, "/ready")
		if body := read(t, resp); resp.StatusCode != http.StatusServiceUnavailable || body != "NOT READY: no snapshot yet\n" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	})
}

// A program that knows nothing yet answers every path, and says so.
func TestEmptyWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(World{})
		for _, target := range []string{
			"/stats", "/stats?format=json", "/stats/prometheus", "/clusters", "/clusters?format=json", "/config_dump",
			"/server_info", "/api/v1/services", "/api/v1/endpoints", "/api/v1/events", "/api/v1/explain", "/help",
		} {
			get(t, h, target)
		}
	})
}

// Control carries no traffic; it shows its view all the same.
func TestWorldWithoutPoolsShowsTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := bookinfo()
		world.Pools = nil
		var got EndpointList
		if err := json.Unmarshal([]byte(get(t, serve(world), "/api/v1/endpoints?service=reviews")), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Endpoints) != 4 || got.Endpoints[1].Ramp != nil || got.Endpoints[1].Traffic != nil || got.Endpoints[1].Age != 12300*time.Millisecond {
			t.Errorf("got %+v", got.Endpoints)
		}
	})
}

func TestBadRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(bookinfo())
		for target, want := range map[string]int{
			"/stats?filter=(": 400,
			"/stats?filter=" + strings.Repeat("a", 1025):   400,
			"/stats?filter=((abc){20}){50}":                400,
			"/stats?filter=((abc){20}){40}":                200,
			"/stats?format=xml":                            400,
			"/stats?type=Nothing":                          400,
			"/stats?fliter=a":                              400,
			"/stats?format=prometheus&usedonly":            400,
			"/stats?format=prometheus":                     200,
			"/clusters?format=xml":                         400,
			"/clusters?all":                                400,
			"/api/v1/events?since=yesterday":               400,
			"/api/v1/events?until=1m":                      400,
			"/api/v1/endpoints?service=nobody":             404,
			"/api/v1/endpoints?service=reviews&subset=v9":  404,
			"/api/v1/endpoints?service=reviews&sort=share": 400,
			"/api/v1/services?service=nobody":              404,
			"/nowhere":                                     404,
		} {
			if resp := ask(h, http.MethodGet, target); resp.StatusCode != want {
				t.Errorf("GET %s: got %d, want %d", target, resp.StatusCode, want)
			}
		}
	})
}

func TestConfigDumpHoldsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := bookinfo()
		before, err := json.Marshal(world.View.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if dump := get(t, serve(world), "/config_dump"); strings.Contains(dump, "s3cret") {
			t.Errorf("a secret is shown:\n%s", dump)
		}
		after, err := json.Marshal(world.View.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(before), string(after)); diff != "" {
			t.Errorf("dumping changed the snapshot (-want +got):\n%s", diff)
		}
		if n := strings.Count(string(before), "s3cret"); n != 6 {
			t.Errorf("the snapshot holds the secret %d times, want 6: one for each place that must hide it", n)
		}
	})
}

func TestMountsStandBehindTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Handler(Config{World: bookinfo, Program: "control", Mounts: []Mount{{
			Pattern: "POST /api/v1/scale", Help: "set the number of replicas",
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }),
		}}})
		if resp := ask(h, http.MethodPost, "/api/v1/scale"); resp.StatusCode != http.StatusAccepted {
			t.Errorf("got %d, want 202", resp.StatusCode)
		}
		if resp := askAs(h, http.MethodPost, "/api/v1/scale", "evil.example", nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("with a foreign Host: got %d, want 403", resp.StatusCode)
		}
		if help := get(t, h, "/"); !strings.Contains(help, "POST /api/v1/scale       set the number of replicas") {
			t.Errorf("the help page does not list it:\n%s", help)
		}
	})
}

func TestStatsOfOneAddressAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := bookinfo()
		reviews := world.Pools[1].Service
		reviews.Endpoints[1].Address = reviews.Endpoints[0].Address // a newcomer where the old one still finishes
		text := get(t, serve(world), "/stats?filter=endpoint.127.1.0.3_9080.upstream_rq_200")
		if want := "cluster.outbound|9080||reviews.endpoint.127.1.0.3_9080.upstream_rq_200: " + strconv.Itoa(309+31) + "\n"; text != want {
			t.Errorf("got %q, want %q", text, want)
		}
		get(t, serve(world), "/stats/prometheus") // answers 500 where two metrics have one name
	})
}

// Whatever is typed as a filter is answered with 200 or 400, at once, and what is shown matches.
func FuzzStatsFilter(f *testing.F) {
	for _, seed := range []string{"", "upstream_rq_200", "(", "^cluster\\.inbound", "[[:alpha:]]+$", "(?i)RQ", "a{1000}", "(a{1000}){1000}", "\xff", "(\n", "(\x00", "|"} {
		f.Add(seed)
	}
	all := sidecar(3).stats(0)
	f.Fuzz(func(t *testing.T, filter string) {
		query, err := parseStatsQuery(map[string][]string{"filter": {filter}})
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 8*maxFilter {
				t.Errorf("error is no sentence: %q", err)
			}
			return
		}
		shown := 0
		for _, s := range all {
			if query.wants(s) {
				shown++
				if query.filter != nil && query.filter.FindStringIndex(s.name) == nil {
					t.Errorf("filter %q shows %s", filter, s.name)
				}
			}
		}
		if filter == "" && shown != len(all) {
			t.Errorf("no filter shows %d of %d", shown, len(all))
		}
	})
}
