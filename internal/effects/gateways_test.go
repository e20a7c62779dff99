package effects

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates and keeps them as PEM files in a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.key = a.newKey()
	a.cert = a.issue(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &a.key.PublicKey)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// issue signs a certificate, by itself for the authority's own, and writes it to name.pem.
func (a *authority) issue(name string, c *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// pair issues a certificate for shop.example.com with a key, name.key.
func (a *authority) pair(name string) tls.Certificate {
	a.t.Helper()
	key := a.newKey()
	c := a.issue(name, &x509.Certificate{
		DNSNames:    []string{"shop.example.com", name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &key.PublicKey)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", "EC PRIVATE KEY", der)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

// fronted is a gateway on port 80, and on 443 with whatever tls says.
func fronted(tls string) string {
	return `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: web, protocol: HTTP}
    hosts: ["default/shop.example.com"]
  - port: {number: 443, name: safe, protocol: HTTPS}
    hosts: ["default/shop.example.com"]
    tls: {` + tls + `}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [front]
  http: [{directResponse: {status: 200, body: {string: shop}}}]
`
}

// fronting are the effects of Gateway.
func fronting(t *testing.T) []effect {
	t.Helper()
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	ca.pair("first")
	ca.pair("second")
	client := ca.pair("client")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	roots.AddCert(other.cert)
	plain, safe := ask{url: shop}, func(change func(*tls.Config)) ask {
		c := &tls.Config{ServerName: "shop.example.com", RootCAs: roots, MinVersion: tls.VersionTLS12}
		if change != nil {
			change(c)
		}
		return ask{url: "https://shop.example.com/", tls: c}
	}
	mutual := safe(func(c *tls.Config) { c.Certificates = []tls.Certificate{client} })
	old := safe(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	pem := func(rest string) string {
		return "serverCertificate: " + dir + "/first.pem, privateKey: " + dir + "/first.key, " + rest
	}
	simple := fronted(pem("mode: SIMPLE"))
	both := fronted(pem("mode: MUTUAL, caCertificates: " + dir + "/ca.pem, subjectAltNames: [client]"))
	var list []effect
	add := func(field, yaml, from, to string, q ask, was, now string) {
		list = append(list, effect{of("Gateway", "spec."+field), yaml, from, to, q, was, now})
	}
	const ok, refused = "status 200\n", "refused: "
	add("selector", simple, "istio: ingressgateway", "istio: egressgateway", plain, ok, refused)
	add("servers[].port.number", simple, "number: 80", "number: 81", ask{url: "http://shop.example.com:81/"}, refused, ok)
	add("servers[].port.name", simple, "name: web, ", "", plain, ok, refused)
	add("servers[].port.protocol", simple, "protocol: HTTP}", "protocol: TCP}", plain, ok, refused)
	add("servers[].hosts", strings.Replace(simple, `"default/shop.example.com"`, `"*/shop.example.com"`, 1), "*/shop", "prod/shop", plain, ok, "status 404\n")
	add("servers[].tls.httpsRedirect", strings.Replace(simple, "protocol: HTTP}", "protocol: HTTP}\n    tls: {httpsRedirect: false}", 1),
		"httpsRedirect: false", "httpsRedirect: true", plain, ok, "< location: https://shop.example.com/\n")
	add("servers[].tls.mode", both, "mode: MUTUAL, caCertificates: "+dir+"/ca.pem, subjectAltNames: [client]", "mode: SIMPLE", safe(nil), refused, ok)
	add("servers[].tls.serverCertificate", strings.Replace(simple, "/first.", "/second.", 1), "/second.pem", "/first.pem", safe(nil), refused, ok)
	add("servers[].tls.privateKey", simple, "/first.key", "/second.key", safe(nil), ok, refused)
	add("servers[].tls.caCertificates", both, "/ca.pem", "/other.pem", mutual, ok, refused)
	add("servers[].tls.subjectAltNames", both, "[client]", "[boss]", mutual, ok, refused)
	add("servers[].tls.minProtocolVersion", fronted(pem("mode: SIMPLE, minProtocolVersion: TLSV1_2")), "TLSV1_2", "TLSV1_3", old, ok, refused)
	add("servers[].tls.maxProtocolVersion", fronted(pem("mode: SIMPLE, maxProtocolVersion: TLSV1_2")), "TLSV1_2", "TLSV1_3", safe(nil), "tls TLS 1.2", "tls TLS 1.3")
	add("servers[].tls.cipherSuites", fronted(pem("mode: SIMPLE, cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]")), "AES128-GCM-SHA256", "AES256-GCM-SHA384", old,
		"tls TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "tls TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
	// What the client speaks is what routes go by and what endpoints hear.
	spoken := through("one.example.com", base[strings.Index(base, "---"):strings.LastIndex(base, "---")])
	spoken = strings.Replace(spoken, `[{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]`,
		`[{port: {number: 443, name: safe, protocol: HTTPS}, hosts: ["*"], tls: {`+pem("mode: SIMPLE")+"}}]", 1)
	spoken = strings.Replace(spoken, "http: [{", "http: [{match: [{scheme: {exact: https}}], ", 1)
	return append(list, effect{vs("spec.http[].match[].scheme.exact"), spoken, "exact: https", "exact: http", safe(nil), "> x-forwarded-proto: https\n", "status 404\n"})
}
