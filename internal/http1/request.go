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
	h := head{fields: r.Fields[:0]}
	normal := r.normal[:0] // taken out first, so that *r need not be copied
	*r = Request{Fields: h.fields, normal: normal}
	start, err := skipEmptyLine(b)
	if err != nil || start == len(b) {
		return 0, err
	}
	if classTable[b[start]]&inToken == 0 { // a TLS or binary client hears it at once
		return 0, errMethod
	}
	line, next, err := cutLine(b, start)
	if err != nil || next == 0 {
		return 0, err
	}
	if err := r.parseLine(line); err != nil {
		return 0, err
	}
	n, err = h.parse(b, next)
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

func (r *Request) parseLine(line []byte) *Error {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, ok := bytes.Cut(rest, []byte{' '})
	switch {
	case !isToken(method):
		return errMethod
	case !ok || len(target) == 0:
		return errRequestLine
	case !all(target, inTarget):
		return errTarget
	}
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	if string(method) == "CONNECT" {
		return errConnect
	}
	r.Method, r.Target, r.Minor = method, target, minor
	return r.parseTarget()
}

// parseVersion accepts HTTP/1.0 and HTTP/1.1 and tells other versions from what is no version.
func parseVersion(b []byte) (minor int, err *Error) {
	if len(b) != len("HTTP/1.1") || string(b[:5]) != "HTTP/" || b[6] != '.' {
		return 0, errVersionWord
	}
	major, digit := b[5], b[7]
	switch {
	case major < '0' || major > '9' || digit < '0' || digit > '9':
		return 0, errVersionWord
	case major != '1' || digit > '1':
		return 0, errVersion
	default:
		return int(digit - '0'), nil
	}
}

// parseTarget finds Path, and the Host of an absolute target.
func (r *Request) parseTarget() *Error {
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
	bracket := bytes.LastIndexByte(b, ']') + 1 // the port is looked for behind an IPv6 literal
	name := b
	if colon := bytes.IndexByte(b[bracket:], ':'); colon >= 0 {
		name = b[:bracket+colon]
		if len(name) == 0 || !validPort(b[bracket+colon+1:]) {
			return false
		}
	}
	if bracket == 0 {
		return all(name, inHost)
	}
	if name[0] != '[' || bracket != len(name) {
		return false
	}
	address, err := netip.ParseAddr(string(name[1 : bracket-1]))
	return err == nil && address.Is6() && address.Zone() == ""
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
	r.names = h.names
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
		if f := &r.Fields[i]; EqualFold(f.Name, name) {
			if r.names && nominated(r.Fields, f.Name) {
				return nil, false
			}
			return f.Value, true
		}
	}
	return nil, false
}
