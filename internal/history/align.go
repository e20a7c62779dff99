package history

import (
	"cmp"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// What is not there any more is kept for a while: its curves are still looked at, and its sums may still grow.
const (
	keepEndpoint = series.Seconds * time.Second
	keepService  = 24 * time.Hour
	mostVersions = 64 // of a service; those beyond go when their endpoints do
)

// align notes what of the view is new, and what is not there any more.
func (h *History) align(now time.Time) {
	for _, s := range h.services {
		s.index = -1
	}
	for i := range h.view.Services {
		in := &h.view.Services[i]
		s := h.serviceOf(in.Name)
		s.index, s.gone = i, time.Time{}
		s.list = s.list[:0]
		for j := range in.Endpoints {
			s.list = append(s.list, h.alignEndpoint(s, &in.Endpoints[j], now))
		}
		s.alignRows(in)
	}
	for _, s := range h.services {
		if s.index < 0 && s.gone.IsZero() {
			s.gone, s.list = now, nil
		}
		for _, e := range s.endpoints {
			if !e.seen.Equal(now) && e.gone.IsZero() {
				e.gone, e.offered = now, false
				e.mark(h.at)
			}
		}
	}
	h.workloads = h.alignWorkloads()
	joined := make(map[string]time.Time, len(h.view.Gateways))
	for _, id := range h.view.Gateways {
		since, was := h.joined[id]
		if !was {
			since = now
		}
		joined[id] = since
	}
	h.joined = joined
}

// alignRows counts a service's endpoints by stage and by version.
func (s *service) alignRows(in *fleet.Service) {
	s.stages = Stages{}
	s.rows = map[string]VersionRow{}
	for i, e := range s.list {
		stage := in.Endpoints[i].Stage
		s.stages.count(stage)
		v := s.rows[e.version]
		v.Name = e.version
		v.Endpoints++
		switch stage {
		case fleet.Warming:
			v.Warming++
		case fleet.Draining:
			v.Draining++
		default: // they are no news
		}
		s.rows[e.version] = v
	}
}

func (c *Stages) count(stage fleet.Stage) {
	switch stage {
	case fleet.Starting:
		c.Starting++
	case fleet.Warming:
		c.Warming++
	case fleet.Serving:
		c.Serving++
	case fleet.Draining:
		c.Draining++
	default: // who is gone is in no view
	}
}

func (h *History) alignEndpoint(s *service, in *fleet.Endpoint, now time.Time) *endpoint {
	e := s.endpoints[in.Incarnation]
	if e == nil {
		e = h.endpointOf(endpointKey{s.name, in.Incarnation})
	}
	e.seen, e.gone, e.name, e.port = now, time.Time{}, in.Name, in.Address.Port()
	if offered := in.Stage.Offered(); offered != e.offered {
		e.offered = offered
		e.mark(h.at)
	}
	if e.known && e.label == in.Labels[versionLabel] {
		return e
	}
	e.known, e.label = true, in.Labels[versionLabel]
	e.version = cmp.Or(e.label, h.revision(in.Incarnation))
	e.ofVersion = s.version(e.version)
	return e
}

const versionLabel = "version"

// revision names the workload and the revision of an incarnation, where it has them.
func (h *History) revision(incarnation string) string {
	in := h.instance(incarnation)
	if in == nil || in.Workload == "" {
		return ""
	}
	if in.Revision == "" {
		return in.Workload
	}
	return in.Workload + " " + in.Revision
}

// instance returns the one with an incarnation, or nil. The view's are sorted.
func (h *History) instance(incarnation string) *fleet.Instance {
	list := h.view.Instances
	low, high := 0, len(list)
	for low < high {
		if mid := (low + high) / 2; list[mid].Incarnation < incarnation {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(list) && list[low].Incarnation == incarnation {
		return &list[low]
	}
	return nil
}

// forget drops what has not been there for some time.
func (h *History) forget(now time.Time) {
	h.forgetRuns(now)
	h.forgetFronts(now)
	for name, s := range h.services {
		for incarnation, e := range s.endpoints {
			if !e.gone.IsZero() && now.Sub(e.gone) > keepEndpoint {
				h.forgetEndpoint(s, incarnation, e)
			}
		}
		if s.index < 0 && now.Sub(s.gone) > keepService && len(s.endpoints) == 0 {
			delete(h.services, name) // runs keep what they said of it: should it come back, they go on from there
		}
	}
	h.forgetVersions(now)
}

func (h *History) forgetEndpoint(s *service, incarnation string, e *endpoint) {
	delete(s.endpoints, incarnation)
	s.all = slices.DeleteFunc(s.all, func(other *endpoint) bool { return other == e })
	lives := h.lives[incarnation]
	for i := range lives {
		if lives[i] == e {
			lives = append(lives[:i:i], lives[i+1:]...)
			break
		}
	}
	if h.lives[incarnation] = lives; len(lives) == 0 {
		delete(h.lives, incarnation)
	}
	for _, r := range h.runs {
		key := endpointKey{s.name, incarnation}
		if row := r.endpoints[key]; row != nil {
			row.forgotten = true
			delete(r.endpoints, key)
		}
	}
}

// forgetVersions drops versions that nobody has had for a day.
func (h *History) forgetVersions(now time.Time) {
	for _, s := range h.services {
		used := make(map[*place]bool, len(s.versions))
		for _, e := range s.endpoints {
			used[e.ofVersion] = true // or nil
		}
		for name, v := range s.versions {
			switch {
			case used[v]:
				v.idle = time.Time{}
			case v.idle.IsZero():
				v.idle = now
			case now.Sub(v.idle) > keepService || len(s.versions) > mostVersions && now.Sub(v.idle) > keepEndpoint:
				delete(s.versions, name)
			}
		}
	}
}
