// Package jute reads and writes what ZooKeeper's clients and servers send each other: frames of a length and a record,
// big-endian. It has the records that somebody between the two must understand; everything else can be passed on as the
// frame it came in. Nothing that is read is trusted: a length is believed once its bytes have come.
package jute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame bounds a frame, in bytes. ZooKeeper's own bound is 1 MiB unless jute.maxbuffer says more.
const MaxFrame = 64 << 20

var (
	// ErrFrame says that a frame is longer than MaxFrame, or has a negative length.
	ErrFrame = errors.New("jute: a frame of impossible length")
	// ErrRecord says that a record ends early, or has impossible lengths in it.
	ErrRecord = errors.New("jute: a record that is cut off")
	// ErrRest says that a record is longer than what is known of it.
	ErrRest = errors.New("jute: a record with an unknown end")
)

// lengthSize is how many bytes say how long a frame is.
const lengthSize = 4

// chunk is how much room is made for bytes that have not come yet.
const chunk = 64 << 10

// ReadFrame reads one frame, with its length before it. It fails with io.EOF where there is none, and with
// io.ErrUnexpectedEOF within one.
func ReadFrame(r io.Reader) ([]byte, error) {
	var head [lengthSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	return ReadRest(r, head)
}

// ReadRest reads a frame whose length has been read.
func ReadRest(r io.Reader, head [lengthSize]byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, int32(size)) //nolint:gosec // as the sender meant it
	}
	frame := append(make([]byte, 0, lengthSize+min(int(size), chunk)), head[:]...)
	for left := int(size); left > 0; {
		n := min(left, max(chunk, len(frame)))
		at := len(frame)
		frame = append(frame, make([]byte, n)...)
		if _, err := io.ReadFull(r, frame[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		left -= n
	}
	return frame, nil
}

// Body is what a frame holds after its length.
func Body(frame []byte) []byte { return frame[lengthSize:] }

// A Reader reads a record from its beginning. The first error stays: what is read after it is zero.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a reader of a record. What it returns shares its bytes.
func NewReader(record []byte) *Reader { return &Reader{rest: record} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// End returns the first error, and ErrRest where something has not been read.
func (r *Reader) End() error {
	if r.err == nil && len(r.rest) > 0 {
		return ErrRest
	}
	return r.err
}

// Rest returns what has not been read.
func (r *Reader) Rest() []byte { return r.rest }

func (r *Reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.rest) {
		if r.err == nil {
			r.err = ErrRecord
		}
		r.rest = nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Int reads an int.
func (r *Reader) Int() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // its bits
	}
	return 0
}

// Long reads a long.
func (r *Reader) Long() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // its bits
	}
	return 0
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	b := r.take(1)
	return b != nil && b[0] != 0
}

// Bytes reads a buffer. Nil is one that is null, or empty at the end of an error.
func (r *Reader) Bytes() []byte {
	n := r.Int()
	if n == -1 || r.err != nil {
		return nil
	}
	b := r.take(int(n))
	if b == nil && r.err == nil {
		b = []byte{}
	}
	return b
}

// Text reads a string; one that is null is "".
func (r *Reader) Text() string { return string(r.Bytes()) }

// Count reads how many follow of something that takes at least size bytes each: no more than can.
func (r *Reader) Count(size int) int {
	n := int(r.Int())
	if n == -1 || r.err != nil {
		return 0
	}
	if n < 0 || n > len(r.rest)/size {
		r.err, r.rest = ErrRecord, nil
		return 0
	}
	return n
}

// Texts reads a list of strings.
func (r *Reader) Texts() []string {
	texts := make([]string, 0, r.Count(4))
	for range cap(texts) {
		texts = append(texts, r.Text())
	}
	return texts
}

// A Writer writes a frame.
type Writer struct{ frame []byte }

// NewWriter returns a writer of a frame that is still empty.
func NewWriter() *Writer { return &Writer{frame: make([]byte, lengthSize, 256)} }

// Frame returns the frame, with its length.
func (w *Writer) Frame() []byte {
	binary.BigEndian.PutUint32(w.frame, uint32(len(w.frame)-lengthSize)) //nolint:gosec // memory ends sooner
	return w.frame
}

// Int writes an int.
func (w *Writer) Int(n int32) { w.frame = binary.BigEndian.AppendUint32(w.frame, uint32(n)) } //nolint:gosec // its bits

// Long writes a long.
func (w *Writer) Long(n int64) { w.frame = binary.BigEndian.AppendUint64(w.frame, uint64(n)) } //nolint:gosec // its bits

// Bool writes a boolean.
func (w *Writer) Bool(b bool) {
	if b {
		w.frame = append(w.frame, 1)
		return
	}
	w.frame = append(w.frame, 0)
}

// Bytes writes a buffer; nil is null.
func (w *Writer) Bytes(b []byte) {
	if b == nil {
		w.Int(-1)
		return
	}
	w.Int(int32(len(b))) //nolint:gosec // memory ends sooner
	w.frame = append(w.frame, b...)
}

// Text writes a string.
func (w *Writer) Text(s string) {
	w.Int(int32(len(s))) //nolint:gosec // memory ends sooner
	w.frame = append(w.frame, s...)
}

// Texts writes a list of strings.
func (w *Writer) Texts(texts []string) {
	w.Int(int32(len(texts))) //nolint:gosec // memory ends sooner
	for _, s := range texts {
		w.Text(s)
	}
}

// Raw writes bytes as they are.
func (w *Writer) Raw(b []byte) { w.frame = append(w.frame, b...) }
