package sockets

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptNow accepts a connection that is in the queue of the socket fd already; errEmpty when there is none. Accept
// of package net cannot say that: with a deadline in the past it does not look, and with one to come it may not look
// before it has passed.
func acceptNow(fd int) (net.Conn, error) {
	f, err := acceptFile(fd)
	if err != nil {
		return nil, err
	}
	return connOf(f)
}

// acceptFile is acceptNow without what Go makes of a connection.
func acceptFile(fd int) (*os.File, error) {
	for {
		// Not SOCK_NONBLOCK: os.NewFile would then tell Go's poller of a descriptor that is closed at once.
		accepted, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			// What the client has sent meanwhile was dropped, and comes again.
			f := os.NewFile(uintptr(accepted), "accepted")
			if err := demandTTL(accepted, 0); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return f, nil
		case errors.Is(err, unix.EAGAIN):
			return nil, errEmpty
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
			return nil, os.NewSyscallError("accept4", err)
		}
	}
}

// connOf makes a connection of f, which it closes. That takes one more descriptor for a moment: if there is none, it
// waits for a while, for the client believes to be connected.
func connOf(f *os.File) (nc net.Conn, err error) {
	defer f.Close() //nolint:errcheck // FileConn has its own
	for range tries {
		nc, err = net.FileConn(f)
		if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
			return nc, err
		}
		time.Sleep(pause)
	}
	return nil, err
}

// deafen makes the kernel drop every segment to fd's socket that would begin a handshake, whoever holds the socket.
// Handshakes that have begun can end.
func deafen(fd int) error {
	if filter(fd) == nil {
		return nil
	}
	return demandTTL(fd, farthest) // some kernels let root alone have filters
}

// filter has the socket drop segments with SYN.
func filter(fd int) error {
	const flags, syn, ack = 13, 0x02, 0x10 // byte of a TCP header, and bits in it
	program := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: flags},
		{Code: syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K, K: syn | ack},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: syn, Jf: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 1 << 16},
	}
	return os.NewSyscallError("setsockopt", syscall.AttachLsf(fd, program)) //nolint:staticcheck // what is said to be better needs another guest
}

// farthest is the time to live that no segment of an ordinary sender has left: they begin with 64 or 128.
const farthest = 255

// demandTTL has the socket drop segments with a lesser time to live; 0: none. Those that end a handshake are not
// asked for theirs, but connections inherit the demand: see acceptFile.
func demandTTL(fd, ttl int) error {
	err := os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl))
	if domain, failed := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); failed == nil && domain == unix.AF_INET6 {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl)))
	}
	return err
}
