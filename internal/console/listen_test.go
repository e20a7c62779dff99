package console

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// certificate is one for loopback, with those who trust it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, pool
}

func TestOffLoopbackEverybodyLogsInOverTLS(t *testing.T) {
	secure, _ := certificate(t)
	tokens, oidc := &Access{Tokens: "tokens"}, &Access{OIDC: &OIDC{}}
	for _, c := range []struct {
		address string
		secure  *tls.Config
		access  *Access
		refused bool
	}{
		{"127.0.0.1:0", nil, &Access{}, false},
		{"localhost:0", nil, &Access{}, false},
		{"127.0.0.1:0", secure, tokens, false},
		{"0.0.0.0:0", nil, &Access{}, true},
		{"0.0.0.0:0", secure, &Access{}, true},
		{"0.0.0.0:0", nil, tokens, true},
		{":0", nil, oidc, true},
		{"[::]:0", nil, &Access{}, true},
		{"0.0.0.0:0", secure, tokens, false},
		{"0.0.0.0:0", secure, oidc, false},
	} {
		l, err := Listen(t.Context(), c.address, c.secure, c.access)
		if errors.Is(err, ErrOpen) != c.refused || err != nil && !c.refused {
			t.Errorf("%s, TLS %t, %+v: got %v", c.address, c.secure != nil, c.access, err)
		}
		if l != nil {
			l.Close()
		}
	}
}

// Over TLS the page comes by HTTP/2: one connection carries as many streams as somebody has pages open.
func TestServedOverTLS(t *testing.T) {
	secure, trusted := certificate(t)
	access := Access{Tokens: twoTokens(t), Secure: true}
	l, err := Listen(t.Context(), "127.0.0.1:0", secure, &access)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, access)
	w.listener, w.Log = l, slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+l.Addr().String()+"/api/v1/session", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+annaToken)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("got %d over %s with %q: %s, %v", resp.StatusCode, resp.Proto, resp.Header, body, err)
	}
	client.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Those beyond the bound wait for a place, and get it when somebody leaves.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		few := &fewConns{Listener: p, open: make(chan struct{}, 2)}
		accepted := make(chan net.Conn)
		go func() {
			for {
				conn, err := few.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- conn
			}
		}()
		p.dial()
		first := <-accepted
		p.dial()
		second := <-accepted
		arrived := make(chan struct{})
		go func() {
			p.dial()
			close(arrived)
		}()
		synctest.Wait()
		select {
		case <-arrived:
			t.Error("there is a third")
		default:
		}
		first.Close()
		first.Close() // gives up one place, not two
		third := <-accepted
		if got := len(few.open); got != 2 {
			t.Errorf("%d are open, want 2", got)
		}
		second.Close()
		third.Close()
		p.Close()
	})
}
