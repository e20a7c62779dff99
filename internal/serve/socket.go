package serve

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/proxy"
)

// A socket is one listening socket with the connections that came through it.
type socket struct {
	s       *Server
	nl      net.Listener
	mesh    bool // it is for calls between services
	room    int  // new connections with a descriptor beyond it are refused
	door    *proxy.Door
	leaving chan struct{} // closed when the socket is to be left
	left    chan struct{} // closed when nothing is accepted any more
	force   func()        // ends what Cut does not reach: waits for connections to endpoints

	front atomic.Pointer[front] // nil serves plaintext
	tls   *tls.Config           // what handshakes begin with

	free   chan *proxy.Conn // to goroutines whose connection has ended
	idlers atomic.Int64     // those goroutines

	mu         sync.Mutex
	conns      map[*proxy.Conn]struct{}
	handshakes list.List      // of *secured that are not done, oldest first
	gone       sync.WaitGroup // of conns
}

func newSocket(s *Server, nl net.Listener, l *proxy.Listener) *socket {
	return &socket{
		s: s, nl: nl, mesh: l.Mesh, door: proxy.NewDoor(l.Name),
		room:    roomOf(s.o.Descriptors, l.Mesh),
		leaving: make(chan struct{}), left: make(chan struct{}),
		tls:   newTLS(),
		free:  make(chan *proxy.Conn),
		conns: map[*proxy.Conn]struct{}{},
	}
}

// roomOf is how many of the process's descriptors there may be before a socket refuses connections.
func roomOf(descriptors int, mesh bool) int {
	if mesh {
		return descriptors - descriptors/8
	}
	return descriptors - descriptors/4
}

// serve has new connections speak TLS as f says, or plaintext if it is nil.
func (k *socket) serve(f *front) {
	k.front.Store(f)
	k.door.Secure(f != nil)
}

// errEmpty says that nobody waits in a socket's queue.
var errEmpty = errors.New("the queue is empty")

// Between two tries to accept when the machine cannot: no descriptors, no memory.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// accept takes connections until the socket is to be left, then those that are queued, and closes it.
func (k *socket) accept(work context.Context) {
	defer close(k.left)
	pause := firstPause
	for {
		nc, err := k.nl.Accept()
		switch {
		case err == nil:
			pause = firstPause
			k.admit(work, nc)
			continue
		case k.isLeaving():
			k.acceptQueued(work)
			return
		case errors.Is(err, net.ErrClosed):
			return
		}
		k.s.o.Log.WarnContext(work, "cannot accept", "listener", k.door.Name(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-k.leaving:
		}
		pause = min(2*pause, lastPause)
	}
}

// acceptQueued accepts what is in the queue and closes the socket.
//
// A connection that the kernel completed between the last look and the close would be reset, and its client,
// who believes it open, would lose a request. So no handshake may begin any more while we look, and those that
// have begun get a moment to end. A client that tries in that moment hears nothing, tries again after a second,
// and is refused as by any socket that is gone.
func (k *socket) acceptQueued(work context.Context) {
	const handshake = 20 * time.Millisecond
	if err := deafen(k.nl); err != nil {
		k.s.o.Log.WarnContext(work, "clients that connect now may be lost", "listener", k.door.Name(), "error", err)
	} else {
		k.acceptAll(work)
		time.Sleep(handshake)
	}
	k.acceptAll(work)
	_ = k.nl.Close()
}

// acceptAll accepts until the queue is empty. When the machine cannot, it waits for a while until it can.
func (k *socket) acceptAll(work context.Context) {
	for tries := 0; tries < 100; {
		nc, err := acceptNow(k.nl)
		switch {
		case err == nil:
			k.admit(work, nc)
		case errors.Is(err, errEmpty):
			return
		default:
			tries++
			time.Sleep(firstPause)
		}
	}
}

// admit serves nc, unless there are too many already. It counts as open from here on, whatever its handshake
// takes.
func (k *socket) admit(work context.Context, nc net.Conn) {
	short := descriptor(nc) >= k.room
	var secured *secured
	if k.front.Load() != nil {
		secured = k.secure(nc)
		nc = secured
	}
	c := k.s.p.NewConn(nc, k.door)
	k.mu.Lock()
	full := short || len(k.conns) >= k.s.o.MaxConns
	if !full {
		k.conns[c] = struct{}{}
	}
	k.mu.Unlock()
	if full {
		c.Refuse()
		return
	}
	if secured != nil {
		k.shaking(secured)
	}
	k.gone.Add(1)
	select {
	case k.free <- c:
	default:
		go k.tend(work, c)
	}
}

// tend serves c, and then whatever other connection comes: the stack of a goroutine that has served one has grown,
// which costs as much as a request. There are never more than a few that wait for one.
func (k *socket) tend(work context.Context, c *proxy.Conn) {
	const few = 16
	defer k.idlers.Add(-1)
	for {
		k.serveOne(work, c)
		if k.idlers.Add(1) > few {
			return
		}
		select {
		case c = <-k.free:
			k.idlers.Add(-1)
		case <-k.left:
			return
		}
	}
}

func (k *socket) serveOne(work context.Context, c *proxy.Conn) {
	defer k.gone.Done()
	if lost := c.Serve(work); lost > 0 {
		k.s.cut.Add(int64(lost))
	}
	k.mu.Lock()
	delete(k.conns, c)
	k.mu.Unlock()
}

func (k *socket) isLeaving() bool {
	select {
	case <-k.leaving:
		return true
	default:
		return false
	}
}

// drain leaves the socket and waits until its connections have ended; see the package comment.
func (k *socket) drain() {
	began := time.Now()
	k.door.Leave()
	close(k.leaving)
	for _, c := range k.open() {
		k.gone.Go(c.Leave) // side by side: one that reads nothing keeps nobody waiting
	}
	if d, ok := k.nl.(interface{ SetDeadline(time.Time) error }); !ok || d.SetDeadline(time.Unix(1, 0)) != nil {
		_ = k.nl.Close()
	}
	<-k.left

	const look = 20 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for now := began; !k.safe(now, began); {
		now = <-tick.C
	}
	for _, c := range k.open() {
		k.gone.Go(c.Cut) // side by side: taking leave of TLS clients may take a while
	}
	k.force()
	k.gone.Wait()
}

// safe says whether what is still open may be closed: nobody has sent a request for the quiet time, or the
// drain has lasted as long as it may.
func (k *socket) safe(now, began time.Time) bool {
	if now.Sub(began) >= k.s.o.DrainTimeout {
		return true
	}
	last := began
	for _, c := range k.open() {
		since, busy := c.Busy()
		if busy {
			return false
		}
		if since.After(last) {
			last = since
		}
	}
	return len(k.open()) == 0 || now.Sub(last) >= k.s.o.QuietTime
}

func (k *socket) open() []*proxy.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*proxy.Conn, 0, len(k.conns))
	for c := range k.conns {
		all = append(all, c)
	}
	return all
}
