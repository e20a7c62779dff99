// Package sockets opens listening sockets, and lends them: so that they outlive the process that accepts from them,
// and nobody who has connected is lost when it leaves.
//
//	l, err := sockets.Open(ctx, "0.0.0.0:8080") // a socket of our own
//	for {
//		conn, err := l.Accept()
//		…
//	}
//	err = l.Leave(serve, false) // serve gets who is still in the queue
//
// # Lending
//
// An [Owner] binds addresses and lends the sockets to processes that ask: a [Loan] is the other side. What passes
// between them is a descriptor, so all accept from one queue, which belongs to the socket and not to any of them. A
// borrower that is killed takes nobody along who still waits there. The owner accepts nothing itself.
//
// # One connection wakes one process
//
// Go's poller is an epoll set, and asks the kernel to wake it whenever something is ready. If ten processes wait for one
// socket, each of its connections wakes ten, of which nine find nothing. So a lent socket is told to that set again,
// with EPOLLEXCLUSIVE, which wakes one that waits: whenever somebody accepts, and for no longer. The kernel asks in
// the order in which they came, so who has accepted is at the end of that order, and connections go round; those whose
// threads all work are passed over. Where that set is not found, which a test would tell, all is as Go does it.
//
// A thread that waits in an epoll set of our own would do the same, and costs twice what the herd does: the runtime
// watches every system call that lasts, in naps of 20 µs.
package sockets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// A Listener is a listening TCP socket. Its methods may be called by any goroutine.
type Listener struct {
	source
	turn    sync.Mutex // held by who accepts
	kept    bool       // by systemd: who comes after us finds the queue
	owner   lender     // nil: there is none to ask
	address string     // as the owner was asked for it
}

// A lender knows who else has a socket.
type lender interface {
	// leave says that we accept no more, and returns whether others do or will; shared is what we think.
	leave(address string, shared bool) bool
	// giveBack says so, and waits for no answer.
	giveBack(address string)
}

// A source is where a Listener's connections come from.
type source interface {
	net.Listener // whose Accept is called by one at a time
	SetDeadline(t time.Time) error
	// control runs f with the descriptor, while it is open.
	control(f func(fd int)) error
}

// Open listens at a TCP address. Whoever it accepts is probed after 15 s of silence, and costs little of the kernel's
// memory while it does not read.
func Open(ctx context.Context, address string) (*Listener, error) {
	l, err := listenTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	return &Listener{source: own{l}}, nil
}

func listenTCP(ctx context.Context, address string) (*net.TCPListener, error) {
	lc := listenConfig()
	lc.SetMultipathTCP(false) // Go's default; it costs, and takes none of the options that Leave sets
	nl, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l, ok := nl.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen at %s: got a %T", address, nl), nl.Close())
	}
	return l, nil
}

// Accept is net.Listener's. One caller waits for a connection, others wait for it.
func (l *Listener) Accept() (net.Conn, error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	return l.source.Accept()
}

// Close stops listening. Who is in the queue is lost, if nobody else has the socket: see [Listener.Leave].
func (l *Listener) Close() error {
	err := l.source.Close()
	if err == nil && l.owner != nil {
		l.owner.giveBack(l.address)
	}
	return err
}

// handshake is for how long handshakes that have begun when a socket is left may go on.
const handshake = 80 * time.Millisecond

// Leave stops accepting and closes the socket, so that nobody who has connected is lost. A concurrent Accept returns
// with a deadline error or with [net.ErrClosed], or with a connection that it had when Leave began.
//
// shared says that others go on accepting from the socket, now or soon. Then it is only our descriptor that is closed,
// at once: admit gets some who wait already, and who comes later is theirs. The owner of a lent socket knows better
// than shared, and is asked; it is told too.
//
// Else a connection that the kernel completed between a last look and the close would be reset, and its client, who
// believes it open, would lose a request. So no handshake may begin any more while we look, and those that have begun
// get a moment to end. admit gets who is in the queue. A client that tries in that moment hears nothing, tries again
// after a second, and is refused as by any socket that is gone. An error says that some may be lost all the same.
func (l *Listener) Leave(admit func(net.Conn), shared bool) error {
	if err := l.SetDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("leave %s: %w", l.Addr(), err)
	}
	l.turn.Lock() // whoever accepts has let go
	defer l.turn.Unlock()
	if l.owner != nil {
		shared = l.owner.leave(l.address, shared)
	}
	var err error
	if shared || l.kept {
		// If a connection woke us and we turn away, nobody else is woken for it.
		err = l.acceptQueued(admit, someQueued)
	} else {
		err = l.empty(admit)
	}
	if err = errors.Join(err, l.source.Close()); err != nil {
		return fmt.Errorf("leave %s: %w", l.Addr(), err)
	}
	return nil
}

// empty admits who has connected and whoever is about to.
func (l *Listener) empty(admit func(net.Conn)) error {
	var deaf error
	if err := l.control(func(fd int) { deaf = deafen(fd) }); err != nil {
		return err
	}
	if deaf == nil {
		if err := l.acceptQueued(admit, allQueued); err != nil {
			return err
		}
		time.Sleep(handshake)
	}
	return errors.Join(deaf, l.acceptQueued(admit, allQueued))
}

// errEmpty says that nobody waits in a socket's queue.
var errEmpty = errors.New("the queue is empty")

// How many connections acceptQueued may accept.
const (
	someQueued = 128           // others may fill the queue for ever
	allQueued  = math.MaxInt32 // no handshake begins any more
)

// Between two tries when the machine cannot do what it should: no descriptors, no memory.
const (
	pause = 5 * time.Millisecond
	tries = 100
)

// acceptQueued accepts until the queue is empty, or most are accepted. When the machine cannot, it waits for a while
// until it can.
func (l *Listener) acceptQueued(admit func(net.Conn), most int) error {
	var last error
	for failed := 0; failed < tries && most > 0; {
		var nc net.Conn
		var err error
		if closed := l.control(func(fd int) { nc, err = acceptNow(fd) }); closed != nil {
			return closed
		}
		switch {
		case err == nil:
			most--
			admit(nc)
		case errors.Is(err, errEmpty):
			return nil
		default:
			last = err
			failed++
			time.Sleep(pause)
		}
	}
	return last
}

// own is a socket that nobody else accepts from.
type own struct{ *net.TCPListener }

func (o own) control(f func(fd int)) error {
	raw, err := o.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}
