package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/curve"
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
	host    string            // fully qualified, or a wildcard
	labels  map[string]string // of the data planes that it is for; nil is all
	budget  float64           // as fleet.Policy's ShiftBudget, in all of its pools
	bound   float64           // as fleet.Hash's Bound, in all of its pools that have one
	reports bool              // as fleet.Policy's LoadReports, in all of its pools
	policy  portPolicy
	subsets []subset
	goals   []goal // of the requests that are distributed over places

	refusals []refusal // of HTTP/2
}

// A subset is one of a DestinationRule's.
type subset struct {
	name   string
	path   string
	labels map[string]string
	policy portPolicy
}

// A portPolicy is a trafficPolicy, read.
type portPolicy struct {
	all   settings
	ports map[uint32]settings // that replace all on single ports
	paths map[uint32]string   // of their numbers, in the document
}

// Settings are a trafficPolicy's for all ports, or for one. What is nil says nothing.
type settings struct {
	balancer *fleet.Policy // but for Panic
	panic    *float64      // as fleet.Policy's
	tls      *spoken       // how endpoints are spoken to
	bounded  *bounded      // how many connections and requests there may be
	http     *fleet.HTTP   // in which version of HTTP; HTTP1 leaves it to the port
}

// Spoken is fleet.Policy's TLS, where nil says something.
type spoken struct{ tls *fleet.ClientTLS }

// over returns what holds where s stands above p.
func (s settings) over(p fleet.Policy) fleet.Policy {
	if s.balancer != nil {
		below := p
		p = *s.balancer
		p.Panic, p.TLS, p.HTTP, p.Connections = below.Panic, below.TLS, below.HTTP, below.Connections
	}
	if s.panic != nil {
		p.Panic = *s.panic
	}
	if s.tls != nil {
		p.TLS = s.tls.tls
	}
	if s.http != nil {
		p.HTTP = *s.http
	}
	if s.bounded != nil {
		p.Connections = s.bounded.to
	}
	return p
}

// over returns what holds on a port where p stands above what holds without it.
func (p *portPolicy) over(port uint32, without fleet.Policy) fleet.Policy {
	if own, ok := p.ports[port]; ok {
		return own.over(defaultPolicy())
	}
	return p.all.over(without)
}

func (r *hostRule) subset(name string) *subset {
	for i := range r.subsets {
		if r.subsets[i].name == name {
			return &r.subsets[i]
		}
	}
	return nil
}

func (r *hostRule) names() []string {
	var names []string
	for i := range r.subsets {
		names = append(names, r.subsets[i].name)
	}
	return names
}

// addRule takes in a DestinationRule.
func (b *builder) addRule(o *object, r *networking.DestinationRule) {
	switch {
	case r.Host == "":
		b.report(o, Missing, "spec.host", "is missing; name the service that the rule is for")
	case !isHost(r.Host):
		b.report(o, Invalid, "spec.host", "%q is no host name", clip(r.Host))
	}
	exported := b.exported(o, r.ExportTo)
	rule := &hostRule{object: o, host: fqdn(r.Host, o.meta.Namespace), labels: r.GetWorkloadSelector().GetMatchLabels()}
	b.checkWorkloads(o, rule.labels)
	rule.budget = b.budget(o)
	rule.bound = b.hashBound(o)
	rule.reports = b.loadReports(o)
	rule.policy = b.trafficPolicy(rule, "spec.trafficPolicy", r.TrafficPolicy)
	for i, s := range r.Subsets {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		own := subset{name: s.GetName(), path: path, labels: s.GetLabels()}
		own.policy = b.trafficPolicy(rule, path+".trafficPolicy", s.GetTrafficPolicy()) // also where the name is wrong: what can be read is checked
		if b.checkSubsetName(rule, &own) {
			rule.subsets = append(rule.subsets, own)
		}
	}
	if exported && isHost(r.Host) {
		b.rules = append(b.rules, rule)
	}
}

// checkSubsetName says whether routes can name a subset of a rule.
func (b *builder) checkSubsetName(rule *hostRule, s *subset) bool {
	at := s.path + ".name"
	switch {
	case s.name == "":
		b.report(rule.object, Missing, at, "is missing; give the subset a name")
		return false
	case !isLabel(s.name):
		b.report(rule.object, Invalid, at, `%q is no name for a subset: lower-case letters, digits and "-" only`, clip(s.name))
	case rule.subset(s.name) != nil:
		b.report(rule.object, Conflict, at, "subset %q is there already; rename or remove one", s.name)
		return false
	}
	return true
}

// checkWorkloads makes sure that a rule for some callers is for this data plane: it sends for all of them.
func (b *builder) checkWorkloads(o *object, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		field := "spec.workloadSelector.matchLabels[" + name + "]"
		switch {
		case name == "" || strings.Contains(name+labels[name], "*"):
			b.report(o, Invalid, field, "a wildcard or an empty name cannot select; write the label out")
		case b.options.Labels[name] != labels[name]:
			b.report(o, Unsupported, field, "rules for some callers only are not supported yet; what sends for all of them here carries %s, and what --label adds",
				labelText(b.options.Labels))
		}
	}
}

// trafficPolicy reads a trafficPolicy; nil says nothing.
func (b *builder) trafficPolicy(rule *hostRule, path string, t *networking.TrafficPolicy) portPolicy {
	o := rule.object
	out := portPolicy{all: b.settings(rule, path, t)}
	for i, s := range t.GetPortLevelSettings() {
		at := fmt.Sprintf("%s.portLevelSettings[%d]", path, i)
		own := b.settings(rule, at, s)
		if s.GetPort() == nil {
			b.report(o, Missing, at+".port", "is missing; say which port of the service the settings are for")
			continue
		}
		port := s.Port.Number
		if !b.checkPort(o, at+".port.number", int64(port)) {
			continue
		}
		if _, twice := out.ports[port]; twice {
			b.report(o, Conflict, at+".port.number", "there are settings for port %d already; put both into one", port)
			continue
		}
		if out.ports == nil {
			out.ports, out.paths = map[uint32]settings{}, map[uint32]string{}
		}
		out.ports[port], out.paths[port] = own, at+".port.number"
	}
	return out
}

// A traffic is a trafficPolicy, or one of its portLevelSettings.
type traffic interface {
	GetLoadBalancer() *networking.LoadBalancerSettings
	GetConnectionPool() *networking.ConnectionPoolSettings
	GetOutlierDetection() *networking.OutlierDetection
	GetTls() *networking.ClientTLSSettings
}

// settings reads what a trafficPolicy sets.
func (b *builder) settings(rule *hostRule, path string, t traffic) settings {
	var out settings
	if lb := t.GetLoadBalancer(); lb != nil {
		p := b.balancer(rule, path+".loadBalancer", lb)
		out.balancer = &p
	}
	if d := t.GetOutlierDetection(); d != nil {
		part := float64(d.MinHealthPercent) / 100
		out.panic = &part
	}
	if secured := t.GetTls(); secured != nil {
		out.tls = &spoken{b.clientTLS(rule.object, path+".tls", secured)}
	}
	if pool := t.GetConnectionPool(); pool != nil {
		rule.refuse(path, t)
		version := b.version(rule.object, path+".connectionPool.http", pool.GetHttp())
		out.http = &version
		out.bounded = &bounded{b.connections(rule.object, path+".connectionPool", pool)}
	}
	b.checkPolicy(rule.object, path, t.GetOutlierDetection())
	return out
}

// budget reads the annotation crossfade.dev/shift-budget; 0 means that there is none.
func (b *builder) budget(o *object) float64 {
	budget := b.factor(o, shiftBudget, "how many times their traffic warm endpoints may carry")
	if budget > 0 && !o.hasBelow("loadBalancer.warmup.duration") && !o.hasBelow("loadBalancer.warmupDurationSecs") {
		b.report(o, Conflict, "metadata.annotations["+shiftBudget+"]", "there is no warm-up in this rule that it could bound; add one, or remove the annotation")
	}
	return budget
}

// loadReports reads the annotation crossfade.dev/load-reports.
func (b *builder) loadReports(o *object) bool {
	text, ok := o.meta.Annotations[loadReports]
	if ok && text != "pass" && text != "strip" {
		b.report(o, Invalid, "metadata.annotations["+loadReports+"]", "%q must be pass, for clients that balance by load reports themselves, or strip, which is the default", clip(text))
	}
	return text == "pass"
}

// factor reads an annotation that holds a number of 1 or more; 0 means that there is none.
func (b *builder) factor(o *object, annotation, meaning string) float64 {
	text, ok := o.meta.Annotations[annotation]
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 1) || math.IsInf(f, 0) {
		b.report(o, Invalid, "metadata.annotations["+annotation+"]", "%q must be a number of 1 or more: %s", clip(text), meaning)
		return 0
	}
	return f
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
		}
		w.Window = lasting(lb.Warmup.Duration)
		if !b.curve(o, path+".warmup", lb.Warmup, &w) || w.Window == 0 {
			return w
		}
	case older != nil:
		w.Window = older.AsDuration()
	default:
		return fleet.Warmup{}
	}
	if w.Window < time.Millisecond {
		b.report(o, Invalid, field, "%s is too short; it must be 1ms or more, or be left out for no warm-up", w.Window)
	}
	if first := w.Window.Seconds() * meanShare(w); first < 1 {
		b.add(Warning, o, Doubtful, field, "an endpoint that gets one request a second once it is warm would get %.2g in all of a window of %s; "+
			"it would be warm before its first", first, w.Window)
	}
	return w
}

// meanShare is the mean of a warm-up's share over its window, ∫₀¹ max(m, x^(1/a)) dx: how many of the requests
// of a warm endpoint come while it warms up. How many those are is not known here; the rule above takes one a second.
func meanShare(w fleet.Warmup) float64 {
	// The curve leaves the minimum at x = m^a; behind it ∫ x^(1/a) dx = a/(a+1) · x^((a+1)/a).
	at := math.Pow(w.Minimum, w.Aggression)
	grown := w.Aggression / (w.Aggression + 1)
	return w.Minimum*at + grown*(1-at*w.Minimum)
}

// curve reads where a warm-up starts and how it bends, and says whether it found no fault.
func (b *builder) curve(o *object, path string, from *networking.WarmupConfiguration, w *fleet.Warmup) bool {
	known := len(b.findings)
	if m := from.MinimumPercent; m != nil {
		w.Minimum = m.Value / 100
		if !(m.Value >= 0 && m.Value <= 100) {
			b.report(o, Invalid, path+".minimumPercent", "%g is no percentage; it must be between 0 and 100", m.Value)
		}
	}
	if a := from.Aggression; a != nil {
		w.Aggression = a.Value
		switch {
		case !(a.Value > 0):
			b.report(o, Invalid, path+".aggression", "%g must be above 0; 1 is a straight line", a.Value)
		case a.Value < curve.Flattest || a.Value > curve.Steepest:
			b.report(o, Invalid, path+".aggression", "%g must be between %g and %g: beyond these a curve is a step", a.Value, curve.Flattest, float64(curve.Steepest))
		}
	}
	return len(b.findings) == known
}
