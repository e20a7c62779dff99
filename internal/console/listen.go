package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// ErrOpen is why [Listen] refuses an address.
var ErrOpen = errors.New("the console is served off loopback only over TLS (--console-tls-cert, --console-tls-key) and to people " +
	"who log in (--console-tokens, or --console-oidc-issuer)")

// maxConns bounds the connections that are open at once; those beyond wait to be accepted.
const maxConns = 1024

// Listen binds address. Unless that is a loopback one, the console must be reached over TLS, and everybody must log in. TLS nil is
// plain text.
func Listen(ctx context.Context, address string, secure *tls.Config, a *Access) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the console: %w", err)
	}
	// What was bound counts, not how it was written: a name may resolve to anything.
	bound, err := netip.ParseAddrPort(listener.Addr().String())
	if (err != nil || !bound.Addr().Unmap().IsLoopback()) && (secure == nil || a.open()) {
		return nil, errors.Join(fmt.Errorf("listen for the console on %s: %w", address, ErrOpen), listener.Close())
	}
	listener = &fewConns{Listener: listener, open: make(chan struct{}, maxConns)}
	if secure != nil {
		return tls.NewListener(listener, secure), nil
	}
	return listener, nil
}

// fewConns accepts no more connections than open has room for.
type fewConns struct {
	net.Listener

	open chan struct{}
}

// Accept is net.Listener's.
func (l *fewConns) Accept() (net.Conn, error) {
	l.open <- struct{}{} // that the listener is closed meanwhile shows when a connection ends, and all do then
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &counted{Conn: conn, leave: sync.OnceFunc(func() { <-l.open })}, nil
}

// counted is a connection of fewConns.
type counted struct {
	net.Conn

	leave func()
}

// Close is net.Conn's.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
