package http1

import (
	"bytes"
	"net/netip"
)

// Parse parses the request head at the start of b, skipping one leading empty line. n counts the head's bytes
// with its last empty line; n == 0 and no error means that more bytes are needed. An error is an *Error. It
// reuses the capacity of r.Fields; after an error r is not to be used.
//
// It allocates only for three rare spellings: an absolute target without a path, and an IPv6 literal authority.
// A path that had to be normalized lies in memory of r's own, which is used again.
func (r *Request) Parse(b []byte) (n int, err error) {
	n, bad := r.parse(b)
	if bad != nil {
		return 0, bad
	}
	return n, nil
}

func (r *Request) parse(b []byte) (n int, err *Error) {
	pos, err := skipEmptyLine(b)
	if err != nil || pos == len(b) {
		return 0, err
	}
	if pos, err = r.parseLine(b, pos); pos == 0 || err != nil {
		return 0, err
	}
	h := head{fields: r.Fields[:0]}
	n, err = h.parse(b, pos)
	r.Fields = h.fields
	if n == 0 || err != nil {
		return 0, err
	}
	return n, r.conclude(&h)
}

// skipEmptyLine returns where the message starts: RFC 9112 section 2.2 has a server ignore an empty line that
// an old client sent after its last body.
func skipEmptyLine(b []byte) (start int, err *Error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case b[0] == '\n':
		return 0, errBareLF
	case b[0] != '\r':
		return 0, nil
	case len(b) == 1:
		return 1, nil
	case b[1] != '\n':
		return 0, errEmptyLine
	default:
		return 2, nil
	}
}

// parseLine reads the request line at b[pos:] and returns where the next line starts; 0 when more bytes are needed.
func (r *Request) parseLine(b []byte, pos int) (next int, err *Error) {
	space := pos + run(b[pos:], inToken) // a TLS or binary client hears it at once
	if space == len(b) {
		return 0, nil
	}
	switch c := b[space]; {
	case space > pos && (c == '\r' || c == '\n'):
		return 0, notTarget(b, space)
	case space == pos || c != ' ':
		return 0, errMethod
	}
	at, marks := space+1, uint8(0)
	for ; at < len(b) && classTable[b[at]]&inTarget != 0; at++ {
		marks |= classTable[b[at]]
	}
	if at == len(b) {
		return 0, nil
	}
	if at == space+1 || b[at] != ' ' {
		return 0, notTarget(b, at)
	}
	minor, next, err := parseVersion(b, at+1)
	if next == 0 || err != nil {
		return 0, err
	}
	r.Method, r.Target, r.Minor = b[pos:space], b[space+1:at], minor
	if string(r.Method) == "CONNECT" {
		return 0, errConnect
	}
	return next, r.parseTarget(marks&isRough != 0)
}

// notTarget says what is wrong with the target at whose end b[at] stands; nil when more bytes are needed.
func notTarget(b []byte, at int) *Error {
	switch {
	case b[at] == '\n':
		return errBareLF
	case b[at] == ' ': // a second one
		return errRequestLine
	case b[at] != '\r':
		return errTarget
	case at+1 == len(b):
		return nil
	case b[at+1] == '\n':
		return errRequestLine
	default:
		return errTarget
	}
}

// parseVersion reads the version that ends the request line. It accepts HTTP/1.0 and HTTP/1.1 and tells other
// versions from what is no version. next is 0 when more bytes are needed.
func parseVersion(b []byte, pos int) (minor, next int, err *Error) {
	const whole = len("HTTP/1.1\r\n")
	word := b[pos:min(len(b), pos+whole)]
	if string(word) == "HTTP/1.1\r\n" {
		return 1, pos + whole, nil
	}
	end := bytes.IndexByte(word, '\n')
	switch {
	case end < 0 && len(word) < whole:
		return 0, 0, nil
	case end == whole-2 && word[end-1] != '\r':
		return 0, 0, errBareLF
	case end != whole-1 || word[end-1] != '\r':
		return 0, 0, errVersionWord
	}
	major, digit := word[5], word[7]
	switch {
	case string(word[:5]) != "HTTP/" || word[6] != '.' || !isDigit(major) || !isDigit(digit):
		return 0, 0, errVersionWord
	case major != '1' || digit > '1':
		return 0, 0, errVersion
	default:
		return int(digit - '0'), pos + whole, nil
	}
}

// parseTarget finds Path, and the Host of an absolute target. rough says that the path may not be in its normal form.
func (r *Request) parseTarget(rough bool) *Error {
	r.Host = nil
	options := string(r.Method) == "OPTIONS"
	switch r.Target[0] {
	case '/':
		r.Path = r.Target
	case '*':
		if len(r.Target) > 1 || !options {
			return errTargetForm
		}
		r.Path = r.Target
	default:
		if err := r.parseAbsolute(options); err != nil {
			return err
		}
	}
	if !rough {
		return nil
	}
	rough, err := scanPath(r.Path)
	if !rough || err != nil {
		return err
	}
	if r.normal, err = appendNormal(r.normal[:0], r.Path); err == nil {
		r.Path = r.normal
	}
	return err
}

func (r *Request) parseAbsolute(options bool) *Error {
	scheme, rest, ok := bytes.Cut(r.Target, []byte("://"))
	if !ok || !EqualFold(scheme, "http") && !EqualFold(scheme, "https") {
		return errTargetForm
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Host, r.Path = rest[:end], rest[end:]
	if len(r.Host) == 0 || !validAuthority(r.Host) {
		return errHost
	}
	switch {
	case len(r.Path) == 0 && options: // RFC 9112 section 3.2.4
		r.Path = []byte{'*'}
	case len(r.Path) == 0 || r.Path[0] == '?':
		r.Path = append([]byte{'/'}, r.Path...)
	}
	return nil
}

// validAuthority says whether b is a registered name, an IPv4 address or an IPv6 literal, with an optional
// port. Userinfo, percent escapes and sub-delimiters are not accepted: no service is called like that.
func validAuthority(b []byte) bool {
	end := run(b, inHost)
	switch {
	case end == len(b):
		return true
	case end > 0:
		return b[end] == ':' && validPort(b[end+1:])
	case b[0] != '[':
		return false
	}
	end = bytes.IndexByte(b, ']')
	if end < 0 || end+1 < len(b) && (b[end+1] != ':' || !validPort(b[end+2:])) {
		return false
	}
	address, err := netip.ParseAddr(string(b[1:end]))
	return err == nil && address.Is6() && address.Zone() == ""
}

func validPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if !isDigit(c) || len(b) > 5 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(b) > 0 && n <= 65535
}

// conclude draws from the fields what the whole request means.
func (r *Request) conclude(h *head) (err *Error) {
	switch {
	case h.hosts == 0 && r.Minor == 1:
		return errNoHost
	case h.hosts > 1:
		return errTwoHosts
	case !validAuthority(h.host):
		return errHost
	}
	if r.Host == nil { // an absolute target overrides the field: RFC 9112 section 3.2.2
		r.Host = h.host
	}
	if r.Framing, err = h.framing(r.Minor, NoBody); err != nil {
		return err
	}
	r.ContentLength = h.length
	r.Close = h.closes(r.Minor)
	r.Expect, r.Upgrade, r.House = false, nil, h.house
	if r.names = h.names; r.names {
		h.nominate()
	}
	if r.Minor == 0 {
		return nil // RFC 9110: an HTTP/1.0 client's Expect and Upgrade are ignored
	}
	if h.unmet {
		return errExpect
	}
	body := r.Framing == Chunked || r.ContentLength > 0
	r.Expect = h.expects && body
	if !body { // a body would have to be read before the switch
		r.Upgrade = h.protocol()
	}
	return nil
}

// Lookup returns the value of the first field of that name that goes on to the other side, matched without case.
// One that the client's Connection nominates does not.
func (r *Request) Lookup(name string) (value []byte, ok bool) {
	for i := range r.Fields {
		if f := &r.Fields[i]; f.is != hopByHop && EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return nil, false
}
