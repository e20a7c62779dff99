//go:build !linux

package serve

import (
	"net"
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
	return nl.Accept()
}
