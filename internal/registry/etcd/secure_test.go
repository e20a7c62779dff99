package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// An authority signs certificates.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.ca(), "CERTIFICATE", der)
	return a
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

// issue writes a certificate and its key.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"etcd.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "EC PRIVATE KEY", keyDER)
	return cert, key
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func someInstance(incarnation string) fleet.Instance {
	return fleet.Instance{Name: incarnation, Namespace: "default", Incarnation: incarnation, Address: netip.MustParseAddr("127.1.0.1"), Weight: 1, Ready: true}
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestOverTLSOnlyThoseWithACertificate(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.issue(t, "server")
	address := freePort(t)
	newServer(t, "https://"+address, secure.Files{Certificate: serverCert, Key: serverKey, CA: ours.ca()})
	cert, key := ours.issue(t, "agent")
	good := "?ttl=1h&ca=" + ours.ca() + "&cert=" + cert + "&key=" + key
	if err := dial(t, "etcd://"+address+good).Put(t.Context(), someInstance("a-1")); err != nil {
		t.Fatalf("with a certificate: %v", err)
	}
	if err := dial(t, "etcd://"+address+good+"&server-name=etcd.test").Put(t.Context(), someInstance("a-1")); err != nil {
		t.Fatalf("by its other name: %v", err)
	}
	foreignCert, foreignKey := theirs.issue(t, "agent")
	for name, url := range map[string]string{
		"without TLS":                       "etcd://" + address,
		"without a certificate":             "etcd://" + address + "?ca=" + ours.ca(),
		"with somebody else's":              "etcd://" + address + "?ca=" + ours.ca() + "&cert=" + foreignCert + "&key=" + foreignKey,
		"trusting somebody else":            "etcd://" + address + "?ca=" + theirs.ca() + "&cert=" + cert + "&key=" + key,
		"looking for somebody else":         "etcd://" + address + good + "&server-name=somebody.else",
		"trusting what this machine trusts": "etcds://" + address,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := dial(t, url).Put(ctx, someInstance("a-2")); !errors.Is(err, registry.ErrAway) {
			t.Errorf("%s: %v, want that it is away", name, err)
		}
		cancel()
	}
	f, err := dial(t, "etcd://"+address+good).read(t.Context(), "instances", "/crossfade/instances/")
	if err != nil || len(f) != 1 || f["a-1"] == nil {
		t.Errorf("there are %v, %v; want a-1 alone", f, err)
	}
}

// TestARenewedCertificateIsUsed: the files are read again with every connection.
func TestARenewedCertificateIsUsed(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.issue(t, "server")
	address := freePort(t)
	newServer(t, "https://"+address, secure.Files{Certificate: serverCert, Key: serverKey, CA: ours.ca()})
	cert, key := theirs.issue(t, "agent") // not one that is let in
	c := dial(t, "etcd://"+address+"?ca="+ours.ca()+"&cert="+cert+"&key="+key)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Put(ctx, someInstance("a-1")); !errors.Is(err, registry.ErrAway) {
		t.Fatalf("before: %v, want that it is away", err)
	}
	theirs.cert, theirs.key = ours.cert, ours.key
	theirs.issue(t, "agent")
	late, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	for {
		err := c.Put(t.Context(), someInstance("a-1"))
		if err == nil {
			return
		}
		if late.Err() != nil {
			t.Fatalf("after: %v", err)
		}
	}
}

// TestUsers: etcd asks for a password, and lets the agents' user write to instances only.
func TestUsers(t *testing.T) {
	s := newServer(t, "http://"+freePort(t), secure.Files{})
	address := strings.TrimPrefix(s.listen, "http://")
	admin := raw(t, dial(t, "etcd://"+address))
	ctx := t.Context()
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(admin.UserAdd(ctx, "root", "root"))
	do(admin.UserGrantRole(ctx, "root", "root"))
	do(admin.UserAdd(ctx, "agent", "s3cret"))
	do(admin.RoleAdd(ctx, "agents"))
	do(admin.RoleGrantPermission(ctx, "agents", "/crossfade/instances/", clientv3.GetPrefixRangeEnd("/crossfade/instances/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	do(admin.UserGrantRole(ctx, "agent", "agents"))
	do(admin.AuthEnable(ctx))

	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := dial(t, "etcd://agent@"+address+"?ttl=1h&password-file="+password)
	put := func(c *Client, incarnation string) { // etcd takes its time over passwords
		t.Helper()
		late, cancel := context.WithTimeout(ctx, waitFor)
		defer cancel()
		err := c.Put(late, someInstance(incarnation))
		for errors.Is(err, registry.ErrAway) && late.Err() == nil {
			err = c.Put(late, someInstance(incarnation))
		}
		do(nil, err)
	}
	put(agent, "a-1")
	if err := agent.PutLifecycle(ctx, "default", "mine", "{}"); err == nil || errors.Is(err, registry.ErrAway) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("an agent writes a Lifecycle: %v, want permission denied", err)
	}
	t.Setenv(registry.PasswordEnv, "wrong")
	if err := dial(t, "etcd://agent@"+address).Put(ctx, someInstance("a-2")); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("with a wrong password: %v, want that it fails", err)
	}
	if err := dial(t, "etcd://"+address).Put(ctx, someInstance("a-3")); err == nil || errors.Is(err, registry.ErrAway) {
		t.Errorf("without a user: %v, want that it is refused, not away", err)
	}

	// A server that starts again has forgotten the token.
	s.kill(t)
	s.start(t)
	put(agent, "a-4")
	// And one that is away at first is no reason to give up.
	s.kill(t)
	late := dial(t, "etcd://agent@"+address+"?password-file="+password)
	if err := late.Put(ctx, someInstance("a-5")); !errors.Is(err, registry.ErrAway) {
		t.Errorf("while it is away: %v, want that", err)
	}
	s.start(t)
	put(late, "a-5")
}
