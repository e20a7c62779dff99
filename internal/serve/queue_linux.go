package serve

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// errEmpty says that nobody waits in a socket's queue.
var errEmpty = errors.New("the queue is empty")

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
	accepted, failed := -1, error(errEmpty)
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
