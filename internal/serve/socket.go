package serve

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"crossfade.dev/internal/proxy"
)

// A socket is one listening socket with the connections that came through it.
type socket struct {
	s       *Server
	nl      net.Listener
	door    *proxy.Door
	leaving chan struct{} // closed when the socket is to be left
	left    chan struct{} // closed when nothing is accepted any more

	mu    sync.Mutex
	conns map[*proxy.Conn]struct{}
	gone  sync.WaitGroup // of conns
}

func newSocket(s *Server, nl net.Listener, listener string) *socket {
	return &socket{
		s: s, nl: nl, door: proxy.NewDoor(listener),
		leaving: make(chan struct{}), left: make(chan struct{}),
		conns: map[*proxy.Conn]struct{}{},
	}
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

// acceptQueued accepts what is in the queue and closes the socket. What the kernel completes between the last
// look and the close is reset: without a successor that holds the same socket, that moment cannot be made
// shorter.
func (k *socket) acceptQueued(work context.Context) {
	for {
		nc, err := acceptNow(k.nl)
		if err != nil {
			break
		}
		k.admit(work, nc)
	}
	_ = k.nl.Close()
}

// admit serves nc, unless there are too many already.
func (k *socket) admit(work context.Context, nc net.Conn) {
	c := k.s.p.NewConn(nc, k.door)
	k.mu.Lock()
	full := len(k.conns) >= k.s.o.MaxConns
	if !full {
		k.conns[c] = struct{}{}
	}
	k.mu.Unlock()
	if full {
		c.Refuse()
		return
	}
	k.gone.Go(func() {
		if c.Serve(work) {
			k.s.cut.Add(1)
		}
		k.mu.Lock()
		delete(k.conns, c)
		k.mu.Unlock()
	})
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
	if d, ok := k.nl.(interface{ SetDeadline(time.Time) error }); !ok || d.SetDeadline(time.Unix(1, 0)) != nil {
		_ = k.nl.Close()
	}
	<-k.left

	const look = 20 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for now := began; !k.safe(now, began); now = <-tick.C {
	}
	for _, c := range k.open() {
		c.Cut()
	}
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
