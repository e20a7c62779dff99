package release

import (
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// patience is how long a data plane may be missing before it is held to be gone: a control that was started anew does not
// know them all at once.
const patience = 4 * time.Second

// overlap is by how much a leave may have begun before a view showed its data plane: names are used again.
const overlap = 250 * time.Millisecond

// A Plane is a data plane that is there.
type Plane struct {
	ID     string    `json:"id"`
	Object string    `json:"object"`        // that it is a part of; "" is not known yet
	PID    int       `json:"pid,omitempty"` // of its process, where its supervisor has told
	First  bool      `json:"first"`         // it was there when somebody first looked
	Since  time.Time `json:"since"`
	Gone   time.Time `json:"gone,omitzero"`    // since when it is missing
	Leaves bool      `json:"leaves,omitempty"` // it has begun to
	Left   bool      `json:"left,omitempty"`   // its leave is over: it said all that it had counted
}

// guard sees which data planes come and go. One that ends without a leave takes with it what it had not reported yet.
func (r *Recorder) guard(v fleet.View, first bool, b Book, now time.Time) {
	seen, leaving := map[string]bool{}, map[string]bool{}
	for i := range v.Replicas {
		p := &v.Replicas[i]
		seen[p.ID], leaving[p.ID] = true, p.Leaving
		r.replica(p, first, b, now)
	}
	for _, id := range v.Gateways {
		if !seen[id] {
			seen[id] = true
			r.plane(id, "", first, b, now)
		}
	}
	for i := range v.Drains {
		d := &v.Drains[i]
		if p := r.planes[d.ID]; p != nil && !d.Began.Before(p.Since.Add(-overlap)) {
			p.Left = p.Left || d.Stage == drain.Closed
			leaving[p.ID] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.planes)) {
		p := r.planes[id]
		switch {
		case seen[p.ID] && leaving[p.ID]:
			p.Gone = time.Time{}
			r.leaves(p, b, now)
		case seen[p.ID]:
			p.Gone, p.Leaves = time.Time{}, false // a lame duck may be called back
		case p.Gone.IsZero():
			p.Gone = now
		}
	}
	r.miss(b, now)
}

// replica takes note of one that a supervisor runs. Names are used again: of another process, it is another.
func (r *Recorder) replica(p *fleet.Replica, first bool, b Book, now time.Time) {
	if known := r.planes[p.ID]; known != nil && known.PID != 0 && p.PID != 0 && known.PID != p.PID {
		r.part(known, b, now)
	}
	r.plane(p.ID, gateways+p.Namespace+"/"+p.Group, first, b, now)
	r.planes[p.ID].PID = p.PID
}

// plane takes note of a data plane that is there. Which gateway one belongs to its supervisor says; until then object is "", and
// where none says so for a while it has none.
func (r *Recorder) plane(id, object string, first bool, b Book, now time.Time) {
	p := r.planes[id]
	if p == nil {
		p = &Plane{ID: id, Since: now, First: first}
		r.planes[id] = p
	}
	if p.Object == "" {
		if p.Object = object; object != "" {
			r.comes(p, b, now)
		}
	}
}

// claim takes those to have no supervisor of whom none has told.
func (r *Recorder) claim(b Book, now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(r.planes)) {
		if p := r.planes[id]; p.Object == "" && now.Sub(p.Since) >= patience {
			p.Object = loose
			r.comes(p, b, now)
			if p.Leaves {
				p.Leaves = false
				r.leaves(p, b, now)
			}
		}
	}
}

// comes gives a data plane that is new to its release.
func (r *Recorder) comes(p *Plane, b Book, now time.Time) {
	if p.First {
		return
	}
	if o := r.host(p, b, now); o != nil {
		rel := r.of(o)
		rel.Came = append(rel.Came, p.ID)
		o.Changed = now
		r.news[rel.ID] = true
	}
}

// leaves takes note that a data plane leaves, or is gone.
func (r *Recorder) leaves(p *Plane, b Book, now time.Time) {
	if p.Leaves {
		return
	}
	p.Leaves = true
	if o := r.host(p, b, now); o != nil {
		rel := r.of(o)
		if !slices.Contains(rel.Went, p.ID) {
			rel.Went = append(rel.Went, p.ID)
		}
		o.Changed = now
		r.news[rel.ID] = true
	}
}

// host returns the release that a data plane's coming or going belongs to. Those that no supervisor runs make one of their own.
func (r *Recorder) host(p *Plane, b Book, now time.Time) *Open {
	o := r.current(p.Object)
	if o != nil || p.Object != loose {
		return o
	}
	o = r.begin(&Release{Kind: Gateway, Namespace: fleet.GatewayNamespace, Name: p.ID}, loose, now)
	for _, other := range r.planes {
		if other.Object == loose && other.Gone.IsZero() && (other != p || p.Leaves) {
			o.Had++
		}
	}
	r.serve(o, "", b)
	r.serve(o, Mesh, b)
	return o
}

// miss gives up those that have been missing for too long, and says what their end means for what is counted.
func (r *Recorder) miss(b Book, now time.Time) {
	r.claim(b, now)
	for _, id := range slices.Sorted(maps.Keys(r.planes)) {
		p := r.planes[id]
		if p.Gone.IsZero() || !p.Left && now.Sub(p.Gone) < patience {
			continue
		}
		r.part(p, b, now)
	}
}

// part takes note that a data plane is gone, and what that means for what is counted.
func (r *Recorder) part(p *Plane, b Book, now time.Time) {
	r.leaves(p, b, now)
	delete(r.planes, p.ID)
	if p.Left {
		return
	}
	r.Broke(p.ID, now)
}

// Broke takes note that a process of a data plane ended, or was given up, without a last report, at some moment before
// another. It passed the services that are named, or all where none is.
func (r *Recorder) Broke(id string, upto time.Time, services ...string) {
	r.Doubt(id+" ended without a last report: what was open to it, and what it served at the end, nobody has counted", upto, services...)
}

// Doubt takes note of why what is counted of services, or of all where none is named, was not all at some moment before another.
func (r *Recorder) Doubt(doubt string, upto time.Time, services ...string) {
	for _, o := range r.open {
		rel := r.of(o)
		passed := len(services) == 0 || slices.ContainsFunc(services, func(s string) bool { return slices.Contains(rel.Services, s) })
		if passed && rel.Ended.IsZero() && !rel.Began.After(upto) && !slices.Contains(rel.Doubts, doubt) {
			rel.Doubts = append(rel.Doubts, doubt)
			r.news[rel.ID] = true
		}
	}
}

// missing says whether it is not clear yet what has become of a data plane.
func (r *Recorder) missing() bool {
	for _, p := range r.planes {
		if !p.Gone.IsZero() {
			return true
		}
	}
	return false
}
