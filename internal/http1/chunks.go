package http1

import (
	"bytes"
	"strconv"
)

// Bounds on what a chunked body may carry besides its data.
const (
	maxSizeDigits = 15       // hexadecimal digits of a chunk size: below 2^60
	maxExtension  = 256      // bytes of extensions on one size line
	maxExtra      = 16 << 10 // bytes by which extensions may outweigh the data before them
	maxTrailers   = 8 << 10  // bytes of the trailer section
)

// Where a Chunks stands.
type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inSizeEnd // the LF of a size line
	inData
	inDataCR
	inDataLF
	inTrailers
	atEnd
)

// Chunks decodes one chunked body from pieces of any size. The zero value is ready. Extensions are dropped.
type Chunks struct {
	state     chunkState
	digits    int
	size      int64 // while reading a size line: its number; in data: what is left
	extension int   // bytes on this size line
	extra     int64 // bytes of extensions not yet outweighed by data
	line      int   // where the current trailer line starts
	text      []byte
	trailers  []Field
	err       *Error
}

// Next reads on from the start of b. It consumes n bytes; data, if not empty, is the next part of the body and
// the last of those bytes. It consumes all of b unless it stops after data or at the body's end: call it until
// b is used up or Done. An error is an *Error with status 400; the connection is then of no more use.
func (c *Chunks) Next(b []byte) (data []byte, n int, err error) {
	for n < len(b) && c.state != atEnd && c.err == nil {
		switch c.state {
		case inData:
			take := int(min(c.size, int64(len(b)-n)))
			data = b[n : n+take]
			c.took(take)
			return data, n + take, nil
		case inTrailers:
			n += c.readTrailers(b[n:])
		default:
			c.err = c.step(b[n])
			n++
		}
	}
	if c.err != nil {
		return nil, n, c.err
	}
	return nil, n, nil
}

// step takes one byte outside data and trailers.
func (c *Chunks) step(b byte) *Error {
	switch c.state {
	case inSize:
		return c.stepSize(b)
	case inExtension:
		return c.stepExtension(b)
	case inSizeEnd:
		if b != '\n' {
			return errChunkLine
		}
		c.openChunk()
	case inDataCR:
		if b != '\r' {
			return errChunkEnd
		}
		c.state = inDataLF
	case inDataLF:
		if b != '\n' {
			return errChunkEnd
		}
		c.state = inSize
	case inData, inTrailers, atEnd:
	}
	return nil
}

func (c *Chunks) stepSize(b byte) *Error {
	switch {
	case classTable[b]&inHex != 0:
		if c.digits++; c.digits > maxSizeDigits {
			return errChunkSize
		}
		c.size = c.size<<4 | hexValue(b)
		return nil
	case c.digits == 0:
		return errChunkSize
	case b == '\r':
		c.state = inSizeEnd
		return nil
	case b == ';':
		c.state = inExtension
		return nil
	default:
		return errChunkLine
	}
}

func hexValue(b byte) int64 {
	if b <= '9' {
		return int64(b - '0')
	}
	return int64(b|0x20-'a') + 10
}

func (c *Chunks) stepExtension(b byte) *Error {
	if b == '\r' {
		c.state = inSizeEnd
		return nil
	}
	if classTable[b]&inValue == 0 {
		return errChunkLine
	}
	c.extension++
	c.extra++
	if c.extension > maxExtension || c.extra > maxExtra {
		return errChunkExt
	}
	return nil
}

func (c *Chunks) openChunk() {
	c.state = inData
	if c.size == 0 {
		c.state = inTrailers
	}
	c.digits, c.extension = 0, 0
}

// took notes that n bytes of data have been handed out.
func (c *Chunks) took(n int) {
	c.extra = max(0, c.extra-int64(n))
	if c.size -= int64(n); c.size == 0 {
		c.state = inDataCR
	}
}

// readTrailers collects whole lines up to the empty one.
func (c *Chunks) readTrailers(b []byte) (n int) {
	for n < len(b) && c.state != atEnd {
		end := len(b)
		i := bytes.IndexByte(b[n:], '\n')
		if i >= 0 {
			end = n + i + 1
		}
		if len(c.text)+end-n > maxTrailers {
			c.err = errTrailerLarge
			return n
		}
		c.text = append(c.text, b[n:end]...)
		n = end
		if i < 0 {
			return n
		}
		switch line := c.text[c.line:]; {
		case len(line) < 2 || line[len(line)-2] != '\r':
			c.err = errBareLF
			return n
		case len(line) == 2:
			c.state = atEnd
			c.err = c.parseTrailers()
		}
		c.line = len(c.text)
	}
	return n
}

func (c *Chunks) parseTrailers() *Error {
	h := head{fields: c.trailers[:0]}
	_, err := h.parse(c.text, 0)
	c.trailers = h.fields
	if err != nil {
		return err
	}
	for i := range c.trailers {
		if f := &c.trailers[i]; f.is != house && f.is != load && !MayTrail(f.Name) { // those are left out when it goes on
			return errTrailerName
		}
	}
	return nil
}

// headOnlyNames are fields that decide about framing, routing, rights or how to read the content: they come too
// late in a trailer, and whoever merged one into the head would be deceived (RFC 9110 section 6.5.1).
var headOnlyNames = [...]string{
	"authorization", "cache-control", "content-encoding", "content-range", "content-type", "cookie", "date",
	"forwarded", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "location",
	"max-forwards", "range", "set-cookie", "vary", "via", "www-authenticate", "x-forwarded-for",
	"x-forwarded-host", "x-forwarded-proto", "x-request-id",
}

// MayTrail says whether a field of that name may stand in trailers: it is not one that only a head may have.
func MayTrail(name []byte) bool {
	if whatIs(name) != other {
		return false
	}
	for _, s := range headOnlyNames {
		if spells(name, s) {
			return false
		}
	}
	return true
}

// Done says that the last chunk and the trailers have been read.
func (c *Chunks) Done() bool { return c.state == atEnd && c.err == nil }

// Trailers returns the trailer fields once Done. They are valid until Reset.
func (c *Chunks) Trailers() []Field { return c.trailers }

// Reset makes c ready for the next body and keeps its memory.
func (c *Chunks) Reset() {
	*c = Chunks{text: c.text[:0], trailers: c.trailers[:0]}
}

// AppendChunkSize appends the line that opens a chunk of n > 0 bytes. The data follows, then "\r\n".
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendChunk appends data as one chunk; no data is no chunk.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body. Trailers that only a head may have are left out.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if MayTrail(trailers[i].Name) {
			dst = appendEdit(dst, &trailers[i])
		}
	}
	return append(dst, "\r\n"...)
}
