package serve

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// listenConfig returns how TCP sockets are opened: accepted connections are probed after 15 s of silence, as Go would
// have it, and take little that their client is not ready for. They inherit that, where Go would ask four system
// calls of each.
func listenConfig() net.ListenConfig {
	return net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) { failed = prepare(int(fd)) })
			return errors.Join(err, failed)
		},
	}
}

// unsentLowat is TCP_NOTSENT_LOWAT, which syscall does not name.
const unsentLowat = 25

func prepare(fd int) error {
	const silence, between, probes = 15, 15, 9 // seconds, seconds, and how many are lost before the connection is
	// Bytes that the kernel takes before the client has room for them. Left to itself it takes 4 MB for a client
	// that never reads, of memory that every program on the machine shares.
	const unsent = 128 << 10
	for _, o := range []struct{ level, option, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, silence},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, between},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probes},
		{syscall.IPPROTO_TCP, unsentLowat, unsent},
	} {
		if err := syscall.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
