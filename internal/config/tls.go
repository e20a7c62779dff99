package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// soon is how long before its end a certificate is warned about.
const soon = 14 * 24 * time.Hour

// serverTLS reads how a server answers TLS clients, or that it sends plaintext ones to https.
func (b *builder) serverTLS(o *object, s *server, from *networking.Server) {
	path, t := s.path+".tls", from.GetTls()
	if !strings.EqualFold(from.GetPort().GetProtocol(), "HTTPS") {
		s.redirect = t.GetHttpsRedirect()
		if o.has(path+".mode") || t.GetServerCertificate() != "" {
			b.report(o, Conflict, path, "a port that speaks HTTP has no use for certificates; write protocol: HTTPS, or keep only httpsRedirect")
		}
		return
	}
	s.tls = &fleet.ServerTLS{Origin: o.origin(path)}
	for _, h := range s.hosts {
		s.tls.Hosts = append(s.tls.Hosts, h.name)
	}
	switch {
	case t == nil:
		b.report(o, Missing, path, "is missing; HTTPS needs mode, serverCertificate and privateKey")
		return
	case !o.has(path + ".mode"):
		b.report(o, Missing, path+".mode", "is missing, which means PASSTHROUGH, and that is not supported yet; write SIMPLE or MUTUAL")
	case t.HttpsRedirect:
		b.report(o, Conflict, path+".httpsRedirect", "is for ports that speak HTTP")
	}
	b.tlsVersions(o, path, t, s.tls)
	if b.otherCredentials(o, path) {
		return
	}
	s.tls.Certificate = b.tlsFile(o, path+".serverCertificate", t.ServerCertificate)
	s.tls.Key = b.tlsFile(o, path+".privateKey", t.PrivateKey)
	b.checkPair(o, path, s.tls)
	if t.Mode == networking.ServerTLSSettings_MUTUAL {
		s.tls.ClientCA = b.tlsFile(o, path+".caCertificates", t.CaCertificates)
		s.tls.ClientNames = t.SubjectAltNames
		b.checkAuthorities(o, path+".caCertificates", s.tls.ClientCA)
		return
	}
	for _, field := range []string{".caCertificates", ".subjectAltNames"} {
		if o.has(path + field) {
			b.report(o, Conflict, path+field, "no client is asked for a certificate with mode SIMPLE; write MUTUAL, or remove this")
		}
	}
}

// otherCredentials says whether certificates come from elsewhere; the reader has named that.
func (b *builder) otherCredentials(o *object, path string) bool {
	return o.has(path+".credentialName") || o.has(path+".credentialNames") || o.has(path+".tlsCertificates")
}

// protocolVersionTable are Istio's names for the versions of TLS.
var protocolVersionTable = map[networking.ServerTLSSettings_TLSProtocol]uint16{
	networking.ServerTLSSettings_TLSV1_0: tls.VersionTLS10,
	networking.ServerTLSSettings_TLSV1_1: tls.VersionTLS11,
	networking.ServerTLSSettings_TLSV1_2: tls.VersionTLS12,
	networking.ServerTLSSettings_TLSV1_3: tls.VersionTLS13,
}

// cipherTable are the names that Envoy uses for the cipher suites that Go has.
var cipherTable = map[string]uint16{
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

func (b *builder) tlsVersions(o *object, path string, t *networking.ServerTLSSettings, out *fleet.ServerTLS) {
	out.MinVersion = protocolVersionTable[t.MinProtocolVersion]
	out.MaxVersion = protocolVersionTable[t.MaxProtocolVersion]
	least, most := out.MinVersion, out.MaxVersion
	if least == 0 {
		least = tls.VersionTLS12
	}
	if most != 0 && most < least {
		b.report(o, Conflict, path+".maxProtocolVersion", "%s is older than the oldest version that is allowed, %s",
			tls.VersionName(most), tls.VersionName(least))
	}
	for i, name := range t.CipherSuites {
		at := fmt.Sprintf("%s.cipherSuites[%d]", path, i)
		id, ok := cipherTable[strings.ToUpper(name)]
		if !ok {
			var names []string
			for known := range cipherTable {
				names = append(names, known)
			}
			b.report(o, Invalid, at, "%q is no cipher suite that can be chosen%s", clip(name), didYouMean(strings.ToUpper(name), names))
			continue
		}
		out.Ciphers = append(out.Ciphers, id)
	}
	if least == tls.VersionTLS13 && len(t.CipherSuites) > 0 {
		b.warn(o, path+".cipherSuites", "TLS 1.3 chooses its own cipher suites")
	}
}

// tlsFile returns the path of a PEM file: a relative one starts at the file of configuration that names it.
func (b *builder) tlsFile(o *object, field, name string) string {
	if name == "" {
		b.report(o, Missing, field, "is missing; name a PEM file")
		return ""
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(o.file), name)
}

// checkPair makes sure that a certificate and its key can be served with, today and for a while.
func (b *builder) checkPair(o *object, path string, t *fleet.ServerTLS) {
	if t.Certificate == "" || t.Key == "" {
		return
	}
	certificate := b.tlsData(o, path+".serverCertificate", t.Certificate)
	key := b.tlsData(o, path+".privateKey", t.Key)
	if certificate == nil || key == nil {
		return
	}
	chain := b.chain(o, path+".serverCertificate", certificate)
	if len(chain) == 0 {
		return
	}
	if _, err := tls.X509KeyPair(certificate, key); err != nil {
		b.report(o, Certificate, path+".privateKey", "%s does not go with the certificate: %s", filepath.Base(t.Key),
			strings.TrimPrefix(err.Error(), "tls: "))
	}
	b.checkTimes(o, path+".serverCertificate", chain[0])
	for _, host := range t.Hosts {
		if !certifies(chain[0], host) {
			b.add(Warning, o, Certificate, path+".serverCertificate", "the certificate is not for %s; it is for %s", host, strings.Join(chain[0].DNSNames, ", "))
		}
	}
}

// certifies says whether a certificate is for a host, which may be a wildcard.
func certifies(c *x509.Certificate, host string) bool {
	if host == "*" {
		return true
	}
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		host = "any." + rest
	}
	return c.VerifyHostname(host) == nil
}

func (b *builder) checkAuthorities(o *object, field, file string) {
	if file == "" {
		return
	}
	data := b.tlsData(o, field, file)
	if data == nil {
		return
	}
	for _, c := range b.chain(o, field, data) {
		b.checkTimes(o, field, c)
	}
}

func (b *builder) tlsData(o *object, field, file string) []byte {
	data, err := readFile(file)
	if err != nil {
		b.report(o, Certificate, field, "%s", unreadable(file, err).Message)
		return nil
	}
	return data
}

// chain reads the certificates of a PEM file.
func (b *builder) chain(o *object, field string, data []byte) []*x509.Certificate {
	var list []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			b.report(o, Certificate, field, "is no certificate: %s", err)
			return nil
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		b.report(o, Certificate, field, "holds no certificate in PEM form")
	}
	return list
}

func (b *builder) checkTimes(o *object, field string, c *x509.Certificate) {
	now := time.Now()
	switch {
	case now.After(c.NotAfter):
		b.report(o, Certificate, field, "the certificate of %s expired on %s; renew it", c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		b.report(o, Certificate, field, "the certificate of %s does not hold before %s", c.Subject.CommonName, c.NotBefore.UTC().Format(time.DateOnly))
	case c.NotAfter.Sub(now) < soon:
		b.add(Warning, o, Certificate, field, "the certificate of %s expires on %s; renew it", c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
	}
}
