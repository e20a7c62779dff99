package settings

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A workload is an application whose instances come up by a Lifecycle: a Deployment, or one that only agents know.
type workload struct {
	namespace, name string
	labels          map[string]string // that all of its instances have
	services        []string          // that select them, sorted
	deployed        *fleet.Workload   // nil of one that only agents know
}

func (w *workload) key() string { return w.namespace + "/" + w.name }

func (w *workload) kind() string {
	if w.deployed == nil {
		return "agent"
	}
	return "deployment"
}

// life is how its instances come up and leave.
func (w *workload) life(all []fleet.Lifecycle) fleet.Lifecycle {
	l, _ := fleet.LifecycleFor(all, w.namespace, w.services, w.labels) // of a label that cannot be read config has told
	return l
}

// held is the Lifecycle that holds for it, as it is written.
func (w *workload) held(all []fleet.Lifecycle) (fleet.Lifecycle, bool) {
	return fleet.LifecycleOf(all, w.namespace, w.services, w.labels)
}

// workloads lists those of a configuration, and those of agents that run, sorted.
func (e *Editor) workloads(d *fleet.Desired) []workload {
	var list []workload
	known := map[string]bool{}
	for i := range d.Workloads {
		deployed := &d.Workloads[i]
		w := workload{namespace: deployed.Namespace, name: deployed.Name, labels: deployed.Labels, deployed: deployed}
		list, known[w.key()] = append(list, w), true
	}
	if e.Snapshot != nil {
		if s := e.Snapshot(); s != nil {
			list = append(list, foreign(s, known)...)
		}
	}
	for i := range list {
		list[i].services = servicesOf(d, &list[i])
	}
	slices.SortFunc(list, func(a, b workload) int { return cmp.Compare(a.key(), b.key()) })
	return list
}

// foreign lists the workloads of instances that no Deployment is known for.
func foreign(s *fleet.Snapshot, known map[string]bool) []workload {
	found := map[string]*workload{}
	for i := range s.Instances {
		in := &s.Instances[i]
		w := &workload{namespace: in.Namespace, name: in.Workload, labels: in.Labels}
		if in.Workload == "" || in.Foreign || known[w.key()] {
			continue
		}
		if other := found[w.key()]; other == nil {
			w.labels = maps.Clone(in.Labels)
			found[w.key()] = w
		} else {
			maps.DeleteFunc(other.labels, func(name, value string) bool { return in.Labels[name] != value })
		}
	}
	var list []workload
	for _, w := range found {
		list = append(list, *w)
	}
	return list
}

// servicesOf names the services that select a workload's instances.
func servicesOf(d *fleet.Desired, w *workload) []string {
	var names []string
	for i := range d.Services {
		if s := &d.Services[i]; s.Selects(w.namespace, w.labels) {
			name, _, _ := strings.Cut(s.Host, ".")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// policyWarmups says for which of a workload's services a DestinationRule has a warm-up, that goes before its own.
func policyWarmups(d *fleet.Desired, w *workload) []string {
	var list []string
	for i := range d.Services {
		s := &d.Services[i]
		if !s.Selects(w.namespace, w.labels) {
			continue
		}
		for j := range s.Pools {
			p := &s.Pools[j]
			if p.Policy.Warmup.Window > 0 && fleet.Carries(w.labels, p.Labels) {
				list = append(list, s.Name+" "+warmupText(p.Policy.Warmup)+", by "+originText(p.Origin))
				break
			}
		}
	}
	return list
}
