package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A peer is a proxy that can be measured.
type peer struct {
	name    string
	about   string   // how it is set up, for the report
	version []string // the command that prints its version
	// plan writes the configuration of a scene into the place's directory and says what to run.
	plan func(place) (plan, error)
}

// A place is where one peer runs in one scene.
type place struct {
	scene
	dir  string // of its own
	port int    // to listen on
	pair pair   // when the scene has TLS
}

// A plan is how a peer is run.
type plan struct {
	data  []string   // the command that carries the requests: the one that is measured
	aside [][]string // commands that run beside it, on the other core
	// rewarm makes the scene's warming endpoints start to warm up now; nil: this peer cannot.
	rewarm func(round int) error
}

// A runner is a peer that runs.
type runner struct {
	peer
	plan
	place
	cmds []*exec.Cmd
	log  string
	dead error // why it is left out
}

// launch starts a peer.
func launch(ctx context.Context, p peer, at place) (*runner, error) {
	if err := os.MkdirAll(at.dir, 0o700); err != nil {
		return nil, err
	}
	plan, err := p.plan(at)
	if err != nil {
		return nil, err
	}
	r := &runner{peer: p, plan: plan, place: at, log: filepath.Join(at.dir, "log")}
	for _, argv := range plan.aside {
		if err := r.start(ctx, loadCore, argv); err != nil {
			r.stop()
			return nil, err
		}
	}
	if err := r.start(ctx, proxyCore, plan.data); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *runner) start(ctx context.Context, core int, argv []string) error {
	out, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(core)}, argv...)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := errors.Join(cmd.Start(), out.Close()); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	r.cmds = append(r.cmds, cmd)
	return nil
}

// pids are the processes that carry the requests: the last command and its children.
func (r *runner) pids() []int {
	return family(r.cmds[len(r.cmds)-1].Process.Pid)
}

func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for field := range bytes.FieldsSeq(children) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				all = append(all, family(child)...)
			}
		}
	}
	return all
}

// memory adds up the resident memory of the processes in bytes: what is theirs alone.
func (r *runner) memory() (int, error) {
	sum := 0
	for _, pid := range r.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			if name != "Private_Dirty" && name != "Private_Clean" {
				continue
			}
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				return 0, err
			}
			sum += kb << 10
		}
	}
	return sum, nil
}

// stop ends the peer's processes, in the order opposite to that in which they were started.
func (r *runner) stop() {
	for _, cmd := range slices.Backward(r.cmds) {
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
		timer := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // how it ends is no matter of ours
		timer.Stop()
	}
	r.cmds = nil
}

// lastWords returns the end of the peer's log.
func (r *runner) lastWords() string {
	b, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	const most = 600
	return string(bytes.TrimSpace(b[max(0, len(b)-most):]))
}

// write puts a configuration where it belongs, in one step: those who watch it never see half of it.
func write(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
