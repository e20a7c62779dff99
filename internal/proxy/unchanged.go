package proxy

import (
	"maps"
	"reflect"
	"slices"

	"crossfade.dev/internal/fleet"
)

// unchanged says whether a service is what it was, but for the ages of its endpoints, and whether these make no
// difference either: everybody is older than any warm-up lasts. A service that warms is not asked about.
func unchanged(old, now *fleet.Service) bool {
	if len(old.Pools) != len(now.Pools) || len(old.Endpoints) != len(now.Endpoints) {
		return false
	}
	for i := range now.Pools {
		if !slices.Equal(old.Pools[i].Members, now.Pools[i].Members) {
			return false
		}
	}
	for i := range now.Endpoints {
		if !sameEndpoint(&old.Endpoints[i], &now.Endpoints[i]) {
			return false
		}
		for j := range old.Pools {
			if e := &old.Endpoints[i]; e.Age < old.Pools[j].Policy.WarmupOf(e).Window {
				return false
			}
		}
	}
	return reflect.DeepEqual(outline(old), outline(now)) // of the few things that are left
}

// outline returns what is left of a service without what there may be thousands of.
func outline(s *fleet.Service) fleet.Service {
	o := *s
	o.Endpoints, o.Pools = nil, slices.Clone(s.Pools)
	for i := range o.Pools {
		o.Pools[i].Members = nil
	}
	return o
}

// sameEndpoint says whether a and b differ in nothing but their ages.
func sameEndpoint(a, b *fleet.Endpoint) bool {
	return a.Name == b.Name && a.Incarnation == b.Incarnation && a.Address == b.Address &&
		maps.Equal(a.Labels, b.Labels) && a.Locality == b.Locality &&
		a.Weight == b.Weight && a.Bound == b.Bound && same(a.Factor, b.Factor) && a.Stage == b.Stage && same(a.Check, b.Check) &&
		a.Front == b.Front && same(a.Warmup, b.Warmup)
}

// same says whether two pointers are nil, or point to equals.
func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// sameIncarnations says whether two lists have the same ones in the same order.
func sameIncarnations(a, b []fleet.Endpoint) bool {
	return slices.EqualFunc(a, b, func(x, y fleet.Endpoint) bool { return x.Incarnation == y.Incarnation })
}
