package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The frames of HTTP/2 that the harness knows (RFC 9113, section 6).
const (
	dataFrame         = 0
	headersFrame      = 1
	priorityFrame     = 2
	resetFrame        = 3
	settingsFrame     = 4
	pushFrame         = 5
	pingFrame         = 6
	goAwayFrame       = 7
	windowFrame       = 8
	continuationFrame = 9
)

const (
	endStream  = 0x1 // of DATA and HEADERS
	ack        = 0x1 // of SETTINGS and PING
	endHeaders = 0x4
	padded     = 0x8
	priority   = 0x20
)

const (
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead = 9
	frameMost = 16384 // bytes of a payload; nobody here allows more
)

var (
	errLongFrame = fmt.Errorf("a frame of more than %d bytes", frameMost)
	errPadding   = errors.New("a frame that is shorter than its padding")
)

// A frame is one frame of HTTP/2.
type frame struct {
	kind    byte
	flags   byte
	stream  uint32
	payload []byte
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// cut returns the frame at the start of b and what follows it; ok is false when b does not hold all of it.
func cut(b []byte) (f frame, rest []byte, ok bool, err error) {
	if len(b) < frameHead {
		return frame{}, b, false, nil
	}
	size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if size > frameMost {
		return frame{}, b, false, errLongFrame
	}
	if len(b) < frameHead+size {
		return frame{}, b, false, nil
	}
	f = frame{kind: b[3], flags: b[4], stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31), payload: b[frameHead : frameHead+size]}
	return f, b[frameHead+size:], true, nil
}

// content is what DATA and HEADERS carry, without padding and priority.
func (f frame) content() ([]byte, error) {
	p, pad := f.payload, 0
	if f.has(padded) {
		if len(p) == 0 {
			return nil, errPadding
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.kind == headersFrame && f.has(priority) {
		const size = 5
		if len(p) < size {
			return nil, errPadding
		}
		p = p[size:]
	}
	if pad > len(p) {
		return nil, errPadding
	}
	return p[:len(p)-pad], nil
}

// appendFrame appends a frame to b.
func appendFrame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	size := len(payload)
	b = append(b, byte(size>>16), byte(size>>8), byte(size), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// appendWindow appends a WINDOW_UPDATE.
func appendWindow(b []byte, stream uint32, more int) []byte {
	return appendFrame(b, windowFrame, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(more)))
}

// The settings that the harness announces or looks at (RFC 9113, section 6.5.2).
const (
	tableSize     = 1
	enablePush    = 2
	maxStreams    = 3
	initialWindow = 4
)

type setting struct {
	id    uint16
	value uint32
}

func appendSettings(b []byte, all ...setting) []byte {
	var payload []byte
	for _, s := range all {
		payload = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(payload, s.id), s.value)
	}
	return appendFrame(b, settingsFrame, 0, 0, payload)
}

// settings reads the payload of SETTINGS.
func settings(payload []byte) ([]setting, error) {
	const size = 6
	if len(payload)%size != 0 {
		return nil, fmt.Errorf("SETTINGS of %d bytes", len(payload))
	}
	all := make([]setting, 0, len(payload)/size)
	for ; len(payload) > 0; payload = payload[size:] {
		all = append(all, setting{binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])})
	}
	return all, nil
}
