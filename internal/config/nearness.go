package config

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"crossfade.dev/internal/fleet"
)

// ParseLabel reads NAME=VALUE, a label as an instance or a gateway carries it.
func ParseLabel(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || len(validation.IsQualifiedName(name)) > 0 || len(validation.IsValidLabelValue(value)) > 0 {
		return "", "", fmt.Errorf("%q is no label; write NAME=VALUE, as in rack=r1", clip(text))
	}
	return name, value, nil
}

// checkNearness warns of what a localityLbSetting asks of the gateway, where that is the only one and lacks it.
func (b *builder) checkNearness(o *object, path string, p *fleet.LocalityPolicy) {
	if !b.options.Alone {
		return
	}
	places := len(p.Failover) > 0 || len(p.Distribute)+len(p.Priority) == 0
	for _, d := range p.Distribute {
		places = places || d.From != "*"
	}
	for i, label := range p.Priority {
		name, _, written := strings.Cut(label, "=")
		_, carried := b.options.Labels[name]
		switch {
		case written || carried:
		case slices.Contains(topologyTable, name):
			places = true
		default:
			b.add(Warning, o, Doubtful, fmt.Sprintf("%s.failoverPriority[%d]", path, i), "this gateway carries no label %s, so that endpoints without it count as near; "+
				"start it with --label %s=VALUE", name, name)
		}
	}
	if places && b.options.Locality == (fleet.Locality{}) {
		b.add(Warning, o, Doubtful, path, "balances by locality, and this gateway has none; start it with --locality REGION/ZONE")
	}
}

// dotted warns of a place with the dots of the label istio-locality: all of it is taken for the name of a region.
func (b *builder) dotted(o *object, field, text, meant string) bool {
	if !Dotted(text) {
		return false
	}
	b.add(Warning, o, Doubtful, field, "%q is taken for a region; did you mean %q? Dots are for the label istio-locality", clip(text), clip(meant))
	return true
}

// Dotted says whether a place looks as if it were written with dots for slashes, as the label istio-locality has them.
func Dotted(place string) bool { return strings.Contains(place, ".") && !strings.Contains(place, "/") }

// checkDisabled names what is said of localities by a setting that is not in force.
func (b *builder) checkDisabled(o *object, path string) {
	for _, field := range []string{"distribute", "failover", "failoverPriority"} {
		if at := path + "." + field; o.has(at) {
			b.warn(o, at, "nothing comes of it while enabled is false; remove one of them")
		}
	}
}
