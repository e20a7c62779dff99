package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An address that cannot be bound is told to the borrower as it would be if it had tried itself, with the errno.
func TestBorrowerIsToldWhyAnAddressCannotBeBound(t *testing.T) {
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := lend(t, OwnerOptions{})
	loan, err := Borrow(t.Context(), l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer loan.Close()
	for address, want := range map[string]error{
		taken.Addr().String(): syscall.EADDRINUSE,
		"192.0.2.1:80":        syscall.EADDRNOTAVAIL,
		"no address":          nil,
	} {
		_, err := loan.Listen(t.Context(), address)
		_, direct := Open(t.Context(), address)
		if err == nil || direct == nil || err.Error() != direct.Error() {
			t.Errorf("%s: got %v, want what Open says: %v", address, err, direct)
		}
		if want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v is not %v", address, err, want)
		}
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := loan.Listen(t.Context(), taken.Addr().String()); err != nil {
		t.Errorf("tried again when the address is free: %v", err)
	}
}

// What an owner may not do, borrowers hear in its words, and can ask for.
func TestRefusalsKeepTheirMeaning(t *testing.T) {
	const text = "listen tcp 127.0.0.1:80: bind: permission denied"
	err := error(&remoteError{text, syscall.EACCES})
	if !errors.Is(err, os.ErrPermission) || err.Error() != text {
		t.Errorf("got %v, want %s", err, text)
	}
}

// Borrowers that are no such thing harm nobody.
func TestOwnerSurvivesStrangeBorrowers(t *testing.T) {
	l := lend(t, OwnerOptions{})
	frame := func(q request) string {
		data, err := encode(q)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, says := range map[string]string{
		"nothing":        "",
		"half a length":  "\x00\x00",
		"half a message": "\x00\x00\x00\x10{",
		"too long":       "\x7f\xff\xff\xff{}",
		"not JSON":       "\x00\x00\x00\x02hi",
		"a number":       "\x00\x00\x00\x011",
		"asks for what nobody knows, then for something else": frame(request{Op: "fly"}) + "GET / HTTP/1.1\r\n\r\n",
		"leaves what it has not":                              frame(request{Op: opLeave, Address: "127.0.0.1:1"}),
		"a long address":                                      frame(request{Op: opListen, Address: strings.Repeat("\x01", 1000)}),
	} {
		conn, err := net.Dial("unix", l.path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Write([]byte(says)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Close()
	}
	slow, err := net.Dial("unix", l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("\x00")); err != nil {
		t.Fatal(err)
	}
	_, k := l.borrow(anyPort) // while the slow one is at it
	if _, err := dial(k.Addr().String(), 1); err != nil {
		t.Error(err)
	}
}

// Many ask at once, for few addresses: each gets its socket, and all of an address the same.
func TestManyBorrowersAtOnce(t *testing.T) {
	l := lend(t, OwnerOptions{})
	addresses := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			loan, err := Borrow(t.Context(), l.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer loan.Close()
			for j := range 10 {
				nl, err := loan.Listen(t.Context(), addresses[(i+j)%3])
				if err != nil {
					t.Error(err)
					return
				}
				if err := nl.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	settle(t, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	for address, k := range l.sockets {
		if k.holders != 0 {
			t.Errorf("%s is held %d times when all have gone", address, k.holders)
		}
	}
}

// Whoever runs out of descriptors is told so, and goes on when it has some.
func TestNoDescriptors(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	loan, _ := l.borrow(address)
	few := limit
	few.Cur = uint64(entries(t, "/proc/self/fd") + 3)
	var held []*os.File
	use := func() {
		for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
			held = append(held, f)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	use()
	_, err := loan.Listen(t.Context(), address)
	if restored := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	for _, f := range held {
		f.Close()
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Listen without descriptors = %v, want too many open files", err)
	}
	again, err := loan.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// What is lent to whoever has turned away meanwhile is given back.
func TestLateLoanIsGivenBack(t *testing.T) {
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	loan, first := l.borrow(address)
	descriptors := entries(t, "/proc/self/fd")
	ctx, cancel := context.WithCancel(t.Context())
	l.mu.Lock() // the owner takes its time
	asked := make(chan error)
	go func() {
		_, err := loan.Listen(ctx, address)
		asked <- err
	}()
	cancel()
	err := <-asked
	l.mu.Unlock()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Listen = %v, want %v", err, context.Canceled)
	}
	if !loan.Shared() { // this answer comes after the late one
		t.Error("Shared = false")
	}
	l.Retire()
	eventually(t, "the second loan has come back", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.sockets[address].holders == 1
	})
	if now := entries(t, "/proc/self/fd"); now > descriptors {
		t.Errorf("%d descriptors are open, %d were", now, descriptors)
	}
	if err := first.Leave(refuse(t), false); err != nil {
		t.Error(err)
	}
	if _, err := dial(address, 1); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial = %v, want the address closed by the last to leave", err)
	}
}

// An owner that stands still holds up nobody who leaves, and nobody who stays is made deaf for it.
func TestOwnerThatStandsStill(t *testing.T) {
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	loan, leaves := l.borrow(address)
	_, stays := l.borrow(address)
	l.mu.Lock()
	shared := loan.Shared()
	err := leaves.Leave(refuse(t), shared)
	l.mu.Unlock()
	if err != nil || shared {
		t.Errorf("Leave = %v, with Shared = %v; want no error, and that nobody knows", err, shared)
	}
	nc, err := dial(address, 1)
	if err != nil {
		t.Fatalf("whoever stays is deaf: %v", err)
	}
	defer nc.Close()
	accepted, err := stays.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = accepted.Close()
}

// A loan ends when its owner does.
func TestLostOwner(t *testing.T) {
	l := lend(t, OwnerOptions{})
	loan, k := l.borrow(anyPort)
	l.stop()
	<-loan.Lost()
	if loan.Shared() {
		t.Error("Shared = true without an owner")
	}
	nc, err := dial(k.Addr().String(), 1)
	if err != nil {
		t.Fatal("the borrower still has its socket:", err)
	}
	defer nc.Close()
	if _, err := loan.Listen(t.Context(), k.Addr().String()); !errors.Is(err, errLost) {
		t.Errorf("Listen = %v, want %v", err, errLost)
	}
	admitted := 0
	if err := k.Leave(func(nc net.Conn) { admitted++; nc.Close() }, loan.Shared()); err != nil || admitted != 1 {
		t.Errorf("Leave = %v with %d admitted, want the one that waits", err, admitted)
	}
	if _, err := Borrow(t.Context(), l.path); err == nil {
		t.Error("Borrow = nil without an owner")
	}
}

// Other users borrow nothing, even where somebody has opened the directory to them.
func TestOtherUsersAreRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "sockets")
	door, err := Door(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o777), os.Chmod(dir, 0o777), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- NewOwner(OwnerOptions{}).Run(ctx, door) }()
	got := make(chan string)
	go func() { got <- askAs(65534, path) }()
	if got := <-got; got != "" {
		t.Errorf("user 65534 heard %q", got)
	}
	loan, err := Borrow(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loan.Listen(t.Context(), anyPort); err != nil {
		t.Errorf("control: root borrows: %v", err)
	}
	cancel()
	_ = loan.Close() // the owner may have been faster
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// askAs asks for a socket as another user, and returns the answer or what kept it from asking. It costs a thread.
func askAs(user uintptr, path string) string {
	runtime.LockOSThread() // for good: nobody else is to be that user
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, user, user, user); errno != 0 {
		return errno.Error()
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err.Error()
	}
	data, err := encode(request{Op: opListen, Address: anyPort})
	if err != nil {
		return err.Error()
	}
	_, _ = unix.Write(fd, data) // it may be closed already
	answer := make([]byte, 100)
	n, _ := unix.Read(fd, answer)
	return string(answer[:max(n, 0)])
}

// Only this user may enter the door's directory, and there is one owner at a door.
func TestDoor(t *testing.T) {
	l := lend(t, OwnerOptions{})
	info, err := os.Stat(filepath.Dir(l.path))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the directory's mode is %o, want 700", got)
	}
	if _, err := Door(t.Context(), l.path); err == nil {
		t.Error("two owners at one door")
	}
	dead := filepath.Join(t.TempDir(), "sockets")
	nl, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	nl.SetUnlinkOnClose(false)
	nl.Close()
	door, err := Door(t.Context(), fmt.Sprint("unix:", dead))
	if err != nil {
		t.Fatal("a door that was left is not taken:", err)
	}
	door.Close()
}
