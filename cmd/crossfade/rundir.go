package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// socketName is that of the feed's socket in a run directory.
const socketName = "feed.sock"

// makeRunDir makes a directory of this process for what lives only as long as it, below dir. Its path is short: that of
// a Unix socket has at most 107 bytes. What those have left there that were killed it removes.
func makeRunDir(dir string) (string, error) {
	left, err := filepath.Glob(filepath.Join(dir, "crossfade-*-*", "*.sock"))
	if err != nil {
		return "", err
	}
	for _, socket := range left {
		if abandoned(socket) {
			_ = os.RemoveAll(filepath.Dir(socket)) // what cannot be removed harms nobody
		}
	}
	return os.MkdirTemp(dir, fmt.Sprintf("crossfade-%d-", os.Getpid()))
}

// abandoned says whether the process that made the directory of a socket is no more, and nobody serves the socket.
func abandoned(socket string) bool {
	var pid int
	if n, _ := fmt.Sscanf(filepath.Base(filepath.Dir(socket)), "crossfade-%d-", &pid); n != 1 || pid <= 0 {
		return false
	}
	if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	conn, err := net.Dial("unix", socket) //nolint:noctx // a Unix socket answers at once
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// lockName is that of the file, in a state directory, which whoever keeps its state there has locked.
const lockName = "up.lock"

// lockState sees to it that nobody else keeps its state in a directory until what it returns is closed: two would each
// start with what the other one was. The kernel takes the lock back from whoever is killed.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("%s: %w; stop it, or choose another directory with --state", dir, errStateTaken)
	case err != nil:
		err = fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// errStateTaken says that somebody else keeps its state in a directory.
var errStateTaken = errors.New("another crossfade up keeps its state there")
