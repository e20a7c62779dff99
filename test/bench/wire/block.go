package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A section is what of a header or trailer section the harness looks at.
type section struct {
	status, path, grpcStatus, grpcMessage string
	length                                int  // Content-Length, -1 without
	grpc                                  bool // Content-Type: application/grpc, or a kind of it
}

func (s *section) field(f hpack.HeaderField) error {
	switch f.Name {
	case ":status":
		s.status = f.Value
	case ":path":
		s.path = f.Value
	case "grpc-status":
		s.grpcStatus = f.Value
	case "grpc-message":
		s.grpcMessage = f.Value
	case "content-type":
		s.grpc = strings.HasPrefix(f.Value, "application/grpc")
	case "content-length":
		n, err := strconv.Atoi(f.Value)
		if err != nil || n < 0 {
			return fmt.Errorf("the length %q", f.Value)
		}
		s.length = n
	}
	return nil
}

// A reader reads the header blocks of one direction of a connection. What a block says is remembered while the
// dynamic table stays as it is: in a steady state nothing is decoded but once.
type reader struct {
	dec   *hpack.Decoder
	said  section // by the block that is being decoded
	err   error   // likewise
	known [4]struct {
		raw  []byte
		says section
	}
	oldest int
}

// defaultTable is the size of the dynamic table that nobody has to announce, in the octets of RFC 7541, section 4.1.
const defaultTable = 4096

func newReader() *reader {
	r := &reader{}
	r.dec = hpack.NewDecoder(defaultTable, func(f hpack.HeaderField) {
		if err := r.said.field(f); err != nil && r.err == nil {
			r.err = err
		}
	})
	return r
}

func (r *reader) read(raw []byte) (section, error) {
	for i := range r.known {
		if k := &r.known[i]; len(k.raw) > 0 && bytes.Equal(k.raw, raw) {
			return k.says, nil
		}
	}
	r.said, r.err = section{length: -1}, nil
	if _, err := r.dec.Write(raw); err != nil {
		return section{}, err
	}
	if err := r.dec.Close(); err != nil {
		return section{}, err
	}
	if !plain(raw) {
		for i := range r.known { // the same bytes may mean something else from here on
			r.known[i].raw = r.known[i].raw[:0]
		}
		return r.said, r.err
	}
	k := &r.known[r.oldest]
	k.raw, k.says = append(k.raw[:0], raw...), r.said
	r.oldest = (r.oldest + 1) % len(r.known)
	return r.said, r.err
}

// A writer writes the header blocks of one direction of a connection, as most clients and servers do: a field that
// was sent before is an index. Blocks are remembered while the dynamic table stays as it is.
type writer struct {
	enc   *hpack.Encoder
	buf   bytes.Buffer
	known map[string][]byte
}

func newWriter() *writer {
	w := &writer{known: map[string][]byte{}}
	w.enc = hpack.NewEncoder(&w.buf)
	return w
}

// limit is what the other end lets the dynamic table take.
func (w *writer) limit(size uint32) {
	w.enc.SetMaxDynamicTableSizeLimit(size)
	clear(w.known)
}

// block returns the fields as a block. A name stands for the fields, always the same. The block is good until the
// next call.
func (w *writer) block(name string, fields []hpack.HeaderField) ([]byte, error) {
	if raw, ok := w.known[name]; ok {
		return raw, nil
	}
	w.buf.Reset()
	for _, f := range fields {
		if err := w.enc.WriteField(f); err != nil {
			return nil, err
		}
	}
	raw := w.buf.Bytes()
	if !plain(raw) {
		clear(w.known)
		return raw, nil
	}
	w.known[name] = bytes.Clone(raw)
	return raw, nil
}

// plain says whether a block leaves the dynamic table as it is: it has nothing but indexed fields and literals that
// are not added to the table (RFC 7541, section 6). The block has been decoded, or encoded, without an error.
func plain(b []byte) bool {
	for len(b) > 0 {
		switch {
		case b[0]&0x80 != 0: // indexed
			_, b = integer(b, 7)
		case b[0]&0x60 != 0: // added to the table, or the size of the table
			return false
		default:
			var name int
			if name, b = integer(b, 4); name == 0 {
				b = skipString(b)
			}
			b = skipString(b)
		}
	}
	return true
}

// integer reads an integer with a prefix of n bits (RFC 7541, section 5.1) and returns what follows it.
func integer(b []byte, n int) (int, []byte) {
	if len(b) == 0 {
		return 0, nil
	}
	most := 1<<n - 1
	v := int(b[0]) & most
	b = b[1:]
	if v < most {
		return v, b
	}
	for shift := 0; len(b) > 0 && shift < 28; shift += 7 {
		next := b[0]
		b = b[1:]
		v += int(next&0x7f) << shift
		if next&0x80 == 0 {
			return v, b
		}
	}
	return v, nil
}

func skipString(b []byte) []byte {
	size, b := integer(b, 7)
	return b[min(size, len(b)):]
}
