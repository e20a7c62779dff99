package release

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A life is an episode and what is seen of its instance.
type life struct {
	Episode

	object   string // that it belongs to; "" is none
	born     bool   // it came while somebody looked
	joined   bool   // that was taken note of
	parted   bool   // likewise, that it leaves or is gone
	reported bool   // somebody runs it, or it registered itself; it is not merely configured
	foreign  bool
	ready    bool
	leaving  bool
	resting  bool // its weight is 0: it warms nothing, and nobody waits for it

	at       netip.AddrPort // in the first of its services
	turn     uint64         // of the view that showed it last
	services []string
	next     int64 // first second that is not recorded yet
	stride   int64 // between points of the start, in seconds
}

// resume takes up an episode that was kept.
func (r *Recorder) resume(e Episode, object string) {
	l := &life{Episode: e.clone(), stride: 1, born: !e.Partial, joined: true, parted: !e.Running || !e.Left.IsZero()}
	if n := len(l.Points); n > 0 {
		l.next = l.Points[n-1].At + 1
		r.pointed = append(r.pointed, l)
		if n > maxPoints/4 && l.Left.IsZero() { // with fewer, none can have gone
			l.stride = leastStep(l.Points)
		}
	}
	r.lives[e.ID] = l
	r.order = append(r.order, l)
	if !e.Running {
		r.ended++
	}
	if object != "" {
		r.join(l, object)
	}
	if l.within(r.at) && len(r.windows) < maxWindows {
		r.windows[e.ID] = l
	}
}

// leastStep is the least time between two points, in seconds: seconds that are not known make others longer.
func leastStep(points []Point) int64 {
	least := points[1].At - points[0].At
	for i := range points[2:] {
		least = min(least, points[i+2].At-points[i+1].At)
	}
	return max(1, least)
}

// join makes l a part of an object.
func (r *Recorder) join(l *life, object string) {
	l.object = object
	r.members[object] = append(r.members[object], l)
}

// survey looks at everything that exists.
func (r *Recorder) survey(v fleet.View, now time.Time) {
	if len(r.in) > 2*len(v.Services) {
		clear(r.in) // of services that are no more
	}
	for i := range v.Instances {
		in := &v.Instances[i]
		l := r.meet(in.Incarnation, in.Name, now)
		l.reported, l.foreign = in.Origin.File == "", in.Foreign
		l.ready, l.leaving = in.Ready, in.Leaving
		r.describe(l, in, now)
	}
	for i := range v.Services {
		if s := &v.Services[i]; !s.Inbound {
			r.visit(v, s, now)
		}
	}
	for i := range v.Instances {
		if l := r.lives[v.Instances[i].Incarnation]; len(l.services) == 0 && l.Offered.IsZero() {
			r.stage(l, alone(l), now)
		}
	}
	for _, l := range r.order {
		if l.turn == r.turn && len(l.services) > 0 && !slices.Equal(l.Services, l.services) { // whoever leaves was a part of them
			l.Services = slices.Clone(l.services)
			r.newsOf[l.ID] = true
		}
	}
}

// meet returns the life of an incarnation that a view shows.
func (r *Recorder) meet(id, name string, now time.Time) *life {
	l := r.lives[id]
	if l == nil {
		l = &life{Episode: Episode{ID: id, Name: name, Running: true, Began: now, Marks: []Mark{}, Services: []string{}}, stride: 1}
		l.Partial = now.Equal(r.since)
		l.born = !l.Partial
		r.lives[id] = l
		r.order = append(r.order, l)
		r.newsOf[id] = true
		for _, e := range r.early[id] {
			r.mark(l, e)
		}
		delete(r.early, id)
	}
	if l.turn == r.turn {
		return l
	}
	l.turn, l.services, l.resting = r.turn, l.services[:0], false
	if !l.Running { // it was away for a moment: the same process
		l.Running, l.Ended, l.Killed = true, time.Time{}, false
		r.ended--
		r.newsOf[id] = true
	}
	return l
}

// describe takes what an instance is said to be.
func (r *Recorder) describe(l *life, in *fleet.Instance, now time.Time) {
	if in.Published != nil {
		l.start(in.Published.Started, now)
	}
	if l.Name == in.Name && l.Workload == in.Workload && l.Revision == in.Revision && l.Namespace == in.Namespace && maps.Equal(l.Labels, in.Labels) {
		return
	}
	l.Name, l.Namespace, l.Workload, l.Revision = in.Name, in.Namespace, in.Workload, in.Revision
	l.Labels, l.Version = maps.Clone(in.Labels), in.Labels["version"]
	if l.Address == "" && in.Address.IsValid() {
		l.Address = in.Address.String()
	}
	r.newsOf[l.ID] = true
}

// start takes when its process is said to have begun, by a clock that need not be ours.
func (l *life) start(said, now time.Time) {
	if said = said.Round(0); !said.IsZero() && said.Before(l.Began) && now.Sub(said) < 24*time.Hour {
		l.Began = said
	}
}

// visit looks at the endpoints of a service.
func (r *Recorder) visit(v fleet.View, s *fleet.Service, now time.Time) {
	in := r.in[s.Name][:0]
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		l := r.meet(e.Incarnation, e.Name, now)
		if len(l.services) == 0 || l.services[len(l.services)-1] != s.Name {
			l.services = append(l.services, s.Name)
			in = append(in, l)
		}
		if len(l.services) == 1 && l.at != e.Address {
			l.at, l.Address = e.Address, e.Address.String()
			if !l.reported {
				l.Labels, l.Version = maps.Clone(e.Labels), e.Labels["version"]
			}
			r.newsOf[l.ID] = true
		}
		if l.Offered.IsZero() && (e.Stage.Offered() || e.Age > 0) {
			r.offer(l, s, e, v.Taken.Add(-e.Age).Round(0))
		}
		r.stage(l, e.Stage, now)
	}
	r.in[s.Name] = in
	if len(s.Pools) == 0 {
		return
	}
	for _, m := range s.Pools[0].Members {
		if m.Drained && m.Endpoint < len(s.Endpoints) {
			r.lives[s.Endpoints[m.Endpoint].Incarnation].resting = true
		}
	}
}

// offer takes note that requests may be sent to l since a moment.
func (r *Recorder) offer(l *life, s *fleet.Service, e *fleet.Endpoint, since time.Time) {
	l.Offered = since
	l.start(since, since)
	if l.Partial = since.Before(r.since); l.Partial {
		l.born = false
	}
	for i := range s.Pools {
		if p := &s.Pools[i]; i == 0 || fleet.Carries(e.Labels, p.Labels) {
			if w := p.Policy.WarmupOf(e); w.Window > 0 && (l.Warmup == nil || w.Window > l.Warmup.Window) {
				l.Warmup = &w
			}
		}
	}
	r.newsOf[l.ID] = true
	r.window(l, since)
}

// alone is the stage of an instance that is in no service.
func alone(l *life) fleet.Stage {
	switch {
	case l.leaving:
		return fleet.Draining
	case l.ready:
		return fleet.Serving
	}
	return fleet.Starting
}

// stage takes the stage that l is in.
func (r *Recorder) stage(l *life, s fleet.Stage, now time.Time) {
	if s == fleet.Serving && l.Warm.IsZero() && !l.Offered.IsZero() {
		if l.Warm = now; l.Warmup == nil || l.Partial {
			l.Warm = l.Offered // nobody waited, or nobody knows
		}
		r.newsOf[l.ID] = true
	}
	if s == fleet.Draining || l.leaving {
		r.leave(l, now)
	}
	if l.Stage != s {
		l.Stage = s
		r.newsOf[l.ID] = true
	}
}

// leave takes note that l leaves.
func (r *Recorder) leave(l *life, at time.Time) {
	if l.Left.IsZero() {
		l.Left = at
		r.newsOf[l.ID] = true
		r.window(l, at)
	}
}

// bury takes note of those who are no longer there.
func (r *Recorder) bury(now time.Time) {
	for _, l := range r.order {
		if !l.Running || l.turn == r.turn {
			continue
		}
		l.Running, l.Ended = false, now
		if at := l.marked("instance.stopped", "instance.killed", "instance.died"); !at.IsZero() && at.After(l.Began) && at.Before(now) {
			l.Ended = at
		}
		l.Killed = l.Killed || l.Stage.Offered() && l.Left.IsZero()
		l.Stage = fleet.Gone
		r.ended++
		r.fleeting = r.fleeting || l.passing()
		r.newsOf[l.ID] = true
		r.window(l, l.Ended)
	}
}

// settled says whether nobody waits for l any more: it is warm, or gone.
func (l *life) settled() bool {
	switch {
	case !l.Running:
		return true
	case len(l.Services) == 0:
		return l.ready
	}
	return l.Stage == fleet.Serving || l.Stage == fleet.Warming && l.resting
}

// stays says whether l is there and does not leave.
func (l *life) stays() bool { return l.Running && l.Left.IsZero() }

// passing says whether nothing is kept of l once it is gone: it is an address that a name had for a while.
func (l *life) passing() bool { return strings.HasPrefix(l.ID, resolved) }

// resolved begins the incarnation of what comes from the DNS, as control has it.
const resolved = "dns/"

// forget drops an episode from everywhere but the order.
func (r *Recorder) forget(l *life) {
	delete(r.lives, l.ID)
	delete(r.windows, l.ID)
	r.ended--
	r.newsOf[l.ID] = true
	same := func(other *life) bool { return other == l }
	r.pointed = slices.DeleteFunc(r.pointed, same)
	if all := slices.DeleteFunc(r.members[l.object], same); len(all) > 0 {
		r.members[l.object] = all
	} else {
		delete(r.members, l.object)
	}
}

// clone returns a copy that shares nothing that changes with its original: points are only ever added to.
func (e *Episode) clone() Episode {
	c := *e
	c.Marks, c.Points = slices.Clone(e.Marks), slices.Clip(e.Points)
	return c
}
