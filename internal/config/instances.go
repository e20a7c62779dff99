package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// addInstance takes in a WorkloadEntry: an instance that somebody else runs.
func (b *builder) addInstance(o *object, e *networking.WorkloadEntry) {
	address, ok := b.address(o, "spec", e)
	if !ok {
		return
	}
	b.instances = append(b.instances, fleet.Instance{
		Name:        o.meta.Name,
		Namespace:   o.meta.Namespace,
		Incarnation: fmt.Sprintf("entry/%s/%s", o.key(), address),
		Address:     address,
		Ports:       e.Ports,
		Labels:      e.Labels,
		Locality:    locality(e.Locality),
		Weight:      max(1, e.Weight),
		Origin:      o.origin(""),
	})
}

// address reads the address of a WorkloadEntry, or of an endpoint that looks like one, and checks its ports.
func (b *builder) address(o *object, path string, e *networking.WorkloadEntry) (netip.Addr, bool) {
	ok := true
	for _, name := range slices.Sorted(maps.Keys(e.GetPorts())) {
		ok = b.checkPort(o, path+".ports["+name+"]", int64(e.Ports[name])) && ok
	}
	field := path + ".address"
	switch text := e.GetAddress(); {
	case text == "":
		b.report(o, Missing, field, "is missing; give an IP address")
	case strings.HasPrefix(text, "unix://"):
		b.report(o, Unsupported, field, "a Unix socket is not supported yet; give an IP address")
	default:
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
			return address, ok
		}
		b.report(o, Unsupported, field, "%q is no IP address, and names are not supported yet", clip(text))
	}
	return netip.Addr{}, false
}

// locality reads Istio's "region/zone/subzone".
func locality(s string) fleet.Locality {
	region, rest, _ := strings.Cut(s, "/")
	zone, sub, _ := strings.Cut(rest, "/")
	return fleet.Locality{Region: region, Zone: zone, SubZone: sub}
}
