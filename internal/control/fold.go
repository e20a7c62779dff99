package control

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
)

// fold makes the next snapshot from the world and keeps it if it differs from the newest one. It returns what
// happened since the last fold.
func (w *world) fold(now time.Time) []fleet.Event {
	w.forget(now)
	instances := w.instances(now)
	w.live(instances, now)
	next := &fleet.Snapshot{
		Number:    w.view.Number + 1,
		Config:    w.desired.Digest,
		Listeners: w.desired.Listeners,
		Workloads: w.workloads(),
		Instances: instances,
		Gateways:  w.gateways(),
		Groups:    w.groups(),
		Replicas:  w.replicas(),
		Drains:    w.left,

		Lifecycles: w.lifecycles(now),
	}
	listed := newRoster(w.desired.Services, instances)
	for i := range w.desired.Services {
		next.Services = append(next.Services, w.service(&w.desired.Services[i], &listed, now))
	}
	slices.SortFunc(next.Services, func(a, b fleet.Service) int { return strings.Compare(a.Name, b.Name) })
	w.rest(next, now)
	w.fill(next)
	for w.mature(next, now) { // whoever matures changes its stage in every service
	}
	w.measure(next, now)
	w.prune(next)
	told := w.plain()
	w.place(told, now, next.Services, w.view.Services)
	next.Events = remember(slices.Concat(w.before, w.view.Events), told)
	news := len(told)+len(w.before) > 0
	w.told, w.before = nil, nil
	clear(w.ends)
	if news || !same(w.view.Snapshot, next) {
		w.view = fleet.View{Snapshot: next, Taken: now}
		w.drains()
	}
	return told
}

// live steps the life of every incarnation there is, and ends the lives of those there are no more.
func (w *world) live(instances []fleet.Instance, now time.Time) {
	present := map[string]bool{}
	for i := range instances {
		in := &instances[i]
		present[in.Incarnation] = true
		w.step(in.Incarnation, in.Name, in.Ready || configured(*in), in.Leaving, now)
		l := w.lives[in.Incarnation]
		l.foreign, l.unsaid = in.Foreign, in.Foreign && in.Published == nil
	}
	for i := range w.desired.Services {
		for _, e := range w.listed(&w.desired.Services[i]) {
			present[e.Incarnation] = true
			w.step(e.Incarnation, e.Name, true, false, now)
		}
	}
	var absent []string
	for incarnation := range w.lives {
		if !present[incarnation] {
			absent = append(absent, incarnation)
		}
	}
	slices.Sort(absent) // their ends are told in the same order each time
	for _, incarnation := range absent {
		l := w.lives[incarnation]
		w.advance(l, incarnation, lifecycle.Vanished, w.ends[incarnation], now)
		delete(w.lives, incarnation)
		if !l.Offered.IsZero() && !l.unsaid {
			w.past[incarnation] = memento{l.Offered, l.factor, l.resting, l.at, now}
		}
	}
}

// step takes one incarnation as far as what is known of it leads.
func (w *world) step(incarnation, name string, ready, leaving bool, now time.Time) {
	l := w.lives[incarnation]
	if l == nil {
		l = w.life(incarnation)
		if m, ok := w.past[incarnation]; ok { // it was away for a moment: same process, same age
			l.Offered, l.factor, l.resting, l.at = m.offered, m.factor, m.resting, m.at
			delete(w.past, incarnation)
		} else if f, ok := w.former[incarnation]; ok {
			l.Offered, l.found, l.hearsay, l.healthy = f.offered, f.why, f.hearsay, true
		}
		delete(w.former, incarnation)
	}
	l.name = name
	if l.ready && !ready {
		l.healthy = false // its check must pass anew
	}
	l.ready = ready
	switch {
	case leaving || l.Stage == fleet.Draining: // there is no way back
		w.advance(l, incarnation, lifecycle.Leave, "", now)
		if w.clearOf(l) {
			w.advance(l, incarnation, lifecycle.Drained, "no gateway sends to it, nothing is open", now)
		}
	case ready && l.healthy && l.found != "":
		w.advance(l, incarnation, lifecycle.Found, l.found, now)
		l.found = ""
	case ready && l.healthy:
		w.advance(l, incarnation, lifecycle.Ready, "", now)
	case !ready:
		w.advance(l, incarnation, lifecycle.Unready, l.unready(), now)
	}
}

// unready says why an incarnation is not ready that nobody takes out.
func (l *life) unready() string {
	if l.foreign {
		return "its registry says that it takes no requests"
	}
	return "its own readiness probe fails"
}

func (w *world) advance(l *life, incarnation string, e lifecycle.Event, reason string, now time.Time) {
	next, kind := lifecycle.Step(l.State, e, now)
	l.State = next
	if kind != "" {
		w.tell(fleet.Event{Kind: kind, Endpoint: l.name, Incarnation: incarnation, Reason: reason}, now)
	}
}

// service is a configured service with the endpoints that it has now; its pools are empty.
func (w *world) service(want *fleet.Service, r *roster, now time.Time) fleet.Service {
	s := *want
	s.Endpoints = nil
	for _, e := range w.listed(want) {
		s.Endpoints = w.endpoint(s.Endpoints, e, now)
	}
	for _, i := range r.of(want) {
		if e, ok := member(want, &r.instances[i]); ok {
			s.Endpoints = w.endpoint(s.Endpoints, e, now)
		}
	}
	slices.SortFunc(s.Endpoints, func(a, b fleet.Endpoint) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.Address.Compare(b.Address)
	})
	s.Pools = slices.Clone(want.Pools)
	return s
}

// endpoint adds e as its life is now; one that is gone is not added.
func (w *world) endpoint(list []fleet.Endpoint, e fleet.Endpoint, now time.Time) []fleet.Endpoint {
	l := w.lives[e.Incarnation]
	if l == nil || l.Stage == fleet.Gone {
		return list
	}
	e.Stage, e.Age, e.Factor = l.Stage, l.Age(now), l.factor
	return append(list, e)
}

// member makes the endpoint that an instance is in a service, if it belongs to it.
func member(s *fleet.Service, in *fleet.Instance) (fleet.Endpoint, bool) {
	if !s.Selects(in.Namespace, in.Labels) {
		return fleet.Endpoint{}, false
	}
	port, ok := target(s, in)
	if !ok {
		return fleet.Endpoint{}, false
	}
	return fleet.Endpoint{
		Name:        in.Name,
		Incarnation: in.Incarnation,
		Address:     addrPort(in.Address, port),
		Labels:      in.Labels,
		Locality:    in.Locality,
		Weight:      in.Weight,
		Check:       in.Check,
		Bound:       in.Bound,
		Warmup:      in.Warmup,
		Front:       in.Front,
	}, true
}

// target is the port on which an instance serves a service: named ports are looked up at the instance. Where the service
// says none, it is the service's own, as in Kubernetes; but whom no Deployment runs is where it has registered itself.
func target(s *fleet.Service, in *fleet.Instance) (uint32, bool) {
	if s.Target == "" {
		port, ok := in.Ports[s.PortName]
		switch {
		case configured(*in):
			if ok && s.PortName != "" {
				return port, true // a WorkloadEntry maps port names of its service
			}
		case in.Foreign:
			return registeredPort(s, in)
		case in.Workload == "":
			if port, ok := registeredPort(s, in); ok {
				return port, true
			}
		}
		return s.Port, true
	}
	if n, err := strconv.ParseUint(s.Target, 10, 16); err == nil {
		return uint32(n), true
	}
	port, ok := in.Ports[s.Target]
	return port, ok
}

// registeredPort is the port that an instance has registered for a service: the one of that name, or of that number, or the
// only one there is.
func registeredPort(s *fleet.Service, in *fleet.Instance) (uint32, bool) {
	if port, ok := in.Ports[s.PortName]; ok {
		return port, true
	}
	only := uint32(0)
	for _, port := range in.Ports {
		if port == s.Port {
			return port, true
		}
		only = port
	}
	return only, len(in.Ports) == 1
}

// workloads is what people want to run: configuration, with what commands changed since.
func (w *world) workloads() []fleet.Workload {
	list := slices.Clone(w.desired.Workloads)
	for i := range list {
		l := &list[i]
		l.Declared = l.Replicas
		if n, ok := w.scaled[key(l.Namespace, l.Name)]; ok {
			l.Replicas = n
		}
		if at := w.restarted[key(l.Namespace, l.Name)]; at != "" {
			l.Restarted = at
			l.Revision += "+" + at
		}
	}
	return list
}

func (w *world) gateways() []string {
	var ids []string
	for id, f := range w.followers {
		if f.role() == "gateway" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// drains notes the first snapshot that shows somebody draining.
func (w *world) drains() {
	for _, l := range w.lives {
		if l.Stage == fleet.Draining && l.drained == 0 {
			l.drained = w.view.Number
		}
	}
}

// plain is what was told since the last fold. Of an instance whose warm-up ended the moment it started or went on,
// since there is nothing left of it, it tells only that it is offered.
func (w *world) plain() []fleet.Event {
	offered := map[string]int{}
	out := make([]fleet.Event, 0, len(w.told))
	for _, e := range w.told {
		i, same := offered[e.Incarnation]
		switch {
		case e.Kind == "warmup.started", e.Kind == "readiness.regained", e.Kind == "registration.found":
			offered[e.Incarnation] = len(out)
		case e.Kind == "warmup.ended" && same:
			if out[i].Kind == "warmup.started" {
				out[i].Kind, out[i].Reason = "offered", "full share: "+w.whole(e.Incarnation)
			}
			continue
		}
		out = append(out, e)
	}
	return out
}

// whole says why an incarnation joins with its full share.
func (w *world) whole(incarnation string) string {
	if l := w.lives[incarnation]; l != nil && l.skipped != "" {
		return l.skipped
	}
	return "it has no warm-up"
}

// place names the service of each event about an incarnation: the first it is in, or was in when something was told of
// it last.
func (w *world) place(told []fleet.Event, now time.Time, places ...[]fleet.Service) {
	if len(told) == 0 {
		return
	}
	service := map[string]string{}
	for _, services := range places {
		for i := range services {
			for _, e := range services[i].Endpoints {
				if service[e.Incarnation] == "" {
					service[e.Incarnation] = services[i].Name
				}
			}
		}
	}
	for i := range told {
		e := &told[i]
		if e.Incarnation == "" {
			continue
		}
		if its := service[e.Incarnation]; its != "" {
			w.placed[e.Incarnation] = placed{e.Endpoint, its, now}
		}
		e.Service = cmp.Or(e.Service, w.placed[e.Incarnation].service)
	}
}

// remember appends what happened to the history, and drops the oldest.
func remember(past, told []fleet.Event) []fleet.Event {
	all := slices.Concat(past, told)
	if slices.ContainsFunc(told, func(e fleet.Event) bool { return e.Kind == progressed }) {
		all = latestProgress(all)
	}
	return all[max(0, len(all)-history):]
}
