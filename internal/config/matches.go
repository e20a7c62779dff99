package config

import (
	"fmt"
	"maps"
	"math"
	"regexp/syntax"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// maxProgram bounds a regular expression by the instructions of its program: matching costs at most about that
// many steps for every byte.
const maxProgram = 1000

// match reads a match.
func (b *builder) match(o *object, path string, m *networking.HTTPMatchRequest) planMatch {
	out := planMatch{Match: fleet.Match{
		Name:         m.GetName(),
		Path:         b.stringMatch(o, path+".uri", m.GetUri()),
		IgnoreCase:   m.GetIgnoreUriCase(),
		Scheme:       b.stringMatch(o, path+".scheme", m.GetScheme()),
		Method:       b.stringMatch(o, path+".method", m.GetMethod()),
		Authority:    b.stringMatch(o, path+".authority", m.GetAuthority()),
		Headers:      b.headerMatches(o, path+".headers", m.GetHeaders()),
		Without:      b.headerMatches(o, path+".withoutHeaders", m.GetWithoutHeaders()),
		Query:        b.queryMatches(o, path+".queryParams", m.GetQueryParams()),
		Port:         m.GetPort(),
		SourceLabels: m.GetSourceLabels(),
		Origin:       o.origin(path),
	}}
	for _, name := range m.GetGateways() {
		out.gateways = append(out.gateways, gatewayKey(name, o.meta.Namespace))
	}
	if out.Port > math.MaxUint16 {
		b.report(o, Invalid, path+".port", "%d is no port; it must be between 1 and 65535", out.Port)
	}
	p := out.Path
	if first := p.Exact + p.Prefix; first != "" && first[0] != '/' && first != "*" {
		b.warn(o, path+".uri."+kindOf(p), "%q matches nothing: a path begins with \"/\"", clip(first))
	}
	if verb := out.Method.Exact; verb != strings.ToUpper(verb) {
		b.warn(o, path+".method.exact", "%q matches nothing that browsers and libraries send; methods are in upper case", clip(verb))
	}
	return out
}

// kindOf is the field of a StringMatch that is set.
func kindOf(m fleet.StringMatch) string {
	switch {
	case m.Exact != "":
		return "exact"
	case m.Prefix != "":
		return "prefix"
	default:
		return "regex"
	}
}

// stringMatch reads how a string that every request has is compared; nil matches everything.
func (b *builder) stringMatch(o *object, path string, m *networking.StringMatch) fleet.StringMatch {
	out, field := b.compare(o, path, m)
	switch {
	case m == nil:
	case field == "":
		b.report(o, Missing, path, "is empty; set exact, prefix or regex, or remove it")
	case out == fleet.StringMatch{}:
		b.report(o, Invalid, path+"."+field, "is empty; remove the match to match everything")
	}
	return out
}

// compare reads a StringMatch and says which of its fields is set, "" if none is.
func (b *builder) compare(o *object, path string, m *networking.StringMatch) (out fleet.StringMatch, field string) {
	switch by := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return fleet.StringMatch{Exact: by.Exact}, "exact"
	case *networking.StringMatch_Prefix:
		return fleet.StringMatch{Prefix: by.Prefix}, "prefix"
	case *networking.StringMatch_Regex:
		b.checkRegex(o, path+".regex", by.Regex)
		return fleet.StringMatch{Regex: by.Regex}, "regex"
	default:
		return fleet.StringMatch{}, ""
	}
}

// checkRegex makes sure that a regular expression compiles, and that no request pays too much for it.
func (b *builder) checkRegex(o *object, path, expr string) {
	fault, known := b.regexes[expr]
	if !known {
		fault = regexFault(expr)
		b.regexes[expr] = fault
	}
	if fault.rule != "" {
		b.report(o, fault.rule, path, "%s", fault.message)
	}
}

// A fault is what is wrong with a regular expression; the zero value is nothing.
type fault struct {
	rule    Rule
	message string
}

func regexFault(expr string) fault {
	if _, err := route.CompileRegex(expr); err != nil {
		return fault{Invalid, err.Error() + "; see RE2's syntax"}
	}
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return fault{Invalid, err.Error()}
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fault{Invalid, err.Error()}
	}
	if n := len(program.Inst); n > maxProgram {
		return fault{Costly, fmt.Sprintf("the expression compiles to %d instructions; more than %d cost every request too much", n, maxProgram)}
	}
	return fault{}
}

// requestLineTable are keys that Istio passes over among headers: they have fields of their own.
var requestLineTable = []string{"uri", "scheme", "method", "authority"}

// headerMatches reads conditions on headers, in the order of their names.
func (b *builder) headerMatches(o *object, path string, from map[string]*networking.StringMatch) []fleet.NamedMatch {
	var list []fleet.NamedMatch
	for _, key := range slices.Sorted(maps.Keys(from)) {
		at, name := path+"["+key+"]", strings.ToLower(key)
		value := b.namedValue(o, at, from[key])
		switch {
		case slices.Contains(requestLineTable, name):
			b.warn(o, at, "is passed over, as Istio does; the match has a field %s of its own", name)
			continue
		case !isToken(name):
			b.report(o, Invalid, at, "%q is no name of a header", clip(key))
			continue
		case slices.ContainsFunc(list, func(m fleet.NamedMatch) bool { return m.Name == name }):
			b.report(o, Conflict, at, "%s stands here twice, in another case; keep one", name)
			continue
		}
		list = append(list, fleet.NamedMatch{Name: name, Value: value})
	}
	return list
}

// queryMatches reads conditions on query parameters, in the order of their names.
func (b *builder) queryMatches(o *object, path string, from map[string]*networking.StringMatch) []fleet.NamedMatch {
	var list []fleet.NamedMatch
	for _, key := range slices.Sorted(maps.Keys(from)) {
		at := path + "[" + key + "]"
		value := b.namedValue(o, at, from[key])
		if key == "" {
			b.report(o, Invalid, at, "a query parameter must have a name")
			continue
		}
		list = append(list, fleet.NamedMatch{Name: key, Value: value})
	}
	return list
}

// namedValue reads how the value of a header or query parameter is compared; nothing set asks whether it is there.
func (b *builder) namedValue(o *object, path string, m *networking.StringMatch) fleet.StringMatch {
	out, field := b.compare(o, path, m)
	if (field == "exact" || field == "regex") && out == (fleet.StringMatch{}) { // the zero value would ask whether it is there
		out.Regex = "^$"
	}
	return out
}

// isToken says whether s can be the name of a header (RFC 9110, section 5.6.2), in lower case.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// checkMatchGateways holds the gateways of matches against those that there are, and that the routes are for.
func (b *builder) checkMatchGateways(v *virtual, names []string) {
	for i, h := range v.spec.Http {
		for j, m := range h.GetMatch() {
			for k, name := range m.GetGateways() {
				path := fmt.Sprintf("spec.http[%d].match[%d].gateways[%d]", i, j, k)
				b.checkGateway(v.object, path, name, names)
				if !slices.Contains(v.gateways, gatewayKey(name, v.object.meta.Namespace)) {
					b.warn(v.object, path, "%s is not in spec.gateways, so nothing arrives from there", name)
				}
			}
		}
	}
}
