package dns

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultGrace       = 30 * time.Second
	defaultConcurrency = 64
	filePoll           = 5 * time.Second // how often changes of the hosts file and resolv.conf are looked for
)

// A Query is what is watched: a name, and which of its addresses count.
type Query struct {
	Name  string
	First bool // only the first address of the newest answer (Istio's DNS_ROUND_ROBIN); otherwise all (DNS)
}

func (q Query) compare(other Query) int {
	if c := strings.Compare(q.Name, other.Name); c != 0 || q.First == other.First {
		return c
	}
	if q.First {
		return 1
	}
	return -1
}

// A Result is what is known about a query. Addresses stay while Reason says that nothing better is known: a
// Result with both is one whose addresses are held.
type Result struct {
	Query
	Addresses []netip.Addr  // sorted, no repetitions; at most one for First
	TTL       time.Duration // of the newest answer with addresses, within the resolver's bounds; 0 without one
	Reason    Reason        // "" when the newest lookup told everything
	Err       error         // a *LookupError that explains Reason; nil without one
	When      time.Time     // when that lookup ended
}

// A Watcher keeps the addresses of names current. Its fields must not change while it runs.
//
// A name is looked up again when the TTL of its answer is over, 10 % sooner or later by chance, so that names that
// started together do not stay together. After a failure it is looked up again after 1 s, and then after twice as
// long each time, at most 1 min; its addresses stay. After an answer that there is no address they stay for
// Grace, and go only if the answer is still the same then. A name whose line in the hosts file changes is looked
// up again within 5 s, and so are those that failed when resolv.conf changes.
type Watcher struct {
	Resolver    *Resolver     // nil means the zero Resolver
	Grace       time.Duration // for how long servers must deny addresses before they go; 0 means 30 s
	Concurrency int           // lookups at once; 0 means 64. Names that failed get half of them, so that they starve nobody.
	Known       []Result      // what was known before, of which Query and Addresses count; held until something better is known

	mu     sync.Mutex
	wanted []Query
	bell   chan struct{}
}

// Set says what to watch from now on; it may be called at any time, and the latest call wins. What is watched
// already goes on undisturbed. What is not any more is forgotten, without a Result that would say so.
func (w *Watcher) Set(queries []Query) {
	w.mu.Lock()
	w.wanted = slices.Clone(queries)
	w.mu.Unlock()
	select {
	case w.rung() <- struct{}{}:
	default: // it rings already
	}
}

// rung is the bell that Set rings.
func (w *Watcher) rung() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bell == nil {
		w.bell = make(chan struct{}, 1)
	}
	return w.bell
}

// Run watches until ctx ends, and returns nil when all its lookups have ended too. It calls apply from its own
// goroutine with what changed: addresses or reason; the first outcome for a query is a change. The results are
// sorted by query, with at most one for each, and there is at least one; the slices are the caller's. Just
// after a Set there may be one for a query that is no longer watched.
func (w *Watcher) Run(ctx context.Context, apply func([]Result)) error {
	l := w.newLoop()
	defer l.lookups.Wait()
	ctx, cancel := context.WithCancel(ctx) // ends what is under way before the Wait
	defer cancel()
	files := time.NewTicker(filePoll)
	defer files.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	bell := w.rung()
	for {
		var news []Result
		select {
		case <-ctx.Done():
			return nil
		case <-bell:
			l.take(w.latest())
		case o := <-l.done:
			news = l.collect(o)
		case <-files.C:
			l.readFiles(time.Now())
		case <-wake.C:
		}
		if len(news) > 0 {
			apply(news)
		}
		now := time.Now()
		l.start(ctx, now)
		if due, ok := l.next(); ok {
			wake.Reset(due.Sub(now))
		} else {
			wake.Stop()
		}
	}
}

func (w *Watcher) latest() []Query {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted
}

// A loop is what Run's goroutine knows; nobody else touches it.
type loop struct {
	resolver    *Resolver
	pace        pace
	concurrency int
	known       map[Query][]netip.Addr
	entries     map[Query]*entry
	sound       queue // whose latest lookup was answered, or is yet to come
	ailing      queue // whose latest lookup failed
	hosts       *hosts
	conf        *conf // resolv.conf, where that is what the resolver goes by
	done        chan outcome
	lookups     sync.WaitGroup
}

// An outcome is what a lookup brought.
type outcome struct {
	entry  *entry
	from   *queue
	answer Answer
	err    error
}

func (w *Watcher) newLoop() *loop {
	n := cmp.Or(w.Concurrency, defaultConcurrency)
	r := cmp.Or(w.Resolver, &Resolver{})
	l := &loop{
		resolver:    r,
		pace:        pace{r.minTTL(), r.maxTTL(), cmp.Or(w.Grace, defaultGrace), rand.Float64},
		concurrency: n,
		known:       map[Query][]netip.Addr{},
		entries:     map[Query]*entry{},
		done:        make(chan outcome, n), // room for all, so that no lookup waits for Run to end
		sound:       queue{limit: n},
		ailing:      queue{limit: max(1, n/2)},
	}
	for _, r := range w.Known {
		l.known[r.Query] = r.Addresses
	}
	l.readFiles(time.Now())
	return l
}

// take makes the entries those of the wanted queries.
func (l *loop) take(wanted []Query) {
	stay := make(map[Query]bool, len(wanted))
	now := time.Now()
	for _, q := range wanted {
		stay[q] = true
		if l.entries[q] != nil {
			continue
		}
		e := &entry{query: q, addresses: slices.Clone(l.known[q])}
		l.entries[q] = e
		delete(l.known, q) // known before the first time only
		l.sound.add(e, now)
	}
	maps.DeleteFunc(l.entries, func(q Query, e *entry) bool {
		if stay[q] {
			return false
		}
		e.leave()
		return true
	})
}

// start begins the lookups that are due, as far as the bounds allow.
func (l *loop) start(ctx context.Context, now time.Time) {
	for _, q := range []*queue{&l.sound, &l.ailing} {
		for l.sound.busy+l.ailing.busy < l.concurrency {
			e := q.take(now)
			if e == nil {
				break
			}
			ctx, cancel := context.WithCancel(ctx)
			e.cancel = cancel
			l.lookups.Go(func() {
				defer cancel()
				answer, err := l.resolver.Lookup(ctx, e.query.Name)
				l.done <- outcome{e, q, answer, err}
			})
		}
	}
}

// next is when the next lookup is due that may begin then; those that wait for another one's end do not count.
func (l *loop) next() (time.Time, bool) {
	if l.sound.busy+l.ailing.busy >= l.concurrency {
		return time.Time{}, false
	}
	sound, ok := l.sound.next()
	ailing, also := l.ailing.next()
	if !ok || also && ailing.Before(sound) {
		return ailing, also
	}
	return sound, true
}

// collect takes this outcome and all others that are there already, and returns what they changed.
func (l *loop) collect(o outcome) []Result {
	changed := map[Query]Result{}
	for {
		if r, news := l.finish(o, time.Now()); news {
			changed[r.Query] = r
		}
		select {
		case o = <-l.done:
		default:
			return slices.SortedFunc(maps.Values(changed), func(a, b Result) int { return a.Query.compare(b.Query) })
		}
	}
}

// finish ends a lookup and plans the next one for its query, which may be forgotten by now.
func (l *loop) finish(o outcome, now time.Time) (Result, bool) {
	o.from.busy--
	e := o.entry
	e.cancel = nil
	if e.gone {
		return Result{}, false
	}
	wait := e.learn(o.answer, o.err, now, l.pace)
	if e.again {
		e.again, wait = false, 0
	}
	q := &l.sound
	if e.failures > 0 {
		q = &l.ailing
	}
	q.add(e, now.Add(wait))
	return e.news(now)
}

// readFiles makes due what the files may have changed: what the hosts file says something else about than before,
// and after a change of resolv.conf what failed.
func (l *loop) readFiles(now time.Time) {
	hostsBefore, confBefore := l.hosts, l.conf
	l.hosts = l.resolver.hostsTable()
	if l.resolver.Servers == nil {
		l.conf, _ = l.resolver.confFile() // a lookup says why there is none
	}
	for q, e := range l.entries {
		name := plain(q.Name)
		if l.conf != confBefore && e.failure != nil ||
			l.hosts != hostsBefore && !slices.Equal(hostsBefore.of(name), l.hosts.of(name)) {
			e.hurry(now)
		}
	}
}
