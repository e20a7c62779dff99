package proxy

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it; it guards nothing
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"strconv"

	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// Heads have one language in this house, that of HTTP/1.1. What comes over HTTP/2 is written down in it and read by
// the same strict parser; what goes out over HTTP/2 is first written as it would go out over HTTP/1.1. So there is one
// place that decides what a head may say, what is edited and what stays behind, and nothing passes over HTTP/2 that
// an endpoint of HTTP/1.1 could read otherwise.
//
// A WebSocket over HTTP/2 (RFC 8441) is written down as the upgrade that it would be: a CONNECT with :protocol as a GET
// with Upgrade, a 200 as a 101. The key and its answer, which only HTTP/1.1 has, are made and checked here.

// A transcript is what an exchange needs to write heads down.
type transcript struct {
	text     []byte         // the client's request
	request  http1.Request  // as it goes out
	response http1.Response // likewise
	head     http2.Head     // what either of them becomes
	scheme   []byte
	key      [24]byte // of a WebSocket, where the client has none
	hop      bool     // the connection goes on in HTTP/2; see Conn.hop
}

func (s *transcript) forget(usual int) {
	if cap(s.text) > usual {
		s.text = nil
	}
	s.head, s.hop = http2.Head{Fields: s.head.Fields[:0]}, false
}

const (
	keyName    = "Sec-WebSocket-Key"
	acceptName = "Sec-WebSocket-Accept"
	websocket  = "websocket"
)

// appendRequest writes a request down that came over HTTP/2. One of a protocol that nobody here speaks becomes a CONNECT,
// which is refused.
func (s *transcript) appendRequest(dst []byte, h *http2.Head) []byte {
	method, path := h.Method, h.Path
	upgrade := h.Protocol != nil && string(h.Protocol) == websocket
	switch {
	case upgrade:
		method = []byte(http.MethodGet)
	case h.Protocol != nil || h.Path == nil:
		method, path = []byte(http.MethodConnect), h.Authority
	}
	dst = append(append(dst, method...), ' ')
	dst = append(append(dst, path...), " HTTP/1.1\r\n"...)
	dst = appendField(dst, "Host", h.Authority)
	for i := range h.Fields {
		f := &h.Fields[i]
		if upgrade && http1.EqualFold(f.Name, keyName) {
			continue
		}
		dst = append(append(dst, f.Name...), ": "...)
		dst = append(append(dst, f.Value...), "\r\n"...)
	}
	switch {
	case upgrade:
		s.newKey()
		dst = appendField(dst, keyName, s.key[:])
		dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\n"...)
	case h.Sized:
		dst = appendLength(dst, h.ContentLength)
	case !h.End:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case string(h.Method) == http.MethodPost || string(h.Method) == http.MethodPut || string(h.Method) == http.MethodPatch:
		dst = appendLength(dst, 0) // RFC 9110 section 8.6
	}
	return append(dst, "\r\n"...)
}

// appendResponse writes an answer down that came over HTTP/2. upgraded says that its request was a CONNECT with a protocol
// and that key.
func appendResponse(dst []byte, h *http2.Head, upgraded bool, key []byte) []byte {
	upgraded = upgraded && h.Status >= 200 && h.Status < 300
	status := h.Status
	if upgraded {
		status = http.StatusSwitchingProtocols
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(append(dst, ' '), http.StatusText(status)...), "\r\n"...)
	for i := range h.Fields {
		f := &h.Fields[i]
		dst = append(append(dst, f.Name...), ": "...)
		dst = append(append(dst, f.Value...), "\r\n"...)
	}
	switch {
	case upgraded:
		accept := acceptOf(key)
		dst = appendField(dst, acceptName, accept[:])
		dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\n"...)
	case h.Sized && h.Status >= 200:
		dst = appendLength(dst, h.ContentLength)
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name string, value []byte) []byte {
	return append(append(append(append(dst, name...), ": "...), value...), "\r\n"...)
}

func appendLength(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, "Content-Length: "...), n, 10), "\r\n"...)
}

// readRequest reads a request that was written to go out over HTTP/1.1, and returns it as it goes out over HTTP/2.
func (s *transcript) readRequest(text []byte, scheme string) (*http2.Head, error) {
	r := &s.request
	if _, err := r.Parse(text); err != nil {
		return nil, err
	}
	s.scheme = append(s.scheme[:0], scheme...)
	s.head = http2.Head{
		Method: r.Method, Scheme: s.scheme, Authority: r.Host, Path: r.Path,
		Fields:        s.head.Fields[:0],
		ContentLength: r.ContentLength, Sized: r.Framing == http1.Length,
	}
	if r.Upgrade != nil {
		s.head.Method, s.head.Protocol = []byte(http.MethodConnect), []byte(websocket)
	}
	s.keep(r.Fields, r.Upgrade != nil)
	return &s.head, nil
}

// readResponse is readRequest for an answer to method. A 101 goes out as a 200.
func (s *transcript) readResponse(text, method []byte) (*http2.Head, error) {
	r := &s.response
	if _, err := r.Parse(text, method); err != nil {
		return nil, err
	}
	s.head = http2.Head{
		Status: r.Status, Fields: s.head.Fields[:0],
		ContentLength: r.ContentLength, Sized: r.Framing == http1.Length || r.Framing == http1.NoBody && r.ContentLength >= 0,
	}
	switched := r.Status == http.StatusSwitchingProtocols
	if switched {
		s.head.Status = http.StatusOK
	}
	s.keep(r.Fields, switched)
	return &s.head, nil
}

// keep makes fields those of the head, but for what the head says elsewhere, and a WebSocket's key and its answer. What
// belongs to one connection only is left out when the head is written.
func (s *transcript) keep(fields []http1.Field, switching bool) {
	for i := range fields {
		f := &fields[i]
		switch n := len(f.Name); { // most names are as long as none of these
		case n == len("Host") && http1.EqualFold(f.Name, "Host"):
		case n == len("Content-Length") && http1.EqualFold(f.Name, "Content-Length"):
		case switching && (http1.EqualFold(f.Name, keyName) || http1.EqualFold(f.Name, acceptName)):
		default:
			s.head.Fields = append(s.head.Fields, http1.Field{})
			last := &s.head.Fields[len(s.head.Fields)-1]
			last.Name, last.Value = f.Name, f.Value
		}
	}
}

// newKey makes a WebSocket's key: 16 random bytes, to tell an answer from an echo; it guards nothing.
func (s *transcript) newKey() {
	var raw [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		raw[i], raw[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	base64.StdEncoding.Encode(s.key[:], raw[:])
}

// acceptOf is what proves that a WebSocket's key was understood (RFC 6455 section 4.2.2).
func acceptOf(key []byte) (accept [28]byte) {
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) //nolint:gosec // see above
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}
