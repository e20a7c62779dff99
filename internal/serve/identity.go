package serve

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/secure"
)

// ErrNotReloaded says that a server of TLS, or who speaks TLS to endpoints, goes on with what it read before, because
// what its files hold now cannot be used.
var ErrNotReloaded = secure.ErrNotReloaded

var errClientName = errors.New("the client's certificate carries none of the names that are let in")

// An identity is what a gateway shows to TLS clients, and what it wants to see of them. It is shared by all
// servers, and by all connections, that go by the same files and settings.
type identity struct {
	*secure.Credential
	spec    fleet.ServerTLS // but for Hosts and Origin
	demand  string          // what a client must prove: the same text for the same demand, "" for nothing
	tickets atomic.Pointer[tickets]
}

func newIdentity(spec fleet.ServerTLS) *identity {
	id := &identity{spec: spec}
	id.Credential = secure.NewCredential(secure.Files{
		Certificate: spec.Certificate, Key: spec.Key, CA: spec.ClientCA, Side: "client",
	}, id.build)
	if spec.ClientCA != "" {
		id.demand = fmt.Sprintf("%q %q", spec.ClientCA, spec.ClientNames)
	}
	return id
}

// build makes the configuration that the files' contents ask for.
func (id *identity) build(m secure.Material) *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{*m.Pair},
		MinVersion:   cmp.Or(id.spec.MinVersion, tls.VersionTLS12),
		MaxVersion:   id.spec.MaxVersion,
		CipherSuites: id.spec.Ciphers,
		NextProtos:   []string{"h2", "http/1.1"},
		// An answer of 10 KB is one record and one system call, not nine: clients that read it byte by byte over slow
		// lines wait for its end in any case.
		DynamicRecordSizingDisabled: true,
	}
	if m.Authorities != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, m.Authorities
	}
	if len(id.spec.ClientNames) > 0 {
		config.VerifyConnection = id.admit
	}
	if m.CAChanged { // who was let in by other authorities shall not come in by a ticket
		id.tickets.Store(newTickets())
	}
	keys := id.tickets.Load()
	config.WrapSession, config.UnwrapSession = keys.wrap, keys.unwrap
	return config
}

// admit lets clients in whose certificate, which has been verified, carries one of the names. It is asked for
// resumed sessions too.
func (id *identity) admit(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 || !secure.Carries(cs.PeerCertificates[0], id.spec.ClientNames) {
		return errClientName
	}
	return nil
}

// Tickets are the keys under which clients keep their sessions. They outlive certificates. A key seals tickets for
// ticketTurn and opens them for twice as long again; then nobody can read what was said under it any more.
type tickets struct {
	mu     sync.Mutex
	keys   [][32]byte // newest first
	since  time.Time  // when the newest was first looked at
	config *tls.Config
}

const (
	ticketTurn = 12 * time.Hour
	ticketKeys = 3
)

func newTickets() *tickets {
	t := &tickets{config: &tls.Config{MinVersion: tls.VersionTLS12}}
	t.add()
	return t
}

// add puts a new key in force, and forgets the oldest.
func (t *tickets) add() {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails
	t.keys = append([][32]byte{key}, t.keys[:min(len(t.keys), ticketKeys-1)]...)
	t.config.SetSessionTicketKeys(t.keys)
}

// turn adds a key when it is time.
func (t *tickets) turn(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.since.IsZero():
		t.since = now
	case now.Sub(t.since) >= ticketTurn:
		t.since = now
		t.add()
	}
}

func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	return t.config.EncryptTicket(cs, ss)
}

func (t *tickets) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	return t.config.DecryptTicket(ticket, cs)
}

// refresh looks at the files and turns the keys.
func (id *identity) refresh(now time.Time) secure.Change {
	c := id.Refresh(now)
	if keys := id.tickets.Load(); keys != nil {
		keys.turn(now)
	}
	return c
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

// all returns the identities in the order of their certificates.
func (r *keyring) all() []*identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Collect(maps.Values(r.ids))
	slices.SortFunc(list, func(a, b *identity) int { return cmp.Compare(a.spec.Certificate, b.spec.Certificate) })
	return list
}
