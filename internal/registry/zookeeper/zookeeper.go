// Package zookeeper keeps instances in ZooKeeper, in the layouts of others: what agents publish is seen by consumers of
// Curator, Spring Cloud and Dubbo, and what applications register there themselves is followed with the rest.
//
// What is published lives by one session of its [Client], as everybody's in ZooKeeper does; a reader has a session of its own
// for as long as it is connected, and reads everything again with the next one.
package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// How long things take that do not end by themselves.
const (
	attempt  = 2 * time.Second        // of one operation, once
	patience = 5 * time.Second        // of one question of who watches
	pause    = 200 * time.Millisecond // between attempts to watch
)

// maxAnswer is the longest answer that is read, in bytes: the names of 10,000 of Dubbo's providers take five million.
const maxAnswer = 64 << 20

// A Client speaks to ZooKeeper. Its methods may be called from any goroutine.
type Client struct {
	place place
	tls   *tls.Config // nil is without

	dialing chan struct{} // holds one while somebody uses the following
	session *session      // what was put lives by it; nil until it is first needed
	closed  bool

	mu      sync.Mutex
	entries map[string]*entry // what is to be published, or to be taken away, by incarnation
}

var (
	_ registry.Registrar = (*Client)(nil)
	_ registry.Source    = (*Client)(nil)
)

// Dial returns a client of the ZooKeeper that a URL names, see parse. It reads files that the URL names, but does not
// connect: a server that is away is found to be so later. A password comes from a file or [registry.PasswordEnv], never
// from the URL itself.
func Dial(rawURL string) (*Client, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", shown(rawURL), err)
	}
	c := &Client{place: p, dialing: make(chan struct{}, 1), entries: map[string]*entry{}}
	if p.tls {
		if c.tls, err = secure.Dialing(p.files, p.name); err != nil {
			return nil, fmt.Errorf("registry %s: %w", shown(rawURL), err)
		}
	}
	return c, nil
}

// shown is a URL as an error may repeat it: without a password, which has no business there.
func shown(rawURL string) string {
	shown := registry.ShownURL(rawURL)
	if i := strings.Index(shown, "auth=digest:"); i >= 0 {
		head, tail := shown[:i], shown[i+len("auth=digest:"):]
		user, more, _ := strings.Cut(tail, "&")
		user, _, _ = strings.Cut(user, ":")
		shown = head + "auth=digest:" + user
		if more != "" {
			shown += "&" + more
		}
	}
	return shown
}

// Close ends the connection. What was put, and was not removed, stays until its session ends, which is when nobody has
// spoken for it for the time to live.
func (c *Client) Close() error {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	c.closed = true
	if c.session == nil {
		return nil
	}
	for _, e := range c.all() {
		if e.published() {
			c.session.cut()
		}
	}
	c.session.conn.Close()
	return nil
}

// connected returns the session that what is put lives by. When one has expired it goes on as another one.
func (c *Client) connected(ctx context.Context) (*session, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, zk.ErrClosing
	}
	if c.session == nil {
		s, err := c.open(ctx, &line{}, nil)
		if err != nil {
			return nil, err
		}
		c.session = s
	}
	return c.session, c.session.identify(ctx)
}

// persist is registry.Persist, with ZooKeeper in what its error says.
func (c *Client) persist(ctx context.Context, what string, do func(context.Context, *session) error) error {
	return registry.Persist(ctx, "zookeeper: "+what, func(ctx context.Context) error { return c.once(ctx, do) }, passing)
}

// once does something with a bound.
func (c *Client) once(ctx context.Context, do func(context.Context, *session) error) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	s, err := c.connected(ctx)
	if err != nil {
		return err
	}
	return do(ctx, s)
}

// passing says whether an error may be over when the same is asked again. Servers have more of them than the library knows:
// these are the ones that stay.
func passing(err error) bool {
	for _, stays := range []error{
		errTaken, zk.ErrClosing, zk.ErrNoAuth, zk.ErrAuthFailed, zk.ErrInvalidACL, zk.ErrBadArguments, zk.ErrInvalidPath, zk.ErrNoChildrenForEphemerals,
	} {
		if errors.Is(err, stays) {
			return false
		}
	}
	return true
}

// connection returns how a server is connected to, over a line that can be cut.
func (c *Client) connection(ctx context.Context, l *line) zk.Dialer {
	ctx = context.WithoutCancel(ctx)
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var conn net.Conn
		var err error
		if c.tls == nil {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		} else {
			conn, err = (&tls.Dialer{Config: c.tls}).DialContext(ctx, network, address)
		}
		if err != nil {
			return nil, err
		}
		return l.take(conn, c.place.ttl)
	}
}
