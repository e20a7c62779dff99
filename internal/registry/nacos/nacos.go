// Package nacos publishes and follows instances in Nacos: a [Client] is a [registry.Registrar] and a [registry.Source],
// over gRPC or HTTP in any of its versions, with a client of our own.
//
// An instance is registered with its address and its first port, in the service and group that the URL names, or in the
// service that is called as its label app says. Its metadata is what registry.Annotate says of it. Its weight is what
// consumers without crossfade go by: Weight times Ramp, and 0 while it leaves or cannot serve, since subscribers of
// Nacos do not hear at all of who is not enabled.
package nacos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
	wire "crossfade.dev/internal/wire/nacos"
)

// How long things take that do not end by themselves.
const (
	attempt  = 2 * time.Second        // of one question to Nacos, and of a connection to it
	pause    = 200 * time.Millisecond // between attempts, at most
	askEvery = time.Second            // whether Nacos is still there, and which services it has, by who watches
)

// errGone says that a connection is over, by no fault of the registry as a whole.
var errGone = errors.New("the connection is over")

// A Client speaks to Nacos. Its methods may be called from any goroutine.
type Client struct {
	place place
	tls   *tls.Config // nil is without
	web   *web
	speak speaker // in the version that the URL asks for

	linking chan struct{} // holds one while somebody uses the following
	link    *link         // nil until it is first needed
	server  int           // that is tried next
	closed  bool

	mu      sync.Mutex
	entries map[string]*entry // what is to be published, by incarnation

	needed atomic.Int32 // by how many that keep or follow, now
	sticky atomic.Bool  // this server keeps what was first said of an address: see mend
}

// A speaker does in one of Nacos's protocols what there is to do. Each of its questions is given up after an attempt's time.
type speaker interface {
	// register has Nacos have an instance, in place of what it has at that address.
	register(ctx context.Context, of wire.Service, in wire.Instance) error
	deregister(ctx context.Context, of wire.Service, in wire.Instance) error
	// keep has Nacos keep an instance for another while. It fails with errGone when Nacos does not have it.
	keep(ctx context.Context, of wire.Service, in wire.Instance) error
	// list returns a service as Nacos has it now.
	list(ctx context.Context, of wire.Service) (wire.ServiceInfo, error)
	// services returns the names of the services of a group.
	services(ctx context.Context, namespace, group string) ([]string, error)
}

// Dial returns a client of the Nacos that a URL names, see parse. It reads files that the URL names, but does not
// connect: a Nacos that is away is found to be so later. A password comes from a file or [registry.PasswordEnv], never from the
// URL itself.
func Dial(rawURL string) (*Client, error) {
	p, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry.ShownURL(rawURL), err)
	}
	c := &Client{place: p, linking: make(chan struct{}, 1), entries: map[string]*entry{}}
	if p.tls {
		if c.tls, err = secure.Dialing(p.files, p.name); err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry.ShownURL(rawURL), err)
		}
	}
	c.web = newWeb(&c.place, c.tls, 2)
	c.server = c.web.server
	if p.api == 0 {
		c.speak = overGRPC{c}
	} else {
		c.speak = overHTTP{c.web, p.api, p.ttl}
	}
	return c, nil
}

// Close ends the connections. What was put over gRPC is gone with them; over HTTP it stays until its time is over.
func (c *Client) Close() error {
	c.linking <- struct{}{}
	c.closed = true
	l := c.link
	<-c.linking
	if l != nil {
		l.close(errGone)
		l.wait()
	}
	c.web.client.CloseIdleConnections()
	return nil
}

// persist does something until it succeeds or fails for good: see [registry.Persist].
func (c *Client) persist(ctx context.Context, what string, do func(context.Context) error) error {
	return registry.Persist(ctx, "nacos: "+what, do, passing)
}

// unanswered says whether an error says nothing of Nacos but that it has not answered in time.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// passing says whether an error may be over when the same is asked again: only Nacos itself says no for good, and a
// certificate that is not to be trusted.
func passing(err error) bool {
	if errors.Is(err, errStale) { // whoever may not mend that may still find it mended
		return true
	}
	if errors.Is(err, errNotOurs) || errors.Is(err, errNoListing) {
		return false
	}
	if no, is := errors.AsType[*wire.Error](err); is {
		return no.Code == wire.CodeUnregistered || no.Code == wire.CodeTooMany || no.Code == http.StatusInternalServerError ||
			no.Code == http.StatusBadGateway || no.Code == http.StatusGatewayTimeout
	}
	if strings.Contains(err.Error(), "failed to verify certificate") { // of which gRPC hands on the words only
		return false
	}
	code := status.Code(err)
	return code != codes.Unauthenticated && code != codes.PermissionDenied && code != codes.Unimplemented && code != codes.InvalidArgument
}
