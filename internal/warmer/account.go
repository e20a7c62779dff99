package warmer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// An outcome is what became of one request.
type outcome struct {
	kind  int // its place in the plan
	took  time.Duration
	cause string // why it failed; "" for one that was answered well
	cut   bool   // by us: it counts as neither
}

// An account holds what the requests came to, all in all and in the window that has not ended.
type account struct {
	kinds        []tally
	sent, failed int
	first, last  time.Duration  // what a request cost, in the first window and in the last
	why          map[string]int // causes, by how often

	open, lost int // of the window: outcomes, and failed ones among them
}

// A tally is that of one kind of request.
type tally struct {
	request      *fleet.WarmupRequest
	sent, failed int
	cause        string          // the last one
	times        []time.Duration // of those answered in this window
	median       time.Duration   // of the last window that had any; 0: none yet
}

func newAccount(requests []fleet.WarmupRequest) *account {
	a := &account{kinds: make([]tally, len(requests)), why: map[string]int{}}
	for i := range requests {
		a.kinds[i].request = &requests[i]
	}
	return a
}

func (a *account) add(o outcome) {
	if o.cut {
		return
	}
	k := &a.kinds[o.kind]
	a.sent++
	a.open++
	k.sent++
	if o.cause == "" {
		k.times = append(k.times, o.took)
		return
	}
	a.failed++
	a.lost++
	k.failed++
	k.cause = o.cause
	const most = 32 // causes; what comes after them is no news
	if _, known := a.why[o.cause]; !known && len(a.why) >= most {
		o.cause = "other causes"
	}
	a.why[o.cause]++
}

// close ends the window if it has that many outcomes, and says whether it did.
func (a *account) close(least int) (window, bool) {
	if a.open < least {
		return window{}, false
	}
	w := window{failed: float64(a.lost) / float64(a.open)}
	if a.lost < a.open {
		w.cost = a.cost()
		a.first = cmp.Or(a.first, w.cost)
		a.last = w.cost
	}
	a.open, a.lost = 0, 0
	return w, true
}

// cost is what a request of the window cost: the median of each kind, by the kinds' weights. Kinds that did not come up
// in this window cost what they last did.
func (a *account) cost() time.Duration {
	sum, weights := 0.0, 0.0
	for i := range a.kinds {
		k := &a.kinds[i]
		if n := len(k.times); n > 0 {
			slices.Sort(k.times)
			k.median = max(1, (k.times[(n-1)/2]+k.times[n/2])/2)
			k.times = k.times[:0]
		}
		if k.median > 0 {
			sum += float64(weight(k.request)) * float64(k.median)
			weights += float64(weight(k.request))
		}
	}
	return time.Duration(sum / weights)
}

// complete says whether every kind has come up.
func (a *account) complete() bool {
	return !slices.ContainsFunc(a.kinds, func(k tally) bool { return k.sent == 0 })
}

// failure returns what wraps ErrFailed, or nil.
func (a *account) failure() error {
	if a.sent == 0 {
		return fmt.Errorf("%w: none was answered in time", ErrFailed)
	}
	for i := range a.kinds {
		if k := &a.kinds[i]; 2*k.failed > k.sent {
			return fmt.Errorf("%w: %d of %d %s, the last with %s", ErrFailed, k.failed, k.sent, name(k.request), k.cause)
		}
	}
	return nil
}

// causes returns why requests failed and how often, most often first.
func (a *account) causes() []string {
	var out []string
	for _, cause := range slices.SortedFunc(maps.Keys(a.why), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.why[y], a.why[x]), cmp.Compare(x, y))
	}) {
		out = append(out, fmt.Sprintf("%s ×%d", cause, a.why[cause]))
	}
	return out
}

// name says for people which kind of request it is.
func name(r *fleet.WarmupRequest) string {
	if r.Protocol == protocolGRPC {
		return "gRPC " + r.Method
	}
	return r.Method + " " + r.Path
}
