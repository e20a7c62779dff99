package nacos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// A link is a connection of the application's together with the one to the registry that was made for it: what is
// registered over it is there for as long as it is. When one of them ends the other does: the application connects again,
// and does again what it had done.
type link struct {
	name  string // the number of it, for keys
	conn  *grpc.ClientConn
	over  chan struct{} // closed when either connection has ended
	close func()        // closes over, once

	mu     sync.Mutex
	setUp  bool // the application has said who it is: before that Nacos registers nothing
	token  string
	made   map[hold.Key]*registration // what ends with it
	ending bool                       // it makes no calls any more
	calls  sync.WaitGroup             // on their way, about registrations
}

// AuthType has a link go with its connection through gRPC.
func (*link) AuthType() string { return "crossfade-link" }

var errOver = fmt.Errorf("%w: the application's connection to it has ended", registry.ErrAway)

// A door lets the application's connections in: each with one to the registry, or not at all.
type door struct {
	connect func(app net.Conn) (*link, error)
}

// ServerHandshake is credentials.TransportCredentials'.
func (d door) ServerHandshake(app net.Conn) (net.Conn, credentials.AuthInfo, error) {
	l, err := d.connect(app)
	if err != nil {
		return nil, nil, errors.Join(err, app.Close())
	}
	return watched{app, l.close}, l, nil
}

// ClientHandshake is credentials.TransportCredentials'.
func (d door) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Info is credentials.TransportCredentials'.
func (d door) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

// Clone is credentials.TransportCredentials'.
func (d door) Clone() credentials.TransportCredentials { return d }

// OverrideServerName is credentials.TransportCredentials'.
func (d door) OverrideServerName(string) error { return nil }

// A watched connection says when it is closed.
type watched struct {
	net.Conn
	closed func()
}

// Close closes it, and says so.
func (w watched) Close() error {
	w.closed()
	return w.Conn.Close()
}

// connect makes the link of a connection that the application has opened.
func (s *serving) connect(ctx context.Context, app net.Conn) (*link, error) {
	raw, address, err := s.dial(ctx, beside)
	if err != nil {
		s.suspect()
		return nil, err
	}
	l := &link{over: make(chan struct{}), made: map[hold.Key]*registration{}}
	l.close = sync.OnceFunc(func() { close(l.over) })
	once := make(chan net.Conn, 1)
	once <- watched{raw, l.close}
	l.conn, err = grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxFrame)), // a service with ten thousand instances is more than gRPC takes by itself
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case conn := <-once:
				return conn, nil
			default:
				return nil, errOver // a second connection would be somebody else to Nacos
			}
		}))
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	l.conn.Connect()

	s.mu.Lock()
	s.opened++
	l.name = strconv.Itoa(s.opened)
	s.links[l] = struct{}{}
	s.mu.Unlock()
	s.linksOver.Go(func() {
		select {
		case <-l.over:
		case <-ctx.Done():
		}
		l.close()
		_ = app.Close()
		l.finish()
		_ = l.conn.Close()
		_ = raw.Close() // of a connection that nobody used
		s.ended(l)
	})
	return l, nil
}

// begin says whether a call may be made; then calls.Done says that it has ended.
func (l *link) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending {
		l.calls.Add(1)
	}
	return !l.ending
}

// finish lets the calls end that are on their way, and no others begin. What the registry is about to register when it hears
// that the connection is over may stay for ever: registries are seen (r-nacos 0.8) that take in the one after the other.
func (l *link) finish() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.calls.Wait()
}

// ended forgets what was registered over a link.
func (s *serving) ended(l *link) {
	s.mu.Lock()
	delete(s.links, l)
	s.mu.Unlock()
	l.mu.Lock()
	made := l.made
	l.made = nil
	l.mu.Unlock()
	for key, r := range made {
		if !r.persistent() {
			s.gate.Forget(key, r)
		}
	}
	s.suspect()
}

// keep has a registration end with its link, and returns the one whose place it takes, if there is one. It says false when
// the link is over already.
func (l *link) keep(r *registration) (before *registration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		return nil, false
	}
	before = l.made[r.key]
	l.made[r.key] = r
	return before, true
}

// restore has the one before in its place again: the registry has refused it.
func (l *link) restore(before *registration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before != nil && l.made != nil {
		l.made[before.key] = before
	}
}

// takesBack notes that the application has taken a registration back.
func (l *link) takesBack(key hold.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.made[key]; r != nil {
		r.back = true
	}
}

// linkOf returns the link of a call.
func linkOf(ctx context.Context) (*link, error) {
	if p, is := peer.FromContext(ctx); is {
		if l, is := p.AuthInfo.(*link); is {
			return l, nil
		}
	}
	return nil, errors.New("a call without a connection")
}
