package proxy

import "encoding/binary"

// A seam is where something that lasts may be ended without cutting anything in two: between the frames of a WebSocket,
// the messages of a call, server-sent events.

// A fabric is what has seams.
type fabric uint8

const (
	seamless fabric = iota
	frames          // of a WebSocket (RFC 6455 section 5.2)
	messages        // of gRPC: a byte of flags, four of length
	events          // lines, with an empty one at the end of each
)

// Seams follow bytes of one direction from seam to seam. Nothing of them is kept but the head of a frame or message that
// has come in part.
type seams struct {
	of   fabric
	over bool     // a Close frame has begun: the WebSocket is being closed
	head [14]byte // of the frame or message that is coming,
	got  int      // as far as it has come; 0 once it is whole
	left uint64   // of its payload

	// Of events.
	midst   bool // something of an event has passed that no empty line has ended
	inLine  bool // the line is not empty
	afterCR bool // a line feed would belong to the end of line before it
}

func (s *seams) start(of fabric) { *s = seams{of: of} }

// at says whether what has passed ends at a seam.
func (s *seams) at() bool { return s.of != seamless && s.got == 0 && s.left == 0 && !s.midst }

// pass follows b, to its end or, if it is to stop, to the first seam, which may lie before b. It returns how much that is.
func (s *seams) pass(b []byte, stop bool) (n int) {
	switch s.of {
	case frames, messages:
		return s.passHeaded(b, stop)
	case events:
		return s.passLines(b, stop)
	case seamless:
	}
	return len(b)
}

// passHeaded is pass for what says beforehand how long it is.
func (s *seams) passHeaded(b []byte, stop bool) (n int) {
	for n < len(b) && (!stop || !s.at()) {
		switch rest := b[n:]; {
		case s.left > 0:
			k := int(min(s.left, uint64(len(rest)))) //nolint:gosec // at most len(rest)
			s.left -= uint64(k)                      //nolint:gosec // not negative
			n += k
		case s.got == 0 && len(rest) >= len(s.head):
			copy(s.head[:], rest)
			n += s.begin(len(s.head))
		default: // byte by byte
			s.head[s.got] = rest[0]
			s.got++
			n++
			s.begin(s.got)
		}
	}
	return n
}

const closeOpcode = 8

// begin looks at a head of which so much has come. If it is whole, its payload follows; begin returns its length, else 0.
func (s *seams) begin(come int) (length int) {
	var payload uint64
	if s.of == messages {
		length, payload = 5, uint64(binary.BigEndian.Uint32(s.head[1:]))
	} else if length, payload = s.frame(come); length == 0 {
		return 0
	}
	if come < length {
		return 0
	}
	s.over = s.over || s.of == frames && s.head[0]&0xf == closeOpcode
	s.got, s.left = 0, payload
	return length
}

// frame returns the length of a frame's head, 0 while it is not known, and what the head says of its payload.
func (s *seams) frame(come int) (length int, payload uint64) {
	const short, mid, long, mask = 2, 4, 10, 4
	if come < short {
		return 0, 0
	}
	length = short
	switch payload = uint64(s.head[1] & 0x7f); payload {
	case 126:
		length, payload = mid, uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		length, payload = long, binary.BigEndian.Uint64(s.head[2:])
	}
	if s.head[1]&0x80 != 0 {
		length += mask
	}
	return length, payload
}

// passLines is pass for events. Without a stop, the ends of lines at the end of b say where it stands.
func (s *seams) passLines(b []byte, stop bool) (n int) {
	if stop {
		for n < len(b) && (s.midst || s.afterCR && b[n] == '\n') {
			s.line(b[n])
			n++
		}
		return n
	}
	last := len(b)
	for last > 0 && (b[last-1] == '\n' || b[last-1] == '\r') {
		last--
	}
	if last > 0 {
		s.line(b[last-1])
	}
	for _, c := range b[last:] {
		s.line(c)
	}
	return len(b)
}

// line follows one byte. A line ends with CR, LF or both
// (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
func (s *seams) line(c byte) {
	switch {
	case c == '\n' && s.afterCR:
		s.afterCR = false
	case c == '\n' || c == '\r':
		if !s.inLine {
			s.midst = false
		}
		s.inLine, s.afterCR = false, c == '\r'
	default:
		s.midst, s.inLine, s.afterCR = true, true, false
	}
}
