package effects

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
)

// outward are the effects of how endpoints are spoken to over TLS, at each of the four places where it may stand. All
// endpoints speak TLS, with a certificate for stock.example.com and shop.example.com.
func outward(t *testing.T) []effect {
	t.Helper()
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	newAuthority(t, dir, "other")
	config := &tls.Config{Certificates: []tls.Certificate{ca.pair("stock.example.com")}, ClientAuth: tls.RequestClientCert}
	ours := ca.pair("ours")
	ca.pair("theirs")
	leaf, err := x509.ParseCertificate(ours.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("got a key of %T", leaf.PublicKey)
	}
	ca.issue("renewed", &x509.Certificate{ExtKeyUsage: leaf.ExtKeyUsage}, key)
	var list []effect
	for _, place := range policyPlaces {
		add := func(field, policy, from, to, was, now string) {
			policy = strings.ReplaceAll(policy, "DIR", dir)
			yaml := balanced(rule + strings.Replace(place.yaml, "POLICY", policy, 1))
			yaml = strings.Replace(yaml, "PLACE", place.subset+"port: {number: "+place.port+"}", 1)
			list = append(list, effect{of("DestinationRule", place.field+"tls."+field), yaml, from, to, ask{url: shop, inside: config}, was, now})
		}
		const ok, unreached = "status 200\n", "status 503\n"
		simple := "tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}"
		both := "tls: {mode: MUTUAL, clientCertificate: DIR/ours.pem, privateKey: DIR/ours.key, caCertificates: DIR/ca.pem}"
		add("mode", "tls: {mode: DISABLE}", "mode: DISABLE", "mode: SIMPLE, insecureSkipVerify: true", "status 502\n", ok)
		add("mode", both, "mode: MUTUAL", "mode: ISTIO_MUTUAL", "> tls shows ours\n", "refused: ")
		add("clientCertificate", both, "ours.pem", "renewed.pem", "> tls shows ours\n", "> tls shows renewed\n")
		add("privateKey", both, "ours.key", "theirs.key", ok, "refused: ")
		add("caCertificates", simple, "ca.pem", "other.pem", ok, unreached)
		add("caCertificates", simple, ", caCertificates: "+dir+"/ca.pem", "", ok, unreached)
		add("subjectAltNames", strings.Replace(simple, "}", ", subjectAltNames: [shop.example.com]}", 1), "Names: [shop.example.com]", "Names: [till.example.com]", ok, unreached)
		add("sni", strings.Replace(simple, "}", ", sni: shop.example.com}", 1), ", sni: shop.example.com", "", "> tls asks for shop.example.com\n", "> tls asks for stock.example.com\n")
		add("sni", strings.Replace(simple, "}", ", sni: shop.example.com}", 1), "sni: shop", "sni: till", ok, unreached)
		add("insecureSkipVerify", "tls: {mode: SIMPLE, insecureSkipVerify: false}", "false", "true", unreached, ok)
	}
	return list
}
