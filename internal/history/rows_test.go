package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// served is a history of two services, a with endpoints a-0 to a-3 and b with b-0 to b-3, after twenty seconds in which gw-1 sent
// 30 requests a second to a-0 and 10 to a-2, of which 1 was cut, and a called b 5 times a second on the mesh.
func served(t *testing.T) (*History, *plane, time.Time) {
	t.Helper()
	now := epoch
	h := opened(t, "", now)
	v := fleetOf(1, now, 4, "a", "b")
	v.Events = []fleet.Event{{Time: now, Kind: "config.applied", Reason: "c1"}, {Time: now, Kind: "warmup.ended", Service: "a:80", Endpoint: "a-0"}}
	h.look(v, now)
	p := newPlane("gw-1", "r", now)
	for range 20 {
		p.serve("a:80", "a-0", ending.Served, 30, 4*time.Millisecond)
		p.serve("a:80", "a-2", ending.Served, 9, 60*time.Millisecond)
		p.serve("a:80", "a-2", ending.Cut, 1, 0)
		p.mesh("a", "b:80", "b-1", 5)
		now = now.Add(time.Second)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
	}
	return h, p, now.Add(time.Second)
}

// mesh counts requests of one service to another.
func (p *plane) mesh(from, service, incarnation string, n int) {
	before := *p.listener("http")
	p.serve(service, incarnation, ending.Served, n, 2*time.Millisecond)
	*p.listeners["http"] = before
	p.services[service].Callers[""] -= uint64(n)
	p.services[service].Callers[from] += uint64(n)
	l := p.listener("mesh")
	l.Mesh = true
	l.Requests += uint64(n)
	l.Ended[ending.Served] += uint64(n)
}

func (p *plane) listener(name string) *fleet.ListenerTraffic {
	if p.listeners[name] == nil {
		p.listeners[name] = &fleet.ListenerTraffic{Name: name}
	}
	return p.listeners[name]
}

func tick(h *History, now time.Time) {
	h.mu.Lock()
	h.settle(now)
	h.mu.Unlock()
}

func TestOverview(t *testing.T) {
	h, p, now := served(t)
	tick(h, now)
	o := h.Overview()
	if out := o.Outside; out.Requests != 800 || out.Lost != 20 || out.Ended[ending.Cut] != 20 || out.Rate.Requests != 40 || out.Rate.Lost != 1 || len(out.Listeners) != 2 {
		t.Errorf("outside: %+v; want 800 requests, 20 cut, 40 a second, two listeners", out)
	}
	if diff := cmp.Diff([]Edge{{From: "", To: "a:80", Requests: 40, Total: 800}, {From: "a", To: "b:80", Requests: 5, Total: 100}}, o.Edges); diff != "" {
		t.Error(diff)
	}
	a := o.Services[0]
	if a.Name != "a:80" || a.Requests != 800 || a.Lost != 20 || a.Rate.Requests != 40 || a.Rate.P50 > 5 || a.Rate.P99 < 50 || len(a.Spark) != 60 || a.Spark[59] != 40 || a.Spark[0] != 0 {
		t.Errorf("a: %+v", a)
	}
	if diff := cmp.Diff([]VersionRow{{Name: "v1", Endpoints: 2, Requests: 30, Fraction: 0.75}, {Name: "v2", Endpoints: 2, Requests: 10, Failed: 1, Fraction: 0.25}}, a.Versions); diff != "" {
		t.Error(diff)
	}
	if e := a.Endpoints[2]; e.Incarnation != "a-2" || e.Requests != 10 || e.Failed != 1 || math.Abs(e.Due-10) > 0.01 || e.Share != 1 || e.Sent != 200 || e.P99 < 50 || e.Workload != "a" || e.Version != "v2" {
		t.Errorf("a-2: %+v", e)
	}
	if w := o.Workloads; len(w) != 0 {
		t.Errorf("workloads: %+v, want none: nobody asked for any", w)
	}
	if g := o.Gateways; len(g) != 2 || g[0].ID != "gw-1" || g[0].Stage != "serving" || g[0].Rate.Requests != 40 || g[1].Rate.Requests != 0 {
		t.Errorf("gateways: %+v", g)
	}
	if o.Config != "c1" || o.Rejected != "" || o.Snapshot != 1 {
		t.Errorf("configuration %q, rejected %q, snapshot %d", o.Config, o.Rejected, o.Snapshot)
	}
	p.serve("a:80", "a-0", ending.Served, 1000, time.Millisecond) // not reported
	if got := h.Overview().Outside.Requests; got != 800 {
		t.Errorf("%d requests, want 800", got)
	}
}

func TestServicePage(t *testing.T) {
	h, _, now := served(t)
	tick(h, now)
	s, ok := h.Service("a:80")
	if !ok || len(s.Endpoints) != 4 || len(s.Pools) != 1 || len(s.Events) != 1 || s.Events[0].Endpoint != "a-0" {
		t.Fatalf("%+v, %v; want four endpoints, a pool, an event", s, ok)
	}
	if len(s.Findings) != 1 || !strings.Contains(s.Findings[0], "lost 1.0 requests") {
		t.Errorf("findings: %q, want that it loses", s.Findings)
	}
	if diff := cmp.Diff([]fleet.Code{{Status: 200, N: 780}}, s.Codes); diff != "" {
		t.Error(diff)
	}
	if _, ok := h.Service("c:80"); ok {
		t.Error("there is no c:80")
	}
}

// TestNothingIsNull: who reads an answer finds a list where one is promised, however little is known.
func TestNothingIsNull(t *testing.T) {
	h := opened(t, "", epoch)
	empty := fleetOf(1, epoch, 0, "a")
	h.look(empty, epoch)
	page, _ := h.Service("a:80")
	for name, v := range map[string]any{
		"overview": h.Overview(), "service": page, "events": h.Events(time.Time{}, 10), "episodes": h.Episodes(EpisodeQuery{}), "releases": h.Releases(),
	} {
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

// TestGauges: what is open, and shares, are those of data planes that are there.
func TestGauges(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	v := fleetOf(1, now, 1, "a")
	h.look(v, now)
	say := func(id, run string, active int64, share float64, ejected, leaving bool) {
		now = now.Add(time.Second)
		h.report(&fleet.Report{From: id, Leaving: leaving, Traffic: &fleet.Traffic{
			Run: run, Span: time.Second, Listeners: []fleet.ListenerTraffic{{Name: "http", Active: active}},
			Services:  []fleet.ServiceTraffic{{Service: "a:80", Active: active}},
			Endpoints: []fleet.EndpointTraffic{{Service: "a:80", Incarnation: "a-0", Active: active, Share: share, Ejected: ejected, Reason: "new"}},
		}}, now)
	}
	check := func(what string, active int64, share float64, ejected bool) {
		t.Helper()
		page, _ := h.Service("a:80")
		e := page.Endpoints[0]
		if out := h.totals(); out.Active != active || out.Listeners[0].Active != active || e.Active != active || math.Abs(e.Share-share) > 1e-9 || e.Ejected != ejected {
			t.Errorf("%s: open %d, %d at the listener, %d at the endpoint; share %v, ejected %v; want %d, %v, %v", what, out.Active, out.Listeners[0].Active, e.Active, e.Share, e.Ejected, active, share, ejected)
		}
	}
	say("gw-1", "r1", 4, 0.5, false, false)
	say("gw-2", "r2", 3, 1, true, false)
	check("two of them", 7, 0.75, true)
	say("gw-2", "r2", 5, 1, false, false)
	check("one says other things", 9, 0.75, false)
	for range 12 {
		say("gw-1", "r1", 4, 0.5, false, false)
	}
	check("the other has not been heard for a while", 4, 0.5, false)
	if got := (book{h}).silent(now); !cmp.Equal(got, []string{"gw-2"}) {
		t.Errorf("silent: %q, want gw-2", got)
	}
	say("gw-2", "r2", 5, 1, false, false)
	check("it is back", 9, 0.75, false)
	say("gw-2", "r2", 1, 1, false, true)
	check("it has left", 4, 0.5, false)
	say("gw-2", "r2", 1, 1, false, false)
	check("what it said before comes late", 4, 0.5, false)
	say("gw-2", "r3", 2, 0.7, false, false)
	check("its successor", 6, 0.6, false)
}

// TestStages: where gateways are in their lives.
func TestStages(t *testing.T) {
	h := opened(t, "", epoch)
	v := fleetOf(1, epoch, 0, "a")
	v.Gateways = []string{"alone", "gw-1", "gw-2"}
	v.Replicas = []fleet.Replica{
		{ID: "gw-1", Group: "gw", Namespace: "ns", Ready: true},
		{ID: "gw-2", Group: "gw", Namespace: "ns", Ready: true, Leaving: true},
		{ID: "gw-3", Group: "gw", Namespace: "ns"},
		{ID: "gw-4", Group: "gw", Namespace: "ns", Ready: true, Drained: true},
	}
	v.Groups = []fleet.GatewayGroup{{Name: "gw", Namespace: "ns", Replicas: 3}}
	v.Drains = []drain.Report{{ID: "gw-2", Stage: drain.Draining, Cut: 2, Protocols: map[drain.Protocol]drain.Requests{drain.HTTP1: {Leave: drain.Count{Open: 1, Completed: 7}}}}}
	h.look(v, epoch)
	var got []string
	o := h.Overview()
	for _, g := range o.Gateways {
		got = append(got, fmt.Sprintf("%s %s %s", g.ID, g.Stage, g.Leave))
	}
	want := []string{"alone serving ", "gw-1 serving ", "gw-2 draining draining: 7 served since it began, 1 open, 2 cut", "gw-3 starting ", "gw-4 drained "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]WorkloadRow{{Namespace: "ns", Name: "gw", Kind: "gateway", Replicas: 3, Ready: 2, Updated: 3, Total: 4}}, o.Workloads); diff != "" {
		t.Error(diff)
	}
}

// TestEventsAreKeptOnce: views repeat events; more are kept than views carry.
func TestEventsAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, dir, epoch)
	var all []fleet.Event
	for i := range 600 {
		all = append(all, fleet.Event{Time: epoch.Add(time.Duration(i) * time.Second), Kind: "config.rejected", Reason: strconv.Itoa(i)})
	}
	show := func(from, to int) {
		v := fleetOf(1, epoch, 0, "a")
		v.Events = all[from:to]
		h.look(v, epoch)
	}
	for i := 0; i+256 <= len(all); i += 43 {
		show(i, i+256)
	}
	show(600-256, 600)
	for range 2 {
		got := h.Events(time.Time{}, 0)
		if len(got) != 600 || got[0].Reason != "599" || got[599].Reason != "0" {
			t.Fatalf("%d events, want 600, the newest first", len(got))
		}
		if got := h.Events(epoch.Add(590*time.Second), 5); len(got) != 5 || got[4].Reason != "595" {
			t.Errorf("the newest five: %v", got)
		}
		if got := h.Overview().Rejected; got != "599" {
			t.Errorf("rejected: %q, want 599", got)
		}
		if err := h.save(epoch); err != nil {
			t.Fatal(err)
		}
		h = opened(t, dir, epoch)
		show(600-256, 600)
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	h, _, now := served(t)
	tick(h, now)
	for _, q := range []series.Query{
		{Service: "a:80", From: 5, To: 1},
		{Service: "a:80", To: now.Unix(), From: now.Unix() - 600, Step: 90},
		{Service: "a:80", To: now.Unix(), From: now.Unix() - 60, Source: "elsewhere"},
		{Service: "a:80", To: now.Unix(), From: now.Unix() - 60, Source: "prometheus"},
	} {
		if _, err := h.Series(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v, want ErrQuery", q, err)
		}
	}
	q := series.Query{Service: "c:80", From: now.Unix() - 60, To: now.Unix()}
	if _, err := h.Series(t.Context(), q); !errors.Is(err, ErrUnknown) {
		t.Errorf("c:80: %v, want ErrUnknown", err)
	}
	if _, err := h.Heat(t.Context(), q); !errors.Is(err, ErrUnknown) {
		t.Errorf("heat of c:80: %v, want ErrUnknown", err)
	}
}

// TestHeat: every answer is in one row of its second.
func TestHeat(t *testing.T) {
	h, _, now := served(t)
	now = now.Add(2 * time.Second)
	tick(h, now)
	heat, err := h.Heat(t.Context(), series.Query{Service: "a:80", From: epoch.Unix() - 10, To: now.Unix() + 60})
	if err != nil {
		t.Fatal(err)
	}
	var sum uint32
	for i, row := range heat.Counts {
		if at := heat.From + int64(i); (at < epoch.Unix() || at > epoch.Unix()+20) != (row == nil) {
			t.Errorf("second %d: %v", at-epoch.Unix(), row)
		}
		for _, n := range row {
			sum += n
		}
	}
	if sum != 780 {
		t.Errorf("%d answers, want 780", sum)
	}
}

// TestBusiestEndpoints: fifty have curves of their own, and the others one together; nobody is left out.
func TestBusiestEndpoints(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	h.look(fleetOf(1, now, 60, "a"), now)
	p := newPlane("gw-1", "r", now)
	for range 10 {
		for e := range 60 {
			p.serve("a:80", fmt.Sprintf("a-%d", e), ending.Served, e, time.Millisecond)
		}
		now = now.Add(time.Second)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
	}
	now = now.Add(3 * time.Second)
	tick(h, now)
	c, err := h.Series(t.Context(), series.Query{Service: "a:80", By: series.Endpoint, From: epoch.Unix() + 2, To: epoch.Unix() + 9})
	if err != nil || len(c.Curves) != series.MostCurves+1 {
		t.Fatalf("%d curves, %v; want %d", len(c.Curves), err, series.MostCurves+1)
	}
	rest := c.Curves[series.MostCurves]
	if want := float32(0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9); rest.Name != others || rest.Requests[3] != want {
		t.Errorf("%+v; want the others, with %v a second", rest, want)
	}
	var sum float32
	for _, curve := range c.Curves {
		sum += curve.Fraction[3]
	}
	if math.Abs(float64(sum)-1) > 1e-3 {
		t.Errorf("fractions come to %v, want 1", sum)
	}
}

// TestSharesHoldFromWhenTheyWereSaid: a share is that of the second in which it was said, and 0 before its endpoint was there, was
// offered, and after it left.
func TestSharesHoldFromWhenTheyWereSaid(t *testing.T) {
	for _, vanishes := range []bool{false, true} {
		sharesHold(t, vanishes)
	}
}

// sharesHold has somebody come, and leave or vanish.
func sharesHold(t *testing.T, vanishes bool) {
	t.Helper()
	now := time.Unix(epoch.Unix(), 0)
	h := opened(t, "", now)
	p := newPlane("gw-1", "r", now)
	v := func(stage fleet.Stage) fleet.View {
		v := fleetOf(1, now, 1, "a")
		v.Services[0].Endpoints[0].Stage = stage
		return v
	}
	h.look(fleetOf(1, now, 0, "a"), now)
	for second := range 30 { // offered at 10, warm by 20, leaves at 25
		switch second {
		case 8:
			h.look(v(fleet.Starting), now)
		case 10:
			h.look(v(fleet.Warming), now)
		case 25:
			leaves := v(fleet.Draining)
			if vanishes {
				leaves = fleetOf(1, now, 0, "a")
			}
			h.look(leaves, now)
		}
		p.serve("b:80", "b-0", ending.Served, 1, time.Millisecond)
		if second >= 10 && second < 25 {
			p.serve("a:80", "a-0", ending.Served, 1, time.Millisecond)
			e := p.endpoints[endpointKey{"a:80", "a-0"}]
			e.Share, e.Active = min(1, float64(second-9)/10), 3
		}
		now = now.Add(time.Second)
		r := p.report(now.Add(-time.Millisecond), false, false)
		h.report(&r, now.Add(-time.Millisecond))
		p.wasTaken(now)
	}
	tick(h, now.Add(3*time.Second))
	for _, got := range (book{h}).Points("a-0", epoch.Unix(), epoch.Unix()+30) {
		second := got.At - epoch.Unix()
		var want, requests float64
		if second >= 10 && second < 25 {
			want, requests = min(1, float64(second-9)/10), 1
		}
		if math.Abs(float64(got.Share)-want) > 1e-3 || float64(got.Requests) != requests {
			t.Errorf("second %d: share %v, %v requests; want %v, %v", second, got.Share, got.Requests, want, requests)
		}
	}
	if got := len((book{h}).Points("a-0", epoch.Unix(), epoch.Unix()+30)); got != 30 {
		t.Errorf("%d points, want 30", got)
	}
}

// A longer says what it was asked.
type longer struct{ asked []series.Query }

func (l *longer) Curves(_ context.Context, q series.Query) (series.Curves, error) {
	l.asked = append(l.asked, q)
	return series.Curves{From: q.From}, nil
}

// TestWhoIsAsked: somebody else is asked for what is older than a day, and where the query says so.
func TestWhoIsAsked(t *testing.T) {
	h, _, now := served(t)
	tick(h, now)
	l := &longer{}
	h.options.Longer = l
	for _, tt := range []struct {
		q    series.Query
		want int
	}{
		{series.Query{Service: "a:80", From: now.Unix() - 60, To: now.Unix()}, 0},
		{series.Query{Service: "a:80", From: now.Unix() - 3600, To: now.Unix(), Step: 60}, 0},
		{series.Query{Service: "a:80", From: now.Unix() - 60, To: now.Unix(), Source: "prometheus"}, 1},
		{series.Query{Service: "a:80", From: now.Unix() - 2*86400, To: now.Unix(), Step: 120}, 1},
	} {
		l.asked = nil
		if _, err := h.Series(t.Context(), tt.q); err != nil || len(l.asked) != tt.want {
			t.Errorf("%+v: asked %v, %v; want %d times", tt.q, l.asked, err, tt.want)
		}
	}
	if _, err := h.Series(t.Context(), series.Query{Service: "a:80", By: series.Version, From: now.Unix() - 60, To: now.Unix(), Source: "prometheus"}); !errors.Is(err, ErrQuery) {
		t.Errorf("by version: %v, want ErrQuery", err)
	}
}
