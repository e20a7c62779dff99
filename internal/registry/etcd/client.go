// Package etcd keeps instances in etcd, and what control must not forget: a [Client] is a [registry.Registrar], a
// [registry.Source] and a [store.Store] on one connection. Everything lies below one prefix:
//
//	PREFIX/instances/INCARNATION        an entry as registry.Encode writes it, with a lease of its own
//	PREFIX/ages/0 … 31                  ages by incarnation, as JSON
//	PREFIX/events/000 … 999             a ring of events, as JSON
//	PREFIX/lifecycles/NAMESPACE/NAME    documents that people have put there, as YAML
//
// A [Server] is the single member that `crossfade up` runs beside itself.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// How long things take that do not end by themselves.
const (
	attempt  = 2 * time.Second        // of one question to etcd
	patience = 5 * time.Second        // of one operation, with all its attempts
	pause    = 200 * time.Millisecond // between attempts, at most
	askEvery = time.Second            // whether etcd is still there, by who watches

	pingEvery = 10 * time.Second // a connection that says nothing; etcd takes offence at less than 5 s
	pingWait  = 3 * time.Second
)

// A Client speaks to etcd. Its methods may be called from any goroutine.
type Client struct {
	place place
	tls   *tls.Config // nil is without

	dialing chan struct{}    // holds one while somebody uses the following
	etcd    *clientv3.Client // nil until it is first needed
	closed  bool

	mu      sync.Mutex
	entries map[string]*entry // what is to be published, by incarnation

	store kept
}

// Dial returns a client of the etcd that a URL names, see parse. It reads files that the URL names, but does not
// connect: an etcd that is away is found to be so later. A password comes from a file or [PasswordEnv], never from the
// URL itself.
func Dial(rawURL string) (*Client, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", shown(rawURL), err)
	}
	c := &Client{place: p, dialing: make(chan struct{}, 1), entries: map[string]*entry{}}
	if p.tls {
		if c.tls, err = p.secured(); err != nil {
			return nil, fmt.Errorf("registry %s: %w", shown(rawURL), err)
		}
	}
	return c, nil
}

// shown is a URL as an error may repeat it.
func shown(rawURL string) string {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		user, _, _ := strings.Cut(rest[:i], ":")
		rest = user + rest[i:]
	}
	return scheme + "://" + rest
}

// secured returns how a place is spoken to over TLS. Our own certificate is read again with every connection.
func (p *place) secured() (*tls.Config, error) {
	credential := secure.NewCredential(p.files, func(m secure.Material) *tls.Config {
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.Authorities}
		if m.Pair != nil {
			config.Certificates = []tls.Certificate{*m.Pair}
		}
		return config
	})
	credential.Refresh(time.Now())
	if credential.Config() == nil {
		return nil, credential.Err()
	}
	config := credential.Config().Clone()
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		credential.Refresh(time.Now())
		if now := credential.Config().Certificates; len(now) > 0 {
			return &now[0], nil
		}
		return &tls.Certificate{}, nil
	}
	if p.name != "" {
		// Whoever dials sets the name to that of the address, whatever it was: it is checked here instead.
		config.InsecureSkipVerify = true //nolint:gosec // see VerifyConnection
		config.VerifyConnection = func(s tls.ConnectionState) error {
			options := x509.VerifyOptions{DNSName: p.name, Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
			for _, c := range s.PeerCertificates[1:] {
				options.Intermediates.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(options)
			return err
		}
	}
	return config, nil
}

// Close ends the connection. What was put stays until its lease ends.
func (c *Client) Close() error {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	c.closed = true
	if c.etcd == nil {
		return nil
	}
	return c.etcd.Close()
}

// connected returns the connection. To make it may take patience, and be in vain, where etcd asks who we are: nowhere else.
func (c *Client) connected(ctx context.Context) (*clientv3.Client, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, clientv3.ErrNoAvailableEndpoints
	}
	if c.etcd != nil {
		return c.etcd, nil
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: c.place.endpoints, TLS: c.tls, Username: c.place.user, Password: c.place.password, DialTimeout: patience,
		DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingWait, MaxUnaryRetries: 2,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pause / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: attempt},
			MinConnectTimeout: attempt,
		})},
		Logger: zap.NewNop(), // what it could say is in its errors
	})
	if err != nil {
		return nil, err
	}
	c.etcd = etcd
	return etcd, nil
}

// persist does something until it succeeds, fails for a reason that time does not mend, or has taken too long: then the
// error wraps registry.ErrAway. The error says what was done.
func (c *Client) persist(ctx context.Context, what string, do func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := pause / 16; ; wait = min(2*wait, pause) {
		err := c.once(ctx, do)
		if err == nil {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("etcd: %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("etcd: %s: %w: %w", what, registry.ErrAway, err)
		case <-time.After(wait):
		}
	}
}

// once does something with a bound.
func (c *Client) once(ctx context.Context, do func(context.Context, *clientv3.Client) error) error {
	etcd, err := c.connected(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return do(ctx, etcd)
}

// passing says whether an error may be over when the same is asked again.
func passing(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, clientv3.ErrNoAvailableEndpoints) || errors.Is(err, errStale) {
		return true
	}
	code := status.Code(err)
	if of, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = of.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.ResourceExhausted
}
