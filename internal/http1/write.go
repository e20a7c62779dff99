package http1

import (
	"bytes"
	"strconv"
)

// An Edit says what changes when a head is written for the other side. Names are matched without case, and an
// underscore matches a dash: who sets X-User does not let a client's X_User through to a CGI or WSGI program, to
// which both are HTTP_X_USER.
// What belongs to one connection only is not an Edit's business: AppendRequest and AppendResponse drop it, and
// write Host, Connection, Upgrade and the framing themselves; an Edit that names those fields changes nothing.
// A control byte in a value is written as a space.
//
// Fields of the house (crossfade-gateway, crossfade-drain, crossfade-refused), in which our own programs tell each other
// of themselves, stop here too, and so do load reports (endpoint-load-metrics, endpoint-load-metrics-bin) unless Loads says
// otherwise: nobody learns or makes up what is meant for us. Those that an Edit sets or adds are written.
type Edit struct {
	Host      []byte   // requests: replaces the authority, if not nil
	Path      []byte   // requests: replaces path and query, if not nil
	Set       []Field  // each replaces every field of its name
	Join      []Field  // each is appended to the list of its name: "X-Forwarded-For: old, new"
	Add       []Field  // each is added as a line of its own
	Remove    [][]byte // names to drop
	Close     bool     // write Connection: close
	KeepAlive bool     // write Connection: keep-alive (an HTTP/1.0 client that asked for it needs it)
	Upgrade   bool     // pass the message's Upgrade on; otherwise it is dropped
	Loads     bool     // pass load reports on; otherwise they are dropped
}

// AppendRequest appends the head of r, changed by e, as it goes to the other side: HTTP/1.1, origin form, one
// Host, no hop-by-hop field, the framing that r has. Expect is passed on when r.Expect.
func AppendRequest(dst []byte, r *Request, e *Edit) []byte {
	path, authority := r.Path, r.Host
	if e.Path != nil {
		path = e.Path
	}
	if e.Host != nil {
		authority = e.Host
	}
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, authority...)
	dst = append(dst, "\r\n"...)

	w := writer{fields: r.Fields, edit: e, expect: r.Expect, trailers: r.Framing == Chunked}
	dst = w.append(dst)
	dst = appendFraming(dst, r.Framing, r.ContentLength)
	accepts := ""
	if w.te { // RFC 9110 section 10.1.4 has TE nominated
		accepts = "TE"
		dst = append(dst, "TE: trailers\r\n"...)
	}
	dst = appendConnection(dst, persistence(e.Close, e.KeepAlive), accepts, e.protocol(r.Upgrade))
	return append(dst, "\r\n"...)
}

// AppendResponse appends the head of r, changed by e. The framing written is r.Framing: the caller may change
// UntilClose to Chunked (and encode), or Chunked to UntilClose (for an HTTP/1.0 client; implies Close).
func AppendResponse(dst []byte, r *Response, e *Edit) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Reason...)
	dst = append(dst, "\r\n"...)

	w := writer{fields: r.Fields, edit: e, trailers: r.Framing == Chunked}
	dst = w.append(dst)
	switch {
	case r.Status < 200 || r.Status == 204:
	case r.Framing == NoBody && r.ContentLength >= 0:
		dst = appendFraming(dst, Length, r.ContentLength)
	default:
		dst = appendFraming(dst, r.Framing, r.ContentLength)
	}
	option := ""
	if r.Status >= 200 {
		option = persistence(e.Close || r.Framing == UntilClose, e.KeepAlive)
	}
	dst = appendConnection(dst, option, "", e.protocol(r.Upgrade))
	return append(dst, "\r\n"...)
}

// appendFraming writes how the body's end is found.
func appendFraming(dst []byte, f Framing, length int64) []byte {
	switch f {
	case Length:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		return append(dst, "\r\n"...)
	case Chunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	case NoBody, UntilClose:
	}
	return dst
}

// persistence is the connection option that says whether the connection stays.
func persistence(ends, stays bool) string {
	switch {
	case ends:
		return "close"
	case stays:
		return "keep-alive"
	default:
		return ""
	}
}

// protocol is what is left of a message's Upgrade.
func (e *Edit) protocol(asked []byte) []byte {
	if !e.Upgrade {
		return nil
	}
	return asked
}

// appendConnection writes Connection with the options that are not empty, and Upgrade.
func appendConnection(dst []byte, persists, accepts string, protocol []byte) []byte {
	switches := ""
	if len(protocol) > 0 {
		switches = "upgrade"
	}
	opening, end := "Connection: ", ""
	for _, option := range [...]string{persists, accepts, switches} {
		if option != "" {
			dst = append(dst, opening...)
			dst = append(dst, option...)
			opening, end = ", ", "\r\n"
		}
	}
	dst = append(dst, end...)
	if switches == "" {
		return dst
	}
	dst = append(dst, "Upgrade: "...)
	dst = append(dst, protocol...)
	return append(dst, "\r\n"...)
}

// A writer copies the fields of one message that its other side should see.
type writer struct {
	fields   []Field
	edit     *Edit
	expect   bool // Expect goes on
	trailers bool // Trailer goes on
	te       bool // found: the sender accepts trailers
}

func (w *writer) append(dst []byte) []byte {
	for i := range w.fields {
		f := &w.fields[i]
		if w.passes(f) && !w.edited(f.Name) {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	for i := range w.edit.Set {
		dst = appendEdit(dst, &w.edit.Set[i])
	}
	for i := range w.edit.Join {
		dst = w.appendJoined(dst, &w.edit.Join[i])
	}
	for i := range w.edit.Add {
		dst = appendEdit(dst, &w.edit.Add[i])
	}
	return dst
}

// passes says whether a field is end-to-end.
func (w *writer) passes(f *Field) bool {
	is := f.is
	if is == unsorted {
		is = whatIs(f.Name)
	}
	switch is {
	case other:
		return true
	case te:
		w.te = w.te || hasItem(f.Value, "trailers")
		return false
	case expect:
		return w.expect
	case trailer:
		return w.trailers
	case load:
		return w.edit.Loads
	default:
		return false
	}
}

// edited says whether the edit replaces or removes a field of the name.
func (w *writer) edited(name []byte) bool {
	for i := range w.edit.Remove {
		if sameName(w.edit.Remove[i], name) {
			return true
		}
	}
	return has(w.edit.Set, name) || has(w.edit.Join, name)
}

func has(fields []Field, name []byte) bool {
	for i := range fields {
		if sameName(fields[i].Name, name) {
			return true
		}
	}
	return false
}

// appendJoined writes one line with all values of the name and the edit's own.
func (w *writer) appendJoined(dst []byte, own *Field) []byte {
	if !editable(own) {
		return dst
	}
	dst = append(dst, own.Name...)
	dst = append(dst, ": "...)
	for i := range w.fields {
		f := &w.fields[i]
		if len(f.Value) > 0 && len(f.Name) == len(own.Name) && bytes.EqualFold(f.Name, own.Name) && w.passes(f) {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	dst = appendValue(dst, own.Value)
	return append(dst, "\r\n"...)
}

func appendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// appendEdit writes a field that did not come through the parser.
func appendEdit(dst []byte, f *Field) []byte {
	if !editable(f) {
		return dst
	}
	dst = append(dst, f.Name...)
	dst = append(dst, ": "...)
	dst = appendValue(dst, f.Value)
	return append(dst, "\r\n"...)
}

// NewField returns a field for an Edit. What its name is, is looked at once, here, and not whenever it is written.
func NewField(name, value string) Field {
	f := Field{Name: []byte(name), Value: []byte(value)}
	if isToken(f.Name) {
		f.is = whatIs(f.Name)
	}
	return f
}

// editable says whether an edit may write a field.
func editable(f *Field) bool {
	is := f.is
	if is == unsorted && isToken(f.Name) {
		is = whatIs(f.Name)
	}
	switch is {
	case other, expect, trailer, house, load:
		return true
	default:
		return false
	}
}

func appendValue(dst, value []byte) []byte {
	if plainRun(value) == len(value) {
		return append(dst, value...)
	}
	for _, c := range value {
		if classTable[c]&inValue == 0 {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}
