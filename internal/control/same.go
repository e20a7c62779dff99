package control

import (
	"maps"
	"reflect"
	"slices"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// same says whether two snapshots say the same but for their number, their events and the passing of time. What
// there is by the thousand is compared by hand, the rest by reflection.
func same(a, b *fleet.Snapshot) bool {
	return a.Config == b.Config &&
		slices.Equal(a.Gateways, b.Gateways) &&
		slices.Equal(a.Replicas, b.Replicas) &&
		sameLeaves(a.Drains, b.Drains) &&
		slices.EqualFunc(a.Services, b.Services, sameService) &&
		slices.EqualFunc(a.Instances, b.Instances, sameInstance) &&
		reflect.DeepEqual(a.Workloads, b.Workloads) &&
		reflect.DeepEqual(a.Groups, b.Groups) &&
		reflect.DeepEqual(a.Listeners, b.Listeners) &&
		reflect.DeepEqual(a.Lifecycles, b.Lifecycles)
}

// sameLeaves compares lists that are replaced when they change: one that was not is the same.
func sameLeaves(a, b []drain.Report) bool {
	if len(a) != len(b) || len(a) == 0 {
		return len(a) == len(b)
	}
	return &a[0] == &b[0] || reflect.DeepEqual(a, b)
}

func sameService(a, b fleet.Service) bool {
	if !slices.EqualFunc(a.Endpoints, b.Endpoints, sameEndpoint) || !slices.EqualFunc(a.Pools, b.Pools, samePool) {
		return false
	}
	a.Endpoints, b.Endpoints, a.Pools, b.Pools = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func samePool(a, b fleet.Pool) bool {
	if !slices.Equal(a.Members, b.Members) {
		return false
	}
	a.Members, b.Members = nil, nil
	return reflect.DeepEqual(a, b)
}

func sameEndpoint(a, b fleet.Endpoint) bool {
	return a.Incarnation == b.Incarnation &&
		a.Stage == b.Stage &&
		a.Bound == b.Bound &&
		a.Weight == b.Weight &&
		sameValue(a.Factor, b.Factor) &&
		a.Address == b.Address &&
		a.Name == b.Name &&
		a.Locality == b.Locality &&
		sameValue(a.Check, b.Check) &&
		sameValue(a.Warmup, b.Warmup) &&
		a.Front == b.Front &&
		maps.Equal(a.Labels, b.Labels)
}

func sameInstance(a, b fleet.Instance) bool {
	return sameLife(a, b) &&
		a.Weight == b.Weight &&
		a.Address == b.Address &&
		a.Name == b.Name &&
		a.Namespace == b.Namespace &&
		a.Workload == b.Workload &&
		a.Revision == b.Revision &&
		a.Locality == b.Locality &&
		a.Origin == b.Origin &&
		a.Foreign == b.Foreign &&
		slices.Equal(a.Registries, b.Registries) &&
		sameValue(a.Check, b.Check) &&
		a.Front == b.Front &&
		maps.Equal(a.Ports, b.Ports) &&
		maps.Equal(a.Labels, b.Labels)
}

// sameLife compares what instances say of how they come and go.
func sameLife(a, b fleet.Instance) bool {
	return a.Incarnation == b.Incarnation &&
		a.Ready == b.Ready &&
		a.Leaving == b.Leaving &&
		a.Bound == b.Bound &&
		a.Ramp == b.Ramp &&
		sameValue(a.Warmup, b.Warmup) &&
		samePublished(a.Published, b.Published)
}

// samePublished compares moments, in whatever zone they are written.
func samePublished(a, b *fleet.Published) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Age == b.Age && a.Started.Equal(b.Started) && a.Registered.Equal(b.Registered)
}

// sameValue compares what two pointers point to.
func sameValue[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
