package http2

import (
	"bytes"
	"errors"
	"io"
)

// How much is read at once: little while the peer says little, so that an idle connection holds little.
const (
	littleRead = 512
	muchRead   = 32 << 10
)

// An inlet holds what was read and not yet used. Slices of peek are valid until the next peek or Read.
type inlet struct {
	from       io.Reader
	memory     *Memory
	wait       func() // called before a read that may block
	little     [littleRead]byte
	much       *[muchRead]byte // nil while little does
	room       []byte
	start, end int
	full       bool // the last read filled all the room that it had: more may be there
}

func (in *inlet) buffered() int { return in.end - in.start }

// peek returns the next n bytes, at most muchRead, without taking them.
func (in *inlet) peek(n int) ([]byte, error) {
	for in.end-in.start < n {
		if err := in.fill(n); err != nil {
			if in.end > in.start && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return in.room[in.start : in.start+n], nil
}

func (in *inlet) skip(n int) { in.start += n }

// Read is for those who take what they read.
func (in *inlet) Read(p []byte) (n int, err error) {
	if in.start == in.end {
		if err := in.fill(1); err != nil {
			return 0, err
		}
	}
	n = copy(p, in.room[in.start:in.end])
	in.start += n
	return n, nil
}

// fill reads once, with room for need bytes in all.
func (in *inlet) fill(need int) error {
	if in.start == in.end {
		in.start, in.end = 0, 0
		if in.much != nil && !in.full {
			in.release()
		}
	}
	switch {
	case in.much == nil && (in.full || need > littleRead):
		in.much = in.memory.read()
		in.end = copy(in.much[:], in.room[in.start:in.end])
		in.room, in.start = in.much[:], 0
	case in.room == nil:
		in.room = in.little[:]
	case in.start+need > len(in.room):
		in.end = copy(in.room, in.room[in.start:in.end])
		in.start = 0
	}
	in.wait()
	n, err := in.from.Read(in.room[in.end:])
	in.end += n
	in.full = in.end == len(in.room)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// release gives back the room of an inlet that holds nothing.
func (in *inlet) release() {
	if in.much != nil {
		in.memory.reads.Put(in.much)
	}
	in.much, in.room = nil, in.little[:]
	in.start, in.end = 0, 0
}

// preload has b read before anything else. It is called before the first read.
func (in *inlet) preload(b []byte) { in.from = io.MultiReader(bytes.NewReader(b), in.from) }
