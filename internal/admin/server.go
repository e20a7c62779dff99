package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ErrNotLoopback is why [Listen] refuses an address.
var ErrNotLoopback = errors.New("admin listens on loopback only: it has no password")

// Listen binds address, "127.0.0.1:15000" say, which must be a loopback one.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	// What was bound counts, not how it was written: a name may resolve to anything.
	bound, err := netip.ParseAddrPort(listener.Addr().String())
	if err == nil && bound.Addr().Unmap().IsLoopback() {
		return listener, nil
	}
	return nil, errors.Join(fmt.Errorf("listen for admin on %s: %w", address, ErrNotLoopback), listener.Close())
}

// A Server serves an admin API on a listener.
type Server struct {
	Listener net.Listener
	Handler  http.Handler
	Log      *slog.Logger // nil is silent
}

const (
	headerTimeout = 5 * time.Second
	answerTimeout = time.Minute // streams put off their own deadline line by line
	idleTimeout   = 2 * time.Minute
	closeTimeout  = time.Second
	maxHead       = 16 << 10
)

// Run serves until ctx ends, then closes the listener, ends the streams, waits a moment for answers under way and
// returns nil. It returns an error when the listener breaks.
func (s *Server) Run(ctx context.Context) error {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       answerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.Listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve admin on %s: %w", s.Listener.Addr(), err)
	case <-ctx.Done():
	}
	// Nobody's traffic passes here, so Shutdown may lose a connection that was just accepted.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		log.WarnContext(ctx, "admin answers cut off", "err", err)
		if err := server.Close(); err != nil {
			log.WarnContext(ctx, "admin connections left open", "err", err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin on %s: %w", s.Listener.Addr(), err)
	}
	return nil
}
