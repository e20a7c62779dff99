package sockets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxBorrowers bounds the processes that one owner answers.
const maxBorrowers = 1000

// OwnerOptions say what an Owner has from the start.
type OwnerOptions struct {
	Inherited map[string]*os.File // sockets by address, see [Inherited]; they are the owner's from then on
	Log       *slog.Logger        // nil: nothing is logged
}

// An Owner binds addresses, once a borrower asks for one, and lends the sockets. It knows who holds which, and so what
// nobody else can: whether a socket that a process leaves is still accepted from.
type Owner struct {
	log *slog.Logger

	mu        sync.Mutex
	sockets   map[string]*owned // by canonical address
	wanted    map[string]bool   // canonical addresses; nil before the first Keep: all are
	borrowers int
	retired   bool
	closed    bool
}

// An owned is a socket that is lent.
type owned struct {
	address   string   // canonical
	file      *os.File // not in Go's poller, which would wake us for every connection
	inherited bool     // systemd has it too
	idle      bool     // likewise, and no listener is for it
	holders   int      // how often it is lent out
}

// A borrower is a process that asks.
type borrower struct {
	conn *net.UnixConn
	held map[*owned]int // how often it has each, guarded by the owner's mu
}

// NewOwner returns an owner of what it inherits.
func NewOwner(o OwnerOptions) *Owner {
	own := &Owner{log: o.Log, sockets: map[string]*owned{}}
	if own.log == nil {
		own.log = slog.New(slog.DiscardHandler)
	}
	for address, file := range o.Inherited {
		address = canonical(address)
		own.sockets[address] = &owned{address: address, file: file, inherited: true}
	}
	return own
}

// Keep says which addresses there are: the sockets of all others are closed, at once or when nobody holds them any
// more. Those that systemd keeps stay, and those of them that nobody is to accept from are logged. An address that comes
// back before its socket is closed has the same socket.
func (o *Owner) Keep(addresses []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wanted = make(map[string]bool, len(addresses))
	for _, a := range addresses {
		o.wanted[canonical(a)] = true
	}
	o.sweep()
	if len(addresses) > 0 { // else the gateway is gone, and whoever waits may wait for the next
		o.warn()
	}
}

// warn tells of sockets at which clients wait for nobody. Only systemd keeps such.
func (o *Owner) warn() {
	used := map[*owned]bool{}
	for a := range o.wanted {
		used[o.find(a)] = true
	}
	for address, k := range o.sockets {
		if !k.inherited || used[k] {
			k.idle = false
			continue
		}
		if !k.idle {
			o.log.Warn("systemd hands over a socket that no listener is for: clients who connect there wait for nobody", "address", address)
		}
		k.idle = true
	}
}

// Retire says that the gateway leaves as a whole: from now on borrowers are told that it does not go on without them,
// and the last one that leaves a socket empties its queue.
func (o *Owner) Retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retired = true
	o.sweep()
}

// Resume takes Retire back: others will accept again. A socket that was left meanwhile is bound anew when somebody asks
// for it.
func (o *Owner) Resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retired = false
}

// goesOn says whether somebody is to accept from k when those who hold it have left.
func (o *Owner) goesOn(k *owned) bool {
	return k.inherited || !o.retired && (o.wanted == nil || o.wanted[k.address])
}

// sweep closes what nobody holds and nobody is to have.
func (o *Owner) sweep() {
	for address, k := range o.sockets {
		if k.holders > 0 || o.goesOn(k) {
			continue
		}
		delete(o.sockets, address)
		o.abandon(k)
	}
}

// abandon closes a socket, and says if that loses somebody.
func (o *Owner) abandon(k *owned) {
	if n := queued(k.file); n > 0 && k.holders == 0 && !k.inherited {
		o.log.Warn("a socket is closed with connections that nobody has accepted", "address", k.address, "connections", n)
	}
	if err := k.file.Close(); err != nil {
		o.log.Warn("a socket is not closed", "address", k.address, "error", err)
	}
}

// Run answers at door, see [Door], until ctx ends. Then it closes door, its sockets and the borrowers' connections:
// they are told so by [Loan.Lost].
func (o *Owner) Run(ctx context.Context, door *net.UnixListener) error {
	defer o.close()
	work, end := context.WithCancel(ctx)
	var borrowers sync.WaitGroup
	defer borrowers.Wait()
	defer end()
	defer context.AfterFunc(work, func() { _ = door.Close() })()
	for {
		conn, err := door.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("lend sockets at %s: %w", door.Addr(), err)
		case err != nil:
			o.log.WarnContext(ctx, "cannot lend sockets", "error", err)
			wait(ctx, time.Second)
			continue
		}
		borrowers.Go(func() { o.serve(work, conn) })
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// close closes every socket.
func (o *Owner) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, k := range o.sockets {
		o.abandon(k)
	}
	clear(o.sockets)
}

// serve answers one borrower until it goes.
func (o *Owner) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close() //nolint:errcheck // nothing is left to say
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	pid, err := trusted(conn)
	b := &borrower{conn: conn, held: map[*owned]int{}}
	if err == nil {
		err = o.countIn()
	}
	if err != nil {
		o.log.WarnContext(ctx, "a borrower of sockets is refused", "pid", pid, "error", err)
		return
	}
	defer func() { o.takeBack(b, ctx.Err() != nil) }()
	for err == nil {
		var q request
		if err = next(conn, &q); err == nil {
			err = o.answer(ctx, b, q)
		}
	}
	gone := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if !gone && ctx.Err() == nil {
		o.log.WarnContext(ctx, "a borrower of sockets is not understood", "pid", pid, "error", err)
	}
}

// next reads a borrower's next request. It may take its time to begin one.
func next(conn *net.UnixConn, q *request) error {
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return noEOF(decode(io.MultiReader(bytes.NewReader(first[:]), conn), q))
}

func (o *Owner) answer(ctx context.Context, b *borrower, q request) error {
	r := reply{ID: q.ID, Address: q.Address}
	fd := -1
	switch q.Op {
	case opListen:
		var err error
		if fd, r.Kept, err = o.lend(ctx, b, q.Address); err != nil {
			r.fail(err)
		}
		r.Socket = err == nil
	case opLeave:
		var err error
		if r.Shared, err = o.leave(b, q); err != nil {
			r.fail(err)
		}
	case opShared:
		r.Shared = o.goes()
	default:
		r.fail(fmt.Errorf("an owner of sockets does not know the request %.20q", q.Op))
	}
	err := sendRights(b.conn, r, fd)
	if fd >= 0 {
		err = errors.Join(err, unix.Close(fd))
	}
	return err
}

// fail makes r say err.
func (r *reply) fail(err error) {
	r.Error = err.Error()
	if len(r.Error) > maxMessage/8 { // JSON may need six bytes for one
		r.Error = r.Error[:maxMessage/8]
	}
	if len(r.Address) > maxMessage/16 {
		r.Address = ""
	}
	_ = errors.As(err, &r.Errno) // 0 if there is none
}

// goes says whether the gateway goes on without one of its processes.
func (o *Owner) goes() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.retired
}

// lend returns a descriptor for b, of the socket of an address.
func (o *Owner) lend(ctx context.Context, b *borrower, address string) (fd int, kept bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return -1, false, net.ErrClosed
	}
	k := o.find(address)
	if k == nil {
		if k, err = bind(ctx, address); err != nil {
			return -1, false, err
		}
		o.sockets[k.address] = k
	}
	if fd, err = duplicate(k.file); err != nil {
		return -1, false, fmt.Errorf("listen tcp %s: %w", address, err)
	}
	k.holders++
	b.held[k]++
	return fd, k.inherited, nil
}

// leave notes that b does not accept from a socket any more, and says whether others do, or will. If not, the socket
// is b's to empty, and forgotten here.
func (o *Owner) leave(b *borrower, q request) (shared bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.find(q.Address)
	if k == nil || b.held[k] == 0 {
		return false, fmt.Errorf("the socket of %.100s is not lent to you", q.Address)
	}
	k.holders--
	b.held[k]--
	if k.holders > 0 || k.inherited || q.GoesOn && o.goesOn(k) {
		return true, nil
	}
	delete(o.sockets, k.address)
	return false, k.file.Close()
}

// countIn counts a borrower in, unless there are too many.
func (o *Owner) countIn() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.borrowers >= maxBorrowers {
		return fmt.Errorf("there are %d already", o.borrowers)
	}
	o.borrowers++
	return nil
}

// takeBack notes that b has gone with whatever it held, or that it is us who leave: then it still has that.
func (o *Owner) takeBack(b *borrower, still bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.borrowers--
	if still {
		return
	}
	for k, n := range b.held {
		k.holders -= n
	}
	o.sweep()
}

// bind opens the socket of an address.
func bind(ctx context.Context, address string) (*owned, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := listenTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	defer l.Close() //nolint:errcheck // the socket has another descriptor, or an error is told already
	var fd int
	var failed error
	err = own{l}.control(func(old int) { fd, failed = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("listen tcp %s: %w", address, err)
	}
	return &owned{address: canonical(address), file: plainFile(fd, address)}, nil
}

// plainFile returns a file that Go's poller does not hear of: only those that do not block are told to it. Whoever
// accepts from it sets that again.
func plainFile(fd int, name string) *os.File {
	_ = unix.SetNonblock(fd, false) // if it fails, the poller hears of it: it costs, and harms nobody
	return os.NewFile(uintptr(fd), name)
}
