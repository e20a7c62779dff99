package sockets

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// inherit plays a program that systemd has started: it says what it has inherited, lends it to itself, leaves as if
// alone, and says what the owner made of it.
func inherit() error {
	fmt.Fprintln(os.Stdout, "ready")
	files, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
	}
	for address := range files {
		fmt.Fprintln(os.Stdout, "inherited", address)
	}
	fmt.Fprintln(os.Stdout, "environment", os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDNAMES"))
	fmt.Fprintln(os.Stdout, "end")
	bufio.NewScanner(os.Stdin).Scan()
	return nil
}

// systemd starts a program with sockets as its descriptors from 3 on.
func systemd(t *testing.T, names string, files ...*os.File) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), actorVariable+"=inheritor", fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	return cmd
}

func socketFile(t *testing.T, network, address string) (*os.File, string) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(network == "mptcp")
	nl, err := lc.Listen(t.Context(), strings.TrimPrefix(network, "mp"), address)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	s, ok := nl.(interface{ File() (*os.File, error) })
	if !ok {
		t.Fatalf("got a %T", nl)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, nl.Addr().String()
}

// What systemd hands over is known by where it listens. What cannot be lent is named, and harms nothing else.
func TestInheritedSocketsAreKnownByAddress(t *testing.T) {
	a, at := socketFile(t, "tcp", anyPort)
	b, everywhere := socketFile(t, "tcp", ":0")
	door, _ := socketFile(t, "unix", t.TempDir()+"/s")
	mptcp, _ := socketFile(t, "mptcp", anyPort)
	child := launch(t, systemd(t, "web:web:door::again", a, b, door, mptcp, a))
	var got []string
	for line := child.line(); line != "end"; line = child.line() {
		got = append(got, line)
	}
	want := []string{
		"environment ", "inherited " + at, "inherited " + everywhere,
		"socket door of systemd: it is not a listening TCP socket",
		"socket LISTEN_FD_6 of systemd: it speaks MPTCP; in a unit of systemd, leave SocketProtocol= away",
		"socket again of systemd: a second one at " + at + ": only one can be lent",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("what the child has found (-want +got):\n" + diff)
	}
	child.end()
}

// A socket that systemd keeps is never deafened and never forgotten: who connects when all have left waits for
// whoever comes next.
func TestInheritedSocketIsNeverDeaf(t *testing.T) {
	f, at := socketFile(t, "tcp", anyPort)
	copied, err := duplicate(f)
	if err != nil {
		t.Fatal(err)
	}
	l := lend(t, OwnerOptions{Inherited: map[string]*os.File{at: plainFile(copied, "systemd's")}})
	actors := l.start(2, "borrower", at)
	l.Keep(nil)
	l.Retire()
	for _, a := range actors {
		a.order("leave")
		a.end()
	}
	waits, err := dial(at, 1)
	if err != nil {
		t.Fatal(err)
	}
	successor := l.start(1, "borrower", at)[0]
	if pid, err := ask(waits); pid != successor.pid() {
		t.Errorf("answered by %q: %v", pid, err)
	}
	waits, err = dial(at, 2)
	if err != nil {
		t.Fatal(err)
	}
	l.stop() // the queue is systemd's now, and its next child's
	if pid, err := ask(waits); pid != successor.pid() {
		t.Errorf("answered by %q: %v", pid, err)
	}
	successor.order("leave")
	waits, err = dial(at, 3)
	if err != nil {
		t.Fatal("a socket that systemd keeps was left deaf or closed:", err)
	}
	defer waits.Close()
	k, err := listening(f, true)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	nc, err := k.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got, want := nc.RemoteAddr().String(), waits.LocalAddr().String(); got != want {
		t.Errorf("accepted %s, want %s", got, want)
	}
}

// systemd listens at [::] unless told otherwise. That is 0.0.0.0 too.
func TestInheritedWildcardCoversIPv4(t *testing.T) {
	f, at := socketFile(t, "tcp", ":0")
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	l := lend(t, OwnerOptions{Inherited: map[string]*os.File{at: f}})
	for _, address := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		_, k := l.borrow(address)
		if got := k.Addr().String(); got != at {
			t.Errorf("%s is served at %s, want %s", address, got, at)
		}
		if err := k.Leave(func(net.Conn) {}, false); err != nil {
			t.Error(err)
		}
	}
}

// Clients at a port that systemd opens and configuration has no listener for wait in a queue for ever: that is told, once
// whenever it becomes so.
func TestInheritedSocketWithoutListenerIsTold(t *testing.T) {
	used, at := socketFile(t, "tcp", ":0")
	unused, idle := socketFile(t, "tcp", anyPort)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o := NewOwner(OwnerOptions{Inherited: map[string]*os.File{at: used, idle: unused}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer o.close()
	told := func(want int) {
		t.Helper()
		if got := strings.Count(log.String(), idle); got != want || strings.Contains(log.String(), at) {
			t.Errorf("%s was told %d times, want %d, and nothing of %s:\n%s", idle, got, want, at, &log)
		}
	}
	told(0)
	o.Keep([]string{"0.0.0.0:" + port})
	told(1)
	o.Keep([]string{"0.0.0.0:" + port, "192.0.2.1:1"})
	told(1)
	o.Keep([]string{at, idle})
	told(1)
	o.Keep(nil)
	told(1)
	o.Keep([]string{at})
	told(2)
}

// systemd has the sockets that it hands over block, and so whoever holds them already. Nobody waits where he cannot
// be told to leave.
func TestBlockingSocketBlocksNobody(t *testing.T) {
	_, k := lend(t, OwnerOptions{}).borrow(anyPort)
	var err error
	closed := k.control(func(fd int) {
		if err = unix.SetNonblock(fd, false); err == nil {
			_, err = acceptNow(fd)
		}
	})
	if closed != nil || !errors.Is(err, errEmpty) {
		t.Errorf("an empty queue: %v, %v; want %v", closed, err, errEmpty)
	}
	nc, err := dial(k.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	accepted, err := k.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, err := nc.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if err := accepted.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := accepted.Read(make([]byte, 1)); err != nil {
		t.Errorf("a connection of a socket that blocked: %v", err)
	}
}
