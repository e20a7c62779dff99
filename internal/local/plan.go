package local

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A replica is what the plan sees of an instance.
type replica struct {
	name     string
	revision string
	started  time.Time
	ready    time.Time // since when it has been able to serve; zero when it is not
	leaving  bool
}

// available says whether the replica has been ready for as long as its workload wants to see.
func (r replica) available(minReady time.Duration, now time.Time) bool {
	return !r.ready.IsZero() && now.Sub(r.ready) >= minReady
}

// A decision is what to do for a workload now. Nothing to do is the zero value.
type decision struct {
	start int      // how many replicas to start
	leave []string // names of the replicas to let go
}

// plan decides the next step from the replicas that there are towards those that the workload asks for, as a
// Kubernetes Deployment does: replicas that are leaving count for nothing, except that Recreate waits for the
// end of all old ones. It is called again whenever something has changed, and when time has passed.
func plan(w *fleet.Workload, all []replica, now time.Time) decision {
	var fresh, stale []replica
	ending := 0
	for _, r := range all {
		switch {
		case r.leaving && r.revision != w.Revision:
			ending++
		case r.leaving:
		case r.revision == w.Revision:
			fresh = append(fresh, r)
		default:
			stale = append(stale, r)
		}
	}
	switch {
	case len(fresh) > w.Replicas:
		return decision{leave: worst(fresh, len(fresh)-w.Replicas)}
	case w.Recreate && len(stale) > 0:
		return decision{leave: worst(stale, len(stale))}
	case w.Recreate && ending > 0:
		return decision{}
	default:
		return roll(w, fresh, stale, now)
	}
}

// roll starts fresh replicas up to the surge, and lets stale ones go as far as enough others are available.
// Fresh ones that are not available yet count as if they might never be.
func roll(w *fleet.Workload, fresh, stale []replica, now time.Time) decision {
	surge, unavailable := limits(w)
	total := len(fresh) + len(stale)
	d := decision{start: max(0, min(w.Replicas-len(fresh), w.Replicas+surge-total))}

	least := max(0, w.Replicas-unavailable)
	serving := count(fresh, w.MinReady, now)
	budget := total - least - (len(fresh) - serving)
	if budget <= 0 {
		return d
	}
	standing := count(stale, w.MinReady, now)
	idle := min(budget, len(stale)-standing) // these serve nobody
	spare := max(0, min(standing, serving+standing-least))
	d.leave = worst(stale, idle+spare)
	return d
}

func count(replicas []replica, minReady time.Duration, now time.Time) int {
	n := 0
	for _, r := range replicas {
		if r.available(minReady, now) {
			n++
		}
	}
	return n
}

// worst returns the names of the n replicas that are missed least, in Kubernetes' order: those that are not
// ready, those that have been ready for the shortest time, the youngest. It sorts its argument.
func worst(replicas []replica, n int) []string {
	slices.SortFunc(replicas, func(a, b replica) int {
		if a.ready.IsZero() != b.ready.IsZero() {
			if a.ready.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(b.ready.Compare(a.ready), b.started.Compare(a.started), strings.Compare(b.name, a.name))
	})
	names := make([]string, 0, n)
	for _, r := range replicas[:min(n, len(replicas))] {
		names = append(names, r.name)
	}
	return names
}

// limits returns how many replicas a rollout may add, and how many may be missing. Where both come out as
// none, one may be missing, or the rollout could not begin.
func limits(w *fleet.Workload) (surge, unavailable int) {
	surge = portion(w.MaxSurge, w.Replicas, true)
	unavailable = portion(w.MaxUnavailable, w.Replicas, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// portion reads a number, or a percentage of replicas rounded up or down. What is not given, or not
// readable (configuration has refused that before), is Kubernetes' default of 25%.
func portion(s string, replicas int, up bool) int {
	percent, isPercent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(percent)
	if err != nil || n < 0 {
		n, isPercent = 25, true
	}
	switch {
	case !isPercent:
		return n
	case up:
		return (replicas*n + 99) / 100
	default:
		return replicas * n / 100
	}
}
