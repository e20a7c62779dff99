package sockets

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

func prepare(fd int) error {
	const silence, between, probes = 15, 15, 9 // seconds, seconds, and how many are lost before the connection is
	// Bytes that the kernel takes before the client has room for them. Left to itself it takes 4 MB for a client
	// that never reads, of memory that every program on the machine shares.
	const unsent = 128 << 10
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, silence},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, between},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
