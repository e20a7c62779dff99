package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// travelled is what a supervisor reads of a world.
func travelled(t *testing.T, w World) *Sum {
	t.Helper()
	text, err := json.Marshal(SumOf(w))
	if err != nil {
		t.Fatal(err)
	}
	sum := new(Sum)
	if err := json.Unmarshal(text, sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

// busy is a world in which everything was counted that can be.
func busy(t *testing.T) World {
	t.Helper()
	w := bookinfo()
	w.Streams = new(http2.Stats)
	w.Streams.Streams.Add(12)
	w.Streams.Floods[1].Add(1)
	w.Drain, w.Conns = &drain.Report{
		Stage: drain.Draining, Accepted: 4, Seconds: map[drain.Stage]float64{drain.LameDuck: 2},
		Protocols: map[drain.Protocol]drain.Requests{drain.GRPC: {Before: 1, Leave: drain.Count{Open: 1}, Ever: drain.Count{Open: 1, Opened: 3, Completed: 2}}},
	}, 2
	for i := range w.Pools { // as a gateway has it: everybody was counted, if only to 0
		p := &w.Pools[i]
		p.Requests = new(evidence.Traffic)
		p.Requests.Total.Add(3)
		p.Requests.Ended(ending.Served)
		p.Requests.Ended(ending.Cut)
		for i := range p.Service.Endpoints {
			if incarnation := p.Service.Endpoints[i].Incarnation; p.Endpoints[incarnation] == nil {
				p.Endpoints[incarnation] = new(evidence.Traffic)
			}
		}
	}
	return w
}

// One replica looks as it would by itself, under every path.
func TestSumOfOneIsTheOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t)
		sum := travelled(t, w)
		all := new(Sum)
		all.Add(sum)
		world := all.World(w.View)
		world.Locality, world.Ready = w.Locality, w.Ready
		own, together := serve(w), serve(world)
		for _, path := range []string{
			"/stats", "/stats?usedonly", "/stats?format=json", "/clusters", "/clusters?format=json", "/ready", "/config_dump", "/server_info",
			"/api/v1/services", "/api/v1/endpoints", "/api/v1/endpoints?subset=v2", "/api/v1/events", "/api/v1/explain", "/api/v1/sum",
		} {
			if diff := cmp.Diff(get(t, own, path), get(t, together, path)); diff != "" {
				t.Errorf("%s (-alone +sum of one):\n%s", path, diff)
			}
		}
		if diff := cmp.Diff(metrics(t, own), metrics(t, together)); diff != "" || len(metrics(t, own)) < 50 {
			t.Errorf("metrics (-alone +sum of one):\n%s", diff)
		}
	})
}

// metrics are ours, without those of the process.
func metrics(t *testing.T, h http.Handler) (lines []string) {
	t.Helper()
	for line := range strings.Lines(get(t, h, "/stats/prometheus")) {
		if strings.HasPrefix(line, "crossfade_") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestSumOfSeveral(t *testing.T) {
	w := busy(t)
	service := w.View.Services[0]
	incarnation := service.Endpoints[0].Incarnation
	one, two := travelled(t, w), travelled(t, w)
	two.Snapshot--
	two.Overlay = fleet.Overlay{incarnation: {Ejected: true, Reason: "connection refused", Progress: 0.5}}
	two.Ejecting = Ejecting{incarnation: 1}
	one.Overlay, one.Ejecting = fleet.Overlay{incarnation: {Progress: 1}}, nil
	all := new(Sum)
	for _, s := range []*Sum{one, two, one.Left()} {
		all.Add(s)
	}
	if all.Of != 2 || all.Snapshot != two.Snapshot || all.Conns != 4 || all.Drain.Accepted != 8 {
		t.Errorf("got %d replicas at snapshot %d with %d connections of %d, want 2 at %d with 4 of 8", all.Of, all.Snapshot, all.Conns, all.Drain.Accepted, two.Snapshot)
	}
	sum, alone := all.World(w.View), one.World(w.View)
	for i, p := range sum.Pools {
		was, is := alone.Pools[i].Traffic.Counts(), p.Traffic.Counts()
		if is.Total != 3*was.Total || is.Answered() != 3*was.Answered() || is.Latency.Count != 3*was.Latency.Count {
			t.Errorf("pool %d: got %d requests, want 3 times %d", i, is.Total, was.Total)
		}
		if is.Active != 2*was.Active {
			t.Errorf("pool %d: got %d requests open, want twice %d: who is gone has none", i, is.Active, was.Active)
		}
		for j, share := range p.Shares {
			other := shareOf(alone.Pools[i].Shares, share.Endpoint)
			if near := share.Share - other.Share; near > 1e-9 || near < -1e-9 || share.Actual != 3*other.Actual {
				t.Errorf("pool %d, endpoint %d: got a share of %v and %d requests, want %v and 3 times %d", i, j, share.Share, share.Actual, other.Share, other.Actual)
			}
		}
	}
	mark := sum.Overlay[incarnation]
	if want := "connection refused (1 of 2 replicas leave it out)"; !mark.Ejected || mark.Reason != want || mark.Progress != 0.5 {
		t.Errorf("got %+v, want it ejected: %s", mark, want)
	}
	if one.Overlay[incarnation].Ejected {
		t.Error("adding changed what was added")
	}
}

func shareOf(shares []balancer.Share, e *fleet.Endpoint) balancer.Share {
	for _, s := range shares {
		if s.Endpoint == e {
			return s
		}
	}
	return balancer.Share{}
}

func TestSumForgetsWhatIsNoMore(t *testing.T) {
	w := busy(t)
	sum := travelled(t, w)
	less := *w.View.Snapshot
	less.Services = append([]fleet.Service(nil), less.Services[0])
	less.Services[0].Endpoints = less.Services[0].Endpoints[:1]
	sum.Keep(&less)
	for key, p := range sum.Pools {
		if p.Service != less.Services[0].Name || len(p.Shares) > 1 {
			t.Errorf("%s is kept with %d shares", key, len(p.Shares))
		}
	}
	if len(sum.Endpoints) > 1 || len(sum.Endpoints[less.Services[0].Name]) > 1 {
		t.Errorf("got %v", sum.Endpoints)
	}
	sum.Reset()
	for key, p := range sum.Pools {
		if p.Traffic.Total != 0 || p.Traffic.Answered() != 0 {
			t.Errorf("after a reset %s has counted %+v", key, p.Traffic)
		}
	}
}

// What leaves came to is counted on when those are no more who left: also what was told while they did. As long as one
// serves, its stage and times are not those of who leaves.
func TestSumOfLeaves(t *testing.T) {
	w := busy(t)
	w.Drain = &drain.Report{Stage: drain.Serving}
	serving := travelled(t, w)
	w.Drain = &drain.Report{
		Stage: drain.Forced, Reason: "SIGTERM", Began: time.Unix(1, 0), Seconds: map[drain.Stage]float64{drain.LameDuck: 2, drain.Draining: 30},
		Protocols: map[drain.Protocol]drain.Requests{drain.GRPC: {Before: 9, Leave: drain.Count{Open: 1, Opened: 3, Completed: 5, Failed: 2, Told: 4, Cut: 1}}},
	}
	leaving := travelled(t, w)
	shown := func(sums ...*Sum) string {
		all := new(Sum)
		for _, s := range sums {
			all.Add(s)
		}
		var lines []string
		for _, line := range metrics(t, serve(all.World(w.View))) {
			if strings.Contains(line, "_drain_") || strings.Contains(line, "_leaves_") {
				lines = append(lines, strings.TrimPrefix(line, "crossfade_"))
			}
		}
		return strings.Join(lines, "")
	}
	none := &Sum{Leaves: new(Leaves)} // of a supervisor that nobody has left yet
	past := new(Sum)
	past.Add(none)
	past.Add(leaving.Left())
	past.Ended(LeftCut)
	twice := new(Sum)
	twice.Add(past)
	twice.Add(past)
	twice.Ended(LeftClean)
	over := new(Sum)
	over.Add(past)
	over.Reset()
	const clean, cut = `leaves_total{outcome="clean"} `, `leaves_total{outcome="cut"} `
	grpc := func(kind string) string { return `drain_requests_total{kind="` + kind + `",protocol="grpc"} ` }
	const open = `drain_requests_open{protocol="grpc"} `
	for _, tt := range []struct {
		name string
		sums []*Sum
		want []string
		not  string
	}{
		{"nobody leaves", []*Sum{none, serving}, []string{clean + "0", cut + "0", grpc("cut") + "0", grpc("completed") + "0", open + "0", "drain_stage 0"}, "drain_seconds"},
		{"one of two leaves", []*Sum{none, serving, leaving}, []string{clean + "0", cut + "0", grpc("cut") + "1", grpc("completed") + "5", open + "1", "drain_stage 0"}, "drain_seconds"},
		{"the other way around", []*Sum{leaving, serving, none}, []string{grpc("failed") + "2", grpc("told") + "4", open + "1", "drain_stage 0"}, "drain_seconds"},
		{"it has left", []*Sum{past, serving}, []string{clean + "0", cut + "1", grpc("cut") + "1", grpc("completed") + "5", open + "0", "drain_stage 0"}, "drain_seconds"},
		{"three, of whom one did nothing", []*Sum{twice, serving}, []string{clean + "1", cut + "2", grpc("cut") + "2", grpc("completed") + "10", open + "0"}, "drain_seconds"},
		{"all leave", []*Sum{past, leaving}, []string{cut + "1", grpc("cut") + "2", open + "1", "drain_stage 3", `drain_seconds{stage="draining"} 30`}, `outcome="clean"} 1`},
		{"set to zero", []*Sum{over, serving}, []string{cut + "0", grpc("cut") + "0"}, "drain_seconds"},
	} {
		got := shown(tt.sums...)
		for _, want := range tt.want {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("%s: want %s in\n%s", tt.name, want, got)
			}
		}
		if strings.Contains(got, tt.not) {
			t.Errorf("%s: %s is none of its:\n%s", tt.name, tt.not, got)
		}
	}
}

// With ?last=1 the answer comes when the program ends, whole.
func TestLastSum(t *testing.T) {
	traffic := new(evidence.Traffic)
	w := busy(t)
	w.Pools[0].Traffic = traffic
	ended := make(chan struct{})
	server := httptest.NewUnstartedServer(nil)
	ctx, end := context.WithCancel(t.Context())
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Config.Handler = Handler(Config{World: func() World { return w }})
	var sum Sum
	asked := make(chan struct{})
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateActive {
			close(asked)
		}
	}
	server.Start()
	defer server.Close()
	go func() {
		defer close(ended)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/sum?last=1", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&sum); err != nil {
			t.Error(err)
		}
	}()
	<-asked
	traffic.Total.Add(41)
	traffic.Total.Inc()
	end()
	<-ended
	key := poolKey(w.Pools[0].Service.Name, w.Pools[0].Pool.Subset)
	if got := sum.Pools[key]; got == nil || got.Traffic.Total != 42 {
		t.Errorf("got %+v, want 42 requests", got)
	}
}
