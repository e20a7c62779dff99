package fleet

import (
	"maps"
	"testing"
	"time"
)

// TestUnawaited: of all warm-ups that an instance goes through the longest counts, if a rolling update is done before.
func TestUnawaited(t *testing.T) {
	warm := func(window time.Duration, labels map[string]string) Pool {
		return Pool{Labels: labels, Policy: Policy{Warmup: Warmup{Window: window}}}
	}
	services := []Service{
		{Name: "all", Namespace: "shop", Pools: []Pool{warm(900*time.Second, nil)}}, // it selects nobody
		{Name: "a", Namespace: "shop", Selector: map[string]string{"app": "a"}, Pools: []Pool{warm(30*time.Second, nil), warm(60*time.Second, map[string]string{"version": "slow"})}},
		{Name: "a-too", Namespace: "shop", Selector: map[string]string{"app": "a"}, Pools: []Pool{warm(20*time.Second, nil)}},
		{Name: "b", Namespace: "shop", Selector: map[string]string{"app": "b"}, Pools: []Pool{warm(0, nil)}},
		{Name: "elsewhere", Namespace: "bank", Selector: map[string]string{"app": "a"}, Pools: []Pool{warm(500*time.Second, nil)}},
	}
	for _, tt := range []struct {
		app, version string
		more         map[string]string
		w            Workload
		window       time.Duration
		service      string
	}{
		{app: "a", version: "v1", window: 30 * time.Second, service: "a"},
		{app: "a", version: "slow", window: 60 * time.Second, service: "a"},
		{app: "a", version: "v1", w: Workload{MinReady: 29 * time.Second}, window: 30 * time.Second, service: "a"},
		{app: "a", version: "v1", w: Workload{MinReady: 30 * time.Second}},
		{app: "a", version: "v1", w: Workload{Recreate: true}},
		{app: "a", version: "v1", more: map[string]string{WarmupLabel: "off"}},
		{app: "a", version: "v1", more: map[string]string{WarmupLabel: "on"}, window: 30 * time.Second, service: "a"},
		{app: "b", version: "v1"},
		{app: "c", version: "v1"},
	} {
		w := tt.w
		w.Namespace, w.Labels = "shop", map[string]string{"app": tt.app, "version": tt.version}
		maps.Copy(w.Labels, tt.more)
		if window, service := w.Unawaited(services, nil); window != tt.window || service != tt.service {
			t.Errorf("%s %s %+v: got %v of %q, want %v of %q", tt.app, tt.version, w, window, service, tt.window, tt.service)
		}
	}
}

// TestUnawaitedOfItsOwn: a Lifecycle's warm-up counts where the policy of the service has none.
func TestUnawaitedOfItsOwn(t *testing.T) {
	services := func(window time.Duration) []Service {
		return []Service{{
			Name: "a:80", Host: "a.shop", Namespace: "shop", Selector: map[string]string{"app": "a"},
			Pools: []Pool{{Policy: Policy{Warmup: Warmup{Window: window}}}},
		}}
	}
	own := []Lifecycle{{Name: "a", Namespace: "shop", Service: "a", Warmup: Warmup{Window: time.Minute}}}
	for _, tt := range []struct {
		lifecycles []Lifecycle
		policy     time.Duration
		labels     map[string]string
		want       time.Duration
	}{
		{nil, 0, nil, 0},
		{own, 0, nil, time.Minute},
		{own, 20 * time.Second, nil, 20 * time.Second},
		{own, 0, map[string]string{LosslessWarmup: "30"}, 30 * time.Second},
		{own, 0, map[string]string{LosslessEnable: "false"}, 0},
		{nil, 0, map[string]string{LosslessEnable: "true"}, 2 * time.Minute},
	} {
		w := Workload{Namespace: "shop", Labels: map[string]string{"app": "a"}}
		maps.Copy(w.Labels, tt.labels)
		if got, _ := w.Unawaited(services(tt.policy), tt.lifecycles); got != tt.want {
			t.Errorf("%v, %v, %v: got %v, want %v", tt.lifecycles, tt.policy, tt.labels, got, tt.want)
		}
	}
}

// TestSelects asks for labels as Kubernetes does: one that is wanted with nothing in it must be there.
func TestSelects(t *testing.T) {
	s := Service{Namespace: "default", Selector: map[string]string{"app": "shop", "canary": ""}}
	for _, test := range []struct {
		namespace string
		labels    map[string]string
		want      bool
	}{
		{"default", map[string]string{"app": "shop", "canary": "", "more": "x"}, true},
		{"default", map[string]string{"app": "shop"}, false},
		{"default", map[string]string{"app": "other", "canary": ""}, false},
		{"other", map[string]string{"app": "shop", "canary": ""}, false},
	} {
		if got := s.Selects(test.namespace, test.labels); got != test.want {
			t.Errorf("%s %v: %v, want %v", test.namespace, test.labels, got, test.want)
		}
	}
	if (&Service{Namespace: "default"}).Selects("default", nil) {
		t.Error("a service without a selector selects")
	}
}
