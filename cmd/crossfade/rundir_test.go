package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	for want, cut := range map[string]error{
		"0 requests were cut": nil,
		"stopped: requests were cut: ingressgateway-1: exit code 3": &supervisor.CutError{Replicas: []string{"ingressgateway-1: exit code 3"}},
	} {
		if got := farewell(cut); !strings.Contains(got, want) {
			t.Errorf("%v: got %q, want %q", cut, got, want)
		}
	}
}
