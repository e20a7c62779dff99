package release

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// follow sees how far a release is.
func (r *Recorder) follow(o *Open, v fleet.View, news *tidings, b Book, now time.Time) {
	rel := r.of(o)
	if !rel.Ended.IsZero() {
		return
	}
	for _, id := range rel.Came { // it may have become a part of more since
		if l := r.lives[id]; l != nil {
			for _, service := range l.Services {
				r.serve(o, service, b)
			}
		}
	}
	r.log(rel, o, news)
	for i := range v.Drains {
		r.leaveOf(o, rel, &v.Drains[i])
	}
	r.sum(o, rel)
	r.progress(o, rel, now)
}

// progress sees whether a release is over by now.
func (r *Recorder) progress(o *Open, rel *Release, now time.Time) {
	switch done := r.done(o, rel, now); {
	case !done:
		o.Over = time.Time{}
	case o.Over.IsZero():
		o.Over = now
		if o.own() {
			o.Over = o.Changed
			for _, id := range rel.Came {
				if l := r.lives[id]; l != nil && l.Warm.After(o.Over) {
					o.Over = l.Warm
				}
			}
			for _, id := range rel.Went {
				if l := r.lives[id]; l != nil && l.Ended.After(o.Over) {
					o.Over = l.Ended
				}
			}
		}
	}
}

// own says whether nobody asked for a release: it ends when nothing more happens.
func (o *Open) own() bool { return o.Object == loose || strings.HasPrefix(o.Object, flocks) }

// done says whether everybody that came is warm, or gone, everybody that went is gone, and there are as many as are wanted.
func (r *Recorder) done(o *Open, rel *Release, now time.Time) bool {
	switch {
	case o.Object == loose:
		return r.doneLoose(o, rel, now)
	case rel.Kind == Gateway:
		return r.doneGateway(o, rel)
	case slices.ContainsFunc(rel.Came, func(id string) bool { l := r.lives[id]; return l != nil && !l.settled() }),
		slices.ContainsFunc(rel.Went, func(id string) bool { l := r.lives[id]; return l != nil && l.Running }):
		return false
	case o.Superseded:
		return true
	case o.own():
		return now.Sub(o.Changed) >= lull
	}
	return r.asWanted(o)
}

// asWanted says whether a deployment has as many instances as are wanted, and no others. Those that were there before may still
// warm up: they came with another release.
func (r *Recorder) asWanted(o *Open) bool {
	want := r.asked[o.Object] // of what was removed there is to be nobody
	have := 0
	for _, l := range r.members[o.Object] {
		if !l.Running {
			continue
		}
		if !l.stays() || l.Revision != want.Revision {
			return false
		}
		have++
	}
	return have == want.Replicas
}

// doneLoose is done for gateways that no supervisor runs.
func (r *Recorder) doneLoose(o *Open, rel *Release, now time.Time) bool {
	for _, id := range rel.Went {
		if p := r.planes[id]; p != nil && p.Leaves && !p.Left && !slices.Contains(rel.Came, id) {
			return false
		}
	}
	return now.Sub(o.Changed) >= lull
}

// doneGateway is done for those that one runs.
func (r *Recorder) doneGateway(o *Open, rel *Release) bool {
	want := r.asked[o.Object]
	have := 0
	for _, p := range r.replicas {
		if gateways+p.Namespace+"/"+p.Group != o.Object {
			continue
		}
		if o.Superseded && !slices.Contains(rel.Came, p.ID) && !slices.Contains(rel.Went, p.ID) {
			continue
		}
		serves := p.Ready && !p.Drained || p.Drained && r.planes[p.ID].Left
		if p.Leaving || !serves || p.Revision != want.Revision && !o.Superseded {
			return false
		}
		have++
	}
	return o.Superseded || have == want.Replicas
}

// leaveOf takes what a leave has come to.
func (r *Recorder) leaveOf(o *Open, rel *Release, d *drain.Report) {
	for _, id := range rel.Went {
		if name := id; rel.Kind != Gateway {
			l := r.lives[id]
			if l == nil || l.Left.IsZero() || l.Left.Sub(d.Began).Abs() > time.Minute {
				continue
			}
			if name = "agent/" + l.Name; d.ID != name {
				continue
			}
		} else if d.ID != name || d.Began.Before(rel.Began.Add(-time.Minute)) {
			continue
		}
		leave := Leave{Over: d.Stage == drain.Closed, Cut: d.Cut}
		for _, requests := range d.Protocols {
			leave.Completed += requests.Leave.Completed
		}
		if o.Leaves[id] != leave {
			o.Leaves[id] = leave
			r.news[rel.ID] = true
		}
	}
}

// sum says what became of those that came and of those that went.
func (r *Recorder) sum(o *Open, rel *Release) {
	drains := DrainSum{Instances: len(rel.Went)}
	for _, id := range rel.Went {
		leave, told := o.Leaves[id]
		drains.Cut += leave.Cut
		drains.Completed += leave.Completed
		switch l := r.lives[id]; {
		case rel.Kind == Gateway && r.planes[id] == nil && !told, l != nil && l.Killed:
			drains.Killed++
		case told && leave.Over && leave.Cut == 0, l.drained() && !told:
			drains.Drained++
		}
	}
	warm := r.warm(rel)
	if drains != rel.Drains || !slices.Equal(warm, rel.Warm) {
		rel.Drains, rel.Warm = drains, warm
		r.news[rel.ID] = true
	}
	if what := looseText(o, rel); o.Object == loose && what != rel.What {
		rel.What = what
		r.news[rel.ID] = true
	}
}

// drained says whether l is gone, and nothing was open to it.
func (l *life) drained() bool { return l != nil && !l.Running && !l.marked("drained").IsZero() }

// warm says how long each of those that came took.
func (r *Recorder) warm(rel *Release) []WarmTime {
	warm := []WarmTime{}
	for _, id := range rel.Came {
		l := r.lives[id]
		if l == nil {
			continue
		}
		t := WarmTime{Episode: id, Name: l.Name}
		if !l.Offered.IsZero() && !l.Partial {
			t.Ready = max(0, l.Offered.Sub(l.Began))
		}
		if !l.Warm.IsZero() {
			t.Warm, t.Done = max(0, l.Warm.Sub(l.Offered)), true
		}
		warm = append(warm, t)
	}
	return warm
}

// looseText says what becomes of gateways that no supervisor runs.
func looseText(o *Open, rel *Release) string {
	now := o.Had - len(rel.Went) + len(rel.Came)
	switch {
	case len(rel.Came) > 0 && len(rel.Went) > 0:
		return fmt.Sprintf("%d of %d gateways replaced", min(len(rel.Came), len(rel.Went)), o.Had)
	case o.Had == 1:
		return fmt.Sprintf("1 gateway → %d", now)
	}
	return fmt.Sprintf("%d gateways → %d", o.Had, now)
}
