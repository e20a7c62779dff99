package control

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A Resolved is what is known of a name's addresses.
type Resolved struct {
	Host      string
	One       bool // only the first address of the newest answer counts; see fleet.ResolveName
	Addresses []netip.Addr
	Reason    string // why nothing better is known; "" when all is well
}

type resolvedKey struct {
	host string
	one  bool
}

// Resolve takes the addresses of names.
func (c *Control) Resolve(ctx context.Context, results []Resolved) error {
	return c.do(ctx, func(w *world, now time.Time) {
		for _, r := range results {
			w.resolve(r, now)
		}
	})
}

func (w *world) resolve(r Resolved, now time.Time) {
	k := resolvedKey{r.Host, r.One}
	before := w.resolved[k]
	w.resolved[k] = r
	switch {
	case r.Reason != "" && r.Reason != before.Reason:
		w.tell(fleet.Event{Kind: "dns.failed", Endpoint: r.Host, Reason: r.Reason}, now)
	case r.Reason == "" && (before.Reason != "" || !slices.Equal(before.Addresses, r.Addresses)):
		w.tell(fleet.Event{Kind: "dns.resolved", Endpoint: r.Host, Reason: list(r.Addresses)}, now)
	}
}

func list(addresses []netip.Addr) string {
	names := make([]string, len(addresses))
	for i, a := range addresses {
		names[i] = a.String()
	}
	return strings.Join(names, ", ")
}

// listed is the endpoints of a service that configuration names: by address, or by a name that has addresses.
func (w *world) listed(s *fleet.Service) []fleet.Endpoint {
	endpoints := slices.Clone(s.Endpoints)
	for i := range s.Resolve {
		r := &s.Resolve[i]
		for _, a := range w.resolved[resolvedKey{r.Host, r.One}].Addresses {
			name, incarnation := r.Name+"/"+a.String(), incarnationOf(s, r)+a.String()
			if r.One { // one endpoint, wherever it is: another address does not make it cold
				name, incarnation = r.Name, incarnationOf(s, r)
			}
			endpoints = append(endpoints, fleet.Endpoint{
				Name:        name,
				Incarnation: incarnation,
				Address:     addrPort(a, r.Port),
				Labels:      r.Labels,
				Locality:    r.Locality,
				Weight:      r.Weight,
			})
		}
	}
	return endpoints
}

// resolvedPrefix begins the incarnation of every endpoint that came from the DNS. An address that goes and comes
// back is the same one: nothing says that its process changed.
const resolvedPrefix = "dns/"

func incarnationOf(s *fleet.Service, r *fleet.ResolveName) string {
	return resolvedPrefix + s.Name + "/" + r.Name + "/"
}

// recall takes the addresses of names from the last snapshot, until somebody looks them up.
func recall(services []fleet.Service) map[resolvedKey]Resolved {
	known := map[resolvedKey]Resolved{}
	for i := range services {
		s := &services[i]
		for j := range s.Resolve {
			r := &s.Resolve[j]
			found := Resolved{Host: r.Host, One: r.One}
			for k := range s.Endpoints {
				if strings.HasPrefix(s.Endpoints[k].Incarnation, incarnationOf(s, r)) {
					found.Addresses = append(found.Addresses, s.Endpoints[k].Address.Addr())
				}
			}
			if len(found.Addresses) > 0 {
				known[resolvedKey{r.Host, r.One}] = found
			}
		}
	}
	return known
}

// Known returns what a snapshot knows of its names' addresses, for whoever goes on looking them up.
func Known(s *fleet.Snapshot) []Resolved {
	if s == nil {
		return nil
	}
	var all []Resolved
	for _, r := range recall(s.Services) {
		all = append(all, r)
	}
	return all
}
