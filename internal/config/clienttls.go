package config

import (
	"cmp"
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// clientTLS reads how endpoints are spoken to over TLS; nil is in plaintext. SNI is "" where it is not given: see
// settings.over.
func (b *builder) clientTLS(o *object, path string, t *networking.ClientTLSSettings) *fleet.ClientTLS {
	if !o.has(path + ".mode") {
		b.report(o, Missing, path+".mode", "is missing, which means DISABLE; write that, SIMPLE or MUTUAL")
		return nil
	}
	switch t.Mode {
	case networking.ClientTLSSettings_SIMPLE, networking.ClientTLSSettings_MUTUAL:
	case networking.ClientTLSSettings_DISABLE:
		b.unusedTLS(o, path, "endpoints are spoken to in plaintext with mode DISABLE; write SIMPLE or MUTUAL, or remove this",
			".clientCertificate", ".privateKey", ".caCertificates", ".subjectAltNames", ".sni", ".insecureSkipVerify")
		return nil
	default:
		b.report(o, Unsupported, path+".mode", "ISTIO_MUTUAL needs certificates that Istio's control plane hands out, and there is none here; "+
			"write MUTUAL with clientCertificate, privateKey and caCertificates")
		return nil
	}
	out := &fleet.ClientTLS{SNI: t.Sni, Names: t.SubjectAltNames, Unverified: t.GetInsecureSkipVerify().GetValue()}
	if t.Sni != "" && (!isHost(t.Sni) || strings.HasPrefix(t.Sni, "*")) {
		b.report(o, Invalid, path+".sni", "%q is no name to ask for; write one host name", clip(t.Sni))
	}
	if out.Unverified {
		b.unusedTLS(o, path, "with insecureSkipVerify any certificate will do; remove one of the two", ".caCertificates", ".subjectAltNames")
		out.Names = nil
	}
	if b.otherCredentials(o, path) {
		return out
	}
	if t.CaCertificates != "" && !out.Unverified {
		out.CA = b.tlsFile(o, path+".caCertificates", t.CaCertificates)
		b.checkAuthorities(o, path+".caCertificates", out.CA)
	}
	if t.Mode == networking.ClientTLSSettings_SIMPLE {
		b.unusedTLS(o, path, "no certificate is shown to endpoints with mode SIMPLE; write MUTUAL, or remove this", ".clientCertificate", ".privateKey")
		return out
	}
	out.Certificate = b.tlsFile(o, path+".clientCertificate", t.ClientCertificate)
	out.Key = b.tlsFile(o, path+".privateKey", t.PrivateKey)
	b.checkClientPair(o, path, out)
	return out
}

// unusedTLS names the fields that contradict another.
func (b *builder) unusedTLS(o *object, path, why string, fields ...string) {
	for _, field := range fields {
		if o.has(path + field) {
			b.report(o, Conflict, path+field, "%s", why)
		}
	}
}

// checkClientPair makes sure that a certificate and its key can be shown, today and for a while.
func (b *builder) checkClientPair(o *object, path string, t *fleet.ClientTLS) {
	if t.Certificate == "" || t.Key == "" {
		return
	}
	certificate := b.tlsData(o, path+".clientCertificate", t.Certificate)
	key := b.tlsData(o, path+".privateKey", t.Key)
	if certificate == nil || key == nil {
		return
	}
	chain := b.chain(o, path+".clientCertificate", certificate)
	if len(chain) == 0 {
		return
	}
	if _, err := tls.X509KeyPair(certificate, key); err != nil {
		b.report(o, Certificate, path+".privateKey", "%s does not go with the certificate: %s", filepath.Base(t.Key),
			strings.TrimPrefix(err.Error(), "tls: "))
	}
	b.checkTimes(o, path+".clientCertificate", chain[0])
}

// checkReach makes sure that TLS is not spoken to instances that crossfade runs itself: who answers at their addresses
// is the sidecar, in plaintext.
func (b *builder) checkReach(h *host) {
	for i := range h.services {
		s := &h.services[i]
		if !slices.ContainsFunc(s.Pools, func(p fleet.Pool) bool { return p.Policy.TLS != nil }) {
			continue
		}
		for j := range b.workloads {
			if w := &b.workloads[j]; s.Selects(w.Namespace, w.Labels) {
				b.report(h.rule.object, Conflict, "spec.host", "port %d of %s leads to Deployment %s, whose instances are reached through their sidecars, "+
					"in plaintext and on this machine only; set tls to DISABLE for it", s.Port, s.Host, w.Name)
			}
		}
	}
}

// named returns t with the name that endpoints of a host are asked for.
func named(t *fleet.ClientTLS, host string) *fleet.ClientTLS {
	if t == nil {
		return nil
	}
	own := *t
	own.SNI = cmp.Or(t.SNI, host)
	return &own
}
