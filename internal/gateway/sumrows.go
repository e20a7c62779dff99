package gateway

import (
	"slices"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// A lineage is what was counted at one place under one name, from each time that it came until it went.
type lineage struct {
	now  *evidence.Traffic
	gone []*evidence.Traffic // in which something may still be open
	past evidence.Counts     // of those that have gone and in which nothing is
}

func (l *lineage) seen(t *evidence.Traffic) {
	if l.now != nil && l.now != t {
		l.gone = append(l.gone, l.now)
	}
	l.now = t
}

// counts returns all of it.
func (l *lineage) counts() evidence.Counts {
	l.gone = slices.DeleteFunc(l.gone, func(t *evidence.Traffic) bool {
		c := t.Ever()
		over := c.Open() == 0
		if over {
			l.past.Merge(&c)
		}
		return over
	})
	sum := l.now.Ever()
	sum.Merge(&l.past)
	for _, t := range l.gone {
		c := t.Ever()
		sum.Merge(&c)
	}
	return sum
}

// A listenerRow is one listener.
type listenerRow struct {
	now               *evidence.Downstream
	requests          lineage
	mesh              bool
	connects, refused uint64 // of those that have gone
	next, taken       fleet.ListenerTraffic
}

func (r *listenerRow) seen(l *proxy.Listener) {
	if r.now != nil && r.now != l.Traffic {
		connects, refused := r.now.EverConnected()
		r.connects += connects
		r.refused += refused
	}
	r.now, r.mesh = l.Traffic, l.Mesh
	r.requests.seen(&l.Traffic.Requests)
}

// read reads the row anew, and says whether anything has changed since control took it.
func (r *listenerRow) read(name string) (changed bool) {
	c := r.requests.counts()
	connects, refused := r.now.EverConnected()
	r.next = fleet.ListenerTraffic{
		Name: name, Mesh: r.mesh, Requests: c.Total, Active: c.Open(), Connects: r.connects + connects, Rejected: r.refused + refused,
		Ended: c.Ends, Codes: fleet.CodesOf(c.Codes), Calls: fleet.CodesOf(c.Calls), Latency: fleet.BucketsOf(c.Latency.Each, len(r.taken.Latency)),
	}
	n, t := &r.next, &r.taken
	return t.Name == "" || n.Requests != t.Requests || n.Ended != t.Ended || n.Connects != t.Connects || n.Rejected != t.Rejected
}

// A poolRow is one pool of a service: a subset, or the whole of it.
type poolRow struct {
	requests    lineage
	callers     []*evidence.Callers // each since it came, the newest last
	next, taken fleet.ServiceTraffic
}

func (r *poolRow) calledBy(c *evidence.Callers) {
	if n := len(r.callers); n == 0 || r.callers[n-1] != c {
		r.callers = append(r.callers, c)
	}
}

// read reads the row anew, and says whether anything has changed since control took it.
func (r *poolRow) read(key poolKey, s *proxy.State) (changed bool) {
	var callers map[string]uint64
	if len(r.callers) > 0 {
		callers = r.calls(s) // before the counts, which have all of them
	}
	c := r.requests.counts()
	r.next = fleet.ServiceTraffic{
		Service: key.service, Subset: key.subset, Active: c.Open(), Retries: c.Retry,
		Ended: c.Ends, Codes: fleet.CodesOf(c.Codes), Latency: fleet.BucketsOf(c.Latency.Each, len(r.taken.Latency)), Callers: callers,
	}
	if outside := c.Ends.Ended() - sum(callers); callers != nil && outside > 0 {
		callers[""] = outside
	}
	n, t := &r.next, &r.taken
	return t.Service == "" || n.Active != t.Active || n.Ended != t.Ended || n.Retries != t.Retries
}

// calls returns how many requests of each workload have ended.
func (r *poolRow) calls(s *proxy.State) map[string]uint64 {
	by := map[string]uint64{}
	for _, c := range r.callers {
		c.Each(func(caller int, n uint64) { by[s.CallerName(caller)] += n })
	}
	return by
}

func sum(by map[string]uint64) (n uint64) {
	for _, of := range by {
		n += of
	}
	return n
}

// An endpointRow is one endpoint of a service.
type endpointRow struct {
	now         *evidence.Traffic
	gone        []*evidence.Traffic // in which something may still be open, and the one before now
	past        evidence.Counts     // of those before
	last        time.Time           // when it was there
	deals       []deal              // by pool
	share       float64             // the least of its pools
	reason      string
	ejected     bool
	next, taken fleet.EndpointTraffic
}

// least is by how much what is due to an endpoint must have grown to be worth a word.
const least = 0.05

// A deal is what one pool owed an endpoint, and gave it.
type deal struct {
	subset  string
	due     float64
	got     uint64
	pastDue float64 // before the endpoint came anew
	pastGot uint64
}

func (r *endpointRow) seen(t *evidence.Traffic, now time.Time) {
	if r.now != nil && r.now != t {
		r.leave()
	}
	r.now, r.last, r.share, r.reason = t, now, 1, ""
}

// leave takes note that what is counted now is counted elsewhere from here on. An endpoint may come and go all day.
func (r *endpointRow) leave() {
	r.gone = append(slices.DeleteFunc(r.gone, func(t *evidence.Traffic) bool {
		over := t.Active.Load() == 0
		if over {
			c := t.Ever()
			r.past.Merge(&c)
		}
		return over
	}), r.now)
}

// dealt notes what a pool has dealt out to the endpoint.
func (r *endpointRow) dealt(subset string, share *balancer.Share) {
	i := slices.IndexFunc(r.deals, func(d deal) bool { return d.subset == subset })
	if i < 0 {
		i = len(r.deals)
		r.deals = append(r.deals, deal{subset: subset})
	}
	d := &r.deals[i]
	if share.Actual < d.got { // it begins anew
		d.pastDue, d.pastGot = d.pastDue+d.due, d.pastGot+d.got
	}
	d.due, d.got = share.Expected, share.Actual
	if share.Share < r.share || i == 0 {
		r.share, r.reason = share.Share, string(share.Reason)
	}
}

// read reads the row anew, and says whether anything has changed since control took it. Of one in which nothing was sent and
// nothing has ended, latencies are not looked at.
func (r *endpointRow) read(key endpointKey) (changed bool) {
	n := fleet.EndpointTraffic{Service: key.service, Incarnation: key.incarnation, Share: r.share, Reason: r.reason, Ejected: r.ejected}
	for _, d := range r.deals {
		n.Due += d.pastDue + d.due
		n.Got += d.pastGot + d.got
	}
	n.Requests, n.Failed = r.now.EverSent()
	n.Requests += r.past.Total
	n.Failed += r.past.Failed()
	n.Active = r.now.Active.Load()
	for _, t := range r.gone {
		sent, failed := t.EverSent()
		n.Requests += sent
		n.Failed += failed
		n.Active += t.Active.Load()
	}
	t := &r.taken
	n.Latency = t.Latency
	stands := t.Service != "" && n.Requests == t.Requests && n.Failed == t.Failed && n.Active == t.Active
	if !stands {
		n.Latency = r.took(len(t.Latency))
	}
	r.next = n
	return !stands || n.Got != t.Got || n.Share != t.Share || n.Reason != t.Reason || n.Ejected != t.Ejected || n.Due-t.Due > least
}

// took returns what requests to the endpoint took.
func (r *endpointRow) took(likely int) fleet.Buckets {
	if len(r.gone) == 0 {
		return fleet.BucketsOf(r.now.EverTook, likely)
	}
	all := r.now.Ever().Latency
	all.Merge(&r.past.Latency)
	for _, t := range r.gone {
		c := t.Ever()
		all.Merge(&c.Latency)
	}
	return fleet.BucketsOf(all.Each, likely)
}
