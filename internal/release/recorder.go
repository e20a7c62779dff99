package release

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// What is kept at most.
const (
	maxReleases = 200
	maxEnded    = 1000 // episodes of those that are gone
	maxPointed  = 1500 // episodes with points: the newest
	maxWindows  = 500  // episodes that are recorded at a time: the first
	maxEvents   = 400  // of a release
	maxMarks    = 64   // of an episode
	maxFailing  = 20   // of a release
	maxSent     = 1000 // endpoints whose attempts a release counts
	maxMembers  = 1000 // that came, and that went, with a release; of more, who is gone for longest is left out
	maxEarly    = 1024 // incarnations of which events are known, and nothing else
)

// A Book is asked what was counted: by everybody, since counting began, restarts and all.
type Book interface {
	// Ended returns how the requests that were routed to a service have ended; "" is everything that came in from outside, and
	// [Mesh] what services sent to the gateways: with those two, a connection that was refused is a request that was. It never
	// falls.
	Ended(service string) ending.Sums

	// Sent returns how many attempts an incarnation was sent in all its services, and how many of them failed. It never falls
	// while the incarnation is an endpoint.
	Sent(incarnation string) (attempts, failed uint64)

	// Answers describes the answers of services together from one second of Unix time to another, which is not included. Where it
	// knows only whole minutes it takes those that lie within.
	Answers(services []string, from, to int64) Quantiles

	// Points returns what an incarnation got in each second from one to another, which is not included, of its services
	// together, oldest first. Seconds that are not known are left out.
	Points(incarnation string, from, to int64) []Point

	// Doubts returns why what is counted of services may not be all, in sentences, sorted: data planes that serve and have not
	// reported for some seconds, instances that have left and still have callers.
	Doubts(services []string, now time.Time) []string
}

// A State is all that a recorder must keep over a restart; its zero value has seen nothing. What a Book says must be of
// the same moment: releases are differences of it.
type State struct {
	Since    time.Time         `json:"since,omitzero"` // of the first view; what is older was there before
	Releases []Release         `json:"releases"`       // oldest first
	Episodes []Episode         `json:"episodes"`       // oldest first
	Open     []Open            `json:"open"`           // of those releases that are not finished
	At       int64             `json:"at"`             // the latest second that was over
	Objects  map[string]string `json:"objects"`        // of episodes that run: what they belong to
	Asked    map[string]Asked  `json:"asked"`          // by object
	Planes   []Plane           `json:"planes"`         // data planes that serve, sorted by id
}

// A Recorder recognises releases and episodes. It is not safe for concurrent use.
type Recorder struct {
	since    time.Time
	lives    map[string]*life
	order    []*life            // oldest first
	members  map[string][]*life // by object, oldest first
	in       map[string][]*life // by service, in the latest view
	ended    int                // of them
	releases []*Release         // oldest first
	named    map[string]*Release
	open     []*Open // of releases, oldest first
	asked    map[string]Asked
	planes   map[string]*Plane
	windows  map[string]*life         // those whose start or shutdown is being recorded
	pointed  []*life                  // those with points, oldest first
	early    map[string][]fleet.Event // of incarnations that are not known yet
	turn     uint64                   // of views
	at       int64                    // the latest second that is over
	fleeting bool                     // somebody is gone of whom nothing is kept
	replicas []fleet.Replica          // of gateways, in the latest view
	news     map[string]bool          // ids of releases that have changed since somebody asked
	newsOf   map[string]bool          // likewise of episodes; false where nothing but points is new
}

// New returns a recorder that goes on from what was kept.
func New(kept State) *Recorder {
	r := &Recorder{
		since: kept.Since, at: kept.At, named: map[string]*Release{}, members: map[string][]*life{}, in: map[string][]*life{}, lives: map[string]*life{}, asked: map[string]Asked{}, planes: map[string]*Plane{}, windows: map[string]*life{},
		early: map[string][]fleet.Event{}, news: map[string]bool{}, newsOf: map[string]bool{},
	}
	maps.Copy(r.asked, kept.Asked)
	for _, p := range kept.Planes {
		r.planes[p.ID] = &p
	}
	for _, e := range kept.Episodes {
		if r.lives[e.ID] == nil {
			r.resume(e, kept.Objects[e.ID])
		}
	}
	for i := range kept.Releases {
		rel := kept.Releases[i].clone()
		r.releases = append(r.releases, &rel)
		r.named[rel.ID] = &rel
	}
	for i := range kept.Open {
		if o := kept.Open[i].clone(); r.named[o.Release] != nil {
			o.Moved = time.Time{} // the time in which nobody looked does not count
			r.open = append(r.open, &o)
		}
	}
	r.abandon()
	return r
}

// abandon ends releases of which it is not known any more what they are the difference of: part of what was kept is lost.
func (r *Recorder) abandon() {
	for _, rel := range r.releases {
		if rel.Verdict.Over() || slices.ContainsFunc(r.open, func(o *Open) bool { return o.Release == rel.ID }) {
			continue
		}
		rel.Doubts = append(rel.Doubts, "it was not seen to its end: what was kept of it on disk is damaged")
		rel.Ended = later(time.Unix(r.at, 0).UTC(), rel.Began)
		rel.Counted = rel.Ended
		r.close(&Open{}, rel)
		r.news[rel.ID] = true
	}
}

// View takes what control says exists now, and the events that are new in it, oldest first.
func (r *Recorder) View(v fleet.View, news []fleet.Event, b Book, now time.Time) {
	now = now.Round(0)
	r.turn++
	first := r.since.IsZero()
	if first {
		r.since = now
	}
	r.replicas = v.Replicas
	r.survey(v, now)
	r.hear(news)
	r.bury(now)
	r.ask(v, b, first, now)
	r.guard(v, first, b, now)
	told := tidingsOf(news)
	r.flock(told, b, now)
	for _, o := range r.open {
		r.follow(o, v, told, b, now)
	}
	r.trim()
}

// Second takes note that a second of Unix time is over and has been counted: nothing more is to be expected for it. Seconds are
// told in order; those that are left out are not known. One before the last says that the clock was set back.
func (r *Recorder) Second(at int64, b Book, now time.Time) {
	now = now.Round(0)
	if at < r.at {
		r.rewind(at, now)
	}
	for _, l := range r.windows {
		r.record(l, at, b)
	}
	r.at = at
	r.forgetPoints()
	r.miss(b, now)
	for _, o := range r.open {
		rel := r.of(o)
		if timed := o.own() || rel.Kind == Gateway; timed && r.turn > 0 && rel.Ended.IsZero() { // views come when something changes
			if rel.Kind == Gateway {
				r.sum(o, rel)
			}
			r.progress(o, rel, now)
		}
	}
	r.open = slices.DeleteFunc(r.open, func(o *Open) bool { return r.judge(o, at, b, now) })
}

// Releases returns all that are kept, the newest first. They are the recorder's own: copy what outlives its next step.
func (r *Recorder) Releases() []*Release {
	all := slices.Clone(r.releases)
	slices.Reverse(all)
	return all
}

// Episodes returns all that are kept, the newest first, Points included. They are the recorder's own likewise.
func (r *Recorder) Episodes() []*Episode {
	all := make([]*Episode, len(r.order))
	for i, l := range r.order {
		all[len(all)-1-i] = &l.Episode
	}
	return all
}

// Release returns the release with an id, "latest" for the newest, or nil.
func (r *Recorder) Release(id string) *Release {
	if n := len(r.releases); id == "latest" && n > 0 {
		return r.releases[n-1]
	}
	return r.named[id]
}

// Episode returns that of an incarnation, or nil.
func (r *Recorder) Episode(id string) *Episode {
	if l := r.lives[id]; l != nil {
		return &l.Episode
	}
	return nil
}

// Changed returns the ids of releases and episodes that have changed since it was last asked, sorted: for who writes them down,
// and for who watches. One that is no longer kept is among them, and not to be found. Of episodes that are recorded, nothing but
// points is new.
func (r *Recorder) Changed() (releases, episodes, recorded []string) {
	releases = slices.Sorted(maps.Keys(r.news))
	for _, id := range slices.Sorted(maps.Keys(r.newsOf)) {
		if r.newsOf[id] {
			episodes = append(episodes, id)
		} else {
			recorded = append(recorded, id)
		}
	}
	clear(r.news)
	clear(r.newsOf)
	return releases, episodes, recorded
}

// State returns all that New needs to go on, as a value of its own but for what nobody changes any more: strings, and points.
func (r *Recorder) State() State {
	s := r.Rest()
	for _, rel := range r.releases {
		s.Releases = append(s.Releases, rel.clone())
	}
	for _, l := range r.order {
		s.Episodes = append(s.Episodes, l.clone())
	}
	return s
}

// Rest returns State without releases and episodes: for who keeps each of those for itself.
func (r *Recorder) Rest() State {
	s := State{
		Since: r.since, At: r.at, Asked: maps.Clone(r.asked), Objects: map[string]string{},
		Releases: []Release{}, Episodes: []Episode{}, Open: []Open{}, Planes: []Plane{},
	}
	for _, l := range r.order {
		if l.Running && l.object != "" {
			s.Objects[l.ID] = l.object
		}
	}
	for _, o := range r.open {
		s.Open = append(s.Open, o.clone())
	}
	for _, p := range r.planes {
		s.Planes = append(s.Planes, *p)
	}
	slices.SortFunc(s.Planes, func(a, b Plane) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// trim forgets the oldest of what is over. Those that run stay.
func (r *Recorder) trim() {
	over := func(rel *Release) bool {
		return !slices.ContainsFunc(r.open, func(o *Open) bool { return o.Release == rel.ID })
	}
	for len(r.releases) > maxReleases {
		i := slices.IndexFunc(r.releases, over)
		if i < 0 {
			break
		}
		r.news[r.releases[i].ID] = true
		delete(r.named, r.releases[i].ID)
		r.releases = slices.Delete(r.releases, i, i+1)
	}
	if excess := r.ended - maxEnded; excess > 0 || r.fleeting {
		r.order = slices.DeleteFunc(r.order, func(l *life) bool {
			drop := !l.Running && (excess > 0 || l.passing())
			if drop {
				excess--
				r.forget(l)
			}
			return drop
		})
		r.fleeting = false
	}
}

// clone returns a copy that shares nothing that changes with its original.
func (rel *Release) clone() Release {
	c := *rel
	c.Services, c.Came, c.Went, c.Doubts = slices.Clone(rel.Services), slices.Clone(rel.Came), slices.Clone(rel.Went), slices.Clone(rel.Doubts)
	c.Losses, c.Failing, c.Warm, c.Events = slices.Clone(rel.Losses), slices.Clone(rel.Failing), slices.Clone(rel.Warm), slices.Clone(rel.Events)
	c.ByService = maps.Clone(rel.ByService)
	return c
}
