package upstream

import (
	"errors"
	"io"
	"syscall"
)

// ErrLater says that a socket has nothing to read, or no room to write to, at this moment.
var ErrLater = errors.New("not yet")

func received(n int, errno syscall.Errno) (int, error) {
	switch {
	case errno == syscall.EAGAIN:
		return 0, ErrLater
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

func taken(n, of int, errno syscall.Errno) (int, error) {
	switch {
	case errno == syscall.EAGAIN:
		return 0, ErrLater
	case errno != 0:
		return 0, errno
	case n < of:
		return n, ErrLater
	default:
		return n, nil
	}
}

// A question is a request on its way while Ask waits for what the endpoint says.
type question struct {
	text  []byte
	limit int
	sent  int
	asked bool
	err   error
}

// Asks says whether the connection can Ask: it is a plaintext socket.
func (c *Conn) Asks() bool { return c.raw != nil && c.wire == nil }

// Ask writes b and reads once into the Buffer what the endpoint says then; it waits for that until the read deadline,
// and asks the socket for nothing before there is something. sent is how much of b was taken at once. When that is not
// all, the rest is up to the caller, and err is ErrLater. Any other error is that of sending where sent is not all of
// b, else that of reading; the deadline's is os.ErrDeadlineExceeded, and reading may go on after it.
func (c *Conn) Ask(b []byte, limit int) (sent int, err error) {
	q := &c.question
	*q = question{text: b, limit: limit}
	err = c.raw.Read(c.converse)
	sent, failed := q.sent, q.err
	q.text = nil
	if err == nil {
		err = failed
	}
	return sent, err
}

// turn is what Ask does each time that the socket may have something to say. The poller's note that it has is kept
// from before the request is sent, so that an answer is missed neither before nor while it is waited for.
func (c *Conn) turn(fd uintptr) (done bool) {
	q := &c.question
	if !q.asked {
		q.asked = true
		q.sent, q.err = Send(fd, q.text)
		return q.err != nil
	}
	_, q.err = c.Buffer.Receive(fd, q.limit)
	if errors.Is(q.err, ErrLater) {
		q.err = nil
		return false
	}
	return true
}
