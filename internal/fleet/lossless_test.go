package fleet_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// TestLifecycleOf: the most particular Lifecycle holds.
func TestLifecycleOf(t *testing.T) {
	all := []fleet.Lifecycle{
		{Name: "any", Namespace: "shop"},
		{Name: "reviews", Namespace: "shop", Service: "reviews"},
		{Name: "v2", Namespace: "shop", Labels: map[string]string{"version": "v2"}},
		{Name: "b-reviews-v2", Namespace: "shop", Service: "reviews", Labels: map[string]string{"version": "v2"}},
		{Name: "a-reviews-v2", Namespace: "shop", Service: "reviews", Labels: map[string]string{"version": "v2"}},
		{Name: "canary", Namespace: "shop", Labels: map[string]string{"version": "v2", "track": "canary"}},
		{Name: "elsewhere", Namespace: "bank", Service: "reviews", Labels: map[string]string{"version": "v2", "track": "canary"}},
	}
	for _, tt := range []struct {
		namespace string
		services  []string
		labels    map[string]string
		want      string
	}{
		{"shop", nil, nil, "any"},
		{"shop", []string{"ratings"}, map[string]string{"version": "v1"}, "any"},
		{"shop", []string{"ratings", "reviews"}, map[string]string{"version": "v1"}, "reviews"},
		{"shop", []string{"ratings"}, map[string]string{"version": "v2"}, "v2"},
		{"shop", []string{"reviews"}, map[string]string{"version": "v2"}, "a-reviews-v2"},
		{"shop", []string{"reviews"}, map[string]string{"version": "v2", "track": "canary"}, "canary"},
		{"elsewhere", []string{"reviews"}, map[string]string{"version": "v2"}, ""},
		{"bank", []string{"reviews"}, map[string]string{"version": "v2"}, ""},
	} {
		l, ok := fleet.LifecycleOf(all, tt.namespace, tt.services, tt.labels)
		if l.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("in %s, %v, %v: got %q, want %q", tt.namespace, tt.services, tt.labels, l.Name, tt.want)
		}
	}
}

// TestLabelsGoBeforeTheLifecycle: each label for its own field, with and without a Lifecycle.
func TestLabelsGoBeforeTheLifecycle(t *testing.T) {
	own := fleet.DefaultLifecycle()
	own.Name, own.Namespace, own.Delay, own.Warmup = "own", "shop", 5*time.Second, fleet.Warmup{Window: time.Minute, Minimum: 0.2, Aggression: 1}
	own.Requests, own.Ready = &fleet.WarmupRequests{Count: 7}, fleet.ReadyWarm
	off := own
	off.Off = true
	silent := own
	silent.Off, silent.Delay, silent.Warmup, silent.Requests = true, 0, fleet.Warmup{}, nil
	for _, tt := range []struct {
		name   string
		all    []fleet.Lifecycle
		labels map[string]string
		want   func(*fleet.Lifecycle)
		from   fleet.Lifecycle
	}{
		{"nothing", nil, nil, nil, fleet.PlainLifecycle()},
		{"another label", nil, map[string]string{"mse": "x", "app": "y"}, nil, fleet.PlainLifecycle()},
		{"how, but not that", nil, map[string]string{fleet.LosslessDelay: "10", fleet.LosslessWarmup: "60"}, nil, fleet.PlainLifecycle()},
		{"that", nil, map[string]string{fleet.LosslessEnable: "true"}, nil, fleet.DefaultLifecycle()},
		{"that and how", nil, map[string]string{fleet.LosslessEnable: "true", fleet.LosslessDelay: "10", fleet.LosslessWarmup: "60"}, func(l *fleet.Lifecycle) {
			l.Delay, l.Warmup.Window = 10*time.Second, time.Minute
		}, fleet.DefaultLifecycle()},
		{"a Lifecycle", []fleet.Lifecycle{own}, nil, nil, own},
		{"over a Lifecycle", []fleet.Lifecycle{own}, map[string]string{fleet.LosslessDelay: "0", fleet.LosslessWarmup: "30", fleet.LosslessNotice: "false"}, func(l *fleet.Lifecycle) {
			l.Delay, l.Warmup.Window = 0, 30*time.Second
		}, own},
		{"no warm-up", []fleet.Lifecycle{own}, map[string]string{fleet.LosslessWarmup: "0"}, func(l *fleet.Lifecycle) { l.Warmup.Window = 0 }, own},
		{"on over off", []fleet.Lifecycle{off}, map[string]string{fleet.LosslessEnable: "true"}, nil, own},
		{"off", []fleet.Lifecycle{off}, map[string]string{fleet.LosslessDelay: "10"}, nil, silent},
		{"off over on", []fleet.Lifecycle{own}, map[string]string{fleet.LosslessEnable: "false", fleet.LosslessWarmup: "9"}, nil, silent},
	} {
		want := tt.from
		if tt.want != nil {
			tt.want(&want)
		}
		got, err := fleet.LifecycleFor(tt.all, "shop", nil, tt.labels)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// TestWrongLabelsAreNamed: what holds without the wrong ones comes with the error about the first.
func TestWrongLabelsAreNamed(t *testing.T) {
	for name, value := range map[string]string{
		fleet.LosslessEnable: "TRUE", fleet.LosslessNotice: "", fleet.LosslessDelay: "10s", fleet.LosslessWarmup: "86401", "mse.lossless.delay": "1",
	} {
		got, err := fleet.DefaultLifecycle().For(map[string]string{name: value, "mse.lossless.zzz": "later"})
		var wrong *fleet.LabelError
		if !errors.As(err, &wrong) || wrong.Label != name || wrong.Message == "" {
			t.Errorf("%s=%s: got %v, want an error about it", name, value, err)
		}
		if diff := cmp.Diff(fleet.DefaultLifecycle(), got); diff != "" {
			t.Errorf("%s=%s: (-want +got):\n%s", name, value, diff)
		}
	}
}

// TestTheLifecycleItselfStays: what holds for one instance changes nothing for the next.
func TestTheLifecycleItselfStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := fleet.DefaultLifecycle()
		l.Requests = &fleet.WarmupRequests{Count: 7}
		before := l
		labels := rapid.MapOf(rapid.SampledFrom(fleet.LosslessLabels()), rapid.SampledFrom([]string{"true", "false", "0", "17", "x"})).Draw(t, "labels")
		kept := maps.Clone(labels)
		_, _ = l.For(labels)
		if diff := cmp.Diff(before, l); diff != "" || !maps.Equal(labels, kept) {
			t.Errorf("%v (-before +after):\n%s", labels, diff)
		}
	})
}

// TestWarmupOf: the policy's, where it has one.
func TestWarmupOf(t *testing.T) {
	its, own := fleet.Warmup{Window: time.Minute}, fleet.Warmup{Window: time.Second, Minimum: 0.5}
	for _, tt := range []struct {
		policy fleet.Warmup
		own    *fleet.Warmup
		want   fleet.Warmup
		owned  bool
	}{
		{fleet.Warmup{}, nil, fleet.Warmup{}, false},
		{its, nil, its, false},
		{its, &own, its, false},
		{fleet.Warmup{}, &own, own, true},
		{fleet.Warmup{Minimum: 0.3}, &own, own, true},
		{fleet.Warmup{}, &fleet.Warmup{Minimum: 0.3}, fleet.Warmup{}, false},
		{fleet.Warmup{Window: -1}, &own, own, true},
	} {
		p, e := fleet.Policy{Warmup: tt.policy}, fleet.Endpoint{Warmup: tt.own}
		if got := p.WarmupOf(&e); got != tt.want || p.OwnWarmup(&e) != tt.owned {
			t.Errorf("%+v, %+v: got %+v, its own %v, want %+v, %v", tt.policy, tt.own, got, p.OwnWarmup(&e), tt.want, tt.owned)
		}
	}
}
