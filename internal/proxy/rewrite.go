package proxy

import (
	"bytes"
	"fmt"
	"regexp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// A rewrite changes the path of requests; the query stays.
type rewrite struct {
	path     []byte         // in the place of what the match accounts for; nil where regex decides
	regex    *regexp.Regexp // every match of it is replaced
	template []byte
}

// newRewrite compiles r; nil when it leaves the path alone.
func newRewrite(r *fleet.Rewrite) (*rewrite, error) {
	switch {
	case r == nil || r.Path == "" && r.Regex == "":
		return nil, nil
	case !validPath(r.Path):
		return nil, fmt.Errorf("%w: %q", ErrPath, r.Path)
	case r.Path != "":
		return &rewrite{path: []byte(r.Path)}, nil
	case !validPath(r.Replacement):
		return nil, fmt.Errorf("%w: %q", ErrPath, r.Replacement)
	}
	regex, err := regexp.Compile(r.Regex)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", route.ErrRegex, err)
	}
	return &rewrite{regex: regex, template: template(r.Replacement)}, nil
}

// template turns an RE2 replacement, in which \1 stands for a group and \\ for a backslash, into Go's.
func template(replacement string) []byte {
	var t []byte
	for i := 0; i < len(replacement); i++ {
		c := replacement[i]
		next := byte(0)
		if i+1 < len(replacement) {
			next = replacement[i+1]
		}
		switch {
		case c == '$':
			t = append(t, "$$"...)
		case c == '\\' && '0' <= next && next <= '9':
			t = append(t, '$', '{', next, '}')
			i++
		case c == '\\' && next == '\\':
			t = append(t, '\\')
			i++
		default:
			t = append(t, c)
		}
	}
	return t
}

// append appends the path that a request goes on with to dst. prefix is how much of path, without the query, the
// match accounts for; that is replaced as it is, so that "/api" → "/" turns "/api/x" into "//x", as in Envoy. The
// result begins with a slash whatever is configured. "*" is the server itself and has no other name.
//
// It allocates where a regular expression decides.
func (r *rewrite) append(dst, path []byte, prefix int) []byte {
	if len(path) == 0 || path[0] != '/' {
		return append(dst, path...)
	}
	clean, query := path, []byte(nil)
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		clean, query = path[:i], path[i:]
	}
	start := len(dst)
	if r.regex == nil {
		dst = append(append(dst, r.path...), clean[prefix:]...)
	} else {
		dst = append(dst, r.regex.ReplaceAll(clean, r.template)...)
	}
	if len(dst) == start || dst[start] != '/' {
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '/'
	}
	if len(query) > 0 && bytes.IndexByte(dst[start:], '?') >= 0 { // configuration gave it one already
		dst, query = append(dst, '&'), query[1:]
	}
	return append(dst, query...)
}
