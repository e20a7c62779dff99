package serve

import (
	"math"
	"net"
	"syscall"
)

// descriptors returns how many descriptors this process may have open, 0 when that is not known.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// descriptor returns the number of nc's descriptor, 0 when that is not known. The kernel gives out the lowest that is
// free: when nc is new, at least so many are open.
func descriptor(nc net.Conn) (number int) {
	s, ok := nc.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { number = int(fd) }) // of a closed one it is not known either
	return number
}
