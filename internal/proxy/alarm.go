package proxy

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/upstream"
)

// A patience is how long a write may take.
type patience struct {
	stall time.Duration // in which something must be taken
	by    time.Time     // when all must have been; zero for no such time
	hush  *atomic.Bool  // once set, what is still to be taken must be within a grace; nil: never
}

// grace is for an endpoint that has answered to take the request's last bytes.
const grace = 250 * time.Millisecond

// writeAll writes all of b to nc and returns how much of it was taken. It gives up with os.ErrDeadlineExceeded
// when nothing was taken for p.stall, at p.by, a grace after p.hush, and when somebody else lets the deadline pass.
func writeAll(nc net.Conn, a *upstream.Alarm, b []byte, p patience) (sent int, err error) {
	var limit time.Time // until something more must have been taken; zero: something has just been
	for sent < len(b) {
		now := time.Now()
		if limit.IsZero() {
			limit = now.Add(p.stall)
		}
		if !p.by.IsZero() && p.by.Before(limit) {
			limit = p.by
		}
		if a.Move(now, limit) {
			_ = nc.SetWriteDeadline(limit) // a closed connection says so when it is written to
			if p.hushed() {                // looked at after the deadline was set: whoever hushes sets another one after
				_ = nc.SetWriteDeadline(now.Add(grace))
			}
		}
		n, err := nc.Write(b[sent:])
		sent += n
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) || p.hushed():
			return sent, err
		case n > 0:
		case !time.Now().Before(limit), !a.Rang(time.Now()): // or somebody wants it to end
			return sent, err
		}
		if n > 0 {
			limit = time.Time{}
		}
	}
	return sent, nil
}

func (p *patience) hushed() bool { return p.hush != nil && p.hush.Load() }
