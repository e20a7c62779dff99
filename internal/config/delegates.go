package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

func (b *builder) delegateKey(v *virtual, path string, d *networking.Delegate) string {
	o := v.object
	switch {
	case v.delegate():
		b.report(o, Invalid, path+".delegate", "a delegate cannot delegate; only one level is known")
		return ""
	case d.Name == "":
		b.report(o, Missing, path+".delegate.name", "is missing; name a VirtualService without hosts")
		return ""
	}
	return cmp.Or(d.Namespace, o.meta.Namespace) + "/" + d.Name
}

// withDelegates returns the routes of a VirtualService, with those of its delegates where it delegates to them.
func (b *builder) withDelegates(v *virtual) []plan {
	var list []plan
	for i := range v.plans {
		root := &v.plans[i]
		if root.delegate == "" {
			list = append(list, *root)
			continue
		}
		d := b.delegates[root.delegate]
		if d == nil {
			b.noDelegate(root)
			continue
		}
		d.used = true
		if !b.affordable(root, d) {
			continue
		}
		for j := range d.plans {
			p, ok := merge(root, &d.plans[j])
			if !ok {
				b.warn(d.plans[j].object, d.plans[j].path, "never takes effect: what it matches is not part of what %s at %s:%d delegates to it",
					root.object.id(), root.object.file, root.route.Origin.Line)
				continue
			}
			list = append(list, p)
		}
	}
	return list
}

// These bound the pairs of matches of a route that delegates and of its delegate: for one such route, and for all.
const (
	maxMerged    = 20_000
	maxMergedAll = 50_000
)

// affordable says whether a root and its delegate can be merged: every match of one meets every match of the other.
func (b *builder) affordable(root *plan, d *virtual) bool {
	pairs := 0
	for i := range d.plans {
		pairs += max(1, len(root.matches)) * max(1, len(d.plans[i].matches))
	}
	if pairs > maxMerged || b.pairs+pairs > maxMergedAll {
		b.report(root.object, Costly, root.path+".delegate", "%s makes %d pairs of matches; more than %d here, or %d in all, are not put together",
			d.object.id(), pairs, maxMerged, maxMergedAll)
		return false
	}
	b.pairs += pairs
	return true
}

func (b *builder) noDelegate(root *plan) {
	path := root.path + ".delegate.name"
	for _, v := range b.virtuals {
		if v.object.key() == root.delegate {
			b.report(root.object, Reference, path, "%s at %s has hosts of its own; a delegate has none", v.object.id(), v.object.where())
			return
		}
	}
	names := slices.Collect(maps.Keys(b.delegates))
	b.report(root.object, Reference, path, "there is no VirtualService %s%s", root.delegate, didYouMean(root.delegate, names))
}

// checkDelegates names delegates that nobody delegates to.
func (b *builder) checkDelegates() {
	for _, key := range slices.Sorted(maps.Keys(b.delegates)) {
		if d := b.delegates[key]; !d.used {
			b.warn(d.object, "spec.hosts", "is missing, and no VirtualService delegates to this one: nothing comes of it; name the hosts that the routes are for")
		}
	}
}

// merge puts a delegate's route in place of the one that delegates, as Istio does: it keeps what it says itself and
// takes the rest over; it is not ok when one of its matches lies outside all of the root's.
func merge(root, leaf *plan) (plan, bool) {
	p := *leaf
	var ok bool
	if p.matches, ok = mergeMatches(root.matches, leaf.matches); !ok {
		return plan{}, false
	}
	p.route.Name = joined(root.route.Name, leaf.route.Name)
	if p.route.Rewrite == nil && len(p.to) > 0 {
		p.route.Rewrite = root.route.Rewrite
	}
	p.route.Timeout = cmp.Or(p.route.Timeout, root.route.Timeout)
	if !leaf.object.has(leaf.path + ".headers") {
		p.route.Headers = root.route.Headers
	}
	return p, true
}

func joined(root, leaf string) string {
	return strings.Trim(root+"-"+leaf, "-")
}

// mergeMatches returns every pair of matches that go together, in the order of the delegate's.
func mergeMatches(roots, leaves []planMatch) ([]planMatch, bool) {
	if len(roots) == 0 {
		return leaves, true
	}
	if len(leaves) == 0 {
		return roots, true
	}
	var list []planMatch
	for i := range leaves {
		n := len(list)
		for j := range roots {
			if !conflicting(&roots[j], &leaves[i]) {
				list = append(list, mergeMatch(&roots[j], &leaves[i]))
			}
		}
		if len(list) == n {
			return nil, false
		}
	}
	return list, true
}

func mergeMatch(root, leaf *planMatch) planMatch {
	m := *leaf
	m.Name = joined(root.Name, leaf.Name)
	m.Path = cmp.Or(leaf.Path, root.Path)
	m.Scheme = cmp.Or(leaf.Scheme, root.Scheme)
	m.Method = cmp.Or(leaf.Method, root.Method)
	m.Authority = cmp.Or(leaf.Authority, root.Authority)
	m.Headers = mergeNamed(root.Headers, leaf.Headers)
	m.Without = mergeNamed(root.Without, leaf.Without)
	m.Query = mergeNamed(root.Query, leaf.Query)
	m.Port = cmp.Or(leaf.Port, root.Port)
	m.SourceLabels = union(leaf.SourceLabels, root.SourceLabels)
	if m.gateways == nil {
		m.gateways = root.gateways
	}
	return m
}

// mergeNamed is the delegate's conditions, with those of the root's whose names it does not have.
func mergeNamed(root, leaf []fleet.NamedMatch) []fleet.NamedMatch {
	list := slices.Clone(leaf)
	for _, m := range root {
		if !slices.ContainsFunc(leaf, func(own fleet.NamedMatch) bool { return own.Name == m.Name }) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(x, y fleet.NamedMatch) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// conflicting says whether what a delegate matches is not part of what the root does. As in Istio, regular
// expressions never go together, and neither do different cases.
func conflicting(root, leaf *planMatch) bool {
	return apart(root.Path, leaf.Path) || apart(root.Scheme, leaf.Scheme) ||
		apart(root.Method, leaf.Method) || apart(root.Authority, leaf.Authority) ||
		apartNamed(root.Headers, leaf.Headers) || apartNamed(root.Without, leaf.Without) || apartNamed(root.Query, leaf.Query) ||
		root.IgnoreCase != leaf.IgnoreCase ||
		root.Port != 0 && leaf.Port != 0 && root.Port != leaf.Port ||
		contradicts(root.SourceLabels, leaf.SourceLabels) ||
		root.gateways != nil && slices.ContainsFunc(leaf.gateways, func(key string) bool { return !slices.Contains(root.gateways, key) })
}

func contradicts(root, leaf map[string]string) bool {
	for name, value := range leaf {
		if other, ok := root[name]; ok && other != value {
			return true
		}
	}
	return false
}

func apartNamed(root, leaf []fleet.NamedMatch) bool {
	for _, m := range leaf {
		i := slices.IndexFunc(root, func(other fleet.NamedMatch) bool { return other.Name == m.Name })
		if i >= 0 && apart(root[i].Value, m.Value) {
			return true
		}
	}
	return false
}

func apart(root, leaf fleet.StringMatch) bool {
	none := fleet.StringMatch{}
	switch {
	case root == none || leaf == none:
		return false
	case root.Regex != "" || leaf.Regex != "":
		return true
	case root.Exact != "":
		return leaf.Exact != root.Exact
	default:
		return !strings.HasPrefix(leaf.Exact+leaf.Prefix, root.Prefix)
	}
}

// exported says whether what an object is about is there for those who call: exportTo can hide it from all
// namespaces. Hiding it from some only is not possible yet.
func (b *builder) exported(o *object, to []string) bool {
	const path = "spec.exportTo"
	visible := map[string]bool{}
	for i, name := range to {
		switch name {
		case ".":
			name = o.meta.Namespace
		case "*", "~":
			if len(to) > 1 {
				b.report(o, Conflict, fmt.Sprintf("%s[%d]", path, i), "%q stands alone or not at all", name)
				return true
			}
		}
		if name != "*" && name != "~" && !isLabel(name) {
			b.report(o, Invalid, fmt.Sprintf("%s[%d]", path, i), `%q is no namespace; write ".", "*", "~" or a name`, clip(name))
			return true
		}
		visible[name] = true
	}
	switch {
	case len(to) == 0 || visible["*"]:
		return true
	case visible["~"]:
		b.warn(o, path, `"~" shows this to no namespace: nothing comes of it`)
		return false
	}
	for _, namespace := range b.namespaces {
		if !visible[namespace] {
			b.report(o, Unsupported, path, "hiding this from namespace %s only is not supported yet: %s", namespace, noCallers)
			break
		}
	}
	return true
}
