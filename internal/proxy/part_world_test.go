package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// A secured is a Secured on crypto/tls alone.
type secured struct {
	*tls.Conn
	raw net.Conn
}

func (s *secured) Shake(ctx context.Context, by time.Time) error {
	_ = s.raw.SetDeadline(by)
	if err := s.HandshakeContext(ctx); err != nil {
		return err
	}
	return s.raw.SetDeadline(time.Time{})
}

func (s *secured) Serves([]byte) bool { return true }

func (s *secured) Abort() {
	if tcp, ok := s.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = s.raw.Close()
}

// newSecureWorld is newWorld, whose clients speak TLS where secure says so.
func newSecureWorld(t testing.TB, secure bool, o Options, addresses ...string) *world {
	t.Helper()
	w := newWorld(t, o, addresses...)
	if !secure {
		return w
	}
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	s.Close()
	w.tls.Store(&tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	return w
}

// dialAny opens a connection in whatever the world speaks, with which protocol.
func (w *world) dialAny(protocol string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.tls.Load() != nil {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12}) //nolint:gosec // it is our own
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// A raw is a client of HTTP/1.1, in the clear or not.
type raw struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (w *world) dialRaw() *raw {
	w.t.Helper()
	c := w.dialAny("http/1.1")
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &raw{w.t, c, bufio.NewReader(c)}
}

func (c *raw) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// dialH2 opens a connection of HTTP/2 in whatever the world speaks.
func (w *world) dialH2() *http2.Client {
	w.t.Helper()
	c := w.dialAny("h2")
	if s, ok := c.(*tls.Conn); ok {
		if err := s.Handshake(); err != nil {
			w.t.Fatal(err)
		}
	}
	h2 := http2.NewClient(c, &http2.Options{})
	done := make(chan error, 1)
	go func() { done <- h2.Run() }()
	w.t.Cleanup(func() {
		h2.Close()
		<-done
	})
	return h2
}

// part parts every connection.
func (w *world) part(long bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		c.Part(long)
	}
}

// openNow returns what all connections say is open.
func (w *world) openNow() (requests, long int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		r, l := c.Open()
		requests, long = requests+r, long+l
	}
	return requests, long
}

// wantTally waits until every connection has ended and checks what was counted, and that the counts agree with each
// other, with the listener's and with what Serve said.
func (w *world) wantTally(want map[drain.Protocol]drain.Count) {
	w.t.Helper()
	eventually(w.t, "the connections have ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.live) == 0
	})
	w.wantConserved()
	tally := w.p.Tally()
	var opened uint64
	for p := range tally {
		protocol, c := drain.Protocol(p), tally[p]
		if c != want[protocol] {
			w.t.Errorf("%s: got %+v, want %+v", protocol, c, want[protocol])
		}
		if c.Opened != uint64(c.Open)+c.Completed+c.Failed+c.Cut {
			w.t.Errorf("%s: got %+v, which does not add up", protocol, c)
		}
		opened += c.Opened
	}
	if total := w.listener().Traffic.Requests.Total.Load(); total != opened {
		w.t.Errorf("got %d requests opened, the listener counted %d", opened, total)
	}
	if lost := w.lost.Load(); lost != int64(tally.Lost()) {
		w.t.Errorf("got %d requests cut, Serve said %d", tally.Lost(), lost)
	}
}

// browser is a client on net/http that speaks whatever the world speaks.
func (w *world) browser(version fleet.HTTP) (c *http.Client, url string) {
	c = w.client(version)
	t, ok := c.Transport.(*http.Transport)
	if w.tls.Load() == nil || !ok {
		return c, "http://" + w.addr
	}
	t.Protocols.SetHTTP2(version == fleet.HTTP2)
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // it is our own
	return c, "https://" + w.addr
}

// forAll runs a test for each version that clients and endpoints may speak, in the clear and over TLS.
func forAll(t *testing.T, test func(t *testing.T, secure bool, asks, answers fleet.HTTP)) {
	t.Helper()
	for _, asks := range versions {
		for _, answers := range versions {
			forSecurity(t, func(t *testing.T, secure bool) {
				t.Helper()
				t.Run(fmt.Sprintf("%s to %s", asks, answers), func(t *testing.T) { test(t, secure, asks, answers) })
			})
		}
	}
}
