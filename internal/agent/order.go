package agent

import (
	"math"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/warmup"
)

// An ordering is what the runner knows of its front.
type ordering struct {
	given  proxy.Orders
	again  time.Time         // when its share is looked at again; zero is never
	close  func(cause error) // ends the data plane and waits for it; nil: there is none
	closed time.Time         // when that was done; to be read once close has returned
}

// ramp is how often the share of an instance behind a front is looked at.
const ramp = 250 * time.Millisecond

// stepOfShare is how much a share moves before the front hears of it.
const stepOfShare = 0.01

// order tells the front what holds now, if that is new.
func (r *runner) order(now time.Time) {
	if r.Front == nil {
		return
	}
	leaving := r.now.Mark
	o := proxy.Orders{
		Incarnation: r.Instance.Incarnation, Leaving: r.now.Mark, Refusing: r.now.Refuse, Report: true, Born: r.born,
	}
	share := r.sight.Share
	if r.life.cycle.Warmup.Window > 0 && !leaving { // nobody asked for a limit otherwise
		o = o.Cold(r.life.cycle.Front, share)
	}
	o.Warm = share
	r.orders.again = time.Time{}
	if share < 1 && !leaving {
		r.orders.again = now.Add(ramp)
	}
	given := r.orders.given
	if math.Abs(o.Warm-given.Warm) < stepOfShare && o.Warm < 1 {
		o.Warm = given.Warm
	}
	if o != given {
		r.orders.given = o
		r.Front.Order(o)
	}
}

// shareOf returns the share of one who warms up by w.
func shareOf(w fleet.Warmup, m fleet.Member, age time.Duration) float64 {
	return warmup.Share(w, warmup.Progress(w, m, age))
}

// startShare is the share that one begins with.
func startShare(w fleet.Warmup) float64 { return shareOf(w, fleet.Member{}, 0) }
