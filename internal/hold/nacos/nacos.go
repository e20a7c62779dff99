// Package nacos is the registration proxy of Nacos: what an application says of itself to Nacos, over gRPC or over HTTP in
// any of its three versions, goes through a [hold.Gate]; everything else is passed on.
//
// The proxy listens where Nacos would, on a port P for HTTP and on P+1000 for gRPC. Over gRPC a registration lives by its
// connection, so every connection of the application has one to the registry of its own, and they end together. Over HTTP
// it lives by its beats, which register what is not there: they are held, passed on or swallowed as registrations are.
// Lists and pushes are passed on with what the application believes to be there, which nobody else sees.
package nacos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// Scheme is that of the URLs that [Open] takes.
const Scheme = "nacos"

const (
	defaultPort = "8848"
	dialTime    = 3 * time.Second // of one server; as long as Nacos's clients wait for an answer
	callTime    = 5 * time.Second // of a call by which something is registered, whoever still waits for it
	probeEvery  = time.Second     // while the registry is away
	sweepEvery  = time.Second     // of instances whose beats have ended
	headTime    = 10 * time.Second
)

// A Proxy stands between an application and Nacos.
type Proxy struct {
	servers []string // HOST:PORT of HTTP
	web     net.Listener
	rpc     net.Listener
	client  *http.Client
	calls   turns
	doubt   chan struct{} // somebody could not reach the registry

	mu     sync.Mutex
	first  int                // of servers: the one that answered last
	token  string             // that the application showed last over HTTP
	shown  http.Header        // likewise
	links  map[*link]struct{} // that are open
	beats  map[string]*beating
	opened int // links so far
}

var _ hold.Proxy = (*Proxy)(nil)

// Open binds both ports of a proxy: u.Listen and the one a thousand above; of port 0 it finds two that are free. It dials
// nobody.
func Open(ctx context.Context, u hold.URL) (*Proxy, error) {
	if err := u.Only(); err != nil {
		return nil, err
	}
	if u.User != "" || u.Path != "" {
		return nil, errors.New("want nacos://HOST:PORT[,HOST:PORT…]?listen=127.0.0.1:8848; user, namespace and group are the application's own")
	}
	servers, err := u.At(defaultPort)
	if err != nil {
		return nil, err
	}
	for _, server := range servers {
		if _, err := beside(server); err != nil {
			return nil, err
		}
	}
	web, rpc, err := listen(ctx, u.Listen)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		servers: servers, web: web, rpc: rpc, doubt: make(chan struct{}, 1),
		links: map[*link]struct{}{}, beats: map[string]*beating{}, shown: http.Header{}, calls: turns{all: map[string]*turn{}},
	}
	p.client = p.newClient()
	return p, nil
}

// listen binds a port and the one that is PortOffset above.
func listen(ctx context.Context, at netip.AddrPort) (web, rpc net.Listener, err error) {
	const tries = 20 // of port 0
	for range tries {
		if web, err = bind(ctx, at); err != nil {
			return nil, nil, err
		}
		port := web.Addr().(*net.TCPAddr).Port + wire.PortOffset //nolint:forcetypeassert,errcheck // we asked for TCP
		if port <= 65535 {
			if rpc, err = bind(ctx, netip.AddrPortFrom(at.Addr(), uint16(port))); err == nil {
				return web, rpc, nil
			}
			err = fmt.Errorf("%w; Nacos's gRPC is %d above its HTTP port", err, wire.PortOffset)
		} else {
			err = fmt.Errorf("listen on %s: Nacos's gRPC is %d above its HTTP port, and there is no port %d", at, wire.PortOffset, port)
		}
		err = errors.Join(err, web.Close())
		if at.Port() != 0 {
			break
		}
	}
	return nil, nil, err
}

func bind(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = fmt.Errorf("listen on %s: %w", at, op.Err)
	}
	return l, err
}

// beside returns the address of a server's gRPC.
func beside(server string) (string, error) {
	host, text, err := net.SplitHostPort(server)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil || port <= 0 || port+wire.PortOffset > 65535 {
		return "", fmt.Errorf("address %q: want a port of 1 to %d; gRPC is %d above it", server, 65535-wire.PortOffset, wire.PortOffset)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+wire.PortOffset)), nil
}

// Addr is where the proxy listens for HTTP.
func (p *Proxy) Addr() string { return p.web.Addr().String() }

// Registry names the registry, for people.
func (p *Proxy) Registry() string { return Scheme + " " + strings.Join(p.servers, ",") }

// Close closes the ports of a proxy that was never run; after Run it does nothing.
func (p *Proxy) Close() error {
	return errors.Join(shut(p.web), shut(p.rpc))
}

// shut closes a listener that may be closed already.
func shut(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves the application until ctx ends. It blocks, and closes the ports.
func (p *Proxy) Run(ctx context.Context, g *hold.Gate) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &serving{Proxy: p, gate: g, log: g.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	rpc := grpc.NewServer(
		grpc.Creds(door{func(app net.Conn) (*link, error) { return s.connect(ctx, app) }}),
		grpc.ForceServerCodec(wire.Codec{}), grpc.UnknownServiceHandler(s.other),
		grpc.MaxRecvMsgSize(wire.MaxFrame), grpc.WaitForHandlers(true), grpc.ConnectionTimeout(headTime), // each has one to the registry
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	wire.RegisterServer(rpc, s)
	web := &http.Server{
		Handler: http.HandlerFunc(s.visited), ReadHeaderTimeout: headTime, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}

	failed := make(chan error, 2)
	var running sync.WaitGroup
	running.Go(func() { failed <- fault("serve HTTP", web.Serve(p.web)) })
	running.Go(func() { failed <- fault("serve gRPC", rpc.Serve(p.rpc)) })
	running.Go(func() { s.watch(ctx) })
	running.Go(func() { s.sweep(ctx) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	_ = web.Close() // who is open is ended with it, as by a registry that stops
	rpc.Stop()
	running.Wait()
	s.linksOver.Wait()
	p.client.CloseIdleConnections()
	return err
}

// fault says what a server ended with, unless it was told to.
func fault(what string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// A serving is a proxy that runs.
type serving struct {
	*Proxy
	gate      *hold.Gate
	log       *slog.Logger
	linksOver sync.WaitGroup
}

// order returns the servers, the one first that answered last.
func (p *Proxy) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]string, 0, len(p.servers))
	list = append(list, p.servers[p.first:]...)
	return append(list, p.servers[:p.first]...)
}

// answered notes which server can be reached.
func (p *Proxy) answered(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.servers {
		if p.servers[i] == server {
			p.first = i
		}
	}
}

// suspect has the registry looked at: something came to nothing.
func (p *Proxy) suspect() {
	select {
	case p.doubt <- struct{}{}:
	default: // it is being looked at
	}
}

// watch tells the gate when no server can be reached, and when one can again.
func (s *serving) watch(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	away := false
	for {
		var again <-chan time.Time
		if away {
			again = tick.C
		}
		select {
		case <-ctx.Done():
			return
		case <-s.doubt:
		case <-again:
		}
		err := s.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !away {
			s.gate.Away(s.Proxy, fmt.Errorf("%w: %w", registry.ErrAway, err))
		} else if err == nil && away {
			s.gate.Away(s.Proxy, nil)
		}
		away = err != nil
	}
}

// probe connects to every port that the application uses of some server.
func (s *serving) probe(ctx context.Context) error {
	s.mu.Lock()
	linked := s.opened > 0
	s.mu.Unlock()
	conn, _, err := s.dial(ctx, func(server string) (string, error) { return server, nil })
	if err != nil {
		return err
	}
	_ = conn.Close()
	if !linked {
		return nil
	}
	if conn, _, err = s.dial(ctx, beside); err != nil {
		return err
	}
	return conn.Close()
}

// dial connects to the first server that accepts, at a port of its.
func (p *Proxy) dial(ctx context.Context, port func(string) (string, error)) (conn net.Conn, address string, err error) {
	var all []error
	for _, server := range p.order() {
		if address, err = port(server); err != nil {
			return nil, "", err
		}
		if conn, err = (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", address); err == nil {
			p.answered(server)
			return conn, address, nil
		}
		all = append(all, err)
	}
	return nil, "", errors.Join(all...)
}
