// Package zookeeper is the registration proxy of ZooKeeper. An application's client talks to it as to a server; every
// connection has one of its own to a server, in the application's session, and everything is passed on, but for
// registrations: ephemeral nodes under certain paths, such as /services/*/*.
//
// Every request of the application becomes one request to the server, with its xid; what is answered here goes as a question
// whether the node exists. So answers stay in order, nothing waits for anything else, and a server that is away is away for
// the application, too. What a gate wants done is sent in the application's own session, between its requests.
//
// To the application a node that it has made is there until it deletes it, or its session ends: held back, released,
// withdrawn or swallowed. See [Proxy] for what it may notice.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/wire/jute"
)

// Scheme is that of the URLs that Open understands.
const Scheme = "zookeeper"

// A Proxy stands between an application and an ensemble. What is not as without it:
//
//   - /zookeeper/config is empty: a client that reads it would go on without the proxy.
//   - An ephemeral node under the paths is made where its parent may be missing; the parents are made with it.
//   - That it may not make a node there, by its ACL, is found out at the release: people hear of it, the application does not.
//   - A watch of others' doing sees a registration when it is released. To the lists of children that the application asks
//     for, what only it believes is added; their stats, and getEphemerals, are the server's.
//   - A Dubbo provider's URL is its node's name: with a mark it has another name, and the application's lists have that.
//   - A session that did not begin here is closed, and has expired: nobody knows what was held in it.
//   - Ephemeral nodes with a number at their end are locks, and passed on, unless paths= was said. Then they are
//     registrations: their number is unique, and says nothing of their order.
type Proxy struct {
	servers  []string
	paths    patterns
	name     string
	listener net.Listener
	dial     func(ctx context.Context, address string) (net.Conn, error)

	gate *hold.Gate

	mu       sync.Mutex
	first    int    // of servers, that is tried first: where the last connection went
	times    uint64 // that a server has answered
	away     error
	sessions map[int64]*session
}

// Open checks what a URL says, and listens:
//
//	zookeeper://HOST[:2181][,HOST…][/CHROOT]?listen=127.0.0.1:2181[&paths=/services/*/*,…][&tls=true][&ca=FILE][&cert=FILE&key=FILE][&server-name=NAME]
//
// CHROOT is what the application's own connect string has; the paths stand under it. A star is one part of a path.
func Open(ctx context.Context, u hold.URL) (*Proxy, error) {
	if err := u.Only("paths", "tls", "ca", "cert", "key", "server-name"); err != nil {
		return nil, err
	}
	if u.User != "" {
		return nil, errors.New("a user in the URL: the application logs in by itself, through the proxy")
	}
	paths, err := parsePatterns(u.Path, u.Rest["paths"])
	if err != nil {
		return nil, err
	}
	dial, err := dialer(u.Rest)
	if err != nil {
		return nil, err
	}
	servers, err := u.At("2181")
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", u.Listen.String())
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		name: "zookeeper " + strings.Join(servers, ","), servers: servers, paths: paths, listener: listener, dial: dial,
		sessions: map[int64]*session{},
	}
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	return p, nil
}

// Registry names the ensemble.
func (p *Proxy) Registry() string { return p.name }

// Addr is where the application connects.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends a proxy that does not run.
func (p *Proxy) Close() error {
	if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves the application until ctx ends, and ends its connections then.
func (p *Proxy) Run(ctx context.Context, g *hold.Gate) error {
	p.gate = g
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer func() {
		cancel()
		open.Wait()
		p.endAll()
	}()
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	for pause := minPause; ; {
		conn, err := p.listener.Accept()
		switch {
		case err == nil:
			pause = minPause
			open.Go(func() { p.serve(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listen on %s: %w", p.Addr(), err)
		default: // out of descriptors, as a rule: the next may find some
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// Pauses after a connection that could not be accepted.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve serves one connection of the application until it ends.
func (p *Proxy) serve(ctx context.Context, down net.Conn) {
	defer end(down)
	stop := context.AfterFunc(ctx, func() { end(down) })
	defer stop()
	_ = down.SetReadDeadline(time.Now().Add(firstWithin))
	var head [4]byte
	if _, err := fill(down, head[:]); err != nil {
		return
	}
	if isWord(head) {
		p.word(ctx, down, head)
		return
	}
	frame, err := jute.ReadRest(down, head)
	if err != nil {
		return
	}
	asked, err := jute.ReadConnect(jute.Body(frame))
	if err != nil {
		return
	}
	_ = down.SetReadDeadline(time.Time{})
	up, answer, err := p.connect(ctx, frame, asked)
	if err != nil {
		return // as a server that is away
	}
	defer end(up)
	stopUp := context.AfterFunc(ctx, func() { end(up) })
	defer stopUp()
	p.session(ctx, asked, answer, down, up)
}

// firstWithin is how long a connection may take to say what it is.
const firstWithin = 10 * time.Second

// reached takes in that a server has answered: it is tried first from now on.
func (p *Proxy) reached(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first = max(0, slices.Index(p.servers, server))
	p.times++
	if p.away != nil {
		p.away = nil
		p.gate.Away(p, nil)
	}
}

// missed takes in that no server has answered, unless one has to another connection, since there were so many answers.
func (p *Proxy) missed(times uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times != times {
		return
	}
	if p.away == nil {
		p.gate.Away(p, err)
	}
	p.away = fmt.Errorf("%w: %w", registry.ErrAway, err)
}

func (p *Proxy) successes() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

func (p *Proxy) isAway() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}
