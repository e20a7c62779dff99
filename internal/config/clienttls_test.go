package config

import (
	"path/filepath"
	"strings"
	"testing"
)

const mutual = "tls: {mode: MUTUAL, clientCertificate: certs/shop.pem, privateKey: certs/shop.key, caCertificates: certs/clients.pem, sni: a.example.com, subjectAltNames: [a, b]}"

// clientTLSEffects are those of how endpoints are spoken to, wherever a trafficPolicy can stand, with the files of
// certificates in dir.
func clientTLSEffects(dir string) []effect {
	var list []effect
	for _, p := range policyPlaces {
		rule := service("a", "default", 80) + istio("DestinationRule", "a", "default", p.rule)
		add := func(field, policy, from, to, look, want string) {
			before := strings.Replace(rule, "POLICY", policy, 1)
			list = append(list, effect{
				"DestinationRule " + p.field + "tls." + field,
				before, strings.Replace(before, from, to, 1), "Services/a:80/pools/" + p.pool + "/policy/tls" + look, want,
			})
		}
		const simple = "tls: {mode: SIMPLE}"
		add("mode", simple, "SIMPLE", "DISABLE", "", "null")
		add("mode", "tls: {mode: DISABLE}", "DISABLE", "SIMPLE", "", `{"sni":"a"}`)
		add("clientCertificate", mutual, "shop.pem", "other.pem", "", "null") // it does not go with the key
		add("clientCertificate", strings.ReplaceAll(mutual, "certs/shop", "certs/other"), "certs/other.pem", dir+"/certs/../certs/other.pem", "/certificate", "")
		add("privateKey", mutual, "certs/shop.key", dir+"/certs/../certs/shop.key", "/key", "")
		add("caCertificates", mutual, "clients.pem", "other.pem", "/ca", `"`+dir+`/certs/other.pem"`)
		add("caCertificates", simple, "SIMPLE", "SIMPLE, caCertificates: certs/other.pem", "/ca", `"`+dir+`/certs/other.pem"`)
		add("subjectAltNames", mutual, "[a, b]", "[c]", "/names", `["c"]`)
		add("sni", mutual, "sni: a.example.com", "sni: b.example.com", "/sni", `"b.example.com"`)
		add("sni", simple, "SIMPLE", "SIMPLE, sni: b.example.com", "/sni", `"b.example.com"`)
		add("insecureSkipVerify", simple, "SIMPLE", "SIMPLE, insecureSkipVerify: true", "/unverified", "true")
	}
	return list
}

func TestEveryFieldOfTLSToEndpointsHasAnEffect(t *testing.T) {
	dir := certificates(t)
	load := func(text string) any {
		return outcomeOf(Parse([]File{{Name: filepath.Join(dir, "rules.yaml"), Data: []byte(text)}}, options()))
	}
	for _, e := range clientTLSEffects(dir) {
		t.Run(e.field, func(t *testing.T) { e.compare(t, load(e.old), load(e.new)) })
	}
}

// What a subset or a port does not say about TLS comes from above: from the service for a subset, from nowhere for a
// port, as with all settings.
func TestWhatTLSIsInherited(t *testing.T) {
	for _, c := range []struct{ rule, pool, want string }{
		{"host: a, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1}]", "v1", `{"sni":"a"}`},
		{"host: a, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]", "v1", `{"sni":"a"}`},
		{"host: a, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]", "v1", "null"},
		{"host: a, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]", "0", `{"sni":"a"}`},
		{"host: a, subsets: [{name: v1, trafficPolicy: {tls: {mode: SIMPLE, sni: b}}}]", "0", "null"},
		{"host: a, trafficPolicy: {tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}", "0", "null"},
		{"host: a, trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: SIMPLE}}", "0", `{"sni":"a"}`},
	} {
		got := look(outcome([]byte(service("a", "default", 80)+istio("DestinationRule", "a", "default", c.rule))), "Services/a:80/pools/"+c.pool+"/policy/tls")
		if got != c.want {
			t.Errorf("%s: pool %s: got %s, want %s", c.rule, c.pool, got, c.want)
		}
	}
}

func TestFaultsOfTLSToEndpointsAreNamed(t *testing.T) {
	dir := certificates(t)
	const at = "spec.trafficPolicy.tls"
	for _, c := range []struct{ policy, want string }{
		{"tls: {}", "error: " + at + ".mode: is missing, which means DISABLE; write that, SIMPLE or MUTUAL"},
		{"tls: {sni: a.example.com}", "error: " + at + ".mode: is missing, which means DISABLE; write that, SIMPLE or MUTUAL"},
		{"tls: {mode: ISTIO_MUTUAL}", "error: " + at + ".mode: ISTIO_MUTUAL needs certificates that Istio's control plane hands out, and there is none here; write MUTUAL with clientCertificate, privateKey and caCertificates"},
		{"tls: {mode: SIMPEL}", "error: " + at + ".mode: must be one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL, not SIMPEL; did you mean SIMPLE?"},
		{"tls: {mode: DISABLE, sni: a.example.com}", "error: " + at + ".sni: endpoints are spoken to in plaintext with mode DISABLE; write SIMPLE or MUTUAL, or remove this"},
		{"tls: {mode: SIMPLE, credentialName: x}", "error: " + at + ".credentialName: not supported yet: name PEM files in clientCertificate, privateKey and caCertificates"},
		{"tls: {mode: MUTUAL, credentialName: x}", "error: " + at + ".credentialName: not supported yet: name PEM files in clientCertificate, privateKey and caCertificates"},
		{"tls: {mode: SIMPLE, caCrl: certs/shop.pem}", "error: " + at + ".caCrl: not supported yet; remove it, crossfade would not act on it"},
		{"tls: {mode: SIMPLE, clientCertificate: certs/shop.pem}", "error: " + at + ".clientCertificate: no certificate is shown to endpoints with mode SIMPLE; write MUTUAL, or remove this"},
		{"tls: {mode: SIMPLE, privateKey: certs/shop.key}", "error: " + at + ".privateKey: no certificate is shown to endpoints with mode SIMPLE; write MUTUAL, or remove this"},
		{"tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: certs/shop.pem}", "error: " + at + ".caCertificates: with insecureSkipVerify any certificate will do; remove one of the two"},
		{"tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}", "error: " + at + ".subjectAltNames: with insecureSkipVerify any certificate will do; remove one of the two"},
		{`tls: {mode: SIMPLE, sni: "*.example.com"}`, `error: ` + at + `.sni: "*.example.com" is no name to ask for; write one host name`},
		{"tls: {mode: SIMPLE, sni: a b}", `error: ` + at + `.sni: "a b" is no name to ask for; write one host name`},
		{"tls: {mode: SIMPLE, caCertificates: certs/none.pem}", "error: " + at + ".caCertificates: cannot be read: no such file or directory"},
		{"tls: {mode: SIMPLE, caCertificates: certs/junk.pem}", "error: " + at + ".caCertificates: holds no certificate in PEM form"},
		{"tls: {mode: MUTUAL}", "error: " + at + ".clientCertificate: is missing; name a PEM file"},
		{"tls: {mode: MUTUAL}", "error: " + at + ".privateKey: is missing; name a PEM file"},
		{strings.Replace(mutual, "shop.key", "other.key", 1), "error: " + at + ".privateKey: other.key does not go with the certificate: private key does not match public key"},
		{strings.Replace(mutual, "shop.pem", "junk.pem", 1), "error: " + at + ".clientCertificate: holds no certificate in PEM form"},
	} {
		document := service("a", "default", 80) + istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {"+c.policy+"}")
		d, findings := Parse([]File{{Name: filepath.Join(dir, "rules.yaml"), Data: []byte(document)}}, options())
		found := false
		for _, f := range findings {
			found = found || f.Severity.String()+": "+f.Field+": "+f.Message == c.want
		}
		if !found || d != nil {
			t.Errorf("%s: no finding %q in:\n%s", c.policy, c.want, text(findings))
		}
	}
}
