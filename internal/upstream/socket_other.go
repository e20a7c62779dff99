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
