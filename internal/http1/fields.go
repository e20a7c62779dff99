package http1

import (
	"bytes"
	"math"
)

// A known field is one that the codec itself understands.
type known uint8

const (
	other known = iota
	hopByHop
	host
	connection
	contentLength
	transferEncoding
	te
	trailer
	upgrade
	expect
)

// whatIs names the field that the codec must look at; all others pass through it untouched. Most names are
// dismissed by their length.
func whatIs(name []byte) known {
	switch len(name) {
	case 2:
		return pick(name, "te", te)
	case 4:
		return pick(name, "host", host)
	case 6:
		return pick(name, "expect", expect)
	case 7:
		return max(pick(name, "upgrade", upgrade), pick(name, "trailer", trailer))
	case 10:
		return max(pick(name, "connection", connection), pick(name, "keep-alive", hopByHop))
	case 14:
		return max(pick(name, "content-length", contentLength), pick(name, "http2-settings", hopByHop))
	case 16:
		return pick(name, "proxy-connection", hopByHop)
	case 17:
		return pick(name, "transfer-encoding", transferEncoding)
	case 18:
		return pick(name, "proxy-authenticate", hopByHop)
	case 19:
		return pick(name, "proxy-authorization", hopByHop)
	default:
		return other
	}
}

func pick(name []byte, want string, is known) known {
	if EqualFold(name, want) {
		return is
	}
	return other
}

// A head is what the fields of one message say about it.
type head struct {
	fields    []Field
	hosts     int
	host      []byte
	lengths   int
	length    int64
	codings   int
	coding    []byte
	upgrades  int
	upgrade   []byte
	expects   bool // Expect: 100-continue
	unmet     bool // Expect: anything else
	close     bool
	keepAlive bool
	switches  bool // Connection: upgrade
	names     bool // Connection nominates other fields
}

// parse reads field lines from b[pos:] up to and with the empty line, which ends at end. end is 0 when more
// bytes are needed.
func (h *head) parse(b []byte, pos int) (end int, err *Error) {
	for {
		line, next, err := cutLine(b, pos)
		if next == 0 || err != nil {
			return 0, err
		}
		if len(line) == 0 {
			return next, nil
		}
		if len(h.fields) == MaxFields {
			return 0, errManyFields
		}
		field, err := parseField(line)
		if err != nil {
			return 0, err
		}
		h.fields = append(h.fields, field)
		if err := h.note(field); err != nil {
			return 0, err
		}
		pos = next
	}
}

// cutLine returns the line at b[pos:] without its CRLF, and where the next one starts; 0 when the line is not
// whole yet.
func cutLine(b []byte, pos int) (line []byte, next int, err *Error) {
	i := bytes.IndexByte(b[pos:], '\n')
	if i < 0 {
		return nil, 0, nil
	}
	if i == 0 || b[pos+i-1] != '\r' {
		return nil, 0, errBareLF
	}
	return b[pos : pos+i-1], pos + i + 1, nil
}

// parseField splits a line that is not empty.
func parseField(line []byte) (Field, *Error) {
	i := 0
	for i < len(line) && classTable[line[i]]&inToken != 0 {
		i++
	}
	if i == 0 && (line[0] == ' ' || line[0] == '\t') {
		return Field{}, errFold
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return Field{}, errFieldName
	}
	value := trim(line[i+1:])
	if !all(value, inValue) {
		return Field{}, errFieldValue
	}
	return Field{Name: line[:i], Value: value}, nil
}

// note keeps what one field says about the message.
func (h *head) note(f Field) *Error {
	switch whatIs(f.Name) {
	case host:
		h.hosts++
		h.host = f.Value
	case connection:
		return h.noteConnection(f.Value)
	case contentLength:
		h.lengths++
		var ok bool
		if h.length, ok = parseLength(f.Value); !ok {
			return errLength
		}
	case transferEncoding:
		h.codings++
		h.coding = f.Value
	case upgrade:
		h.upgrades++
		h.upgrade = f.Value
	case expect:
		if EqualFold(f.Value, "100-continue") {
			h.expects = true
		} else {
			h.unmet = true
		}
	case other, hopByHop, te, trailer:
	}
	return nil
}

func (h *head) noteConnection(list []byte) *Error {
	for len(list) > 0 {
		var item []byte
		item, list = nextItem(list)
		switch {
		case len(item) == 0:
		case EqualFold(item, "close"):
			h.close = true
		case EqualFold(item, "keep-alive"):
			h.keepAlive = true
		case EqualFold(item, "upgrade"):
			h.switches = true
		case isToken(item):
			h.names = true
		default:
			return errConnection
		}
	}
	return nil
}

// parseLength reads a Content-Length: decimal digits only, no sign, no list, within int64.
func parseLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// framing says how the fields delimit a body; none is what holds without any of them.
//
// A repeated Content-Length is refused even when the values agree: RFC 9112 section 6.3 allows both, and no
// sender that is well has a reason for it.
func (h *head) framing(minor int, none Framing) (Framing, *Error) {
	switch {
	case h.lengths > 1:
		return none, errTwoLengths
	case h.codings == 0 && h.lengths == 0:
		return none, nil
	case h.codings == 0:
		return Length, nil
	case minor == 0:
		return none, errOldTE
	case h.lengths > 0:
		return none, errLengthAndTE
	case h.codings > 1:
		return none, errCoding
	case EqualFold(h.coding, "chunked"):
		return Chunked, nil
	case chunkedLast(h.coding):
		return none, errUnknownTE
	default:
		return none, errCoding
	}
}

// chunkedLast says that a coding list is well formed and ends with the only chunked.
func chunkedLast(list []byte) bool {
	var last bool
	for len(list) > 0 {
		var item []byte
		item, list = nextItem(list)
		if last || !isToken(item) {
			return false
		}
		last = EqualFold(item, "chunked")
	}
	return last
}

// closes says that the connection ends with this message or its answer.
func (h *head) closes(minor int) bool {
	return h.close || minor == 0 && !h.keepAlive
}

// protocol returns what Upgrade names, if Connection passes it on and it is the one protocol that may go through:
// websocket. Others take a connection out of every rule's reach (HTTP/2, TLS), or nobody knows what they do.
func (h *head) protocol() []byte {
	if !h.switches || h.upgrades != 1 || !EqualFold(h.upgrade, "websocket") {
		return nil
	}
	return h.upgrade
}

// nominated says whether a Connection field among fields makes the name one of this connection only.
func nominated(fields []Field, name []byte) bool {
	for i := range fields {
		if whatIs(fields[i].Name) != connection {
			continue
		}
		for list := fields[i].Value; len(list) > 0; {
			var item []byte
			if item, list = nextItem(list); sameName(item, name) {
				return true
			}
		}
	}
	return false
}
