package route

import (
	"bytes"
	"maps"
	"slices"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// A matcher is one request, cut up.
type matcher struct {
	*Request
	path, query []byte
	port        uint16 // of the authority, 0 if it names none
}

// cut cuts a request up. port is that of its authority.
func (q *Request) cut(port uint16) matcher {
	m := matcher{Request: q, path: q.Path, port: port}
	if i := bytes.IndexByte(q.Path, '?'); i >= 0 {
		m.path, m.query = q.Path[:i], q.Path[i+1:]
	}
	return m
}

// A match is a fleet.Match, ready to use. What costs least is looked at first.
type match struct {
	from  *fleet.Match
	path  text
	plain bool // there is nothing but the path
	more  conditions
}

// conditions are what a match asks for besides the path.
type conditions struct {
	port              uint32
	http, https       bool // the schemes that will do
	method, authority text
	headers           []namedText
	without           []namedText
	query             []namedText
	labels            []label
}

// A namedText is a fleet.NamedMatch, ready to use.
type namedText struct {
	name  string
	value text
}

type label struct{ name, value string }

// newMatch compiles m. The error wraps ErrRegex.
func newMatch(m *fleet.Match) (match, error) {
	next := match{from: m, more: conditions{port: m.Port}}
	var err error
	compile := func(s fleet.StringMatch, fold bool) (t text) {
		if err == nil {
			t, err = newText(s, fold)
		}
		return t
	}
	list := func(from []fleet.NamedMatch) (list []namedText) {
		for _, n := range from {
			list = append(list, namedText{n.Name, compile(n.Value, false)})
		}
		return list
	}
	next.path = compile(m.Path, m.IgnoreCase)
	c := &next.more
	scheme := compile(m.Scheme, false)
	c.http, c.https = scheme.holds([]byte("http")), scheme.holds([]byte("https"))
	c.method, c.authority = compile(m.Method, false), compile(m.Authority, false)
	c.headers, c.without, c.query = list(m.Headers), list(m.Without), list(m.Query)
	for _, name := range slices.Sorted(maps.Keys(m.SourceLabels)) {
		c.labels = append(c.labels, label{name, m.SourceLabels[name]})
	}
	next.plain = c.none()
	return next, err
}

func (c *conditions) none() bool {
	return c.port == 0 && c.http && c.https && c.method.how == anything && c.authority.how == anything &&
		len(c.headers)+len(c.without)+len(c.query)+len(c.labels) == 0
}

// match says whether any of the rule's matches holds, and which; a rule without matches holds always.
func (r *Rule) match(q *matcher) (m *match, ok bool) {
	for i := range r.matches {
		if m := &r.matches[i]; m.holds(q) {
			return m, true
		}
	}
	return nil, len(r.matches) == 0
}

// prefix returns how much of the path a match that holds accounts for. One that says nothing about the path, and
// none at all (nil), is, as in Istio, one for the prefix "/".
func (m *match) prefix(q *matcher) int {
	switch {
	case m == nil, m.path.how == anything:
		return min(len(q.path), 1)
	case m.from.Path.Prefix != "":
		return len(m.path.literal)
	default:
		return len(q.path)
	}
}

func (m *match) holds(q *matcher) bool {
	switch {
	case m.path.how == expression: // costs most
		return (m.plain || m.more.hold(q)) && m.path.holds(q.path)
	case !m.path.holds(q.path):
		return false
	default:
		return m.plain || m.more.hold(q)
	}
}

func (c *conditions) hold(q *matcher) bool {
	return (c.port == 0 || c.port == q.addressed()) && c.speaks(q.HTTPS) &&
		c.method.holds(q.Method) && c.authority.holds(q.Host) && c.holdNamed(q)
}

func (c *conditions) speaks(https bool) bool { return https && c.https || !https && c.http }

// holdNamed is hold for what a request has under names.
func (c *conditions) holdNamed(q *matcher) bool {
	for i := range c.labels {
		if v, ok := q.Labels[c.labels[i].name]; !ok || v != c.labels[i].value {
			return false
		}
	}
	for i := range c.headers {
		if !q.header(&c.headers[i]) {
			return false
		}
	}
	for i := range c.without {
		if q.header(&c.without[i]) {
			return false
		}
	}
	for i := range c.query {
		if !q.parameter(&c.query[i]) {
			return false
		}
	}
	return true
}

// addressed is the port that the request addresses.
func (q *matcher) addressed() uint32 {
	switch {
	case q.Port != 0:
		return q.Port
	case q.port != 0:
		return uint32(q.port)
	case q.HTTPS:
		return 443
	default:
		return 80
	}
}

// header says whether the request has the header with such a value. As in Envoy, several lines of a name count
// as one, joined by commas without a space, and "host" is the authority.
func (q *matcher) header(n *namedText) bool {
	if isAuthority(n.name) {
		return n.value.holds(q.Host)
	}
	first := -1
	for i := range q.Fields {
		if !http1.EqualFold(q.Fields[i].Name, n.name) {
			continue
		}
		if first >= 0 {
			return q.several(n)
		}
		first = i
	}
	return first >= 0 && n.value.holds(q.Fields[first].Value)
}

func isAuthority(name string) bool { return name == "host" || name == ":authority" }

// headerValue returns what a name stands for, for people.
func (q *matcher) headerValue(name string) (value []byte, ok bool) {
	if isAuthority(name) {
		return q.Host, true
	}
	_, ok = http1.Lookup(q.Fields, name)
	return q.joined(name), ok
}

// several is header for a name that stands on several lines.
func (q *matcher) several(n *namedText) bool {
	if n.value.how != expression {
		return n.value.how == anything || q.spells(n)
	}
	return n.value.holds(q.joined(n.name))
}

// joined returns the values of all lines of a name.
func (q *matcher) joined(name string) []byte {
	var all []byte
	comma := false
	for i := range q.Fields {
		if !http1.EqualFold(q.Fields[i].Name, name) {
			continue
		}
		if comma {
			all = append(all, ',')
		}
		all = append(all, q.Fields[i].Value...)
		comma = true
	}
	return all
}

// spells compares the values of all lines of a name with a literal, without joining them.
func (q *matcher) spells(n *namedText) bool {
	rest, comma := n.value.literal, false
	for i := range q.Fields {
		if !http1.EqualFold(q.Fields[i].Name, n.name) {
			continue
		}
		ok := true
		if comma {
			rest, ok = consume(rest, []byte{','})
		}
		if ok {
			rest, ok = consume(rest, q.Fields[i].Value)
		}
		if !ok {
			return n.value.how == beginning && len(rest) == 0
		}
		comma = true
	}
	return len(rest) == 0
}

// consume cuts value off the beginning of literal. When literal ends first, and agrees so far, what is left of
// it is empty and it is not ok.
func consume(literal, value []byte) (rest []byte, ok bool) {
	if len(literal) < len(value) {
		if bytes.HasPrefix(value, literal) {
			return nil, false
		}
		return literal, false
	}
	if !bytes.HasPrefix(literal, value) {
		return literal, false
	}
	return literal[len(value):], true
}

// parameter says whether the query has the parameter with such a value. As in Envoy, the first of a name counts,
// neither names nor values are decoded, and one without "=" has the empty value.
func (q *matcher) parameter(n *namedText) bool {
	value, ok := q.parameterValue(n.name)
	return ok && n.value.holds(value)
}

func (q *matcher) parameterValue(want string) (value []byte, ok bool) {
	for rest := q.query; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte{'&'})
		name, value, _ := bytes.Cut(pair, []byte{'='})
		if string(name) == want {
			return value, true
		}
	}
	return nil, false
}
