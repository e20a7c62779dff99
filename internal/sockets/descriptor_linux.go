package sockets

import (
	"errors"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// duplicate returns another descriptor of f's. It does not change what f is, as f.Fd might: whether a socket blocks
// is the same for all who hold it.
func duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, failed := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, os.NewSyscallError("fcntl", failed)
}

// neverBlock has nobody wait in accept4, where only a connection would wake him. Whether a socket blocks is the same for
// all who hold it, and systemd makes it block whenever it hands it to a program: so there is a time limit too.
func neverBlock(fd int) error {
	limit := unix.NsecToTimeval(int64(pause))
	return errors.Join(
		os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)),
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)),
	)
}

// listeningAt returns the address of the TCP socket fd, an error if it is none that listens.
func listeningAt(fd int) (net.Addr, error) {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	switch {
	case protocol == unix.IPPROTO_MPTCP: // it takes none of the options that we set
		return nil, errors.New("it speaks MPTCP; in a unit of systemd, leave SocketProtocol= away")
	case listens == 0 || protocol != unix.IPPROTO_TCP:
		return nil, errors.New("it is not a listening TCP socket")
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: at.Addr[:], Port: at.Port}, nil
	case *unix.SockaddrInet6:
		a := &net.TCPAddr{IP: at.Addr[:], Port: at.Port}
		if at.ZoneId != 0 {
			a.Zone = strconv.FormatUint(uint64(at.ZoneId), 10)
		}
		return a, nil
	default:
		return nil, errors.New("it is not a TCP socket of IPv4 or IPv6")
	}
}

// control runs do with f's descriptor, and changes nothing of f.
func control(f *os.File, do func(fd int)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}

// queued returns how many connections wait in a listening socket's queue, as far as that is known.
func queued(f *os.File) (n uint32) {
	_ = control(f, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Unacked // of a socket that listens: those that wait
		}
	})
	return n
}
