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
					Name:    fmt.Sprintf("%s-%d", s.protocol(), s.port),
					Address: net.JoinHostPort(cmp.Or(b.options.Address, "0.0.0.0"), strconv.Itoa(int(b.bound(s.port)))),
					Port:    s.port,
					Origin:  g.object.origin(s.path),
				}
				ports[s.port], fronts[s.port] = l, newFront(g, s)
			}
			l.Selector = union(l.Selector, g.selector)
			if s.tls != nil {
				l.TLS = append(l.TLS, *s.tls)
			}
			b.checkProtocol(fronts[s.port], g, s)
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

// checkProtocol names a server that wants TLS on a port that is served without, or the other way round.
func (b *builder) checkProtocol(f *front, g *gateway, s *server) {
	if first := f.server; first.protocol() != s.protocol() {
		b.report(g.object, Conflict, s.path+".port.protocol", "%s at %s:%d serves port %d with %s; a port has one protocol",
			f.gateway.object.id(), f.gateway.object.file, f.gateway.object.at(first.path).line, s.port, strings.ToUpper(first.protocol()))
	}
}

// union holds what is in either map; a goes before b where keys are in both.
func union[V any](a, b map[string]V) map[string]V {
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
	say     map[string][]claim
	https   map[string]bool // host names whose plaintext requests are sent to https
}

func newFront(g *gateway, s *server) *front {
	return &front{gateway: g, server: s, say: map[string][]claim{}, https: map[string]bool{}}
}

// A claim is a VirtualService, and the Gateways through which requests for a host come to it.
type claim struct {
	virtual  *virtual
	gateways []string
}

// bind gives each VirtualService that is bound to a Gateway the hosts that one of its servers lets it have.
func (b *builder) bind(f *front, key string, s *server) {
	for _, v := range b.through(key) {
		for _, domain := range meet(v, s) {
			f.add(domain, v, key)
			f.https[domain] = f.https[domain] || s.redirect
		}
	}
	for _, h := range s.hosts {
		if _, ok := f.say[h.name]; s.redirect && !ok {
			f.say[h.name] = nil // no routes, but the redirect
			f.https[h.name] = true
		}
	}
}

func (f *front) add(domain string, v *virtual, key string) {
	for i := range f.say[domain] {
		if c := &f.say[domain][i]; c.virtual == v {
			if !slices.Contains(c.gateways, key) {
				c.gateways = append(c.gateways, key)
			}
			return
		}
	}
	f.say[domain] = append(f.say[domain], claim{v, []string{key}})
}

// through returns the VirtualServices that are bound to a Gateway.
func (b *builder) through(key string) []*virtual {
	if b.byGateway == nil {
		b.byGateway = map[string][]*virtual{}
		for _, v := range b.virtuals {
			for i, key := range v.gateways {
				if !slices.Contains(v.gateways[:i], key) {
					b.byGateway[key] = append(b.byGateway[key], v)
				}
			}
		}
	}
	return b.byGateway[key]
}

// meet returns the hosts that a VirtualService and a server have in common: of two that overlap, the narrower.
func meet(v *virtual, s *server) []string {
	var domains []string
	for _, host := range v.hosts {
		if host == "" {
			continue
		}
		for _, name := range expand(host) {
			for _, h := range s.near(name) {
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
	for _, v := range b.through(key) {
		served := len(g.servers) == 0
		for i := range g.servers {
			served = served || len(meet(v, &g.servers[i])) > 0
		}
		if !served {
			b.warn(v.object, fmt.Sprintf("spec.gateways[%d]", slices.Index(v.gateways, key)),
				"%s serves none of the hosts of this VirtualService", g.object.id())
		}
	}
	redirects := slices.ContainsFunc(g.servers, func(s server) bool { return s.redirect })
	if len(b.through(key)) == 0 && !redirects {
		b.warn(g.object, "", "no VirtualService is bound to %s: it answers every request with 404", g.object.id())
	}
}

// virtualHosts makes the virtual hosts of a gateway's port. Hosts with the same VirtualServices share one.
func (b *builder) virtualHosts(f *front, port uint32) []fleet.VirtualHost {
	domains := map[string][]string{} // by who has a say
	for domain, say := range f.say {
		parts := []string{strconv.FormatBool(f.https[domain])}
		for _, c := range say {
			parts = append(append(parts, c.virtual.object.key()), c.gateways...)
		}
		key := strings.Join(parts, " ")
		domains[key] = append(domains[key], domain)
	}
	var hosts []fleet.VirtualHost
	for _, list := range domains {
		slices.Sort(list)
		say := f.say[list[0]]
		hosts = append(hosts, fleet.VirtualHost{Domains: list, Routes: b.merged(say, list[0], port), HTTPS: f.https[list[0]]})
	}
	slices.SortFunc(hosts, func(x, y fleet.VirtualHost) int { return cmp.Compare(x.Domains[0], y.Domains[0]) })
	return hosts
}

// merged puts the routes of all VirtualServices of a host behind each other.
func (b *builder) merged(say []claim, domain string, port uint32) []fleet.Route {
	var routes []fleet.Route
	seen := map[string]fleet.Origin{}
	for _, c := range say {
		more := b.routes(c.virtual, arrival{c.gateways, port})
		if len(say) > 1 {
			b.checkOverlap(c.virtual, domain, seen, more)
		}
		routes = append(routes, more...)
	}
	if len(say) > 1 { // as Istio merges them: what catches everything goes last
		slices.SortStableFunc(routes, func(x, y fleet.Route) int { return cmp.Compare(rankOf(&x), rankOf(&y)) })
	}
	return routes
}

func rankOf(r *fleet.Route) int {
	if catchesAll(r) {
		return 1
	}
	return 0
}

func catchesAll(r *fleet.Route) bool {
	return len(r.Matches) == 0 || slices.ContainsFunc(r.Matches, func(m fleet.Match) bool {
		all := fleet.Match{Path: m.Path, Origin: m.Origin, Name: m.Name, IgnoreCase: m.IgnoreCase}
		return everyPath(m.Path) && conditions(&m) == conditions(&all)
	})
}

// conditions is a text that is the same for matches with the same conditions.
func conditions(m *fleet.Match) string {
	same := *m
	same.Name, same.Origin = "", fleet.Origin{}
	return digest(same)
}

// checkOverlap names routes of a VirtualService that match just what those of another one, in seen, match already.
func (b *builder) checkOverlap(v *virtual, domain string, seen map[string]fleet.Origin, more []fleet.Route) {
	own := map[string]fleet.Origin{}
	for i := range more {
		matches := more[i].Matches
		if len(matches) == 0 {
			matches = []fleet.Match{{Origin: more[i].Origin}}
		}
		for j := range matches {
			m := &matches[j]
			key := conditions(m)
			other, taken := seen[key]
			if !taken {
				own[key] = m.Origin
				continue
			}
			b.findings = append(b.findings, Finding{
				File: v.object.file, Line: m.Origin.Line, Column: 1, Rule: Conflict, Object: v.object.id(), Field: "spec.http",
				Message: fmt.Sprintf("%s %s at %s:%d routes the same requests for host %s; keep one",
					other.Kind, other.Name, other.File, other.Line, domain),
			})
		}
	}
	maps.Copy(seen, own)
}
