package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// makeCertificate writes a certificate for a name and its key into dir: name.pem, name.key.
func makeCertificate(t *testing.T, dir, name string, before, after time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"*.example.com", "shop.example.com"},
		NotBefore: now.Add(before), NotAfter: now.Add(after),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
}

const secure = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["default/shop.example.com"]
    tls:
      mode: MUTUAL
      serverCertificate: certs/shop.pem
      privateKey: certs/shop.key
      caCertificates: certs/clients.pem
      subjectAltNames: [friend.example.com]
      minProtocolVersion: TLSV1_1
      maxProtocolVersion: TLSV1_2
      cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [front]
  http: [{directResponse: {status: 200}}]
`

// tlsEffects are those of secure, in a directory of its own.
var tlsEffects = []effect{
	{"Gateway spec.servers[].port.protocol", "protocol: HTTPS", "protocol: TLS", "error", "TLS is not supported yet"},
	{"Gateway spec.servers[].tls.mode", "mode: MUTUAL\n", "mode: SIMPLE\n", "error", "no client is asked for a certificate with mode SIMPLE"},
	{"Gateway spec.servers[].tls.serverCertificate", "serverCertificate: certs/shop.pem", "serverCertificate: DIR/certs/other.pem", "error", "does not go with the certificate"},
	{"Gateway spec.servers[].tls.privateKey", "privateKey: certs/shop.key", "privateKey: certs/other.key", "error", "does not go with the certificate"},
	{"Gateway spec.servers[].tls.caCertificates", "clients.pem", "other.pem", "Listeners/https-443/tls/0/client_ca", `"DIR/certs/other.pem"`},
	{"Gateway spec.servers[].tls.subjectAltNames", "[friend.example.com]", "[foe.example.com]", "Listeners/https-443/tls/0/client_names", `["foe.example.com"]`},
	{"Gateway spec.servers[].tls.minProtocolVersion", "minProtocolVersion: TLSV1_1", "minProtocolVersion: TLSV1_2", "Listeners/https-443/tls/0/min_version", "771"},
	{"Gateway spec.servers[].tls.maxProtocolVersion", "maxProtocolVersion: TLSV1_2", "maxProtocolVersion: TLSV1_3", "Listeners/https-443/tls/0/max_version", "772"},
	{"Gateway spec.servers[].tls.cipherSuites", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "Listeners/https-443/tls/0/ciphers", "[49199]"},
}

// certificates returns a directory with certificates for every occasion.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	certs := filepath.Join(dir, "certs")
	const day = 24 * time.Hour
	makeCertificate(t, certs, "shop", -day, 90*day)
	makeCertificate(t, certs, "other", -day, 90*day)
	makeCertificate(t, certs, "clients", -day, 90*day)
	makeCertificate(t, certs, "expired", -9*day, -day)
	makeCertificate(t, certs, "early", 2*day, 9*day)
	makeCertificate(t, certs, "soon", -day, 13*day)
	write(t, filepath.Join(certs, "junk.pem"), "junk\n")
	write(t, filepath.Join(certs, "junk2.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})))
	return dir
}

func TestTLSFieldsHaveEffects(t *testing.T) {
	dir := certificates(t)
	file := filepath.Join(dir, "gateway.yaml")
	load := func(text string) any {
		return outcomeOf(Parse([]File{{Name: file, Data: []byte(text)}}, options()))
	}
	before := load(secure)
	if got, want := look(before, "Listeners/https-443/tls/0/certificate"), fmt.Sprintf("%q", dir+"/certs/shop.pem"); got != want {
		t.Fatalf("certificate: got %s, want %s: %s", got, want, look(before, "Findings"))
	}
	for _, e := range tlsEffects {
		t.Run(e.field, func(t *testing.T) {
			e.new, e.want = strings.ReplaceAll(e.new, "DIR", dir), strings.ReplaceAll(e.want, "DIR", dir)
			if n := strings.Count(secure, e.old); n != 1 {
				t.Fatalf("%q stands %d times in the file, want once", e.old, n)
			}
			e.compare(t, before, load(strings.Replace(secure, e.old, e.new, 1)))
		})
	}
}

func TestTLSFaultsAreNamed(t *testing.T) {
	dir := certificates(t)
	for _, c := range []struct{ old, new, want string }{
		{"certs/shop.pem", "certs/none.pem", "error: spec.servers[0].tls.serverCertificate: cannot be read: no such file or directory"},
		{"certs/shop.pem", "certs", "error: spec.servers[0].tls.serverCertificate: cannot be read: it is no regular file"},
		{"certs/shop.key", "certs/none.key", "error: spec.servers[0].tls.privateKey: cannot be read: no such file or directory"},
		{"certs/shop.pem", "certs/junk.pem", "error: spec.servers[0].tls.serverCertificate: holds no certificate in PEM form"},
		{"certs/shop.pem", "certs/junk2.pem", "error: spec.servers[0].tls.serverCertificate: is no certificate: x509: malformed certificate"},
		{"certs/shop.key", "certs/junk.pem", "error: spec.servers[0].tls.privateKey: junk.pem does not go with the certificate: failed to find any PEM data in key input"},
		{"certs/shop.key", "certs/other.key", "error: spec.servers[0].tls.privateKey: other.key does not go with the certificate: private key does not match public key"},
		{"certs/shop", "certs/expired", "error: spec.servers[0].tls.serverCertificate: the certificate of expired expired on DATE; renew it"},
		{"certs/shop", "certs/early", "error: spec.servers[0].tls.serverCertificate: the certificate of early does not hold before DATE"},
		{"certs/shop", "certs/soon", "warning: spec.servers[0].tls.serverCertificate: the certificate of soon expires on DATE; renew it"},
		{"certs/clients.pem", "certs/expired.pem", "error: spec.servers[0].tls.caCertificates: the certificate of expired expired on DATE; renew it"},
		{"certs/clients.pem", "certs/junk.pem", "error: spec.servers[0].tls.caCertificates: holds no certificate in PEM form"},
		{"      caCertificates: certs/clients.pem\n", "", "error: spec.servers[0].tls.caCertificates: is missing; name a PEM file"},
		{"      privateKey: certs/shop.key\n", "", "error: spec.servers[0].tls.privateKey: is missing; name a PEM file"},
		{"TLSV1_2", "TLSV1_0", "error: spec.servers[0].tls.maxProtocolVersion: TLS 1.0 is older than the oldest version that is allowed, TLS 1.1"},
		{"TLSV1_2", "TLSV1_22", "error: spec.servers[0].tls.maxProtocolVersion: must be one of TLS_AUTO, TLSV1_0, TLSV1_1, TLSV1_2, TLSV1_3, not TLSV1_22; did you mean TLSV1_2?"},
		{"GCM-SHA256", "GCM-SHA25", `error: spec.servers[0].tls.cipherSuites[0]: "ECDHE-ECDSA-AES128-GCM-SHA25" is no cipher suite that can be chosen; did you mean "ECDHE-ECDSA-AES128-GCM-SHA256"?`},
		{"TLSV1_1\n      maxProtocolVersion: TLSV1_2", "TLSV1_3", "warning: spec.servers[0].tls.cipherSuites: TLS 1.3 chooses its own cipher suites"},
		{`"default/shop.example.com"`, `"shop.example.net", "*.example.com"`, "warning: spec.servers[0].tls.serverCertificate: the certificate is not for shop.example.net; it is for *.example.com, shop.example.com"},
		{"protocol: HTTPS", "protocol: HTTP", "error: spec.servers[0].tls: a port that speaks HTTP has no use for certificates; write protocol: HTTPS, or keep only httpsRedirect"},
		{"mode: MUTUAL", "mode: PASSTHROUGH", "error: spec.servers[0].tls.mode: PASSTHROUGH is not supported yet; crossfade applies SIMPLE, MUTUAL"},
		{"      mode: MUTUAL\n", "", "error: spec.servers[0].tls.mode: is missing, which means PASSTHROUGH, and that is not supported yet; write SIMPLE or MUTUAL"},
		{"mode: MUTUAL", "mode: MUTUAL\n      httpsRedirect: true", "error: spec.servers[0].tls.httpsRedirect: is for ports that speak HTTP"},
	} {
		doc := strings.ReplaceAll(secure, c.old, c.new)
		_, findings := Parse([]File{{Name: filepath.Join(dir, "gateway.yaml"), Data: []byte(doc)}}, options())
		today := time.Now().UTC()
		found := false
		for _, f := range findings {
			line := f.Severity.String() + ": " + f.Field + ": " + f.Message
			for day := -10; day <= 20; day++ {
				line = strings.ReplaceAll(line, today.AddDate(0, 0, day).Format(time.DateOnly), "DATE")
			}
			found = found || line == c.want
		}
		if !found {
			t.Errorf("%q → %q: no finding %q in:\n%s", c.old, c.new, c.want, text(findings))
		}
	}
}
