package control

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// Whom a service selects of all instances is whom it selects of those that its roster has for it, in the same order.
func TestARosterMissesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.MapOfN(rapid.SampledFrom([]string{"app", "version", "zone"}), rapid.SampledFrom([]string{"a", "b", ""}), 0, 3)
		namespace := rapid.SampledFrom([]string{"default", "other"})
		instances := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fleet.Instance {
			return fleet.Instance{Namespace: namespace.Draw(t, "namespace"), Labels: labels.Draw(t, "labels")}
		}), 0, 20).Draw(t, "instances")
		services := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fleet.Service {
			return fleet.Service{Namespace: namespace.Draw(t, "namespace"), Selector: labels.Draw(t, "selector")}
		}), 0, 5).Draw(t, "services")
		r := newRoster(services, instances)
		for i := range services {
			var want, got []int
			for n := range instances {
				if services[i].Selects(instances[n].Namespace, instances[n].Labels) {
					want = append(want, n)
				}
			}
			for _, n := range r.of(&services[i]) {
				if services[i].Selects(instances[n].Namespace, instances[n].Labels) {
					got = append(got, n)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v selects %v of %v, want %v", services[i].Selector, got, instances, want)
			}
		}
	})
}
