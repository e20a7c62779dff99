package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/secure"
)

// ErrStalled is why a connection of TLS cannot be written to any more: the endpoint did not take what was sent in
// time.
var ErrStalled = secure.ErrStalled

var (
	errUnready = errors.New("the files of TLS could not be read")
	errNobody  = errors.New("the endpoint showed no certificate")
	errNoHTTP2 = errors.New("the endpoint does not speak HTTP/2: it knows no ALPN")
)

// A protocol is what a connection speaks.
type protocol int

const (
	protoHTTP1 protocol = iota
	protoHTTP2
	protocols
)

// alpn returns the protocol's name in TLS.
func (speak protocol) alpn() string {
	if speak == protoHTTP2 {
		return "h2"
	}
	return "http/1.1"
}

// A TLS is how endpoints are spoken to over TLS: what is shown to them, and what they must show. It is shared by all
// pools that go by the same settings, and connects nobody before its first Refresh.
type TLS struct {
	*secure.Credential
	spec fleet.ClientTLS
	key  string
}

// NewTLS returns what spec asks for. It has looked at no file yet.
func NewTLS(spec *fleet.ClientTLS) *TLS {
	t := &TLS{spec: *spec, key: KeyOf(spec)}
	t.Credential = secure.NewCredential(secure.Files{
		Certificate: spec.Certificate, Key: spec.Key, CA: spec.CA, Side: "endpoint",
	}, t.build)
	return t
}

// KeyOf is the same text for the same settings, "" for nil.
func KeyOf(spec *fleet.ClientTLS) string {
	if spec == nil {
		return ""
	}
	return fmt.Sprintf("%#v", *spec)
}

// Key returns KeyOf what t was made of; "" for nil.
func (t *TLS) Key() string {
	if t == nil {
		return ""
	}
	return t.key
}

// build makes the configuration that the files' contents ask for.
func (t *TLS) build(m secure.Material) *tls.Config {
	config := &tls.Config{
		ServerName: t.spec.SNI,
		RootCAs:    m.Authorities,
		MinVersion: tls.VersionTLS12,
		// A request of 10 KB is one record and one system call, not nine.
		DynamicRecordSizingDisabled: true,
	}
	if m.Pair != nil {
		// Shown to whoever asks, whichever authorities they name: it is they who refuse it, and say why.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.Pair, nil }
	}
	switch {
	case t.spec.Unverified:
		config.InsecureSkipVerify = true
	case len(t.spec.Names) > 0: // crypto/tls knows one name only, and it would be SNI
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(cs tls.ConnectionState) error { return t.verify(cs, m.Authorities) }
	}
	return config
}

// verify does what crypto/tls would, with the names that are wanted in the place of SNI. It is asked for resumed
// sessions too.
func (t *TLS) verify(cs tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errNobody
	}
	leaf, between := cs.PeerCertificates[0], x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return fmt.Errorf("the endpoint's certificate: %w", err)
	}
	if !secure.Carries(leaf, t.spec.Names) {
		return fmt.Errorf("the endpoint's certificate carries none of the names %s", strings.Join(t.spec.Names, ", "))
	}
	return nil
}

// Sessions are those that one endpoint gave out, to be resumed with what is in force now: a ticket means nothing to
// another endpoint, and under another authority it must mean nothing to us.
type sessions struct {
	of  *tls.Config
	own *tls.Config // of, with a cache of its own
}

// config returns what the pool's next handshake goes by, nil if files have never been read.
func (p *Pool) config(speak protocol) *tls.Config {
	const kept = 2 // by SNI, of which there is one
	now := p.o.TLS.Config()
	if now == nil {
		return nil
	}
	s := p.sessions[speak].Load()
	if s == nil || s.of != now {
		s = &sessions{of: now, own: now.Clone()}
		s.own.NextProtos = []string{speak.alpn()}
		s.own.ClientSessionCache = tls.NewLRUClientSessionCache(kept)
		p.sessions[speak].Store(s) // of two at once, one is forgotten with the sessions that it holds
	}
	return s.own
}

// shake speaks TLS over raw and agrees there on what is spoken. The handshake ends with ctx.
func (p *Pool) shake(ctx context.Context, raw net.Conn, speak protocol) (net.Conn, *wire, error) {
	config := p.config(speak)
	if config == nil {
		return nil, nil, errors.Join(errUnready, p.o.TLS.Err())
	}
	w := &wire{Conn: raw}
	c := tls.Client(w, config)
	if err := c.HandshakeContext(ctx); err != nil { // one that knows ALPN and speaks nothing that is offered says so here
		return nil, nil, fmt.Errorf("TLS handshake for %s: %w", config.ServerName, err)
	}
	if speak == protoHTTP2 && c.ConnectionState().NegotiatedProtocol != speak.alpn() {
		return nil, nil, errNoHTTP2
	}
	return secure.Conn{Conn: c}, w, nil
}

// A wire is what TLS runs over. Whoever reads from it while it is dry finds nothing there.
type wire struct {
	net.Conn
	dry bool
}

func (w *wire) Read(b []byte) (int, error) {
	if w.dry {
		return 0, os.ErrDeadlineExceeded // after which TLS can be read on
	}
	return w.Conn.Read(b)
}

// drained says whether TLS holds nothing that it has read and nobody has asked for: an answer too many, or the
// other side's leave.
func (w *wire) drained(c *Conn) bool {
	w.dry = true
	n, err := c.Conn.Read(c.scratch[:])
	w.dry = false
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}
