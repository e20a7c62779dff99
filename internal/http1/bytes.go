package http1

import "bytes"

// What a byte may be part of (RFC 9110 section 5.6.2, RFC 9112 section 3, RFC 3986).
const (
	inToken  = 1 << iota // tchar
	inValue              // a field value: visible, obs-text, space, tab
	inTarget             // a request target: visible ASCII without the fragment's '#'
	inHost               // a registered name: unreserved characters
	inHex                // a hexadecimal digit
)

var classTable = makeClassTable()

func makeClassTable() (t [256]uint8) {
	const (
		digits  = "0123456789"
		hex     = digits + "abcdefABCDEF"
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	mark := func(of uint8, bytes string) {
		for _, c := range []byte(bytes) {
			t[c] |= of
		}
	}
	mark(inToken, letters+digits+"!#$%&'*+-.^_`|~")
	mark(inHost, letters+digits+"-._~")
	mark(inHex, hex)
	for c := range t {
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= inTarget
		}
	}
	return t
}

// all says whether every byte of b is of that class.
func all(b []byte, of uint8) bool {
	for _, c := range b {
		if classTable[c]&of == 0 {
			return false
		}
	}
	return true
}

// isToken says whether b is a token, which is never empty.
func isToken(b []byte) bool { return len(b) > 0 && all(b, inToken) }

// lower maps an ASCII capital to its small letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// EqualFold says whether b is s, without regard to ASCII case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

// sameName is EqualFold for two names.
func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if c != b[i] && lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

// trim drops spaces and tabs at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// nextItem splits the first item off a comma-separated list. The item is empty where the list has a hole.
func nextItem(list []byte) (item, rest []byte) {
	item, rest, _ = bytes.Cut(list, []byte{','})
	return trim(item), rest
}

// hasItem says whether a comma-separated list holds the item, without regard to case.
func hasItem(list []byte, item string) bool {
	for len(list) > 0 {
		var have []byte
		if have, list = nextItem(list); EqualFold(have, item) {
			return true
		}
	}
	return false
}

// Lookup returns the value of the first field of that name, matched without case.
func Lookup(fields []Field, name string) (value []byte, ok bool) {
	for i := range fields {
		if EqualFold(fields[i].Name, name) {
			return fields[i].Value, true
		}
	}
	return nil, false
}
