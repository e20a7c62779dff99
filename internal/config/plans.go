package config

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// A plan is one route of a VirtualService, read, but for what depends on where requests arrive.
type plan struct {
	object   *object     // that holds the route: a delegate's are its own
	path     string      // of the route in it
	route    fleet.Route // without matches and destinations
	matches  []planMatch // none matches everything
	to       []*networking.HTTPRouteDestination
	edits    []fleet.HeaderEdits // parallel to to
	delegate string              // key of the VirtualService whose routes stand for this one; "" is none
}

// A planMatch is a match, and the gateways that it is for.
type planMatch struct {
	fleet.Match
	gateways []string // keys, "" for mesh; nil is any
}

// plans reads the routes of a VirtualService.
func (b *builder) plans(v *virtual) []plan {
	var list []plan
	o := v.object
	for i, h := range v.spec.Http {
		path := fmt.Sprintf("spec.http[%d]", i)
		p := plan{object: o, path: path, to: h.GetRoute(), route: fleet.Route{
			Name: h.GetName(), Origin: o.origin(path), Timeout: h.GetTimeout().AsDuration(),
		}}
		for j, m := range h.GetMatch() {
			p.matches = append(p.matches, b.match(o, fmt.Sprintf("%s.match[%d]", path, j), m))
		}
		b.checkAction(o, path, h)
		p.route.Redirect = b.redirect(o, path+".redirect", h.GetRedirect())
		p.route.Respond = b.respond(o, path+".directResponse", h.GetDirectResponse())
		p.route.Rewrite = b.rewrite(o, path+".rewrite", h.GetRewrite())
		p.route.Headers = b.headerEdits(o, path+".headers", h.GetHeaders())
		b.routeAuthority(o, path, h, &p.route)
		for j, d := range p.to {
			at := fmt.Sprintf("%s.route[%d]", path, j)
			if d.GetDestination().GetHost() == "" { // also where nothing comes of the route
				b.report(o, Missing, at+".destination.host", "is missing; name a service")
			}
			if d.GetHeaders() != nil {
				b.noAuthority(o, at+".headers", d.Headers)
			}
			p.edits = append(p.edits, b.headerEdits(o, at+".headers", d.GetHeaders()))
		}
		if d := h.GetDelegate(); d != nil {
			p.delegate = b.delegateKey(v, path, d)
		}
		b.checkUnenforced(o, path, h)
		list = append(list, p)
	}
	return list
}

// checkAction makes sure that a route does just one thing.
func (b *builder) checkAction(o *object, path string, h *networking.HTTPRoute) {
	var set []string
	for _, action := range []struct {
		name  string
		given bool
	}{
		{"route", len(h.GetRoute()) > 0},
		{"redirect", h.GetRedirect() != nil},
		{"directResponse", h.GetDirectResponse() != nil},
		{"delegate", h.GetDelegate() != nil},
	} {
		if action.given || o.broken[path+"."+action.name] != "" {
			set = append(set, action.name)
		}
	}
	switch {
	case len(set) == 0:
		b.report(o, Missing, path+".route", "is missing; name at least one destination, or set redirect, directResponse or delegate")
	case len(set) > 1:
		b.report(o, Conflict, path+"."+set[1], "only one of %s may be set", strings.Join(set, " and "))
	case set[0] != "route" && set[0] != "delegate" && h.GetRewrite() != nil:
		b.report(o, Conflict, path+".rewrite", "has no meaning with %s, which sends nothing on", set[0])
	}
}
