package local

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// shows is a picture of an instance and two services, of which the first selects app=web, with endpoints at 127.1.0.1.
func shows(in fleet.Instance, endpoints ...fleet.Endpoint) picture {
	for i := range endpoints {
		endpoints[i].Address = netip.MustParseAddrPort("127.1.0.1:80")
	}
	return pictureOf(&fleet.Snapshot{Instances: []fleet.Instance{in}, Services: []fleet.Service{
		{Host: "web", Namespace: "default", Selector: map[string]string{"app": "web"}, Endpoints: endpoints},
		{Host: "none", Namespace: "default"}, // selects nobody
		{Host: "all", Namespace: "default", Selector: map[string]string{}},
		{Host: "web.shop", Namespace: "shop", Selector: map[string]string{"app": "web"}},
	}})
}

func ends(incarnation string, stage fleet.Stage) fleet.Endpoint {
	return fleet.Endpoint{Incarnation: incarnation, Stage: stage}
}

func TestServes(t *testing.T) {
	stranger := web(1)
	stranger.Labels = map[string]string{"app": "worker"}
	abroad := web(1)
	abroad.Namespace = "elsewhere"
	ready := fleet.Instance{Incarnation: "u-1", Ready: true}
	for _, tt := range []struct {
		name  string
		w     fleet.Workload
		in    fleet.Instance
		shown []fleet.Endpoint
		want  bool
	}{
		{"of no endpoint yet", web(1), ready, nil, false},
		{"starting", web(1), ready, []fleet.Endpoint{ends("u-1", fleet.Starting)}, false},
		{"warming", web(1), ready, []fleet.Endpoint{ends("u-1", fleet.Warming)}, true},
		{"serving", web(1), ready, []fleet.Endpoint{ends("u-1", fleet.Serving)}, true},
		{"in one of two services", web(1), ready, []fleet.Endpoint{ends("u-1", fleet.Serving), ends("u-1", fleet.Starting)}, false},
		{"drained by hand", web(1), ready, []fleet.Endpoint{ends("u-1", fleet.Draining)}, false},
		{"asked to go offline", web(1), fleet.Instance{Incarnation: "u-1", Ready: true, Leaving: true}, []fleet.Endpoint{ends("u-1", fleet.Serving)}, false},
		{"not ready any more", web(1), fleet.Instance{Incarnation: "u-1"}, []fleet.Endpoint{ends("u-1", fleet.Serving)}, false},
		{"only the life before", web(1), fleet.Instance{Incarnation: "u-0", Ready: true}, []fleet.Endpoint{ends("u-0", fleet.Serving)}, false},
		{"of no service", stranger, ready, nil, true},
		{"of no service, not ready", stranger, fleet.Instance{Incarnation: "u-1"}, nil, false},
		{"of no service of its namespace", abroad, ready, nil, true},
	} {
		r := &record{instance: &instance{workload: &tt.w, home: homeAt(1)}, state: state{incarnation: "u-1"}}
		if got := r.serves(shows(tt.in, tt.shown...)); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
		r.leaving = true
		if r.serves(shows(tt.in, tt.shown...)) {
			t.Errorf("%s, leaving: got true, want false", tt.name)
		}
	}
}

func TestServices(t *testing.T) {
	p := shows(fleet.Instance{})
	for namespace, want := range map[string][]string{"default": {"web"}, "shop": {"web"}, "elsewhere": nil} {
		w := web(1)
		w.Namespace = namespace
		if got := p.services(&w); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", namespace, got, want)
		}
	}
}

// One that an agent may take long to let go is not taken for one that hangs.
func TestPatience(t *testing.T) {
	w := web(1)
	slow := fleet.Lifecycle{Namespace: "default", Service: "web", Leave: fleet.Leave{Callers: time.Minute, Timeout: time.Hour}}
	for _, tt := range []struct {
		name     string
		all      []fleet.Lifecycle
		services []string
		grace    time.Duration
		want     time.Duration
	}{
		{"usual", nil, nil, 30 * time.Second, (90 + 120 + 30 + 30) * time.Second},
		{"long grace", nil, nil, 10 * time.Minute, 90*time.Second + 20*time.Minute + 30*time.Second},
		{"as its Lifecycle says", []fleet.Lifecycle{slow}, []string{"web"}, 0, time.Hour + time.Minute + 30*time.Second},
		{"a Lifecycle of others", []fleet.Lifecycle{slow}, []string{"shop"}, 0, (90 + 120 + 30) * time.Second},
	} {
		w.Grace = tt.grace
		if got := patience(tt.all, tt.services, &w); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
