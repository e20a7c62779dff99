package sockets

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// What configuration names no more is closed when nobody has it any longer, and is the same socket if it comes back
// before.
func TestKeep(t *testing.T) {
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	_, a := l.borrow(address)
	_, b := l.borrow(address)
	l.Keep([]string{"192.0.2.1:1"})
	if err := a.Leave(refuse(t), false); err != nil {
		t.Fatal(err)
	}
	l.Keep([]string{address})
	_, again := l.borrow(address) // b has it: bound anew it would be in use
	l.Keep(nil)
	loan, _ := l.borrow(freeAddress(t))
	var queue, inUse int
	admit := func(nc net.Conn) {
		queue++
		nc.Close()
		if k, err := loan.Listen(t.Context(), address); errors.Is(err, syscall.EADDRINUSE) {
			inUse++ // it comes back while the last one empties its queue
		} else if err == nil {
			k.Close()
		}
	}
	for _, k := range []*Listener{again, b} { // as if others came after them: the owner knows better
		waits, err := dial(address, 1)
		if err != nil {
			t.Fatal("a socket that others hold was left as if by the last:", err)
		}
		defer waits.Close()
		if err := k.Leave(admit, true); err != nil {
			t.Fatal(err)
		}
	}
	if queue != 2 {
		t.Errorf("%d connections were accepted, want the 2 that there were", queue)
	}
	if inUse != 1 {
		t.Errorf("the address was in use %d times, want once: when the last one emptied its queue", inUse)
	}
	if nc, err := dial(address, 1); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			nc.Close()
		}
		t.Errorf("dial = %v, want the address closed", err)
	}
	if _, k := l.borrow(address); k.Addr().String() != address {
		t.Errorf("bound anew at %s, want %s", k.Addr(), address)
	}
}

// What nobody holds is closed at once when configuration does not name it.
func TestKeepClosesWhatNobodyHolds(t *testing.T) {
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	loan, k := l.borrow(address)
	if err := k.Leave(refuse(t), true); err != nil {
		t.Fatal(err)
	}
	if err := loan.Close(); err != nil {
		t.Fatal(err)
	}
	nc, err := dial(address, 1)
	if err != nil {
		t.Fatal("the owner has closed a socket of a gateway that goes on:", err)
	}
	nc.Close()
	l.Keep(nil)
	if _, err := dial(address, 1); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial = %v, want the address closed", err)
	}
}

func refuse(t *testing.T) func(net.Conn) {
	t.Helper()
	return func(nc net.Conn) { t.Error("somebody was in the queue"); nc.Close() }
}

// Each address has a last one of its own: those who leave one may still be needed at another.
func TestRetiredOwnerKnowsTheLastOfEachAddress(t *testing.T) {
	l := lend(t, OwnerOptions{})
	outside, mesh := freeAddress(t), freeAddress(t)
	loanA, outsideA := l.borrow(outside)
	loanB, outsideB := l.borrow(outside)
	meshA, meshB := l.listen(loanA, mesh), l.listen(loanB, mesh)
	if !loanA.Shared() {
		t.Error("Shared = false before the owner has retired")
	}
	l.Retire()
	if loanA.Shared() {
		t.Error("Shared = true after the owner has retired")
	}
	open := func(address string) bool {
		nc, err := dial(address, 1)
		if err == nil {
			nc.Close()
		}
		return err == nil
	}
	leave := func(k *Listener) {
		t.Helper()
		if err := k.Leave(func(nc net.Conn) { nc.Close() }, false); err != nil {
			t.Error(err)
		}
	}
	for _, o := range []struct {
		leaves        *Listener
		outside, mesh bool
	}{{outsideA, true, true}, {meshA, true, true}, {outsideB, false, true}, {meshB, false, false}} {
		leave(o.leaves)
		if gotOut, gotMesh := open(outside), open(mesh); gotOut != o.outside || gotMesh != o.mesh {
			t.Fatalf("outside open %t, mesh open %t; want %t, %t", gotOut, gotMesh, o.outside, o.mesh)
		}
	}
}

// A gateway that was retired and left by all comes back: who borrows an address then is the first there again, and
// others accept with it. Until its owner resumes, nobody would accept after it.
func TestRetiredOwnerResumes(t *testing.T) {
	l := lend(t, OwnerOptions{})
	address := freeAddress(t)
	loan, k := l.borrow(address)
	l.Retire()
	if err := k.Leave(refuse(t), loan.Shared()); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(address, 1); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial = %v, want the address closed", err)
	}
	l.Resume()
	if !loan.Shared() {
		t.Error("Shared = false after the owner has resumed")
	}
	actors := l.start(2, "borrower", address)
	waits, err := dial(address, 2)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := ask(waits); pid != actors[0].pid() && pid != actors[1].pid() {
		t.Errorf("answered by %q: %v", pid, err)
	}
	actors[0].order("leave")
	if waits, err = dial(address, 3); err != nil {
		t.Fatal("the first that left has closed the address for all:", err)
	}
	if pid, err := ask(waits); pid != actors[1].pid() {
		t.Errorf("answered by %q: %v", pid, err)
	}
}
