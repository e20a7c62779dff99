package http2

import "net/netip"

// What a byte may be part of; see http1, which is as strict.
const (
	inName   = 1 << iota // a token without capitals
	inToken              // a token
	inValue              // a field value: no control byte but the tab
	inTarget             // a path: visible ASCII without '#'
	inHost               // a registered name
)

var classTable = makeClassTable()

func makeClassTable() (t [256]uint8) {
	mark := func(of uint8, bytes string) {
		for _, c := range []byte(bytes) {
			t[c] |= of
		}
	}
	const small, big, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	mark(inName|inToken, small+digits+"!#$%&'*+-.^_`|~")
	mark(inToken, big)
	mark(inHost, small+big+digits+"-._~")
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

// all says whether s has bytes of that class only.
func all[T ~string | ~[]byte](s T, of uint8) bool {
	for i := range len(s) {
		if classTable[s[i]]&of == 0 {
			return false
		}
	}
	return true
}

// clean says whether s has no control byte but the tab: all(s, inValue), eight bytes at a time.
func clean(s string) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// A high bit stays where a byte is below the space, or DEL; a borrow may add some beside those.
		low, del := (w-' '*ones)&^w, w^0x7f*ones
		if (low|(del-ones)&^del)&highs != 0 && !all(s[:8], inValue) {
			return false
		}
	}
	return all(s, inValue)
}

func validName(s string) bool  { return len(s) > 0 && all(s, inName) }
func validToken(b []byte) bool { return len(b) > 0 && all(b, inToken) }

func validValue(s string) bool {
	if s == "" {
		return true
	}
	blank := func(c byte) bool { return c == ' ' || c == '\t' }
	return !blank(s[0]) && !blank(s[len(s)-1]) && clean(s)
}

func validScheme(b []byte) bool {
	for i, c := range b {
		switch lower := c | 0x20; {
		case 'a' <= lower && lower <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return len(b) > 0
}

func validPath(h *Head) bool {
	if string(h.Path) == "*" {
		return string(h.Method) == "OPTIONS"
	}
	return len(h.Path) > 0 && h.Path[0] == '/' && all(h.Path, inTarget)
}

// validAuthority takes a registered name, an IPv4 address or an IPv6 literal, with an optional port, or nothing. No
// user information: RFC 9113 section 8.3.1.
func validAuthority(b []byte) bool {
	n := 0
	for n < len(b) && classTable[b[n]]&inHost != 0 {
		n++
	}
	switch {
	case n == len(b):
		return true
	case n > 0:
		return b[n] == ':' && validPort(b[n+1:])
	case b[0] != '[':
		return false
	}
	for n < len(b) && b[n] != ']' {
		n++
	}
	if n == len(b) || n+1 < len(b) && (b[n+1] != ':' || !validPort(b[n+2:])) {
		return false
	}
	a, err := netip.ParseAddr(string(b[1:n]))
	return err == nil && a.Is6() && a.Zone() == ""
}

func validPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || len(b) > 5 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(b) > 0 && n <= 65535
}
