// Package route finds the rule that a request falls under.
//
// [Compile] turns a listener's virtual hosts into an immutable [Table]; [Table.Match] then walks it without a
// lock, an allocation or a log line. Hosts are told apart first, as Envoy does: an exact name, else the
// longest "*.suffix", else "*"; at each step a domain that names the port goes before one that does not. Within
// the virtual host that was found, the first route in order wins that has no matches or one whose conditions all
// hold; a virtual host without a matching route does not fall back to a less specific one. [Table.Explain] says
// in words what Match did.
//
// Conditions compare as Istio and Envoy do: paths without their query and not decoded beyond the normal form that
// http1 gives them, query parameters undecoded, authorities with their port and with regard to case, several lines
// of a header joined by commas.
package route

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
)

// Errors that [Compile] wraps with the virtual host and route they are about.
var (
	ErrDomain      = errors.New("invalid domain")
	ErrDuplicate   = errors.New("domain is in two virtual hosts")
	ErrDestination = errors.New("no destination with a weight above zero")
	ErrAction      = errors.New("more than one of destinations, redirect and response")
	ErrRegex       = errors.New("invalid regular expression")
)

// A Table says which rule each request of one listener falls under. It is immutable and safe for concurrent use.
type Table struct {
	exact    map[string]*domain // by lower-case name
	suffix   map[string]*domain // by what follows the "*", as in ".example.com"
	lengths  []int              // of the suffixes, longest first
	catchAll *domain            // "*"; nil if there is none
	rules    []*Rule
}

// A Rule is one route, ready to be matched and to be drawn from.
type Rule struct {
	Route  *fleet.Route
	Number int // its place in Table.Rules: a dense index for what callers keep beside a rule

	matches    []match
	cumulative []uint64 // of the destinations' weights
}

// Compile makes the table of a listener. It keeps pointers into l, which must not change afterwards.
// The error wraps one of the errors above.
func Compile(l *fleet.Listener) (*Table, error) {
	t := &Table{exact: map[string]*domain{}, suffix: map[string]*domain{}}
	for i := range l.Hosts {
		if err := t.add(&l.Hosts[i]); err != nil {
			return nil, fmt.Errorf("listener %s: virtual host %d: %w", l.Name, i, err)
		}
	}
	for s := range t.suffix {
		if !slices.Contains(t.lengths, len(s)) {
			t.lengths = append(t.lengths, len(s))
		}
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return b - a })
	return t, nil
}

func (t *Table) add(h *fleet.VirtualHost) error {
	vh := &virtualHost{https: h.HTTPS}
	for i := range h.Routes {
		r, err := newRule(&h.Routes[i], len(t.rules))
		if err != nil {
			return fmt.Errorf("route %d: %w", i, err)
		}
		t.rules = append(t.rules, r)
		vh.rules = append(vh.rules, r)
	}
	for _, name := range h.Domains {
		if err := t.addDomain(name, vh); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) addDomain(name string, vh *virtualHost) error {
	host, port, ok := splitDomain(name)
	if !ok {
		return fmt.Errorf("%w %q", ErrDomain, name)
	}
	d := t.slot(host)
	if port == 0 {
		if d.any != nil {
			return fmt.Errorf("%q: %w", name, ErrDuplicate)
		}
		d.any = &place{domain: name, host: vh}
		return nil
	}
	if d.at(port) != nil {
		return fmt.Errorf("%q: %w", name, ErrDuplicate)
	}
	d.ports = append(d.ports, place{port, name, vh})
	return nil
}

// slot returns the domain entry for a lower-case host pattern, making it if there is none.
func (t *Table) slot(host string) *domain {
	switch {
	case host == "*":
		if t.catchAll == nil {
			t.catchAll = &domain{}
		}
		return t.catchAll
	case host[0] == '*':
		if t.suffix[host[1:]] == nil {
			t.suffix[host[1:]] = &domain{}
		}
		return t.suffix[host[1:]]
	default:
		if t.exact[host] == nil {
			t.exact[host] = &domain{}
		}
		return t.exact[host]
	}
}

// splitDomain cuts a domain into a lower-case host pattern and a port, 0 if it names none.
func splitDomain(name string) (host string, port uint16, ok bool) {
	host = strings.ToLower(name)
	if colon := portColon(host); colon >= 0 {
		n, err := strconv.ParseUint(host[colon+1:], 10, 16)
		if err != nil || n == 0 {
			return "", 0, false
		}
		host, port = host[:colon], uint16(n)
	}
	if host != "*" {
		host = strings.TrimSuffix(host, ".")
	}
	if host == "" || len(host) > maxHost || strings.LastIndexByte(host, '*') > 0 {
		return "", 0, false
	}
	return host, port, true
}

func newRule(r *fleet.Route, number int) (*Rule, error) {
	rule := &Rule{Route: r, Number: number}
	for i := range r.Matches {
		m, err := newMatch(&r.Matches[i])
		if err != nil {
			return nil, err
		}
		rule.matches = append(rule.matches, m)
	}
	switch {
	case r.Redirect != nil && r.Respond != nil, (r.Redirect != nil || r.Respond != nil) && len(r.Destinations) > 0:
		return nil, ErrAction
	case r.Redirect != nil, r.Respond != nil:
		return rule, nil
	}
	var sum uint64
	for _, d := range r.Destinations {
		sum += uint64(d.Weight)
		rule.cumulative = append(rule.cumulative, sum)
	}
	if sum == 0 {
		return nil, ErrDestination
	}
	return rule, nil
}

// Rules returns every rule of the table, in the order of Number. Callers must not change the slice.
func (t *Table) Rules() []*Rule { return t.rules }

// Destination turns a uniformly random u into the index of one of r.Route.Destinations, each with the
// probability of its part of the weights. It never returns one of weight 0. The route must have destinations.
func (r *Rule) Destination(u uint64) int {
	last := len(r.cumulative) - 1
	if last == 0 {
		return 0
	}
	point, _ := bits.Mul64(u, r.cumulative[last])
	for i, c := range r.cumulative {
		if point < c {
			return i
		}
	}
	return last // not reached: point < cumulative[last]
}
