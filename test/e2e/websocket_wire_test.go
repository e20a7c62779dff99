//go:build integration

package e2e

import (
	"bufio"
	"crypto/rand"
	network "encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opMore   byte = 0x0
	opText   byte = 0x1
	opBinary byte = 0x2
	opClose  byte = 0x8
	opPing   byte = 0x9
	opPong   byte = 0xa
)

// Close codes of RFC 6455 section 7.4.1.
const (
	closeNormal   = 1000
	closeProtocol = 1002
	closeNoStatus = 1005 // says that the frame held none
	closeText     = 1007
)

// A duplex is what a WebSocket is spoken over.
type duplex interface {
	io.ReadWriteCloser // Close ends it at once, as a program does that dies
	CloseWrite() error // says that no more comes
}

// A websocket is one side of a WebSocket. It is strict about what comes and writes what it is told.
type websocket struct {
	duplex
	in      *bufio.Reader
	client  bool // masks what it says, and is answered unmasked
	begun   byte // the opcode of the message whose rest is to come, 0 for none
	gathers []byte
}

// A frame is one frame of a WebSocket.
type frame struct {
	final   bool
	op      byte
	payload []byte
}

func (f frame) String() string {
	text := fmt.Sprintf("%d bytes", len(f.payload))
	if len(f.payload) < 40 {
		text = fmt.Sprintf("%q", f.payload)
	}
	return fmt.Sprintf("opcode %d, final %t, %s", f.op, f.final, text)
}

// A violation is a rule that the peer broke, with the code that it is told so with.
type violation struct {
	code int
	what string
}

func (v *violation) Error() string { return fmt.Sprintf("close code %d: %s", v.code, v.what) }

// encode is the frame on the wire.
func (s *websocket) encode(f frame) []byte {
	first := f.op
	if f.final {
		first |= 0x80
	}
	return s.raw(first, f.payload)
}

// raw is a frame with any first byte.
func (s *websocket) raw(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = network.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = network.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	if !s.client {
		return append(b, payload...)
	}
	b[1] |= 0x80
	var key [4]byte
	_, _ = rand.Read(key[:]) // it does not fail
	b = append(b, key[:]...)
	from := len(b)
	b = append(b, payload...)
	mask(b[from:], key)
	return b
}

func mask(b []byte, key [4]byte) {
	for i := range b {
		b[i] ^= key[i%4]
	}
}

// say writes a frame.
func (s *websocket) say(op byte, final bool, payload []byte) error {
	_, err := s.Write(s.encode(frame{final, op, payload}))
	return err
}

// close writes a close frame.
func (s *websocket) close(code int, reason string) error {
	return s.say(opClose, true, closing(code, reason))
}

// closing is the payload of a close frame.
func closing(code int, reason string) []byte {
	if code == closeNoStatus {
		return nil
	}
	return append(network.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// hear reads one frame, and holds it to RFC 6455. The error is io.EOF between two frames, a violation, or what broke.
func (s *websocket) hear() (frame, error) {
	first, err := s.in.ReadByte()
	if err != nil {
		return frame{}, err
	}
	f := frame{final: first&0x80 != 0, op: first & 0xf}
	if first&0x70 != 0 {
		return f, &violation{closeProtocol, "reserved bits"}
	}
	second, err := s.in.ReadByte()
	if err != nil {
		return f, inside(err)
	}
	if masked := second&0x80 != 0; masked == s.client {
		return f, &violation{closeProtocol, fmt.Sprintf("masked is %t", masked)}
	}
	n, err := s.length(second & 0x7f)
	if err != nil {
		return f, err
	}
	if err := s.fits(f, n); err != nil {
		return f, err
	}
	var key [4]byte
	if !s.client {
		if _, err := io.ReadFull(s.in, key[:]); err != nil {
			return f, inside(err)
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(s.in, f.payload); err != nil {
		return f, inside(err)
	}
	if !s.client {
		mask(f.payload, key)
	}
	return f, s.makesSense(f)
}

// inside makes an end where no end may be an error.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// length reads the rest of a payload's length, which is written as short as can be.
func (s *websocket) length(n byte) (uint64, error) {
	if n < 126 {
		return uint64(n), nil
	}
	size, least := 2, uint64(126)
	if n == 127 {
		size, least = 8, 1<<16
	}
	var b [8]byte
	if _, err := io.ReadFull(s.in, b[8-size:]); err != nil {
		return 0, inside(err)
	}
	const most = 1 << 30
	length := network.BigEndian.Uint64(b[:])
	if length < least || length > most {
		return 0, &violation{closeProtocol, fmt.Sprintf("a length of %d in %d bytes", length, size)}
	}
	return length, nil
}

// fits says whether such a frame may come now.
func (s *websocket) fits(f frame, length uint64) error {
	switch f.op {
	case opText, opBinary:
		if s.begun != 0 {
			return &violation{closeProtocol, "a message within a message"}
		}
	case opMore:
		if s.begun == 0 {
			return &violation{closeProtocol, "the rest of nothing"}
		}
	case opClose, opPing, opPong:
		if !f.final || length > 125 {
			return &violation{closeProtocol, "a control frame that is long, or not whole"}
		}
	default:
		return &violation{closeProtocol, fmt.Sprintf("opcode %d", f.op)}
	}
	return nil
}

// makesSense looks at what a frame says, and keeps what later ones are held to.
func (s *websocket) makesSense(f frame) error {
	switch f.op {
	case opText, opBinary, opMore:
		if f.op != opMore {
			s.begun, s.gathers = f.op, nil
		}
		if s.begun == opText {
			s.gathers = append(s.gathers, f.payload...)
		}
		if !f.final {
			return nil
		}
		s.begun = 0
		if !utf8.Valid(s.gathers) {
			return &violation{closeText, "text that is not UTF-8"}
		}
	case opClose:
		if len(f.payload) == 1 || len(f.payload) > 1 && !closeCode(f.code()) {
			return &violation{closeProtocol, "a close code that may not be sent"}
		}
		if len(f.payload) > 2 && !utf8.Valid(f.payload[2:]) {
			return &violation{closeText, "a reason that is not UTF-8"}
		}
	}
	return nil
}

// closeCode says whether a code may stand on the wire.
func closeCode(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// code is that of a close frame.
func (f frame) code() int {
	if len(f.payload) < 2 {
		return closeNoStatus
	}
	return int(network.BigEndian.Uint16(f.payload))
}

// reason is that of a close frame.
func (f frame) reason() string {
	if len(f.payload) < 2 {
		return ""
	}
	return string(f.payload[2:])
}

// has says whether one of the comma-separated words of a header field is word, whatever its letters' size.
func has(field, word string) bool {
	for part := range strings.SplitSeq(field, ",") {
		if strings.EqualFold(strings.TrimSpace(part), word) {
			return true
		}
	}
	return false
}
