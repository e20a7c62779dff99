package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCarries(t *testing.T) {
	uri, err := url.Parse("spiffe://mesh/ns/a/sa/B")
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		URIs: []*url.URL{uri}, DNSNames: []string{"shop.test", "*.wild.test"}, IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3), net.ParseIP("fd00::1")},
	}
	for name, want := range map[string]bool{
		"shop.test": true, "SHOP.test": true, "*.wild.test": true, "a.wild.test": false, "shop.test.": false, "shop": false, "": false,
		"spiffe://mesh/ns/a/sa/B": true, "spiffe://mesh/ns/a/sa/b": false, "spiffe://mesh/ns/a/sa": false,
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.1.2.4": false, "fd00::1": true, "fd00:0::1": true,
	} {
		if got := Carries(c, []string{"other.test", name}); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
	if Carries(c, nil) {
		t.Error("a certificate carries one of no names")
	}
}

// A credential without files is in force once somebody looked; one with a file goes on with what it read.
func TestACredentialGoesOn(t *testing.T) {
	builds := 0
	build := func(m Material) *tls.Config {
		builds++
		return &tls.Config{RootCAs: m.Authorities, MinVersion: tls.VersionTLS12}
	}
	bare := NewCredential(Files{}, build)
	if bare.Config() != nil {
		t.Error("there is a configuration before anybody looked")
	}
	for i, want := range []bool{true, false, false} {
		if c := bare.Refresh(time.Now()); c.Loaded != want || c.Failed || bare.Config() == nil || builds != 1 {
			t.Errorf("look %d: got %+v after %d builds, want loaded %v after 1", i, c, builds, want)
		}
	}

	path := filepath.Join(t.TempDir(), "ca.pem")
	late := NewCredential(Files{CA: path, Side: "client"}, build)
	for i, want := range []bool{true, false} { // the same reason is told once
		if c := late.Refresh(time.Now()); c.Failed != want || errors.Is(late.Err(), ErrNotReloaded) || !errors.Is(late.Err(), os.ErrNotExist) {
			t.Errorf("look %d: got %+v, %v; want failed %v, and no file", i, c, late.Err(), want)
		}
	}
	if err := os.WriteFile(path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := late.Refresh(time.Now()); !c.Failed || late.Err() == nil || !strings.Contains(late.Err().Error(), "client CA "+path) {
		t.Errorf("got %+v, %v; want the file named, and what it is for", c, late.Err())
	}
}

// deadlines notes the deadline for writing that was last set.
type deadlines struct {
	net.Conn
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = t
	return d.Conn.SetWriteDeadline(t)
}

func TestDeadlinesForWritingRingLate(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	d := &deadlines{Conn: ours}
	c := Conn{tls.Client(d, &tls.Config{ServerName: "shop.test", MinVersion: tls.VersionTLS12})}
	limit := time.Now().Add(time.Hour)
	if err := c.SetWriteDeadline(limit); err != nil {
		t.Fatal(err)
	}
	if late := d.write.Sub(limit); late < 29*time.Minute || late > 30*time.Minute {
		t.Errorf("got a deadline %s after an hour's, want half an hour", late)
	}
	past := time.Now().Add(-time.Second)
	if err := c.SetWriteDeadline(past); err != nil || !d.write.Equal(past) {
		t.Errorf("got %s, %v, want one that is over as it is", d.write, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, ErrStalled) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the connection to be past writing", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
}
