package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary, started with an actor's name in this variable, plays that actor.
const actorVariable = "CROSSFADE_ACTOR"

func TestMain(m *testing.M) {
	if actor := os.Getenv(actorVariable); actor != "" {
		os.Exit(play(actor))
	}
	os.Exit(m.Run())
}

func play(actor string) int {
	signals := make(chan os.Signal, 1)
	switch actor {
	case "polite": // ends with SIGTERM, says so; answers SIGUSR1
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
		fmt.Fprintln(os.Stdout, "ready")
		for s := range signals {
			if s == syscall.SIGTERM {
				fmt.Fprintln(os.Stdout, "bye")
				return 0
			}
			fmt.Fprintln(os.Stdout, "alive")
		}
	case "deaf": // hears no SIGTERM
		signal.Ignore(syscall.SIGTERM)
		signal.Notify(signals, syscall.SIGUSR1)
		fmt.Fprintln(os.Stdout, "ready")
		<-signals
	case "teller": // a line without an end, a word on the other side, and a code
		fmt.Fprintln(os.Stderr, "oops")
		fmt.Fprint(os.Stdout, "in ", os.Getenv("PLACE"), "\nno end")
		return 7
	case "files": // copies descriptor 3 to its output
		b := make([]byte, 64)
		n, _ := os.NewFile(3, "three").Read(b)
		fmt.Fprintf(os.Stdout, "%s\n", b[:n])
	case "family", "orphan": // has a deaf child in its own group; or in another one, and leaves it
		child := exec.Command(os.Args[0])
		child.Env = as("deaf")
		child.Stderr = os.Stdout // it holds our output, and writes after us
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: actor == "orphan"}
		said, err := child.StdoutPipe()
		if err != nil || child.Start() != nil {
			return 1
		}
		fmt.Fprintln(os.Stdout, child.Process.Pid)
		_, _ = io.CopyN(os.Stdout, said, int64(len("ready\n")))
		if actor == "family" {
			_ = child.Wait()
		}
	case "heir": // writes a file when it hears SIGTERM, and ends
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "ready")
		<-signals
		if os.WriteFile(os.Getenv("WILL"), nil, 0o600) != nil {
			return 1
		}
	case "echo": // passes its input on, and writes on the other side, too
		fmt.Fprint(os.Stderr, "heard")
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
		return 6
	case "double", "ancestor": // has an echo, or a family, in its own place
		env := as(map[string]string{"double": "echo", "ancestor": "family"}[actor])
		child, err := Start(Spec{Name: actor, Path: os.Args[0], Env: env, Inherit: true})
		if err != nil {
			return 1
		}
		<-child.Done()
		return child.Exit().Code
	case "parent", "guardian": // starts a child as we do, a deaf one or an heir
		out := make(transcript, 1)
		spec := Spec{Name: "c", Path: os.Args[0], Env: as("deaf"), Stdout: out}
		if actor == "guardian" {
			spec.Env, spec.Orphan = append(as("heir"), "WILL="+os.Getenv("WILL")), syscall.SIGTERM
		}
		child, err := Start(spec)
		if err != nil {
			return 1
		}
		<-out // it hears nothing, or what it must; and it will not notice that nobody reads
		fmt.Fprintln(os.Stdout, child.Pid())
		<-child.Done()
	}
	return 0
}

// as returns the environment that makes the test binary play an actor, and end at once under the race detector.
func as(actor string) []string {
	return []string{actorVariable + "=" + actor, "GORACE=atexit_sleep_ms=0"}
}

// A transcript receives whole lines.
type transcript chan string

func (out transcript) Write(p []byte) (int, error) {
	out <- string(p)
	return len(p), nil
}

func start(t *testing.T, actor string, more ...string) (*Child, transcript) {
	t.Helper()
	out := make(transcript, 64)
	child, err := Start(Spec{
		Name: actor, Path: os.Args[0], Env: append(as(actor), more...), Stdout: out, Stderr: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Stop(0) })
	go func() {
		<-child.Done()
		close(out) // who waits for a line that will not come gets an empty one
	}()
	return child, out
}

func (out transcript) want(t *testing.T, want string) {
	t.Helper()
	if got := <-out; got != want {
		t.Errorf("got line %q, want %q", got, want)
	}
}

// pid reads a line that is a process id and returns a descriptor that becomes readable when it ends.
func (out transcript) pid(t *testing.T) (int, int) {
	t.Helper()
	_, number, _ := strings.Cut(strings.TrimSpace(<-out), " | ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return pid, fd
}

// wantEnd waits for the end of the process behind a descriptor.
func wantEnd(t *testing.T, fd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("process still runs after a minute (%v)", err)
		}
		return
	}
}

func TestStopIsPolite(t *testing.T) {
	child, out := start(t, "polite")
	out.want(t, "polite | ready\n")
	if err := child.Stop(time.Minute); err != nil {
		t.Errorf("got %v, want it to end by itself", err)
	}
	out.want(t, "polite | bye\n")
	if got := child.Exit(); !got.OK() {
		t.Errorf("got %v, want exit code 0", got)
	}
	if err := child.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: got %v, want %v", err, os.ErrProcessDone)
	}
	if err := child.Stop(0); err != nil {
		t.Errorf("second stop: got %v, want nil", err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", child.Pid())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the child is still in the process table: %v", err)
	}
}

func TestStopKillsAtTheBound(t *testing.T) {
	child, out := start(t, "deaf")
	out.want(t, "deaf | ready\n")
	if err := child.Stop(10 * time.Millisecond); !errors.Is(err, ErrKilled) {
		t.Errorf("got %v, want %v", err, ErrKilled)
	}
	if got, want := child.Exit(), (Exit{Code: 137, Signal: syscall.SIGKILL}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := child.Exit().String(), "ended by SIGKILL"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWholeGroupEndsWithItsLeader(t *testing.T) {
	child, out := start(t, "family")
	_, fd := out.pid(t)
	out.want(t, "family | ready\n")
	if err := unix.Kill(child.Pid(), unix.SIGKILL); err != nil { // the leader alone
		t.Fatal(err)
	}
	<-child.Done()
	wantEnd(t, fd)
}

func TestStrayThatHoldsTheOutputDoesNotHoldTheEnd(t *testing.T) {
	child, out := start(t, "orphan")
	pid, _ := out.pid(t)
	<-child.Done()
	if got := child.Exit(); !got.OK() {
		t.Errorf("got %v, want exit code 0", got)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the stray has left the group and should run: %v", err)
	}
}

func TestOutputEnvironmentAndCode(t *testing.T) {
	child, out := start(t, "teller", "PLACE=Hangzhou")
	got := map[string]bool{}
	for line := range out {
		got[line] = true
	}
	for _, want := range []string{"teller | oops\n", "teller | in Hangzhou\n", "teller | no end\n"} {
		if !got[want] {
			t.Errorf("got %v, want %q among them", got, want)
		}
	}
	if got, want := child.Exit().String(), "exit code 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A child that inherits reads and writes where we do, byte for byte.
func TestInheritedInputAndOutput(t *testing.T) {
	const words = "no end\x00 of it"
	double := exec.Command(os.Args[0])
	double.Env = as("double")
	double.Stdin = strings.NewReader(words)
	var out, errs strings.Builder
	double.Stdout, double.Stderr = &out, &errs
	_ = double.Run() // its exit code is compared
	if code := double.ProcessState.ExitCode(); out.String() != words || errs.String() != "heard" || code != 6 {
		t.Errorf("got %q, %q and exit code %d, want %q, \"heard\" and 6", out.String(), errs.String(), code, words)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, nil, 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for name, want := range map[string]string{"program": program, "./program": program, program: program} {
		if got, err := Find(name, dir); got != want || err != nil {
			t.Errorf("Find(%q): got %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := Find("another", dir); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "another") {
		t.Errorf("got %q, %v, want that there is no such program", got, err)
	}
}

func TestFilesArePassed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := make(transcript, 1)
	child, err := Start(Spec{Name: "f", Path: os.Args[0], Env: as("files"), Stdout: out, Files: []*os.File{r}})
	if err != nil {
		t.Fatal(err)
	}
	out.want(t, "f | hello\n")
	<-child.Done()
}

func TestWhatCannotBeStartedSaysSo(t *testing.T) {
	_, err := Start(Spec{Name: "nothing", Path: "/nowhere/nothing"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "start nothing") {
		t.Errorf("got %v, want that nothing does not exist", err)
	}
}

// The kernel ties a child's life to the thread that started it. Ours must outlive threads that end.
func TestChildOutlivesTheThreadsAroundIt(t *testing.T) {
	var child *Child
	var out transcript
	var both, ended sync.WaitGroup
	var once sync.Once
	both.Add(2)
	for range 2 { // the main thread never ends; of two, one is another
		ended.Go(func() {
			runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
			both.Done()
			both.Wait()
			if syscall.Gettid() != syscall.Getpid() {
				once.Do(func() { child, out = start(t, "polite") })
			}
		})
	}
	ended.Wait()
	out.want(t, "polite | ready\n")
	if err := child.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	out.want(t, "polite | alive\n")
}

func TestKilledParentLeavesNoChild(t *testing.T) {
	parent, out := start(t, "parent")
	_, fd := out.pid(t)
	if err := unix.Kill(parent.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-parent.Done()
	wantEnd(t, fd) // it has a group of its own and is deaf: only the kernel can have ended it
}

// What a child starts gets no Pdeathsig: a shell that runs a server is killed, and the server would keep the port for ever.
func TestKilledParentLeavesNoGrandchild(t *testing.T) {
	ancestor, out := start(t, "ancestor")
	_, fd := out.pid(t)
	out.want(t, "ancestor | ready\n")
	if err := unix.Kill(ancestor.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ancestor.Done()
	wantEnd(t, fd)
}

func TestOrphanIsToldAsItsParentWished(t *testing.T) {
	will := filepath.Join(t.TempDir(), "will")
	parent, out := start(t, "guardian", "WILL="+will)
	_, fd := out.pid(t)
	if err := unix.Kill(parent.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-parent.Done()
	wantEnd(t, fd)
	if _, err := os.Stat(will); err != nil {
		t.Errorf("the orphan was to hear SIGTERM and do its last work: %v", err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	once := func() {
		child, out := start(t, "polite")
		out.want(t, "polite | ready\n")
		if err := child.Stop(time.Minute); err != nil {
			t.Error(err)
		}
	}
	once() // opens what the runtime keeps for itself
	before, goroutines := descriptors(), runtime.NumGoroutine()
	const rounds = 30
	for range rounds {
		once()
	}
	if after := descriptors(); after > before {
		t.Errorf("got %d descriptors, want the %d from before", after, before)
	}
	if after := runtime.NumGoroutine(); after > goroutines+rounds/3 { // the last may not have returned yet
		t.Errorf("got %d goroutines, want about the %d from before", after, goroutines)
	}
}
