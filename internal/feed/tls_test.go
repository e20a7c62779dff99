package feed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/secure"
)

// An authority signs certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// files are those of whoever has a certificate of these units, and believes in the authority of other.
func (a *authority) files(other *authority, name string, units ...string) secure.Files {
	key := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, OrganizationalUnit: units},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"control.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return secure.Files{
		Certificate: a.write(name+".pem", "CERTIFICATE", der), Key: a.write(name+".key", "PRIVATE KEY", private), CA: other.file,
	}
}

// remote serves a control over TLS, and returns where.
func remote(t *testing.T, files secure.Files) (*control.Control, string) {
	t.Helper()
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	at := make(chan net.Addr, 1)
	server := TLSServer{
		Control: c, Address: "127.0.0.1:0", Files: files, Log: slog.New(slog.DiscardHandler), listening: func(a net.Addr) { at <- a },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- c.Run(ctx) }()
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		}
	})
	if err := c.Configure(ctx, &fleet.Desired{Digest: "one", Services: []fleet.Service{{
		Name: "reviews:80", Host: "reviews", Namespace: "default", Port: 80, Selector: map[string]string{"app": "reviews"}, Pools: []fleet.Pool{{}},
	}}}); err != nil {
		t.Fatal(err)
	}
	return c, (<-at).String()
}

func instance(incarnation string) fleet.Instance {
	return fleet.Instance{Name: incarnation, Namespace: "default", Incarnation: incarnation, Weight: 1, Ready: true, Labels: map[string]string{"app": "reviews"}}
}

// What a certificate's OU says is what its bearer may be, and an agent sees and says only what is its own.
func TestRolesOverTLS(t *testing.T) {
	ours := newAuthority(t, "ours")
	c, address := remote(t, ours.files(ours, "control"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(files secure.Files) *Client {
		t.Helper()
		client, err := DialTLS(address, files, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
	seen := func(client *Client, who Hello) (views fleet.View, err error) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		err = client.Follow(ctx, who, func(v fleet.View) { views = v; stop() })
		if errors.Is(err, context.Canceled) && views.Snapshot != nil {
			err = nil
		}
		return views, err
	}
	agentOf := func(incarnation string) Hello {
		return Hello{ID: "agent/" + incarnation, Role: "agent", Incarnation: incarnation}
	}
	report := func(incarnation string, in fleet.Instance) fleet.Report {
		return fleet.Report{From: "agent/" + incarnation, Role: "agent", Instances: []fleet.Instance{in}}
	}

	x, gateway := dial(ours.files(ours, "x", "agent")), dial(ours.files(ours, "g", "gateway"))
	if err := errors.Join(x.Report(ctx, report("x", instance("x"))), c.Report(ctx, report("y", instance("y")))); err != nil {
		t.Fatal(err)
	}
	v, err := seen(x, agentOf("x"))
	if err != nil || len(v.Instances) != 1 || len(v.Services) != 1 || len(v.Services[0].Endpoints) != 1 {
		t.Errorf("the agent sees %+v (%v), want itself", v.Snapshot, err)
	}
	v, err = seen(gateway, Hello{ID: "gateway-1", Role: "gateway"})
	if err != nil || len(v.Instances) != 2 {
		t.Errorf("the gateway sees %+v (%v), want everybody", v.Snapshot, err)
	}

	looker, runs := dial(ours.files(ours, "o", "observer")), dial(ours.files(ours, "s", "supervisor", "local"))
	for what, refused := range map[string]error{
		"an agent follows as a gateway":            second(seen(x, Hello{ID: "gateway-2", Role: "gateway"})),
		"an agent follows as an observer":          second(seen(x, Hello{ID: "o", Role: "observer"})),
		"an agent follows without a role":          second(seen(x, Hello{ID: "o"})),
		"an agent follows as another one's":        second(seen(x, Hello{ID: "agent/x", Role: "agent", Incarnation: "y"})),
		"an agent reports as a gateway":            x.Report(ctx, fleet.Report{From: "gateway-1", Role: "gateway", Leaving: true}),
		"an agent reports without a role":          x.Report(ctx, fleet.Report{From: "agent/x"}),
		"an agent reports another incarnation":     x.Report(ctx, report("x", instance("y"))),
		"an agent says that somebody else is dead": x.Report(ctx, fleet.Report{From: "agent/x", Role: "agent", Dead: []string{"y"}}),
		"a gateway reports as an agent":            gateway.Report(ctx, report("y", instance("y"))),
		"a gateway calls itself an agent's":        gateway.Report(ctx, fleet.Report{From: "agent/y", Role: "gateway", Leaving: true}),
		"an observer reports":                      looker.Report(ctx, fleet.Report{From: "gateway-1", Role: "observer", Leaving: true}),
		"a gateway reports an instance":            gateway.Report(ctx, fleet.Report{From: "g", Role: "gateway", Instances: []fleet.Instance{instance("z")}}),
		"a gateway says that somebody is dead":     gateway.Report(ctx, fleet.Report{From: "g", Role: "gateway", Dead: []string{"y"}}),
		"a supervisor says what it has counted":    runs.Report(ctx, fleet.Report{From: "s", Role: "supervisor", Traffic: &fleet.Traffic{Run: "r"}}),
		"an agent counts for another":              x.Report(ctx, fleet.Report{From: "agent/x", Role: "agent", Traffic: &fleet.Traffic{Run: "r", Services: []fleet.ServiceTraffic{{Service: "web:80"}}}}),
		"a gateway says who replicas are":          gateway.Report(ctx, fleet.Report{From: "g", Role: "gateway", Replicas: []fleet.Replica{{ID: "r"}}}),
		"a supervisor reports an instance":         runs.Report(ctx, fleet.Report{From: "s", Role: "supervisor", Instances: []fleet.Instance{instance("z")}}),
		"nobody in particular":                     dial(ours.files(ours, "n")).Report(ctx, report("n", instance("n"))),
	} {
		if !errors.Is(refused, ErrRefused) {
			t.Errorf("%s: %v, want that control refuses", what, refused)
		}
	}
	if got := len(c.View().Instances); got != 2 {
		t.Errorf("%d instances after all that, want 2", got)
	}
	for _, r := range []fleet.Report{
		{From: "s", Role: "supervisor", Replicas: []fleet.Replica{{ID: "r"}}}, {From: "l", Role: "local", Instances: []fleet.Instance{instance("z")}, Dead: []string{"d"}},
	} {
		if err := runs.Report(ctx, r); err != nil {
			t.Errorf("what %s runs: %v", r.From, err)
		}
	}
	if _, err := seen(looker, Hello{ID: "o", Role: "observer"}); err != nil {
		t.Errorf("an observer may look: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Whoever the authorities do not vouch for is not heard, on either side.
func TestStrangersOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	_, address := remote(t, ours.files(ours, "control"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for what, test := range map[string]struct {
		files secure.Files
		name  string
		want  string
	}{
		"a client of another authority":          {theirs.files(ours, "x", "agent"), "", ""},
		"a server of another authority":          {ours.files(theirs, "y", "agent"), "", "unknown authority"},
		"a server that is not the one asked for": {ours.files(ours, "z", "agent"), "elsewhere.test", "elsewhere.test"},
	} {
		client, err := DialTLS(address, test.files, test.name)
		if err != nil {
			t.Fatal(err)
		}
		err = client.Report(ctx, fleet.Report{From: "agent/x", Role: "agent"})
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want one about %q", what, err, test.want)
		}
		client.Close()
	}
	known, err := DialTLS(address, ours.files(ours, "k", "agent"), "control.test")
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	if err := known.Report(ctx, fleet.Report{From: "agent/k", Role: "agent"}); err != nil {
		t.Errorf("a client that all vouch for: %v", err)
	}
	var plain net.Dialer
	conn, err := plain.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, 64)
	n, _ := conn.Read(heard)
	if n > 0 && heard[0] != 21 { // an alert of TLS, or nothing
		t.Errorf("a client without TLS heard %q", heard[:n])
	}
}

// Both ends go by their files as they are at each handshake, and by those of before where these cannot be used.
func TestCertificatesAreReadAgain(t *testing.T) {
	ours := newAuthority(t, "ours")
	p := newPair(ours.files(ours, "x"), "server", nil)
	want := func(when, unit string) {
		t.Helper()
		config, err := p.current()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		got := ""
		if units := config.Certificates[0].Leaf.Subject.OrganizationalUnit; len(units) > 0 {
			got = units[0]
		}
		if got != unit {
			t.Errorf("%s: the certificate is for %q, want %q", when, got, unit)
		}
	}
	want("at first", "")
	files := ours.files(ours, "x", "agent")
	want("with another certificate", "agent")
	if err := os.WriteFile(files.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("with a broken key", "agent")
	ours.files(ours, "x", "gateway")
	want("with a third", "gateway")
}

// Why control cannot be followed is told by whoever cannot, where waiting mends nothing: once, and again after it could.
func TestRefusalsAreTold(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	_, address := remote(t, ours.files(ours, "control"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for what, tt := range map[string]struct {
		address string
		files   secure.Files
		want    string
	}{
		"another role":           {address, ours.files(ours, "x", "agent"), `its certificate is for agent (OU), not for \"gateway\"`},
		"no role":                {address, ours.files(ours, "y"), "names no role in OU"},
		"another authority":      {address, theirs.files(ours, "f", "gateway"), "tls: unknown certificate authority"},
		"a control of elsewhere": {address, ours.files(theirs, "z", "gateway"), "signed by unknown authority"},
		"a control that is away": {"127.0.0.1:1", ours.files(ours, "a", "gateway"), ""},
	} {
		client, err := DialTLS(tt.address, tt.files, "")
		if err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		client.Log = slog.New(slog.NewTextHandler(&said, nil))
		follow := func() { // a connection that the other end closes may be found closed before it is heard why
			for range 5 {
				if err := client.Follow(ctx, Hello{ID: "g", Role: "gateway"}, func(fleet.View) { t.Errorf("%s: it follows", what) }); err == nil {
					t.Errorf("%s: no error", what)
				}
				for tt.want != "" && said.Len() == 0 && ctx.Err() == nil {
					_ = client.Follow(ctx, Hello{ID: "g", Role: "gateway"}, func(fleet.View) {})
				}
			}
		}
		lines := 0
		if tt.want != "" {
			lines = 1
		}
		follow()
		if got := said.String(); strings.Count(got, "\n") != lines || !strings.Contains(got, tt.want) {
			t.Errorf("%s: told %q, want %d line about %q", what, got, lines, tt.want)
		}
		client.told.Store(nil) // as a view does
		said.Reset()
		follow()
		if got := said.String(); strings.Count(got, "\n") != lines {
			t.Errorf("%s: told %q after it could be followed, want %d line", what, got, lines)
		}
		client.Close()
	}
}

// Nobody can fill the log of a control by being refused.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	ours := newAuthority(t, "ours")
	var said strings.Builder
	p := newPair(ours.files(ours, "control"), "client", slog.New(slog.NewTextHandler(&said, nil)))
	now := time.Unix(1_000_000, 0)
	for i := range 1000 {
		p.refuse(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, errors.New("no certificate"), now.Add(time.Duration(i)*10*time.Millisecond))
	}
	if lines := strings.Count(said.String(), "peer=10.0.0.1:0"); lines != 10 {
		t.Errorf("%d lines of 1000 in 10 s, want 10", lines)
	}
}

func TestOpen(t *testing.T) {
	ours := newAuthority(t, "ours")
	f := ours.files(ours, "x", "agent")
	mine := "?cert=" + f.Certificate + "&key=" + f.Key + "&ca=" + f.CA
	for place, want := range map[string]string{
		"unix:/run/feed.sock":   "",
		"unix:///run/feed.sock": "",
		"/run/feed.sock":        "",
		"tls://127.0.0.1:15012" + mine + "&server-name=control.test": "",
		"":                                     "want unix:PATH",
		"unix:":                                "want unix:PATH",
		"http://127.0.0.1:15012":               "want unix:PATH",
		"tls://me@127.0.0.1:15012" + mine:      "want unix:PATH",
		"tls://127.0.0.1:15012" + mine + "#x":  "want unix:PATH",
		"tls://127.0.0.1:15012":                "want a certificate",
		"tls://127.0.0.1" + mine:               "missing port",
		"tls://127.0.0.1:15012" + mine + "&x=": "x is not understood",
		"tls://127.0.0.1:15012?cert=/nowhere&key=/nowhere&ca=/nowhere": "no such file",
	} {
		client, err := Open(place)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", place, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want one about %q", place, err, want)
		case client != nil:
			client.Close()
		}
	}
}
