package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/secure"
)

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for url, want := range map[string]string{
		"etcd://h?listen=127.0.0.1:0":                                             "prefix=",
		"etcd://h/services/?listen=127.0.0.1:0&prefix=/a/":                        "path /services/",
		"etcd://me@h?listen=127.0.0.1:0&prefix=/a/":                               "user me",
		"etcd://h?listen=127.0.0.1:0&prefix=/a/&paths=x":                          `no "paths"`,
		"etcd://h?listen=127.0.0.1:0&prefix=/a/&cert=x":                           "cert and key",
		"etcds://h?listen=127.0.0.1:0&prefix=/a/&ca=/nowhere":                     "/nowhere",
		"etcd://h?listen=" + taken.Addr().String() + "&prefix=/a/":                "address already in use",
		"etcd://h?listen=127.0.0.1:0&prefix=/a/&ca=/nowhere&cert=/none&key=/none": "/no",
	} {
		u, err := hold.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q; %v", url, err, want, p)
		}
	}
}

func TestOneThatNeverRanIsClosed(t *testing.T) {
	t.Parallel()
	u, err := hold.ParseURL("etcd://127.0.0.1:1?listen=127.0.0.1:0&prefix=/a/")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	l, err := net.Listen("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestEtcdOverTLS: the application speaks to its proxy without, and that shows etcd a certificate.
func TestEtcdOverTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	s := newSecureServer(t, secure.Files{Certificate: cert, Key: key, CA: cert})
	registers := func(parameters string) error {
		p := open(t, s, parameters)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		g := &hold.Gate{Proxies: []hold.Proxy{p}}
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx, func(error) {}) }()
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err := newNaming(t, p.Addr(), 1).Register(attempt, "orders")
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		return err
	}
	if err := registers("&ca=" + cert + "&cert=" + cert + "&key=" + key); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := registers("&server-name=etcd.test&ca=" + cert + "&cert=" + cert + "&key=" + key); err != nil {
		t.Errorf("with another name: %v", err)
	}
	if err := registers("&server-name=other.test&ca=" + cert + "&cert=" + cert + "&key=" + key); err == nil {
		t.Error("etcd has another name, and is spoken to")
	}
	if err := registers("&ca=" + cert); err == nil {
		t.Error("without a certificate of ours etcd speaks to us")
	}
}

// certificate writes one that signs itself, for a server and a client.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"etcd.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
