package secure

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Dialing returns how a server is spoken to over TLS that shows a certificate for name, or, where that is "", for the
// address that is dialed. The authorities are those of the files, or else the machine's. Our own certificate, if there is
// one, is read again with every connection.
func Dialing(files Files, name string) (*tls.Config, error) {
	credential := NewCredential(files, func(m Material) *tls.Config {
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.Authorities}
		if m.Pair != nil {
			config.Certificates = []tls.Certificate{*m.Pair}
		}
		return config
	})
	credential.Refresh(time.Now())
	if credential.Config() == nil {
		return nil, credential.Err()
	}
	config := credential.Config().Clone()
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		credential.Refresh(time.Now())
		if now := credential.Config().Certificates; len(now) > 0 {
			return &now[0], nil
		}
		return &tls.Certificate{}, nil
	}
	if name != "" {
		// Some who dial set the name to that of the address, whatever it was: it is checked here instead.
		config.InsecureSkipVerify = true //nolint:gosec // see VerifyConnection
		config.VerifyConnection = func(s tls.ConnectionState) error {
			options := x509.VerifyOptions{DNSName: name, Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
			for _, c := range s.PeerCertificates[1:] {
				options.Intermediates.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(options)
			return err
		}
	}
	return config, nil
}
