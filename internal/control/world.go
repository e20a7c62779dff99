package control

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
)

const (
	// absence is how long a follower that went away is believed: its instances stay, and drains wait for
	// what it may still be sending.
	absence = 30 * time.Second
	// memory is how long an incarnation that vanished keeps its age, should it come back.
	memory = 10 * time.Minute
	// history is how many events a snapshot carries.
	history = 256
	// observer is the role of those who only look.
	observer = "observer"
)

// A world is everything control knows.
type world struct {
	view             fleet.View // the newest snapshot; the next is made from it
	desired          *fleet.Desired
	rejected         bool                 // what is on disk is not desired: it has errors
	scaled           map[string]int       // replicas that a command set, by workload
	restarted        map[string]string    // when a restart was asked for, by workload
	followers        map[string]*follower // by id
	ordered          map[string]*order    // what commands asked of gateways, by namespace/name
	restored         []fleet.Instance     // what the last snapshot knew to run, until somebody reports what does
	restoredT        time.Time
	restoredReplicas []fleet.Replica    // likewise, of gateways
	left             []drain.Report     // the latest leaves of data planes, oldest first; is replaced, never changed
	lives            map[string]*life   // by incarnation
	past             map[string]memento // incarnations that vanished
	pools            map[poolKey]*pool
	resolved         map[resolvedKey]Resolved
	told             []fleet.Event // since the last fold
}

// A follower is a program that follows control.
type follower struct {
	who       fleet.Hello
	connected int  // streams open; a follower that reconnects may have two for a moment
	away      bool // the last of them ended, and nothing has been heard since
	seen      time.Time
	report    fleet.Report
}

func (f *follower) role() string { return cmp.Or(f.who.Role, f.report.Role) }

// A life is what control knows of one incarnation.
type life struct {
	lifecycle.State
	healthy bool           // its check passed, and nobody took that back
	ready   bool           // whoever runs it says so
	clear   map[string]int // while draining: reports in a row, by gateway, that show nothing open
	drained uint64         // the first snapshot that showed it draining
	name    string
	skipped string         // why it joins with its full share; "" when it does not
	factor  *float64       // of its weight, as people set it; nil is 1
	resting bool           // it has no weight in any service
	at      map[*pool]spot // where it is on each pool's curve

	returned time.Time // when a gateway last said that it took it back after failed checks
}

// A spot is where somebody is on a curve.
type spot struct {
	fleet.Member

	curve fleet.Warmup
}

// A memento is what is kept of an incarnation that vanished.
type memento struct {
	offered time.Time
	factor  *float64
	resting bool
	at      map[*pool]spot
	gone    time.Time
}

func newWorld(last fleet.View, now time.Time) *world {
	w := &world{
		view:      last,
		desired:   remembered(last.Snapshot),
		scaled:    map[string]int{},
		restarted: map[string]string{},
		followers: map[string]*follower{},
		restoredT: now,
		ordered:   map[string]*order{},
		left:      last.Drains,
		lives:     map[string]*life{},
		past:      map[string]memento{},
		pools:     map[poolKey]*pool{},
		resolved:  recall(last.Services),
	}
	for _, i := range last.Instances {
		if !configured(i) {
			w.restored = append(w.restored, i)
		}
	}
	for _, l := range last.Workloads {
		if l.Replicas != l.Declared {
			w.scaled[key(l.Namespace, l.Name)] = l.Replicas
		}
		if l.Restarted != "" {
			w.restarted[key(l.Namespace, l.Name)] = l.Restarted
		}
	}
	w.desired.Groups = w.recallGroups(last.Groups)
	w.restoredReplicas = last.Replicas
	for _, id := range last.Gateways { // they may be sending still: drains wait for them
		w.followers[id] = &follower{who: fleet.Hello{ID: id, Role: "gateway"}, seen: now}
	}
	for i := range last.Services {
		for j := range last.Services[i].Endpoints {
			w.restore(&last.Services[i].Endpoints[j], now)
		}
		w.restorePools(&last.Services[i], now)
	}
	return w
}

// restore gives an incarnation of the last snapshot its life back, at its age.
func (w *world) restore(e *fleet.Endpoint, now time.Time) {
	l := w.life(e.Incarnation)
	l.name = e.Name
	l.Stage = e.Stage
	l.factor = e.Factor
	if e.Stage == fleet.Starting && e.Age == 0 {
		return
	}
	l.Offered = now.Add(-w.view.Age(e, now))
	l.healthy, l.ready = e.Stage != fleet.Starting, e.Stage != fleet.Starting
	if e.Stage == fleet.Draining {
		l.drained = w.view.Number
	}
}

// remembered is the configuration that a snapshot was made from, as far as it shows.
func remembered(s *fleet.Snapshot) *fleet.Desired {
	d := &fleet.Desired{Digest: s.Config, Listeners: s.Listeners}
	listed := map[string]bool{}
	for _, i := range s.Instances {
		if configured(i) {
			d.Instances = append(d.Instances, i)
		}
		listed[i.Incarnation] = true
	}
	for _, service := range s.Services {
		service.Endpoints = slices.DeleteFunc(slices.Clone(service.Endpoints), func(e fleet.Endpoint) bool {
			return listed[e.Incarnation] || strings.HasPrefix(e.Incarnation, resolvedPrefix)
		})
		service.Pools = slices.Clone(service.Pools)
		for i := range service.Pools {
			service.Pools[i].Members = nil
		}
		d.Services = append(d.Services, service)
	}
	for _, l := range s.Workloads {
		l.Replicas = l.Declared
		l.Revision = strings.TrimSuffix(l.Revision, "+"+l.Restarted)
		d.Workloads = append(d.Workloads, l)
	}
	return d
}

// configured says whether an instance comes from configuration, not from a report.
func configured(i fleet.Instance) bool { return i.Origin.File != "" }

func key(namespace, name string) string { return namespace + "/" + name }

func (w *world) life(incarnation string) *life {
	l := w.lives[incarnation]
	if l == nil {
		l = &life{at: map[*pool]spot{}}
		w.lives[incarnation] = l
	}
	return l
}

func (w *world) tell(e fleet.Event, now time.Time) {
	e.Time = now.Round(0)
	if e.From == "" {
		e.From = "control"
	}
	w.told = append(w.told, e)
}

func (w *world) join(who fleet.Hello, now time.Time) {
	f := w.followers[who.ID]
	if f == nil {
		f = &follower{}
		w.followers[who.ID] = f
	}
	if f.who.ID == "" { // it may have reported already
		f.who = who
		if who.Role != observer {
			w.tell(fleet.Event{Kind: "follower.joined", From: who.ID, Reason: who.Role}, now)
		}
	}
	f.connected++
	f.away = false
	f.seen = now
}

func (w *world) part(who fleet.Hello, now time.Time) {
	if f := w.followers[who.ID]; f != nil {
		f.connected--
		f.away = f.connected <= 0
		f.seen = now
	}
}

// forget drops followers that have been away for too long.
func (w *world) forget(now time.Time) {
	for id, f := range w.followers {
		if f.connected <= 0 && now.Sub(f.seen) > absence {
			delete(w.followers, id)
			if f.who.Role == observer {
				continue
			}
			w.tell(fleet.Event{Kind: "follower.left", From: id, Reason: "away for " + absence.String()}, now)
		}
	}
	if now.Sub(w.restoredT) > absence {
		w.restored, w.restoredReplicas = nil, nil
	}
	for incarnation, m := range w.past {
		if now.Sub(m.gone) > memory {
			delete(w.past, incarnation)
		}
	}
}

func (w *world) report(r fleet.Report, now time.Time) {
	for _, e := range r.Events {
		e.From = r.From
		w.told = append(w.told, e)
		if l := w.lives[e.Incarnation]; l != nil && e.Kind == "endpoint.returned" {
			l.returned = now
		}
	}
	if r.Role == "gateway" && (r.Drain != nil || !r.Leaving) {
		w.leave(r.From, r.Drain)
	}
	r.Events, r.Drain = nil, nil
	f := w.followers[r.From]
	if r.Leaving { // it need not be waited for
		if f != nil {
			w.tell(fleet.Event{Kind: "follower.left", From: r.From, Reason: "its leave is over"}, now)
		}
		delete(w.followers, r.From)
		return
	}
	if f == nil {
		f = &follower{}
		w.followers[r.From] = f
	}
	if r.Role == "supervisor" {
		w.bury(slices.Concat(f.report.Replicas, w.restoredReplicas), r.Replicas, now)
		w.restoredReplicas = nil // it reports the whole of what it runs
	}
	f.seen, f.away = now, false
	f.report = r
	switch {
	case r.Role == "local":
		w.restored = nil // likewise
	case r.Role == "gateway" && r.Applied <= w.view.Number: // a number from before a restart says nothing
		w.heard(r)
	}
}

// bury forgets gateways whose supervisor says that their processes have ended: they are not on the other side of a broken
// network, where they might be sending, and no drain need wait for them.
func (w *world) bury(before, now []fleet.Replica, at time.Time) {
	for _, r := range before {
		f := w.followers[r.ID]
		if f == nil || f.role() != "gateway" || slices.ContainsFunc(now, func(n fleet.Replica) bool { return n.ID == r.ID }) {
			continue
		}
		delete(w.followers, r.ID)
		w.tell(fleet.Event{Kind: "follower.left", From: r.ID, Reason: "its supervisor says that its process has ended"}, at)
	}
}

// heard counts, for everyone who drains, the reports in a row that show nothing open.
func (w *world) heard(r fleet.Report) {
	for incarnation, l := range w.lives {
		if l.Stage != fleet.Draining || l.drained == 0 {
			continue
		}
		if l.clear == nil {
			l.clear = map[string]int{}
		}
		if r.Applied >= l.drained && r.Open[incarnation] == 0 {
			l.clear[r.From]++
		} else {
			l.clear[r.From] = 0
		}
	}
}

// clearOf says whether no gateway can have a request open at a draining incarnation: each has applied a
// snapshot that shows it draining and has twice reported nothing open, so that a request which chose it just
// before the swap has been counted.
func (w *world) clearOf(l *life) bool {
	if l.drained == 0 {
		return false
	}
	for id, f := range w.followers {
		if f.role() == "gateway" && l.clear[id] < 2 {
			return false
		}
	}
	return true
}

func (w *world) configure(d *fleet.Desired, now time.Time) {
	mended := w.rejected
	w.rejected = false
	if d.Digest == w.desired.Digest && d.Digest != "" && w.view.Config == d.Digest {
		w.desired = d
		if mended {
			w.tell(fleet.Event{Kind: "config.applied", Reason: d.Digest + ", as before"}, now)
		}
		return
	}
	w.supersede(d)
	w.supersedeGroups(d)
	w.desired = d
	w.tell(fleet.Event{Kind: "config.applied", Reason: d.Digest}, now)
}

// supersede drops what commands said about workloads of which configuration now says something new: another
// number of replicas, or that there is none.
func (w *world) supersede(d *fleet.Desired) {
	next := map[string]int{}
	for _, l := range d.Workloads {
		next[key(l.Namespace, l.Name)] = l.Replicas
	}
	for _, old := range w.desired.Workloads {
		k := key(old.Namespace, old.Name)
		replicas, stays := next[k]
		if !stays {
			delete(w.restarted, k)
		}
		if !stays || replicas != old.Replicas {
			delete(w.scaled, k)
		}
	}
}

func (w *world) verdict(incarnation string, healthy bool, reason string, now time.Time) {
	l := w.lives[incarnation]
	if l == nil || l.healthy == healthy {
		return
	}
	l.healthy = healthy
	kind := "check.failed"
	if healthy {
		kind = "check.passed"
	}
	w.tell(fleet.Event{Kind: kind, Endpoint: l.name, Incarnation: incarnation, Reason: reason}, now)
}
