package feed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"crossfade.dev/internal/secure"
)

// Over TCP both ends show certificates that the other's authorities signed. What a client may be stands in its own: each
// organizational unit (OU) is the name of a role. So an instance's certificate, of OU=agent, lets nobody be a gateway,
// which sees all, or report for another incarnation.

const maxRemote = 8 << 20 // bytes of what a client over TCP may send at a time

// A TLSServer lets others follow Control over TCP, with TLS in both directions.
type TLSServer struct {
	Control Control
	Address string       // to listen on: "10.0.0.1:15012"
	Files   secure.Files // its own certificate and key, and the authorities of its clients; read again when they change
	Log     *slog.Logger

	listening func(net.Addr) // told where, before anybody is served
}

// Run serves until ctx ends, then cuts the followers.
func (s *TLSServer) Run(ctx context.Context) error {
	if s.Files.Certificate == "" || s.Files.Key == "" || s.Files.CA == "" {
		return fmt.Errorf("feed on %s: want a certificate, its key and the clients' authorities", s.Address)
	}
	pair := newPair(s.Files, "client", s.Log)
	if _, err := pair.current(); err != nil {
		return fmt.Errorf("feed on %s: %w", s.Address, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	g := grpc.NewServer(
		grpc.Creds(pair),
		grpc.ForceServerCodec(jsonCodec{}),
		grpc.MaxRecvMsgSize(maxRemote),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.ConnectionTimeout(alive),
		asking(answer), mayAsk(),
	)
	g.RegisterService(description(), &served{Control: s.Control, encoder: newEncoder(), roles: roles})
	defer context.AfterFunc(ctx, g.Stop)()
	if s.listening != nil {
		s.listening(l.Addr())
	}
	err = g.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("feed on %s: %w", s.Address, err)
}

// roles is what the certificate of whoever calls says that it may be.
func roles(ctx context.Context) ([]string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: nobody knows who calls", errRole)
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil, fmt.Errorf("%w: it shows no certificate", errRole)
	}
	subject := info.State.VerifiedChains[0][0].Subject
	if len(subject.OrganizationalUnit) == 0 {
		return nil, fmt.Errorf("%w: its certificate %q names no role in OU", errRole, subject)
	}
	return subject.OrganizationalUnit, nil
}

// DialTLS returns a client of the control that serves at address over TLS. Files has the client's certificate, which
// names its role in OU, its key, and the authorities of the server's; they are read again when they change. The server's
// certificate is for serverName, or if that is "" for the address's host. It does not connect; Follow and Report do.
// Close it.
func DialTLS(address string, files secure.Files, serverName string) (*Client, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("feed at %s: %w", address, err)
	}
	if files.Certificate == "" || files.Key == "" || files.CA == "" {
		return nil, fmt.Errorf("feed at %s: want a certificate, its key and the server's authorities", address)
	}
	if serverName == "" {
		serverName = host
	}
	pair := newPair(files, "server", nil)
	if _, err := pair.current(); err != nil {
		return nil, fmt.Errorf("feed at %s: %w", address, err)
	}
	return connect("passthrough:///"+address, answer, grpc.WithTransportCredentials(pair), grpc.WithAuthority(serverName))
}

// A pair is credentials of gRPC that go by files as they are at each handshake.
type pair struct {
	*secure.Credential

	log  *slog.Logger
	told atomic.Int64 // the second in which a peer was last told of
}

// newPair returns the credentials of one end; side names the other.
func newPair(files secure.Files, side string, log *slog.Logger) *pair {
	files.Side = side
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	p := &pair{log: log}
	p.Credential = secure.NewCredential(files, func(m secure.Material) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, RootCAs: m.Authorities,
			Certificates: []tls.Certificate{*m.Pair}, ClientCAs: m.Authorities, ClientAuth: tls.RequireAndVerifyClientCert,
			// Shown to whomever asks: else a server that does not know who signed it hears of none, and can say only that.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.Pair, nil },
		}
	})
	return p
}

// current is the configuration of the files as they are now, or as they were when they could last be used.
func (p *pair) current() (*tls.Config, error) {
	if change := p.Refresh(time.Now()); change.Failed && p.Config() != nil {
		p.log.Warn("feed: certificate", "err", p.Err())
	}
	if config := p.Config(); config != nil {
		return config, nil
	}
	return nil, p.Err()
}

// ClientHandshake is credentials.TransportCredentials'.
func (p *pair) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := p.current()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is credentials.TransportCredentials'.
func (p *pair) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := p.current()
	if err != nil {
		return nil, nil, err
	}
	secured, info, err := credentials.NewTLS(config).ServerHandshake(conn)
	if err != nil {
		p.refuse(conn.RemoteAddr(), err, time.Now())
	}
	return secured, info, err
}

// refuse tells of a peer that is not believed, once a second at most: or whoever reaches the port could fill the log.
func (p *pair) refuse(peer net.Addr, err error, now time.Time) {
	if second := now.Unix(); p.told.Swap(second) != second {
		p.log.Warn("feed refused a peer", "peer", peer.String(), "err", err)
	}
}

// Info is credentials.TransportCredentials'.
func (p *pair) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone is credentials.TransportCredentials': files are read once for all.
func (p *pair) Clone() credentials.TransportCredentials {
	return &pair{Credential: p.Credential, log: p.log}
}

// OverrideServerName is credentials.TransportCredentials'. A server's name is the connection's authority.
func (p *pair) OverrideServerName(string) error { return errors.ErrUnsupported }
