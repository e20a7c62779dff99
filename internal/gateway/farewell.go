package gateway

import (
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// farewells say when what is still open to a draining endpoint is ended: by incarnation; the zero time once that was
// done. Whoever runs the endpoint ends it when its bound is over, in the middle of whatever it does; until shortly before,
// everything may finish by itself, and then clients hear in their protocol's own words that they should go elsewhere.
type farewells map[string]time.Time

// notice is how long before its bound an endpoint's streams are ended: enough for goodbyes from both sides, and not more
// than a quarter of the bound.
const notice = 5 * time.Second

// note puts down whoever drains since v, and forgets who is gone.
func (f farewells) note(v fleet.View, now time.Time) {
	draining := map[string]bool{}
	for i := range v.Services {
		for j := range v.Services[i].Endpoints {
			e := &v.Services[i].Endpoints[j]
			if e.Stage != fleet.Draining || e.Bound <= 0 {
				continue
			}
			draining[e.Incarnation] = true
			if _, known := f[e.Incarnation]; !known {
				f[e.Incarnation] = now.Add(e.Bound - min(notice, e.Bound/4))
			}
		}
	}
	maps.DeleteFunc(f, func(incarnation string, _ time.Time) bool { return !draining[incarnation] })
}

// due returns those whose time has come, each once, in order.
func (f farewells) due(now time.Time) []string {
	var list []string
	for incarnation, at := range f {
		if !at.IsZero() && !now.Before(at) {
			list = append(list, incarnation)
			f[incarnation] = time.Time{}
		}
	}
	slices.Sort(list)
	return list
}

// next returns how long it is until somebody is due, most if nobody is before.
func (f farewells) next(now time.Time, most time.Duration) time.Duration {
	for _, at := range f {
		if !at.IsZero() {
			most = min(most, max(0, at.Sub(now)))
		}
	}
	return most
}
