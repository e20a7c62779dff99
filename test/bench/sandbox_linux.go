package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

// inside marks the process that runs within the sandbox.
const inside = "CROSSFADE_BENCH_INSIDE"

// The two cores of a measurement.
const (
	proxyCore = 0
	loadCore  = 1
)

// enter runs this program again, as it was called, where it measures: pinned to its core, before everybody
// else who wants it, and with a network of its own when we are root, so that nothing else's ports are in the way.
func enter(ctx context.Context) error {
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed, one for the proxy and one for the load")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(loadCore), self}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Preemption would send the measuring thread a hundred signals a second.
	cmd.Env = append(os.Environ(), inside+"=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	return cmd.Run()
}

// first stands before everybody else who wants a core: Linux divides it between sessions, and then within them.
func first() {
	const nice = -20
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice) // who may not say so measures with more noise
	_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0)
}

// settle prepares the inside of the sandbox and returns how many files a process may open.
func settle() (files int, err error) {
	first()
	const want = 65536
	limit := syscall.Rlimit{Cur: want, Max: want}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil { // we may not raise the hard limit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return 0, err
		}
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return 0, fmt.Errorf("%d open files: %w", limit.Cur, err)
		}
	}
	if os.Geteuid() == 0 {
		err = loopbackUp()
	}
	return int(limit.Cur), err
}

// loopbackUp does what `ip link set lo up` does.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	var request struct { // ifreq
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if err := syscall.Close(fd); err != nil || errno == 0 {
		return err
	}
	return fmt.Errorf("lo up: %w", errno)
}
