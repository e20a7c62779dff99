package main

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 asks for it; it keeps no secret.
	"encoding/base64"
	network "encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// Close codes of RFC 6455 section 7.4.1.
const (
	closeProtocol = 1002
	closeTooBig   = 1009
)

// maxFrame bounds one frame's payload, in bytes.
const maxFrame = 1 << 20

// A violation is what ends a WebSocket whose client breaks the rules, as its close code.
type violation uint16

func (v violation) Error() string { return "the client broke the rules of WebSockets" }

// webSocketEcho gives every frame back, so that messages come back in the pieces in which they were sent.
func webSocketEcho(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-WebSocket-Version") != "13" || key == "" {
		refuse(w, "want a WebSocket, version 13")
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, "%v", err)
		return
	}
	defer conn.Close()                                                       //nolint:errcheck // everything that was to be said has been said.
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above.
	_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(accept[:]) + "\r\n\r\n") // Flush tells of its errors
	if buffered.Flush() != nil {
		return
	}
	for more := true; more; {
		more = echo(buffered)
	}
}

// echo answers one frame, and says whether more may come.
func echo(rw *bufio.ReadWriter) (more bool) {
	first, payload, err := readFrame(rw.Reader)
	if bad, ok := errors.AsType[violation](err); ok {
		_ = writeFrame(rw.Writer, 0x80|opClose, network.BigEndian.AppendUint16(nil, uint16(bad)))
		return false
	}
	if err != nil {
		return false
	}
	switch first & 0x0f {
	case opPing:
		first = 0x80 | opPong
	case opPong:
		return true
	}
	return writeFrame(rw.Writer, first, payload) == nil && first&0x0f != opClose
}

// readFrame reads one frame: its first byte, which says what it is, and its payload.
func readFrame(in *bufio.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	if !legal(head) {
		return 0, nil, violation(closeProtocol)
	}
	length := uint64(head[1] & 0x7f)
	if bytes := map[uint64]int{126: 2, 127: 8}[length]; bytes > 0 {
		var extended [8]byte
		if _, err := io.ReadFull(in, extended[8-bytes:]); err != nil {
			return 0, nil, err
		}
		length = network.BigEndian.Uint64(extended[:])
	}
	if length > maxFrame {
		return 0, nil, violation(closeTooBig)
	}
	masked := make([]byte, 4+length) // the mask, and what it lies on
	if _, err := io.ReadFull(in, masked); err != nil {
		return 0, nil, err
	}
	payload = masked[4:]
	for i := range payload {
		payload[i] ^= masked[i%4]
	}
	return head[0], payload, nil
}

// legal says whether a client may begin a frame so: masked, of a kind that there is, control frames short and whole.
func legal(head [2]byte) bool {
	op, length := head[0]&0x0f, head[1]&0x7f
	if head[1]&0x80 == 0 || head[0]&0x70 != 0 {
		return false
	}
	if op >= opClose {
		return op <= opPong && length <= 125 && head[0]&0x80 != 0
	}
	return op <= opBinary
}

func writeFrame(out *bufio.Writer, first byte, payload []byte) error {
	head := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		head = append(head, byte(n))
	case n <= 0xffff:
		head = network.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = network.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	_, _ = out.Write(head)
	_, _ = out.Write(payload) // Flush tells of their errors
	return out.Flush()
}
