package http2

import (
	"bytes"
	"math"

	"crossfade.dev/internal/http1"
)

// A role is what a header block is to a stream.
type role uint8

const (
	nobodys role = iota // decoded only to keep the compression in step
	request
	answer
	trailers
)

// A parser makes a head of the fields of one header block. Its memory is the stream's.
type parser struct {
	role     role
	extended bool // :protocol may come
	left     int  // bytes that the list may still have
	large    bool // it has more
	bad      string

	head    Head
	text    []byte // what the head points into
	regular bool   // pseudo fields are over
	status  bool
	host    []byte
	hosts   int
	cookies int
}

// start prepares for a block. text and fields are memory to use; what they hold stays.
func (p *parser) start(r role, limit int, text []byte, fields []http1.Field) {
	*p = parser{role: r, left: limit, text: text, extended: p.extended}
	p.head.Fields = fields
}

// field takes one decoded field. It returns false when it wants no more.
func (p *parser) field(name, value string) bool {
	if p.left -= len(name) + len(value) + 32; p.left < 0 {
		p.large = true
		return false
	}
	if p.bad != "" {
		return true
	}
	if len(name) > 0 && name[0] == ':' {
		p.bad = p.pseudo(name, value)
		return true
	}
	p.regular = true
	switch {
	case !validName(name):
		p.bad = "a field name is not a token in small letters"
	case !validValue(value):
		p.bad = "a field value holds a control byte or begins or ends with a space"
	default:
		p.bad = p.ordinary(name, value)
	}
	return true
}

func (p *parser) keep(s string) []byte {
	from := len(p.text)
	p.text = append(p.text, s...)
	return p.text[from:len(p.text):len(p.text)]
}

// pseudo takes a pseudo field and says what is wrong with it, "" for nothing.
func (p *parser) pseudo(name, value string) string {
	h := &p.head
	var to *[]byte
	switch {
	case p.regular:
		return "a pseudo field comes after a field"
	case p.role == answer && name == ":status":
		return p.pseudoStatus(value)
	case p.role != request:
		return "a pseudo field that does not belong there"
	case name == ":method":
		to = &h.Method
	case name == ":scheme":
		to = &h.Scheme
	case name == ":authority":
		to = &h.Authority
	case name == ":path":
		to = &h.Path
	case name == ":protocol" && p.extended:
		to = &h.Protocol
	default:
		return "an unknown pseudo field"
	}
	if *to != nil {
		return "a pseudo field comes twice"
	}
	*to = p.keep(value)
	return ""
}

func (p *parser) pseudoStatus(value string) string {
	if p.status {
		return "a pseudo field comes twice"
	}
	n := 0
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			n = 0
			break
		}
		n = n*10 + int(c-'0')
	}
	if len(value) != 3 || n < 100 || n == 101 { // RFC 9113 section 8.6: no 101
		return "the status is not one of three digits"
	}
	p.status, p.head.Status = true, n
	return ""
}

// ordinary takes a field whose name and value are well formed.
func (p *parser) ordinary(name, value string) string {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings":
		return "a field of one connection only"
	case "te":
		if p.role != request || value != "trailers" {
			return "TE is not trailers"
		}
	case "content-length":
		return p.length(value)
	case "host":
		if p.role == trailers {
			return "a trailer that only a head may have"
		}
		if p.role == request {
			p.hosts++
			p.host = p.keep(value)
			return ""
		}
	case "cookie":
		if p.role == request {
			p.cookies++
		}
	}
	// A copy of the name is cheap, and nothing then points into the decoder's tables.
	p.head.Fields = append(p.head.Fields, http1.Field{})
	f := &p.head.Fields[len(p.head.Fields)-1]
	f.Name, f.Value = p.keep(name), p.keep(value)
	return ""
}

func (p *parser) length(value string) string {
	n := int64(0)
	ok := len(value) > 0 && len(value) <= 19 && p.role != trailers && !p.head.Sized
	for _, c := range []byte(value) {
		if c < '0' || c > '9' || n > (math.MaxInt64-int64(c-'0'))/10 {
			ok = false
			break
		}
		n = n*10 + int64(c-'0')
	}
	if !ok {
		return "Content-Length is not one decimal number in a head"
	}
	p.head.ContentLength, p.head.Sized = n, true
	return ""
}

// conclude says what is wrong with the whole, "" for nothing. end says that nothing follows the block.
func (p *parser) conclude(end bool) string {
	if p.bad != "" {
		return p.bad
	}
	p.head.End = end
	switch p.role {
	case request:
		return p.concludeRequest()
	case answer:
		switch {
		case !p.status:
			return "an answer without status"
		case p.head.Status < 200 && end:
			return "an interim answer that ends the stream"
		case p.head.Status < 200 && p.head.Sized:
			return "an interim answer with Content-Length"
		}
	case trailers:
		if !end {
			return "trailers that do not end the stream"
		}
	case nobodys:
	}
	return ""
}

// concludeRequest is about the pseudo fields of RFC 9113 section 8.3.1.
func (p *parser) concludeRequest() string {
	h := &p.head
	if bad := h.wrongTarget(); bad != "" {
		return bad
	}
	if p.hosts > 1 || p.hosts == 1 && h.Authority != nil && !bytes.EqualFold(h.Authority, p.host) {
		return "Host is not the authority"
	}
	if h.Authority == nil {
		h.Authority = p.host
	}
	if !validAuthority(h.Authority) {
		return "the authority is not a host with an optional port"
	}
	if h.End && h.ContentLength > 0 {
		return "no body, but a Content-Length"
	}
	if p.cookies > 1 {
		p.joinCookies()
	}
	return ""
}

// wrongTarget says what is wrong with the method and what it is applied to; CONNECT has rules of its own: RFC 9113
// section 8.5, RFC 8441 section 4.
func (h *Head) wrongTarget() string {
	connect := string(h.Method) == "CONNECT"
	switch {
	case !validToken(h.Method):
		return "the method is not a token"
	case h.Protocol != nil && (!connect || !validToken(h.Protocol)):
		return ":protocol is not a token, or without CONNECT"
	case connect && h.Protocol == nil:
		if h.Scheme != nil || h.Path != nil || len(h.Authority) == 0 {
			return "CONNECT has more or less than an authority"
		}
	case !validScheme(h.Scheme):
		return "a request without scheme"
	case !validPath(h):
		return "the path is not one"
	}
	return ""
}

// joinCookies makes one field of several: RFC 9113 section 8.2.3.
func (p *parser) joinCookies() {
	from, to := len(p.text), 0
	first := -1
	for i := range p.head.Fields {
		f := &p.head.Fields[i]
		if string(f.Name) == "cookie" {
			if first >= 0 {
				p.text = append(p.text, "; "...)
				p.text = append(p.text, f.Value...)
				continue
			}
			first = to
			p.text = append(p.text, f.Value...)
		}
		p.head.Fields[to] = *f
		to++
	}
	p.head.Fields = p.head.Fields[:to]
	p.head.Fields[first].Value = p.text[from:]
}
