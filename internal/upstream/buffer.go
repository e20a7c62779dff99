package upstream

import (
	"errors"
	"io"
	"sync"
)

// ErrTooLarge says that a Buffer holds as many unread bytes as the caller allows.
var ErrTooLarge = errors.New("the buffer has reached its bound")

// What a Buffer starts with, and what is still worth keeping for the next user.
const (
	bufferSize = 16 << 10
	bufferKeep = 64 << 10
	bufferLead = 512 // bytes before the first one that is read: a head that is written anew may be longer than it was
)

// A Buffer holds bytes that were read and not yet used. Slices of Bytes are valid until the next Fill.
type Buffer struct {
	room       []byte
	start, end int  // what is unread
	full       bool // the last read took all that there was room for: there may be more
}

// Bytes returns what is unread; nothing of a nil Buffer.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.room[b.start:b.end]
}

// Full says whether the last read took all that there was room for, so that there may be more to read.
func (b *Buffer) Full() bool { return b.full }

// Skip drops the first n unread bytes.
func (b *Buffer) Skip(n int) {
	if n < 0 || n > b.end-b.start {
		panic("upstream: Skip beyond what is unread")
	}
	b.start += n
}

// Lead skips the next n unread bytes and returns them with head before them, all in one piece, valid until the next
// Fill. ok is false, and nothing is skipped, where there is no room for head in front of them.
func (b *Buffer) Lead(head []byte, n int) (piece []byte, ok bool) {
	if len(head) > b.start {
		return nil, false
	}
	from := b.start - len(head)
	copy(b.room[from:], head)
	b.Skip(n)
	return b.room[from:b.start], true
}

// Fill reads once from r, first making room: it moves what is unread to the front, or doubles the buffer up to
// limit bytes. It returns ErrTooLarge, and reads nothing, when limit bytes are unread.
func (b *Buffer) Fill(r io.Reader, limit int) (n int, err error) {
	if b.end-b.start >= limit {
		return 0, ErrTooLarge
	}
	room := b.space(limit)
	n, err = r.Read(room)
	b.end += n
	b.full = n == len(room)
	return n, err
}

// Receive is Fill from a socket that does not block. ErrLater says that there is nothing to read yet, io.EOF that
// the other side has closed its half.
func (b *Buffer) Receive(fd uintptr, limit int) (n int, err error) {
	if b.end-b.start >= limit {
		return 0, ErrTooLarge
	}
	room := b.space(limit)
	n, err = receive(fd, room)
	b.end += n
	b.full = n == len(room)
	return n, err
}

// space returns where to read to; it is not empty.
func (b *Buffer) space(limit int) []byte {
	switch {
	case b.start == b.end:
		b.start, b.end = bufferLead, bufferLead
	case b.end == len(b.room):
		b.makeRoom(limit)
	}
	return b.room[b.end:min(len(b.room), b.start+limit)]
}

func (b *Buffer) makeRoom(limit int) {
	room := b.room
	if unread := b.end - b.start; unread > len(room)/2 {
		room = make([]byte, bufferLead+min(2*len(room), limit))
	}
	b.end = bufferLead + copy(room[bufferLead:], b.room[b.start:b.end])
	b.room, b.start = room, bufferLead
}

// Buffers recycles Buffers. The zero value is ready; it may be shared.
type Buffers struct{ pool sync.Pool }

// Get returns an empty Buffer.
func (s *Buffers) Get() *Buffer {
	if b, ok := s.pool.Get().(*Buffer); ok {
		return b
	}
	return &Buffer{room: make([]byte, bufferSize), start: bufferLead, end: bufferLead}
}

// Put takes b back, with whatever is unread in it forgotten; the caller must not use it any more.
func (s *Buffers) Put(b *Buffer) {
	if b == nil || len(b.room) > bufferKeep {
		return
	}
	b.start, b.end, b.full = bufferLead, bufferLead, false
	s.pool.Put(b)
}
