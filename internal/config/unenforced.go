package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	networking "istio.io/api/networking/v1alpha3"
)

// What stands here is read and checked, and nothing comes of it yet: what is accepted today under --strict=false must
// not turn out to be wrong on the day that it is enforced.

// unenforced names a field that is read and checked, and that nothing comes of yet.
func (c *checker) unenforced(key *yaml.Node, path string, d *Decision, advice string) {
	c.read[path] = true
	advice = "; " + advice + ", or accept that with --strict=false"
	if c.lenient {
		advice = ""
	}
	c.report(placeOf(key), NotEnforced, path, "not enforced yet: %s%s", d.Note, advice)
	if c.lenient {
		c.findings[len(c.findings)-1].Severity = Warning
	}
}

// inPart names single fields of an object that are not enforced, where others are applied by decisions of their own or
// are misspelt: who mends that keeps the object. It says whether there are such others.
func (c *checker) inPart(n *yaml.Node, s *shape, at spot, d *Decision) bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode || s.is != objectShape {
		return false
	}
	var idle []*yaml.Node
	var kept []string
	misspelt := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		f := s.field(key.Value)
		switch {
		case key.ShortTag() == "!!merge":
			return false
		case f == nil:
			misspelt = true
		case c.rules.applied(at.child(f.name).pattern):
			kept = append(kept, f.name)
		default:
			idle = append(idle, key)
		}
	}
	if len(kept) == 0 && !misspelt {
		return false
	}
	advice := "remove it"
	if len(kept) > 0 {
		advice += ", " + strings.Join(kept, " and ") + " may stay"
	}
	for _, key := range idle {
		c.unenforced(key, at.child(s.field(key.Value).name).path, d, advice)
	}
	return true
}

func (b *builder) checkUnenforced(o *object, path string, h *networking.HTTPRoute) {
	b.checkRetries(o, path+".retries", h.GetRetries())
	b.checkFault(o, path+".fault", h.GetFault())
	b.checkMirrors(o, path, h)
	b.checkCors(o, path+".corsPolicy", h.GetCorsPolicy())
}

func (b *builder) checkRetries(o *object, path string, r *networking.HTTPRetry) {
	if r == nil {
		return
	}
	b.notNegative(o, path+".attempts", int64(r.Attempts))
	if r.Attempts == 0 && (r.PerTryTimeout != nil || r.RetryOn != "") {
		b.report(o, Conflict, path+".attempts", "0 attempts leave nothing to say about them; raise it, or remove the rest")
	}
	for word := range strings.SplitSeq(r.RetryOn, ",") {
		if word = strings.TrimSpace(word); word == "" && r.RetryOn != "" {
			b.report(o, Invalid, path+".retryOn", "%q has an empty entry", clip(r.RetryOn))
		}
	}
}

func (b *builder) checkFault(o *object, path string, f *networking.HTTPFaultInjection) {
	if f == nil {
		return
	}
	if f.Delay == nil && f.Abort == nil {
		b.report(o, Missing, path, "does nothing; set delay or abort")
	}
	if d := f.Delay; d != nil {
		b.percent(o, path+".delay.percentage.value", d.GetPercentage().GetValue())
		b.percent(o, path+".delay.percent", float64(d.GetPercent())) //nolint:staticcheck // still read by Istio
		if d.HttpDelayType == nil {
			b.report(o, Missing, path+".delay.fixedDelay", `is missing; say how long, as in "5s"`)
		}
	}
	if a := f.Abort; a != nil {
		b.percent(o, path+".abort.percentage.value", a.GetPercentage().GetValue())
		switch kind := a.ErrorType.(type) {
		case nil:
			b.report(o, Missing, path+".abort.httpStatus", "is missing; say what to answer with, as in 503")
		case *networking.HTTPFaultInjection_Abort_HttpStatus:
			if kind.HttpStatus < 200 || kind.HttpStatus > 599 {
				b.report(o, Invalid, path+".abort.httpStatus", "%d is no status to answer with; it must be between 200 and 599", kind.HttpStatus)
			}
		}
	}
}

func (b *builder) percent(o *object, path string, p float64) {
	if !(p >= 0 && p <= 100) {
		b.report(o, Invalid, path, "%g is no percentage; it must be between 0 and 100", p)
	}
}

func (b *builder) checkMirrors(o *object, path string, h *networking.HTTPRoute) {
	if h.GetMirror() != nil && len(h.Mirrors) > 0 {
		b.report(o, Conflict, path+".mirrors", "only one of mirror and mirrors may be set")
	}
	if m := h.GetMirror(); m != nil && m.Host == "" {
		b.report(o, Missing, path+".mirror.host", "is missing; name a service")
	}
	b.percent(o, path+".mirrorPercentage.value", h.GetMirrorPercentage().GetValue())
	b.percent(o, path+".mirrorPercent", float64(h.GetMirrorPercent().GetValue())) //nolint:staticcheck // still read by Istio
	for i, m := range h.GetMirrors() {
		at := fmt.Sprintf("%s.mirrors[%d]", path, i)
		if m.GetDestination().GetHost() == "" {
			b.report(o, Missing, at+".destination.host", "is missing; name a service")
		}
		b.percent(o, at+".percentage.value", m.GetPercentage().GetValue())
	}
}

func (b *builder) checkCors(o *object, path string, c *networking.CorsPolicy) {
	for i, m := range c.GetAllowOrigins() {
		if at := fmt.Sprintf("%s.allowOrigins[%d]", path, i); m.GetMatchType() == nil {
			b.report(o, Missing, at, "is empty; set exact, prefix or regex")
		} else {
			b.compare(o, at, m)
		}
	}
	for i, method := range c.GetAllowMethods() {
		if method != "*" && !isToken(strings.ToLower(method)) {
			b.report(o, Invalid, fmt.Sprintf("%s.allowMethods[%d]", path, i), "%q is no method", clip(method))
		}
	}
}

// checkPolicy checks the parts of a trafficPolicy that nothing comes of yet.
func (b *builder) checkPolicy(o *object, path string, d *networking.OutlierDetection) {
	b.percent(o, path+".outlierDetection.maxEjectionPercent", float64(d.GetMaxEjectionPercent()))
	b.percent(o, path+".outlierDetection.minHealthPercent", float64(d.GetMinHealthPercent()))
}
