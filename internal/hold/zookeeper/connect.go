package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"crossfade.dev/internal/secure"
	"crossfade.dev/internal/wire/jute"
)

// fill reads all of b.
func fill(r io.Reader, b []byte) (int, error) { return io.ReadFull(r, b) }

// isWord says whether a connection begins with one of ZooKeeper's commands of four letters, such as isro, in place of a
// length, which would be more than a gigabyte.
func isWord(head [4]byte) bool {
	for _, c := range head {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// end closes what has served its time.
func end(conn net.Conn) { _ = conn.Close() }

// word passes on a command of four letters, and its answer.
func (p *Proxy) word(ctx context.Context, down net.Conn, word [4]byte) {
	for _, server := range p.order() {
		up, err := p.reach(ctx, server, wordWithin)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { end(up) })
		defer stop()
		defer end(up)
		if _, err := up.Write(word[:]); err == nil {
			_, _ = io.Copy(down, up)
		}
		return
	}
}

// wordWithin bounds what a command of four letters takes.
const wordWithin = 5 * time.Second

// reach connects with one server. The connection bears a deadline that ends so much later.
func (p *Proxy) reach(ctx context.Context, server string, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	up, err := p.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	return up, up.SetDeadline(time.Now().Add(within))
}

// order returns the servers, the one that the last connection went to first.
func (p *Proxy) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(append([]string{}, p.servers[p.first:]...), p.servers[:p.first]...)
}

// connect finds a server that takes what an application's connection began with, and returns what it answered. A server that
// is behind what the client has seen hangs up, and the next one is asked.
func (p *Proxy) connect(ctx context.Context, frame []byte, asked jute.Connect) (net.Conn, jute.Connected, error) {
	servers, reached := p.order(), p.successes()
	each := time.Duration(asked.TimeoutMS) * time.Millisecond / time.Duration(len(servers))
	each = min(max(each, leastConnect), mostConnect)
	var errs []error
	for _, server := range servers {
		up, answer, err := p.greet(ctx, server, each, frame)
		if err == nil {
			p.reached(server)
			return up, answer, nil
		}
		if ctx.Err() != nil {
			return nil, answer, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, err))
	}
	err := errors.Join(errs...)
	p.missed(reached, err)
	return nil, jute.Connected{}, err
}

// How long one server may take to answer.
const (
	leastConnect = 500 * time.Millisecond
	mostConnect  = 5 * time.Second
)

func (p *Proxy) greet(ctx context.Context, server string, within time.Duration, frame []byte) (net.Conn, jute.Connected, error) {
	up, err := p.reach(ctx, server, within)
	if err != nil {
		return nil, jute.Connected{}, err
	}
	stop := context.AfterFunc(ctx, func() { end(up) })
	defer stop()
	answer, err := exchange(up, frame)
	if err == nil {
		err = up.SetDeadline(time.Time{})
	}
	if err != nil {
		end(up)
		return nil, answer, err
	}
	return up, answer, nil
}

func exchange(up net.Conn, frame []byte) (jute.Connected, error) {
	if _, err := up.Write(frame); err != nil {
		return jute.Connected{}, err
	}
	back, err := jute.ReadFrame(up)
	if err != nil {
		return jute.Connected{}, err
	}
	return jute.ReadConnected(jute.Body(back))
}

// dialer returns what connects with a server, over TLS where the parameters say so.
func dialer(rest map[string]string) (func(context.Context, string) (net.Conn, error), error) {
	plain := &net.Dialer{}
	switch said := rest["tls"]; {
	case said != "" && said != "true" && said != "false":
		return nil, fmt.Errorf("tls=%s: want true or false", said)
	case (rest["cert"] == "") != (rest["key"] == ""):
		return nil, errors.New("cert and key belong together")
	case said != "true" && rest["ca"]+rest["cert"]+rest["server-name"] == "":
		return func(ctx context.Context, address string) (net.Conn, error) {
			return plain.DialContext(ctx, "tcp", address)
		}, nil
	case said == "false":
		return nil, errors.New("tls=false, and ca, cert or server-name: one of them is not meant")
	}
	config, err := secure.Dialing(secure.Files{Certificate: rest["cert"], Key: rest["key"], CA: rest["ca"], Side: "zookeeper"}, rest["server-name"])
	if err != nil {
		return nil, err
	}
	over := &tls.Dialer{NetDialer: plain, Config: config}
	return func(ctx context.Context, address string) (net.Conn, error) {
		return over.DialContext(ctx, "tcp", address)
	}, nil
}
