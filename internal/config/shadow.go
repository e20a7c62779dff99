package config

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// maxCompared bounds how many pairs of matches of a VirtualService are held against each other: people do not write
// so many, and the time grows with the square.
const maxCompared = 1_000_000

// A shader finds matches that earlier ones enclose.
type shader struct {
	left    int                       // pairs that may still be compared
	regexes map[string]*regexp.Regexp // nil where one does not compile
}

// checkShadowed names the routes and matches of a VirtualService that no request reaches, since an earlier route
// takes all that they match.
func (b *builder) checkShadowed(v *virtual) {
	s := shader{left: maxCompared, regexes: map[string]*regexp.Regexp{}}
	for i := range v.plans {
		p := &v.plans[i]
		matches := matchesOf(p)
		by := map[int]*plan{}
		for j := range matches {
			if first := s.covering(v.plans[:i], &matches[j]); first != nil {
				by[j] = first
			}
		}
		if len(by) == len(matches) {
			b.shadowed(p.object, p.path, by[0])
			continue
		}
		for _, j := range slices.Sorted(maps.Keys(by)) {
			b.shadowed(p.object, p.path+".match["+strconv.Itoa(j)+"]", by[j])
		}
	}
}

func (b *builder) shadowed(o *object, path string, by *plan) {
	b.add(Warning, o, Shadowed, path, "is never reached: the route at %s:%d takes all of its requests; move this before it, or remove it",
		by.object.file, by.route.Origin.Line)
}

// matchesOf returns a route's matches; one that has none has one that matches everything.
func matchesOf(p *plan) []planMatch {
	if len(p.matches) == 0 {
		return []planMatch{{Match: fleet.Match{Origin: p.route.Origin}}}
	}
	return p.matches
}

func (s *shader) covering(earlier []plan, m *planMatch) *plan {
	for i := range earlier {
		if s.left <= 0 {
			break
		}
		if !earlier[i].acts() {
			continue
		}
		others := matchesOf(&earlier[i])
		for j := range others {
			s.left--
			if s.encloses(&others[j], m) {
				return &earlier[i]
			}
		}
	}
	return nil
}

// acts says whether a route does anything; that it does not has been named elsewhere.
func (p *plan) acts() bool {
	return len(p.to) > 0 || p.route.Redirect != nil || p.route.Respond != nil
}

// encloses says whether every request that b matches is certain to match a.
func (s *shader) encloses(a, b *planMatch) bool {
	inGateways := a.gateways == nil || b.gateways != nil && !slices.ContainsFunc(b.gateways, func(key string) bool {
		return !slices.Contains(a.gateways, key)
	})
	return inGateways && s.enclosesPath(&a.Match, &b.Match) &&
		s.implied(a.Scheme, b.Scheme) && s.implied(a.Method, b.Method) && s.implied(a.Authority, b.Authority) &&
		s.impliedNamed(a.Headers, b.Headers) && s.impliedNamed(a.Query, b.Query) && s.impliedWithout(a.Without, b.Without) &&
		(a.Port == 0 || a.Port == b.Port) && fleet.Carries(b.SourceLabels, a.SourceLabels)
}

func (s *shader) enclosesPath(a, b *fleet.Match) bool {
	if everyPath(a.Path) {
		return true
	}
	x, y := a.Path, b.Path
	switch {
	case a.IgnoreCase && x.Regex == "" && y.Regex == "":
		x.Exact, x.Prefix = strings.ToLower(x.Exact), strings.ToLower(x.Prefix)
		y.Exact, y.Prefix = strings.ToLower(y.Exact), strings.ToLower(y.Prefix)
	case b.IgnoreCase && y.Regex == "": // it takes spellings that a does not
		return false
	}
	return s.implied(x, y)
}

// everyPath says whether a condition holds for every path that a request can have; "*" of OPTIONS is not one.
func everyPath(m fleet.StringMatch) bool {
	return m == fleet.StringMatch{} || m.Prefix == "/" || m.Regex == ".*" || m.Regex == "/.*"
}

// implied says whether every string that b takes is one that a takes. It may say no where it cannot tell.
func (s *shader) implied(a, b fleet.StringMatch) bool {
	switch {
	case a == fleet.StringMatch{} || a == b || a.Regex == ".*":
		return true
	case b == fleet.StringMatch{}:
		return false
	case a.Exact != "":
		return a.Exact == b.Exact
	case a.Prefix != "":
		return strings.HasPrefix(b.Exact+b.Prefix, a.Prefix)
	case b.Exact != "":
		re := s.regex(a.Regex)
		return re != nil && re.MatchString(b.Exact)
	default:
		return false
	}
}

func (s *shader) impliedNamed(a, b []fleet.NamedMatch) bool {
	for _, m := range a {
		if !slices.ContainsFunc(b, func(o fleet.NamedMatch) bool { return o.Name == m.Name && s.implied(m.Value, o.Value) }) {
			return false
		}
	}
	return true
}

// impliedWithout is the other way round: what must not match in b has to enclose what must not in a.
func (s *shader) impliedWithout(a, b []fleet.NamedMatch) bool {
	for _, m := range a {
		if !slices.ContainsFunc(b, func(o fleet.NamedMatch) bool { return o.Name == m.Name && s.implied(o.Value, m.Value) }) {
			return false
		}
	}
	return true
}

func (s *shader) regex(expr string) *regexp.Regexp {
	re, known := s.regexes[expr]
	if !known {
		if compiled, err := route.CompileRegex(expr); err == nil { // otherwise it has been named
			re = compiled
		}
		s.regexes[expr] = re
	}
	return re
}
