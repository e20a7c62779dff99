package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

// session is what a server of TLS would seal into a ticket.
func session(t *testing.T) (session *tls.SessionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		WrapSession: func(_ tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			session = ss
			return []byte("ticket"), nil
		},
		MaxVersion: tls.VersionTLS12, // whose handshakes both sides leave at once
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}).Handshake() //nolint:gosec // of no interest
	}()
	if err := tls.Server(ours, server).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || session == nil {
		t.Fatalf("got session %v, %v", session, err)
	}
	return session
}

// A ticket opens for as long as one of the last three keys has sealed it.
func TestTicketKeysTurn(t *testing.T) {
	keys, now, what := newTickets(), time.Unix(1_000_000, 0), session(t)
	keys.turn(now)
	seal := func() []byte {
		t.Helper()
		ticket, err := keys.wrap(tls.ConnectionState{}, what)
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	opens := func(ticket []byte) bool {
		ss, err := keys.unwrap(ticket, tls.ConnectionState{})
		return err == nil && ss != nil
	}
	first := seal()
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {ticketTurn - 1, true}, {ticketTurn, true}, {2*ticketTurn - 1, true}, {2 * ticketTurn, true}, {3*ticketTurn - 1, true}, {3 * ticketTurn, false}} {
		keys.turn(now.Add(c.after))
		if got := opens(first); got != c.want {
			t.Errorf("after %s: the ticket opens: %v, want %v", c.after, got, c.want)
		}
		if !opens(seal()) {
			t.Errorf("after %s: a new ticket does not open", c.after)
		}
	}
	if len(keys.keys) != ticketKeys {
		t.Errorf("got %d keys, want %d", len(keys.keys), ticketKeys)
	}
}
