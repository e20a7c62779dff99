package load

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// bindAddressNoPort is Linux's IP_BIND_ADDRESS_NO_PORT: a bound source address takes its port at connect, so
// that ports are only exhausted per pair of addresses. Package syscall does not name it.
const bindAddressNoPort = 24

// lateBinding is a net.Dialer's Control function.
func lateBinding(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, bindAddressNoPort, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// sleep blocks the calling thread for d, or less when a signal comes.
func sleep(d time.Duration) {
	spec := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&spec, nil) // a signal shortens it; the caller looks at the clock again
}

// quiet returns a function that says whether an idle connection is still open with nothing to read. Its answer
// costs one system call. For connections that are not sockets the function always says yes.
func quiet(conn net.Conn) func() bool {
	if shielded, ok := conn.(*tls.Conn); ok {
		conn = shielded.NetConn() // its end, too, comes as a record
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var (
		peeked [1]byte
		open   bool
	)
	look := func(fd uintptr) bool {
		_, err := syscall.Read(int(fd), peeked[:]) // an idle connection has nothing to say: a byte is as bad as its end
		open = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	}
	return func() bool { return raw.Read(look) == nil && open }
}
