package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
)

const lowPorts = 1024 // below it, binding takes a privilege

// addGatewayListeners makes a listener for every port that Gateways serve.
func (b *builder) addGatewayListeners() {
	b.checkServers()
	ports := map[uint32]*fleet.Listener{}
	fronts := map[uint32]*front{}
	for _, key := range slices.Sorted(maps.Keys(b.gateways)) {
		g := b.gateways[key]
		for i := range g.servers {
			s := &g.servers[i]
			l := ports[s.port]
			if l == nil {
				l = &fleet.Listener{
					Name:    fmt.Sprintf("http-%d", s.port),
					Address: net.JoinHostPort(cmp.Or(b.options.Address, "0.0.0.0"), strconv.Itoa(int(b.bound(s.port)))),
					Port:    s.port,
					Origin:  g.object.origin(s.path),
				}
				ports[s.port], fronts[s.port] = l, &front{gateway: g, server: s, say: map[string][]*virtual{}}
			}
			l.Selector = union(l.Selector, g.selector)
			b.bind(fronts[s.port], key, s)
		}
		b.checkBound(g, key)
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		l := ports[port]
		l.Hosts = b.virtualHosts(fronts[port], port)
		b.listeners = append(b.listeners, *l)
	}
	b.checkAddresses(fronts)
}

func union(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	all := maps.Clone(b)
	maps.Copy(all, a)
	return all
}

// bound is the port that is bound for one that a Gateway names.
func (b *builder) bound(port uint32) uint32 {
	if port < lowPorts {
		return port + b.options.PortOffset
	}
	return port
}

// checkAddresses names listeners that would bind the same port.
func (b *builder) checkAddresses(fronts map[uint32]*front) {
	taken := map[string]string{} // port → who
	if _, port, err := net.SplitHostPort(b.options.MeshAddress); err == nil {
		taken[port] = "the mesh port"
	}
	for i := range b.listeners {
		l := &b.listeners[i]
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue
		}
		if who := taken[port]; who != "" {
			f := fronts[l.Port]
			b.report(f.gateway.object, Conflict, f.server.path+".port.number",
				"port %d would be served at %s, where %s is; choose another port", l.Port, port, who)
		}
		taken[port] = fmt.Sprintf("port %d", l.Port)
	}
}

// A front is what a port serves: for each host name the VirtualServices that have a say in it, in order.
type front struct {
	gateway *gateway // the first that serves the port
	server  *server
	say     map[string][]*virtual
}

// bind gives each VirtualService that is bound to a Gateway the hosts that one of its servers lets it have.
func (b *builder) bind(f *front, key string, s *server) {
	for _, v := range b.virtuals {
		if !slices.Contains(v.gateways, key) {
			continue
		}
		for _, domain := range meet(v, s) {
			if !slices.Contains(f.say[domain], v) {
				f.say[domain] = append(f.say[domain], v)
			}
		}
	}
}

// meet returns the hosts that a VirtualService and a server have in common: of two that overlap, the narrower.
func meet(v *virtual, s *server) []string {
	var domains []string
	for _, host := range v.hosts {
		if host == "" {
			continue
		}
		for _, name := range expand(host) {
			for _, h := range s.hosts {
				switch {
				case h.namespace != "*" && h.namespace != v.object.meta.Namespace:
				case covers(h.name, name):
					domains = append(domains, name)
				case covers(name, h.name):
					domains = append(domains, h.name)
				}
			}
		}
	}
	return domains
}

// checkBound names a Gateway that nothing is bound to, and VirtualServices that share no host with it.
func (b *builder) checkBound(g *gateway, key string) {
	bound := false
	for _, v := range b.virtuals {
		i := slices.Index(v.gateways, key)
		if i < 0 {
			continue
		}
		bound = true
		serves := func(s server) bool { return len(meet(v, &s)) > 0 }
		if len(g.servers) > 0 && !slices.ContainsFunc(g.servers, serves) {
			b.warn(v.object, fmt.Sprintf("spec.gateways[%d]", i), "%s serves none of the hosts of this VirtualService", g.object.id())
		}
	}
	if !bound {
		b.warn(g.object, "", "no VirtualService is bound to %s: it answers every request with 404", g.object.id())
	}
}

// virtualHosts makes the virtual hosts of a gateway's port. Hosts with the same VirtualServices share one.
func (b *builder) virtualHosts(f *front, port uint32) []fleet.VirtualHost {
	domains := map[string][]string{} // by who has a say
	for domain, say := range f.say {
		var keys []string
		for _, v := range say {
			keys = append(keys, v.object.key())
		}
		key := strings.Join(keys, " ")
		domains[key] = append(domains[key], domain)
	}
	var hosts []fleet.VirtualHost
	for _, list := range domains {
		slices.Sort(list)
		var routes []fleet.Route
		for _, v := range f.say[list[0]] {
			more := b.routes(v, port)
			b.checkOverlap(v, list[0], routes, more)
			routes = append(routes, more...)
		}
		if len(f.say[list[0]]) > 1 { // as Istio merges them: what catches everything goes last
			slices.SortStableFunc(routes, func(x, y fleet.Route) int {
				return cmp.Compare(rankOf(x), rankOf(y))
			})
		}
		hosts = append(hosts, fleet.VirtualHost{Domains: list, Routes: routes})
	}
	slices.SortFunc(hosts, func(x, y fleet.VirtualHost) int { return cmp.Compare(x.Domains[0], y.Domains[0]) })
	return hosts
}

func rankOf(r fleet.Route) int {
	if catchesAll(r) {
		return 1
	}
	return 0
}

func catchesAll(r fleet.Route) bool {
	return len(r.Matches) == 0 || slices.ContainsFunc(r.Matches, func(m fleet.Match) bool {
		return m.Path == fleet.StringMatch{} || m.Path.Prefix == "/"
	})
}

// checkOverlap names routes of a VirtualService that match just what those of another one match already.
func (b *builder) checkOverlap(v *virtual, domain string, before, more []fleet.Route) {
	seen := map[fleet.StringMatch]fleet.Origin{}
	for _, r := range before {
		for _, m := range matchesOf(r) {
			if _, ok := seen[m.Path]; !ok {
				seen[m.Path] = m.Origin
			}
		}
	}
	for _, r := range more {
		for _, m := range matchesOf(r) {
			other, ok := seen[m.Path]
			if !ok {
				continue
			}
			b.findings = append(b.findings, Finding{
				File: v.object.file, Line: m.Origin.Line, Column: 1, Rule: Conflict, Object: v.object.id(), Field: "spec.http",
				Message: fmt.Sprintf("%s %s at %s:%d routes the same requests for host %s; keep one",
					other.Kind, other.Name, other.File, other.Line, domain),
			})
		}
	}
}

// matchesOf returns a route's matches; one that has none has one that matches everything.
func matchesOf(r fleet.Route) []fleet.Match {
	if len(r.Matches) == 0 {
		return []fleet.Match{{Origin: r.Origin}}
	}
	return r.Matches
}
