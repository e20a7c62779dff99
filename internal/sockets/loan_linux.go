package sockets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// errLost says that there is no owner any more.
var errLost = errors.New("the owner of the sockets is gone")

// How long a reply may take. Who leaves has been promised an end: an owner that stands still must not hold it up.
const (
	answerWithin = 10 * time.Second
	answerLeave  = 2 * time.Second
)

// A Loan is a borrower's connection to the owner of its sockets. Its methods may be called by any goroutine.
type Loan struct {
	conn  *net.UnixConn
	lost  chan struct{}
	tasks sync.WaitGroup // of read

	mu         sync.Mutex // held while a request is sent too
	last       uint64     // ID of a request
	waiting    map[uint64]chan answer
	lent, kept int // sockets that we got, and those of them that systemd keeps
}

// An answer is a reply with the descriptor that came along, -1 if none did.
type answer struct {
	reply
	fd int
}

// Borrow asks for loans at the path that an owner's [Door] is at; it may begin with "unix:". Whoever borrows closes
// the loan, when it has left the sockets.
func Borrow(ctx context.Context, path string) (*Loan, error) {
	path = unixPath(path)
	conn, err := dialUnix(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("borrow sockets at %s: %w", path, err)
	}
	if _, err := trusted(conn); err != nil {
		return nil, fmt.Errorf("borrow sockets at %s: %w", path, errors.Join(err, conn.Close()))
	}
	l := &Loan{conn: conn, lost: make(chan struct{}), waiting: map[uint64]chan answer{}}
	go l.read()
	return l, nil
}

// Listen borrows the socket of an address, which the owner binds if nobody has asked for it before. What the owner
// says about an address that cannot be bound is the error, and errors.Is finds its errno.
func (l *Loan) Listen(ctx context.Context, address string) (net.Listener, error) {
	a, err := l.call(ctx.Done(), request{Op: opListen, Address: address})
	if err != nil {
		return nil, fmt.Errorf("borrow %s: %w", address, cmp.Or(ctx.Err(), err))
	}
	if a.Error != "" {
		return nil, &remoteError{a.Error, a.Errno}
	}
	f := os.NewFile(uintptr(a.fd), address)
	src, err := adopt(f)
	if err = errors.Join(err, f.Close()); err != nil {
		l.giveBack(address)
		return nil, fmt.Errorf("borrow %s: %w", address, err)
	}
	l.mu.Lock()
	l.lent++
	if a.Kept {
		l.kept++
	}
	l.mu.Unlock()
	return &Listener{source: src, kept: a.Kept, owner: l, address: address}, nil
}

// Shared says whether the gateway goes on without this process: others accept from its sockets, or soon will. It
// is false once its owner has retired, and when there is no owner unless systemd keeps all that was lent.
func (l *Loan) Shared() bool {
	a, err := l.call(nil, request{Op: opShared})
	if err == nil {
		return a.Shared
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Is(err, errLost) && l.lent > 0 && l.lent == l.kept
}

// leave tells the owner that we do not accept from an address any more, and returns whether others do or will. An owner
// that is there and does not answer still has the socket; so may others, whom a deaf one would keep from everybody.
func (l *Loan) leave(address string, shared bool) bool {
	a, err := l.call(nil, request{Op: opLeave, Address: address, GoesOn: shared})
	switch {
	case errors.Is(err, errLost):
		return false // whoever borrowed from the same owner leaves too
	case err != nil:
		return true
	case a.Error != "":
		return shared
	default:
		return a.Shared
	}
}

// giveBack tells the owner that we do not have a socket that it lent, and does not wait for what it says.
func (l *Loan) giveBack(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.send(request{Op: opLeave, Address: address, GoesOn: true}) // if it fails, we are lost, and read says so
}

// Lost is closed when the owner is gone, and by Close.
func (l *Loan) Lost() <-chan struct{} { return l.lost }

// Close tells the owner that we hold nothing any more, and returns when that is so.
func (l *Loan) Close() error {
	err := l.conn.Close()
	<-l.lost
	l.tasks.Wait()
	return err
}

// call sends a request and waits for its answer.
func (l *Loan) call(done <-chan struct{}, q request) (answer, error) {
	waiter := make(chan answer, 1)
	l.mu.Lock()
	id, err := l.send(q)
	if err == nil {
		l.waiting[id] = waiter
	}
	l.mu.Unlock()
	if err != nil {
		return answer{}, err
	}
	within := answerWithin
	if q.Op != opListen {
		within = answerLeave
	}
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case a := <-waiter:
		return a, nil
	case <-l.lost:
		err = errLost
	case <-done:
		err = errors.New("the owner has not answered yet")
	case <-timeout.C:
		err = fmt.Errorf("the owner has not answered for %s", within)
	}
	l.mu.Lock()
	delete(l.waiting, id)
	l.mu.Unlock()
	select {
	case a := <-waiter: // while we turned away
		l.drop(a)
	default:
	}
	return answer{}, err
}

// send sends a request and returns its ID. The caller holds mu.
func (l *Loan) send(q request) (uint64, error) {
	l.last++
	q.ID = l.last
	if err := sendRights(l.conn, q, -1); err != nil {
		_ = l.conn.Close() // half a request may be on its way: nobody would understand the next one
		return 0, fmt.Errorf("%w: %w", errLost, err)
	}
	return q.ID, nil
}

// read hands answers to those who wait for them, until there are no more.
func (l *Loan) read() {
	defer close(l.lost)
	r := &rights{conn: l.conn}
	for {
		var a answer
		err := decode(r, &a.reply)
		a.fd = r.take()
		if err != nil {
			l.drop(answer{fd: a.fd})
			_ = l.conn.Close() // it may be that we do not understand
			return
		}
		l.deliver(a)
	}
}

// deliver hands an answer to whoever waits for it. It waits for nobody.
func (l *Loan) deliver(a answer) {
	switch {
	case a.Socket && a.fd < 0:
		a.Error, a.Errno = "listen tcp "+a.Address+": the socket did not arrive: "+unix.EMFILE.Error(), unix.EMFILE
		l.tasks.Go(func() { l.giveBack(a.Address) })
	case !a.Socket && a.fd >= 0: // nobody asked for it
		l.drop(a)
		a.fd = -1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiter := l.waiting[a.ID]; waiter != nil {
		delete(l.waiting, a.ID)
		waiter <- a // it has room; and whoever turns away meanwhile finds it there
		return
	}
	l.tasks.Go(func() { l.drop(a) })
}

// drop forgets an answer that nobody waits for.
func (l *Loan) drop(a answer) {
	if a.fd < 0 {
		return
	}
	_ = unix.Close(a.fd) // it is ours alone
	if a.Socket {
		l.giveBack(a.Address)
	}
}
