package proxy

import (
	"errors"
	"fmt"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// Errors that Compile wraps with the listener and the route they are about.
var (
	ErrAuthority = errors.New("not an authority")
	ErrPath      = errors.New("not a path")
	ErrScheme    = errors.New("not a scheme")
	ErrStatus    = errors.New("not a status to answer with")
)

// A course is what is done with the requests that fall under one rule.
type course struct {
	rule     *route.Rule
	lanes    []lane // by destination
	rewrite  *rewrite
	redirect *redirect
	respond  *fleet.Respond
	answer   *edit // of answers of our own
}

// A lane is what is done with those of a course's requests that go to one destination.
type lane struct {
	course    *course
	to        destinationKey
	authority []byte // replaces the request's; nil keeps it
	request   *edit
	answer    *edit
}

// newCourses compiles the rules of a table, in the order of their numbers.
func newCourses(t *route.Table) ([]*course, error) {
	courses := make([]*course, 0, len(t.Rules()))
	for _, rule := range t.Rules() {
		c, err := newCourse(rule)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", describe(rule.Route), err)
		}
		courses = append(courses, c)
	}
	return courses, nil
}

// describe names a route for people.
func describe(r *fleet.Route) string {
	if r.Origin.File == "" {
		return fmt.Sprintf("%q", r.Name)
	}
	return fmt.Sprintf("%q at %s:%d", r.Name, r.Origin.File, r.Origin.Line)
}

func newCourse(rule *route.Rule) (*course, error) {
	r := rule.Route
	c := &course{rule: rule, respond: r.Respond, answer: newEdit(fleet.HeaderEdit{}, r.Headers.Response)}
	if r.Respond != nil && (r.Respond.Status < 200 || r.Respond.Status > 599) {
		return nil, fmt.Errorf("%w: %d", ErrStatus, r.Respond.Status)
	}
	var err error
	if c.redirect, err = newRedirect(r.Redirect); err != nil {
		return nil, err
	}
	if c.rewrite, err = newRewrite(r.Rewrite); err != nil {
		return nil, err
	}
	c.lanes = make([]lane, len(r.Destinations))
	for i := range r.Destinations {
		d := &r.Destinations[i]
		l := &c.lanes[i]
		*l = lane{
			course: c, to: destinationKey{d.Service, d.Subset},
			request: newEdit(d.Headers.Request, r.Headers.Request),
			answer:  newEdit(d.Headers.Response, r.Headers.Response),
		}
		if l.authority, err = authorityOf(d, r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// authorityOf returns what replaces the authority of requests to d, nil if nothing does. The most specific one
// wins: the destination's headers, then the route's rewrite, then the route's headers.
func authorityOf(d *fleet.Destination, r *fleet.Route) ([]byte, error) {
	authority := hostIn(d.Headers.Request)
	if authority == "" && r.Rewrite != nil {
		authority = r.Rewrite.Authority
	}
	if authority == "" {
		authority = hostIn(r.Headers.Request)
	}
	if authority == "" {
		return nil, nil
	}
	if !validAuthority(authority) {
		return nil, fmt.Errorf("%w: %q", ErrAuthority, authority)
	}
	return []byte(authority), nil
}

// hostIn returns the authority that an edit of requests sets, under either of its names.
func hostIn(e fleet.HeaderEdit) string {
	for _, h := range e.Set {
		if h.Name == "host" || h.Name == ":authority" {
			return h.Value
		}
	}
	return ""
}

// validAuthority says whether s can stand in a Host field or a Location: nothing in it ends either of them.
func validAuthority(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' && c != '~' && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return s != ""
}

// validPath says whether s can stand in a request line.
func validPath(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}
