//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A proc is one process below this test, as /proc shows it.
type proc struct {
	pid, parent int
	args        []string
	env         map[string]string
}

// name is the program and, for crossfade itself, the command.
func (p proc) name() string {
	name := filepath.Base(p.args[0])
	if name == "crossfade" && len(p.args) > 1 {
		name += " " + p.args[1]
	}
	return name
}

// after returns the argument that follows a flag, "" when there is none.
func (p proc) after(flag string) string {
	if i := slices.Index(p.args, flag); i >= 0 && i+1 < len(p.args) {
		return p.args[i+1]
	}
	return ""
}

func (p proc) String() string { return fmt.Sprintf("%d: %s", p.pid, strings.Join(p.args, " ")) }

// prSetChildSubreaper is PR_SET_CHILD_SUBREAPER: processes orphaned below this one become its children, so that
// none can leave its sight.
const prSetChildSubreaper = 36

func becomeSubreaper() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become subreaper: %w", errno)
	}
	return nil
}

// descendants returns every living process below pid.
func descendants(t *testing.T, pid int) []proc {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]proc{}
	for _, dir := range dirs {
		if p, ok := readProc(dir); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	var below []proc
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			below = append(below, p)
			queue = append(queue, p.pid)
		}
	}
	return below
}

// readProc reads one process; false when it has ended, a zombie included.
func readProc(dir string) (proc, bool) {
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return proc{}, false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return proc{}, false
	}
	// pid (name) state parent …; the name may hold spaces and brackets.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if fields[0] == "Z" || fields[0] == "X" {
		return proc{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return proc{}, false
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil || len(cmdline) == 0 {
		return proc{}, false
	}
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return proc{}, false
	}
	p := proc{pid: pid, parent: parent, env: map[string]string{}}
	p.args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	for pair := range strings.SplitSeq(string(environ), "\x00") {
		name, value, _ := strings.Cut(pair, "=")
		p.env[name] = value
	}
	return p, true
}

// kill sends SIGKILL to exactly one process, which must be living.
func kill(t *testing.T, p proc) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %s: %v", p, err)
	}
}

// interrupt ends a command that this test started as Ctrl-C does, and waits for it.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Errorf("interrupt %s: %v", cmd, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended: // its exit code says whether it had to cut something, which is not asked here
	case <-time.After(soon):
		_ = cmd.Process.Kill()
		t.Errorf("%s has not ended %v after an interrupt: %v", cmd, soon, <-ended)
	}
}

// reapAll ends every process that is left below this test, by its id, and returns what it found.
func reapAll(t *testing.T) []proc {
	t.Helper()
	left := descendants(t, os.Getpid())
	for _, p := range left {
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("kill -9 %s: %v", p, err)
		}
	}
	return left
}
