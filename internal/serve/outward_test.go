package serve_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
)

// secretive starts an endpoint of TLS that says how its clients came: whom they showed, and on which connection.
func secretive(t testing.TB, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		shown := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			shown = r.TLS.PeerCertificates[0].SerialNumber.String()
		}
		fmt.Fprintf(w, "%s from %s", shown, r.RemoteAddr)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// over is v with its service's endpoints spoken to as spec says, and a listener whose routes lead to its subset
// "other", to which they are spoken to as other says.
func over(v fleet.View, spec, other *fleet.ClientTLS) fleet.View {
	s := &v.Services[0]
	s.Pools[0].Policy.TLS = spec
	s.Pools = append(s.Pools, fleet.Pool{Subset: "other", Members: []fleet.Member{{}}, Policy: fleet.Policy{TLS: other}})
	for i := range v.Listeners {
		if v.Listeners[i].Name == "other" {
			v.Listeners[i].Hosts[0].Routes[0].Destinations[0].Subset = "other"
		}
	}
	return v
}

// ask returns when the connection to the endpoint has been put back, which is after the client has its answer.
func (g *gateway) ask(listener string) (int, string) {
	g.t.Helper()
	c := mustDial(g.t, g.addr(listener))
	defer c.Close()
	status, body, err := c.ask("shop.test")
	if err != nil {
		g.t.Fatal(err)
	}
	eventually(g.t, "no request is open", func() bool { return len(g.s.Proxy().State().Open()) == 0 })
	return status, body
}

// Subsets may speak to an endpoint in different ways; what one of them has proved is nothing to another.
func TestConnectionsAreNotSharedBetweenWays(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	shown := ca.issue(nil, "shop.test")
	ours := ca.issue(nil, "gateway")
	certificate, key := files.put("ours", ours)
	e := secretive(t, &tls.Config{Certificates: []tls.Certificate{shown.pair(t)}, ClientAuth: tls.RequestClientCert})
	simple := &fleet.ClientTLS{SNI: "shop.test", CA: files.write("ca.pem", ca.pem)}
	mutual := *simple
	mutual.Certificate, mutual.Key = certificate, key
	listeners := []string{"a", anyPort, "other", "localhost:0"}
	g := start(t, serve.Options{}, over(view(e, listeners...), simple, &mutual))
	seen := map[string]string{} // connections, by who was shown
	for range 3 {
		for listener, want := range map[string]string{"a": "nobody", "other": ours.serial} {
			status, body := g.ask(listener)
			who, from, _ := strings.Cut(body, " from ")
			if status != 200 || who != want {
				t.Errorf("%s: got %d %q, want %s shown", listener, status, body, want)
			}
			if seen[who] == "" {
				seen[who] = from
			} else if seen[who] != from {
				t.Errorf("%s: got a connection from %s after one from %s, want it reused", listener, from, seen[who])
			}
		}
	}
	// Connections outlive a change of all else; what speaks in plaintext from now on has none of TLS.
	if err := g.apply(over(view(e, listeners...), nil, &mutual)); err != nil {
		t.Fatal(err)
	}
	if status, body := g.ask("other"); status != 200 || !strings.HasSuffix(body, seen[ours.serial]) {
		t.Errorf("got %d %q, want the connection from %s", status, body, seen[ours.serial])
	}
	if status, _ := g.ask("a"); status != 400 { // Go's answer to HTTP where it wants TLS
		t.Errorf("in plaintext: got %d, want 400", status)
	}
}

func TestFilesForEndpointsAreReadAgainWhileServing(t *testing.T) {
	ca, other, files := newAuthority(t, "ca"), newAuthority(t, "other"), newFolder(t)
	shown := ca.issue(nil, "shop.test")
	var config atomic.Pointer[tls.Config]
	config.Store(&tls.Config{Certificates: []tls.Certificate{shown.pair(t)}})
	e := secretive(t, &tls.Config{Certificates: []tls.Certificate{shown.pair(t)}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return config.Load(), nil
	}})
	file := files.write("ca.pem", other.pem)
	log := new(journal)
	logger := slog.New(slog.NewTextHandler(log, nil))
	v := over(view(e, "a", anyPort), &fleet.ClientTLS{SNI: "shop.test", CA: file}, nil)
	g := startWith(t, proxy.Options{Log: logger}, serve.Options{LookEvery: often, Log: logger}, v)
	status, body := g.ask("a")
	if status != 503 || strings.Contains(body, "x509") {
		t.Errorf("got %d %q, want the endpoint refused, and no word of why to the client", status, body)
	}
	eventually(t, "the log says why", func() bool {
		return log.count("cause=")*log.count("certificate signed by unknown authority") > 0
	})

	files.write("ca.pem", ca.pem)
	eventually(t, "the authority is read", func() bool { status, _ := g.ask("a"); return status == 200 })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is missed", func() bool { return g.s.Err() != nil })
	if err := g.s.Err(); !strings.Contains(err.Error(), "TLS to endpoints") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want it to name the file", err)
	}
	if err := g.s.Unserved(); err != nil {
		t.Errorf("got %v unserved, want nothing: listeners are served", err)
	}
	if status, body := g.ask("a"); status != 200 {
		t.Errorf("got %d %q, want the last good authority to hold", status, body)
	}
	files.write("ca.pem", ca.pem)
	eventually(t, "all is well", func() bool { return g.s.Err() == nil })
}

// Bodies of all sizes go both ways, through TLS on both sides.
func TestBodiesThroughTLSOnBothSides(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(nil, "shop.test").pair(t)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	v := secure(s.Listener.Addr().String(), files.server(ca, "shop.test"))
	g := start(t, serve.Options{}, over(v, &fleet.ClientTLS{SNI: "shop.test", CA: files.write("ca.pem", ca.pem)}, nil))
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: "shop.test", RootCAs: ca.pool()}}}
	defer c.CloseIdleConnections()
	for _, n := range []int{0, 1, 200, 1200, 16 << 10, 16<<10 + 1, 300_000, 3 << 20} {
		body := strings.Repeat("0123456789abcde\n", n/16+1)[:n]
		r, err := http.NewRequest(http.MethodPost, "https://"+g.addr("a"), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "shop.test"
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != body {
			t.Errorf("%d bytes: got %d back, %v", n, len(got), err)
		}
	}
}
