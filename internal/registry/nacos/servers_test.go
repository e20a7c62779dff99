package nacos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// TestTheNextServer: when the one that answers is gone, everything goes on with another.
func TestTheNextServer(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"grpc", "v1"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			one, two := newServer(t), newServer(t) // of no common memory: what is listed by the second was put there
			two.kill(t)
			at := fmt.Sprintf("nacos://127.0.0.1:%d,127.0.0.1:%d?ttl=2s&api=%s", one.port, two.port, api)
			publisher, consumer := dial(t, at), follow(t, dial(t, at))
			run(t, publisher)
			put(t, publisher, someInstance("a-1", 1))
			consumer.until(t, "it is listed", lists("a-1"))
			two.start(t)
			if got := two.weight(t, someInstance("a-1", 1)); got != -1 {
				t.Fatal("the second server has it before there is need")
			}
			one.kill(t)
			consumer.until(t, "the second server has it", func(l registry.List) bool {
				return lists("a-1")(l) && two.weight(t, someInstance("a-1", 1)) == 1
			})
			put(t, publisher, someInstance("a-2", 2))
			consumer.until(t, "both are listed", lists("a-1", "a-2"))
			consumer.mu.Lock()
			defer consumer.mu.Unlock()
			if len(consumer.aways) == 0 || !errors.Is(consumer.aways[0], registry.ErrAway) {
				t.Errorf("the server was gone, and %v was told", consumer.aways)
			}
		})
	}
}

// TestRestartsAreTold before the list that follows one, however short it is: that list may lack whom nobody has taken out.
func TestRestartsAreTold(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"grpc", "v1"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			publisher, consumer := dial(t, s.url("ttl=2s&api="+api)), follow(t, dial(t, s.url("api="+api)))
			run(t, publisher)
			put(t, publisher, someInstance("a-1", 1))
			for i := range 3 { // it flaps
				consumer.until(t, "it is listed", lists("a-1"))
				before := consumer.count()
				s.kill(t)
				s.start(t)
				consumer.until(t, "there is a list of the new one", func(registry.List) bool { return consumer.count() > before })
				consumer.mu.Lock()
				told := len(consumer.aways)
				consumer.mu.Unlock()
				if told < 2*i+1 { // away and back for those before, and away
					t.Fatalf("restart %d: there is a list, and %d times it was told that Nacos is away, or back", i, told)
				}
			}
			consumer.until(t, "it is listed in the end", lists("a-1"))
		})
	}
}

// newServerWithUser starts one that asks who calls: agent, s3cret. It makes its user when it already listens, and now and then
// r-nacos fails to, with a panic in its own start: then another one is tried.
func newServerWithUser(t *testing.T) *nacosServer {
	t.Helper()
	for range 5 {
		s := newServer(t, "RNACOS_ENABLE_OPEN_API_AUTH=true", "RNACOS_INIT_ADMIN_USERNAME=agent", "RNACOS_INIT_ADMIN_PASSWORD=s3cret")
		for late := time.Now().Add(10 * time.Second); time.Now().Before(late); {
			answer, err := s.client.PostForm(fmt.Sprintf("http://127.0.0.1:%d/nacos/v1/auth/users/login", s.port), url.Values{"username": {"agent"}, "password": {"s3cret"}})
			if err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return s
				}
			}
			if pauseFor(t.Context(), 20*time.Millisecond) != nil {
				break
			}
		}
	}
	t.Fatal("r-nacos never had its user")
	return nil
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := newServerWithUser(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{"grpc", "v1"} {
		at := strings.Replace(s.url("ttl=2s&password-file="+secret+"&api="+api), "://", "://agent@", 1)
		c := dial(t, at)
		in := someInstance("a-"+api, 1)
		if err := putting(t, c, in); err != nil {
			t.Fatalf("%s: %v", api, err)
		}
		c.web.mu.Lock()
		c.web.token.text = "out of date"
		c.web.mu.Unlock()
		in.Leaving = true
		if err := putting(t, c, in); err != nil {
			t.Errorf("%s: with a token that is out of date: %v", api, err)
		}
		if err := patiently(func() error { return c.Remove(t.Context(), in.Incarnation) }); err != nil {
			t.Errorf("%s: %v", api, err)
		}
		nobody := dial(t, s.url("api="+api))
		if err := putting(t, nobody, in); err == nil {
			t.Errorf("%s: it is published by somebody who is not known", api)
		}
	}
	if err := os.WriteFile(secret, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := dial(t, strings.Replace(s.url("password-file="+secret), "://", "://agent@", 1))
	if err := putting(t, c, someInstance("b-1", 2)); err == nil || !strings.Contains(err.Error(), "log in as agent") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestOverTLS: r-nacos has none, so something stands before it that has.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pair, ca := selfSigned(t)
	port := freePair(t)
	for offset, secured := range map[int]*tls.Config{
		0:    {Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		1000: {Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}},
	} {
		l, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset), secured)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go relay(l, fmt.Sprintf("127.0.0.1:%d", s.port+offset))
	}
	for _, api := range []string{"grpc", "v1"} {
		at := fmt.Sprintf("127.0.0.1:%d?api=%s", port, api)
		c := dial(t, "nacoss://"+at+"&ca="+ca)
		if err := putting(t, c, someInstance("a-"+api, 1)); err != nil {
			t.Errorf("%s: %v", api, err)
		}
		if err := putting(t, dial(t, "nacoss://"+at), someInstance("b-"+api, 2)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: it trusts whomever: %v", api, err)
		}
	}
}

// relay passes connections on to an address, until the listener is closed.
func relay(l net.Listener, address string) {
	for {
		down, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer down.Close()
			up, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer up.Close()
			go func() {
				_, _ = io.Copy(up, down) // until either end is gone
				_ = up.Close()
			}()
			_, _ = io.Copy(down, up)
		}()
	}
}

// selfSigned returns a certificate for 127.0.0.1, and the file that says that it is to be trusted.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

// instanceAt is the nth of a service of somebody else's.
func instanceAt(service, n int, weight float64) wire.Instance {
	in := wire.NewInstance()
	in.IP, in.Port, in.Weight = fmt.Sprintf("10.%d.%d.%d", service, n/250, n%250+1), 8080, weight
	if n%100 == 0 { // r-nacos writes a whole service to its disk for each of these
		in.Metadata = map[string]string{"version": "v1", "zone": "eu-central-1a", "timestamp": "1790000000000"}
	}
	return in
}

// TestTenThousand endpoints, in services small and large: they are followed, and every change of one is.
func TestTenThousand(t *testing.T) {
	const services, large, small = 161, 2000, 50
	s := newServer(t)
	// Their connection is kept by what is asked over it.
	others := dial(t, s.url("ttl=1h"))
	consumer := follow(t, dial(t, s.url("")))
	register := func(ctx context.Context, service, n int, weight float64) error {
		of := wire.NewService("", "", fmt.Sprintf("s-%d", service))
		in := instanceAt(service, n, weight)
		return overGRPC{others}.register(ctx, of, in)
	}
	each := func(do func(service, n int) error) {
		t.Helper()
		turn, failed := make(chan [2]int), make(chan error, 8)
		for range cap(failed) {
			go func() {
				var first error
				for at := range turn {
					if err := do(at[0], at[1]); err != nil && first == nil {
						first = err
					}
				}
				failed <- first
			}()
		}
		for service := range services {
			count := small
			if service == 0 {
				count = large
			}
			for n := range count {
				turn <- [2]int{service, n}
			}
		}
		close(turn)
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	each(func(service, n int) error { return register(t.Context(), service, n, 2) })
	registered := time.Since(start)
	consumer.until(t, "all are listed", func(l registry.List) bool { return len(l.Instances) == large+small*(services-1) })
	t.Logf("%d were registered in %v, and listed %v after that, in %d lists", large+small*(services-1), registered.Round(time.Millisecond), (time.Since(start) - registered).Round(time.Millisecond), consumer.count())

	fresh := follow(t, dial(t, s.url("")))
	if l := fresh.since(0)[0]; len(l.Instances) != large+small*(services-1) || len(l.Unread) > 0 {
		t.Errorf("the first list of who comes now has %d, and %d unread", len(l.Instances), len(l.Unread))
	}
	for range 3 { // one comes and goes
		if err := register(t.Context(), 0, large, 2); err != nil {
			t.Fatal(err)
		}
		consumer.until(t, "one more is listed", func(l registry.List) bool { return len(l.Instances) == 1+large+small*(services-1) })
		if err := (overGRPC{others}).deregister(t.Context(), wire.NewService("", "", "s-0"), instanceAt(0, large, 2)); err != nil {
			t.Fatal(err)
		}
		consumer.until(t, "it is gone", func(l registry.List) bool { return len(l.Instances) == large+small*(services-1) })
	}
	before := consumer.count()
	each(func(service, n int) error { // a fifth of them change
		if service > 0 {
			return nil
		}
		return register(t.Context(), service, n, 3)
	})
	consumer.until(t, "all have their new weight", func(l registry.List) bool {
		for _, in := range l.Instances {
			if in.Labels["app"] == "s-0" && in.Weight != 3 {
				return false
			}
		}
		return len(l.Instances) == large+small*(services-1)
	})
	for _, l := range consumer.since(before) {
		if len(l.Instances) != large+small*(services-1) {
			t.Fatalf("while weights changed, %d were listed", len(l.Instances))
		}
	}
	t.Logf("a new weight for each came in %d lists", consumer.count()-before)
}
