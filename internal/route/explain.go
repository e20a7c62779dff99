package route

import (
	"fmt"

	"crossfade.dev/internal/fleet"
)

// An Explanation is what Match did with a request, and why.
type Explanation struct {
	Domain string // of the virtual host, as configuration writes it; "" when the host falls under none
	HTTPS  bool   // the virtual host redirects plaintext requests to https: no rule was looked at
	Steps  []Step // the virtual host's rules in order, up to the one that matched
}

// A Step is one rule that was held against the request.
type Step struct {
	Rule    *Rule
	Matched bool
	Reasons []string // for each of Rule.Route.Matches: the first condition that does not hold, in words; the last is "" when Matched; empty for a rule without matches
}

// Explain does what Match does, and says why.
func (t *Table) Explain(q *Request) Explanation {
	at, port := t.lookup(q.Host)
	switch {
	case at == nil:
		return Explanation{}
	case at.host.https && !q.HTTPS:
		return Explanation{Domain: at.domain, HTTPS: true}
	}
	e := Explanation{Domain: at.domain}
	m := q.cut(port)
	for _, r := range at.host.rules {
		s := Step{Rule: r, Matched: len(r.matches) == 0}
		for i := 0; i < len(r.matches) && !s.Matched; i++ {
			reason := r.matches[i].why(&m)
			s.Reasons = append(s.Reasons, reason)
			s.Matched = reason == ""
		}
		e.Steps = append(e.Steps, s)
		if s.Matched {
			break
		}
	}
	return e
}

// why returns the first condition that does not hold, in words; "" when all do.
func (m *match) why(q *matcher) string {
	switch from, c := m.from, &m.more; {
	case !m.path.holds(q.path):
		folded := ""
		if m.path.fold {
			folded = ", in any case"
		}
		return fmt.Sprintf("path %q %s%s", q.path, wants(from.Path), folded)
	case !c.speaks(q.HTTPS):
		return fmt.Sprintf("scheme %q %s", q.scheme(), wants(from.Scheme))
	case !c.method.holds(q.Method):
		return fmt.Sprintf("method %q %s", q.Method, wants(from.Method))
	case !c.authority.holds(q.Host):
		return fmt.Sprintf("authority %q %s", q.Host, wants(from.Authority))
	case c.port != 0 && c.port != q.addressed():
		return fmt.Sprintf("port %d is not %d", q.addressed(), c.port)
	default:
		return m.whyNamed(q)
	}
}

func (q *Request) scheme() string {
	if q.HTTPS {
		return "https"
	}
	return "http"
}

// whyNamed is why for what a request has under names.
func (m *match) whyNamed(q *matcher) string {
	for i := range m.more.headers {
		if n := &m.more.headers[i]; !q.header(n) {
			value, ok := q.headerValue(n.name)
			return lacks("header", n.name, value, ok, m.from.Headers[i].Value)
		}
	}
	for i := range m.more.without {
		if n := &m.more.without[i]; q.header(n) {
			value, _ := q.headerValue(n.name)
			return fmt.Sprintf("header %s has the value %q, which is excluded", n.name, value)
		}
	}
	for i := range m.more.query {
		if n := &m.more.query[i]; !q.parameter(n) {
			value, ok := q.parameterValue(n.name)
			return lacks("query parameter", n.name, value, ok, m.from.Query[i].Value)
		}
	}
	for _, l := range m.more.labels {
		switch v, ok := q.Labels[l.name]; {
		case q.Labels == nil:
			return fmt.Sprintf("nobody knows who calls; it must have the label %s=%s", l.name, l.value)
		case !ok:
			return "the caller has no label " + l.name
		case v != l.value:
			return fmt.Sprintf("the caller's label %s is %q, not %q", l.name, v, l.value)
		}
	}
	return ""
}

func lacks(what, name string, value []byte, there bool, want fleet.StringMatch) string {
	if !there {
		return fmt.Sprintf("there is no %s %s", what, name)
	}
	return fmt.Sprintf("%s %s has the value %q, which %s", what, name, value, wants(want))
}

// wants says in words how text fails to be what s asks for.
func wants(s fleet.StringMatch) string {
	switch {
	case s.Exact != "":
		return fmt.Sprintf("is not %q", s.Exact)
	case s.Prefix != "":
		return fmt.Sprintf("does not begin with %q", s.Prefix)
	default:
		return fmt.Sprintf("does not match %q as a whole", s.Regex)
	}
}
