package proxy

import (
	"errors"
	"net"
	"os"
	"time"
)

// An alarm is the deadline of one direction of a connection. Moving a deadline means moving a timer, which on a
// busy connection is most of what there is to do; so it is moved only when less than half of the time is left or
// when it lies too far out. It may ring early, never late: whoever hears it looks at the clock.
type alarm struct{ at time.Time }

// move says whether the deadline must be set to limit now; the caller then does so.
func (a *alarm) move(now, limit time.Time) bool {
	if !a.at.After(limit) && a.at.Sub(now) >= limit.Sub(now)/2 {
		return false
	}
	a.at = limit
	return true
}

// writeAll writes all of b to nc and returns how much of it was taken. It gives up with os.ErrDeadlineExceeded
// when nothing was taken for stall, or for up to half as long again.
func writeAll(nc net.Conn, a *alarm, b []byte, stall time.Duration) (sent int, err error) {
	for sent < len(b) {
		now := time.Now()
		limit := now.Add(stall)
		if a.move(now, limit) {
			_ = nc.SetWriteDeadline(limit) // a closed connection says so when it is written to
		}
		n, err := nc.Write(b[sent:])
		sent += n
		if err == nil {
			continue
		}
		if early := errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(limit); !early {
			return sent, err
		}
	}
	return sent, nil
}
