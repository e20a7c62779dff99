package secure

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// ErrStalled is why a connection cannot be written to any more: the other side did not take what was sent in time.
var ErrStalled = errors.New("the other side took nothing in time")

// A Conn is a connection that speaks TLS and bears a deadline for writing that rings early. Whoever hears one from
// TCP may look at the clock and go on; TLS has then sent half a record, and cannot.
type Conn struct{ *tls.Conn }

// SetWriteDeadline sets a deadline that rings half as late again.
func (c Conn) SetWriteDeadline(t time.Time) error {
	if left := time.Until(t); !t.IsZero() && left > 0 {
		t = t.Add(left / 2)
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines, that for writing as SetWriteDeadline does.
func (c Conn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		return c.Conn.SetDeadline(t)
	}
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Write does not return os.ErrDeadlineExceeded: nothing can be written after it.
func (c Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrStalled
	}
	return n, err
}
