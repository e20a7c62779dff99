package local

import (
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A picture is what the newest snapshot says about the instances that we run.
type picture struct {
	*fleet.Snapshot
	runs   map[string]*fleet.Instance // by incarnation
	stages map[string][]fleet.Stage   // of an incarnation's endpoints, in all services
}

func pictureOf(s *fleet.Snapshot) picture {
	p := picture{s, map[string]*fleet.Instance{}, map[string][]fleet.Stage{}}
	for i := range s.Instances {
		p.runs[s.Instances[i].Incarnation] = &s.Instances[i]
	}
	for i := range s.Services {
		for j := range s.Services[i].Endpoints {
			e := &s.Services[i].Endpoints[j]
			p.stages[e.Incarnation] = append(p.stages[e.Incarnation], e.Stage)
		}
	}
	return p
}

// services are the names, as Kubernetes has them, of the services that an instance of the workload belongs to.
func (p picture) services(w *fleet.Workload) []string {
	var names []string
	for i := range p.Services {
		if s := &p.Services[i]; s.Selects(w.Namespace, w.Labels) {
			names = append(names, strings.TrimSuffix(s.Host, "."+s.Namespace))
		}
	}
	return names
}

// A record is what the runtime knows of one of its instances.
type record struct {
	*instance
	state

	started time.Time
	leave   func()    // tells it to
	leaving bool      // it was told to leave
	hurried bool      // instance.hurry is closed
	begun   bool      // control knows of it, or it could not begin: it costs no more than others
	serving time.Time // since when it has served, as [record.serves]; zero when it does not
}

// look takes in a new snapshot.
func (r *record) look(p picture) {
	r.begun = r.begun || p.runs[r.incarnation] != nil
}

// serves says whether the instance is as ready as its workload's rollout wants it: offered in all services that it
// belongs to, or ready by itself when it belongs to none.
func (r *record) serves(p picture) bool {
	shown := p.runs[r.incarnation]
	if r.leaving || shown == nil || !shown.Ready || shown.Leaving {
		return false
	}
	stages := p.stages[r.incarnation]
	for _, stage := range stages {
		if !stage.Offered() {
			return false
		}
	}
	return len(stages) > 0 || len(p.services(r.workload)) == 0
}
