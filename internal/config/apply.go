package config

import (
	"cmp"
	"maps"
	"slices"

	"crossfade.dev/internal/fleet"
)

// applyRules gives every service the policy and the subsets of its DestinationRule: the one for exactly its
// name, else the one with the longest wildcard; of two for one host the one with a workloadSelector.
func (b *builder) applyRules() {
	slices.SortStableFunc(b.rules, func(x, y *hostRule) int {
		return cmp.Or(cmp.Compare(len(y.host), len(x.host)), cmp.Compare(x.host, y.host), cmp.Compare(len(y.labels), len(x.labels)))
	})
	for i, r := range b.rules[:max(0, len(b.rules)-1)] {
		if next := b.rules[i+1]; next.host == r.host && (len(next.labels) == 0) == (len(r.labels) == 0) {
			b.report(next.object, Conflict, "spec.host", "%s at %s is for %s already; put both into one",
				r.object.id(), r.object.where(), r.host)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.hosts)) {
		exact := slices.IndexFunc(b.rules, func(r *hostRule) bool { return r.host == name })
		if exact < 0 {
			exact = slices.IndexFunc(b.rules, func(r *hostRule) bool { return covers(r.host, name) })
		}
		if exact >= 0 {
			b.hosts[name].apply(b.rules[exact])
			b.checkReach(b.hosts[name])
		}
	}
	for _, r := range b.rules {
		if !b.anyCovered(r.host) {
			b.report(r.object, Reference, "spec.host", "%s", b.noService(r.host, r.object.meta.Namespace))
			continue
		}
		b.checkPorts(r, r.policy.paths)
		for i := range r.subsets {
			b.checkPorts(r, r.subsets[i].policy.paths)
		}
	}
}

// checkPorts names settings for a port that none of a rule's services has.
func (b *builder) checkPorts(r *hostRule, paths map[uint32]string) {
	for _, port := range slices.Sorted(maps.Keys(paths)) {
		known, found := "", false
		for name, h := range b.hosts {
			if covers(r.host, name) {
				known, found = h.ports(), found || h.service(port) != nil
			}
		}
		if !found {
			b.report(r.object, Reference, paths[port], "%s has no port %d; it has %s", plainHost(r.host, r.object.meta.Namespace), port, known)
		}
	}
}

func (b *builder) anyCovered(pattern string) bool {
	if b.hosts[pattern] != nil {
		return true
	}
	for name := range b.hosts {
		if covers(pattern, name) {
			return true
		}
	}
	return false
}

func (h *host) apply(r *hostRule) {
	h.rule = r
	for i := range h.services {
		s := &h.services[i]
		whole := r.policy.over(s.Port, defaultPolicy())
		whole.ShiftBudget, whole.LoadReports = r.budget, r.reports
		whole.TLS = named(whole.TLS, s.Host)
		whole.HTTP = cmp.Or(whole.HTTP, versionOf(s))
		s.Pools = []fleet.Pool{{Policy: whole, Origin: r.object.origin("")}}
		for j := range r.subsets {
			sub := &r.subsets[j]
			policy := sub.policy.over(s.Port, whole)
			policy.ShiftBudget, policy.LoadReports = r.budget, r.reports
			policy.TLS = named(policy.TLS, s.Host)
			policy.HTTP = cmp.Or(policy.HTTP, versionOf(s))
			s.Pools = append(s.Pools, fleet.Pool{
				Subset: sub.name, Labels: maps.Clone(sub.labels), Policy: policy, Origin: r.object.origin(sub.path),
			})
		}
	}
}
