// Package etcd is the registration proxy of etcd. Every call of the application goes to etcd as it is, but for those that
// write, delete or read below one prefix: what the application puts there with a lease is a registration. Leases are the
// application's own, and so are its watches: they tell what etcd has, so that an application hears of its registration
// when that is released. What is asked about members is answered with the proxy's address.
//
//	etcd://HOST:PORT[,HOST:PORT…]?listen=127.0.0.1:2379&prefix=/services/[&ca=FILE&cert=FILE&key=FILE&server-name=NAME]
//
// The application speaks to the proxy without TLS. Users and tokens are the application's own.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// Schemes of URLs that Open understands.
const (
	Scheme    = "etcd"
	SchemeTLS = "etcds"
)

// Schemes returns those of the URLs that Open understands.
func Schemes() []string { return []string{Scheme, SchemeTLS} }

// How things are bounded.
const (
	callTime  = 5 * time.Second  // of one call of our own
	pingEvery = 10 * time.Second // a connection that says nothing
	pingWait  = 3 * time.Second
	pingLeast = time.Second // an application that asks more often is told to stop
	redial    = time.Second // most between attempts to connect
	largest   = 64 << 20    // bytes of a message; etcd itself takes a megabyte and a half
)

var errPrefix = errors.New("where do registrations lie? Say prefix=, as in &prefix=/services/: what is put below it with a lease is one")

// A Proxy stands between an application and etcd.
type Proxy struct {
	name     string
	prefix   string
	listener net.Listener
	etcd     *grpc.ClientConn
	gate     *hold.Gate // set by Run

	turn chan struct{} // holds one while somebody writes below the prefix

	mu    sync.Mutex
	mine  map[string]*registration // what the application takes to be registered, by key
	token metadata.MD              // by which it has shown last who it is
	login frame                    // how it last logged in; nil: it has not
}

var _ hold.Proxy = (*Proxy)(nil)

// Open returns a proxy that listens, and serves when it runs. It reads the files that the URL names, but does not connect:
// an etcd that is away is found to be so later.
func Open(ctx context.Context, u hold.URL) (*Proxy, error) {
	if err := u.Only("prefix", "ca", "cert", "key", "server-name"); err != nil {
		return nil, err
	}
	switch {
	case u.Rest["prefix"] == "":
		return nil, errPrefix
	case u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("path %s: etcd has none; say &prefix=%s", u.Path, u.Path)
	case u.User != "":
		return nil, fmt.Errorf("user %s: the application logs in through the proxy, which needs none", u.User)
	}
	creds, err := credentialsOf(u)
	if err != nil {
		return nil, err
	}
	addresses, err := resolved(u)
	if err != nil {
		return nil, err
	}
	etcd, err := grpc.NewClient("etcd:///", grpc.WithResolvers(addresses), grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redial / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redial},
			MinConnectTimeout: callTime,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest), grpc.MaxCallSendMsgSize(largest), grpc.ForceCodec(raw{})), grpc.WithDisableRetry())
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", u.Listen.String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", u.Listen, err), etcd.Close())
	}
	return &Proxy{
		name: "etcd " + u.Addresses[0], prefix: u.Rest["prefix"], listener: listener, etcd: etcd,
		turn: make(chan struct{}, 1), mine: map[string]*registration{},
	}, nil
}

// resolved has gRPC know the members' addresses, which the URL says.
func resolved(u hold.URL) (*manual.Resolver, error) {
	members, err := u.At("2379")
	if err != nil {
		return nil, err
	}
	var state resolver.State
	for _, address := range members {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address, ServerName: host}}})
	}
	addresses := manual.NewBuilderWithScheme("etcd")
	addresses.InitialState(state)
	return addresses, nil
}

// credentialsOf is how etcd is spoken to.
func credentialsOf(u hold.URL) (credentials.TransportCredentials, error) {
	files := secure.Files{Certificate: u.Rest["cert"], Key: u.Rest["key"], CA: u.Rest["ca"], Side: "etcd"}
	switch {
	case (files.Certificate == "") != (files.Key == ""):
		return nil, errors.New("cert and key belong together")
	case u.Scheme != SchemeTLS && files.CA == "" && files.Certificate == "":
		return insecure.NewCredentials(), nil
	}
	config, err := secure.Dialing(files, u.Rest["server-name"])
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(config), nil
}

// Registry names the etcd, for people.
func (p *Proxy) Registry() string { return p.name }

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends what has not run.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if e := p.etcd.Close(); status.Code(e) != codes.OK && status.Code(e) != codes.Canceled { // it has been closed
		err = errors.Join(err, e)
	}
	return err
}

// Run serves the application until ctx ends.
func (p *Proxy) Run(ctx context.Context, g *hold.Gate) error {
	p.gate = g
	server := grpc.NewServer(
		grpc.UnknownServiceHandler(p.serve), grpc.ForceServerCodec(raw{}),
		grpc.MaxRecvMsgSize(largest), grpc.MaxSendMsgSize(largest), grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
	)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(p.listener) }()
	var looking sync.WaitGroup
	looking.Go(func() { p.look(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	server.Stop()
	err = errors.Join(err, p.Close())
	looking.Wait()
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// look tells the gate whether etcd can be reached, and goes on trying.
func (p *Proxy) look(ctx context.Context) {
	for state := p.etcd.GetState(); state != connectivity.Shutdown; state = p.etcd.GetState() {
		switch state {
		case connectivity.Idle:
			p.etcd.Connect()
		case connectivity.Ready:
			p.gate.Away(p, nil)
		case connectivity.TransientFailure:
			p.gate.Away(p, registry.ErrAway)
		default: // nobody knows yet
		}
		if !p.etcd.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// alone has a function write below the prefix while nobody else does. What it has begun it ends, whatever becomes of ctx:
// nothing that comes later is done before it.
func (p *Proxy) alone(ctx context.Context, do func(context.Context) error) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
		defer cancel()
		err := do(bounded)
		<-p.turn
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
