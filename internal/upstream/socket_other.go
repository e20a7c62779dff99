//go:build !linux

package upstream

import "syscall"

func receive(fd uintptr, b []byte) (n int, err error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err == syscall.EINTR {
			continue
		}
		errno, _ := err.(syscall.Errno)
		return received(n, errno)
	}
}

// Send writes to a socket that does not block. It returns how much was taken; ErrLater where that is not all.
func Send(fd uintptr, b []byte) (n int, err error) {
	for {
		n, err := syscall.Write(int(fd), b)
		if err == syscall.EINTR {
			continue
		}
		errno, _ := err.(syscall.Errno)
		return taken(n, len(b), errno)
	}
}

// silent says whether a socket that does not block has nothing to be read: no byte, no end and no error. b is room
// for one byte.
func silent(fd uintptr, b []byte) bool {
	for {
		_, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err == syscall.EAGAIN
		}
	}
}
