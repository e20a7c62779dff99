package sockets

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection wakes one of ten processes that wait, and they take turns. As Go's poller asks for it, it wakes most.
func TestOneConnectionWakesOneProcess(t *testing.T) {
	const processes, connections = 10, 100
	const between = 2 * time.Millisecond // so that all wait again
	measure := func(name string) (woken float64, counts []int) {
		l := lend(t, OwnerOptions{})
		actors := l.start(processes, name, anyPort)
		pace := time.NewTicker(between)
		defer pace.Stop()
		for i := range connections {
			<-pace.C
			before := sleeps(t, actors)
			nc, err := dial(actors[0].addr, i)
			if err == nil {
				_, err = ask(nc)
			}
			if err != nil {
				t.Fatal(err)
			}
			<-pace.C
			for j, n := range sleeps(t, actors) {
				if n != before[j] {
					woken++
				}
			}
		}
		woken /= connections
		for _, a := range actors {
			counts = append(counts, a.order("count"))
		}
		t.Logf("%s: %.2f processes woken per connection; connections by process: %d", name, woken, counts)
		return woken, counts
	}
	woken, counts := measure("borrower")
	if low := slices.Min(counts); low < connections/processes/2 {
		t.Errorf("one process accepted %d of %d connections, want about %d", low, connections, connections/processes)
	}
	herd, _ := measure("herder")
	if herd < processes/2 {
		t.Errorf("control: %.2f processes were woken per connection: this test shows nothing", herd)
	}
	if woken > herd/3 { // each wakes once a second by itself
		t.Errorf("%.2f processes were woken per connection, want one", woken)
	}
}

// sleeps returns, for each actor, how often its threads have gone to sleep, which is as often as they were woken.
func sleeps(t *testing.T, actors []*actor) []int {
	t.Helper()
	all := make([]int, len(actors))
	for i, a := range actors {
		files, err := filepath.Glob("/proc/" + a.pid() + "/task/*/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			status, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has ended
			}
			_, after, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
			line, _, _ := strings.Cut(after, "\n")
			n, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			all[i] += n
		}
	}
	return all
}

// Who has borrowed a socket and does not accept, because it is not ready, is not woken in the place of those who do.
func TestWhoDoesNotAcceptIsNotWoken(t *testing.T) {
	const processes, connections = 4, 100
	l := lend(t, OwnerOptions{})
	var idle []*actor
	for range processes {
		idle = append(idle, start(t, "borrower", l.path, anyPort))
	}
	accepts := l.start(1, "borrower", anyPort)[0]
	woken, before := 0, sleeps(t, idle)
	for i := range connections {
		nc, err := dial(accepts.addr, i)
		if err == nil {
			_, err = ask(nc)
		}
		if err != nil {
			t.Fatal(err)
		}
		after := sleeps(t, idle)
		for j := range idle {
			if after[j] != before[j] {
				woken++
			}
		}
		before = after
	}
	if woken > connections/4 {
		t.Errorf("processes that do not accept were woken %d times for %d connections, want hardly ever", woken, connections)
	}
}

// Under load, every process gets its part.
func TestLoadIsSpread(t *testing.T) {
	const processes, connections = 10, 4000
	l := lend(t, OwnerOptions{})
	actors := l.start(processes, "borrower", anyPort)
	sum := crowd(actors[0].addr, connections, 64, nil)
	if sum.lost+sum.refused > 0 {
		t.Fatalf("%d lost, %d refused: %v", sum.lost, sum.refused, sum.err)
	}
	var counts []int
	for _, a := range actors {
		counts = append(counts, sum.served[a.pid()])
	}
	t.Logf("connections by process: %d", counts)
	if low := slices.Min(counts); low < connections/processes/4 {
		t.Errorf("one process served %d of %d, want about %d", low, connections, connections/processes)
	}
}

// Who waits in a long queue when accepting begins is served.
func TestLongQueueIsAccepted(t *testing.T) {
	const connections = 1000
	l := lend(t, OwnerOptions{})
	a := start(t, "borrower", l.path, anyPort)
	var queue []net.Conn
	for i := range connections {
		nc, err := dial(a.addr, i)
		if err != nil {
			t.Fatal(err)
		}
		queue = append(queue, nc)
	}
	began := time.Now()
	a.order("accept")
	for _, nc := range queue {
		if _, err := ask(nc); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d connections in %s", connections, time.Since(began))
	if accepted := a.order("count"); accepted != connections {
		t.Errorf("%d accepted, want %d", accepted, connections)
	}
}

// borrow returns a socket lent to this process.
func (l *lending) borrow(address string) (*Loan, *Listener) {
	l.t.Helper()
	loan, err := Borrow(l.t.Context(), "unix:"+l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = loan.Close() })
	return loan, l.listen(loan, address)
}

func (l *lending) listen(loan *Loan, address string) *Listener {
	l.t.Helper()
	nl, err := loan.Listen(l.t.Context(), address)
	if err != nil {
		l.t.Fatal(err)
	}
	k, ok := nl.(*Listener)
	if !ok {
		l.t.Fatalf("got a %T", nl)
	}
	return k
}

// Somebody is woken for a connection and never looks, as when a process is killed at that moment. Others find the
// connection all the same.
func TestSwallowedWakeIsFound(t *testing.T) {
	l := lend(t, OwnerOptions{})
	_, k := l.borrow(anyPort)
	_, swallower := l.borrow(anyPort)
	s, ok := swallower.source.(*lent)
	if !ok {
		t.Fatalf("got a %T", swallower.source)
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(set)
	woken := make(chan error, 1)
	err = swallower.control(func(fd int) {
		err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE})
		go func() {
			var events [1]unix.EpollEvent
			for err == nil || errors.Is(err, unix.EINTR) {
				var n int
				if n, err = unix.EpollWait(set, events[:], -1); n == 1 {
					break
				}
			}
			woken <- err // and nobody accepts
		}()
	})
	if err != nil || s.set < 0 {
		t.Fatalf("%v, poller %d", err, s.set)
	}
	eventually(t, "the first waits", func() bool { return waits(t, set) })
	accepted := make(chan error, 1)
	go func() {
		nc, err := k.Accept()
		if err == nil {
			err = nc.Close()
		}
		accepted <- err
	}()
	eventually(t, "the second waits", func() bool {
		s := k.source.(*lent)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waiting
	})
	nc, err := dial(k.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := <-woken; err != nil { // it was asked first
		t.Error(err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

// waits says whether a thread of ours is in epoll_pwait for a set.
func waits(t *testing.T, set int) bool {
	t.Helper()
	calls, err := filepath.Glob("/proc/self/task/*/syscall")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d 0x%x ", unix.SYS_EPOLL_PWAIT, set)
	return slices.ContainsFunc(calls, func(file string) bool {
		call, err := os.ReadFile(file) // a thread may have ended
		return err == nil && strings.HasPrefix(string(call), want)
	})
}

// Whatever ends an Accept that waits ends it at once: it has no time limit of its own.
func TestWaitingAcceptEnds(t *testing.T) {
	l := lend(t, OwnerOptions{})
	for name, o := range map[string]struct {
		end  func(k *Listener) error
		want error
	}{
		"deadline that passed": {func(k *Listener) error { return k.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"deadline to come":     {func(k *Listener) error { return k.SetDeadline(time.Now().Add(20 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		"close":                {(*Listener).Close, net.ErrClosed},
		"leave":                {func(k *Listener) error { return k.Leave(func(net.Conn) {}, true) }, os.ErrDeadlineExceeded},
		"leave alone":          {func(k *Listener) error { return k.Leave(func(net.Conn) {}, false) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			_, k := l.borrow(anyPort)
			defer k.Close()
			ended := make(chan error)
			go func() {
				_, err := k.Accept()
				ended <- err
			}()
			if err := o.end(k); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, o.want) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept = %v, want %v", err, o.want)
			}
		})
	}
}

// After many rounds of borrowing, accepting and leaving there is no thread, goroutine or descriptor more.
func TestNothingLeaks(t *testing.T) {
	l := lend(t, OwnerOptions{})
	round := func() {
		loan, err := Borrow(t.Context(), l.path)
		if err != nil {
			t.Fatal(err)
		}
		k := l.listen(loan, anyPort)
		accepted := make(chan error, 1)
		go func() {
			for {
				nc, err := k.Accept()
				if err != nil {
					accepted <- err
					return
				}
				_ = nc.Close()
			}
		}()
		nc, err := dial(k.Addr().String(), 1)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
		if err := k.Leave(func(nc net.Conn) { _ = nc.Close() }, false); err != nil {
			t.Fatal(err)
		}
		<-accepted
		if err := loan.Close(); err != nil {
			t.Fatal(err)
		}
	}
	held := func() (threads, descriptors, goroutines int) {
		return entries(t, "/proc/self/task"), entries(t, "/proc/self/fd"), runtime.NumGoroutine()
	}
	for range 3 {
		round()
	}
	settle(t, l)
	threads, descriptors, goroutines := held()
	for range 30 {
		round()
	}
	settle(t, l)
	// Whoever was told that the loan is over is still on its way out for a moment.
	eventually(t, fmt.Sprintf("no more than %d threads, %d descriptors and %d goroutines, as before 30 more rounds", threads+8, descriptors, goroutines), func() bool {
		threads2, descriptors2, goroutines2 := held()
		return threads2 <= threads+8 && descriptors2 <= descriptors && goroutines2 <= goroutines
	})
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// settle waits until the owner has noticed that its borrowers are gone.
func settle(t *testing.T, l *lending) {
	t.Helper()
	eventually(t, "nobody borrows", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.borrowers == 0
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
		runtime.Gosched()
		<-time.After(time.Millisecond)
	}
}
