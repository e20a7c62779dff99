package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// checkInstance checks what an instance says of itself: its locality, as a field has it, and its labels.
func (b *builder) checkInstance(o *object, path, locality string, labels map[string]string) {
	if _, err := fleet.ParseLocality(locality); err != nil {
		b.report(o, Invalid, path+".locality", "%v", err)
	}
	b.checkLabels(o, path+".labels", labels)
}

// checkLabels checks those labels of an instance that say something to crossfade.
func (b *builder) checkLabels(o *object, path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		field := path + "[" + name + "]"
		switch {
		case name == fleet.WarmupLabel && labels[name] != "on" && labels[name] != "off":
			b.report(o, Invalid, field, `%q must be "off", for instances that do not warm up, or "on"`, clip(labels[name]))
		case name != fleet.WarmupLabel && strings.HasPrefix(name, "crossfade.dev/"):
			b.report(o, UnknownField, field, "unknown label%s", didYouMean(name, []string{fleet.WarmupLabel}))
		}
	}
	b.checkLossless(o, path, labels)
	var wrong *fleet.LabelError
	if _, err := fleet.LocalityOf(labels); errors.As(err, &wrong) {
		b.report(o, Invalid, path+"["+wrong.Label+"]", "%s", wrong.Message)
	}
}

// localityOf is where an instance is: as a field says, else as its labels do. What is no place, checkInstance names.
func localityOf(locality string, labels map[string]string) fleet.Locality {
	l, err := fleet.ParseLocality(locality)
	if err == nil && locality == "" {
		l, _ = fleet.LocalityOf(labels)
	}
	return l
}

// labelHomeTable says where the labels of instances stand, by kind.
var labelHomeTable = map[string]string{
	"Deployment": "spec.template.metadata.labels", "WorkloadEntry": "spec.labels",
	"WorkloadGroup": "spec.metadata.labels", "ServiceEntry": "spec.endpoints[].labels", "Agent": "spec.labels",
}

// checkOwnLabels names labels of instances that stand on an object of configuration.
func (b *builder) checkOwnLabels(o *object) {
	if o.kind == "Pod" {
		return
	}
	for _, label := range append(fleet.LosslessLabels(), fleet.WarmupLabel) {
		field := "metadata.labels[" + label + "]"
		if !o.has(field) {
			continue
		}
		if home := labelHomeTable[o.kind]; home != "" {
			b.report(o, Invalid, field, "is a label of instances; move it to %s", home)
			continue
		}
		b.report(o, Invalid, field, "is a label of instances; move it to those of a Deployment's template or a WorkloadEntry")
	}
}

// checkPlaces holds the places that a service's rule sends to against those where its endpoints are.
func (b *builder) checkPlaces(h *host, s *fleet.Service) {
	if h.rule == nil || len(h.rule.goals) == 0 {
		return
	}
	there := map[string]bool{}
	for _, l := range b.placesOf(s) {
		for _, holder := range holders(l) {
			there[holder] = true
		}
	}
	for _, g := range h.rule.goals {
		switch {
		case g.area == "" && len(there) == 1:
			b.warn(h.rule.object, g.field, "no endpoint of %s says where it is; give its instances a locality, or the label istio-locality", h.name)
		case g.area != "" && !there[g.area]:
			b.warn(h.rule.object, g.field, "no endpoint of %s is there", h.name)
		}
	}
}

// placesOf are the localities of the endpoints that configuration knows of.
func (b *builder) placesOf(s *fleet.Service) []fleet.Locality {
	var list []fleet.Locality
	for i := range s.Endpoints {
		list = append(list, s.Endpoints[i].Locality)
	}
	for i := range s.Resolve {
		list = append(list, s.Resolve[i].Locality)
	}
	for i := range b.instances {
		if in := &b.instances[i]; s.Selects(in.Namespace, in.Labels) {
			list = append(list, in.Locality)
		}
	}
	for i := range b.workloads {
		if w := &b.workloads[i]; s.Selects(w.Namespace, w.Labels) {
			list = append(list, localityOf("", w.Labels))
		}
	}
	return list
}
