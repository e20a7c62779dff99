package serve

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// acceptNow accepts a connection that is in nl's queue already; errEmpty when there is none. Accept cannot say
// that: with a deadline in the past it does not look, and with one to come it may not look before it has passed.
func acceptNow(nl net.Listener) (net.Conn, error) {
	s, ok := nl.(syscall.Conn)
	if !ok {
		return nil, errEmpty
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	accepted, failed := -1, errEmpty
	err = raw.Control(func(fd uintptr) {
		for {
			accepted, _, failed = syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			if !errors.Is(failed, syscall.EINTR) && !errors.Is(failed, syscall.ECONNABORTED) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case errors.Is(failed, syscall.EAGAIN):
		return nil, errEmpty
	case failed != nil:
		return nil, os.NewSyscallError("accept4", failed)
	}
	f := os.NewFile(uintptr(accepted), "accepted")
	defer f.Close() //nolint:errcheck // FileConn has its own
	return net.FileConn(f)
}

// deafen makes the kernel drop every segment to nl that would begin a handshake. Handshakes that have begun can
// end.
func deafen(nl net.Listener) error {
	s, ok := nl.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	const flags, syn, ack = 13, 0x02, 0x10 // byte of a TCP header, and bits in it
	filter := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: flags},
		{Code: syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K, K: syn | ack},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: syn, Jf: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 1 << 16},
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt", syscall.AttachLsf(int(fd), filter)) //nolint:staticcheck // what is said to be better needs a guest
	})
	return errors.Join(err, failed)
}
