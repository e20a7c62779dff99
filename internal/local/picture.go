package local

import (
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
)

// A picture is what the newest snapshot says about the instances that we run.
type picture struct {
	*fleet.Snapshot
	stages map[string][]fleet.Stage     // of an incarnation's endpoints, in all services
	at     map[netip.Addr][]fleet.Stage // of the endpoints at an address
}

func pictureOf(s *fleet.Snapshot) picture {
	p := picture{s, map[string][]fleet.Stage{}, map[netip.Addr][]fleet.Stage{}}
	for i := range s.Services {
		for j := range s.Services[i].Endpoints {
			e := &s.Services[i].Endpoints[j]
			p.stages[e.Incarnation] = append(p.stages[e.Incarnation], e.Stage)
			p.at[e.Address.Addr()] = append(p.at[e.Address.Addr()], e.Stage)
		}
	}
	return p
}

// selected says whether an instance of the workload belongs to a service.
func (p picture) selected(w *fleet.Workload) bool {
	for i := range p.Services {
		if s := &p.Services[i]; s.Selector != nil && s.Namespace == w.Namespace && matches(s.Selector, w.Labels) {
			return true
		}
	}
	return false
}

func matches(selector, labels map[string]string) bool {
	for name, value := range selector {
		if got, has := labels[name]; !has || got != value {
			return false
		}
	}
	return true
}

// A record is what the runtime knows of one of its instances.
type record struct {
	*instance
	state
	started time.Time
	leaving bool
	known   bool      // instance.known is closed
	quiet   bool      // instance.quiet is closed
	serving time.Time // since when it has served, as [record.serves]; zero when it does not

	// Of the incarnation that runs.
	offered bool      // we have said that it is ready: requests may have been sent to it
	seen    bool      // a snapshot has shown it
	heard   time.Time // when control had heard that it is leaving; zero before
}

// observe takes in a new state of the instance.
func (r *record) observe(s state) {
	if s.incarnation != r.incarnation {
		r.offered, r.seen, r.heard = false, false, time.Time{}
	}
	r.state = s
	r.offered = r.offered || s.ready
}

// look takes in a new snapshot.
func (r *record) look(p picture) {
	if len(p.stages[r.incarnation]) > 0 {
		r.seen = true
	}
}

// serves says whether the instance is as ready as its workload's rollout wants it: offered in all services
// that it belongs to, or ready by itself when it belongs to none.
func (r *record) serves(p picture) bool {
	if !r.ready || r.leaving {
		return false
	}
	stages := p.stages[r.incarnation]
	for _, stage := range stages {
		if !stage.Offered() {
			return false
		}
	}
	return len(stages) > 0 || !p.selected(r.workload)
}

// drained says whether nobody sends requests to a leaving instance any more. Control takes an endpoint away
// only when every gateway has stopped sending and has none open. Until control has heard of a crash, what is
// sent to the life before comes to this one. And one that is ready, but that no snapshot has shown yet, may be
// in a snapshot that is on its way.
func (r *record) drained(p picture, now time.Time) bool {
	for _, stage := range p.at[r.home.public] {
		if stage.Offered() || stage == fleet.Draining {
			return false
		}
	}
	if !r.offered {
		return true
	}
	stages := p.stages[r.incarnation]
	for _, stage := range stages {
		if stage != fleet.Gone {
			return false
		}
	}
	if len(stages) > 0 || r.seen || !p.selected(r.workload) {
		return true
	}
	return !r.heard.IsZero() && now.Sub(r.heard) >= settle
}

// report returns what control is told about the instance.
func (r *record) report() fleet.Instance {
	ports := map[string]uint32{}
	for _, p := range r.workload.Ports {
		if p.Name != "" {
			ports[p.Name] = p.Number
		}
	}
	place, _ := fleet.LocalityOf(r.workload.Labels) // what is no place, configuration has refused
	return fleet.Instance{
		Name:        r.name,
		Namespace:   r.workload.Namespace,
		Workload:    r.workload.Name,
		Revision:    r.workload.Revision,
		Incarnation: r.incarnation,
		Address:     r.home.public,
		Ports:       ports,
		Labels:      r.workload.Labels,
		Locality:    place,
		Weight:      1,
		Check:       checkOf(r.workload, r.self),
		Ready:       r.ready,
		Leaving:     r.leaving,
		Bound:       r.bound,
	}
}
