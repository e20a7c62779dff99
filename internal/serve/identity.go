package serve

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
)

// ErrNotReloaded says that a server of TLS goes on with what it read before, because what its files hold now
// cannot be used.
var ErrNotReloaded = errors.New("what was read before is still served")

var (
	errClientName = errors.New("the client's certificate carries none of the names that are let in")
	errNoPEM      = errors.New("no certificate in PEM form")
)

// An identity is what a gateway shows to TLS clients, and what it wants to see of them. It is shared by all
// servers, and by all connections, that go by the same files and settings.
type identity struct {
	spec   fleet.ServerTLS // but for Hosts and Origin
	demand string          // what a client must prove: the same text for the same demand, "" for nothing

	config atomic.Pointer[tls.Config] // of the last files that could be used; nil before there were any
	failed atomic.Pointer[error]      // why those that are there now cannot; nil if they can

	// The keyring's lock guards what follows.
	certificate, key, clientCA pemFile
	tickets                    *tls.Config         // only its keys are used: they outlive certificates, and Go rotates them
	watched                    []*x509.Certificate // in force, and
	lapses                     int                 // how many of them were found to have lapsed
}

func newIdentity(spec fleet.ServerTLS) *identity {
	id := &identity{
		spec:        spec,
		certificate: pemFile{path: spec.Certificate}, key: pemFile{path: spec.Key}, clientCA: pemFile{path: spec.ClientCA},
	}
	if spec.ClientCA != "" {
		id.demand = fmt.Sprintf("%q %q", spec.ClientCA, spec.ClientNames)
	}
	return id
}

func (id *identity) trouble() error {
	err := id.failed.Load()
	switch {
	case err == nil:
		return nil
	case id.config.Load() != nil:
		return fmt.Errorf("%w; %w", *err, ErrNotReloaded)
	default:
		return *err
	}
}

// A change is what came of looking at an identity's files.
type change struct {
	*identity
	loaded  bool     // new files are in force
	err     error    // they cannot be used, for another reason than before
	notices []string // of certificates that are in force and have lapsed
}

// refresh looks at the files, and puts them in force if they have changed and fit each other. Two files that are
// replaced one after the other do not fit until the second is; what was read before stays in force meanwhile.
func (id *identity) refresh(now time.Time) change {
	c := change{identity: id}
	err := id.load(now, &c)
	before := id.failed.Load()
	switch {
	case err == nil:
		id.failed.Store(nil)
	case before == nil || (*before).Error() != err.Error():
		id.failed.Store(&err)
		c.err = err
	}
	if lapses := lapsed(now, id.watched); len(lapses) > id.lapses || c.loaded {
		id.lapses, c.notices = len(lapses), lapses
	}
	return c
}

func (id *identity) load(now time.Time, c *change) error {
	files := []*pemFile{&id.certificate, &id.key, &id.clientCA}
	fresh, again := false, id.failed.Load() != nil
	var errs []error
	for _, f := range files {
		errs = append(errs, f.refresh(now))
		fresh = fresh || f.fresh
	}
	if err := errors.Join(errs...); err != nil || !fresh && !again {
		return err
	}
	config, watched, err := id.build()
	if err != nil {
		return err
	}
	id.config.Store(config)
	id.watched = watched
	for _, f := range files {
		f.fresh = false
	}
	c.loaded = fresh
	return nil
}

// build makes the configuration that the files' contents ask for, and returns it with the certificates whose
// dates somebody should watch.
func (id *identity) build() (*tls.Config, []*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(id.certificate.data, id.key.data)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s and key %s: %w", id.spec.Certificate, id.spec.Key, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   cmp.Or(id.spec.MinVersion, tls.VersionTLS12),
		MaxVersion:   id.spec.MaxVersion,
		CipherSuites: id.spec.Ciphers,
		NextProtos:   []string{"http/1.1"},
	}
	watched := []*x509.Certificate{pair.Leaf}
	if id.spec.ClientCA != "" {
		authorities, err := certificates(id.clientCA.data)
		if err != nil {
			return nil, nil, fmt.Errorf("client CA %s: %w", id.spec.ClientCA, err)
		}
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		for _, c := range authorities {
			config.ClientCAs.AddCert(c)
		}
		watched = append(watched, authorities...)
	}
	if len(id.spec.ClientNames) > 0 {
		config.VerifyConnection = id.admit
	}
	if id.tickets == nil || id.clientCA.fresh { // who was let in by other authorities shall not come in by a ticket
		id.tickets = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.WrapSession, config.UnwrapSession = id.tickets.EncryptTicket, id.tickets.DecryptTicket
	return config, watched, nil
}

// admit lets clients in whose certificate, which has been verified, carries one of the names. It is asked for
// resumed sessions too.
func (id *identity) admit(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 || !slices.ContainsFunc(id.spec.ClientNames, func(name string) bool { return carries(cs.PeerCertificates[0], name) }) {
		return errClientName
	}
	return nil
}

// carries says whether a certificate has a subject alternative name: a URI, a DNS name or an IP address.
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

// A keyring keeps the identities that listeners go by.
type keyring struct {
	mu    sync.Mutex
	ids   map[string]*identity // by spec
	asked map[*identity]bool   // for, since keep was last called
}

func newKeyring() *keyring { return &keyring{ids: map[string]*identity{}, asked: map[*identity]bool{}} }

// get returns the identity for a spec, a known one if there is one. It has looked at no file before refresh.
func (r *keyring) get(spec *fleet.ServerTLS) *identity {
	bare := *spec
	bare.Hosts, bare.Origin = nil, fleet.Origin{}
	key := fmt.Sprintf("%#v", bare)
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.ids[key]
	if id == nil {
		id = newIdentity(bare)
		r.ids[key] = id
	}
	r.asked[id] = true
	return id
}

// keep forgets the identities that were not asked for since it was last called.
func (r *keyring) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.ids, func(_ string, id *identity) bool { return !r.asked[id] })
	clear(r.asked)
}

// refresh looks at every identity's files and returns what is new.
func (r *keyring) refresh(now time.Time) []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	var changes []change
	for _, id := range r.ids {
		if c := id.refresh(now); c.loaded || c.err != nil || c.notices != nil {
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.spec.Certificate, b.spec.Certificate) })
	return changes
}
