package sockets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds how long the other end may take for one message that it has begun, and to take one from us.
const patience = 5 * time.Second

// Door opens the Unix socket at which an [Owner] is asked, for its Run, in a directory that only this user may enter
// (it is made with mode 0700). A socket left by a program that died is replaced; one that still answers is an error.
// The path may begin with "unix:".
func Door(ctx context.Context, path string) (*net.UnixListener, error) {
	path = unixPath(path)
	l, err := openDoor(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("sockets at %s: %w", path, err)
	}
	return l, nil
}

func openDoor(ctx context.Context, path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if conn, err := dialUnix(ctx, path); err == nil {
		return nil, errors.Join(errors.New("another supervisor answers there; stop it or choose another path"), conn.Close())
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var lc net.ListenConfig
	nl, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	l, ok := nl.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("got a %T", nl), nl.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func unixPath(path string) string { return strings.TrimPrefix(path, "unix:") }

func dialUnix(ctx context.Context, path string) (*net.UnixConn, error) {
	dial, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(dial, "unix", path)
	if err != nil {
		return nil, err
	}
	conn, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("got a %T", nc), nc.Close())
	}
	return conn, nil
}

// trusted returns the process at the other end, and an error unless it is this user's or root's. The directory's mode
// says the same; this holds even where somebody loosened it.
func trusted(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Getuid() {
		return 0, fmt.Errorf("process %d belongs to user %d", peer.Pid, peer.Uid)
	}
	return int(peer.Pid), nil
}

// sendRights sends a message, and with it a descriptor unless that is negative.
func sendRights(conn *net.UnixConn, message any, fd int) error {
	data, err := encode(message)
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if fd >= 0 {
		n, _, err := conn.WriteMsgUnix(data, unix.UnixRights(fd), nil)
		if err != nil {
			return err
		}
		data = data[n:] // the descriptor went with the first byte
	}
	_, err = conn.Write(data)
	return err
}

// rights reads from a connection and keeps the descriptors that come along.
type rights struct {
	conn *net.UnixConn
	fds  []int
}

// Read is io.Reader's. The kernel ends a read where descriptors came with what it has read.
func (r *rights) Read(p []byte) (int, error) {
	control := make([]byte, unix.CmsgSpace(4*8))       // room for more than the one that may come
	n, nc, _, _, err := r.conn.ReadMsgUnix(p, control) // where we have no descriptor left, none comes
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	if err != nil {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:nc])
	if err != nil {
		return n, os.NewSyscallError("recvmsg", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return n, os.NewSyscallError("recvmsg", err)
		}
		r.fds = append(r.fds, fds...)
	}
	return n, nil
}

// take returns the one descriptor that came since it was last called, -1 if it was another number of them: those are
// closed.
func (r *rights) take() int {
	fds := r.fds
	r.fds = nil
	if len(fds) == 1 {
		return fds[0]
	}
	for _, fd := range fds {
		_ = unix.Close(fd) // nobody asked for it
	}
	return -1
}
