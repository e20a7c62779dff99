package settings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// effects says in sentences what a data plane, an instance or a gateway will do otherwise. What stands elsewhere in its file
// and says the same is no effect.
func effects(before, after *fleet.Desired, people []workload) []string {
	var all []string
	all = append(all, listenerEffects(before.Listeners, after.Listeners)...)
	all = append(all, serviceEffects(before.Services, after.Services)...)
	all = append(all, lifecycleEffects(before, after, people)...)
	all = append(all, gatewayEffects(before.Groups, after.Groups)...)
	all = append(all, others("Deployment", before.Workloads, after.Workloads, func(w *fleet.Workload) string { return w.Namespace + "/" + w.Name })...)
	all = append(all, others("Instance", before.Instances, after.Instances, func(i *fleet.Instance) string { return i.Namespace + "/" + i.Name })...)
	if len(all) == 0 {
		all = []string{"Nothing that is in force changes."}
	}
	return all
}

// plainOf is a value as JSON has it, without the places in files that it came from.
func plainOf(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return err.Error()
	}
	return withoutOrigins(plain)
}

func withoutOrigins(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "origin")
		for _, below := range v {
			withoutOrigins(below)
		}
	case []any:
		for _, below := range v {
			withoutOrigins(below)
		}
	}
	return v
}

func same(a, b any) bool { return reflect.DeepEqual(plainOf(a), plainOf(b)) }

// pairs calls each with what is called the same in two lists, in the order of names; nil is what one of them lacks.
func pairs[T any](before, after []T, name func(*T) string, each func(name string, was, is *T)) {
	of := func(list []T) map[string]*T {
		all := map[string]*T{}
		for i := range list {
			all[name(&list[i])] = &list[i]
		}
		return all
	}
	old, now := of(before), of(after)
	names := slices.Collect(maps.Keys(old))
	for n := range now {
		if old[n] == nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		each(n, old[n], now[n])
	}
}

// others says what changes in what is not edited here, by the names of fields.
func others[T any](kind string, before, after []T, name func(*T) string) []string {
	var all []string
	pairs(before, after, name, func(name string, was, is *T) {
		switch {
		case was == nil:
			all = append(all, fmt.Sprintf("%s %s is new.", kind, name))
		case is == nil:
			all = append(all, fmt.Sprintf("%s %s goes.", kind, name))
		case !same(was, is):
			all = append(all, fmt.Sprintf("%s %s changes in %s.", kind, name, fieldsOf(was, is)))
		}
	})
	return all
}

// fieldsOf names the fields in which two values differ.
func fieldsOf(was, is any) string {
	a, _ := plainOf(was).(map[string]any)
	b, _ := plainOf(is).(map[string]any)
	var names []string
	for name := range a {
		if !reflect.DeepEqual(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, was := a[name]; !was {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.ReplaceAll(strings.Join(names, ", "), "_", " ")
}

// listenerEffects are about ports and the routes behind them.
func listenerEffects(before, after []fleet.Listener) []string {
	var all []string
	pairs(before, after, func(l *fleet.Listener) string { return l.Name }, func(name string, was, is *fleet.Listener) {
		switch {
		case was == nil:
			all = append(all, fmt.Sprintf("Gateways listen on %s, for %s.", is.Address, hostsText(is)))
		case is == nil:
			all = append(all, fmt.Sprintf("Gateways no longer listen on %s: what is open there is served to its end.", was.Address))
		default:
			all = append(all, routeEffects(was, is)...)
		}
	})
	return all
}

func hostsText(l *fleet.Listener) string {
	var names []string
	for i := range l.Hosts {
		names = append(names, l.Hosts[i].Domains...)
	}
	if len(names) == 0 {
		return "nobody yet: no VirtualService is bound to it"
	}
	return namesText(names)
}

// namesText lists host names, but for those that are others with a domain or a port behind them.
func namesText(names []string) string {
	var short []string
	names = slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, name := range names {
		if !slices.ContainsFunc(short, func(s string) bool { return strings.HasPrefix(name, s+".") || strings.HasPrefix(name, s+":") }) {
			short = append(short, name)
		}
	}
	return strings.Join(short, ", ")
}

// where says at which port a listener is, for people.
func where(l *fleet.Listener) string {
	if l.Mesh {
		return "between services"
	}
	return fmt.Sprintf("on port %d", l.Port)
}

func routeEffects(was, is *fleet.Listener) []string {
	var all []string
	domains := func(h *fleet.VirtualHost) string { return namesText(h.Domains) }
	pairs(was.Hosts, is.Hosts, domains, func(hosts string, old, now *fleet.VirtualHost) {
		switch {
		case old == nil:
			all = append(all, fmt.Sprintf("Requests for %s %s are routed: %s.", hosts, where(is), routesText(now.Routes)))
		case now == nil:
			all = append(all, fmt.Sprintf("Requests for %s %s have no route any more: they are answered 404.", hosts, where(is)))
		case same(old, now):
		case len(old.Routes) == len(now.Routes) && same(matchesOf(old.Routes), matchesOf(now.Routes)):
			all = append(all, changedRoutes(hosts, where(is), old, now)...)
		default:
			all = append(all, fmt.Sprintf("Requests for %s %s are routed otherwise: %s (before: %s).", hosts, where(is), routesText(now.Routes), routesText(old.Routes)))
		}
	})
	rest := *is
	rest.Hosts = was.Hosts
	if !same(was, &rest) {
		all = append(all, fmt.Sprintf("The listener at %s changes in %s.", is.Address, fieldsOf(was, &rest)))
	}
	return all
}

func matchesOf(routes []fleet.Route) [][]fleet.Match {
	all := make([][]fleet.Match, len(routes))
	for i := range routes {
		all[i] = routes[i].Matches
	}
	return all
}

// changedRoutes are about routes that take the same requests as before.
func changedRoutes(hosts, where string, old, now *fleet.VirtualHost) []string {
	var all []string
	for i := range now.Routes {
		was, is := &old.Routes[i], &now.Routes[i]
		if same(was, is) {
			continue
		}
		what := hosts
		if m := matchText(is); m != "" {
			what += " with " + m
		}
		if then, before := goesTo(is), goesTo(was); then != before {
			all = append(all, fmt.Sprintf("Requests for %s %s go to %s (before: %s).", what, where, then, before))
		}
		rest := *is
		rest.Destinations, rest.Redirect, rest.Respond = was.Destinations, was.Redirect, was.Respond
		if !same(was, &rest) {
			all = append(all, fmt.Sprintf("The route of requests for %s %s changes in %s.", what, where, fieldsOf(was, &rest)))
		} else if goesTo(is) == goesTo(was) {
			all = append(all, fmt.Sprintf("The route of requests for %s %s changes in %s.", what, where, fieldsOf(was, is)))
		}
	}
	if old.HTTPS != now.HTTPS {
		all = append(all, fmt.Sprintf("Requests for %s %s in plaintext: redirected to https: %t (before: %t).", hosts, where, now.HTTPS, old.HTTPS))
	}
	return all
}

func routesText(routes []fleet.Route) string {
	const most = 3
	var parts []string
	for i := range routes {
		if i == most {
			return strings.Join(append(parts, fmt.Sprintf("and %d more", len(routes)-most)), "; ")
		}
		part := goesTo(&routes[i])
		if m := matchText(&routes[i]); m != "" {
			part = m + " to " + part
		} else {
			part = "to " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// matchText says in short what a route takes; "" is everything.
func matchText(r *fleet.Route) string {
	if len(r.Matches) == 0 {
		return ""
	}
	m := &r.Matches[0]
	var text string
	switch {
	case m.Path.Exact != "":
		text = "path " + m.Path.Exact
	case m.Path.Prefix != "":
		text = "path " + m.Path.Prefix + "…"
	case m.Path.Regex != "":
		text = "path ~ " + m.Path.Regex
	case len(m.Headers) > 0:
		text = "header " + m.Headers[0].Name
	default:
		text = "conditions"
	}
	if len(r.Matches) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(r.Matches)-1)
	}
	return text
}

// goesTo says where a route sends requests.
func goesTo(r *fleet.Route) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("a redirect (%d)", r.Redirect.Code)
	case r.Respond != nil:
		return fmt.Sprintf("an answer (%d) at once", r.Respond.Status)
	}
	total := uint64(0)
	for _, d := range r.Destinations {
		total += uint64(d.Weight)
	}
	var parts []string
	for _, d := range r.Destinations {
		part := d.Service
		if d.Subset != "" {
			part += " " + d.Subset
		}
		if len(r.Destinations) > 1 && total > 0 {
			part += " " + number(float64(d.Weight)*100/float64(total)) + " %"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
