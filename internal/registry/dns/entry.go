package dns

import (
	"container/heap"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	jitter     = 0.1
)

// A pace says how often to look.
type pace struct {
	min, max time.Duration
	grace    time.Duration
	random   func() float64 // in [0, 1)
}

// spread is d, a tenth sooner or later by chance.
func (p pace) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*p.random()))
}

// bounded is d spread, within the bounds.
func (p pace) bounded(d time.Duration) time.Duration {
	return min(max(p.spread(d), p.min), p.max)
}

// An entry is one watched query.
type entry struct {
	query     Query
	addresses []netip.Addr // as in an Answer: the first one is First's
	ttl       time.Duration
	failure   *LookupError // of the newest lookup
	failures  int          // in a row
	denied    time.Time    // since when servers say that there is no address; zero when they do not

	told Result // what was reported last
	tell bool   // something was

	due    time.Time
	queue  *queue // where it waits; nil while it is being looked up
	index  int    // its place there
	again  bool   // look again as soon as this lookup has ended
	gone   bool
	cancel context.CancelFunc // ends the lookup under way
}

// learn takes in a lookup's outcome and returns how long to wait for the next.
func (e *entry) learn(a Answer, err error, now time.Time, p pace) time.Duration {
	if err == nil {
		e.addresses, e.ttl = e.merge(a), a.TTL
		e.failure, e.failures, e.denied = asFailure(e.query.Name, a.Missing), 0, time.Time{}
		return p.bounded(a.TTL)
	}
	e.failure = asFailure(e.query.Name, err)
	if !e.failure.Reason.Negative() {
		e.failures++
		return p.spread(min(firstRetry<<min(e.failures-1, 10), lastRetry))
	}
	e.failures = 0
	if e.denied.IsZero() {
		e.denied = now
	}
	wait := p.bounded(e.failure.TTL)
	if left := p.grace - now.Sub(e.denied); left > 0 && len(e.addresses) > 0 {
		return min(wait, left)
	}
	e.addresses, e.ttl = nil, 0
	return wait
}

// merge is what the answer says, and for a family that could not be asked for what was known before.
func (e *entry) merge(a Answer) []netip.Addr {
	addresses := slices.Clone(a.Addresses)
	if a.Missing == nil {
		return addresses
	}
	for _, addr := range e.addresses {
		if !slices.ContainsFunc(a.Addresses, func(b netip.Addr) bool { return b.Is4() == addr.Is4() }) {
			addresses = append(addresses, addr)
		}
	}
	slices.SortStableFunc(addresses, byFamily)
	return addresses
}

// asFailure is err as a *LookupError, nil for none.
func asFailure(name string, err error) *LookupError {
	if err == nil {
		return nil
	}
	if failure, ok := errors.AsType[*LookupError](err); ok {
		return failure
	}
	return &LookupError{Name: name, Reason: ServerFailed, Err: err}
}

// news is the entry's result, and whether it differs from what was reported last.
func (e *entry) news(now time.Time) (Result, bool) {
	r := Result{Query: e.query, Addresses: slices.Clone(e.addresses), TTL: e.ttl, When: now}
	if e.query.First && len(r.Addresses) > 1 {
		r.Addresses = r.Addresses[:1]
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	if e.failure != nil {
		r.Reason, r.Err = e.failure.Reason, e.failure
	}
	if e.tell && r.Reason == e.told.Reason && slices.Equal(r.Addresses, e.told.Addresses) {
		return Result{}, false
	}
	e.told, e.tell = r, true
	e.told.Addresses = slices.Clone(r.Addresses)
	return r, true
}

// hurry makes the entry due now, or once the lookup under way has ended.
func (e *entry) hurry(now time.Time) {
	if e.queue == nil {
		e.again = true
		return
	}
	e.due = now
	heap.Fix(e.queue, e.index)
}

// leave takes the entry out of its queue, or ends the lookup under way.
func (e *entry) leave() {
	e.gone = true
	if e.queue != nil {
		heap.Remove(e.queue, e.index)
		e.queue = nil
	}
	if e.cancel != nil {
		e.cancel()
	}
}

// A queue holds entries by when they are due, and counts those that it gave out.
type queue struct {
	waiting []*entry
	busy    int
	limit   int // of busy
}

func (q *queue) add(e *entry, due time.Time) {
	e.due, e.queue = due, q
	heap.Push(q, e)
}

// take gives out the entry that is due first, nil when none is due or enough are out.
func (q *queue) take(now time.Time) *entry {
	if q.busy >= q.limit || len(q.waiting) == 0 || q.waiting[0].due.After(now) {
		return nil
	}
	e := q.waiting[0]
	heap.Remove(q, 0)
	e.queue = nil
	q.busy++
	return e
}

// next is when the first one is due, if one may be given out.
func (q *queue) next() (time.Time, bool) {
	if q.busy >= q.limit || len(q.waiting) == 0 {
		return time.Time{}, false
	}
	return q.waiting[0].due, true
}

// Len is container/heap's.
func (q *queue) Len() int { return len(q.waiting) }

// Less is container/heap's: by time, then by query.
func (q *queue) Less(i, j int) bool {
	a, b := q.waiting[i], q.waiting[j]
	if c := a.due.Compare(b.due); c != 0 {
		return c < 0
	}
	return a.query.compare(b.query) < 0
}

// Swap is container/heap's.
func (q *queue) Swap(i, j int) {
	q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i]
	q.waiting[i].index, q.waiting[j].index = i, j
}

// Push is container/heap's.
func (q *queue) Push(x any) {
	if e, ok := x.(*entry); ok {
		e.index = len(q.waiting)
		q.waiting = append(q.waiting, e)
	}
}

// Pop is container/heap's.
func (q *queue) Pop() any {
	last := len(q.waiting) - 1
	e := q.waiting[last]
	q.waiting[last] = nil
	q.waiting = q.waiting[:last]
	return e
}
