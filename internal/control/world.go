package control

import (
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
	rejected         bool                      // what is on disk is not desired: it has errors
	scaled           map[string]int            // replicas that a command set, by workload
	restarted        map[string]string         // when a restart was asked for, by workload
	followers        map[string]*follower      // by id
	ordered          map[string]*order         // what commands asked of gateways, by namespace/name
	restored         map[string]fleet.Instance // what the last snapshot knew to run, until somebody reports what does
	restoredT        time.Time
	restoredReplicas []fleet.Replica    // likewise, of gateways
	left             []drain.Report     // the latest leaves of data planes, oldest first; is replaced, never changed
	lives            map[string]*life   // by incarnation
	past             map[string]memento // incarnations that vanished
	pools            map[poolKey]*pool
	resolved         map[resolvedKey]Resolved
	told             []fleet.Event     // since the last fold
	before           []fleet.Event     // what the store remembers, until a snapshot has it
	blank            bool              // control began without a snapshot, and no store has reminded it
	ends             map[string]string // why incarnations end, since the last fold

	named      map[string]bool       // incarnations of endpoints that configuration names
	registries map[string]*catalogue // by name
	awaited    map[string]time.Time  // registries that have sent no list, and since when control waits for it
	aliases    map[string]alias      // who strangers are that are somebody else, by their incarnations in registries
	meant      map[string]bool       // who strangers are: all that count
	lost       map[string]*loss      // by incarnation
	dead       map[string]time.Time  // incarnations that somebody saw die, and when they said so last
	completed  map[string]time.Time  // incarnations whose registration has been told of, and when they were listed last
	placed     map[string]placed     // by incarnation
	former     map[string]former     // by incarnation that nobody has seen here yet
	stored     []fleet.Lifecycle     // that people have put into the store
	overruled  []string              // of those, for people: which configuration has, too
	recordings map[string][]recording
	recorded   map[string][]fleet.WarmupRequest // by service; is replaced, never changed
	counts     map[string]uint64                // of agents' events, by kind
}

// A life is what control knows of one incarnation.
type life struct {
	lifecycle.State
	healthy bool           // its check passed, and nobody took that back
	found   string         // how it is known that it was offered before control saw it, until it is offered here; "" when it was not
	hearsay bool           // its age is what it says itself
	ready   bool           // whoever runs it says so
	clear   map[string]int // while draining: reports in a row, by gateway, that show nothing open
	drained uint64         // the first snapshot that showed it draining
	name    string
	foreign bool           // it is a stranger
	unsaid  bool           // it is one that says nothing of its start: when it comes back, nobody knows that it is the same run
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

// A placed says who somebody was, and in which service, when something was told of it last.
type placed struct {
	name    string
	service string
	at      time.Time
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
		blank:     last.Config == "",
		ordered:   map[string]*order{},
		left:      last.Drains,
		lives:     map[string]*life{},
		past:      map[string]memento{},
		pools:     map[poolKey]*pool{},
		resolved:  recall(last.Services),

		restored:   map[string]fleet.Instance{},
		ends:       map[string]string{},
		registries: map[string]*catalogue{},
		awaited:    map[string]time.Time{},
		lost:       map[string]*loss{},
		dead:       map[string]time.Time{},
		completed:  map[string]time.Time{},
		placed:     map[string]placed{},
		former:     map[string]former{},
		recordings: map[string][]recording{},
		counts:     map[string]uint64{},
	}
	w.recallLifecycles(last.Lifecycles)
	w.name(w.desired)
	for _, i := range last.Instances {
		if !configured(i) {
			w.restored[i.Incarnation] = i
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
	w.name(d)
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
	if !healthy {
		w.giveUp(incarnation, reason)
	}
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
