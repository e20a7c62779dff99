package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"crossfade.dev/internal/supervisor"
)

// TestRunDirsOfTheDeadAreRemoved leaves directories behind, as those do that are killed.
func TestRunDirsOfTheDeadAreRemoved(t *testing.T) {
	dir, err := os.MkdirTemp("", "rd") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	listen := func(pid int, name string) net.Listener {
		t.Helper()
		run := filepath.Join(dir, fmt.Sprintf("crossfade-%d-%s", pid, name))
		if err := os.Mkdir(run, 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(run, socketName)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	for _, l := range []net.Listener{
		listen(dead.Process.Pid, "gone"), // removed
		listen(os.Getpid(), "waits"),     // its process lives
	} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	listen(dead.Process.Pid, "elsewhere") // it is served, perhaps by a process that we cannot see

	own, err := makeRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	all := strings.Join(got, " ")
	if len(got) != 3 || strings.Contains(all, "gone") || !strings.Contains(all, "waits") || !strings.Contains(all, "elsewhere") || !strings.Contains(all, filepath.Base(own)) {
		t.Errorf("got %s, want those that somebody may use, and %s", all, own)
	}
}

func TestFarewell(t *testing.T) {
	for _, tt := range []struct {
		cut  error
		code int
		want string
	}{
		{nil, 0, "stopped: everything was drained, 0 requests were cut\n"},
		{&supervisor.CutError{Replicas: []string{"ingressgateway-1: exit code 3"}, Requests: 1}, exitCut, "stopped: 1 request was cut: ingressgateway-1: exit code 3\n"},
		{&supervisor.CutError{Replicas: []string{"a: exit code 3", "b: exit code 3"}, Requests: 7}, exitCut, "stopped: 7 requests were cut: a: exit code 3; b: exit code 3\n"},
		{&supervisor.CutError{Replicas: []string{"a: ended by SIGKILL"}}, exitCut, "stopped: requests were cut: a: ended by SIGKILL\n"},
	} {
		var got strings.Builder
		err := farewell(&got, tt.cut)
		exit, _ := errors.AsType[exitError](err)
		if got.String() != tt.want || exit.code != tt.code || (err == nil) != (tt.code == 0) {
			t.Errorf("%v: got %q and %v, want %q and exit code %d", tt.cut, got.String(), err, tt.want, tt.code)
		}
	}
}

func TestStateIsKeptByOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := lockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := lockState(dir); !errors.Is(err, errStateTaken) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, %v; want %s taken", second, err, dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := lockState(dir)
	if err != nil {
		t.Fatal("when the first has ended:", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// TestTerminalIsClosed: what runs everything is told to stop then, and not ended where it stands.
func TestTerminalIsClosed(t *testing.T) {
	ctx, stop := untilHangup(t.Context())
	defer stop()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("whoever runs the tests ignores SIGHUP")
	}
	if err := ctx.Err(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}
