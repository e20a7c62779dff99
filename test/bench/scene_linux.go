package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// host is what every request of a scene with one route is for.
const host = "bench.test"

// window is how long an endpoint warms up.
const window = 20 * time.Second

// A protocol is what clients speak with a proxy, and the proxy with the endpoints.
type protocol int

const (
	http1 protocol = iota
	http2          // from end to end
	grpc           // likewise
)

// A scene is the world that all peers are configured for.
type scene struct {
	name     string
	protocol protocol
	routes   int  // hosts that are routed
	members  int  // endpoints
	warming  int  // of these, the last: they are warming while it is measured
	tls      bool // clients come with TLS
}

// hosts are the names that the scene routes.
func (s scene) hosts() []string {
	if s.routes == 1 {
		return []string{host}
	}
	all := make([]string, s.routes)
	for i := range all {
		all[i] = fmt.Sprintf("h%04d.%s", i, host)
	}
	return all
}

// firstEndpoint is the port of the first endpoint; the others follow it.
const firstEndpoint = 20000

func (s scene) endpoints() []int {
	all := make([]int, s.members)
	for i := range all {
		all[i] = firstEndpoint + i
	}
	return all
}

// A pair is a certificate and its key, as files.
type pair struct {
	certificate, key, both string
	roots                  *x509.CertPool
}

// newPair makes a certificate for all hosts, good for a day.
func newPair(dir string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host, "*." + host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	p := pair{
		certificate: filepath.Join(dir, "bench.crt"), key: filepath.Join(dir, "bench.key"), both: filepath.Join(dir, "bench.pem"),
		roots: x509.NewCertPool(),
	}
	p.roots.AppendCertsFromPEM(certPEM)
	return p, errors.Join(
		os.WriteFile(p.certificate, certPEM, 0o600),
		os.WriteFile(p.key, keyPEM, 0o600),
		os.WriteFile(p.both, append(certPEM, keyPEM...), 0o600),
	)
}

func (p pair) client(over protocol) *tls.Config {
	c := &tls.Config{RootCAs: p.roots, ServerName: host, MinVersion: tls.VersionTLS13}
	if over != http1 {
		c.NextProtos = []string{"h2"}
	}
	return c
}
