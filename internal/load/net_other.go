//go:build !linux

package load

import (
	"net"
	"syscall"
	"time"
)

func lateBinding(_, _ string, _ syscall.RawConn) error { return nil }

func sleep(d time.Duration) { time.Sleep(d) }

func quiet(net.Conn) func() bool { return func() bool { return true } }
