package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	wire "crossfade.dev/internal/wire/nacos"
)

// silence is how long a connection may answer nothing that is asked before it is given up. What was registered over it is
// then lost, as it would be soon: a server forgets those who are silent for 20 s.
const silence = 10 * time.Second

// A link is one connection over gRPC, and all that Nacos knows of a client: what was registered over it is gone with it.
// It is over when nobody has needed it for its time, as if it were a lease; while a Run or a Watch goes on, somebody does.
type link struct {
	address string
	conn    *grpc.ClientConn
	stream  wire.Stream
	cancel  context.CancelFunc
	ttl     time.Duration
	expire  *time.Timer
	over    chan struct{} // closed when it is
	heard   chan struct{} // closed when nothing more is heard on the stream

	mu         sync.Mutex
	err        error     // why it is over
	answered   time.Time // last
	registered map[wire.Key]bool
	pushed     map[wire.Service]wire.ServiceInfo // since they were taken
	bell       chan struct{}                     // holds one when something was pushed
}

// linked returns the connection, and makes one where there is none.
func (c *Client) linked(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	select {
	case c.linking <- struct{}{}:
		defer func() { <-c.linking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, errGone
	}
	if c.link != nil && !c.link.isOver() {
		c.link.touch()
		return c.link, nil
	}
	var last error
	for range c.place.servers {
		server := c.place.servers[c.server]
		l, err := c.open(ctx, server.grpc)
		if err == nil {
			c.link = l
			return l, nil
		}
		last = fmt.Errorf("%s: %w", server.grpc, err)
		c.server = (c.server + 1) % len(c.place.servers)
	}
	return nil, last
}

// need has the connection be until what it returns is called, and its time longer.
func (c *Client) need() (release func()) {
	c.needed.Add(1)
	return func() {
		c.needed.Add(-1)
		select {
		case c.linking <- struct{}{}:
			if c.link != nil && !c.link.isOver() {
				c.link.touch()
			}
			<-c.linking
		default: // one is being made, and has all its time
		}
	}
}

// lost is closed when the connection that is there now is over; nil when there is none.
func (c *Client) lost() <-chan struct{} {
	select {
	case c.linking <- struct{}{}:
		defer func() { <-c.linking }()
	default: // one is being made
		return nil
	}
	if c.link == nil || c.link.isOver() {
		return nil
	}
	return c.link.over
}

// open makes a connection, and has Nacos know it.
func (c *Client) open(ctx context.Context, address string) (*link, error) {
	ctx, cancel := c.web.share(ctx)
	defer cancel()
	l := &link{
		address: address, ttl: c.place.ttl, over: make(chan struct{}), heard: make(chan struct{}), answered: time.Now(),
		registered: map[wire.Key]bool{}, pushed: map[wire.Service]wire.ServiceInfo{}, bell: make(chan struct{}, 1),
	}
	var err error
	if l.conn, err = grpc.NewClient("passthrough:///"+address, l.options(c)...); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = end
	l.expire = time.AfterFunc(math.MaxInt64, func() {
		if c.needed.Load() > 0 {
			l.touch()
			return
		}
		l.close(errGone)
	})
	l.touch()
	if err = l.setUp(ctx, life, c); err != nil {
		l.close(err)
		return nil, err
	}
	return l, nil
}

// options has gRPC connect once: a second connection would be another client to Nacos.
func (l *link) options(c *Client) []grpc.DialOption {
	secured := insecure.NewCredentials()
	if c.tls != nil {
		secured = credentials.NewTLS(c.tls)
	}
	var once sync.Once
	return []grpc.DialOption{
		grpc.WithTransportCredentials(secured), grpc.WithNoProxy(), grpc.WithIdleTimeout(0), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxFrame)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			err := errGone
			var conn net.Conn
			once.Do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address) })
			return conn, err
		}),
	}
}

// setUp says who we are, and waits until Nacos knows it.
func (l *link) setUp(ctx, life context.Context, c *Client) error {
	check, err := wire.NewFrame(wire.TypeServerCheck, nil, struct{}{})
	if err != nil {
		return err
	}
	answer, err := wire.Call(ctx, l.conn, check)
	if err != nil {
		close(l.heard)
		return err
	}
	if _, err = wire.ParseResponse(answer); err == nil {
		l.stream, err = wire.OpenStream(life, l.conn)
	}
	var hello wire.Frame
	if err == nil {
		hello, err = wire.NewFrame(wire.TypeConnectionSetup, nil, wire.Setup{
			Module: "naming", ClientVersion: "crossfade:v1", Tenant: c.place.namespace, Labels: map[string]string{"module": "naming", "source": "sdk"},
		})
	}
	if err == nil {
		err = l.stream.Send(hello)
	}
	if err != nil {
		close(l.heard)
		return err
	}
	go l.hear()
	for wait := time.Millisecond; ; wait = min(2*wait, pause/2) {
		_, err := l.ask(ctx, wire.TypeHealthCheck, nil, struct{}{})
		no, is := errors.AsType[*wire.Error](err)
		if !is || no.Code != wire.CodeUnregistered {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// hear takes what Nacos sends, and says that it has come, until the connection is over.
func (l *link) hear() {
	defer close(l.heard)
	for {
		frame, err := l.stream.Recv()
		if err == nil {
			err = l.take(frame)
		}
		if err != nil {
			l.close(err)
			return
		}
	}
}

func (l *link) take(frame wire.Frame) error {
	p, err := frame.Payload()
	if err != nil {
		return err
	}
	var push wire.Push
	if err := json.Unmarshal(p.Body, &push); err != nil {
		return fmt.Errorf("%s: %w", p.Type, err)
	}
	if p.Type == wire.TypeNotifySubscriber && push.Info != nil {
		l.push(wire.NewService(push.Namespace, push.Group, push.Service), *push.Info)
	}
	if push.RequestID != "" {
		ack, err := wire.Ack(p.Type, push.RequestID)
		if err == nil {
			err = l.stream.Send(ack)
		}
		if err != nil {
			return err
		}
	}
	if p.Type == wire.TypeConnectReset { // to whom, the URL says
		return errGone
	}
	return nil
}

func (l *link) push(of wire.Service, info wire.ServiceInfo) {
	l.mu.Lock()
	l.pushed[of] = info
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// news returns what was pushed since it was called last.
func (l *link) news() map[wire.Service]wire.ServiceInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.pushed
	l.pushed = map[wire.Service]wire.ServiceInfo{}
	return all
}

// ask asks one question.
func (l *link) ask(ctx context.Context, kind string, headers map[string]string, v any) (wire.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	frame, err := wire.NewFrame(kind, headers, v)
	if err != nil {
		return wire.Response{}, err
	}
	answer, err := wire.Call(ctx, l.conn, frame)
	var response wire.Response
	if err == nil {
		response, err = wire.ParseResponse(answer)
	}
	l.mu.Lock()
	if status.Code(err) != codes.DeadlineExceeded {
		l.answered = time.Now()
	}
	silent := time.Since(l.answered) > silence
	l.mu.Unlock()
	if silent {
		l.close(err)
	}
	return response, err
}

// note notes that an instance is registered over this connection, or is not.
func (l *link) note(key wire.Key, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if is {
		l.registered[key] = true
	} else {
		delete(l.registered, key)
	}
}

func (l *link) has(key wire.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registered[key]
}

// touch lets the connection be for another while.
func (l *link) touch() { l.expire.Reset(l.ttl) }

func (l *link) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// close ends the connection; what was first said of why stays.
func (l *link) close(why error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = why
	l.mu.Unlock()
	close(l.over)
	l.expire.Stop()
	l.cancel()
	_ = l.conn.Close() // it is over either way
}

// why returns why the connection is over.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%s: %w", l.address, l.err)
}

// wait waits until nothing more is heard.
func (l *link) wait() { <-l.heard }
