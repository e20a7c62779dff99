package gateway

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// An account is what control is told of what was counted. Sums never fall while the process lives: a listener, a service or
// an endpoint that goes and comes back is counted on from where it was, and one that has gone is looked at until nothing is
// open there. What control has taken, and has not changed since, is not said again.
//
// It belongs to the goroutine that reports.
type account struct {
	run   string
	taken time.Time // when the last report that control took was made; before one, when counting began
	made  time.Time // when the last report was made
	whole bool      // the next has everything

	likely int // rows of endpoints: as many as in the last report

	listeners map[string]*listenerRow
	services  map[poolKey]*poolRow
	endpoints map[endpointKey]*endpointRow
}

type poolKey struct{ service, subset string }

func (k poolKey) compare(other poolKey) int {
	return cmp.Or(cmp.Compare(k.service, other.service), cmp.Compare(k.subset, other.subset))
}

type endpointKey struct{ service, incarnation string }

// keepGone is how long an endpoint that has gone is remembered, should it come back as the same incarnation.
const keepGone = time.Hour

func newAccount(run string, now time.Time) *account {
	return &account{
		run: run, taken: now, whole: true,
		listeners: map[string]*listenerRow{}, services: map[poolKey]*poolRow{}, endpoints: map[endpointKey]*endpointRow{},
	}
}

// traffic returns what is to be reported at now: what has changed since the last report that control took, or everything,
// where all says so or control may have forgotten, or has not taken the last one. What became of it, [account.told] hears.
func (a *account) traffic(s *proxy.State, all bool, now time.Time) *fleet.Traffic {
	a.look(s, now)
	all = all || a.whole
	a.made = now
	t := &fleet.Traffic{Run: a.run, Span: now.Sub(a.taken), Endpoints: make([]fleet.EndpointTraffic, 0, a.likely)}
	for _, name := range slices.Sorted(maps.Keys(a.listeners)) {
		if row := a.listeners[name]; row.read(name) || all {
			t.Listeners = append(t.Listeners, row.next)
			sparse(&t.Listeners[len(t.Listeners)-1].Latency, row.taken.Latency, all)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(a.services), poolKey.compare) {
		if row := a.services[key]; row.read(key, s) || all {
			t.Services = append(t.Services, row.next)
			sparse(&t.Services[len(t.Services)-1].Latency, row.taken.Latency, all)
		}
	}
	for key, row := range a.endpoints {
		if row.read(key) || all {
			t.Endpoints = append(t.Endpoints, row.next)
			sparse(&t.Endpoints[len(t.Endpoints)-1].Latency, row.taken.Latency, all)
		}
		if now.Sub(row.last) > keepGone {
			delete(a.endpoints, key)
		}
	}
	a.likely = len(t.Endpoints)
	return t
}

// told notes whether control has taken the last report. One that it did not answer it may have taken all the same.
func (a *account) told(taken bool) {
	if a.whole = !taken; a.whole {
		return
	}
	a.taken = a.made
	for _, row := range a.listeners {
		row.taken = row.next
	}
	for _, row := range a.services {
		row.taken = row.next
	}
	for _, row := range a.endpoints {
		row.taken = row.next
	}
}

// look finds what there is to count in the state in force.
func (a *account) look(s *proxy.State, now time.Time) {
	for _, l := range s.Listeners() {
		made(a.listeners, l.Name).seen(l)
	}
	for _, service := range s.Services() {
		for i, p := range service.Pools {
			row := made(a.services, poolKey{service.Name, p.Subset})
			row.requests.seen(p.Requests)
			if i == 0 {
				row.calledBy(service.Callers())
			}
		}
		a.lookAt(service, s.Overlay(), now)
	}
}

// lookAt finds a service's endpoints, and what each of its pools deals out to them.
func (a *account) lookAt(service *proxy.Service, overlay fleet.Overlay, now time.Time) {
	rows := make([]*endpointRow, len(service.Endpoints))
	for i, e := range service.Endpoints {
		rows[i] = made(a.endpoints, endpointKey{service.Name, e.Incarnation})
		rows[i].seen(e.Traffic, now)
		rows[i].ejected = overlay[e.Incarnation].Ejected
	}
	for _, p := range service.Pools {
		shares := p.Balancer.Shares(now)
		for i, m := range p.Members {
			rows[m.Endpoint].dealt(p.Subset, &shares[i])
		}
	}
}

// made returns what stands under key, and puts it there first if it has to.
func made[K comparable, V any](m map[K]*V, key K) *V {
	row := m[key]
	if row == nil {
		row = new(V)
		m[key] = row
	}
	return row
}

// sparse leaves of a row's latency what differs from what was taken, unless all is asked for.
func sparse(latency *fleet.Buckets, taken fleet.Buckets, all bool) {
	if all || len(taken) == 0 {
		return
	}
	var changed fleet.Buckets
	for _, b := range *latency {
		for len(taken) > 0 && taken[0][0] < b[0] {
			taken = taken[1:]
		}
		if len(taken) == 0 || taken[0] != b {
			changed = append(changed, b)
		}
	}
	*latency = changed
}
