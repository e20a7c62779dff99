//go:build integration

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secureIngress is where the world of HTTP/2 is served over TLS.
const secureIngress = "127.0.0.1:8443"

// Where the other endpoints of the world of HTTP/2 are: those of WebSockets are named beside them.
const (
	pagesOne       = "127.8.1.4:9001" // HTTP/1.1
	pagesTwo       = "127.8.1.5:9001" // HTTP/2
	callsServed    = "127.8.1.6:9001" // gRPC, in this process
	callsServedToo = "127.8.1.9:9001"
	interop        = "127.8.1.7:9002"  // gRPC, of grpc-go's interop server, which listens on the port of every address
	calmOne        = "127.8.1.10:9001" // as pages, for clients whose peace is not to be disturbed
	calmTwo        = "127.8.1.11:9001"
	nowhere        = "127.8.1.8:9001" // nobody
)

// A crossing is how a VirtualService leads to a service: by the path's prefix, which rest replaces unless it is "".
type crossing struct {
	host, prefix, rest, service string
}

// http2Services are the services of that world by name, each with its protocol and its endpoints.
var http2Services = []struct{ name, protocol, endpoints string }{
	{"sockets-one", "HTTP", socketsOne},
	{"sockets-two", "HTTP2", socketsTwo},
	{"pages-one", "HTTP", pagesOne},
	{"pages-two", "HTTP2", pagesTwo},
	{"calm-one", "HTTP", calmOne},
	{"calm-two", "HTTP2", calmTwo},
	{"calls", "GRPC", callsServed + " " + callsServedToo},
	{"interop", "GRPC", interop},
	{"nowhere", "GRPC", nowhere},
}

var crossings = []crossing{
	{"*", "/grpc.testing.", "", "interop.camp"},
	{"*", "/xds.service.orca.", "", "interop.camp"},
	{"*", "/one/", "/", "pages-one.camp"},
	{"*", "/two/", "/", "pages-two.camp"},
	{"*", "/calm-one/", "/", "calm-one.camp"},
	{"*", "/calm-two/", "/", "calm-two.camp"},
	{"sockets.camp", "/one/", "/", "sockets-one.camp"},
	{"sockets.camp", "/two/", "/", "sockets-two.camp"},
	{"calls.camp", "/grpc.testing.TestService/", "", "calls.camp"},
	{"nobody.camp", "/", "", "nobody"}, // has no endpoint
	{"nowhere.camp", "/", "", "nowhere.camp"},
}

// launchHTTP2 starts a gateway with a plaintext port and one of TLS, in front of endpoints of every kind, has begin, if
// not nil, start some of them, and waits until all that listen are served. trusted and authority, a file, are what
// clients of TLS believe in.
func launchHTTP2(t *testing.T, begin func(*testing.T)) (m *mesh, trusted *tls.Config, authority string) {
	t.Helper()
	servePages(t)
	m = launch(t, "bookinfo", func(m *mesh) {
		files, err := filepath.Glob(filepath.Join(m.dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		trusted, authority = certify(t, m.dir)
		m.write(t, "http2.yaml", http2YAML())
	})
	if begin != nil {
		begin(t)
	}
	eventually(t, soon, func() string {
		all, err := everyEndpoint(t)
		if err != nil || len(all) != len(http2Services)+1 {
			return fmt.Sprintf("%d endpoints; got %v, %v", len(http2Services)+1, all, err)
		}
		for _, e := range all {
			if e.Stage != "Serving" && e.Stage != "Warming" && answers(e.Address.String()) {
				return fmt.Sprintf("%s, which is %s", e.Address, e.Stage)
			}
		}
		return ""
	})
	return m, trusted, authority
}

// answers says whether somebody listens at an address.
func answers(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	_ = nc.Close()
	return true
}

func http2YAML() string {
	var b strings.Builder
	b.WriteString(`apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
    - port: {number: 443, name: https, protocol: HTTPS}
      hosts: ["*"]
      tls: {mode: SIMPLE, serverCertificate: front.crt, privateKey: front.key}
`)
	opened := ""
	for _, c := range crossings {
		if c.host != opened {
			opened = c.host
			fmt.Fprintf(&b, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %q}\n", strings.NewReplacer(".", "-", "*", "any").Replace(c.host))
			fmt.Fprintf(&b, "spec:\n  hosts: [%q]\n  gateways: [front]\n  http:\n", c.host)
		}
		fmt.Fprintf(&b, "    - match: [{uri: {prefix: %s}}]\n", c.prefix)
		if c.rest != "" {
			fmt.Fprintf(&b, "      rewrite: {uri: %s}\n", c.rest)
		}
		fmt.Fprintf(&b, "      route: [{destination: {host: %s}}]\n", c.service)
	}
	for _, s := range http2Services {
		first, _, _ := strings.Cut(s.endpoints, " ")
		_, port, _ := net.SplitHostPort(first)
		fmt.Fprintf(&b, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s}\n", s.name)
		fmt.Fprintf(&b, "spec:\n  hosts: [%s.camp]\n  resolution: STATIC\n", s.name)
		fmt.Fprintf(&b, "  ports: [{number: %s, name: %s, protocol: %s}]\n  endpoints:\n", port, strings.ToLower(s.protocol), s.protocol)
		for address := range strings.FieldsSeq(s.endpoints) {
			host, _, _ := net.SplitHostPort(address)
			fmt.Fprintf(&b, "    - {address: %s}\n", host)
		}
	}
	// The interop client balances by load reports; those of everybody else end at the gateway.
	b.WriteString("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: interop, annotations: {crossfade.dev/load-reports: pass}}\n" +
		"spec: {host: interop.camp}\n")
	b.WriteString("---\napiVersion: v1\nkind: Service\nmetadata: {name: nobody}\n" +
		"spec: {selector: {app: nobody}, ports: [{name: grpc, port: 9001}]}\n")
	return b.String()
}

// servePages serves bodies as in a siege, over either version of HTTP.
func servePages(t *testing.T) {
	t.Helper()
	serveTwo := func(l net.Listener) error { return serveHTTP2(l, bodies()) }
	for address, serve := range map[string]func(net.Listener) error{
		pagesOne: serveBodies, calmOne: serveBodies, pagesTwo: serveTwo, calmTwo: serveTwo,
	} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() { _ = serve(l) }() // until l is closed
	}
}

// certify writes front.crt and front.key, and the authority that clients believe in, which it returns in both forms.
func certify(t *testing.T, dir string) (trusted *tls.Config, authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "front"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(90 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", "*.camp"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	authority = filepath.Join(dir, "front.crt")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, text := range map[string][]byte{
		authority:                       certificate,
		filepath.Join(dir, "front.key"): pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusted = &tls.Config{RootCAs: x509.NewCertPool()}
	trusted.RootCAs.AppendCertsFromPEM(certificate)
	return trusted, authority
}
