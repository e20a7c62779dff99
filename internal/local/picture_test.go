package local

import (
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// shows is a picture of two services, of which the first selects app=web, with endpoints at 127.1.0.1.
func shows(endpoints ...fleet.Endpoint) picture {
	for i := range endpoints {
		endpoints[i].Address = netip.MustParseAddrPort("127.1.0.1:80")
	}
	return pictureOf(&fleet.Snapshot{Services: []fleet.Service{
		{Namespace: "default", Selector: map[string]string{"app": "web"}, Endpoints: endpoints},
		{Namespace: "default"}, // selects nobody
	}})
}

func ends(incarnation string, stage fleet.Stage) fleet.Endpoint {
	return fleet.Endpoint{Incarnation: incarnation, Stage: stage}
}

// known returns a record of the second life of an instance.
func known(w fleet.Workload) *record {
	r := &record{instance: &instance{workload: &w, home: homeAt(1)}}
	r.observe(state{incarnation: "u-0", ready: true})
	r.look(shows(ends("u-0", fleet.Serving)))
	r.heard = dawn
	r.observe(state{})
	r.observe(state{incarnation: "u-1"})
	return r
}

func TestServes(t *testing.T) {
	stranger := web(1)
	stranger.Labels = map[string]string{"app": "worker"}
	abroad := web(1)
	abroad.Namespace = "elsewhere"
	for _, tt := range []struct {
		name  string
		w     fleet.Workload
		ready bool
		shown []fleet.Endpoint
		want  bool
	}{
		{"not yet shown", web(1), true, nil, false},
		{"starting", web(1), true, []fleet.Endpoint{ends("u-1", fleet.Starting)}, false},
		{"warming", web(1), true, []fleet.Endpoint{ends("u-1", fleet.Warming)}, true},
		{"serving", web(1), true, []fleet.Endpoint{ends("u-1", fleet.Serving)}, true},
		{"in one of two services", web(1), true, []fleet.Endpoint{ends("u-1", fleet.Serving), ends("u-1", fleet.Starting)}, false},
		{"drained by hand", web(1), true, []fleet.Endpoint{ends("u-1", fleet.Draining)}, false},
		{"control does not know yet that it fails", web(1), false, []fleet.Endpoint{ends("u-1", fleet.Serving)}, false},
		{"only the life before", web(1), true, []fleet.Endpoint{ends("u-0", fleet.Serving)}, false},
		{"of no service", stranger, true, nil, true},
		{"of no service, not ready", stranger, false, nil, false},
		{"of no service of its namespace", abroad, true, nil, true},
	} {
		r := known(tt.w)
		r.observe(state{incarnation: "u-1", ready: tt.ready})
		if got := r.serves(shows(tt.shown...)); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
		r.leaving = true
		if r.serves(shows(tt.shown...)) {
			t.Errorf("%s, leaving: got true, want false", tt.name)
		}
	}
}

func TestReportSaysWhereAnInstanceIs(t *testing.T) {
	w := web(1)
	w.Labels = map[string]string{"app": "web", "istio-locality": "eu.a.1"}
	if got, want := known(w).report().Locality, (fleet.Locality{Region: "eu", Zone: "a", SubZone: "1"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := known(web(1)).report().Locality; got != (fleet.Locality{}) {
		t.Errorf("without a label: got %v, want none", got)
	}
}

func TestDrained(t *testing.T) {
	stranger := web(1)
	stranger.Labels = nil
	for _, tt := range []struct {
		name  string
		w     fleet.Workload
		ready bool             // ever
		seen  bool             // in an earlier snapshot
		heard time.Duration    // since control has known that it leaves; 0 is not yet
		shown []fleet.Endpoint // now
		want  bool
	}{
		{name: "never ready", w: web(1), want: true},
		{name: "never ready, shown", w: web(1), shown: []fleet.Endpoint{ends("u-1", fleet.Starting)}, want: true},
		{name: "never ready, but the life before is offered still", w: web(1), shown: []fleet.Endpoint{ends("u-0", fleet.Serving)}},
		{name: "offered", w: web(1), ready: true, shown: []fleet.Endpoint{ends("u-1", fleet.Warming)}},
		{name: "draining", w: web(1), ready: true, shown: []fleet.Endpoint{ends("u-1", fleet.Draining)}},
		{name: "lost readiness, not known to leave", w: web(1), ready: true, shown: []fleet.Endpoint{ends("u-1", fleet.Starting)}},
		{name: "gone", w: web(1), ready: true, shown: []fleet.Endpoint{ends("u-1", fleet.Gone)}, want: true},
		{name: "gone from one of two", w: web(1), ready: true, shown: []fleet.Endpoint{ends("u-1", fleet.Gone), ends("u-1", fleet.Draining)}},
		{name: "gone from the list", w: web(1), ready: true, seen: true, want: true},
		{name: "not shown yet", w: web(1), ready: true},
		{name: "not shown yet, a moment ago", w: web(1), ready: true, heard: settle - 1},
		{name: "not shown for long enough", w: web(1), ready: true, heard: settle, want: true},
		{name: "of no service", w: stranger, ready: true, want: true},
	} {
		r := known(tt.w)
		r.observe(state{incarnation: "u-1", ready: tt.ready})
		r.observe(state{incarnation: "u-1"}) // whatever it is now
		if tt.seen {
			r.look(shows(ends("u-1", fleet.Draining)))
		}
		now := dawn.Add(time.Hour)
		if tt.heard > 0 {
			r.heard = now.Add(-tt.heard)
		}
		if got := r.drained(shows(tt.shown...), now); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}
