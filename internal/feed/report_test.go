package feed

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// reports draws what a gateway may report, with names that need escapes among them.
func reports() *rapid.Generator[*fleet.Report] {
	name := rapid.OneOf(rapid.StringMatching(`[a-z0-9-]{1,12}(:9080)?`), rapid.String())
	sums := rapid.Custom(func(t *rapid.T) (s ending.Sums) {
		for range rapid.IntRange(0, 3).Draw(t, "kinds") {
			s[rapid.IntRange(0, ending.Kinds-1).Draw(t, "kind")] = rapid.Uint64().Draw(t, "n")
		}
		return s
	})
	latency := rapid.Custom(func(t *rapid.T) (list fleet.Buckets) {
		for range rapid.IntRange(0, 3).Draw(t, "buckets") {
			list = append(list, [2]int64{rapid.Int64Range(-136, 57).Draw(t, "index"), rapid.Int64().Draw(t, "n")})
		}
		return list
	})
	statuses := rapid.Custom(func(t *rapid.T) (list []fleet.Code) {
		for range rapid.IntRange(0, 3).Draw(t, "codes") {
			list = append(list, fleet.Code{Status: rapid.IntRange(0, 599).Draw(t, "status"), N: rapid.Uint64().Draw(t, "n")})
		}
		return list
	})
	number := rapid.OneOf(rapid.Float64Range(0, 1), rapid.Float64Range(0, 1e30), rapid.Just(0.0), rapid.Just(1.0), rapid.Just(3e-9))
	return rapid.Custom(func(t *rapid.T) *fleet.Report {
		r := &fleet.Report{From: name.Draw(t, "from"), Role: "gateway", Applied: rapid.Uint64().Draw(t, "applied")}
		if rapid.Bool().Draw(t, "event") {
			r.Events = []fleet.Event{{Kind: "x", Reason: name.Draw(t, "reason") + `,"traffic":{}`}}
		}
		if rapid.Bool().Draw(t, "no traffic") {
			return r
		}
		r.Traffic = &fleet.Traffic{Run: name.Draw(t, "run"), Span: time.Duration(rapid.Int64().Draw(t, "span"))}
		for range rapid.IntRange(0, 2).Draw(t, "listeners") {
			r.Traffic.Listeners = append(r.Traffic.Listeners, fleet.ListenerTraffic{
				Name: name.Draw(t, "name"), Mesh: rapid.Bool().Draw(t, "mesh"), Requests: rapid.Uint64().Draw(t, "requests"),
				Active: rapid.Int64().Draw(t, "active"), Connects: rapid.Uint64().Draw(t, "connects"), Rejected: rapid.Uint64().Draw(t, "rejected"),
				Ended: sums.Draw(t, "ended"), Codes: statuses.Draw(t, "codes"), Calls: statuses.Draw(t, "calls"), Latency: latency.Draw(t, "latency"),
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "services") {
			r.Traffic.Services = append(r.Traffic.Services, fleet.ServiceTraffic{
				Service: name.Draw(t, "service"), Subset: name.Draw(t, "subset"), Active: rapid.Int64().Draw(t, "active"),
				Retries: rapid.Uint64().Draw(t, "retries"), Ended: sums.Draw(t, "ended"), Codes: statuses.Draw(t, "codes"),
				Latency: latency.Draw(t, "latency"), Callers: rapid.MapOfN(name, rapid.Uint64(), 0, 3).Draw(t, "callers"),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			r.Traffic.Endpoints = append(r.Traffic.Endpoints, fleet.EndpointTraffic{
				Service: name.Draw(t, "service"), Incarnation: name.Draw(t, "incarnation"), Requests: rapid.Uint64().Draw(t, "requests"),
				Failed: rapid.Uint64().Draw(t, "failed"), Active: rapid.Int64().Draw(t, "active"), Share: number.Draw(t, "share"),
				Due: number.Draw(t, "due"), Got: rapid.Uint64().Draw(t, "got"), Reason: name.Draw(t, "reason"),
				Ejected: rapid.Bool().Draw(t, "ejected"), Latency: latency.Draw(t, "latency"),
			})
		}
		return r
	})
}

// wantAsJSON checks that a text is read as encoding/json reads it, and where that cannot, not at all.
func wantAsJSON(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, text []byte,
) {
	t.Helper()
	var want, got fleet.Report
	wanted, err := json.Unmarshal(text, &want), (jsonCodec{}).Unmarshal(text, &got)
	if (err == nil) != (wanted == nil) {
		t.Fatalf("%s: got %v, encoding/json says %v", text, err, wanted)
	}
	if diff := cmp.Diff(want, got); diff != "" && err == nil {
		t.Fatalf("%s (-encoding/json +got):\n%s", text, diff)
	}
}

func TestReportsAreReadAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := (jsonCodec{}).Marshal(reports().Draw(t, "report"))
		if err != nil {
			t.Fatal(err)
		}
		wantAsJSON(t, text)
	})
}

// What gateways report is read in the short way, or that would be of no use.
func TestTrafficIsReadInTheShortWay(t *testing.T) {
	r := fleet.Report{From: "gateway-1", Traffic: &fleet.Traffic{
		Run: "R", Span: time.Second, Listeners: []fleet.ListenerTraffic{{Name: "http", Ended: ending.Sums{3, 1}, Codes: []fleet.Code{{Status: 200, N: 3}}}},
		Services:  []fleet.ServiceTraffic{{Service: "reviews:9080", Subset: "v2", Callers: map[string]uint64{"": 1, "productpage-v1": 2}}},
		Endpoints: []fleet.EndpointTraffic{{Service: "reviews:9080", Incarnation: "reviews-v1-1@x", Share: 1e-9, Due: 12.25, Latency: fleet.Buckets{{-136, 4}, {-7, 1}}}},
	}}
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `,"traffic":`)
	got, end, ok := fleet.ReadTraffic([]byte(rest))
	if diff := cmp.Diff(r.Traffic, got); diff != "" || !ok || string(end) != "}" {
		t.Errorf("ok %v, then %q (-want +got):\n%s", ok, end, diff)
	}
}

func FuzzReadReport(f *testing.F) {
	for _, seed := range []string{
		`{"from":"g","traffic":{"run":"r","span_ns":-1,"listeners":[{"name":"a","requests":1,"active":-0,"connects":2,"ended":{"served":1,"cut":2}}]}}`,
		`{"from":"g","traffic":{"run":"r","span_ns":01}}`,
		`{"from":"g","traffic":{"run":"r","endpoints":[{"share":1.5e-3,"due":2.,"latency":[[1,2],[3,4]]}]}}`,
		`{"from":"g","traffic":{"run":"r","services":[{"ended":{},"callers":{"":1,"a":2,"a":3},"codes":[{"status":200,"n":1}]}]}}`,
		`{"from":"g","traffic":null}`, `{"from":",\"traffic\":{}","traffic":{"run":"\u00e9"}}`, `{"drain":{"x":1,"traffic":{"run":"r","span_ns":1}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { wantAsJSON(t, text) })
}
