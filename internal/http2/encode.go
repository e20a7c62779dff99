package http2

import (
	"hash/maphash"
	"strconv"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"crossfade.dev/internal/http1"
)

// An encoder compresses heads. The peer's table learns a field when it is seen for the second time: a path or a
// request number that never comes again displaces nothing, and costs no memory of ours.
type encoder struct {
	hpack *hpack.Encoder
	seed  maphash.Seed
	seen  [32][4]sighting
	turn  int
	name  []byte // of the field in work, in small letters
	digit []byte
}

type sighting struct {
	hash        uint64
	name, value string // set at second sight
}

const maxLearned = 512 // bytes of a value: the table holds 4096

func newEncoder(to *outlet) *encoder {
	return &encoder{hpack: hpack.NewEncoder(to), seed: maphash.MakeSeed()}
}

// head writes h as a client's request or a server's answer.
func (e *encoder) head(h *Head, client bool) {
	if client {
		e.request(h)
	} else {
		e.digit = strconv.AppendInt(e.digit[:0], int64(h.Status), 10)
		e.pair(":status", e.digit)
	}
	e.fields(h.Fields, client && h.Authority != nil)
	if h.Sized && (client || h.Status >= 200 && h.Status != 204) {
		e.digit = strconv.AppendInt(e.digit[:0], h.ContentLength, 10)
		e.pair("content-length", e.digit)
	}
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
		e.name = e.name[:0]
		for _, c := range f.Name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			e.name = append(e.name, c)
		}
		if e.passes(f.Value, authority) {
			e.pair(view(e.name), f.Value)
		}
	}
}

func (e *encoder) passes(value []byte, authority bool) bool {
	switch string(e.name) {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings", "content-length":
		return false
	case "te":
		return string(value) == "trailers"
	case "host":
		return !authority
	default:
		return true
	}
}

// pair writes one field. name and value are not kept.
func (e *encoder) pair(name string, value []byte) {
	f := hpack.HeaderField{Name: name, Value: view(value), Sensitive: true}
	if len(value) <= maxLearned && !secret(name) {
		if s := e.sight(name, value); s != nil {
			f = hpack.HeaderField{Name: s.name, Value: s.value}
		}
	}
	_ = e.hpack.WriteField(f) // an outlet takes everything
}

// sight remembers a field, and returns it from the second time on.
func (e *encoder) sight(name string, value []byte) *sighting {
	var h maphash.Hash
	h.SetSeed(e.seed)
	_, _ = h.WriteString(name)
	_ = h.WriteByte(0)
	_, _ = h.Write(value)
	sum := h.Sum64() | 1
	set := &e.seen[sum>>1%uint64(len(e.seen))]
	i := 0
	for i < len(set) && set[i].hash != sum {
		i++
	}
	if i == len(set) {
		*e.victim(set) = sighting{hash: sum}
		return nil
	}
	s := &set[i]
	switch {
	case s.name == "":
		s.name, s.value = string(append([]byte(nil), name...)), string(value)
	case s.name != name || s.value != string(value):
		return nil
	}
	if i > 0 {
		set[i], set[i-1] = set[i-1], set[i]
		s = &set[i-1]
	}
	return s
}

// victim returns the place that a newcomer takes: of one that was seen only once, by turns; if there is none, the
// place of the one that was longest not seen.
func (e *encoder) victim(set *[4]sighting) *sighting {
	e.turn++
	for i := range set {
		if s := &set[(i+e.turn)%len(set)]; s.name == "" {
			return s
		}
	}
	return &set[len(set)-1]
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

// view is b as a string for as long as b does not change. The compressor keeps a field only if it is not sensitive,
// and those are sightings, which have memory of their own.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// writable says whether the fields of a head can stand on the wire. What came through a parser can.
func writable(fields []http1.Field) bool {
	for i := range fields {
		if f := &fields[i]; !validToken(f.Name) || !all(f.Value, inValue) {
			return false
		}
	}
	return true
}
