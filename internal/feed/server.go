package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// A Server lets others follow Control over a Unix socket that only this user can open.
type Server struct {
	Control Control
	Path    string // of the socket; its directory is made with mode 0700
	Log     *slog.Logger
}

// Run serves until ctx ends, then cuts the followers and removes the socket. A socket left by a program that
// died is replaced; one that still answers is an error.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(ctx, s.Path)
	if err != nil {
		return fmt.Errorf("feed on %s: %w", s.Path, err)
	}
	return s.serve(ctx, &ownersOnly{Listener: l, log: s.Log})
}

// serve serves who is accepted from l, until ctx ends.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(
		grpc.ForceServerCodec(jsonCodec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		asking(answerLocal), mayAsk(),
	)
	g.RegisterService(description(), &served{Control: s.Control, encoder: newEncoder()})
	defer context.AfterFunc(ctx, g.Stop)()
	err := g.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("feed on %s: %w", s.Path, err)
}

func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	var d net.Dialer
	dial, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if conn, err := d.DialContext(dial, "unix", path); err == nil {
		return nil, errors.Join(errors.New("another control answers there; stop it or choose another --socket"), conn.Close())
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// ownersOnly accepts connections from this user and root. The directory's mode says the same; this holds even
// where somebody loosened it.
type ownersOnly struct {
	net.Listener
	log *slog.Logger
}

// Accept is net.Listener's.
func (l *ownersOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := owner(conn)
		if err == nil && (uid == 0 || int(uid) == os.Getuid()) {
			return conn, nil
		}
		l.log.Warn("feed refused a peer", "uid", uid, "err", err)
		if err := conn.Close(); err != nil {
			l.log.Debug("feed closed a peer", "err", err)
		}
	}
}

// owner returns the user id of the process at the other end.
func owner(conn net.Conn) (uint32, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
