package evidence

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strings"
)

func (r *reader) base64(text []byte) error {
	wire, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(text), "="))
	if err != nil {
		return err
	}
	return r.message(wire)
}

var errWire = errors.New("it is no such message")

// message reads the message as it stands on the wire.
func (r *reader) message(b []byte) error {
	return fields(b, func(w wire) error {
		for _, f := range r.load.families() {
			if w.is(f.number, wireBytes) {
				return r.entry(&f, w.bytes)
			}
		}
		name := ""
		r.load.numbers(func(number int, its string, _ *float64) bool {
			if w.is(number, wireDouble) {
				name = its
			}
			return name == ""
		})
		switch {
		case name != "":
			return r.own(name, w.value)
		case w.is(3, wireVarint):
			return r.own("rps", w.value)
		}
		return nil // of a version that is newer than this
	})
}

// entry reads a metric as an entry of a map.
func (r *reader) entry(f *family, b []byte) error {
	name, value := "", 0.0
	err := fields(b, func(w wire) error {
		switch {
		case w.is(1, wireBytes):
			name = string(w.bytes)
		case w.is(2, wireDouble):
			value = w.value
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.metric(f, name, value)
}

// A wire is one field of a message, as it stands on the wire.
type wire struct {
	tag   uint64
	value float64 // of one that is a number
	bytes []byte  // of one that is not
}

func (w *wire) is(number, kind int) bool { return w.tag == uint64(number)<<3|uint64(kind) } //nolint:gosec // both small

// fields calls yield with each field of a message.
func fields(b []byte, yield func(wire) error) error {
	for len(b) > 0 {
		w, n := nextField(b)
		if n == 0 {
			return errWire
		}
		if err := yield(w); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// nextField reads the field at the start of b, which is so long; 0 if there is none.
func nextField(b []byte) (w wire, n int) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 {
		return wire{}, 0
	}
	w.tag = tag
	rest := b[n:]
	switch tag & 7 {
	case wireVarint:
		whole, size := binary.Uvarint(rest)
		if size <= 0 {
			return wire{}, 0
		}
		w.value = float64(whole)
		return w, n + size
	case wireDouble:
		if len(rest) < 8 {
			return wire{}, 0
		}
		w.value = math.Float64frombits(binary.LittleEndian.Uint64(rest))
		return w, n + 8
	case wireFloat:
		if len(rest) < 4 {
			return wire{}, 0
		}
		return w, n + 4
	case wireBytes:
		length, size := binary.Uvarint(rest)
		if size <= 0 || length > uint64(len(rest)-size) {
			return wire{}, 0
		}
		w.bytes = rest[size : size+int(length)] //nolint:gosec // within rest
		return w, n + size + len(w.bytes)
	}
	return wire{}, 0 // groups are nobody's any more
}
