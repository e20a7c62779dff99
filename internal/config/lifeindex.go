package config

import (
	"slices"

	"crossfade.dev/internal/fleet"
)

// A lifeIndex finds what may be for an instance among thousands without looking at each: by one of the labels, or the
// service, that it asks for.
type lifeIndex struct {
	services   map[ask][]string // names of Kubernetes' Services
	lifecycles map[ask][]fleet.Lifecycle
}

// An ask is one thing that must be true of an instance: that it has a label, that a service selects it, or, where both
// names are empty, only that it is in the namespace.
type ask struct{ namespace, label, value, service string }

// askOf is one of the things that a selector asks for, always the same.
func askOf(namespace string, labels map[string]string) ask {
	first := ask{namespace: namespace}
	for name, value := range labels {
		if first.label == "" || name < first.label {
			first.label, first.value = name, value
		}
	}
	return first
}

// indexLives makes the index, once everything else is known.
func (b *builder) indexLives() {
	b.lives = lifeIndex{map[ask][]string{}, map[ask][]fleet.Lifecycle{}}
	for name, h := range b.hosts {
		if own, namespace, ok := localName(name); ok && len(h.services) > 0 && len(h.services[0].Selector) > 0 {
			at := askOf(namespace, h.services[0].Selector)
			b.lives.services[at] = append(b.lives.services[at], own)
		}
	}
	for i := range b.lifecycles {
		l := &b.lifecycles[i]
		at := askOf(l.Namespace, l.Labels)
		if at.label == "" {
			at.service = l.Service
		}
		b.lives.lifecycles[at] = append(b.lives.lifecycles[at], *l)
	}
}

// servicesOf are the names of the Services that select an instance, sorted.
func (b *builder) servicesOf(namespace string, labels map[string]string) []string {
	var names []string
	for name, value := range labels {
		for _, own := range b.lives.services[ask{namespace: namespace, label: name, value: value}] {
			if b.hosts[fqdn(own, namespace)].services[0].Selects(namespace, labels) {
				names = append(names, own)
			}
		}
	}
	slices.Sort(names)
	return names
}

// lifecyclesFor are those that may hold for an instance, and some that do not.
func (b *builder) lifecyclesFor(namespace string, services []string, labels map[string]string) []fleet.Lifecycle {
	list := slices.Clone(b.lives.lifecycles[ask{namespace: namespace}])
	for _, name := range services {
		list = append(list, b.lives.lifecycles[ask{namespace: namespace, service: name}]...)
	}
	for name, value := range labels {
		list = append(list, b.lives.lifecycles[ask{namespace: namespace, label: name, value: value}]...)
	}
	return list
}
