package serve_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// An authority signs certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	last int64 // serial number
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), last: 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A leaf is a certificate with its key.
type leaf struct {
	cert, key []byte // PEM
	serial    string
}

// issue signs a certificate for names: DNS names, URIs and IP addresses. change may be nil.
func (a *authority) issue(change func(*x509.Certificate), names ...string) leaf {
	a.t.Helper()
	a.last++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	if change != nil {
		change(c)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return leaf{
		cert:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		serial: c.SerialNumber.String(),
	}
}

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

// pair is the leaf as a client shows it.
func (l leaf) pair(t testing.TB) tls.Certificate {
	t.Helper()
	p, err := tls.X509KeyPair(l.cert, l.key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pool trusts only a.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// A folder holds the files of a test's servers.
type folder struct {
	t    testing.TB
	path string
}

func newFolder(t testing.TB) folder {
	t.Helper()
	return folder{t, t.TempDir()}
}

// write replaces a file at once.
func (f folder) write(name string, data []byte) string {
	f.t.Helper()
	path := filepath.Join(f.path, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// put writes a leaf as name.crt and name.key, the key first.
func (f folder) put(name string, l leaf) (certificate, key string) {
	f.t.Helper()
	key = f.write(name+".key", l.key)
	return f.write(name+".crt", l.cert), key
}

// server is a fleet.ServerTLS for hosts, with a certificate for them from a.
func (f folder) server(a *authority, hosts ...string) fleet.ServerTLS {
	f.t.Helper()
	names := hosts
	if hosts[0] == "*" {
		names = []string{"anybody", "127.0.0.1"}
	}
	name := "server-" + hosts[0]
	if hosts[0][0] == '*' {
		name = "server-any" + hosts[0][1:]
	}
	certificate, key := f.put(name, a.issue(nil, names...))
	return fleet.ServerTLS{Hosts: hosts, Certificate: certificate, Key: key}
}

// mutual has s ask for clients' certificates that a signed.
func (f folder) mutual(s fleet.ServerTLS, a *authority, names ...string) fleet.ServerTLS {
	f.t.Helper()
	s.ClientCA = f.write("clients-"+filepath.Base(s.Certificate), a.pem)
	s.ClientNames = names
	return s
}

// secure is view with one listener, "a", that speaks TLS.
func secure(e string, servers ...fleet.ServerTLS) fleet.View {
	v := view(e, "a", anyPort)
	v.Listeners[0].TLS = servers
	return v
}

// unchecked is for clients that want to see whatever certificate there is.
func unchecked(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // the test looks at the certificate
}

// dialTLS connects and shakes hands.
func dialTLS(addr string, config *tls.Config) (*client, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(nc, config)
	if err := c.Handshake(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return &client{c, bufio.NewReader(c)}, nil
}

func mustDialTLS(t testing.TB, addr string, config *tls.Config) *client {
	t.Helper()
	c, err := dialTLS(addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// state is that of a connection that dialTLS made.
func (c *client) state() tls.ConnectionState {
	if s, ok := c.Conn.(*tls.Conn); ok {
		return s.ConnectionState()
	}
	return tls.ConnectionState{}
}

// serial is that of the certificate that the gateway showed.
func (c *client) serial() string { return c.state().PeerCertificates[0].SerialNumber.String() }
