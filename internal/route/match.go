package route

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"crossfade.dev/internal/fleet"
)

// maxHost is the longest host name that is looked up by name; a longer one can only fall under "*". DNS allows 253.
const maxHost = 255

// A domain holds the virtual hosts of one host pattern: one for any port, and one for each port named.
type domain struct {
	any   *virtualHost
	ports []portHost
}

type portHost struct {
	port uint16
	host *virtualHost
}

type virtualHost struct{ rules []*Rule }

// at returns the virtual host for exactly this port, or nil.
func (d *domain) at(port uint16) *virtualHost {
	for _, p := range d.ports {
		if p.port == port {
			return p.host
		}
	}
	return nil
}

// find returns the virtual host for an authority with this port (0: it names none), or nil. d may be nil.
func (d *domain) find(port uint16) *virtualHost {
	if d == nil {
		return nil
	}
	if port != 0 {
		if vh := d.at(port); vh != nil {
			return vh
		}
	}
	return d.any
}

// Match returns the rule for a request, or nil if there is none. host is the authority as the request names it,
// in any case, with or without a port; path may carry a query, which is not looked at.
func (t *Table) Match(host, path []byte) *Rule {
	vh := t.lookup(host)
	if vh == nil {
		return nil
	}
	if q := bytes.IndexByte(path, '?'); q >= 0 {
		path = path[:q]
	}
	for _, r := range vh.rules {
		if r.match(path) {
			return r
		}
	}
	return nil
}

func (t *Table) lookup(authority []byte) *virtualHost {
	name, port := splitAuthority(authority)
	if len(name) > maxHost {
		return t.catchAll.find(port)
	}
	var buf [maxHost]byte
	lower := buf[:len(name)]
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if vh := t.exact[string(lower)].find(port); vh != nil {
		return vh
	}
	for _, n := range t.lengths {
		if n >= len(lower) { // the "*" stands for at least one character
			continue
		}
		if vh := t.suffix[string(lower[len(lower)-n:])].find(port); vh != nil {
			return vh
		}
	}
	return t.catchAll.find(port)
}

// splitAuthority cuts "host:port" into its parts; the port is 0 if there is none that can be read. One dot at
// the end of the host, as in a fully qualified name, does not count.
func splitAuthority(authority []byte) (host []byte, port uint16) {
	host = authority
	if colon := portColon(host); colon >= 0 {
		port = parsePort(host[colon+1:])
		host = host[:colon]
	}
	return bytes.TrimSuffix(host, []byte(".")), port
}

// portColon returns the index of the colon before the port, or -1. Several colons outside brackets are an
// address without a port.
func portColon[T string | []byte](authority T) int {
	colon := -1
	for i := len(authority) - 1; i >= 0; i-- {
		switch authority[i] {
		case ']':
			return colon
		case ':':
			if colon >= 0 {
				return -1
			}
			colon = i
		}
	}
	return colon
}

// parsePort reads a decimal port; anything else is 0.
func parsePort(b []byte) uint16 {
	if len(b) > 5 {
		return 0
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n > 65535 {
		return 0
	}
	return uint16(n)
}

// A match is a fleet.Match, ready to use.
type match struct {
	exact, prefix []byte
	regex         *regexp.Regexp
	all           bool
}

func newMatch(m *fleet.Match) (match, error) {
	switch p := m.Path; {
	case p.Exact != "":
		return match{exact: []byte(p.Exact)}, nil
	case p.Prefix != "":
		return match{prefix: []byte(p.Prefix)}, nil
	case p.Regex != "":
		re, err := CompileRegex(p.Regex)
		return match{regex: re}, err
	default:
		return match{all: true}, nil
	}
}

// CompileRegex compiles an RE2 expression that must match the whole of a string. The error wraps ErrRegex.
func CompileRegex(expr string) (*regexp.Regexp, error) {
	// The expression has to stand on its own: "a)(b" compiles only inside the anchors.
	_, err := regexp.Compile(expr)
	if err == nil {
		var re *regexp.Regexp
		if re, err = regexp.Compile(`\A(?:` + expr + `)\z`); err == nil {
			return re, nil
		}
	}
	reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	return nil, fmt.Errorf("%w %q: %s", ErrRegex, expr, reason)
}

// match says whether any of the rule's matches holds; a rule without matches holds always.
func (r *Rule) match(path []byte) bool {
	if len(r.matches) == 0 {
		return true
	}
	for i := range r.matches {
		if r.matches[i].holds(path) {
			return true
		}
	}
	return false
}

func (m *match) holds(path []byte) bool {
	switch {
	case m.all:
		return true
	case m.exact != nil:
		return bytes.Equal(m.exact, path)
	case m.prefix != nil:
		return bytes.HasPrefix(path, m.prefix)
	default:
		return m.regex.Match(path)
	}
}
