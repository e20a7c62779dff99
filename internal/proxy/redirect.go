package proxy

import (
	"bytes"
	"fmt"
	"strconv"

	"crossfade.dev/internal/fleet"
)

const (
	plaintext = "http"
	secure    = "https"
)

// A redirect sends clients to another place.
type redirect struct {
	code      int
	scheme    string
	authority string
	path      string
	port      uint32
	derive    bool // the port is that which the client came in on
}

// newRedirect compiles r, which may be nil.
func newRedirect(r *fleet.Redirect) (*redirect, error) {
	switch {
	case r == nil:
		return nil, nil
	case r.Code < 300 || r.Code > 399 || r.Code == 304:
		return nil, fmt.Errorf("%w: %d", ErrStatus, r.Code)
	case r.Authority != "" && !validAuthority(r.Authority):
		return nil, fmt.Errorf("%w: %q", ErrAuthority, r.Authority)
	case r.Scheme != "" && !validScheme(r.Scheme):
		return nil, fmt.Errorf("%w: %q", ErrScheme, r.Scheme)
	case !validPath(r.Path):
		return nil, fmt.Errorf("%w: %q", ErrPath, r.Path)
	}
	return &redirect{
		code: r.Code, scheme: r.Scheme, authority: r.Authority, path: r.Path, port: r.Port,
		derive: r.Port == 0 && r.DerivePort == "FROM_REQUEST_PORT",
	}, nil
}

func validScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// append appends the Location of an answer to a request for path at host, which came by scheme, addressed to
// port. What the redirect does not name stays, with these exceptions, which are Envoy's and Istio's: a port that
// the redirect names takes the place of the request's, and is left out when it is the scheme's own; the request's
// is left out when it was its scheme's own and the scheme changes; a path that has a query of its own takes the
// place of the request's query.
func (r *redirect) append(dst []byte, scheme string, host, path []byte, port uint32) []byte {
	to := scheme
	if r.scheme != "" {
		to = r.scheme
	}
	named := r.port
	if r.derive {
		named = port
	}
	dst = append(append(dst, to...), "://"...)
	if r.authority != "" {
		dst = append(dst, r.authority...)
	} else {
		name, asked := cutPort(host)
		dst = append(dst, name...)
		if len(asked) > 0 && named == 0 && (to == scheme || string(asked) != portOf(scheme)) {
			dst = append(append(dst, ':'), asked...)
		}
	}
	if named != 0 && !isPortOf(to, named) {
		dst = strconv.AppendUint(append(dst, ':'), uint64(named), 10)
	}
	if len(path) > 0 && path[0] != '/' { // "*": the server itself
		path = []byte{'/'}
	}
	if r.path == "" {
		return append(dst, path...)
	}
	dst = append(dst, r.path...)
	if i := bytes.IndexByte(path, '?'); i >= 0 && !bytes.ContainsRune([]byte(r.path), '?') {
		dst = append(dst, path[i:]...)
	}
	return dst
}

// cutPort splits an authority.
func cutPort(host []byte) (name, port []byte) {
	if i := bytes.LastIndexByte(host, ':'); i > bytes.LastIndexByte(host, ']') {
		return host[:i], host[i+1:]
	}
	return host, nil
}

// portOf returns the port that a scheme has when none is named, "" for schemes that we do not know.
func portOf(scheme string) string {
	switch scheme {
	case plaintext:
		return "80"
	case secure:
		return "443"
	default:
		return ""
	}
}

func isPortOf(scheme string, port uint32) bool {
	return scheme == plaintext && port == 80 || scheme == secure && port == 443
}
