package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"k8s.io/apimachinery/pkg/util/validation"

	"crossfade.dev/internal/fleet"
)

// A goal is a place in a DestinationRule to which requests are sent.
type goal struct {
	field string // that names it
	area  string // as fleet.Distribution has it; "" means wherever is near
}

// topologyTable are the labels by which failoverPriority would say again what failover says.
var topologyTable = []string{"topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"}

// localityPolicy reads a localityLbSetting; nil means that it makes no difference where endpoints are.
func (b *builder) localityPolicy(rule *hostRule, path string, l *networking.LocalityLoadBalancerSetting) *fleet.LocalityPolicy {
	if l == nil {
		return nil
	}
	o := rule.object
	b.checkOneWay(o, path, l)
	distribute, goals := b.distribute(o, path+".distribute", l.Distribute)
	failover, more := b.failover(o, path+".failover", l.Failover)
	goals = append(goals, more...)
	out := &fleet.LocalityPolicy{
		Distribute: distribute, Priority: b.priority(o, path+".failoverPriority", l.FailoverPriority), Failover: failover,
	}
	if l.Enabled != nil && !l.Enabled.Value {
		b.checkDisabled(o, path)
		return nil
	}
	b.checkNearness(o, path, out)
	if len(out.Distribute)+len(out.Priority) == 0 {
		goals = append(goals, goal{field: path})
	}
	rule.goals = append(rule.goals, goals...)
	return out
}

// checkOneWay makes sure that just one way is given in which requests find their place.
func (b *builder) checkOneWay(o *object, path string, l *networking.LocalityLoadBalancerSetting) {
	var set []string
	for _, name := range []string{"distribute", "failover", "failoverPriority"} {
		if o.has(path + "." + name) {
			set = append(set, name)
		}
	}
	switch {
	case len(set) < 2:
	case set[0] == "distribute":
		b.report(o, Conflict, path+"."+set[1], "only one of %s may be set", strings.Join(set, " and "))
	default: // both kinds of failover go together, as long as they do not speak of the same
		for i, label := range l.FailoverPriority {
			if slices.Contains(topologyTable, label) {
				b.report(o, Conflict, fmt.Sprintf("%s.failoverPriority[%d]", path, i), "%s goes by place, as failover does; remove one of them", label)
			}
		}
	}
}

// distribute reads how requests are spread over places.
func (b *builder) distribute(o *object, path string, list []*networking.LocalityLoadBalancerSetting_Distribute) ([]fleet.Distribution, []goal) {
	var out []fleet.Distribution
	var goals []goal
	senders := newAtlas()
	for i, d := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		from := b.area(o, at+".from", d.GetFrom())
		switch wide, narrow := senders.wider(from), senders.within(from); {
		case from == "":
		case wide != "":
			b.report(o, Conflict, at+".from", "%q lies within %q above, which decides for it; put it before that one", d.From, wide)
		case narrow != "" && !strings.HasSuffix(d.From, "*"):
			b.report(o, Conflict, at+".from", "%q overlaps with %q above; write %q for the rest of it", d.From, narrow, from)
		default:
			senders.add(from, d.From)
			b.dotted(o, at+".from", d.From, strings.ReplaceAll(d.From, ".", "/"))
		}
		to, more := b.distributeTo(o, at+".to", d.GetTo())
		out = append(out, fleet.Distribution{From: from, To: to})
		goals = append(goals, more...)
	}
	return out, goals
}

// distributeTo reads the weights of one distribution.
func (b *builder) distributeTo(o *object, path string, weights map[string]uint32) (map[string]uint32, []goal) {
	out := map[string]uint32{}
	var goals []goal
	var sum uint64
	known := newAtlas()
	for _, text := range slices.Sorted(maps.Keys(weights)) {
		field, weight := path+"["+text+"]", weights[text]
		sum += uint64(weight)
		if weight < 1 || weight > 100 {
			b.report(o, Invalid, field, "%d is no part of 100; it must be between 1 and 100, or the place be left out", weight)
		}
		area := b.area(o, field, text)
		if area == "" {
			continue
		}
		if other := known.wider(area) + known.within(area); other != "" {
			b.report(o, Conflict, field, "%q overlaps with %q: an endpoint can be in one of them only; write the places out", text, other)
			continue
		}
		known.add(area, text)
		out[area] = weight
		if !b.dotted(o, field, text, strings.ReplaceAll(text, ".", "/")) {
			goals = append(goals, goal{field, area})
		}
	}
	if sum != 100 {
		b.report(o, Invalid, path, "the weights sum to %d; they must sum to 100", sum)
	}
	return out, goals
}

// failover reads which region stands in for which.
func (b *builder) failover(o *object, path string, list []*networking.LocalityLoadBalancerSetting_Failover) ([]fleet.Failover, []goal) {
	var out []fleet.Failover
	var goals []goal
	seen := map[string]bool{}
	for i, f := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if f.GetFrom() == "" || f.GetTo() == "" {
			b.report(o, Missing, at, "needs from and to")
			continue
		}
		for field, region := range map[string]string{".from": f.From, ".to": f.To} {
			first, _, _ := strings.Cut(region, ".")
			switch {
			case strings.ContainsAny(region, "/* "):
				b.report(o, Invalid, at+field, "%q is no region; zones and sub-zones fail over within their region without being told", clip(region))
			default:
				b.dotted(o, at+field, region, first)
			}
		}
		switch {
		case f.From == f.To:
			b.report(o, Invalid, at+".to", "%s cannot stand in for itself", clip(f.To))
		case seen[f.From]:
			b.warn(o, at+".from", "the first failover from %s decides; remove this one", clip(f.From))
		default:
			seen[f.From] = true
			out = append(out, fleet.Failover{From: f.From, To: f.To})
			if !Dotted(f.To) {
				goals = append(goals, goal{at + ".to", f.To + "/*"})
			}
		}
	}
	return out, goals
}

// priority reads the labels by which endpoints are near.
func (b *builder) priority(o *object, path string, list []string) []string {
	seen := map[string]bool{}
	for i, text := range list {
		field := fmt.Sprintf("%s[%d]", path, i)
		name, value, _ := strings.Cut(text, "=")
		switch {
		case len(validation.IsQualifiedName(name)) > 0:
			b.report(o, Invalid, field, `%q is no label; write its name, or name=value`, clip(text))
		case len(validation.IsValidLabelValue(value)) > 0:
			b.report(o, Invalid, field, `%q is no value of a label`, clip(value))
		case seen[name]:
			b.warn(o, field, "the label %s stands above already; remove one of them", clip(name))
		}
		seen[name] = true
	}
	return list
}

// area reads a place of a distribution: "region", "region/zone" or "region/zone/sub-zone", the last of
// which may be "*". It returns the form that fleet.Distribution has, in which "*" is written out; "" is no place.
func (b *builder) area(o *object, field, text string) string {
	if text == "" {
		b.report(o, Missing, field, `is missing; name a place such as "region/zone/*"`)
		return ""
	}
	front := strings.TrimSuffix(text, "/*")
	if text == "*" {
		return text
	}
	l, err := fleet.ParseLocality(front)
	switch {
	case err != nil, l == fleet.Locality{}, l.SubZone != "" && front != text:
		b.report(o, Invalid, field, `%q is no place; write region, region/zone or region/zone/sub-zone, with "*" for all of the last`, clip(text))
		return ""
	case l.SubZone != "":
		return front
	default:
		return front + "/*"
	}
}

// holders are the places that hold a locality, from wide to narrow, as fleet.Distribution writes them.
func holders(l fleet.Locality) []string {
	list := []string{"*"}
	if l.Region == "" {
		return list
	}
	list = append(list, l.Region+"/*")
	if l.Zone == "" {
		return list
	}
	list = append(list, l.Region+"/"+l.Zone+"/*")
	if l.SubZone != "" {
		list = append(list, l.String())
	}
	return list
}

// An atlas finds places that overlap. It looks up, and compares none with all.
type atlas struct {
	taken map[string]string // area → as people wrote it
	above map[string]string // area → one that is taken within it
}

func newAtlas() atlas { return atlas{map[string]string{}, map[string]string{}} }

func chain(area string) []string {
	l, _ := fleet.ParseLocality(strings.TrimSuffix(strings.TrimSuffix(area, "*"), "/")) // it has been read before
	return holders(l)
}

// wider returns one that is taken and holds all of area, or "".
func (a atlas) wider(area string) string {
	for _, holder := range chain(area) {
		if text, ok := a.taken[holder]; ok {
			return text
		}
	}
	return ""
}

// within returns one that is taken and lies within area, or "".
func (a atlas) within(area string) string { return a.above[area] }

func (a atlas) add(area, text string) {
	a.taken[area] = text
	for _, holder := range chain(area) {
		if holder != area {
			a.above[holder] = text
		}
	}
}
