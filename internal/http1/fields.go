package http1

import (
	"bytes"
	"math"
)

// A known field is one that the codec itself understands.
type known uint8

const (
	unsorted known = iota // not parsed here: nobody has looked at the name
	other
	hopByHop
	host
	connection
	contentLength
	transferEncoding
	te
	trailer
	upgrade
	expect
	house // what our own programs tell each other
	load  // a load report
)

// whatIs names the field that the codec must look at; all others pass through it untouched. Nearly every name is
// dismissed by its length and first letter.
func whatIs(name []byte) known {
	if len(name) == 0 {
		return other
	}
	switch len(name)<<8 | int(foldTable[name[0]]) {
	case 2<<8 | 't':
		return pick(name, "te", te)
	case 4<<8 | 'h':
		return pick(name, "host", host)
	case 6<<8 | 'e':
		return pick(name, "expect", expect)
	case 7<<8 | 'u':
		return pick(name, "upgrade", upgrade)
	case 7<<8 | 't':
		return pick(name, "trailer", trailer)
	case 10<<8 | 'c':
		return pick(name, "connection", connection)
	case 10<<8 | 'k':
		return pick(name, "keep-alive", hopByHop)
	case 14<<8 | 'c':
		return pick(name, "content-length", contentLength)
	case 14<<8 | 'h':
		return pick(name, "http2-settings", hopByHop)
	case 16<<8 | 'p', 18<<8 | 'p', 19<<8 | 'p':
		return ofProxies(name)
	case 17<<8 | 't':
		return pick(name, "transfer-encoding", transferEncoding)
	case 15<<8 | 'c', 17<<8 | 'c', 21<<8 | 'e', 25<<8 | 'e':
		return ours(name)
	default:
		return other
	}
}

func ofProxies(name []byte) known {
	if spells(name, "proxy-connection") || spells(name, "proxy-authenticate") || spells(name, "proxy-authorization") {
		return hopByHop
	}
	return other
}

// ours says whether a name is one that means nothing to the codec but that it never passes by itself, however it is spelt.
func ours(name []byte) known {
	switch {
	case spells(name, "crossfade-drain"), spells(name, "crossfade-gateway"), spells(name, "crossfade-refused"):
		return house
	case spells(name, "endpoint-load-metrics"), spells(name, "endpoint-load-metrics-bin"):
		return load
	default:
		return other
	}
}

// pick says what the name is if it is the wanted one. Content_Length and its like say nothing about a message, but
// somebody behind us may take them for the real ones: they stop here.
func pick(name []byte, want string, is known) known {
	if !spells(name, want) {
		return other
	}
	if bytes.IndexByte(name, '_') >= 0 {
		return hopByHop
	}
	return is
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
	house     bool // there are fields of the house, or load reports
	options   int  // what Connection lists, all in all
}

// maxOptions bounds what Connection lists: each may have to be compared with the name of every field.
const maxOptions = 32

// parse reads field lines from b[pos:] up to and with the empty line, which ends at end. end is 0 when more
// bytes are needed. Each byte is looked at once, and the first that is wrong decides: how much of the message has
// come makes no difference.
func (h *head) parse(b []byte, pos int) (end int, err *Error) {
	fields := h.fields
	for {
		colon := pos + run(b[pos:], inToken)
		if colon == len(b) {
			return 0, nil
		}
		if colon == pos || b[colon] != ':' {
			h.fields = fields
			return endHead(b, pos, colon)
		}
		if len(fields) == MaxFields {
			return 0, errManyFields
		}
		end := colon + 1 + plainRun(b[colon+1:])
		if end+1 >= len(b) || b[end] != '\r' || b[end+1] != '\n' { // hardly ever: a tab, a wrong byte, or the end
			if end, err = scanValue(b, end); end == 0 || err != nil {
				return 0, err
			}
		}
		name, value := b[pos:colon], trim(b[colon+1:end])
		is := whatIs(name)
		fields = append(fields, Field{})
		f := &fields[len(fields)-1] // filled in where it is: what is written word by word is slow to copy at once
		f.Name, f.Value, f.is = name, value, is
		if is != other {
			if err := h.note(is, value); err != nil {
				return 0, err
			}
		}
		pos = end + len("\r\n")
	}
}

// endHead is about a line that does not begin with a name and a colon: the empty line, which ends the head, or a
// wrong one. at is the first byte of it that belongs to no name.
func endHead(b []byte, line, at int) (end int, err *Error) {
	switch c := b[at]; {
	case c == '\n':
		return 0, errBareLF
	case at > line:
		return 0, errFieldName
	case c == ' ' || c == '\t':
		return 0, errFold
	case c != '\r':
		return 0, errFieldName
	case at+1 == len(b):
		return 0, nil
	case b[at+1] != '\n':
		return 0, errFieldName
	default:
		return at + 2, nil
	}
}

// scanValue returns where the value that starts at b[pos] ends with CRLF; 0 when more bytes are needed.
func scanValue(b []byte, pos int) (end int, err *Error) {
	for {
		pos += plainRun(b[pos:])
		if pos == len(b) {
			return 0, nil
		}
		switch b[pos] {
		case '\t':
			pos++
			continue
		case '\n':
			return 0, errBareLF
		case '\r':
			if pos+1 == len(b) {
				return 0, nil
			}
			if b[pos+1] == '\n' {
				return pos, nil
			}
		}
		return 0, errFieldValue
	}
}

// note keeps what one field says about the message.
func (h *head) note(is known, value []byte) *Error {
	switch is {
	case host:
		h.hosts++
		h.host = value
	case connection:
		return h.noteConnection(value)
	case contentLength:
		h.lengths++
		var ok bool
		if h.length, ok = parseLength(value); !ok {
			return errLength
		}
	case transferEncoding:
		h.codings++
		h.coding = value
	case upgrade:
		h.upgrades++
		h.upgrade = value
	case expect:
		if EqualFold(value, "100-continue") {
			h.expects = true
		} else {
			h.unmet = true
		}
	case house, load:
		h.house = true
	case unsorted, other, hopByHop, te, trailer:
	}
	return nil
}

func (h *head) noteConnection(list []byte) *Error {
	for len(list) > 0 {
		var item []byte
		if item, list = nextItem(list); len(item) == 0 {
			continue
		}
		if h.options++; h.options > maxOptions {
			return errOptions
		}
		switch {
		case EqualFold(item, "close"):
			h.close = true
		case EqualFold(item, "keep-alive"):
			h.keepAlive = true
		case EqualFold(item, "upgrade"):
			h.switches = true
		case EqualFold(item, "te"): // it is never passed on as it came
		case isToken(item):
			h.names = true
		default:
			return errConnection
		}
	}
	return nil
}

// nominate makes what Connection nominates hop-by-hop. The fields that the codec writes itself it does not give away.
func (h *head) nominate() {
	for i := range h.fields {
		if h.fields[i].is != connection {
			continue
		}
		for list := h.fields[i].Value; len(list) > 0; {
			var item []byte
			if item, list = nextItem(list); len(item) > 0 {
				h.drop(item)
			}
		}
	}
}

func (h *head) drop(name []byte) {
	for i := range h.fields {
		if f := &h.fields[i]; (f.is == other || f.is == trailer) && sameName(f.Name, name) {
			f.is = hopByHop
		}
	}
}

// parseLength reads a Content-Length: decimal digits only, no sign, no list, within int64.
func parseLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) || n > (math.MaxInt64-int64(c-'0'))/10 {
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
	last, more := false, true
	for more {
		var item []byte
		item, list, more = bytes.Cut(list, []byte{','})
		if item = trim(item); last || !isToken(item) {
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
