package http1

import "bytes"

// scanPath looks at a path up to its query, which is not decoded by anybody in between. It refuses what different
// parsers would decode differently, and says whether anything in it may have to be normalized.
func scanPath(path []byte) (rough bool, err *Error) {
	for i, c := range path {
		switch c {
		case '?':
			return rough, nil
		case '%':
			if len(path) < i+3 || classTable[path[i+1]]&classTable[path[i+2]]&inHex == 0 {
				return false, errEscape
			}
			if path[i+1] == '0' && path[i+2] == '0' {
				return false, errNUL
			}
			rough = true
		case '.':
			rough = rough || i > 0 && path[i-1] == '/'
		case '\\':
			rough = true
		}
	}
	return rough, nil
}

// appendNormal appends path to dst in its normal form (RFC 3986 section 6.2.2): unreserved characters are not
// escaped, escapes are in capitals, dot segments are resolved. A backslash is a slash, as it is to browsers and to
// Istio. Empty segments stay, and so does the query. The path must have passed scanPath; one that leads above the
// root is refused.
func appendNormal(dst, path []byte) ([]byte, *Error) {
	path, query := cutQuery(path)
	start := len(dst)
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch c {
		case '\\':
			c = '/'
		case '%':
			high, low := path[i+1], path[i+2]
			i += 2
			if c = unhex(high)<<4 | unhex(low); classTable[c]&inHost == 0 { // that is: not unreserved
				dst = append(dst, '%', upper(high), upper(low))
				continue
			}
		}
		dst = append(dst, c)
	}
	n, err := resolveDots(dst[start:])
	if err != nil {
		return nil, err
	}
	return append(dst[:start+n], query...), nil
}

func cutQuery(path []byte) (clean, query []byte) {
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// resolveDots resolves the dot segments of p, which begins with a slash, in place (RFC 3986 section 5.2.4). It
// returns the length of what is left. A p that leads above the root is refused, and so is "/..;a", which is a name
// to some and to others, who take parameters off a segment before they look at it, the way up.
func resolveDots(p []byte) (n int, err *Error) {
	for at := 0; at < len(p); {
		end := len(p)
		if i := bytes.IndexByte(p[at+1:], '/'); i >= 0 {
			end = at + 1 + i
		}
		segment, last := p[at+1:end], end == len(p)
		switch {
		case string(segment) == ".":
		case string(segment) == "..":
			if n == 0 {
				return 0, errAboveRoot
			}
			n = bytes.LastIndexByte(p[:n], '/')
		case bytes.HasPrefix(segment, []byte(".;")), bytes.HasPrefix(segment, []byte("..;")):
			return 0, errDotParameter
		default:
			n += copy(p[n:], p[at:end])
			last = false
		}
		if last { // what a dot segment stands for is a folder
			p[n] = '/'
			n++
		}
		at = end
	}
	return n, nil
}

// unhex is the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}

// upper maps an ASCII small letter to its capital.
func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
