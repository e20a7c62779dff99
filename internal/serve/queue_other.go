//go:build !linux

package serve

import (
	"errors"
	"net"
	"os"
	"time"
)

// acceptNow accepts a connection that is in nl's queue, as far as a short wait can tell.
func acceptNow(nl net.Listener) (net.Conn, error) {
	const wait = 5 * time.Millisecond
	if d, ok := nl.(interface{ SetDeadline(time.Time) error }); ok {
		if err := d.SetDeadline(time.Now().Add(wait)); err != nil {
			return nil, err
		}
	}
	nc, err := nl.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errEmpty
	}
	return nc, err
}

// deafen cannot be done here.
func deafen(net.Listener) error { return nil }
