package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// The calls of the hot loop go to the kernel without telling Go's scheduler: the loop is alone on its core, and is
// to cost as little as the proxies' own loops do.

// A code is why a call was refused, 0 for not at all: an error number that is looked at, not passed on.
type code uintptr

const later = code(syscall.EAGAIN)

func read(fd int, b []byte) (int, code) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), code(errno)
}

func write(fd int, b []byte) (int, code) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), code(errno)
}

// wait fills events; timeout in milliseconds, 0: without waiting. It may return early without any: a signal woke it,
// or the scheduler wants to be let in, for which the caller's loop is the place.
func wait(epfd int, events []syscall.EpollEvent, timeout int) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeout), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("epoll_wait: %w", errno)
	}
}

func watch(epfd, fd int, events uint32) error {
	return control(epfd, syscall.EPOLL_CTL_ADD, fd, events)
}

func rewatch(epfd, fd int, events uint32) error {
	return control(epfd, syscall.EPOLL_CTL_MOD, fd, events)
}

func control(epfd, op, fd int, events uint32) error {
	e := syscall.EpollEvent{Events: events, Fd: int32(fd)}
	if err := syscall.EpollCtl(epfd, op, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// listen opens a listening socket that does not block.
func listen(at *syscall.SockaddrInet4) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return -1, closed(fd, "reuse the address", err)
	}
	if err := syscall.Bind(fd, at); err != nil {
		return -1, closed(fd, fmt.Sprintf("bind %v:%d", at.Addr, at.Port), err)
	}
	if err := syscall.Listen(fd, 4096); err != nil {
		return -1, closed(fd, "listen", err)
	}
	return fd, nil
}

func closed(fd int, doing string, err error) error {
	_ = syscall.Close(fd) // the first error is the one that says what is wrong
	return fmt.Errorf("%s: %w", doing, err)
}

// dial starts to connect; the socket is writable when it is connected.
func dial(to *syscall.SockaddrInet4) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return -1, closed(fd, "no delay", err)
	}
	if err := syscall.Connect(fd, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return -1, closed(fd, "connect", err)
	}
	return fd, nil
}

// accept takes one connection from a listener, errno EAGAIN when there is none.
func accept(fd int) (int, error) {
	c, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptInt(c, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return -1, closed(c, "no delay", err)
	}
	return c, nil
}

// ProcessCPU returns the processor time that a process has used so far, all its threads, the ended ones included:
// its CPU clock, which the kernel keeps in nanoseconds.
func ProcessCPU(pid int) (time.Duration, error) {
	const perProcess = 2 // CPUCLOCK_SCHED
	return clock(uintptr(^pid<<3 | perProcess))
}

func clock(id uintptr) (time.Duration, error) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("clock_gettime", errno)
	}
	return time.Duration(ts.Nano()), nil
}
