package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxStreams is what endpoints allow on a connection: as many as net/http does.
const MaxStreams = 250

// What both ends announce. The windows are wide: nobody waits for one here, and a WINDOW_UPDATE is rare.
const (
	streamWindow = 1 << 20
	connWindow   = 1 << 24
	firstWindow  = 65535 // what everybody starts with
)

var errWindow = errors.New("the other end's windows are smaller than a message")

// A session is what clients and endpoints have in common of a connection of HTTP/2: frames come in, frames go out,
// and windows are kept.
type session struct {
	begun   bool   // endpoint: the preface has come; client: the first SETTINGS
	part    []byte // of a frame that is not complete yet
	out     []byte // what goes out after this batch of events
	in      *reader
	heads   *writer
	room    int // what may be sent in DATA on the connection
	initial int // likewise on a new stream
	taken   int // DATA that came since the last WINDOW_UPDATE
	calls   []exchange
	owed    []exchange // endpoint: requests that are complete and not answered
	next    uint32     // client: the next stream
	idle    int        // client: calls that are to be made
}

// An exchange is one stream that is open: what has come on it.
type exchange struct {
	stream uint32
	opened bool    // the header section has come
	ended  bool    // nothing more comes
	head   section // which it is
	tail   section // the trailers
	got    int     // bytes of the body
	prefix [5]byte // the first of these: of a gRPC message, whether it is compressed and its length
}

// newSession returns a session that has its greeting to send.
func newSession(client bool) *session {
	s := &session{in: newReader(), heads: newWriter(), room: firstWindow, initial: firstWindow, next: 1}
	own := setting{maxStreams, MaxStreams}
	if client {
		s.out = append(s.out, preface...)
		own = setting{enablePush, 0}
	}
	s.out = appendSettings(s.out, own, setting{initialWindow, streamWindow})
	s.out = appendWindow(s.out, 0, connWindow-firstWindow)
	return s
}

// greeted takes the client's preface off the first bytes that come to an endpoint; ok is false until it is whole.
func (s *session) greeted(b []byte) (rest []byte, ok bool, err error) {
	s.part = append(s.part, b...)
	n := min(len(s.part), len(preface))
	if !bytes.Equal(s.part[:n], []byte(preface)[:n]) {
		return nil, false, fmt.Errorf("the preface %q", s.part[:n])
	}
	if n < len(preface) {
		return nil, false, nil
	}
	rest, s.part, s.begun = s.part[n:], nil, true
	return rest, true, nil
}

// take cuts b, and what was left of earlier bytes, into frames, handles those of the connection, and gives the others
// to handle. It keeps what is no whole frame yet.
func (s *session) take(b []byte, handle func(frame) error) error {
	if len(s.part) > 0 {
		s.part = append(s.part, b...)
		b = s.part
	}
	for {
		f, rest, ok, err := cut(b)
		if err != nil {
			return err
		}
		if !ok {
			s.part = append(s.part[:0], rest...)
			return nil
		}
		b = rest
		switch f.kind {
		case dataFrame, headersFrame, resetFrame, goAwayFrame:
			err = handle(f)
		default:
			err = s.housekeeping(f)
		}
		if err != nil {
			return err
		}
	}
}

// housekeeping handles the frames of the connection.
func (s *session) housekeeping(f frame) error {
	switch f.kind {
	case settingsFrame:
		return s.settle(f)
	case pingFrame:
		if !f.has(ack) {
			s.out = appendFrame(s.out, pingFrame, ack, 0, f.payload)
		}
	case windowFrame:
		if len(f.payload) != 4 {
			return fmt.Errorf("a WINDOW_UPDATE of %d bytes", len(f.payload))
		}
		if f.stream == 0 { // a message fits into a stream's first window
			s.room += int(binary.BigEndian.Uint32(f.payload) &^ (1 << 31))
		}
	case pushFrame, continuationFrame:
		return fmt.Errorf("a frame of type %d, which nobody needs here", f.kind)
	}
	return nil // PRIORITY, and what is not known
}

func (s *session) settle(f frame) error {
	if f.has(ack) {
		return nil
	}
	s.begun = true
	all, err := settings(f.payload)
	if err != nil {
		return err
	}
	for _, one := range all {
		switch one.id {
		case tableSize:
			s.heads.limit(min(one.value, defaultTable))
		case initialWindow:
			s.initial = int(one.value)
		case maxStreams:
			if int(one.value) < s.idle {
				return fmt.Errorf("only %d streams are allowed", one.value)
			}
		}
	}
	s.out = appendFrame(s.out, settingsFrame, ack, 0, nil)
	return nil
}

// hear takes a frame of an exchange.
func (s *session) hear(e *exchange, f frame) error {
	content, err := f.content()
	if err != nil {
		return err
	}
	e.ended = f.has(endStream)
	switch {
	case f.kind == dataFrame:
		if e.got < len(e.prefix) {
			copy(e.prefix[e.got:], content)
		}
		e.got += len(content)
		s.give(len(f.payload))
	case !f.has(endHeaders):
		return errors.New("a header block of several frames, which nobody needs here")
	case !e.opened:
		e.opened = true
		e.head, err = s.in.read(content)
	case !e.ended:
		return errors.New("a second header section that ends nothing")
	default:
		e.tail, err = s.in.read(content)
	}
	return err
}

// give lets the other end send again what it has sent, in large steps.
func (s *session) give(n int) {
	if s.taken += n; s.taken >= connWindow/2 {
		s.out = appendWindow(s.out, 0, s.taken)
		s.taken = 0
	}
}

// whole says whether the body of an exchange is one gRPC message that is not compressed.
func (e *exchange) whole() bool {
	size := len(e.prefix)
	return e.got >= size && e.prefix[0] == 0 && int(binary.BigEndian.Uint32(e.prefix[1:])) == e.got-size
}

// Message frames a gRPC message.
func Message(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// fits says whether a body may be sent now, in one frame. It is an error when it never may.
func (s *session) fits(size int) (bool, error) {
	if size > min(s.initial, frameMost) {
		return false, errWindow
	}
	return size <= s.room, nil
}

// say writes a header section and a body that fits; last: nothing follows them.
func (s *session) say(stream uint32, block, body []byte, last bool) {
	var end byte
	if last {
		end = endStream
	}
	if len(body) == 0 {
		s.out = appendFrame(s.out, headersFrame, endHeaders|end, stream, block)
		return
	}
	s.out = appendFrame(s.out, headersFrame, endHeaders, stream, block)
	s.out = appendFrame(s.out, dataFrame, end, stream, body)
	s.room -= len(body)
}

// call returns the exchange of a stream, nil when there is none.
func (s *session) call(stream uint32) *exchange {
	for i := range s.calls {
		if s.calls[i].stream == stream {
			return &s.calls[i]
		}
	}
	return nil
}

// done forgets an exchange.
func (s *session) done(e *exchange) {
	last := len(s.calls) - 1
	*e = s.calls[last]
	s.calls = s.calls[:last]
}
