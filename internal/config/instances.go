package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// address reads the address of a WorkloadEntry, or of an endpoint that looks like one, and checks what stands
// beside it.
func (b *builder) address(o *object, path string, e *networking.WorkloadEntry) (netip.Addr, bool) {
	named := b.checkEntry(o, path, e)
	address, ok := b.ip(o, path+".address", e.GetAddress())
	return address, ok && named
}

// checkEntry checks a WorkloadEntry, a template of some, or an endpoint that looks like one. It says whether its
// ports can be used.
func (b *builder) checkEntry(o *object, path string, e *networking.WorkloadEntry) bool {
	b.checkInstance(o, path, e.GetLocality(), e.GetLabels())
	ok := true
	for _, name := range slices.Sorted(maps.Keys(e.GetPorts())) {
		field := path + ".ports[" + name + "]"
		ok = b.checkPort(o, field, int64(e.Ports[name])) && ok
		if !isPortName(name) {
			b.report(o, Invalid, field, `%q is no name of a port: letters, digits and "-" only, 62 at most`, clip(name))
		}
	}
	return ok
}

func isPortName(s string) bool {
	return len(s) < 63 && isLabel(strings.ToLower(s))
}

// ip reads an IP address.
func (b *builder) ip(o *object, field, text string) (netip.Addr, bool) {
	switch {
	case text == "":
		b.report(o, Missing, field, "is missing; give an IP address")
	case strings.HasPrefix(text, "unix://"):
		b.report(o, Unsupported, field, "a Unix socket is not supported yet; give an IP address")
	default:
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
			return address, true
		}
		b.report(o, Unsupported, field, "%q is no IP address; a name needs a ServiceEntry with resolution: DNS and endpoints", clip(text))
	}
	return netip.Addr{}, false
}
