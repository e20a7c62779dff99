package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

var (
	errChunked = errors.New("the body came in chunks: the length that was sent is gone")
	errMore    = errors.New("there are bytes after the end of the message")
)

// A head is what of a message's head the harness needs.
type head struct {
	first   []byte // the first line
	size    int    // of the head, the empty line included; 0: none
	length  int    // Content-Length, -1 without
	chunked bool
	close   bool // Connection: close
}

// parse reads a head at the start of b; its size is 0 when b does not hold all of it.
func parse(b []byte) (head, error) {
	h := head{length: -1}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return head{}, nil
	}
	h.size = end + len("\r\n\r\n")
	rest := b[:end+len("\r\n")]
	for i := 0; len(rest) > 0; i++ {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		rest = after
		if i == 0 {
			h.first = line
			continue
		}
		if err := h.field(line); err != nil {
			return head{}, err
		}
	}
	return h, nil
}

// field reads one header line. Only names that begin with c or t are looked at.
func (h *head) field(line []byte) error {
	if len(line) == 0 || (line[0]|0x20 != 'c' && line[0]|0x20 != 't') {
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("a header line without a colon: %q", line)
	}
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 {
			return fmt.Errorf("the length %q", value)
		}
		h.length = n
	case bytes.EqualFold(name, []byte("connection")):
		h.close = bytes.EqualFold(value, []byte("close"))
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.chunked = true
	}
	return nil
}

// A follower follows the messages of one direction of a connection, in whatever pieces they come. The zero value is
// ready.
type follower struct {
	part []byte // of a head that is not complete yet
	left int    // of the body
}

// fresh says whether nothing of a message has come yet.
func (f *follower) fresh() bool { return f.left == 0 && len(f.part) == 0 }

// next follows the current message through b, which may hold bytes of no other: nobody here pipelines. The head is
// returned with the piece that completes it, and is good until the next call; done says that the message has ended.
func (f *follower) next(b []byte) (h head, done bool, err error) {
	if f.left == 0 {
		if h, b, err = f.begin(b); err != nil || h.size == 0 {
			return head{}, false, err
		}
	}
	if len(b) > f.left {
		return h, false, errMore
	}
	f.left -= len(b)
	return h, f.left == 0, nil
}

// begin reads the head of a message and returns it with what follows it; its size is 0 when it is not complete yet.
func (f *follower) begin(b []byte) (head, []byte, error) {
	if len(f.part) > 0 {
		f.part = append(f.part, b...)
		b = f.part
	}
	h, err := parse(b)
	switch {
	case err != nil:
		return head{}, nil, err
	case h.chunked:
		return head{}, nil, errChunked
	case h.size > 0:
		f.part = f.part[:0]
		f.left = max(h.length, 0)
		return h, b[h.size:], nil
	case len(f.part) == 0:
		f.part = append(f.part, b...)
	}
	return head{}, nil, nil
}
