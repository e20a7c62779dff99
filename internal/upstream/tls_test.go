package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// A speaker is an endpoint of TLS that answers every line with the same line.
type speaker struct {
	addr    netip.AddrPort
	config  atomic.Pointer[tls.Config]
	resumed atomic.Int64 // handshakes that were resumed
	asked   atomic.Pointer[string]
	answer  func(*tls.Conn, string) error
	wrap    func(net.Conn) net.Conn // nil: as it is
}

func speak(tb testing.TB, config *tls.Config) *speaker {
	tb.Helper()
	return speakAs(tb, config, nil, func(c *tls.Conn, line string) error {
		_, err := io.WriteString(c, line)
		return err
	})
}

// speakAs is speak with connections and answers of another kind.
func speakAs(tb testing.TB, config *tls.Config, wrap func(net.Conn) net.Conn, answer func(*tls.Conn, string) error) *speaker {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &speaker{addr: netip.MustParseAddrPort(l.Addr().String()), wrap: wrap, answer: answer}
	s.config.Store(config)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(nc)
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return s
}

func (s *speaker) serve(nc net.Conn) {
	defer nc.Close()
	if s.wrap != nil {
		nc = s.wrap(nc)
	}
	c := tls.Server(nc, s.config.Load())
	if c.Handshake() != nil {
		return
	}
	cs := c.ConnectionState()
	s.asked.Store(&cs.ServerName)
	if cs.DidResume {
		s.resumed.Add(1)
	}
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil || s.answer(c, line) != nil {
			return
		}
	}
}

// ask sends a line and reads it back.
func ask(c *Conn, line string) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	for len(c.Buffer.Bytes()) < len(line)+1 {
		if n, err := c.Buffer.Fill(c, 1<<16); n == 0 {
			return err
		}
	}
	if got := string(c.Buffer.Bytes()); got != line+"\n" {
		return fmt.Errorf("got %q, want %q", got, line)
	}
	c.Buffer.Skip(len(line) + 1)
	return nil
}

// secured returns a pool of connections to s as spec says.
func secured(tb testing.TB, s *speaker, spec *fleet.ClientTLS) (*Pool, *evidence.Traffic) {
	tb.Helper()
	traffic, t := new(evidence.Traffic), NewTLS(spec)
	t.Refresh(time.Now())
	if err := t.Err(); err != nil {
		tb.Fatal(err)
	}
	p := New(s.addr, Options{TLS: t}, traffic)
	tb.Cleanup(p.Close)
	return p, traffic
}

// once connects, asks, and puts the connection back.
func once(tb testing.TB, p *Pool, fresh bool) error {
	tb.Helper()
	c, err := p.Get(tb.Context(), time.Now(), time.Time{}, fresh)
	if err != nil {
		return err
	}
	if err := ask(c, "hello"); err != nil {
		_ = c.Close()
		p.Put(c, time.Now())
		return err
	}
	p.Put(c, time.Now())
	return nil
}

func TestEndpointsMustBeWhoTheyShouldBe(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	good, certificate, key := ca.issue(nil, "good", "shop.test", "*.wild.test", "spiffe://mesh/shop", "10.1.2.3")
	old, _, _ := ca.issue(expired, "old", "shop.test")
	foreign, foreignCertificate, foreignKey := other.issue(nil, "foreign", "shop.test")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := func(pair tls.Certificate) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: version}
		}
		demanding := server(good)
		demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		ancient := server(good)
		ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		mail := server(good)
		mail.NextProtos = []string{"smtp"}
		spec := func(change func(*fleet.ClientTLS)) *fleet.ClientTLS {
			s := &fleet.ClientTLS{SNI: "shop.test", CA: ca.file}
			if change != nil {
				change(s)
			}
			return s
		}
		none := "certificate required"
		if version == tls.VersionTLS12 {
			none = "handshake failure"
		}
		for _, c := range []struct {
			what   string
			server *tls.Config
			spec   *fleet.ClientTLS
			want   string // in the error; "" is success
		}{
			{"simple", server(good), spec(nil), ""},
			{"a wildcard", server(good), spec(func(s *fleet.ClientTLS) { s.SNI = "a.wild.test" }), ""},
			{"an address", server(good), spec(func(s *fleet.ClientTLS) { s.SNI = "10.1.2.3" }), ""},
			{"another name", server(good), spec(func(s *fleet.ClientTLS) { s.SNI = "till.test" }), "not till.test"},
			{"another authority", server(foreign), spec(nil), "certificate signed by unknown authority"},
			{"no authority but the system's", server(good), spec(func(s *fleet.ClientTLS) { s.CA = "" }), "certificate signed by unknown authority"},
			{"expired", server(old), spec(nil), "certificate has expired"},
			{"a name of several", server(good), spec(func(s *fleet.ClientTLS) { s.SNI, s.Names = "till.test", []string{"x", "spiffe://mesh/shop"} }), ""},
			{"an address by name", server(good), spec(func(s *fleet.ClientTLS) { s.Names = []string{"10.1.2.3"} }), ""},
			{"none of the names", server(good), spec(func(s *fleet.ClientTLS) { s.Names = []string{"till.test", "10.1.2.4"} }), "the endpoint's certificate carries none of the names till.test, 10.1.2.4"},
			{"names, another authority", server(foreign), spec(func(s *fleet.ClientTLS) { s.Names = []string{"shop.test"} }), "certificate signed by unknown authority"},
			{"names, expired", server(old), spec(func(s *fleet.ClientTLS) { s.Names = []string{"shop.test"} }), "certificate has expired"},
			{"unverified", server(foreign), spec(func(s *fleet.ClientTLS) { s.CA, s.SNI, s.Unverified = "", "till.test", true }), ""},
			{"a certificate that nobody asks for", server(good), spec(func(s *fleet.ClientTLS) { s.Certificate, s.Key = certificate, key }), ""},
			{"mutual", demanding, spec(func(s *fleet.ClientTLS) { s.Certificate, s.Key = certificate, key }), ""},
			{"mutual without", demanding, spec(nil), none},
			{"mutual of another authority", demanding, spec(func(s *fleet.ClientTLS) { s.Certificate, s.Key = foreignCertificate, foreignKey }), "unknown certificate authority"},
			{"an endpoint of the past", ancient, spec(nil), "protocol version"},
			{"an endpoint of another protocol", mail, spec(nil), "no application protocol"},
		} {
			s := speak(t, c.server)
			p, traffic := secured(t, s, c.spec)
			err := once(t, p, false)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s, %s: %v", tls.VersionName(version), c.what, err)
			case c.want == "" && *s.asked.Load() != c.spec.SNI && net.ParseIP(c.spec.SNI) == nil:
				t.Errorf("%s: asked for %q, want %q", c.what, *s.asked.Load(), c.spec.SNI)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s, %s: got %v, want %q", tls.VersionName(version), c.what, err, c.want)
			case errors.Is(err, ErrConnect) != (traffic.ConnectFail.Load() == 1): // a client of TLS 1.3 hears of its own refusal later
				t.Errorf("%s: got %v and %d failures to connect", c.what, err, traffic.ConnectFail.Load())
			}
			if err != nil {
				wantOpen(t, p, 0, 0, 0)
			}
		}
	}
}

func TestSessionsWithEndpointsAreResumed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, names := range [][]string{nil, {"shop.test"}} {
			dir := t.TempDir()
			ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
			first, _, _ := ca.issue(nil, "first", "shop.test")
			s := speak(t, &tls.Config{Certificates: []tls.Certificate{first}, MaxVersion: version})
			p, traffic := secured(t, s, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file, Names: names})
			for range 4 {
				if err := once(t, p, true); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.resumed.Load(); got != 3 || traffic.Connects.Load() != 4 {
				t.Errorf("%s: got %d of %d handshakes resumed, want 3 of 4", tls.VersionName(version), got, traffic.Connects.Load())
			}
			// Who was believed for the sake of another authority is not let in by an old session.
			ca.write("ca.pem", "CERTIFICATE", other.cert.Raw)
			p.TLS().Refresh(time.Now())
			if err := once(t, p, true); err == nil || !strings.Contains(err.Error(), "unknown authority") {
				t.Errorf("%s: got %v, want the endpoint refused", tls.VersionName(version), err)
			}
			if got := s.resumed.Load(); got != 3 {
				t.Errorf("%s: got %d resumed, want no more than 3", tls.VersionName(version), got)
			}
		}
	}
}

// Connections outlive their endpoint's certificate, and new ones meet what the endpoint shows now.
func TestAnEndpointComesBackWithAnotherCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	first, _, _ := ca.issue(nil, "first", "shop.test")
	second, _, _ := ca.issue(nil, "second", "shop.test")
	wrong, _, _ := other.issue(nil, "wrong", "shop.test")
	s := speak(t, &tls.Config{Certificates: []tls.Certificate{first}})
	p, traffic := secured(t, s, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file})
	for _, c := range []struct {
		pair  tls.Certificate
		fresh bool
		fails bool
	}{{first, false, false}, {second, false, false}, {second, true, false}, {wrong, false, false}, {wrong, true, true}, {first, true, false}} {
		s.config.Store(&tls.Config{Certificates: []tls.Certificate{c.pair}}) // its keys for sessions are new, too
		if err := once(t, p, c.fresh); (err != nil) != c.fails || c.fails && !errors.Is(err, ErrConnect) {
			t.Errorf("got %v, want an error: %v", err, c.fails)
		}
	}
	if got := traffic.ConnectFail.Load(); got != 1 || s.resumed.Load() != 0 {
		t.Errorf("got %d failures, %d sessions resumed; want 1 and 0", got, s.resumed.Load())
	}
}

func TestFilesForEndpointsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	shown, _, _ := ca.issue(nil, "shown", "shop.test")
	_, certificate, key := other.issue(nil, "ours", "gateway")
	demanding := &tls.Config{Certificates: []tls.Certificate{shown}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool()}
	s := speak(t, demanding)
	p, _ := secured(t, s, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file, Certificate: certificate, Key: key})
	if err := once(t, p, true); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("got %v, want our certificate refused", err)
	}
	ca.issue(nil, "ours", "gateway")
	p.TLS().Refresh(time.Now())
	if err := once(t, p, true); err != nil {
		t.Errorf("the new pair: %v", err)
	}
	if err := os.WriteFile(key, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := p.TLS().Refresh(time.Now()); !c.Failed || p.TLS().Err() == nil || !strings.Contains(p.TLS().Err().Error(), key) {
		t.Errorf("got %v and %+v, want the file named", p.TLS().Err(), c)
	}
	if err := once(t, p, true); err != nil {
		t.Errorf("with the last good pair: %v", err)
	}
}

func TestFilesForEndpointsThatAreMissingAtTheStart(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	shown, _, _ := ca.issue(nil, "shown", "shop.test")
	s := speak(t, &tls.Config{Certificates: []tls.Certificate{shown}})
	way := NewTLS(&fleet.ClientTLS{SNI: "shop.test", CA: dir + "/late.pem"})
	traffic := new(evidence.Traffic)
	p := New(s.addr, Options{TLS: way}, traffic)
	defer p.Close()
	for _, looked := range []bool{false, true} {
		if looked {
			way.Refresh(time.Now())
		}
		_, err := p.Get(t.Context(), time.Now(), time.Time{}, false)
		if !errors.Is(err, ErrConnect) || looked && !strings.Contains(err.Error(), "late.pem") {
			t.Errorf("got %v, want no connection and the file named once it was looked for", err)
		}
	}
	ca.write("late.pem", "CERTIFICATE", ca.cert.Raw)
	way.Refresh(time.Now())
	if err := once(t, p, false); err != nil || way.Err() != nil {
		t.Errorf("got %v, %v, want the file found", err, way.Err())
	}
	if got := traffic.ConnectFail.Load(); got != 2 {
		t.Errorf("got %d failures to connect, want 2", got)
	}
}

// An endpoint that accepts and says nothing holds a request for no longer than any other.
func TestAHandshakeIsBounded(t *testing.T) {
	e := listen(t)
	way := NewTLS(&fleet.ClientTLS{SNI: "shop.test", Unverified: true})
	way.Refresh(time.Now())
	traffic := new(evidence.Traffic)
	p := New(e.addr, Options{TLS: way, ConnectTimeout: 30 * time.Millisecond}, traffic)
	defer p.Close()
	_, err := p.Get(t.Context(), time.Now(), time.Time{}, false)
	if !errors.Is(err, ErrConnect) || traffic.ConnectFail.Load() != 1 {
		t.Errorf("got %v and %d failures, want one to connect", err, traffic.ConnectFail.Load())
	}
	wantOpen(t, p, 0, 0, 0)
	if _, err := (<-e.conns).Read(make([]byte, 1)); err != nil {
		t.Errorf("the endpoint heard %v, want a hello", err)
	}
}

// Connections that wait are looked at before they are used: bytes that TLS holds back are not seen on the socket.
func TestLivenessUnderTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	shown, _, _ := ca.issue(nil, "shown", "shop.test")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			what   string
			answer func(c *tls.Conn, w *burst, line string) error
			reuse  bool
		}{
			{"nothing more", func(c *tls.Conn, _ *burst, line string) error {
				_, err := io.WriteString(c, line)
				return err
			}, true},
			{"its leave in the same breath", func(c *tls.Conn, w *burst, line string) error {
				w.held = true
				_, _ = io.WriteString(c, line)
				_ = c.CloseWrite()
				return w.release()
			}, false},
			{"an answer too many in the same breath", func(c *tls.Conn, w *burst, line string) error {
				w.held = true
				_, _ = io.WriteString(c, line)
				_, _ = io.WriteString(c, line)
				return w.release()
			}, false},
		} {
			s := speakAs(t, &tls.Config{Certificates: []tls.Certificate{shown}, MaxVersion: version},
				func(nc net.Conn) net.Conn { return &burst{Conn: nc} },
				func(nc *tls.Conn, line string) error {
					w, ok := nc.NetConn().(*burst)
					if !ok {
						return errors.New("no burst")
					}
					return c.answer(nc, w, line)
				})
			p, traffic := secured(t, s, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file})
			for i := range 2 {
				if err := once(t, p, false); err != nil {
					t.Errorf("%s, %s, request %d: %v", tls.VersionName(version), c.what, i, err)
				}
			}
			want := uint64(2)
			if c.reuse {
				want = 1
			}
			if got := traffic.Connects.Load(); got != want {
				t.Errorf("%s, %s: got %d connections for 2 requests, want %d", tls.VersionName(version), c.what, got, want)
			}
		}
	}
}

// A burst sends what was written while it was held at once.
type burst struct {
	net.Conn
	held bool
	kept []byte
}

func (b *burst) Write(p []byte) (int, error) {
	if !b.held {
		return b.Conn.Write(p)
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

func (b *burst) release() error {
	_ = b.SetWriteDeadline(time.Time{}) // whoever has taken leave over TLS has set one
	_, err := b.Conn.Write(b.kept)
	b.held, b.kept = false, nil
	return err
}
