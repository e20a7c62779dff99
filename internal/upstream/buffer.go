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
)

// A Buffer holds bytes that were read and not yet used. Slices of Bytes are valid until the next Fill.
type Buffer struct {
	room       []byte
	start, end int // what is unread
}

// Bytes returns what is unread.
func (b *Buffer) Bytes() []byte { return b.room[b.start:b.end] }

// Skip drops the first n unread bytes.
func (b *Buffer) Skip(n int) {
	if n < 0 || n > b.end-b.start {
		panic("upstream: Skip beyond what is unread")
	}
	b.start += n
	if b.start == b.end {
		b.start, b.end = 0, 0
	}
}

// Fill reads once from r, first making room: it moves what is unread to the front, or doubles the buffer up to
// limit bytes. It returns ErrTooLarge, and reads nothing, when limit bytes are unread.
func (b *Buffer) Fill(r io.Reader, limit int) (n int, err error) {
	if b.end-b.start >= limit {
		return 0, ErrTooLarge
	}
	if b.end == len(b.room) {
		b.makeRoom(limit)
	}
	n, err = r.Read(b.room[b.end:min(len(b.room), b.start+limit)])
	b.end += n
	return n, err
}

func (b *Buffer) makeRoom(limit int) {
	room := b.room
	if unread := b.end - b.start; unread > len(room)/2 {
		room = make([]byte, min(2*len(room), limit))
	}
	b.end = copy(room, b.room[b.start:b.end])
	b.room, b.start = room, 0
}

// Buffers recycles Buffers. The zero value is ready; it may be shared.
type Buffers struct{ pool sync.Pool }

// Get returns an empty Buffer.
func (s *Buffers) Get() *Buffer {
	if b, ok := s.pool.Get().(*Buffer); ok {
		return b
	}
	return &Buffer{room: make([]byte, bufferSize)}
}

// Put takes b back, with whatever is unread in it forgotten; the caller must not use it any more.
func (s *Buffers) Put(b *Buffer) {
	if b == nil || len(b.room) > bufferKeep {
		return
	}
	b.start, b.end = 0, 0
	s.pool.Put(b)
}
