package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// What warm-up does where a DestinationRule does not say.
const (
	defaultMinimum    = 0.10
	defaultAggression = 1.0
)

func defaultPolicy() fleet.Policy { return fleet.Policy{Algorithm: fleet.LeastRequest} }

// A hostRule is a DestinationRule, read.
type hostRule struct {
	object  *object
	host    string // fully qualified, or a wildcard
	policy  fleet.Policy
	subsets []fleet.Pool
}

func (r *hostRule) subset(name string) *fleet.Pool {
	for i := range r.subsets {
		if r.subsets[i].Subset == name {
			return &r.subsets[i]
		}
	}
	return nil
}

func (r *hostRule) names() []string {
	var names []string
	for i := range r.subsets {
		names = append(names, r.subsets[i].Subset)
	}
	return names
}

// addRule takes in a DestinationRule.
func (b *builder) addRule(o *object, r *networking.DestinationRule) {
	if r.Host == "" {
		b.report(o, Missing, "spec.host", "is missing; name the service that the rule is for")
		return
	}
	if !isHost(r.Host) {
		b.report(o, Invalid, "spec.host", "%q is no host name", clip(r.Host))
		return
	}
	top := r.GetTrafficPolicy().GetLoadBalancer()
	budget := b.shiftBudget(o)
	rule := &hostRule{object: o, host: fqdn(r.Host, o.meta.Namespace)}
	rule.policy = b.policy(o, "spec.trafficPolicy.loadBalancer", top)
	rule.policy.ShiftBudget = budget
	for i, s := range r.Subsets {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		switch {
		case s.GetName() == "":
			b.report(o, Missing, path+".name", "is missing; give the subset a name")
			continue
		case !isLabel(s.Name):
			b.report(o, Invalid, path+".name", `%q is no name for a subset: lower-case letters, digits and "-" only`, clip(s.Name))
		case rule.subset(s.Name) != nil:
			b.report(o, Conflict, path+".name", "subset %q is there already; rename or remove one", s.Name)
			continue
		}
		pool := fleet.Pool{Subset: s.Name, Labels: s.Labels, Policy: rule.policy, Origin: o.origin(path)}
		if own := s.GetTrafficPolicy().GetLoadBalancer(); own != nil {
			// As in Istio, a loadBalancer replaces the rule's whole: nothing of the latter shines through.
			pool.Policy = b.policy(o, path+".trafficPolicy.loadBalancer", own)
			pool.Policy.ShiftBudget = budget
		}
		rule.subsets = append(rule.subsets, pool)
	}
	b.rules = append(b.rules, rule)
}

// shiftBudget reads the annotation crossfade.dev/shift-budget; 0 means that there is none.
func (b *builder) shiftBudget(o *object) float64 {
	text, ok := o.meta.Annotations[shiftBudget]
	if !ok {
		return 0
	}
	budget, err := strconv.ParseFloat(text, 64)
	if err != nil || !(budget >= 1) || math.IsInf(budget, 0) {
		b.report(o, Invalid, "metadata.annotations["+shiftBudget+"]",
			"%q must be a number of 1 or more: how many times their traffic warm endpoints may carry", clip(text))
		return 0
	}
	return budget
}

// policy reads a loadBalancer; nil is the default.
func (b *builder) policy(o *object, path string, lb *networking.LoadBalancerSettings) fleet.Policy {
	p := defaultPolicy()
	if lb == nil {
		return p
	}
	warms := lb.Warmup != nil || lb.WarmupDurationSecs != nil //nolint:staticcheck // the older field is still Istio's
	simple := lb.GetSimple()
	if simple == networking.LoadBalancerSettings_ROUND_ROBIN {
		p.Algorithm = fleet.RoundRobin
	}
	// What the reader refused does not arrive here, but the document shows that it was meant.
	for _, other := range []string{"consistentHash", "simple"} {
		if field := path + "." + other; warms && o.broken[field] == Unsupported {
			b.addOver(o, Conflict, path+".warmup", "there is no warm-up with this balancer; use ROUND_ROBIN or LEAST_REQUEST")
		}
	}
	p.Warmup = b.warmup(o, path, lb)
	return p
}

// addOver reports a fault that comes on top of one in the same place.
func (b *builder) addOver(o *object, rule Rule, path, format string, args ...any) {
	at := o.at(path)
	b.findings = append(b.findings, Finding{
		File: o.file, Line: at.line, Column: at.column, Rule: rule,
		Object: o.id(), Field: path, Message: fmt.Sprintf(format, args...),
	})
}

// warmup reads warmup, or the older warmupDurationSecs; the zero value is off.
func (b *builder) warmup(o *object, path string, lb *networking.LoadBalancerSettings) fleet.Warmup {
	older := lb.WarmupDurationSecs //nolint:staticcheck // still Istio's, and in use
	if older != nil && lb.Warmup != nil {
		b.report(o, Conflict, path+".warmupDurationSecs", "only one of warmup and the older warmupDurationSecs may be set; keep warmup")
	}
	w := fleet.Warmup{Minimum: defaultMinimum, Aggression: defaultAggression}
	field := path + ".warmupDurationSecs"
	switch {
	case lb.Warmup != nil:
		field = path + ".warmup.duration"
		if lb.Warmup.Duration == nil {
			b.report(o, Missing, field, `is missing; say how long a new endpoint warms up, as in "120s"`)
			return fleet.Warmup{}
		}
		w.Window = lb.Warmup.Duration.AsDuration()
		b.curve(o, path+".warmup", lb.Warmup, &w)
	case older != nil:
		w.Window = older.AsDuration()
	default:
		return fleet.Warmup{}
	}
	if w.Window < time.Millisecond {
		b.report(o, Invalid, field, "%s is too short; it must be 1ms or more, or be left out for no warm-up", w.Window)
	}
	return w
}

// curve reads where a warm-up starts and how it bends.
func (b *builder) curve(o *object, path string, from *networking.WarmupConfiguration, w *fleet.Warmup) {
	if m := from.MinimumPercent; m != nil {
		w.Minimum = m.Value / 100
		if !(m.Value >= 0 && m.Value <= 100) {
			b.report(o, Invalid, path+".minimumPercent", "%g is no percentage; it must be between 0 and 100", m.Value)
		}
	}
	if a := from.Aggression; a != nil {
		w.Aggression = a.Value
		if !(a.Value > 0) {
			b.report(o, Invalid, path+".aggression", "%g must be above 0; 1 is a straight line", a.Value)
		}
	}
}

// applyRules gives every service the policy and the subsets of its DestinationRule: the one for exactly its
// name, else the one with the longest wildcard.
func (b *builder) applyRules() {
	slices.SortStableFunc(b.rules, func(x, y *hostRule) int {
		return cmp.Or(cmp.Compare(len(y.host), len(x.host)), cmp.Compare(x.host, y.host))
	})
	for i, r := range b.rules[:max(0, len(b.rules)-1)] {
		if next := b.rules[i+1]; next.host == r.host {
			b.report(next.object, Conflict, "spec.host", "%s at %s is for %s already; put both into one",
				r.object.id(), r.object.where(), r.host)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.hosts)) {
		h := b.hosts[name]
		exact := slices.IndexFunc(b.rules, func(r *hostRule) bool { return r.host == name })
		if exact < 0 {
			exact = slices.IndexFunc(b.rules, func(r *hostRule) bool { return covers(r.host, name) })
		}
		if exact >= 0 {
			h.apply(b.rules[exact])
		}
	}
	for _, r := range b.rules {
		if b.anyCovered(r.host) {
			continue
		}
		b.report(r.object, Reference, "spec.host", "%s", b.noService(r.host, r.object.meta.Namespace))
	}
}

func (b *builder) anyCovered(pattern string) bool {
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
		s.Pools = []fleet.Pool{{Policy: r.policy, Origin: r.object.origin("")}}
		for _, pool := range r.subsets {
			pool.Labels = maps.Clone(pool.Labels)
			s.Pools = append(s.Pools, pool)
		}
	}
}
