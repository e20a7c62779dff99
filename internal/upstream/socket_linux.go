package upstream

import (
	"syscall"
	"unsafe"
)

// The calls that carry every byte go to the kernel without telling Go's scheduler: their sockets do not block, so that
// none takes longer than it takes to copy, and telling it costs as much as a good part of the request.

func receive(fd uintptr, b []byte) (n int, err error) {
	for {
		//nolint:gosec // the address is passed as the rules of unsafe.Pointer say
		got, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		return received(int(got), errno)
	}
}

// Send writes to a socket that does not block. It returns how much was taken; ErrLater where that is not all.
func Send(fd uintptr, b []byte) (n int, err error) {
	for {
		//nolint:gosec // likewise
		got, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			syscall.MSG_NOSIGNAL, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		return taken(int(got), len(b), errno)
	}
}

// silent says whether a socket that does not block has nothing to be read: no byte, no end and no error. b is room
// for one byte.
func silent(fd uintptr, b []byte) bool {
	for {
		//nolint:gosec // likewise
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		if errno != syscall.EINTR {
			return errno == syscall.EAGAIN
		}
	}
}
