package serve

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/secure"
)

var (
	errUnready   = errors.New("no certificate could be read for this name")
	errPlaintext = errors.New("the listener speaks plaintext now")
)

// A secured is a client's connection that speaks TLS; it is a proxy.Secured.
type secured struct {
	secure.Conn
	k     *socket
	raw   net.Conn
	place *list.Element // among k's handshakes; k's lock guards it

	// Of Shake, and not changed after it.
	name   []byte // SNI; empty for none
	demand string // what the client has proved

	here atomic.Pointer[standing] // as the latest Serves found it
}

// A standing is which server answers for a connection in a front; nil if none does. It is immutable.
type standing struct {
	in  *front
	own *server
}

// A wire is what a secured's TLS runs over.
type wire struct {
	net.Conn
	owner *secured
}

// secure makes nc speak TLS. Its handshake begins with Shake, off the accept loop.
func (k *socket) secure(nc net.Conn) *secured {
	c := &secured{k: k, raw: nc}
	c.Conn = secure.Conn{Conn: tls.Server(&wire{nc, c}, k.tls)}
	return c
}

// newTLS returns what every handshake begins with: only the name that the client asks for says how it goes on.
func newTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true, // identities have their own keys
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			w, ok := hello.Conn.(*wire)
			if !ok {
				return nil, errUnready
			}
			return w.owner.choose(hello.ServerName)
		},
	}
}

// choose returns how the handshake with a client that asks for name goes on. A configuration without a
// certificate has crypto/tls answer with the alert unrecognized_name.
func (c *secured) choose(name string) (*tls.Config, error) {
	f := c.k.front.Load()
	if f == nil {
		return nil, errPlaintext
	}
	c.name = []byte(name)
	s := f.find(c.name)
	if s == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	config := s.Config()
	if config == nil {
		return nil, errUnready
	}
	c.demand = s.demand
	return config, nil
}

// Shake implements proxy.Secured.
func (c *secured) Shake(ctx context.Context, by time.Time) error {
	defer c.k.shaken(c)
	_ = c.raw.SetDeadline(by)                             // a closed connection says so when it is read
	err := c.HandshakeContext(context.WithoutCancel(ctx)) // its deadline ends it, or Abort
	if err == nil {
		return c.raw.SetDeadline(time.Time{})
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		c.part(err, by)
	}
	return err
}

// part lets a client that was refused read why: a connection that is closed with bytes unread is reset, and the
// reset may overtake the alert. A client that spoke HTTP in the clear is told in its own words.
func (c *secured) part(why error, by time.Time) {
	const (
		patience = time.Second
		most     = 64 << 10
	)
	if limit := time.Now().Add(patience); limit.Before(by) {
		_ = c.raw.SetDeadline(limit)
	}
	var header tls.RecordHeaderError
	if errors.As(why, &header) && header.Conn != nil && 'A' <= header.RecordHeader[0] && header.RecordHeader[0] <= 'Z' {
		_, _ = c.raw.Write(http1.AppendAnswer(nil, &http1.Answer{
			Status: 400, Body: []byte("Bad Request: this port speaks HTTPS, and this was HTTP.\n"), Close: true,
		}))
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c.raw, most)
	}
}

// Serves implements proxy.Secured. Requests of one connection may ask at once.
func (c *secured) Serves(authority []byte) bool {
	f := c.k.front.Load()
	if f == nil {
		return true // and anybody may have it in the clear
	}
	here := c.here.Load()
	if here == nil || here.in != f {
		here = &standing{in: f, own: f.find(c.name)}
		c.here.Store(here)
	}
	s := f.find(nameOf(authority))
	return s != nil && s == here.own && (s.demand == "" || s.demand == c.demand)
}

// Abort implements proxy.Secured.
func (c *secured) Abort() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.raw.Close()
}

// shaking notes that a handshake begins. When there are too many, the oldest is ended: somebody who is in
// earnest is done in a moment, and those who only hold connections open shall not keep others out.
func (k *socket) shaking(c *secured) {
	k.mu.Lock()
	var oldest *secured
	if k.handshakes.Len() >= k.s.o.MaxHandshakes {
		first := k.handshakes.Front()
		if oldest, _ = first.Value.(*secured); oldest != nil {
			oldest.place = nil
		}
		k.handshakes.Remove(first)
	}
	c.place = k.handshakes.PushBack(c)
	k.mu.Unlock()
	if oldest != nil {
		oldest.Abort()
	}
}

func (k *socket) shaken(c *secured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.place != nil {
		k.handshakes.Remove(c.place)
		c.place = nil
	}
}
