package gateway

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// marks are of instances whose fronts say in their answers that they leave; by incarnation. Control says so too, to those
// whom it reaches, and soon. Until then nothing new goes there: for a bounded time, since an answer is only a word, and
// within a bound of how many, so that words cannot empty a pool. What leaves serves on: who is beyond the bound still gets
// requests.
type marks map[string]mark

type mark struct {
	since, until time.Time
}

const (
	markFor    = 30 * time.Second // from when it was last said
	markReason = "its front says that it leaves"
	markMost   = 2 // one of so many endpoints of a pool may be left out, by marks and for failed checks; one alone in any case
)

// note puts down that an incarnation has said that it leaves, and says whether that is news.
func (m marks) note(incarnation string, now time.Time) (news bool) {
	known, ok := m[incarnation]
	if !ok {
		known.since = now
	}
	known.until = now.Add(markFor)
	m[incarnation] = known
	return !ok
}

// prune forgets those whose time is over, and those of whom v says that they get no requests in any case.
func (m marks) prune(v fleet.View, now time.Time) {
	if len(m) == 0 {
		return
	}
	offered := map[string]bool{}
	for i := range v.Services {
		for j := range v.Services[i].Endpoints {
			if e := &v.Services[i].Endpoints[j]; e.Stage.Offered() {
				offered[e.Incarnation] = true
			}
		}
	}
	maps.DeleteFunc(m, func(incarnation string, k mark) bool { return !offered[incarnation] || !now.Before(k.until) })
}

// next returns how long it is until the first of them is over, most if none is before.
func (m marks) next(now time.Time, most time.Duration) time.Duration {
	for _, k := range m {
		most = min(most, max(0, k.until.Sub(now)))
	}
	return most
}

// on returns a copy of an overlay in which, besides, those who are marked are left out: who said so first comes first,
// and only as many as every pool that they are in can spare.
func (m marks) on(o fleet.Overlay, v fleet.View) fleet.Overlay {
	next := make(fleet.Overlay, len(o)+len(m))
	maps.Copy(next, o)
	if len(m) == 0 {
		return next
	}
	order := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(m[a].since.Compare(m[b].since), cmp.Compare(a, b))
	})
	for _, incarnation := range order {
		if before := next[incarnation]; !before.Ejected && spares(v, next, incarnation) {
			next[incarnation] = fleet.Mark{Ejected: true, Reason: markReason, Returned: before.Returned, Progress: before.Progress}
		}
	}
	return next
}

// spares says whether every pool that an incarnation is in can do without it.
func spares(v fleet.View, o fleet.Overlay, incarnation string) bool {
	for i := range v.Services {
		s := &v.Services[i]
		for j := range s.Pools {
			if !spared(s, &s.Pools[j], o, incarnation) {
				return false
			}
		}
	}
	return true
}

// spared says whether a pool can do without an incarnation, which need not be in it: somebody is left, not more than one
// of markMost are out, and it stays above the pool's panic threshold.
func spared(s *fleet.Service, p *fleet.Pool, o fleet.Overlay, incarnation string) bool {
	all, out, in := 0, 0, false
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		if !e.Stage.Offered() || !(e.Full() > 0) {
			continue
		}
		all++
		switch {
		case e.Incarnation == incarnation:
			in = true
			out++
		case o[e.Incarnation].Ejected:
			out++
		}
	}
	left := all - out
	return !in || left > 0 && out <= max(1, all/markMost) && float64(left) >= p.Policy.Panic*float64(all)
}
