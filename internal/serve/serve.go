// Package serve keeps the listening sockets of a data plane: it opens and closes them as configuration comes
// and goes, hands accepted connections to a [proxy.Proxy], and leaves without losing anybody.
//
//	s := serve.New(proxy.New(po), serve.Options{})
//	err := s.Apply(ctx, state)   // opens sockets; again for every new state
//	err = s.Run(ctx)             // serves until ctx ends, then drains
//
// # How a socket is left
//
// Answers say Connection: close from then on; what is in the accept queue is accepted; the socket is closed.
// Connections are not: idle ones are still read, and a request that arrives is served. They end when their
// clients have been told, when nobody has sent a request for the quiet time, or at the drain timeout, whichever
// comes first. Only what is still open then is cut, and counted.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/proxy"
)

// Options bound a Server. A zero value means the default that stands beside it.
type Options struct {
	MaxConns     int           // per socket; more are refused; 20,000
	DrainTimeout time.Duration // from the start of a drain to its forced end; 30 s
	QuietTime    time.Duration // without a request, after which idle connections are closed; 5 s
	Log          *slog.Logger  // nil: nothing is logged
	// Listen opens a socket; nil: TCP.
	Listen func(ctx context.Context, address string) (net.Listener, error)
}

func (o Options) withDefaults() Options {
	o.MaxConns = cmp.Or(o.MaxConns, 20_000)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.QuietTime = cmp.Or(o.QuietTime, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Listen == nil {
		o.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false) // Go's default; it costs, and takes none of the options that a drain sets
			return lc.Listen(ctx, "tcp", address)
		}
	}
	return o
}

// ErrStopped is Apply's answer once Run has begun to leave.
var ErrStopped = errors.New("the server has stopped")

// A CutError says how many requests were cut because they were still open when a drain had to end. Run returns
// it when nothing else was wrong.
type CutError struct{ Requests int }

func (e *CutError) Error() string {
	return strconv.Itoa(e.Requests) + " requests were cut at the end of the drain"
}

// A Server holds the listening sockets of one proxy.
type Server struct {
	p    *proxy.Proxy
	o    Options
	cut  atomic.Int64  // requests, over all sockets
	bell chan struct{} // rung when fresh or retired is not empty

	mu      sync.Mutex
	sockets map[string]*socket // in service, by the address that configuration names
	fresh   []*socket          // bound, not yet accepted from
	retired []*socket          // to be drained
	stopped bool
}

// New returns a server without sockets.
func New(p *proxy.Proxy, o Options) *Server {
	return &Server{p: p, o: o.withDefaults(), bell: make(chan struct{}, 1), sockets: map[string]*socket{}}
}

// Proxy returns the proxy that the server's connections go to.
func (s *Server) Proxy() *proxy.Proxy { return s.p }

// Apply puts state in force and serves its listeners: a socket whose address stays is kept with its
// connections, new ones are opened, those that left are drained while Run runs. An address that cannot be bound
// is named in the error; everything else takes effect all the same, and the next Apply tries again. Before Run,
// sockets are bound and clients wait in their queues.
//
// Apply must not be called by two goroutines at once; see [proxy.Proxy.Swap].
func (s *Server) Apply(ctx context.Context, state *proxy.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return ErrStopped
	}
	left := s.sockets
	s.sockets = make(map[string]*socket, len(left))
	var errs []error
	for _, l := range state.Listeners() {
		k := left[l.Address]
		if k == nil {
			nl, err := s.o.Listen(ctx, l.Address)
			if err != nil {
				errs = append(errs, fmt.Errorf("listener %s: %w", l.Name, err))
				continue
			}
			k = newSocket(s, nl, l.Name)
			s.fresh = append(s.fresh, k)
		}
		k.door.Rename(l.Name)
		s.sockets[l.Address] = k
		delete(left, l.Address)
	}
	s.p.Swap(state)
	for _, k := range left {
		s.retired = append(s.retired, k)
	}
	select {
	case s.bell <- struct{}{}:
	default: // it rings already
	}
	return errors.Join(errs...)
}

// Addr returns the address that the listener of that name is served at, nil if it is not.
func (s *Server) Addr(listener string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		if k.door.Name() == listener {
			return k.nl.Addr()
		}
	}
	return nil
}

// Run serves until ctx ends, then drains every socket and closes the connections to endpoints. It returns nil
// when nothing was cut, else a [CutError].
func (s *Server) Run(ctx context.Context) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx)) // connections outlive ctx: that is what a drain is
	defer end()
	var sockets, proxying sync.WaitGroup
	proxying.Go(func() { _ = s.p.Run(work) }) // it returns nil
	for running := true; running; {
		select {
		case <-s.bell:
			s.advance(work, &sockets)
		case <-ctx.Done():
			running = false
		}
	}
	s.leave()
	s.advance(work, &sockets)
	sockets.Wait()
	s.p.Close()
	end()
	proxying.Wait()
	if n := int(s.cut.Load()); n > 0 {
		return &CutError{Requests: n}
	}
	return nil
}

// leave retires every socket.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, address := range slices.Sorted(maps.Keys(s.sockets)) {
		s.retired = append(s.retired, s.sockets[address])
	}
	clear(s.sockets)
}

// advance starts what Apply and leave have decided.
func (s *Server) advance(work context.Context, tasks *sync.WaitGroup) {
	s.mu.Lock()
	fresh, retired := s.fresh, s.retired
	s.fresh, s.retired = nil, nil
	s.mu.Unlock()
	for _, k := range fresh {
		ctx, cancel := context.WithCancel(work)
		k.force = cancel
		tasks.Go(func() { k.accept(ctx) })
	}
	for _, k := range retired {
		tasks.Go(func() { k.drain() })
	}
}
