package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// addMeshListener makes the listener for calls between services: a virtual host for every port of every
// service, whose routes are those of the VirtualService for it, if there is one.
func (b *builder) addMeshListener() {
	virtuals := b.meshVirtuals()
	if b.options.MeshAddress == "" {
		return
	}
	l := fleet.Listener{Name: meshGateway, Address: b.options.MeshAddress, Mesh: true}
	taken := map[string]*host{}
	for _, name := range slices.Sorted(maps.Keys(b.hosts)) {
		h := b.hosts[name]
		v := forHost(virtuals, name)
		web := h.web()
		for _, s := range web {
			routes := []fleet.Route{{Destinations: []fleet.Destination{{Service: s.Name, Weight: 100}}, Origin: s.Origin}}
			if v != nil {
				routes = b.routes(v, arrival{[]string{""}, s.Port})
			}
			l.Hosts = append(l.Hosts, fleet.VirtualHost{Domains: b.meshDomains(h, s, len(web) == 1, taken), Routes: routes})
		}
	}
	for _, host := range slices.Sorted(maps.Keys(virtuals)) {
		if h := b.hosts[host]; h == nil { // a name that no service has; its routes say where to go
			routes := b.routes(virtuals[host], arrival{[]string{""}, httpPort})
			l.Hosts = append(l.Hosts, fleet.VirtualHost{Domains: expand(host), Routes: routes})
		}
	}
	slices.SortStableFunc(l.Hosts, func(x, y fleet.VirtualHost) int {
		return cmp.Compare(strings.Join(x.Domains, " "), strings.Join(y.Domains, " "))
	})
	b.listeners = append(b.listeners, l)
}

const httpPort = 80

// meshVirtuals returns the VirtualServices for calls between services, by host.
func (b *builder) meshVirtuals() map[string]*virtual {
	virtuals := map[string]*virtual{}
	for _, v := range b.virtuals {
		if !v.mesh {
			continue
		}
		for i, host := range v.hosts {
			if host == "" {
				continue
			}
			if other := virtuals[host]; other != nil {
				b.report(v.object, Conflict, fmt.Sprintf("spec.hosts[%d]", i),
					"%s at %s routes calls to %s already; put both into one", other.object.id(), other.object.where(), host)
				continue
			}
			virtuals[host] = v
		}
	}
	return virtuals
}

// forHost returns the VirtualService for a service: the one for exactly its name, else the one with the longest
// wildcard, else nil.
func forHost(virtuals map[string]*virtual, name string) *virtual {
	best := ""
	for host := range virtuals {
		if covers(host, name) && (host == name || (best != name && len(host) > len(best))) {
			best = host
		}
	}
	return virtuals[best]
}

// meshDomains are the names of a service's port between services: every spelling with the port, and bare
// where the port goes without saying.
func (b *builder) meshDomains(h *host, s *fleet.Service, only bool, taken map[string]*host) []string {
	var domains []string
	for _, name := range s.Names {
		spelled := []string{fmt.Sprintf("%s:%d", name, s.Port)}
		if s.Port == httpPort || only {
			spelled = append(spelled, name)
		}
		for _, domain := range spelled {
			if other := taken[domain]; other != nil {
				b.report(h.object, Conflict, "metadata.name", "%s is a name of %s at %s already; rename one",
					domain, other.object.id(), other.object.where())
				continue
			}
			taken[domain] = h
			domains = append(domains, domain)
		}
	}
	return domains
}
