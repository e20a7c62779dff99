package sockets

import (
	"net"
	"sync"
	"testing"
)

// Nine of ten processes leave one after the other while connections come from several addresses. Nobody is refused,
// and nobody who has connected is left without an answer.
func TestNobodyIsLostWhenBorrowersLeave(t *testing.T) {
	const processes, connections = 10, 6000
	l := lend(t, OwnerOptions{})
	actors := l.start(processes, "borrower", anyPort)
	leave := func(i int) {
		if i%600 == 0 && i/600 < processes { // each knows a few hundred connections before and after it leaves
			actors[i/600].order("leave")
		}
	}
	sum := crowd(actors[0].addr, connections, 32, leave)
	if sum.lost+sum.refused > 0 {
		t.Errorf("%d lost (%v), %d refused, want none", sum.lost, sum.err, sum.refused)
	}
	if n := sum.served[actors[0].pid()]; n < connections/processes {
		t.Errorf("who stays served %d connections only", n)
	}
}

// When all leave, clients are refused in the end, but nobody who has connected is lost. The control closes its
// sockets as if nobody waited there.
func TestNobodyIsLostWhenAllLeave(t *testing.T) {
	const processes, connections = 3, 2400
	lost := func(name, order string) (lost int) {
		l := lend(t, OwnerOptions{})
		defer l.stop()
		actors := l.start(processes, name, anyPort)
		var leaving sync.WaitGroup
		sum := crowd(actors[0].addr, connections, 64, func(ended int) {
			if ended != connections/10 {
				return
			}
			l.Retire()
			for _, a := range actors {
				leaving.Go(func() { a.order(order) })
			}
		})
		leaving.Wait()
		if sum.refused == 0 {
			t.Error("nobody was refused: has anybody left?")
		}
		return sum.lost
	}
	for range 2 {
		for _, name := range []string{"borrower", "unprivileged"} {
			if n := lost(name, "leave"); n > 0 {
				t.Errorf("%s: %d connections were lost", name, n)
			}
		}
	}
	for range 10 {
		if n := lost("borrower", "close"); n > 0 {
			t.Logf("control: %d connections were lost", n)
			return
		}
	}
	t.Error("control: closed sockets lost nobody: this test shows nothing")
}

// A queue outlives the process that was to accept from it, however that ends.
func TestQueueOutlivesKilledBorrower(t *testing.T) {
	const connections = 100
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
	a.kill()
	successor := l.start(1, "borrower", anyPort)[0]
	if successor.addr != a.addr {
		t.Fatalf("the successor accepts at %s, want %s", successor.addr, a.addr)
	}
	for _, nc := range queue {
		if pid, err := ask(nc); pid != successor.pid() {
			t.Fatalf("answered by %q: %v", pid, err)
		}
	}
}

// Processes are killed while connections come. Those that the dead had accepted are lost, and no others: so hardly any
// of many, and nobody waits for longer than it takes the others to look.
func TestKilledBorrowersTakeOnlyTheirOwn(t *testing.T) {
	const processes, connections, atOnce = 6, 3000, 16
	l := lend(t, OwnerOptions{})
	actors := l.start(processes, "borrower", anyPort)
	sum := crowd(actors[0].addr, connections, atOnce, func(i int) {
		if i%500 == 0 && i/500 < processes {
			actors[i/500].kill()
		}
	})
	t.Logf("%d lost, %d refused", sum.lost, sum.refused)
	if sum.refused > 0 {
		t.Errorf("%d refused, want none", sum.refused)
	}
	if most := (processes - 1) * atOnce; sum.lost > most {
		t.Errorf("%d lost, want at most what the dead can have had open, %d: %v", sum.lost, most, sum.err)
	}
}

// A stopped process may be the one that is woken. Others find what it does not look at.
func TestStoppedBorrowerHoldsNobodyUp(t *testing.T) {
	l := lend(t, OwnerOptions{})
	actors := l.start(2, "borrower", anyPort)
	actors[0].stopped(func() {
		for i := range 4 {
			nc, err := dial(actors[0].addr, i)
			if err != nil {
				t.Fatal(err)
			}
			if pid, err := ask(nc); pid != actors[1].pid() {
				t.Fatalf("answered by %q: %v", pid, err)
			}
		}
	})
}
