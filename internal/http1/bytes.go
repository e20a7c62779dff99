package http1

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// What a byte may be part of (RFC 9110 section 5.6.2, RFC 9112 section 3, RFC 3986).
const (
	inToken  = 1 << iota // tchar
	inValue              // a field value: visible, obs-text, space, tab
	inTarget             // a request target: visible ASCII without the fragment's '#'
	inHost               // a registered name: unreserved characters
	inHex                // a hexadecimal digit
	isPlain              // no control byte: a field value's byte that is not a tab
	isRough              // a byte for which a path may have to be normalized
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
		if c >= ' ' && c != 0x7f {
			t[c] |= isPlain
		}
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= inTarget
		}
	}
	mark(isRough, `%.\`)
	return t
}

// foldTable maps a byte of a name to the one that all its spellings share: capitals are small letters. To whom a
// name becomes a variable (CGI, WSGI and their like), an underscore is a dash.
var foldTable = makeFoldTable()

func makeFoldTable() (t [256]byte) {
	for c := range t {
		t[c] = lower(byte(c))
	}
	t['_'] = '-'
	return t
}

// run is the length of the longest start of b whose bytes are all of that class.
func run(b []byte, of uint8) int {
	for i, c := range b {
		if classTable[c]&of == 0 {
			return i
		}
	}
	return len(b)
}

// plainRun is run(b, isPlain), eight bytes at a time.
func plainRun(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i : i+8])
		// The lowest high bit that stays marks the first byte below the space, and the first DEL: a borrow
		// can only spoil the bytes above.
		low := (w - ' '*ones) & ^w
		del := w ^ 0x7f*ones
		del = (del - ones) & ^del
		if found := (low | del) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i + run(b[i:], isPlain)
}

// isToken says whether b is a token, which is never empty.
func isToken(b []byte) bool { return len(b) > 0 && run(b, inToken) == len(b) }

// lower maps an ASCII capital to its small letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isDigit(c byte) bool { return c-'0' <= 9 }

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

// spells says whether a name is the one that is spelt want in small letters and dashes; see sameName.
func spells(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if foldTable[c] != want[i] {
			return false
		}
	}
	return true
}

// sameName says whether two names are one to somebody behind us: without regard to case, and to what of dash and
// underscore is written.
func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if foldTable[c] != foldTable[b[i]] {
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
