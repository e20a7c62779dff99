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
