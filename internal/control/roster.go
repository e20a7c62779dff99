package control

import "crossfade.dev/internal/fleet"

// A roster lists instances by the labels that services select by: to look at every instance for every service takes a
// machine that has thousands of both for most of its time.
type roster struct {
	instances []fleet.Instance
	carrying  map[label][]int // ascending
}

// A label is one that an instance carries.
type label struct{ namespace, name, value string }

func newRoster(services []fleet.Service, instances []fleet.Instance) roster {
	asked := map[string]bool{}
	for i := range services {
		for name := range services[i].Selector {
			asked[name] = true
		}
	}
	r := roster{instances: instances, carrying: make(map[label][]int, len(services))}
	for i := range instances {
		in := &instances[i]
		for name, value := range in.Labels {
			if asked[name] {
				k := label{in.Namespace, name, value}
				r.carrying[k] = append(r.carrying[k], i)
			}
		}
	}
	return r
}

// of returns which instances may belong to a service, ascending: those that carry the rarest of the labels that it
// selects by.
func (r *roster) of(s *fleet.Service) (rarest []int) {
	first := true
	for name, value := range s.Selector {
		if all := r.carrying[label{s.Namespace, name, value}]; first || len(all) < len(rarest) {
			rarest, first = all, false
		}
	}
	return rarest
}
