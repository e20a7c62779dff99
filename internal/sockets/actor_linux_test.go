package sockets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const anyPort = "127.0.0.1:0"

// The test binary, started with an actor's name in this variable, plays that actor.
const actorVariable = "CROSSFADE_ACTOR"

func TestMain(m *testing.M) {
	if actor := os.Getenv(actorVariable); actor != "" {
		if err := play(context.Background(), actor, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, actor+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// listening makes a Listener of a socket that listens already, as a loan would. It closes f, whatever comes of it. kept
// says that systemd keeps the socket.
func listening(f *os.File, kept bool) (*Listener, error) {
	src, err := adopt(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", f.Name(), err)
	}
	return &Listener{source: src, kept: kept}, nil
}

// play is what actors do: they accept from a socket, answer every connection with their pid, and obey lines on
// stdin, each of which they answer with one.
func play(ctx context.Context, actor string, args []string) error {
	if actor == "inheritor" {
		return inherit()
	}
	loan, err := Borrow(ctx, args[0])
	if err != nil {
		return err
	}
	nl, err := loan.Listen(ctx, args[1])
	if err != nil {
		return err
	}
	l, ok := nl.(*Listener)
	if !ok {
		return fmt.Errorf("got a %T", nl)
	}
	a := &acting{loan: loan, l: l}
	if s, ok := l.source.(*lent); ok && actor == "herder" { // wakes as Go's poller does
		s.event.Events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	}
	if actor == "unprivileged" { // may not use filters, on some kernels
		locked := a.l.control(func(fd int) { err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1) })
		if err := errors.Join(err, locked); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stdout, "ready", l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := a.obey(lines.Text()); err != nil {
			return err
		}
	}
	return nil
}

type acting struct {
	loan   *Loan
	l      *Listener
	loop   sync.WaitGroup // accepts
	served sync.WaitGroup // connections
	count  atomic.Int64
}

func (a *acting) obey(order string) error {
	switch order {
	case "accept":
		a.loop.Go(func() {
			for nc, err := a.l.Accept(); err == nil; nc, err = a.l.Accept() {
				a.admit(nc)
			}
		})
	case "leave":
		if err := a.l.Leave(a.admit, a.loan.Shared()); err != nil {
			return err
		}
		a.loop.Wait()
		a.served.Wait()
	case "close": // what nobody should do
		if err := a.l.Close(); err != nil {
			return err
		}
		a.loop.Wait()
		a.served.Wait()
	case "count":
	default:
		return errors.New(order)
	}
	fmt.Fprintln(os.Stdout, "count", a.count.Load())
	return nil
}

func (a *acting) admit(nc net.Conn) {
	a.count.Add(1)
	a.served.Go(func() {
		defer nc.Close()
		if _, err := io.ReadFull(nc, make([]byte, 1)); err == nil {
			fmt.Fprintln(nc, os.Getpid())
		}
	})
}

// An actor is a process that plays.
type actor struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	addr  string
}

func start(t *testing.T, name string, args ...string) *actor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), actorVariable+"="+name)
	return launch(t, cmd)
}

func launch(t *testing.T, cmd *exec.Cmd) *actor {
	t.Helper()
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &actor{t: t, cmd: cmd, in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() { a.kill() })
	_, a.addr, _ = strings.Cut(a.line(), " ")
	return a
}

func (a *actor) line() string {
	a.t.Helper()
	if !a.lines.Scan() {
		a.t.Fatalf("actor %d said nothing: %v", a.cmd.Process.Pid, a.lines.Err())
	}
	return a.lines.Text()
}

// order has the actor obey, and returns how many connections it has accepted.
func (a *actor) order(order string) (accepted int) {
	a.t.Helper()
	if _, err := fmt.Fprintln(a.in, order); err != nil {
		a.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(a.line(), "count %d", &accepted); err != nil {
		a.t.Fatal(err)
	}
	return accepted
}

func (a *actor) pid() string { return strconv.Itoa(a.cmd.Process.Pid) }

func (a *actor) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// end has the actor exit by itself.
func (a *actor) end() {
	a.t.Helper()
	_ = a.in.Close()
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("actor: %v", err)
	}
}

// A lending is an owner at work.
type lending struct {
	*Owner
	t    *testing.T
	path string
	stop func()
}

func lend(t *testing.T, o OwnerOptions) *lending {
	t.Helper()
	path := t.TempDir() + "/door/sockets"
	ctx, cancel := context.WithCancel(t.Context())
	door, err := Door(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	l := &lending{Owner: NewOwner(o), t: t, path: path}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, door) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(l.stop)
	return l
}

// start returns n actors that accept at one address.
func (l *lending) start(n int, name, address string) []*actor {
	l.t.Helper()
	var all []*actor
	for range n {
		all = append(all, start(l.t, name, l.path, address))
	}
	for _, a := range all {
		a.order("accept")
	}
	return all
}

// freeAddress returns an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	nl, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	return nl.Addr().String()
}

// dial connects from one of several addresses of this machine.
func dial(address string, from int) (net.Conn, error) {
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 3, byte(1+from%8))},
		Timeout:   20 * time.Second,
		Control: func(_, _ string, raw syscall.RawConn) error { // the port is chosen with the address that it goes to
			return raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
		},
	}
	return d.DialContext(context.Background(), "tcp", address)
}

// ask has a connection answered, and returns by whom.
func ask(nc net.Conn) (pid string, err error) {
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := nc.Write([]byte("?")); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(nc)
	if err == nil && len(answer) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimSpace(string(answer)), err
}

// A tally is what became of connections.
type tally struct {
	served  map[string]int // by pid
	refused int            // never connected
	lost    int            // connected, and got no answer
	err     error          // of one of those
}

// crowd opens n fresh connections, so many at once, and returns what became of them. After each, done is called with
// how many have ended.
func crowd(address string, n, atOnce int, done func(ended int)) tally {
	sum := tally{served: map[string]int{}}
	var mu sync.Mutex
	var next, ended atomic.Int64
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				nc, err := dial(address, int(i))
				refused := err != nil
				var pid string
				if !refused {
					pid, err = ask(nc)
				}
				mu.Lock()
				switch {
				case refused:
					sum.refused++
				case err != nil:
					sum.lost++
					sum.err = err
				default:
					sum.served[pid]++
				}
				mu.Unlock()
				if done != nil {
					done(int(ended.Add(1)))
				}
			}
		})
	}
	all.Wait()
	return sum
}

// stopped has do done while the actor is stopped.
func (a *actor) stopped(do func()) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		a.t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(a.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		a.t.Fatalf("it has not stopped: %v, %v", status, err)
	}
	do()
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		a.t.Error(err)
	}
}
