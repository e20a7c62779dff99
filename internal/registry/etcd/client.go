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
	"errors"
	"fmt"
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
// connect: an etcd that is away is found to be so later. A password comes from a file or [registry.PasswordEnv], never from the
// URL itself.
func Dial(rawURL string) (*Client, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry.ShownURL(rawURL), err)
	}
	c := &Client{place: p, dialing: make(chan struct{}, 1), entries: map[string]*entry{}}
	if p.tls {
		if c.tls, err = secure.Dialing(p.files, p.name); err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry.ShownURL(rawURL), err)
		}
	}
	return c, nil
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

// persist is registry.Persist, with etcd in what its error says.
func (c *Client) persist(ctx context.Context, what string, do func(context.Context, *clientv3.Client) error) error {
	return registry.Persist(ctx, "etcd: "+what, func(ctx context.Context) error { return c.once(ctx, do) }, passing)
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
