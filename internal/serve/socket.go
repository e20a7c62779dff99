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
	shared  bool          // once leaving is closed: others go on accepting
	force   func()        // ends what Cut does not reach: waits for connections to endpoints

	front atomic.Pointer[front] // nil serves plaintext
	tls   *tls.Config           // what handshakes begin with

	free   chan *open   // to goroutines whose connection has ended
	idlers atomic.Int64 // those goroutines

	mu         sync.Mutex
	conns      map[*open]struct{}
	accepted   time.Time      // the latest of them
	asked      time.Time      // when a request was last open on one that has ended
	handshakes list.List      // of *secured that are not done, oldest first
	gone       sync.WaitGroup // of conns
}

func newSocket(s *Server, nl net.Listener, l *proxy.Listener) *socket {
	return &socket{
		s: s, nl: nl, mesh: l.Mesh, door: proxy.NewDoor(l.Name),
		room:    roomOf(s.o.Descriptors, l.Mesh),
		leaving: make(chan struct{}), left: make(chan struct{}),
		tls:   newTLS(),
		free:  make(chan *open),
		conns: map[*open]struct{}{},
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
			k.leave(work)
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

// leave stops accepting so that nobody who has connected is lost.
func (k *socket) leave(work context.Context) {
	var err error
	if l, ok := k.nl.(leaver); ok {
		err = l.Leave(func(nc net.Conn) { k.admit(work, nc) }, k.shared)
	} else {
		err = k.nl.Close()
	}
	if err != nil {
		k.s.o.Log.WarnContext(work, "clients that connect now may be lost", "listener", k.door.Name(), "error", err)
	}
}

// A leaver is a listener that knows how to be left: see [sockets.Listener.Leave].
type leaver interface {
	Leave(admit func(net.Conn), shared bool) error
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
	c := &open{Conn: k.s.p.NewConn(nc, k.door), k: k}
	k.s.accepted.Add(1)
	k.mu.Lock()
	k.accepted, _ = c.Busy()
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
	k.s.open.Add(1)
	k.gone.Add(1)
	select {
	case k.free <- c:
	default:
		go k.tend(work, c)
	}
}

// tend serves c, and then whatever other connection comes: the stack of a goroutine that has served one has grown,
// which costs as much as a request. There are never more than a few that wait for one.
func (k *socket) tend(work context.Context, c *open) {
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

func (k *socket) serveOne(work context.Context, c *open) {
	defer k.gone.Done()
	c.Serve(work) // what it lost is in the tally
	k.s.open.Add(-1)
	asked, _ := c.Busy()
	k.mu.Lock()
	k.asked = latest(k.asked, asked)
	delete(k.conns, c)
	k.mu.Unlock()
}

func (k *socket) isLeaving() bool { return isClosed(k.leaving) }

// isLeft says whether nothing is accepted any more.
func (k *socket) isLeft() bool { return isClosed(k.left) }

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// stop has the socket be left, where others go on accepting if it is shared. It is called once.
func (k *socket) stop(shared bool) {
	k.shared = shared
	close(k.leaving)
	if d, ok := k.nl.(interface{ SetDeadline(time.Time) error }); !ok || d.SetDeadline(time.Unix(1, 0)) != nil {
		_ = k.nl.Close()
	}
}

// times returns when the latest connection was accepted, and when a request was last open on one that has ended.
func (k *socket) times() (accepted, asked time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accepted, k.asked
}

// list appends the connections that are open.
func (k *socket) list(all []*open) []*open {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		all = append(all, c)
	}
	return all
}
