package http2

import (
	"hash/maphash"
	"strconv"
	"unsafe"

	"crossfade.dev/internal/http1"
)

// An encoder compresses heads. The peer's table learns a field when it is seen for the second time: a path or a
// request number that never comes again displaces nothing, and costs no memory of ours.
//
// One head is mostly like the one before. So each field that was learned knows which one came next the last time: that
// is compared before any other is looked for.
type encoder struct {
	compressor
	client bool
	seed   maphash.Seed
	seen   [seenSets * seenPlaces]sighting
	heads  uint32 // that were written
	turn   int
	first  uint8  // where the field is that a head begins with,
	after  uint8  // and that trailers begin with
	next   *uint8 // where the place of the next field is kept
	name   []byte // of the field in work, in small letters
	digit  []byte
}

// A sighting is in one of the places of the set that its hash chooses.
const (
	seenSets   = 32
	seenPlaces = 4
)

// A sighting is a field that was seen. Once was: only its hash is known.
type sighting struct {
	hash  uint64
	text  string // its name and its value, from the second time on
	entry uint64 // the number that it was last put into the table under
	head  uint32 // the last one that it was in
	named uint16 // how much of text is the name
	fixed uint8  // its place in the fixed table; 0: it has none
	next  uint8  // the place of the one that came next
}

const maxLearned = 512 // bytes of a value: the table holds 4096

func newEncoder(client bool) *encoder {
	e := &encoder{client: client, seed: maphash.MakeSeed()}
	e.most = tableSize
	e.huffman = !client // the way to an endpoint is short
	return e
}

// appendHead appends h, as a client's request or a server's answer, to dst.
func (e *encoder) appendHead(dst []byte, h *Head) []byte {
	e.begin(dst, &e.first)
	if e.client {
		e.request(h)
	} else {
		e.digit = strconv.AppendInt(e.digit[:0], int64(h.Status), 10)
		e.pair(":status", e.digit)
	}
	e.fields(h.Fields, e.client && h.Authority != nil)
	if h.Sized && (e.client || h.Status >= 200 && h.Status != 204) {
		e.digit = strconv.AppendInt(e.digit[:0], h.ContentLength, 10)
		e.pair("content-length", e.digit)
	}
	return e.end()
}

// appendTrailers appends fields to dst.
func (e *encoder) appendTrailers(dst []byte, fields []http1.Field) []byte {
	e.begin(dst, &e.after)
	e.fields(fields, true)
	return e.end()
}

func (e *encoder) begin(dst []byte, first *uint8) {
	e.dst, e.next = dst, first
	e.heads++
	e.tell()
}

func (e *encoder) end() (dst []byte) {
	dst, e.dst = e.dst, nil
	return dst
}

func (e *encoder) request(h *Head) {
	e.pair(":method", h.Method)
	if h.Protocol != nil {
		e.pair(":protocol", h.Protocol)
	}
	if h.Scheme != nil {
		e.pair(":scheme", h.Scheme)
	}
	if h.Authority != nil {
		e.pair(":authority", h.Authority)
	}
	if h.Path != nil {
		e.pair(":path", h.Path)
	}
}

// fields writes those that may go out over HTTP/2.
func (e *encoder) fields(fields []http1.Field, authority bool) {
	for i := range fields {
		f := &fields[i]
		value := view(f.Value)
		if s := e.guess(view(f.Name), value); s != nil {
			if passes(s.text[:s.named], value, authority) {
				e.repeat(s)
			}
			continue
		}
		e.name = e.name[:0]
		for _, c := range f.Name {
			e.name = append(e.name, small(c))
		}
		if name := view(e.name); passes(name, value, authority) {
			e.look(name, value)
		}
	}
}

func passes(name, value string, authority bool) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings", "content-length":
		return false
	case "te":
		return value == "trailers"
	case "host":
		return !authority
	default:
		return true
	}
}

// pair writes one field, whose name is in small letters. value is not kept.
func (e *encoder) pair(name string, value []byte) {
	if s := e.guess(name, view(value)); s != nil {
		e.repeat(s)
	} else {
		e.look(name, view(value))
	}
}

// guess returns the field that is likely to be next, if it is this one.
func (e *encoder) guess(name, value string) *sighting {
	s := &e.seen[*e.next]
	if s.is(name, value) {
		return s
	}
	return nil
}

func (s *sighting) is(name, value string) bool {
	n := int(s.named)
	return n == len(name) && len(s.text) == n+len(value) && s.text[n:] == value && (s.text[:n] == name || isSmall(s.text[:n], name))
}

// isSmall says whether want is name in small letters. They are equally long.
func isSmall(want, name string) bool {
	for i := range len(want) {
		if small(name[i]) != want[i] {
			return false
		}
	}
	return true
}

func small(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// look looks for a field among those that were seen, and writes it.
func (e *encoder) look(name, value string) {
	if hidden := secret(name); hidden || len(value) > maxLearned || len(name) > maxLearned {
		e.pass(name, value, hidden)
		return
	}
	i, ok := e.sight(name, value)
	if !ok {
		e.pass(name, value, false)
		return
	}
	*e.next = i
	e.repeat(&e.seen[i])
}

// repeat writes a field that was learned.
func (e *encoder) repeat(s *sighting) {
	s.head, e.next = e.heads, &s.next
	switch {
	case s.fixed > 0:
		e.pointFixed(uint64(s.fixed))
	case e.holds(s.entry):
		e.point(s.entry)
	default:
		s.entry = e.add(s.text[:s.named], s.text[s.named:])
	}
}

// sight remembers a field, and says where, from the second time on.
func (e *encoder) sight(name, value string) (at uint8, ok bool) {
	var h maphash.Hash
	h.SetSeed(e.seed)
	_, _ = h.WriteString(name)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(value)
	sum := h.Sum64() | 1
	first := int(sum>>1%seenSets) * seenPlaces
	set := e.seen[first : first+seenPlaces]
	for i := range set {
		s := &set[i]
		switch {
		case s.hash != sum:
			continue
		case s.text == "":
			s.learn(name, value)
		case !s.is(name, value):
			return 0, false
		}
		return uint8(first + i), true
	}
	*e.victim(set) = sighting{hash: sum}
	return 0, false
}

func (s *sighting) learn(name, value string) {
	s.named = uint16(len(name))
	s.text = string(append(append(make([]byte, 0, len(name)+len(value)), name...), value...)) // name and value change
	s.fixed = uint8(fixedTable.fields[[2]string{name, value}])
}

// victim returns the place that a newcomer takes: of one that was seen only once, by turns; if there is none, the
// place of the one that was longest not seen.
func (e *encoder) victim(set []sighting) *sighting {
	e.turn++
	oldest := &set[0]
	for i := range set {
		s := &set[(i+e.turn)%len(set)]
		if s.text == "" {
			return s
		}
		if e.heads-s.head > e.heads-oldest.head {
			oldest = s
		}
	}
	return oldest
}

// secret says that the field's values must not be found out by trying: requests of several clients share a
// connection (RFC 7541 section 7.1.3).
func secret(name string) bool {
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	default:
		return false
	}
}

// view is b as a string for as long as b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// writable says whether the fields of a head can stand on the wire. What came through a parser can.
func writable(fields []http1.Field) bool {
	for i := range fields {
		if f := &fields[i]; !validToken(f.Name) || !clean(view(f.Value)) {
			return false
		}
	}
	return true
}
