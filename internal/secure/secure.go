// Package secure is what both ends of TLS have in common: credentials that are read from PEM files and read again
// when those change, and a connection that bears deadlines which ring early.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotReloaded says that what was read before goes on, because what the files hold now cannot be used.
var ErrNotReloaded = errors.New("what was read before is still served")

var errNoPEM = errors.New("no certificate in PEM form")

// Files are paths of PEM files. An empty path is no file.
type Files struct {
	Certificate string // leaf first; with Key
	Key         string
	CA          string // authorities that sign the other side's certificates
	Side        string // whose certificates CA is about: "client", "endpoint"
}

// A Material is what files hold.
type Material struct {
	Pair        *tls.Certificate    // nil without Files.Certificate
	Authorities *x509.CertPool      // nil without Files.CA
	CAChanged   bool                // Authorities are not those of the material before, or there was none
	list        []*x509.Certificate // Authorities
}

// A Credential is a configuration of TLS made of files. Its methods may be called from any goroutine.
type Credential struct {
	files Files
	build func(Material) *tls.Config

	config atomic.Pointer[tls.Config] // of the last files that could be used; nil before there were any
	failed atomic.Pointer[error]      // why those that are there now cannot; nil if they can

	mu                   sync.Mutex // guards what follows
	looked               bool       // at files, with success
	certificate, key, ca pemFile
	watched              []*x509.Certificate // in force, and
	lapses               int                 // how many of them were found to have lapsed
}

// NewCredential returns a credential that has looked at no file before Refresh. build makes a configuration of what
// the files hold, each time that changes; it is called by one goroutine at a time.
func NewCredential(files Files, build func(Material) *tls.Config) *Credential {
	return &Credential{
		files: files, build: build,
		certificate: pemFile{path: files.Certificate}, key: pemFile{path: files.Key}, ca: pemFile{path: files.CA},
	}
}

// Files returns the files that the credential goes by.
func (c *Credential) Files() Files { return c.files }

// Config returns the configuration in force, nil before there were files that could be used.
func (c *Credential) Config() *tls.Config { return c.config.Load() }

// Err says why the files as they are now cannot be used, with ErrNotReloaded where older ones are; nil if they can.
func (c *Credential) Err() error {
	err := c.failed.Load()
	switch {
	case err == nil:
		return nil
	case c.config.Load() != nil:
		return fmt.Errorf("%w; %w", *err, ErrNotReloaded)
	default:
		return *err
	}
}

// A Change is what came of looking at files.
type Change struct {
	Loaded  bool     // new files are in force
	Failed  bool     // they cannot be used, for another reason than before; see Credential.Err
	Notices []string // of certificates that are in force and have lapsed
}

// Refresh looks at the files, and puts them in force if they have changed and fit each other. Two files that are
// replaced one after the other do not fit until the second is; what was read before stays in force meanwhile.
func (c *Credential) Refresh(now time.Time) Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	loaded, err := c.load(now)
	change := Change{Loaded: loaded}
	before := c.failed.Load()
	switch {
	case err == nil:
		c.failed.Store(nil)
	case before == nil || (*before).Error() != err.Error():
		c.failed.Store(&err)
		change.Failed = true
	}
	if lapses := lapsed(now, c.watched); len(lapses) > c.lapses || loaded {
		c.lapses, change.Notices = len(lapses), lapses
	}
	return change
}

func (c *Credential) load(now time.Time) (loaded bool, err error) {
	files := []*pemFile{&c.certificate, &c.key, &c.ca}
	fresh, again := false, c.failed.Load() != nil
	var errs []error
	for _, f := range files {
		errs = append(errs, f.refresh(now))
		fresh = fresh || f.fresh
	}
	fresh = fresh || !c.looked // no file at all is something to go by, too
	if err := errors.Join(errs...); err != nil || !fresh && !again {
		return false, err
	}
	m, err := c.material()
	if err != nil {
		return false, err
	}
	c.config.Store(c.build(m))
	c.watched = m.list
	if m.Pair != nil {
		c.watched = append([]*x509.Certificate{m.Pair.Leaf}, m.list...)
	}
	c.looked = true
	for _, f := range files {
		f.fresh = false
	}
	return fresh, nil
}

func (c *Credential) material() (Material, error) {
	m := Material{CAChanged: !c.looked || c.ca.fresh}
	if c.files.Certificate != "" {
		pair, err := tls.X509KeyPair(c.certificate.data, c.key.data)
		if err != nil {
			return Material{}, fmt.Errorf("certificate %s and key %s: %w", c.files.Certificate, c.files.Key, err)
		}
		m.Pair = &pair
	}
	if c.files.CA != "" {
		list, err := certificates(c.ca.data)
		if err != nil {
			return Material{}, fmt.Errorf("%s CA %s: %w", c.files.Side, c.files.CA, err)
		}
		m.list, m.Authorities = list, x509.NewCertPool()
		for _, a := range list {
			m.Authorities.AddCert(a)
		}
	}
	return m, nil
}

// Carries says whether a certificate has one of the subject alternative names: URIs, DNS names or IP addresses, to be
// met as they are written.
func Carries(c *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return carries(c, name) })
}

func carries(c *x509.Certificate, name string) bool {
	for _, u := range c.URIs {
		if u.String() == name {
			return true
		}
	}
	for _, n := range c.DNSNames {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	ip := net.ParseIP(name)
	return ip != nil && slices.ContainsFunc(c.IPAddresses, ip.Equal)
}

// certificates reads all certificates of a PEM file.
func certificates(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errNoPEM
	}
	return all, nil
}

// lapsed names certificates whose time is over or still to come. They are used all the same: whether a
// certificate is believed is for whoever sees it to decide.
func lapsed(now time.Time, list []*x509.Certificate) []string {
	var notices []string
	for _, c := range list {
		switch {
		case now.After(c.NotAfter):
			notices = append(notices, fmt.Sprintf("%s expired at %s", c.Subject, c.NotAfter.Format(time.RFC3339)))
		case now.Before(c.NotBefore):
			notices = append(notices, fmt.Sprintf("%s does not hold before %s", c.Subject, c.NotBefore.Format(time.RFC3339)))
		}
	}
	return notices
}
