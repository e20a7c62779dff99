package serve_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
)

// ask sends one request for a host and returns the answer's status and body.
func (c *client) ask(host string) (int, string, error) {
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (c *client) wantStatus(t testing.TB, host string, want int) {
	t.Helper()
	if got, body, err := c.ask(host); got != want || err != nil {
		t.Errorf("asked for %s: got %d %q, %v, want %d", host, got, body, err, want)
	}
}

func (g *gateway) traffic() *evidence.Downstream { return g.s.Proxy().State().Listener("a").Traffic }

// wantAlert checks that err is what crypto/tls says of an alert from the other side.
func wantAlert(t testing.TB, err error, alert string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: "+alert) {
		t.Errorf("got %v, want the alert %q", err, alert)
	}
}

func TestServersAreChosenBySNI(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := start(t, serve.Options{}, secure(endpoint(t, hello),
		files.server(ca, "shop.example.com", "till.example.com"),
		files.server(ca, "*.example.com"),
		files.server(ca, "*.deep.example.com"),
	))
	for _, c := range []struct{ sni, first string }{ // first: a name that the server's certificate has
		{"shop.example.com", "shop.example.com"},
		{"SHOP.example.COM", "shop.example.com"},
		{"till.example.com", "shop.example.com"},
		{"other.example.com", "*.example.com"},
		{"a.b.example.com", "*.example.com"},
		{"x.deep.example.com", "*.deep.example.com"},
		{"deep.example.com", "*.example.com"},
	} {
		k, err := dialTLS(g.addr("a"), unchecked(c.sni))
		if err != nil {
			t.Errorf("%s: %v", c.sni, err)
			continue
		}
		if got := k.state().PeerCertificates[0].DNSNames[0]; got != c.first {
			t.Errorf("%s: got the certificate for %s, want %s", c.sni, got, c.first)
		}
		k.wantStatus(t, c.sni, 200)
		_ = k.Close()
	}
	for _, sni := range []string{"example.com", "example.org", "shop.example.com.org", ""} {
		_, err := dialTLS(g.addr("a"), unchecked(sni))
		wantAlert(t, err, "unrecognized name")
	}
	eventually(t, "all handshakes are counted", func() bool {
		return g.traffic().Handshakes.Load() == 7 && g.traffic().TLSErrors.Load() == 4
	})
}

func TestClientsThatNameNobody(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := start(t, serve.Options{}, secure(endpoint(t, hello), files.server(ca, "shop.example.com"), files.server(ca, "*")))
	for _, sni := range []string{"", "example.org"} {
		c := mustDialTLS(t, g.addr("a"), unchecked(sni))
		if got := c.state().PeerCertificates[0].DNSNames[0]; got != "anybody" {
			t.Errorf("%q: got the certificate for %s, want the one for all", sni, got)
		}
		c.wantStatus(t, g.addr("a"), 200)
		c.wantStatus(t, "shop.example.com", 421)
	}
	// A client that checks what it sees.
	mustDialTLS(t, g.addr("a"), &tls.Config{RootCAs: ca.pool(), ServerName: "shop.example.com"}).wantStatus(t, "shop.example.com", 200)
	mustDialTLS(t, g.addr("a"), &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"}).wantStatus(t, "127.0.0.1", 200)
}

func TestDomainFronting(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	guarded := files.mutual(files.server(ca, "till.example.com"), ca)
	g := start(t, serve.Options{}, secure(endpoint(t, hello),
		files.server(ca, "shop.example.com", "www.example.com"), files.server(ca, "*.example.com"), guarded))
	c := mustDialTLS(t, g.addr("a"), unchecked("shop.example.com"))
	c.wantStatus(t, "shop.example.com", 200)
	c.wantStatus(t, "Shop.Example.Com:8443", 200)
	c.wantStatus(t, "shop.example.com.", 200)
	c.wantStatus(t, "www.example.com", 200)   // of the same server
	c.wantStatus(t, "other.example.com", 421) // of another server
	c.wantStatus(t, "till.example.com", 421)
	c.wantStatus(t, "example.org", 421) // of nobody
	c.wantStatus(t, "127.0.0.1", 421)
	c.wantStatus(t, "[::1]:8443", 421)
	c.wantStatus(t, "shop.example.com", 200) // the connection goes on

	// The wildcard covers the guarded name, but is not the one that answers for it.
	c = mustDialTLS(t, g.addr("a"), unchecked("x.example.com"))
	c.wantStatus(t, "y.example.com", 200)
	c.wantStatus(t, "till.example.com", 421)
}

// What a connection may ask for goes by the servers that are in force when it asks.
func TestFrontingAfterAChange(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	one := files.server(ca, "shop.example.com")
	g := start(t, serve.Options{}, secure(e, one))
	c := mustDialTLS(t, g.addr("a"), unchecked("shop.example.com"))
	c.wantStatus(t, "shop.example.com", 200)

	apply := func(v fleet.View) {
		t.Helper()
		if err := g.apply(v); err != nil {
			t.Fatal(err)
		}
	}
	// Other versions, and one more server: nobody who is in is sent away.
	one.MinVersion = tls.VersionTLS13
	apply(secure(e, files.server(ca, "*.example.com"), one))
	c.wantStatus(t, "shop.example.com", 200)
	c.wantStatus(t, "other.example.com", 421)

	// Clients must now show a certificate, which this one has not.
	apply(secure(e, files.mutual(one, ca)))
	c.wantStatus(t, "shop.example.com", 421)
	apply(secure(e, one))
	c.wantStatus(t, "shop.example.com", 200)

	// Plaintext from now on, and TLS again: a plaintext connection does not outlive that.
	apply(secure(e))
	c.wantStatus(t, "shop.example.com", 200)
	plain := mustDial(t, g.addr("a"))
	plain.wantStatus(t, "shop.example.com", 200)
	apply(secure(e, one))
	plain.wantStatus(t, "shop.example.com", 421)
	c.wantStatus(t, "shop.example.com", 200)
}

func TestMutual(t *testing.T) {
	ca, other, files := newAuthority(t, "ca"), newAuthority(t, "other"), newFolder(t)
	names := []string{"spiffe://cluster.local/ns/shop/sa/till", "till.example.com", "10.1.2.3"}
	g := start(t, serve.Options{}, secure(endpoint(t, hello),
		files.mutual(files.server(ca, "any.example.com"), ca),
		files.mutual(files.server(ca, "named.example.com"), ca, names...)))
	try := func(sni string, versions uint16, shown ...leaf) error {
		config := unchecked(sni)
		config.MaxVersion = versions
		if len(shown) > 0 { // whatever authorities the server names
			pair := shown[0].pair(t)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		c, err := dialTLS(g.addr("a"), config)
		if err != nil {
			return err
		}
		defer c.Close()
		status, _, err := c.ask(sni) // TLS 1.3 clients hear of a refusal when they read
		if err == nil && status != 200 {
			err = fmt.Errorf("got status %d", status)
		}
		return err
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, name := range append(names, "TILL.example.com") {
			if err := try("named.example.com", version, ca.issue(nil, "x.example.com", name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := try("any.example.com", version, ca.issue(nil, "whoever.example.com")); err != nil {
			t.Errorf("any name: %v", err)
		}
		none := "certificate required"
		if version == tls.VersionTLS12 {
			none = "handshake failure"
		}
		wantAlert(t, try("any.example.com", version), none)
		wantAlert(t, try("any.example.com", version, other.issue(nil, "x")), "unknown certificate authority")
		wantAlert(t, try("any.example.com", version, ca.issue(expired, "x")), "expired certificate")
		wantAlert(t, try("named.example.com", version, ca.issue(nil, "other.example.com", "10.1.2.4")), "bad certificate")
		wantAlert(t, try("named.example.com", version, ca.issue(nil)), "bad certificate")
		wantAlert(t, try("any.example.com", version, ca.issue(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, "x")), "bad certificate")
	}
}

func TestVersionsCiphersAndProtocols(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	both, old, recent := files.server(ca, "both.test"), files.server(ca, "old.test"), files.server(ca, "new.test")
	old.MaxVersion, old.Ciphers = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
	recent.MinVersion = tls.VersionTLS13
	g := start(t, serve.Options{}, secure(endpoint(t, hello), both, old, recent))
	for _, c := range []struct {
		sni      string
		min, max uint16
		protos   []string
		ciphers  []uint16
		want     uint16
		alert    string
	}{
		{sni: "both.test", want: tls.VersionTLS13},
		{sni: "both.test", max: tls.VersionTLS12, want: tls.VersionTLS12},
		{sni: "both.test", min: tls.VersionTLS10, max: tls.VersionTLS11, alert: "protocol version not supported"},
		{sni: "old.test", want: tls.VersionTLS12},
		{sni: "old.test", min: tls.VersionTLS13, alert: "protocol version not supported"},
		{sni: "old.test", ciphers: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, alert: "handshake failure"},
		{sni: "new.test", want: tls.VersionTLS13},
		{sni: "new.test", max: tls.VersionTLS12, alert: "protocol version not supported"},
		{sni: "both.test", protos: []string{"http/1.1"}, want: tls.VersionTLS13},
		{sni: "both.test", protos: []string{"http/1.1", "h2"}, want: tls.VersionTLS13},
		{sni: "both.test", protos: []string{"h2"}, want: tls.VersionTLS13},
		{sni: "both.test", protos: []string{"h3"}, alert: "no application protocol"},
	} {
		config := unchecked(c.sni)
		config.MinVersion, config.MaxVersion, config.NextProtos, config.CipherSuites = c.min, c.max, c.protos, c.ciphers
		k, err := dialTLS(g.addr("a"), config)
		if c.alert != "" {
			wantAlert(t, err, c.alert)
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		s := k.state()
		if s.Version != c.want {
			t.Errorf("%+v: got %s", c, tls.VersionName(s.Version))
		}
		if c.sni == "old.test" && s.CipherSuite != old.Ciphers[0] {
			t.Errorf("%+v: got %s", c, tls.CipherSuiteName(s.CipherSuite))
		}
		want := "" // what we like best, of what the client offers
		if c.protos != nil {
			want = c.protos[len(c.protos)-1]
		}
		if s.NegotiatedProtocol != want {
			t.Errorf("%+v: got protocol %q, want %q", c, s.NegotiatedProtocol, want)
		}
		if want != "h2" {
			k.wantStatus(t, c.sni, 200)
		}
		_ = k.Close()
	}
}

func TestSessionsAreResumed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, files := newAuthority(t, "ca"), newFolder(t)
		guarded := files.mutual(files.server(ca, "till.test"), ca, "till")
		open := files.server(ca, "shop.test")
		g := start(t, serve.Options{LookEvery: time.Millisecond}, secure(endpoint(t, hello), open, guarded))
		visit := func(sni string, cache tls.ClientSessionCache, shown ...leaf) (bool, error) {
			config := unchecked(sni)
			config.MaxVersion, config.ClientSessionCache = version, cache
			for _, l := range shown {
				config.Certificates = append(config.Certificates, l.pair(t))
			}
			c, err := dialTLS(g.addr("a"), config)
			if err != nil {
				return false, err
			}
			defer c.Close()
			status, _, err := c.ask(sni)
			if err == nil && status != 200 {
				err = fmt.Errorf("got status %d", status)
			}
			return c.state().DidResume, err
		}
		cache, till := tls.NewLRUClientSessionCache(8), ca.issue(nil, "till")
		for i, want := range []bool{false, true, true} {
			for _, sni := range []string{"shop.test", "till.test"} {
				if got, err := visit(sni, cache, till); got != want || err != nil {
					t.Errorf("%s, visit %d: got resumed %v, %v, want %v", sni, i, got, err, want)
				}
			}
		}

		// A session of one server is none of another, whose clients must show a certificate.
		session, _ := cache.Get("shop.test")
		stolen := tls.NewLRUClientSessionCache(8)
		stolen.Put("till.test", session)
		if resumed, err := visit("till.test", stolen); resumed || err == nil {
			t.Errorf("got resumed %v, %v, want a session of another server refused", resumed, err)
		}

		// A new certificate ends no session; a new authority does.
		renewed := ca.issue(nil, "till.test")
		files.put("server-till.test", renewed)
		eventually(t, "the certificate is reloaded", func() bool {
			c := mustDialTLS(t, g.addr("a"), &tls.Config{ServerName: "till.test", InsecureSkipVerify: true, Certificates: []tls.Certificate{till.pair(t)}})
			return c.serial() == renewed.serial
		})
		if resumed, err := visit("till.test", cache, till); !resumed || err != nil {
			t.Errorf("got resumed %v, %v, want the session to outlive the certificate", resumed, err)
		}
		next := newAuthority(t, "next")
		files.mutual(guarded, next)
		eventually(t, "the authority is reloaded", func() bool {
			_, err := visit("till.test", nil, till)
			return err != nil
		})
		if resumed, err := visit("till.test", cache, till); resumed || err == nil {
			t.Errorf("got resumed %v, %v, want a session with another authority's client refused", resumed, err)
		}
		if resumed, err := visit("till.test", cache, next.issue(nil, "till")); resumed || err != nil {
			t.Errorf("got resumed %v, %v, want a whole handshake", resumed, err)
		}
	}
}

func TestTheWrongProtocol(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	v := view(e, "a", anyPort)
	v.Listeners[0].TLS = []fleet.ServerTLS{files.server(ca, "*")}
	g := start(t, serve.Options{}, v)

	c := mustDial(t, g.addr("a"))
	_, body, err := c.ask("shop.test")
	if err != nil || !strings.Contains(body, "HTTPS") {
		t.Errorf("HTTP on a TLS port: got %q, %v, want to be told", body, err)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a clean end", err)
	}
	for _, garbage := range [][]byte{{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0}, bytes.Repeat([]byte{0xff}, 4096), []byte("SSH-2.0-x\r\n")} {
		c := mustDial(t, g.addr("a"))
		if _, err := c.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: got %v, want the end", garbage, err)
		}
	}
	if n := g.traffic().Panics.Load(); n != 0 {
		t.Errorf("got %d panics", n)
	}
	mustDialTLS(t, g.addr("a"), unchecked("shop.test")).wantStatus(t, "shop.test", 200)

	plain := start(t, serve.Options{}, view(e, "a", anyPort))
	nc, err := net.Dial("tcp", plain.addr("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var answer bytes.Buffer
	half := tls.Client(&tee{Conn: nc, read: &answer}, unchecked("shop.test"))
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	if err := half.Handshake(); err == nil || !strings.HasPrefix(answer.String(), "HTTP/1.1 400") {
		t.Errorf("TLS on a plaintext port: got %q, %v, want 400", answer.String(), err)
	}
}

// A tee keeps what is read from a connection.
type tee struct {
	net.Conn
	read *bytes.Buffer
}

func (c *tee) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Write(b[:n])
	return n, err
}

func TestEndpointsAreToldOfHTTPS(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto")) })
	v := view(e, "a", anyPort, "plain", "localhost:0")
	v.Listeners[0].TLS = []fleet.ServerTLS{files.server(ca, "*")}
	for i := range v.Listeners {
		v.Listeners[i].Hosts[0].HTTPS = true
	}
	g := start(t, serve.Options{}, v)
	if status, body, err := mustDialTLS(t, g.addr("a"), unchecked("")).ask("shop.test"); status != 200 || body != "https" || err != nil {
		t.Errorf("got %d %q, %v, want 200 and https", status, body, err)
	}
	mustDial(t, g.addr("plain")).wantStatus(t, "shop.test", 301)
}

func TestHandshakesAreBounded(t *testing.T) {
	const most, silent = 8, 60
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := start(t, serve.Options{MaxHandshakes: most}, secure(endpoint(t, hello), files.server(ca, "*")))
	done := mustDialTLS(t, g.addr("a"), unchecked("")) // those who are done do not count
	done.wantStatus(t, "shop.test", 200)               // TLS 1.3: the client is done before the server is
	for range silent {
		mustDial(t, g.addr("a"))
	}
	eventually(t, "the oldest were ended", func() bool {
		return g.traffic().TLSErrors.Load() == silent-most && g.traffic().ActiveConnects.Load() == most+1
	})
	for range 2 * most { // newcomers in earnest get in
		c := mustDialTLS(t, g.addr("a"), unchecked(""))
		c.wantStatus(t, "shop.test", 200)
		_ = c.Close()
	}
	done.wantStatus(t, "shop.test", 200)
}

func TestSlowHandshakesEnd(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := startWith(t, proxy.Options{HeaderTimeout: 50 * time.Millisecond}, serve.Options{}, secure(endpoint(t, hello), files.server(ca, "*")))
	c := mustDial(t, g.addr("a"))
	if _, err := c.Write([]byte{0x16, 3, 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("got %v, want the end", err)
	}
	eventually(t, "nothing is open", func() bool { return g.traffic().ActiveConnects.Load() == 0 && g.traffic().TLSErrors.Load() == 1 })
}

// Somebody who never shakes hands is counted as open, and does not hold a drain up.
func TestASilentClientDoesNotHoldADrainUp(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	o := serve.Options{Timers: drain.Timers{Quiet: 20 * time.Millisecond, Requests: time.Hour, Long: time.Hour}}
	g := startWith(t, proxy.Options{HeaderTimeout: time.Hour}, o, secure(endpoint(t, hello), files.server(ca, "*")))
	c := mustDial(t, g.addr("a"))
	eventually(t, "it is counted", func() bool { return g.traffic().ActiveConnects.Load() == 1 })
	if err := g.leave(); err != nil {
		t.Error(err)
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("got a byte, want the end")
	}
}

func TestBodiesOverTLS(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b)
	})
	g := start(t, serve.Options{}, secure(e, files.server(ca, "*")))
	random := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	for i := range 8 {
		c := mustDialTLS(t, g.addr("a"), unchecked(""))
		seed := random.Uint64()
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 20 {
				body := make([]byte, random.IntN(300<<10))
				for j := range body {
					body[j] = byte(random.Uint32())
				}
				r, err := http.NewRequest(http.MethodPost, "http://shop.test/", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					r.ContentLength = -1 // chunked
				}
				sent := make(chan error, 1)
				go func() { sent <- r.Write(c) }() // both sides talk at once
				resp, err := http.ReadResponse(c.r, r)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, body) {
					t.Errorf("got %d bytes back, %v, want the %d that were sent", len(got), err, len(body))
					return
				}
			}
		})
	}
	all.Wait()
}

func TestTunnelsOverTLS(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		c, r, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, r) // until the client has closed its half
		_, _ = io.WriteString(c, "bye")
	})
	g := start(t, serve.Options{}, secure(e, files.server(ca, "*")))
	c := mustDialTLS(t, g.addr("a"), unchecked(""))
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", resp, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if half, ok := c.Conn.(*tls.Conn); !ok || half.CloseWrite() != nil {
		t.Fatal("the client cannot close its half")
	}
	if b, err := io.ReadAll(c.r); string(b) != "hellobye" || err != nil {
		t.Errorf("got %q, %v, want what was said, and a farewell after it", b, err)
	}
}

func TestTLSConnectionLimit(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := start(t, serve.Options{MaxConns: 1}, secure(endpoint(t, hello), files.server(ca, "*")))
	first := mustDialTLS(t, g.addr("a"), unchecked(""))
	if _, err := dialTLS(g.addr("a"), unchecked("")); err == nil {
		t.Error("got a connection beyond the limit")
	}
	if n := g.traffic().Overflow.Load(); n != 1 {
		t.Errorf("got %d refused, want 1", n)
	}
	first.wantStatus(t, "shop.test", 200)
}

// A client that takes nothing is given up; TLS cannot go on after a deadline.
func TestAStalledTLSClientIsGivenUp(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	g := startWith(t, proxy.Options{StallTimeout: 100 * time.Millisecond}, serve.Options{}, secure(e, files.server(ca, "*")))
	c := mustDialTLS(t, g.addr("a"), unchecked(""))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is given up", func() bool {
		return g.traffic().Aborted.Load() == 1 && g.traffic().ActiveConnects.Load() == 0
	})
}

func TestDrainOverTLSLosesNothing(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	v := secure(e, files.server(ca, "*"))
	successor := start(t, serve.Options{}, v)
	for round := range 3 {
		g := start(t, serve.Options{Timers: quiet(500 * time.Millisecond)}, v)
		f := flock{dial: func(addr string) (*client, error) { return dialTLS(addr, unchecked("")) }}
		f.post(40, g.addr("a"), successor.addr("a"), 20)
		eventually(t, "clients are at it", func() bool { return f.answered.Load() > 400 })
		if err := g.leave(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		f.clients.Wait()
		if lost, moved := f.lost.Load(), f.moved.Load(); lost != 0 || moved != 40 {
			t.Errorf("round %d: got %d lost of %d and %d clients moved, want 0 and 40", round, lost, f.answered.Load(), moved)
		}
	}
}

// A TLS client can tell an end from a cut: by close_notify.
func TestEndsAndCuts(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	arrived := make(chan struct{}, 1)
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half an answer")
		_ = http.NewResponseController(w).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	g := start(t, serve.Options{Timers: drain.Timers{Quiet: time.Second, Requests: 100 * time.Millisecond, Long: 100 * time.Millisecond}}, secure(e, files.server(ca, "*")))
	idle := mustDialTLS(t, g.addr("a"), unchecked(""))
	busy := mustDialTLS(t, g.addr("a"), unchecked(""))
	if _, err := io.WriteString(busy, "GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n"); err != nil { // 1.0: the end of the answer is the end of the connection
		t.Fatal(err)
	}
	<-arrived
	resp, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	eventually(t, "both are served", func() bool { return g.traffic().Handshakes.Load() == 2 })
	var cut *serve.CutError
	if err := g.leave(); !errors.As(err, &cut) || cut.Requests != 1 {
		t.Errorf("got %v, want 1 request cut", err)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle: got %v, want leave to be taken", err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("got %q and a clean end, want an error", b)
	}
}
