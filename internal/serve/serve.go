// Package serve keeps the listening sockets of a data plane: it opens and closes them as configuration comes
// and goes, hands accepted connections to a [proxy.Proxy], and leaves without losing anybody.
//
//	s := serve.New(proxy.New(po), serve.Options{})
//	err := s.Apply(ctx, state)   // opens sockets; again for every new state
//	err = s.Run(ctx)             // serves until ctx ends, then drains
//
// # HTTPS
//
// A listener with servers of TLS answers each client as the server for its SNI says: an exact name goes before the
// longest wildcard, that before "*", which also takes clients that name nobody. Where there is no server, the
// handshake ends with the alert unrecognized_name. A request is served only if the server that its host belongs to
// is the one that the connection was made with, and wants of clients what this one has proved; else the answer is
// 421. Nothing of this touches listeners that speak plaintext.
//
// # How a socket is left
//
// There is one way, and package drain decides every step of it: clients are told, by Connection: close and GOAWAY;
// what is in the accept queue is accepted, unless others go on accepting there; the socket is closed. Connections are
// not: idle ones are still read, and a request that arrives is served. They end when their clients have been told,
// when nobody has sent a request for the quiet time, or when they have had their time; what is open then is ended in
// the words of its protocol, spread over a while, and counted. A socket that configuration takes away goes so at
// once. When the whole server leaves, sockets accept for a while yet, in lame duck, until those who send clients here
// have seen it; see [Server.Leave]. Sockets for the mesh go after the others: who serves a request from outside may
// still call.
//
// # Who is refused
//
// A client beyond the bound of its socket gets a 503, or an alert where it speaks TLS, and is closed. So does one from
// outside when a quarter of the process's descriptors or less is free, and a caller in the mesh at an eighth: the
// rest is for connections to endpoints, for people at the admin API and for files. A client that took the last one
// could not be served, and nobody would hear of it.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/secure"
	"crossfade.dev/internal/sockets"
	"crossfade.dev/internal/upstream"
)

// Options bound a Server. A zero value means the default that stands beside it.
type Options struct {
	MaxConns    int // per socket; more are refused; 20,000
	Descriptors int // that the process may have open: clients are refused before they are used up; RLIMIT_NOFILE

	Timers drain.Timers                                              // of leaving, if one is not 0; drain.Defaults() without lame duck
	Shared func() bool                                               // whether others go on accepting from every socket; asked while leaving; nil: nobody does
	Moved  func(ctx context.Context, stage drain.Stage, shared bool) // is told when the leave of the whole server comes to a stage, and whether Shared; nil: nobody is

	MaxHandshakes int           // TLS handshakes under way, per socket; one more ends the oldest; a tenth of MaxConns
	LookEvery     time.Duration // between two looks at the files of TLS; 1 s

	Log *slog.Logger // nil: nothing is logged
	// Listen opens a socket; nil: TCP.
	Listen func(ctx context.Context, address string) (net.Listener, error)
}

func (o Options) withDefaults() Options {
	o.MaxConns = cmp.Or(o.MaxConns, 20_000)
	o.Descriptors = cmp.Or(o.Descriptors, descriptors(), math.MaxInt32)
	if o.Timers == (drain.Timers{}) {
		o.Timers = withoutNotice(drain.Defaults())
	}
	o.MaxHandshakes = cmp.Or(o.MaxHandshakes, max(1, o.MaxConns/10))
	o.LookEvery = cmp.Or(o.LookEvery, time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Shared == nil {
		o.Shared = func() bool { return false }
	}
	if o.Moved == nil {
		o.Moved = func(context.Context, drain.Stage, bool) {}
	}
	if o.Listen == nil {
		o.Listen = func(ctx context.Context, address string) (net.Listener, error) { return sockets.Open(ctx, address) }
	}
	return o
}

// ErrStopped is Apply's answer once the server accepts no more, and Stay's once it will not.
var ErrStopped = errors.New("the server has stopped accepting")

// A CutError says how many requests were cut because they were still open when the server's leave had to end them, as its
// report does. Run returns it when nothing else was wrong.
type CutError struct{ Requests int }

func (e *CutError) Error() string {
	return drain.Lost(uint64(e.Requests)) + " at the end of the drain"
}

// A Server holds the listening sockets of one proxy.
type Server struct {
	p    *proxy.Proxy
	o    Options
	bell chan struct{} // rung when there is something for advance to do
	left chan struct{} // closed when the whole server has left
	ring *keyring

	accepted atomic.Uint64 // connections, over all sockets
	open     atomic.Int64  // of them, now

	outward atomic.Pointer[[]*upstream.TLS] // for speaking to endpoints, of the last state that was applied

	mu      sync.Mutex
	sockets map[string]*socket // in service, by the address that configuration names
	fresh   []*socket          // bound, not yet accepted from
	retired []*socket          // to be drained
	unbound error              // addresses that Apply could not bind
	stopped bool               // sockets are opened no more
	leaving leaving
}

// New returns a server without sockets.
func New(p *proxy.Proxy, o Options) *Server {
	o = o.withDefaults()
	return &Server{
		p: p, o: o, bell: make(chan struct{}, 1), left: make(chan struct{}), ring: newKeyring(), sockets: map[string]*socket{},
		leaving: leaving{timers: o.Timers},
	}
}

// Proxy returns the proxy that the server's connections go to.
func (s *Server) Proxy() *proxy.Proxy { return s.p }

// Apply puts state in force and serves its listeners: a socket whose address stays is kept with its
// connections, new ones are opened, those that left are drained while Run runs. An address that cannot be bound
// is named in the error; everything else takes effect all the same, and the next Apply tries again. Before Run,
// sockets are bound and clients wait in their queues.
//
// The files of TLS are read, now and whenever they change while Run runs. A server whose files cannot be used goes
// on with what it read before, or refuses every handshake if there is nothing; it is named in the error, and in
// that of [Server.Err] for as long as it lasts.
//
// Apply must not be called by two goroutines at once; see [proxy.Proxy.Swap].
func (s *Server) Apply(ctx context.Context, state *proxy.State) error {
	opened, unbound := s.bind(ctx, state)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		for _, nl := range opened {
			unbound = errors.Join(unbound, nl.Close())
		}
		return errors.Join(ErrStopped, unbound)
	}
	fronts := s.fronts(ctx, state)
	left := s.sockets
	s.sockets = make(map[string]*socket, len(left))
	for i, l := range state.Listeners() {
		k := left[l.Address]
		if k == nil {
			nl := opened[l.Address]
			if nl == nil {
				continue // it is among the unbound
			}
			k = newSocket(s, nl, l)
			if s.leaving.outside != nil {
				k.door.Leave()
			}
			s.fresh = append(s.fresh, k)
		}
		k.door.Rename(l.Name)
		k.serve(fronts[i])
		s.sockets[l.Address] = k
		delete(left, l.Address)
	}
	s.p.Swap(state)
	for _, k := range left {
		s.retired = append(s.retired, k)
	}
	s.ringBell()
	s.unbound = unbound
	return s.err(true)
}

// bind opens the sockets that state wants and we do not have yet, by address. Whoever lends them may take a while, in
// which the rest of the server is not to wait.
func (s *Server) bind(ctx context.Context, state *proxy.State) (opened map[string]net.Listener, unbound error) {
	s.mu.Lock()
	have := maps.Clone(s.sockets)
	stopped := s.stopped
	s.mu.Unlock()
	opened = map[string]net.Listener{}
	for _, l := range state.Listeners() {
		if stopped || have[l.Address] != nil || opened[l.Address] != nil {
			continue
		}
		nl, err := s.o.Listen(ctx, l.Address)
		if err != nil {
			unbound = errors.Join(unbound, fmt.Errorf("listener %s: %w", l.Name, err))
			continue
		}
		opened[l.Address] = nl
	}
	return opened, unbound
}

// fronts returns how each of the state's listeners answers TLS clients, with files as they are now.
func (s *Server) fronts(ctx context.Context, state *proxy.State) []*front {
	var fronts []*front
	for _, l := range state.Listeners() {
		fronts = append(fronts, newFront(l.Listener, s.ring))
	}
	s.ring.keep()
	outward := state.TLS()
	s.outward.Store(&outward)
	s.look(ctx, time.Now())
	return fronts
}

// look reads the files of TLS that have changed.
func (s *Server) look(ctx context.Context, now time.Time) {
	for _, id := range s.ring.all() {
		s.note(ctx, id.Credential, id.refresh(now))
	}
	if list := s.outward.Load(); list != nil {
		for _, t := range *list {
			s.note(ctx, t.Credential, t.Refresh(now))
		}
	}
}

// note logs what came of a look.
func (s *Server) note(ctx context.Context, of *secure.Credential, c secure.Change) {
	files := of.Files()
	log := s.o.Log.With("certificate", files.Certificate, "ca", files.CA)
	if c.Loaded && files != (secure.Files{Side: files.Side}) {
		log.InfoContext(ctx, "TLS files are in force")
	}
	for _, notice := range c.Notices {
		log.WarnContext(ctx, "a TLS certificate has lapsed and is used all the same", "which", notice)
	}
	if c.Failed {
		log.ErrorContext(ctx, "TLS files cannot be used", "error", of.Err())
	}
}

// Err says what of the last state that was applied is not served as it says: addresses that could not be bound,
// and TLS files that cannot be used now, with [ErrNotReloaded] where older ones are still served. It is nil when
// all is well.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err(true)
}

// Unserved says what of the last state that was applied is not served at all: Err without what only goes on with
// older files.
func (s *Server) Unserved() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err(false)
}

func (s *Server) err(all bool) error {
	errs := []error{s.unbound}
	for _, address := range slices.Sorted(maps.Keys(s.sockets)) {
		errs = append(errs, s.sockets[address].front.Load().trouble(all))
	}
	if all {
		errs = append(errs, s.troubleOutward())
	}
	return errors.Join(errs...)
}

// troubleOutward says which files for speaking to endpoints cannot be used.
func (s *Server) troubleOutward() error {
	list := s.outward.Load()
	if list == nil {
		return nil
	}
	var errs []error
	for _, t := range *list {
		if err := t.Err(); err != nil {
			errs = append(errs, fmt.Errorf("TLS to endpoints: %w", err))
		}
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

// Run serves until ctx ends, or [Server.Leave] was called, then leaves, closes the connections to endpoints and
// returns: nil when nothing was cut, else a [CutError].
func (s *Server) Run(ctx context.Context) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx)) // connections outlive ctx: that is what a drain is
	defer end()
	var tasks tasks
	var proxying sync.WaitGroup
	proxying.Go(func() { _ = s.p.Run(work) }) // it returns nil
	proxying.Go(func() { s.watch(work) })
	for told, gone := ctx.Done(), false; !gone; {
		select {
		case <-s.bell:
			s.advance(work, &tasks)
		case <-told:
			told = nil
			s.end(reasonOf(ctx))
		case <-s.left:
			gone = true
		}
	}
	tasks.of(false).Wait()
	tasks.of(true).Wait()
	s.p.Close()
	end()
	proxying.Wait()
	if n := s.Report().Cut; n > 0 {
		return &CutError{Requests: int(n)}
	}
	return nil
}

// watch looks at the files of TLS until ctx ends.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(s.o.LookEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.look(ctx, now)
		case <-ctx.Done():
			return
		}
	}
}

// tasks are the accept loops and drains of sockets: of those for outside, and of those between services, which
// end later.
type tasks struct{ outside, mesh sync.WaitGroup }

func (t *tasks) of(mesh bool) *sync.WaitGroup {
	if mesh {
		return &t.mesh
	}
	return &t.outside
}

// ringBell has Run advance.
func (s *Server) ringBell() {
	select {
	case s.bell <- struct{}{}:
	default: // it rings already
	}
}

// advance starts what Apply and Leave have decided.
func (s *Server) advance(work context.Context, t *tasks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.fresh {
		ctx, cancel := context.WithCancel(work)
		k.force = cancel
		t.of(k.mesh).Go(func() { k.accept(ctx) })
	}
	for _, k := range s.retired {
		d := s.departureOf(k)
		t.of(k.mesh).Go(func() { d.run(work) })
	}
	s.fresh, s.retired = nil, nil
	if d := s.leaving.outside; d != nil && !d.started {
		d.started = true
		t.mesh.Go(func() { s.leave(work, d, t) })
	}
}
