// Package process starts child processes and is certain about their end: nobody outlives who started it,
// nobody stays a zombie, no goroutine and no descriptor is left. Linux only.
//
//	child, err := process.Start(process.Spec{Name: "gateway-1", Path: self, Args: args, Stdout: out, Stderr: out})
//	…
//	err = child.Stop(10 * time.Second) // SIGTERM, then SIGKILL, to the child and whatever it started
//
// A [Keeper] starts a child again whenever it ends.
package process

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrKilled says that a child did not end in the time it had, and was killed.
var ErrKilled = errors.New("killed: it did not end in time")

// outputDelay bounds how long the output of a child that has ended is waited for: a descendant that left the
// process group may hold it open for ever.
const outputDelay = time.Second

// A Spec says what to start.
type Spec struct {
	Name   string    // stands before each line of output, and in errors
	Path   string    // of the program; not looked up in PATH
	Args   []string  // without the program's own name
	Env    []string  // the whole of it, as "NAME=value"; nil means ours
	Dir    string    // working directory; "" means ours
	Stdout io.Writer // gets whole lines, one a Write, "Name | " before each; nil discards
	Stderr io.Writer // likewise; may be the same as Stdout if that may be written to at once from two goroutines
	Files  []*os.File
	// Inherit gives the child our own input, output and error output, in place of Stdout and Stderr. A terminal is no
	// input to it: the child is not in its foreground.
	Inherit bool
	Orphan  syscall.Signal // what the kernel sends the child when we end before it, however abruptly; 0 is SIGKILL
}

// A Process is a process that was started. Its methods may be called from any goroutine.
type Process interface {
	// Done is closed when the process has ended and everything it left behind is cleared away.
	Done() <-chan struct{}
	// Exit says how the process ended. It may be called only after Done is closed.
	Exit() Exit
	// Stop ends the process and returns when it has ended: nil when it did so within grace, ErrKilled when
	// it had to be killed.
	Stop(grace time.Duration) error
}

// An Exit says how a process ended.
type Exit struct {
	Code   int            // what it exited with; 128 + Signal when a signal ended it, as shells say it
	Signal syscall.Signal // that ended it; 0 when it exited by itself
	Err    error          // why there is no process to speak of: it could not be started or waited for
}

// OK says whether the process ended as one that has done its work.
func (e Exit) OK() bool { return e == Exit{} }

func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Signal != 0:
		return "ended by " + unix.SignalName(e.Signal)
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}

// A Child is a process that Start started, the leader of a process group of its own. When it ends, the rest
// of its group is killed; when we end, however abruptly, the kernel sends it [Spec].Orphan: and where that is SIGKILL,
// the rest of its group, too, as long as one of them keeps the descriptor that it was given after its Files.
type Child struct {
	name string
	cmd  *exec.Cmd
	leash
	done chan struct{}
	exit Exit // written before done is closed

	mu   sync.Mutex
	gone bool // its number may belong to another process now
}

// Start starts a child, whose Files become its descriptors 3, 4, …. The child has no input unless it inherits ours. Who starts it
// stops it; [Child.Done] says when it ended by itself.
func Start(spec Spec) (*Child, error) {
	out, errs := newLines(spec.Stdout, spec.Name), newLines(spec.Stderr, spec.Name)
	c := &Child{
		name: spec.Name,
		done: make(chan struct{}),
		cmd: &exec.Cmd{
			Path:       spec.Path,
			Args:       append([]string{spec.Path}, spec.Args...),
			Env:        spec.Env,
			Dir:        spec.Dir,
			ExtraFiles: spec.Files,
			WaitDelay:  outputDelay,
			SysProcAttr: &syscall.SysProcAttr{
				Setpgid:   true,
				Pdeathsig: cmp.Or(spec.Orphan, syscall.SIGKILL),
			},
		},
	}
	if out != nil {
		c.cmd.Stdout = out
	}
	if errs != nil {
		c.cmd.Stderr = errs
	}
	if spec.Inherit {
		c.inherit()
	}
	if c.cmd.SysProcAttr.Pdeathsig == syscall.SIGKILL {
		var err error
		if c.leash, err = newLeash(); err != nil {
			return nil, fmt.Errorf("start %s: %w", spec.Name, err)
		}
		c.cmd.ExtraFiles = append(slices.Clip(spec.Files), c.theirs)
	}
	started := make(chan error)
	go c.attend(started, out, errs)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return c, nil
}

// inherit has the child read and write where we do.
func (c *Child) inherit() {
	c.cmd.Stdout, c.cmd.Stderr = os.Stdout, os.Stderr
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err != nil { // it is no terminal
		c.cmd.Stdin = os.Stdin
	}
}

// attend starts the child, waits for its end and clears up. The kernel kills the child when the thread that
// started it ends, not when the process does: so all of this happens on one thread, which cannot end before.
// It costs nothing, for waiting takes a thread anyway.
func (c *Child) attend(started chan<- error, outputs ...*lines) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	if err != nil {
		c.untie()
		started <- err
		return
	}
	c.tie(c.cmd.Process.Pid)
	started <- nil
	defer close(c.done)
	c.awaitEnd()
	c.mu.Lock()
	c.gone = true
	// The leader is a zombie still, so the group's number cannot have passed to somebody else.
	_ = unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL) // ESRCH: nobody else is left, which is the aim
	c.mu.Unlock()
	c.untie()
	err = c.cmd.Wait()
	for _, l := range outputs {
		l.flush()
	}
	c.exit = exitOf(c.cmd.ProcessState, err)
}

// awaitEnd returns when the child has ended, and leaves it to be reaped.
func (c *Child) awaitEnd() {
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // on any other error Wait will say what is the matter
		}
	}
}

func exitOf(state *os.ProcessState, err error) Exit {
	if state == nil {
		return Exit{Code: -1, Err: err}
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return Exit{Code: 128 + int(status.Signal()), Signal: status.Signal()}
	}
	return Exit{Code: state.ExitCode()}
}

// Pid returns the child's process id.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Done is closed when the child has ended, its group is killed, its output is written and it is reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit says how the child ended. It may be called only after Done is closed.
func (c *Child) Exit() Exit { return c.exit }

// Signal sends a signal to the child and all of its group. It returns os.ErrProcessDone when the child has
// ended.
func (c *Child) Signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return fmt.Errorf("signal %s: %w", c.name, os.ErrProcessDone)
	}
	if err := unix.Kill(-c.cmd.Process.Pid, sig); err != nil {
		return fmt.Errorf("signal %s: %w", c.name, err)
	}
	return nil
}

// Stop asks the child's group to end with SIGTERM, kills it with SIGKILL when the child has not ended after
// grace, and returns when Done is closed: nil when the child ended by itself, else ErrKilled. A grace of 0
// or less kills at once.
func (c *Child) Stop(grace time.Duration) error {
	if grace > 0 {
		_ = c.Signal(syscall.SIGTERM) // it fails when the child has ended
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.done:
			return nil
		case <-timer.C:
		}
	}
	err := c.Signal(syscall.SIGKILL)
	<-c.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("stop %s: %w", c.name, ErrKilled)
}
