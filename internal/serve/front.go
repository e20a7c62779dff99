package serve

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A front says which server of a listener answers TLS clients that ask for a name. It is immutable.
//
// A request is served only on a connection that a client who asks for the request's host would have got: the
// server that answers for the connection's SNI must be the one that answers for the host, as things stand when
// the request comes. Everything else is misdirected: a client that showed no certificate to one server would
// otherwise get what another one guards with MUTUAL.
type front struct {
	exact  map[string]*server // by lower-case name
	suffix map[string]*server // by what follows the "*": ".example.com"
	all    *server            // "*"; nil if there is none
	every  []*server
}

// A server is one fleet.ServerTLS of a listener.
type server struct {
	*identity
	listener string
	names    []string
}

// newFront returns nil for a listener that serves plaintext. Where two servers want a name, the first has it.
func newFront(l *fleet.Listener, ring *keyring) *front {
	if len(l.TLS) == 0 {
		return nil
	}
	f := &front{exact: map[string]*server{}, suffix: map[string]*server{}}
	for i := range l.TLS {
		t := &server{identity: ring.get(&l.TLS[i]), listener: l.Name, names: l.TLS[i].Hosts}
		f.every = append(f.every, t)
		for _, name := range t.names {
			f.add(strings.ToLower(name), t)
		}
	}
	return f
}

func (f *front) add(name string, t *server) {
	switch suffix, wild := strings.CutPrefix(name, "*"); {
	case name == "*":
		if f.all == nil {
			f.all = t
		}
	case wild:
		if f.suffix[suffix] == nil {
			f.suffix[suffix] = t
		}
	case f.exact[name] == nil:
		f.exact[name] = t
	}
}

// find returns the server for a name in any case: an exact one, else that of the longest wildcard, else that for
// all; nil if there is none. "" is a client that did not say. It does not allocate.
func (f *front) find(name []byte) *server {
	const longest = 255 // DNS allows 253
	if len(name) > longest {
		return f.all
	}
	var room [longest]byte
	lower := room[:len(name)]
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if t := f.exact[string(lower)]; t != nil {
		return t
	}
	for at := 1; at < len(lower); at++ { // the "*" stands for at least one character
		if lower[at] != '.' {
			continue
		}
		if t := f.suffix[string(lower[at:])]; t != nil {
			return t
		}
	}
	return f.all
}

// trouble says which servers cannot do what configuration says, and why; nil if all can. Of those that go on with
// older files it speaks only if it is asked for all.
func (f *front) trouble(all bool) error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, t := range f.every {
		if err := t.Err(); err != nil && (all || !errors.Is(err, ErrNotReloaded)) {
			errs = append(errs, fmt.Errorf("listener %s: TLS for %s: %w", t.listener, strings.Join(t.names, ", "), err))
		}
	}
	return errors.Join(errs...)
}

// nameOf cuts the port and one dot at the end off an authority.
func nameOf(authority []byte) []byte {
	name := authority
	if colon := bytes.LastIndexByte(name, ':'); colon >= 0 && bytes.IndexByte(name, ':') == colon || bytes.Contains(name, []byte("]:")) {
		name = name[:colon]
	}
	return bytes.TrimSuffix(name, []byte("."))
}
